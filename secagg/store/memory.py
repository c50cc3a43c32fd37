"""Rows in a dictionary: for simulations and benchmarks, and wherever nothing may touch a disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store.base import Store


class MemoryStore(Store):
    """Atomic, and gone with the process: a server on it must never resume."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._closed = False

    def rows(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        self._require_open()
        yield from sorted(row for row in self._rows.items() if row[0].startswith(prefix))

    def commit(self, writes: Sequence[Write]) -> None:
        self._require_open()
        for write in writes:
            if write.value is None:
                self._rows.pop(write.key, None)
            else:
                self._rows[write.key] = write.value

    def close(self) -> None:
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError("the store in memory is closed")
