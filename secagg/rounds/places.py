"""Which party a client's link is in the running batch, and reports that have no place in it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable

from secagg.effects import Peer
from secagg.types import FIRST_RESERVED, PartyId


# Theory of operation.
#
# Nobody proves to be a client, so a machine's party number stands for a link, and only as long as
# the link is there. A link takes a number with its first message: who is only connected takes none.
# Where reports are counted, at the leader, the numbers below the batch's size are its places; all
# others have no place, and are given out without end, so that whoever has none can still be
# answered. A helper does not count, because its leader does.
#
# Whether a message brings a report is seen when the machine has heard it. A repeat has no effect
# and takes no place (specs/20-additive.md §8 A3): its link gets a number that is none instead, and
# the machine hears it again under that, because receipts that come later go to a number.
#
# A link that leaves gives its number back. That is a place for the next one, unless the machine has
# a report under it: then the machine waits for nobody of that number, and it is not taken again.
#
# A report that finds no place, or comes while none is taken, waits here for the next batch, as long
# as there is room. It is only bytes: it was heard by the machine, which had no answer to it. It is
# heard again when a place is free, when the batch gives up the places of others, and when the next
# batch begins. Its client may have left meanwhile; the report counts all the same, and who is not
# there to be answered gives back its number at once, because no end of its link will come any more.
#
# Impossible: two links of one number at a time; a number of a server, as servers' are far above.
class Places:
    """Numbers of one batch after the other, and the reports that wait."""

    def __init__(self, places: int, *, counts: bool, room: int) -> None:
        """places: of a batch. counts: whether this server gives them out. room: reports that may
        wait."""
        self.held: deque[tuple[Peer, bytes]] = deque()
        self._holders: set[Peer] = set()
        self.gone: set[Peer] = set()
        """Clients that have left and have a report among these."""
        self._places, self._counts, self._room = places, counts, room
        self._later = itertools.count(places)
        self._ids: dict[Peer, PartyId] = {}
        self._peers: dict[PartyId, Peer] = {}
        self._free: list[PartyId] = []

    def number(self, peer: Peer, wanted: Callable[[], Collection[PartyId]]) -> PartyId:
        """The link's, which it may take now. wanted: for whom the machine waits, where it takes
        reports; asked only where it must be, as it is as long as the batch."""
        if peer not in self._ids:
            taken = self._take(wanted) if self._counts else None
            me = PartyId(next(self._later)) if taken is None else taken
            self._ids[peer], self._peers[me] = me, peer
        return self._ids[peer]

    def knows(self, peer: Peer) -> bool:
        """Whether it has a number."""
        return peer in self._ids

    def give_back(self, peer: Peer) -> PartyId | None:
        """What it has brought takes no place, so its number is one again: it has another, under
        which it can still be answered. None where numbers are no places."""
        if not self._counts:
            return None
        self._free.append(self._ids.pop(peer))
        del self._peers[self._free[-1]]
        me = self._ids[peer] = PartyId(next(self._later))
        self._peers[me] = peer
        return me

    def is_place(self, party: PartyId) -> bool:
        """Whether the batch has a place under that number, as long as it takes reports."""
        return party < self._places or not self._counts

    def peer(self, party: PartyId) -> Peer | None:
        """Whose number that is, if somebody is there."""
        return self._peers.get(party)

    def idle(self, wanted: Collection[PartyId]) -> list[Peer]:
        """Who has a number of these, for which the machine has no report, and none that waits."""
        held = self.waiting(())
        return [peer for peer, me in self._ids.items() if me in wanted and peer not in held]

    def unanswered(self, undecided: Collection[PartyId]) -> list[Peer]:
        """Whose report is undecided, or has no place, and is not held here."""
        held = self.waiting(())
        of = ((peer, me in undecided or not self.is_place(me)) for peer, me in self._ids.items())
        return [peer for peer, waits in of if waits and peer not in held]

    def waiting(self, undecided: Iterable[PartyId]) -> set[Peer]:
        """Whose report waits: for the next batch or, under one of these numbers, for a decision."""
        here = (self._peers[party] for party in undecided if party in self._peers)
        return self._holders.union(here)

    def hold(self, peer: Peer, data: bytes) -> bool:
        """Whether there is room for it."""
        if len(self.held) >= self._room:
            return False
        self.held.append((peer, data))
        self._holders.add(peer)
        return True

    def left(self, peer: Peer) -> PartyId | None:
        """The link is gone, and this was its number."""
        if peer in self._holders:
            self.gone.add(peer)
        return self.free(peer)

    def free(self, peer: Peer) -> PartyId | None:
        """Its number is another's, unless the machine has a report under it."""
        party = self._ids.pop(peer, None)
        if party is not None:
            del self._peers[party]
        return party

    def release(self) -> list[tuple[Peer, bytes]]:
        """The reports that wait, to be heard again; who had come for a receipt gives its number
        back first."""
        held, self.held = list(self.held), deque()
        self._holders.clear()
        for peer, _ in held:
            self.free(peer)
        self._free.clear()
        return held

    def renew(self) -> None:
        """Another batch: all its places are free."""
        self._ids, self._peers, self._free = {}, {}, []

    def _take(self, wanted: Callable[[], Collection[PartyId]]) -> PartyId | None:
        """A place that nobody has, the lowest first; None where the batch waits for nobody more."""
        if not self._free:
            free = (p for p in wanted() if p < FIRST_RESERVED and p not in self._peers)
            self._free = sorted(free, reverse=True)
        return self._free.pop() if self._free else None
