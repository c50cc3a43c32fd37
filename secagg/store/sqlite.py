"""Rows in one SQLite file: write-ahead log, one writer, checksums; see secagg.store.database."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import takewhile
from pathlib import Path

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store import database as files
from secagg.store import mark
from secagg.store.base import Store, check_namespace, outcome
from secagg.store.migration import migrate

LOG_LIMIT = 32 << 20
"""Bytes of log that start a checkpoint. A total that every batch rewrites is then copied once for
many batches, and the log of a crash is still read in a tenth of a second."""


class SqliteStore(Store):
    """Made by `open`. Several threads may use it, one at a time; never use it across a fork."""

    def __init__(
        self,
        path: Path,
        lock: int,
        opened: tuple[sqlite3.Connection, int],
        owner: bytes,
        log: int | None = None,
    ) -> None:
        database, self._number = opened
        self._path, self._owner, self._log = path, owner, log
        self._mark = mark.check(path, owner, self._number)
        self._lock: int | None = lock
        self._database = database
        self._guard = threading.Lock()
        self._ended: str | None = None

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, owner: bytes, log: int | None = None
    ) -> SqliteStore:
        """The store at `path`, made with mode 0600 if there is none; its folder must exist.

        owner: what binds the file to one task and one server, a digest for instance. log: bytes of
        the log beside it, `path`-wal, above which a transaction is followed by a checkpoint, which
        empties it; None for LOG_LIMIT.
        Holds an exclusive lock, on the file `path`-lock, until it is closed; that file stays.
        Raises StorageError for a store in use, of another owner or version, damaged, or open to
        other users, and where the disk or the folder refuses.
        """
        path = Path(path).resolve()
        with ExitStack() as otherwise:
            lock = files.take_lock(path)
            otherwise.callback(os.close, lock)
            with files.reported(path, "it cannot be opened"):
                if not path.exists():
                    mark.demand_new(path, owner)
                    mark.create(path, owner, 0)
                    files.create(path, owner)
                opened = files.connect(path, owner, migrate)
                otherwise.callback(opened[0].close)
                store = cls(path, lock, opened, owner, log)
            otherwise.pop_all()
            return store

    def rows(self, namespace: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        if namespace:
            check_namespace(namespace)
        return self._rows(namespace)

    def _rows(self, namespace: bytes) -> Iterator[tuple[bytes, bytes]]:
        # One query a row: a cursor left open would hold back the checkpoints.
        after = namespace
        while True:
            with self._stopping("reading failed"):
                row = self._database.execute(
                    "SELECT key, checksum, value FROM rows WHERE key >= ? ORDER BY key LIMIT 1",
                    (after,),
                ).fetchone()
                if row is None:
                    return
                key, value = files.checked(row)
            if not key.startswith(namespace):
                return
            yield key, value
            after = key + b"\0"  # the next key that there can be

    def commit(self, writes: Sequence[Write]) -> None:
        forgotten, latest = outcome(writes)
        with self._stopping("the batch was not stored"):
            if writes:
                with self._database:  # commits, or rolls back
                    self._database.execute("BEGIN IMMEDIATE")
                    for namespace in forgotten:
                        latest = dict.fromkeys(self._keys(namespace)) | latest
                    self._write(latest)
                self._number += 1
                mark.write(self._mark, self._owner, self._number)
            limit = LOG_LIMIT if self._log is None else self._log
            if files.log_of(self._path).stat().st_size > limit:
                files.checkpoint(self._database)

    def close(self) -> None:
        with self._guard:
            if self._lock is None:
                return
            self._ended = "it is closed"
            lock, self._lock = self._lock, None
            try:
                with files.reported(self._path, "it cannot be closed"):
                    self._database.close()
            finally:
                os.close(self._mark)
                os.close(lock)

    def _keys(self, namespace: bytes) -> list[bytes]:
        query = "SELECT key FROM rows WHERE key >= ? ORDER BY key"
        with closing(self._database.execute(query, (namespace,))) as found:
            return list(takewhile(lambda key: key.startswith(namespace), (row[0] for row in found)))

    def _write(self, latest: dict[bytes, bytes | None]) -> None:
        find = "SELECT checksum FROM rows WHERE key = ?"
        found = (self._database.execute(find, (key,)).fetchone() for key in latest)
        replaced = [row[0] for row in found if row is not None]
        kept = [(k, files.checksum(k, v), v) for k, v in latest.items() if v is not None]
        gone = [(key,) for key, value in latest.items() if value is None]
        self._database.executemany("DELETE FROM rows WHERE key = ?", gone)
        self._database.executemany(
            "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT (key)"
            " DO UPDATE SET checksum = excluded.checksum, value = excluded.value",
            kept,
        )
        before = self._database.execute("SELECT total FROM head").fetchone()[0]
        heads = [files.head_checksum(self._owner, self._number + i) for i in (0, 1)]
        added = [before, heads[1], *(row[1] for row in kept)]
        after = files.checksum_sum(added, [heads[0], *replaced])
        self._database.execute("UPDATE head SET total = ?, number = ?", (after, self._number + 1))

    @contextmanager
    def _stopping(self, what: str) -> Iterator[None]:
        """One caller at a time, and none after a failure: what a failed sync left is unknown."""
        with self._guard:
            if self._ended is not None:
                raise StorageError(f"{self._path}: refused: {self._ended}")
            try:
                with files.reported(self._path, what):
                    yield
            except StorageError:
                self._ended = f"{what} before; close it, mend the cause and open it again"
                raise
