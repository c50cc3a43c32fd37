"""One owner's rows in one namespace, as a store of their own: keys without what rounds put before.

Whoever runs a machine by hand gives it these; rounds put prefix and owner before keys themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secagg.effects import NAMESPACE_SIZE, OWNER_SIZE, Write
from secagg.store.base import Store, check_namespace


class Space:
    """A view of a store; several may be on one. It is never closed: the store is."""

    def __init__(self, store: Store, namespace: bytes, owner: bytes) -> None:
        check_namespace(namespace)
        self._store, self._namespace = store, namespace
        self._prefix = namespace + owner

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) by ascending key, as of `Store.rows`."""
        start = NAMESPACE_SIZE + OWNER_SIZE
        for key, value in self._store.rows(self._namespace):
            if key.startswith(self._prefix):
                yield key[start:], value

    def under(self, writes: Sequence[Write]) -> list[Write]:
        """The same writes as the store takes them."""
        return [Write(self._prefix + write.key, write.value) for write in writes]

    def commit(self, writes: Sequence[Write], besides: Sequence[Write] = ()) -> None:
        """As of `Store.commit`. besides: what another owner has put `under` its own."""
        self._store.commit([*self.under(writes), *besides])
