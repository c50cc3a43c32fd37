"""Who would make room for a newcomer, found without asking everybody."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from secagg.effects import Peer

_SPARE = 8
"""Keys that are gone and still in a heap, beyond as many as are there."""

_Key = TypeVar("_Key", int, tuple[int, int])


class _Heap(Generic[_Key]):
    """Keys of which the lowest is known. One that goes stays in the heap until it is the lowest, or
    until half of all are gone: so a call costs the logarithm of how many there are, on average."""

    def __init__(self) -> None:
        self._keys: set[_Key] = set()
        self._heap: list[_Key] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: _Key) -> None:
        self._keys.add(key)
        heapq.heappush(self._heap, key)
        self._tidy()

    def remove(self, key: _Key) -> None:
        self._keys.remove(key)
        self._tidy()

    @property
    def lowest(self) -> _Key:
        while self._heap[0] not in self._keys:
            heapq.heappop(self._heap)
        return self._heap[0]

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._keys) + _SPARE:
            self._heap = sorted(self._keys)  # which is a heap


# Theory of operation.
#
# Where all places are taken, the oldest of the address that holds most makes room
# (specs/01-wire.md §8). Whoever wants a server to be slow opens links until that is so, and then
# more: each of these asks who has to go. Asking everybody there would let ten thousand idle links
# cost every further one a look at each of them; so who is first is kept as people come and go, and
# not looked for.
#
# Of each address the oldest is known, and of all addresses the one that holds most; of several that
# hold as many, that of the oldest. Both are heaps, and an address moves in the second one whenever
# a peer of it comes or goes, as that changes how many it holds, or who is its oldest.
#
# Places, not times, say who is older: no two are alike, so who goes does not hang on how peers are
# hashed. A peer that goes and comes again with its place is as old as it was.
#
# Impossible: two peers of one place; a peer whose address or place changes while it is here.
class Crowd:
    """Peers, each with a place that tells who is older: the lower one is."""

    def __init__(self) -> None:
        self._places: dict[Peer, int] = {}
        self._peers: dict[int, Peer] = {}
        self._addresses: dict[str | None, _Heap[int]] = {}
        self._ranks: _Heap[tuple[int, int]] = _Heap()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, peer: Peer, place: int) -> None:
        """Idempotent. place: its own, and always the same."""
        if peer in self._places:
            return
        self._places[peer], self._peers[place] = place, peer
        held = self._addresses.setdefault(peer.address, _Heap())
        self._unrank(held)
        held.add(place)
        self._rank(held)

    def discard(self, peer: Peer) -> None:
        """Idempotent."""
        if (place := self._places.pop(peer, None)) is None:
            return
        del self._peers[place]
        held = self._addresses[peer.address]
        self._unrank(held)
        held.remove(place)
        self._rank(held)
        if not held:
            del self._addresses[peer.address]

    @property
    def first(self) -> Peer | None:
        """Who has to go before all others; None where there is nobody."""
        return self._peers[self._ranks.lowest[1]] if self._places else None

    def _rank(self, held: _Heap[int]) -> None:
        if held:
            self._ranks.add((-len(held), held.lowest))

    def _unrank(self, held: _Heap[int]) -> None:
        if held:
            self._ranks.remove((-len(held), held.lowest))
