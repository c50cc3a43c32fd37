"""Rows in a dictionary: for simulations and benchmarks, and wherever nothing may touch a disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store.base import Store, check_namespace, outcome


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
