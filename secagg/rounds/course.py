"""One task of a service: when its next round is, who is asked, and of whom it is
(specs/50-service.md §2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from secagg.arguments import fraction, instance, integer, seconds, settle
from secagg.effects import Peer
from secagg.errors import Aborted, ParameterError, PolicyRefused
from secagg.plans.plan import Plan
from secagg.plans.terms import Terms
from secagg.rounds.clock import Deadlines
from secagg.rounds.line import Around, Asking, Line
from secagg.rounds.round import End
from secagg.shown import short
from secagg.types import AbortReason, Fault, Randomness
from secagg.wire.frame import NONCE_SIZE
from secagg.wire.pace import MAX_MILLISECONDS, Asked, Later, PaceFrame, Why

# Theory of operation.
#
# A round of clients that only seemed to be there loses its first deadline to them, and may lose
# itself. So before anybody is counted, more than are wanted are asked, and only who answers within
# seconds has a place: silence frees it for one that has answered. Who has is the cohort, which is
# frozen then, planned for its number and opened; everybody else hears when to come back.
#
# A task is at one of four things: it waits, for time or for people; it asks; a round of it runs; or
# it is held, by its operator or by five failures in a row. Every call ends in `_go`, which takes
# the next step if there is one; so two rounds at once cannot come about, whatever the order of
# news. What is in the way of a round but no hold, as that more are enrolled than its terms count
# the corrupt among, is looked at again and again: it goes without anybody telling.
#
# An asking that brings too few is no failed round: nothing was opened, nobody is to blame but the
# silent. It waits as long as one, and never pauses the task by itself.
#
# Impossible: a cohort that no plan is for, as terms have one for every size, and the cohort is cut
# to one; a peer without identity, which the rounds around let go.

ANSWER = 5
"""Seconds to say that one is ready."""
SOON = 30.0
"""Who would wait no longer than this keeps its link."""
RETRY = 10.0
"""Seconds after which one without a place comes back, where the next round has no time."""
AWAY = 300.0
"""And where nobody knows whether there will be one."""
LONGEST_WAIT = 60.0
MOST_FAILURES = 5
"""Rounds that failed one after the other: the task is paused then."""
NOBODY = bytes(NONCE_SIZE)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a task's rounds come. least, target: of how many at least, and how many it would have.
    spare: the fraction beyond the target that is asked. every: seconds from one to the next; 0 for
    as soon as there are enough. deadlines: as of `ServerRounds.open`. Raises ParameterError."""

    least: int
    target: int
    spare: Fraction = Fraction(1, 4)
    every: float = 0.0
    deadlines: Deadlines = 60.0

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            spare=fraction("spare", self.spare),
            every=seconds("every", self.every, zero=True),
        )

    def check(self, terms: Terms) -> None:
        """ParameterError for numbers that the terms do not have."""
        least = integer("least", self.least, terms.least, terms.most)
        integer("target", self.target, least, terms.most)
        if terms.size(least) != least:
            raise ParameterError(
                f"a round of {least} clients is cut to {terms.size(least)}, which is below it: "
                f"give {terms.size(least)}"
            )

    @property
    def asked(self) -> int:
        """How many are asked for the target."""
        return math.ceil(self.target * (1 + self.spare))


class Course:
    """say: posts a frame. open: a round of that plan, of these peers; gives its nonce, or raises
    ParameterError or PolicyRefused. enrolled: how many may be picked; None where nobody may be, as
    no roster is in force. prevented: why no round may begin now, or nothing. Both are asked again
    after RETRY seconds."""

    def __init__(
        self,
        terms: Terms,
        pace: Pace,
        *,
        say: Callable[[Peer, PaceFrame], None],
        open: Callable[[Plan, Sequence[Peer], float], bytes],
        enrolled: Callable[[], int | None],
        prevented: Callable[[], str],
        randomness: Randomness,
    ) -> None:
        self._of = instance("terms", terms, Terms), instance("pace", pace, Pace)
        pace.check(terms)
        self.line = Line()
        self.failures = self._tries = 0
        self.held: Why | None = None
        self.running: bytes | None = None
        self.waits = ""
        """Why the last round that was due could not begin; nothing where one did."""
        self.next = -math.inf
        self._do = Around(say, open, enrolled, prevented, randomness)
        self._here: dict[Peer, float] = {}  # until when it is not asked: it was told to go
        self._seated: frozenset[bytes] = frozenset()
        self._asking: Asking | None = None
        self._wake = -math.inf  # before it, who is here are too few
        self._next: tuple[Terms, Pace] | None = None  # of its next round, while one runs

    @property
    def terms(self) -> Terms:
        """Of the round that runs, or else of the next."""
        return self._of[0]

    @property
    def pace(self) -> Pace:
        """That goes with them."""
        return self._of[1]

    @property
    def candidates(self) -> int:
        """How many identities there are links of."""
        return len({peer.identity for peer in self._here})

    @property
    def asking(self) -> bool:
        return self._asking is not None

    @property
    def due(self) -> float:
        """When `tick` has something to do."""
        if self._asking is not None:
            return self._asking.until
        if self.running is not None or self.held is not None:
            return math.inf
        return max(self.next, self._wake)

    # News

    def joined(self, peer: Peer, now: float) -> None:
        """Who would wait for long hears so at once."""
        self._here[peer] = -math.inf
        self.line.of(_identity(peer)).link = peer
        self._wake = now
        if self._long_to_wait(now) and peer.identity not in self._seated:
            self._send_away([peer], now, self.held or Why.NOT_DUE)
        self._go(now)

    def taken_up(self, nonce: bytes, cohort: frozenset[bytes]) -> None:
        """Its round, of these identities, goes on after a restart."""
        self.running, self._seated = nonce, cohort

    def left(self, peer: Peer, now: float) -> None:
        """Of one that was asked the place is free, and it is as if it had been silent."""
        self._here.pop(peer, None)
        self.line.unlinked(peer)
        asking = self._asking
        if asking is not None and peer in asking.order:
            self.line.missed(asking.order.pop(peer), now)
            asking.ready.discard(peer)
        self._go(now)

    def ready(self, peer: Peer, nonce: bytes, now: float) -> bool:
        """Whether it was asked that; too late is as good as never."""
        asking = self._asking
        if asking is None or asking.nonce != nonce or peer not in asking.order:
            return False
        if now < asking.until:
            asking.ready.add(peer)
        self._go(now)
        return True

    def tick(self, now: float) -> None:
        self._go(now)

    def ended(self, end: End, now: float) -> None:
        """Of its round. Who was dropped from it by its own doing has missed it."""
        for party, identity in end.report.members.items():
            fault = end.report.faults.get(party)
            if fault is None and end.result is not None:
                self.line.done(identity)
            elif fault is not None and fault is not Fault.TOO_FEW_HOLDERS:
                self.line.missed(identity, now)
        if end.result is not None:
            self.failures = 0
        elif not _cancelled(end):
            self._fail(now)

    def over(self, now: float) -> None:
        """Its round is told to everybody: the next may come."""
        self.running, self._seated, self._wake = None, frozenset(), now
        if self._next is not None:
            self.become(*self._next, now)
        self._send_home(now)
        self._go(now)

    # The operator

    def hold(self, why: Why, now: float) -> None:
        """No round begins until `resume`; one that runs goes on. Everybody else is sent away."""
        self.held, self._asking = why, None
        self._send_home(now)

    def resume(self, now: float) -> None:
        self.held, self.failures, self._tries = None, 0, 0
        self.next, self._wake = min(self.next, now), now
        self._go(now)

    def hasten(self, now: float) -> None:
        """It is due at once. PolicyRefused where that would change nothing."""
        if self.held is not None:
            raise PolicyRefused("no round of it begins now: it is held, and resume makes it due")
        if self.running is not None:
            raise PolicyRefused("a round of it runs, and there is one at a time")
        self.next, self._wake = min(self.next, now), now
        self._go(now)

    def become(self, terms: Terms, pace: Pace, now: float) -> None:
        """Its next round is of these; one that runs goes on as it began, and an asking begins anew.
        Raises ParameterError for a pace that the terms do not have."""
        pace.check(terms)
        if self.running is not None:
            self._next = terms, pace
            return
        if pace.every < self.pace.every:
            self.next = min(self.next, now + pace.every)
        self._of = terms, pace
        self._next = self._asking = None
        self._wake = now

    def between(self, then: Callable[[], None], now: float) -> None:
        """Calls it once no round runs and nobody is asked, in the place of what was to be called
        before (rule N3). Everybody here is sent away then: what they know of the task is of
        before."""
        self._do.then[:] = [then]
        self._go(now)

    def abandon(self, now: float) -> None:
        """An asking ends without a round; the next is when it would have been."""
        if self._asking is not None:
            self._asking = None
            self.next = now + max(RETRY, self.pace.every)

    # Steps

    def _go(self, now: float) -> None:
        if self._do.then and self._asking is None and self.running is None:
            self._do.then.pop()()
            self._wake = now
            self._send_away(self._idle(now), now, self.held or Why.NOT_DUE)
        if self._asking is not None:
            if self._asking.over(self.pace.target, now):
                self._freeze(self._asking, now)
        elif self.running is None and self.held is None and now >= self.due:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._wake = math.inf
        if len(self._here) < self.pace.least:
            return
        peers = {i: peer for peer in self._here if self._here[peer] <= now and (i := peer.identity)}
        able = self.line.next(peers, now, lambda: self._do.randomness(8))
        if len(able) < self.pace.least:
            times = (max(t, self.line.until(i)) for i, t in self._people())
            self._wake = min((t for t in times if t > now), default=math.inf)
            return
        if self._is_prevented(now):
            return
        self._wake = now
        chosen = {peers[one]: one for one in able[: self.pace.asked]}
        nonce = self._do.randomness(NONCE_SIZE)
        awaited = frozenset(one for one in chosen.values() if self.line.of(one).outrun)
        self._asking = Asking(nonce, now + ANSWER, chosen, awaited)
        for peer in chosen:
            self._do.say(peer, Asked(nonce, ANSWER))

    def _is_prevented(self, now: float) -> bool:
        self.waits = self._do.prevented() or self._nobody()
        if self.waits:
            self._wake = now + RETRY
        return bool(self.waits)

    def _freeze(self, asking: Asking, now: float) -> None:
        """Its places are for those that were ready, in the order in which they were asked."""
        self._asking, silent = None, asking.silent
        self.line.outrun(asking)
        if now >= asking.until:
            for identity in silent:
                self.line.missed(identity, now)
        else:
            silent = []  # there were enough before their time was up
        ready = [peer for peer in asking.order if peer in asking.ready]
        if self._is_prevented(now):
            return
        size = self.terms.size(min(len(ready), self.pace.target))
        if size < self.pace.least:
            self._tries += 1
            self._wait(self._tries, now)
            return
        self._begin(ready[:size], max(size, self._do.enrolled() or 0), silent, now)

    def _nobody(self) -> str:
        """Why nobody may be chosen now, or nothing."""
        enrolled, most = self._do.enrolled(), self.terms.population
        if enrolled is None:
            return "no roster is in force, and nobody may be in a round without one"
        if enrolled > most:
            return f"{enrolled} are enrolled, and its terms count the corrupt among {most} at most"
        return ""

    def _begin(
        self, cohort: Sequence[Peer], population: int, silent: Iterable[bytes], now: float
    ) -> None:
        self._tries = 0
        self.next = now + self.pace.every
        try:
            plan = self.terms.plan(len(cohort), population)
            self.running = self._do.open(plan, cohort, now)
        except (ParameterError, PolicyRefused):
            self._fail(now)
            return
        self._seated = frozenset(map(_identity, cohort))
        self.line.took(self._seated, self._identities() - self._seated - {*silent})
        self._send_away(self._idle(now), now, Why.FULL)

    def _fail(self, now: float) -> None:
        self.failures += 1
        if self.failures >= MOST_FAILURES:
            self.hold(Why.FAILED, now)
        else:
            self._wait(self.failures, now)

    def _wait(self, times: int, now: float) -> None:
        self.next = now + min(LONGEST_WAIT, 2.0**times)
        self._send_home(now, Why.FAILED)

    def _send_home(self, now: float, why: Why = Why.NOT_DUE) -> None:
        """Whom nothing keeps here, where there is long to wait; once each."""
        if self._long_to_wait(now):
            self._send_away(self._idle(now), now, self.held or why)

    def _long_to_wait(self, now: float) -> bool:
        return self.held is not None or self.next - now > SOON

    def _idle(self, now: float) -> list[Peer]:
        """Who is neither of the round that runs nor on its way. Who has lost its link, and has come
        back too late for its seat, waits here for the word of how it ended."""
        seated = self._seated
        return [p for p, until in self._here.items() if until <= now and p.identity not in seated]

    def _send_away(self, peers: Iterable[Peer], now: float, why: Why) -> None:
        """They close their links and come back after it; none is asked before."""
        wait = AWAY if self.held is not None else max(RETRY, self.next - now)
        milliseconds = min(MAX_MILLISECONDS, math.ceil(wait * 1000))
        for peer in tuple(peers):
            self._here[peer] = now + wait
            self._do.say(peer, Later(NOBODY, milliseconds, why))

    def _people(self) -> Iterable[tuple[bytes, float]]:
        return ((i, until) for peer, until in self._here.items() if (i := peer.identity))

    def _identities(self) -> set[bytes]:
        return {identity for identity, _ in self._people()}


def _identity(peer: Peer) -> bytes:
    return peer.identity or b""


def _cancelled(end: End) -> bool:
    error = end.error
    return isinstance(error, Aborted) and error.reason is AbortReason.CANCELLED
