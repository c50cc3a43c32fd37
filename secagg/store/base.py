"""What a driver asks of a store: rows of bytes, changed in batches that hold whole or not at all.

A machine emits Writes; the driver commits all that were drained together with messages before it
sends any of those messages. A message whose batch is not acknowledged is never sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from secagg.effects import Write


class Store(Protocol):
    """Rows in the order of their keys. One owner, one writer; a failure ends it (fail-stop)."""

    def rows(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of every row whose key begins with `prefix`, by ascending key.

        Rows that a commit changes while the iteration runs may come in their old or new state.
        Raises StorageError when a row is not what was written.
        """

    def commit(self, writes: Sequence[Write]) -> None:
        """All of them or none; of two writes of one key the later holds.

        When it returns, the rows survive kill -9 and loss of power, as far as the kind of store
        promises. When it raises StorageError, the batch is unacknowledged: after the next opening
        it is there whole or not at all, and this object refuses everything but `close`.
        """

    def close(self) -> None:
        """Idempotent. Whatever else is asked of a closed store is refused with StorageError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
