"""What the server knows of U1 once it is fixed: indices, keys, and the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from secagg.errors import BelowThreshold
from secagg.types import PartyId, SessionId
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.messages import AdvertiseKeys, KeyList, ShareKeys, ShareList


@dataclass(frozen=True)
class ServerCohort:
    """U1 in order of index. clients, degree: of the parameters."""

    offer: bytes
    clients: int
    degree: int
    ids: tuple[PartyId, ...]
    keys: tuple[AdvertiseKeys, ...]

    @classmethod
    def of(
        cls, offer: bytes, clients: int, degree: int, advertised: Mapping[PartyId, AdvertiseKeys]
    ) -> ServerCohort:
        ids = tuple(sorted(advertised))
        return cls(offer, clients, degree, ids, tuple(advertised[party] for party in ids))

    @property
    def size(self) -> int:
        return len(self.ids)

    @cached_property
    def root(self) -> bytes:
        return binding.tree_root(
            [
                binding.leaf(self.offer, index, party, keys)
                for index, (party, keys) in enumerate(zip(self.ids, self.keys, strict=True))
            ]
        )

    @cached_property
    def session(self) -> SessionId:
        return binding.session_id(self.offer, self.clients, self.ids, self.root)

    @cached_property
    def _members(self) -> frozenset[int]:
        return frozenset(self.ids)

    @cached_property
    def index(self) -> Mapping[PartyId, int]:
        return {party: index for index, party in enumerate(self.ids)}

    @cached_property
    def _neighbours(self) -> dict[int, tuple[int, ...]]:
        return {}

    def neighbours(self, index: int) -> tuple[int, ...]:
        """Kept once worked out: each message asks again, and of a complete graph it is n long."""
        known = self._neighbours.get(index)
        if known is None:
            known = binding.neighbours(self.session, self.size, self.degree, index)
            self._neighbours[index] = known
        return known

    def holders(self, index: int) -> frozenset[int]:
        """Who was dealt shares of this client, itself included. The relation is symmetric."""
        return frozenset(self.neighbours(index)) | {index}

    def key_list(self, index: int) -> bytes:
        keys = {v: self.keys[v] for v in self.neighbours(index)}
        listed = KeyList(self._members, self.root, keys)
        return listed.encode(self.session, self.clients)

    def core(self, sharers: Collection[int], threshold: int) -> frozenset[int]:
        """Rule S5: the largest subset each of whose members has at least t holders in it.

        A client with fewer would refuse to mask, and its pairwise masks could not be removed.
        """
        # Each pass can only shrink the set, so it ends after at most |U2| of them. The largest such
        # set is unique, as the union of two of them is one as well: it does not hang on the order
        # in which clients are looked at. It is the k-core of graph theory.
        kept = frozenset(sharers)
        while True:
            smaller = frozenset(i for i in kept if len(self.holders(i) & kept) >= threshold)
            if smaller == kept:
                return kept
            kept = smaller


# An iterator, because all share lists together are n k sealed pairs: at n = 10,000 and k = 100 that
# is 100 MB and more, and the driver sends them one after the other.
def share_lists(
    cohort: ServerCohort, dealt: Mapping[int, ShareKeys], holders: Collection[int]
) -> Iterator[tuple[int, bytes]]:
    """The message of each of these members of U2, by ascending index: the pairs sealed to it.

    dealt: of every member of U2. When one holder asks again, only its neighbours are looked at.
    """
    sharers, asking = frozenset(dealt), frozenset(holders)
    near = sharers if asking == sharers else sharers & _neighbours_of(cohort, asking)
    inbox: dict[int, list[bytes]] = defaultdict(list)
    for dealer in sorted(near):  # ascending, as every holder expects them
        for holder, one in zip(cohort.neighbours(dealer), dealt[dealer].sealed, strict=True):
            inbox[holder].append(one)
    for holder in sorted(asking):
        listed = ShareList(sharers, tuple(inbox[holder]))
        yield holder, listed.encode(cohort.session, cohort.size)


def _neighbours_of(cohort: ServerCohort, indices: Collection[int]) -> frozenset[int]:
    return frozenset().union(*(cohort.neighbours(index) for index in indices))


def at_least(number: int, needed: int, what: str) -> None:
    """Rules S5 and S6: BelowThreshold, saying what there are too few of."""
    if number < needed:
        raise BelowThreshold(f"{number} {what}, and {needed} are needed")
