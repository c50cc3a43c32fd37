"""Who is next: the standing of each identity of one task, and the order that follows from it
(specs/50-service.md §2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from secagg.effects import Peer
from secagg.errors import WireError
from secagg.plans.plan import Plan
from secagg.shown import short
from secagg.types import Randomness
from secagg.wire.codec import Reader, Writer
from secagg.wire.pace import PaceFrame

# Theory of operation.
#
# Fewest misses first, so that one silent phone costs a round once; then who has waited longest, and
# between those the lot. Alone the first rule would starve somebody who has missed one round, where
# there are always enough who have missed none. So a miss is forgiven for every few rounds that took
# others while its owner was there, and then waiting decides again: whoever stays is asked after a
# number of rounds that follows from its misses and from how many there are.
#
# Waiting is counted in rounds of the task, and not in seconds: a restart does not make it shorter
# or longer, and a clock that is set changes nobody's place. A newcomer begins with the round that
# was last, or a stream of them would pass by all others.
#
# To be asked is not to be taken. Where an asking were over as soon as enough are ready, whoever is
# slower than that many others would be outrun each time, however long it has waited, and whoever
# answers at once would be in every round. So who was outrun the last time is waited for: one that
# is only slow has the place then that its waiting gives it, and one that is silent has missed it.
# Either costs an asking its seconds once.
#
# A pause is in seconds, and of this process: after a restart the misses are still there. So are
# links, and who was outrun.
#
# Impossible: a standing of nobody that was ever here; one that is served after the last round.

STRIKES = 3
"""Missed rounds after which one is not asked for a while."""
PAUSE = 60.0
LONGEST_PAUSE = 3600.0
"""Seconds of the first such pause, which doubles, and of the last."""
FORGIVEN = 4
"""Rounds passed over for which one miss is forgiven."""
MOST_MISSES = 64


@dataclass(slots=True)
class Standing:
    """misses: rounds missed and not forgiven. passed: rounds that took others since it was asked,
    or since a miss was last forgiven. served: the number of the round that it was last in, or that
    was the last when it came. until: not asked before, in monotonic seconds. link: the one that it
    has here. outrun: whether others were ready before it, the last time that it was asked."""

    misses: int = 0
    passed: int = 0
    served: int = 0
    until: float = 0.0
    link: Peer | None = None
    outrun: bool = False

    __repr__ = short

    def row(self) -> bytes:
        return Writer().u8(self.misses).u8(self.passed).u64(self.served).finish()

    @classmethod
    def of_row(cls, data: bytes) -> Standing:
        """Raises WireError."""
        reader = Reader(data)
        made = cls(reader.u8("misses"), reader.u8("passed"), reader.u64("served"))
        reader.finish()
        if made.misses > MOST_MISSES or made.passed >= FORGIVEN:
            raise WireError("a standing of more misses, or more rounds passed over, than there are")
        return made


class Line:
    """The standings of one task. rounds: how many it has opened."""

    def __init__(self, rounds: int = 0) -> None:
        self.rounds = rounds
        self._standings: dict[bytes, Standing] = {}
        self._changed: set[bytes] = set()

    def __contains__(self, identity: object) -> bool:
        return identity in self._standings

    def __iter__(self) -> Iterator[bytes]:
        """The identities that are remembered."""
        return iter(self._standings)

    def restore(self, identity: bytes, row: bytes) -> None:
        self._standings[identity] = Standing.of_row(row)

    def of(self, identity: bytes) -> Standing:
        """That of a newcomer where there is none yet."""
        if identity not in self._standings:
            self._standings[identity] = Standing(served=self.rounds)
            self._changed.add(identity)
        return self._standings[identity]

    def forget(self, identity: bytes) -> None:
        """As of one that is enrolled no more."""
        if self._standings.pop(identity, None) is not None:
            self._changed.add(identity)

    def next(self, here: Collection[bytes], now: float, lot: Callable[[], bytes]) -> list[bytes]:
        """Of those that are here the ones that may be asked, the first first."""
        able = [one for one in here if self.of(one).until <= now]
        return sorted(able, key=lambda one: (*self._place(one), lot()))

    def link(self, identity: bytes | None) -> Peer | None:
        """That it has here, if it has one."""
        one = self._standings.get(identity or b"")
        return None if one is None else one.link

    def unlinked(self, peer: Peer) -> None:
        """It is gone."""
        one = self._standings.get(peer.identity or b"")
        if one is not None and one.link == peer:
            one.link = None

    def outrun(self, asking: Asking) -> None:
        """It is over before its time: who was not ready is waited for the next time."""
        silent = set(asking.silent)
        for identity in asking.order.values():
            self.of(identity).outrun = identity in silent

    def until(self, identity: bytes) -> float:
        """When it may be asked again."""
        return self.of(identity).until

    def missed(self, identity: bytes, now: float) -> None:
        """It was asked, or in a round, and silent."""
        one = self.of(identity)
        one.misses, one.passed, one.outrun = min(MOST_MISSES, one.misses + 1), 0, False
        if one.misses >= STRIKES:
            pause = PAUSE * 2.0 ** min(one.misses - STRIKES, 16)
            one.until = now + min(LONGEST_PAUSE, pause)
        self._changed.add(identity)

    def took(self, cohort: Collection[bytes], passed_over: Collection[bytes]) -> None:
        """A round was opened. passed_over: who was there, and neither in it nor silent."""
        self.rounds += 1
        for identity in cohort:
            one = self.of(identity)
            one.served, one.passed = self.rounds, 0
            self._changed.add(identity)
        for identity in passed_over:
            one = self.of(identity)
            if not one.misses:
                continue
            one.passed += 1
            if one.passed >= FORGIVEN:
                one.misses, one.passed = one.misses - 1, 0
            self._changed.add(identity)

    def done(self, identity: bytes) -> None:
        """It was in a round to the end."""
        one = self.of(identity)
        if one.misses:
            one.misses = one.passed = 0
            self._changed.add(identity)

    def changed(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Rows to write since the last call; None to delete."""
        changed, self._changed = self._changed, set()
        for identity in sorted(changed):
            one = self._standings.get(identity)
            yield identity, None if one is None else one.row()

    def _place(self, identity: bytes) -> tuple[int, int]:
        one = self._standings[identity]
        return one.misses, one.served


@dataclass
class Asking:
    """nonce: its own. until: when its time is up. order: by peer the identity, who is first first.
    awaited: who of these was outrun the last time."""

    nonce: bytes
    until: float
    order: dict[Peer, bytes]
    awaited: frozenset[bytes] = frozenset()
    ready: set[Peer] = field(default_factory=set)

    __repr__ = short

    def over(self, target: int, now: float) -> bool:
        """Whether nobody is waited for any more. target: how many a round takes."""
        silent = self.silent
        if not silent or now >= self.until:
            return True
        return len(self.ready) >= target and self.awaited.isdisjoint(silent)

    @property
    def silent(self) -> list[bytes]:
        return [one for peer, one in self.order.items() if peer not in self.ready]


@dataclass(frozen=True, slots=True)
class Around:
    """What a course has from the rounds around it. then: what is to be called between two rounds,
    one at most."""

    say: Callable[[Peer, PaceFrame], None]
    open: Callable[[Plan, Sequence[Peer], float], bytes]
    enrolled: Callable[[], int | None]
    prevented: Callable[[], str]
    randomness: Randomness
    then: list[Callable[[], None]] = field(default_factory=list)

    __repr__ = short
