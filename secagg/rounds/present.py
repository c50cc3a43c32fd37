"""Who has a link to a server alone: found by link, by identity and by address."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from secagg.effects import Peer
from secagg.rounds.crowd import Crowd
from secagg.rounds.quota import Limits, Quota
from secagg.rounds.selection import Candidate
from secagg.shown import short
from secagg.types import Fault, PartyId


@dataclass
class Linked:
    """What is known of a peer as long as its link lasts. missed, late: rounds in a row without it,
    in silence. silent: when one was last counted. proven: whether it was in a sum, and has missed
    none since. largest: bytes of the largest frame that was due from it in a round that it has left
    since the last announcement. seats: by the nonce of the round."""

    place: int
    heard: float
    quota: Quota
    rounds: int = 0
    missed: int = 0
    late: int = 0
    silent: float = -math.inf
    fault: Fault | None = None
    proven: bool = False
    largest: int = 0
    seats: dict[bytes, PartyId] = field(default_factory=dict)

    __repr__ = short

    def told(self, fault: Fault | None, begun: float, now: float) -> None:
        """A round is over that it was in, from `begun` on: how it did is what the next selection
        goes by."""
        self.fault, self.proven = fault, fault is None
        # too few of whom it knew came: that is nothing of its own doing
        innocent = fault in (None, Fault.TOO_FEW_HOLDERS)
        self.missed = 0 if innocent else self.missed + 1
        if fault is not Fault.LATE:
            self.late = 0
        elif begun >= self.silent:  # of rounds side by side one counts
            self.late, self.silent = self.late + 1, now

    def strange(self, peer: Peer) -> bool:
        """Whether it has neither proved who it is nor done what it was asked, nor is asked now."""
        return peer.identity is None and not self.seats and not self.proven


# Theory of operation.
#
# A newcomer asks three questions: who has the same identity, how many have the same address, and
# who makes room for it (specs/01-wire.md §8). Strangers ask them as often as they like, and more
# often the more links there are, so none may cost a look at every link: each is an index, kept as
# peers come and go. A scan of ten thousand links takes milliseconds, in which nobody is served.
#
# Whether a peer is a stranger changes with its rounds too: it is none while it has a seat, nor
# after a sum that it was in, and silence or a fault makes one of it again. Whoever changes what
# that hangs on says so (`judge`), and nobody is judged again for any other reason. A stranger that
# is none for a while has its place again afterwards: it is as old as it was when it came.
#
# Nothing is decided here. These are the answers; whom they cost a link, the rounds say, as that
# ends seats, is logged, and is told to the driver.
#
# Impossible: two links of one peer, as names are unique; a peer whose identity or address changes,
# as both are what its link has proved or where it comes from.
class Present(Mapping[Peer, Linked]):
    """Everybody with a link, in order of arrival."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._links: dict[Peer, Linked] = {}
        self._arrived = 0
        self._proved: dict[bytes, dict[Peer, None]] = {}  # by identity, the oldest first
        self._addresses: Counter[str] = Counter()
        self._strangers = Crowd()

    def __getitem__(self, peer: Peer) -> Linked:
        return self._links[peer]

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def bound(self, limits: Limits) -> None:
        """By others from now on. Nobody goes for it who is here."""
        self._limits = limits
        for linked in self._links.values():
            linked.quota.bound(limits)

    def add(self, peer: Peer, now: float) -> None:
        """It comes last."""
        self._links[peer] = Linked(self._arrived, now, Quota(self._limits))
        self._arrived += 1
        if peer.identity is not None:
            self._proved.setdefault(peer.identity, {})[peer] = None
        if peer.address is not None:
            self._addresses[peer.address] += 1
        self.judge(peer)

    def remove(self, peer: Peer) -> Linked | None:
        """What was known of it; None of one that is not here."""
        if (linked := self._links.pop(peer, None)) is None:
            return None
        self._strangers.discard(peer)
        if peer.identity is not None:
            same = self._proved[peer.identity]
            del same[peer]
            if not same:
                del self._proved[peer.identity]
        if peer.address is not None:
            self._addresses[peer.address] -= 1
            if not self._addresses[peer.address]:
                del self._addresses[peer.address]
        return linked

    def judge(self, peer: Peer) -> None:
        """Its rounds, seats or fault have changed: it may be a stranger, or none any more."""
        linked = self._links[peer]
        if linked.strange(peer):
            self._strangers.add(peer, linked.place)
        else:
            self._strangers.discard(peer)

    def older(self, peer: Peer) -> Sequence[Peer]:
        """Links of its identity that go where it comes: the oldest, beyond `Limits.links_each`."""
        same = self.of(peer.identity)
        return same[: max(0, len(same) + 1 - self._limits.links_each)]

    def of(self, identity: bytes | None) -> tuple[Peer, ...]:
        """The links of that identity, the oldest first."""
        return tuple(self._proved.get(identity, ())) if identity is not None else ()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """As a selection sees them."""
        return tuple(
            Candidate(peer, one.place, one.heard, one.rounds, one.missed, one.fault)
            for peer, one in self._links.items()
        )

    @property
    def seated(self) -> int:
        """How many have a seat in a round."""
        return sum(bool(one.seats) for one in self._links.values())

    def largest(self, peer: Peer, due: Mapping[bytes, int]) -> int:
        """Bytes of the largest frame that is due from it, by the plans of its rounds; of who is in
        none, and was in none since the last announcement, a stranger's. due: by round."""
        least = self._limits.stranger
        if (linked := self._links.get(peer)) is None:
            return least
        return max(least, linked.largest, *(due.get(nonce, 0) for nonce in linked.seats))

    def shut(self, peer: Peer) -> str:
        """Why it is not admitted, whoever goes for it; empty where nothing is against it."""
        most = self._limits.links_address
        if peer.address is None or most >= self._limits.links:
            return ""
        full = self._addresses[peer.address] >= most
        return f"{most} links of its address are open" if full else ""

    @property
    def full(self) -> bool:
        """Whether somebody must go before anybody else can come."""
        return len(self._links) >= self._limits.links

    @property
    def stranger(self) -> Peer | None:
        """Who makes room: the oldest of the address that holds most of them."""
        return self._strangers.first
