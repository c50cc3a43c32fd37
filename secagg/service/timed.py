"""A store that says how long its transactions took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from secagg.effects import Write
from secagg.store.base import Store


class Timed(Store):
    """Another one, and who is told. told: is called with the seconds of each commit that holds, in
    the thread that has made it."""

    def __init__(self, store: Store, told: Callable[[float], None]) -> None:
        self._store, self._told = store, told

    def rows(self, namespace: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self._store.rows(namespace)

    def commit(self, writes: Sequence[Write]) -> None:
        begun = time.monotonic()
        self._store.commit(writes)
        self._told(time.monotonic() - begun)

    def close(self) -> None:
        self._store.close()
