"""Claims and keys in one SQLite file that several processes may share (specs/03-storage.md §4).

A store's file has one owner, who locks it; a ledger's has not: every message of a carried client
may be handled by a process of its own, and two may race. SQLite's own locks keep them apart.

Each claim is a transaction that writes, also one that only finds what it claims: a process that
died between its commit and its sync has left a claim that others can read and that a loss of power
can still take away. Whoever relies on it syncs it first. A key that is found needs no sync of its
own: what is said from the rows that it opens is claimed before it leaves, and that syncs the file;
if the power fails before, the rows open nowhere.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from secagg import arguments
from secagg.effects import Claim
from secagg.errors import StorageError
from secagg.store import tables
from secagg.store.base import (
    Ledger,
    check_claim,
    check_note,
    check_session,
    spent_claim,
    spent_session,
)
from secagg.store.database import reported
from secagg.types import Randomness, Seed, system_randomness

PATIENCE = 10.0
"""Seconds that a call waits for those of other processes."""

_CLAIM, _SESSION, _NOTE = tables.CLAIM, tables.SESSION, tables.NOTE


class SqliteLedger(Ledger):
    """Made by `open`. Threads and processes may share the file; each process opens its own."""

    def __init__(self, path: Path, database: sqlite3.Connection, randomness: Randomness) -> None:
        self._path, self._database, self._randomness = path, database, randomness
        self._guard, self._process = threading.Lock(), os.getpid()
        self._ended: str | None = None
        self._number = self._found_number()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        moved: bool = False,
        patience: float = PATIENCE,
        randomness: Randomness = system_randomness,
    ) -> SqliteLedger:
        """The ledger at `path`, made with mode 0600 if there is none; its folder must exist.

        moved: it was moved here, and what it was moved from is gone; without that a file that was
        copied or restored is refused. patience: seconds that a call waits for other processes.
        Raises StorageError for a ledger that is damaged, a copy, of another version, or open to
        other users, and where the disk or the folder refuses.
        """
        path, patience = Path(path).resolve(), arguments.seconds("patience", patience)
        with reported(path, "it cannot be opened"):
            if not path.exists():
                tables.create(path)
            return cls(path, tables.connect(path, patience, moved), randomness)

    def key(self, session: bytes) -> Seed:
        check_session(session)
        with self._alone("the key was not read"):
            found = self._find(_SESSION + session)
        if found is None:
            found = self._made(session)
        if not found:
            raise spent_session()
        return Seed(found)

    def claim(self, key: bytes, digest: bytes) -> None:
        self.claim_all([Claim(key, digest)])

    def claim_all(self, claims: Sequence[Claim], ends: bytes | None = None) -> None:
        for claim in claims:
            check_claim(claim.key, claim.digest)
        if ends is not None:
            check_session(ends)
        with self._turn("the claim was not stored"):
            for claim in claims:
                found = self._find(_CLAIM + claim.key)
                if found is None:
                    self._put(_CLAIM + claim.key, claim.digest)
                elif found != claim.digest:
                    raise spent_claim()
            if ends is not None:
                self._put(_SESSION + ends, b"", self._find(_SESSION + ends))

    def claimed(self, key: bytes) -> bytes | None:
        """It may still be lost with the power, as a key may, until the next claim."""
        with self._alone("the claim was not read"):
            return self._find(_CLAIM + key)

    def note(self, key: bytes, change: Callable[[bytes | None], bytes]) -> bytes:
        """As the protocol has it; `change` runs while everybody else waits."""
        check_note(key)
        with self._turn("the note was not stored"):
            before = self._find(_NOTE + key)
            value = change(before)
            check_note(key, value)
            self._put(_NOTE + key, value, before)
        return value

    def noted(self, key: bytes) -> bytes | None:
        """It may still be lost with the power until the next call that writes."""
        check_note(key)
        with self._alone("the note was not read"):
            return self._find(_NOTE + key)

    def end(self, session: bytes) -> None:
        check_session(session)
        with self._turn("the key was not destroyed"):
            self._put(_SESSION + session, b"", self._find(_SESSION + session))

    def verify(self) -> int:
        """Reads every row, where opening and each call read what they need: how many there are.

        Raises StorageError where one was changed, is missing, or its page is damaged.
        """
        with self._turn("it was not read"):
            return tables.verify(self._path, self._database)

    @property
    def failed(self) -> bool:
        """Whether it refuses everything until it is opened again, or is closed."""
        return self._ended is not None

    def close(self) -> None:
        """Idempotent. Whatever else is asked of a closed ledger is refused with StorageError."""
        with self._guard:
            self._ended = "it is closed"
            with reported(self._path, "it cannot be closed"):
                self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _made(self, session: bytes) -> bytes:
        """The session's key; somebody may have made it, or ended the session, in between."""
        with self._turn("the key was not stored"):
            found = self._find(_SESSION + session)
            if found is None:
                found = self._randomness(Seed.SIZE)
                self._put(_SESSION + session, found)
            return found

    def _find(self, name: bytes) -> bytes | None:
        return tables.find(self._database, name)

    def _put(self, name: bytes, value: bytes, before: bytes | None = None) -> None:
        tables.put(self._database, name, value, before)

    def _found_number(self) -> int | None:
        """In its file system, of what has its name now."""
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None

    @contextmanager
    def _turn(self, what: str) -> Iterator[None]:
        """A transaction that writes and syncs.

        Spent is no failure of the ledger: it changes nothing, and needs no sync to be true.
        """
        with self._alone(what), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            if self._found_number() != self._number:
                raise StorageError(
                    f"{self._path} was removed, or replaced by another file, while it was open: "
                    "what is claimed in it would be found by nobody; put it back, or if it is "
                    "gone, stop giving what this client may have given already"
                )
            yield
            self._database.execute("UPDATE head SET calls = calls + 1")

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """One caller at a time; none after a failure."""
        with self._guard:
            if self._process != os.getpid():
                raise StorageError(
                    f"{self._path} was opened before a fork: open it in each process"
                )
            if self._ended is not None:
                raise StorageError(f"{self._path}: refused: {self._ended}")
            try:
                with reported(self._path, what):
                    yield
            except StorageError:
                self._ended = f"{what} before; close it, mend the cause and open it again"
                raise
