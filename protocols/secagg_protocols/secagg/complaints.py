"""Pairs of a dealer and a holder one of whom lied (specs/10-secagg.md §9, S9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from secagg.sansio import Disputed
from secagg.types import PartyId

# A share that did not open, or that is wrong, was dealt so or is reported so: the server cannot
# tell, and names both. Only where more complain of one dealer than can lie is it the dealer.


# The papers have no such rule. Dropping whoever complains would let a dealer remove its holders,
# and dropping whom is complained about would let one client remove any other: so a pair is
# reported, and judged only by number. More than A complaints about one dealer cannot all be lies.
class Complaints:
    """corrupted: how many clients may lie, A of the plan. One is never enough to condemn another:
    where a plan counts on none, it still takes two."""

    def __init__(self, corrupted: int) -> None:
        self.liars = max(corrupted, 1)
        self._pairs: set[tuple[PartyId, PartyId]] = set()
        self._undecodable: dict[PartyId, str] = {}

    def add(self, dealer: PartyId, holder: PartyId) -> None:
        self._pairs.add((dealer, holder))

    def undecodable(self, dealer: PartyId, wrong: int, of: int) -> None:
        """More than `wrong` of its shares are, and nobody knows which."""
        if wrong >= self.liars:
            self._undecodable[dealer] = f"more than {wrong} of the {of} shares of it are wrong"

    def disputed(self) -> list[Disputed]:
        return [Disputed(dealer, holder) for dealer, holder in sorted(self._pairs)]

    def at_fault(self) -> Iterator[tuple[PartyId, str]]:
        """The dealers who lied if at most A clients did, and why."""
        counted = Counter(dealer for dealer, _ in self._pairs)
        for dealer in sorted({*counted, *self._undecodable}):
            if dealer in self._undecodable:
                yield dealer, self._undecodable[dealer]
            elif counted[dealer] > self.liars:
                yield dealer, f"the shares of {counted[dealer]} of its holders are unusable"
