"""Rows and claims in dictionaries: for simulations and benchmarks, and where nothing may touch a
disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store.base import (
    Ledger,
    Store,
    check_claim,
    check_namespace,
    check_note,
    check_session,
    outcome,
    spent_claim,
    spent_session,
)
from secagg.types import Randomness, Seed, system_randomness


class MemoryStore(Store):
    """Atomic, and gone with the process: a server on it must never resume."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._closed = False

    def rows(self, namespace: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        self._require_open()
        if namespace:
            check_namespace(namespace)
        return iter(sorted(row for row in self._rows.items() if row[0].startswith(namespace)))

    def commit(self, writes: Sequence[Write]) -> None:
        self._require_open()
        forgotten, latest = outcome(writes)
        for namespace in forgotten:
            latest = dict.fromkeys(k for k in self._rows if k.startswith(namespace)) | latest
        for key, value in latest.items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value

    def close(self) -> None:
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError("the store in memory is closed")


class MemoryLedger(Ledger):
    """Of one process. A client that is to outlive its process needs one that does."""

    def __init__(self, randomness: Randomness = system_randomness) -> None:
        self._randomness = randomness
        self._claims: dict[bytes, bytes] = {}
        self._keys: dict[bytes, Seed | None] = {}
        self._notes: dict[bytes, bytes] = {}
        self._guard = threading.Lock()

    def key(self, session: bytes) -> Seed:
        check_session(session)
        if session not in self._keys:
            self._keys[session] = Seed(self._randomness(Seed.SIZE))
        key = self._keys[session]
        if key is None:
            raise spent_session()
        return key

    def claim(self, key: bytes, digest: bytes) -> None:
        check_claim(key, digest)
        if self._claims.setdefault(key, digest) != digest:
            raise spent_claim()

    def claimed(self, key: bytes) -> bytes | None:
        return self._claims.get(key)

    def note(self, key: bytes, change: Callable[[bytes | None], bytes]) -> bytes:
        with self._guard:
            value = change(self._notes.get(key))
            check_note(key, value)
            self._notes[key] = value
        return value

    def noted(self, key: bytes) -> bytes | None:
        check_note(key)
        return self._notes.get(key)

    def end(self, session: bytes) -> None:
        check_session(session)
        self._keys[session] = None
