"""Rounds of several tasks over one server's links: who is asked when (specs/50-service.md §2)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from secagg.effects import Effects, Encodable, Peer, Refusal, Work, Write
from secagg.errors import WireError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.rounds import remembered
from secagg.rounds.base import PACE, ROUNDS, Outbox
from secagg.rounds.clock import Deadlines
from secagg.rounds.course import LONGEST_WAIT, Course, Pace
from secagg.rounds.enrolled import Host
from secagg.rounds.round import End
from secagg.rounds.selection import Select, chosen
from secagg.shown import short
from secagg.types import Randomness, system_randomness
from secagg.wire.frame import payload_digest
from secagg.wire.pace import Ready, Why, decode_pace, is_pace

# Theory of operation.
#
# These are rounds around rounds. A server's own know links, seats and sessions, and open a round
# whenever they are told to; who tells them is here. Every call goes through to them, but for the
# three frames of asking, which they never see; and after every call it is looked whether a round of
# a task has ended. What is said beside rounds goes out by them as well, so that it counts as what
# waits for a peer.
#
# A link is of one task, by what it has greeted for, and of an identity: who has proved none is let
# go, because a place in a queue that anybody may leave and enter anew is none.
#
# What survives a restart is who has missed what, when somebody was last in a round, how many rounds
# failed, whether a task is paused, when its next round is, and which one runs. The latter is a date
# of the wall clock, as no other outlives a process: `epoch` is what to add to the time of calls.
#
# Impossible: a round that ends and is of no task, as all are opened here; a READY of a link without
# a task, as that was let go.

log = logging.getLogger(__name__)

_TASK, _STANDING = b"t", b"s"
INLINE = 64 << 10
"""Bytes of the largest payload that is announced as it is; a larger one by digest and size (§3)."""
MOST_UNASKED = 8
"""Times that one says it is ready and was not asked, or no longer, before it is let go."""


class Inner(Protocol):
    """What `ServerRounds` can do, as far as it is needed here."""

    @property
    def running(self) -> frozenset[bytes]: ...
    def cohort(self, nonce: bytes) -> frozenset[bytes]: ...
    def open(
        self,
        task: Task,
        payload: bytes = b"",
        *,
        deadlines: Deadlines,
        now: float,
        inline: bool = True,
        select: Select | None = None,
        hold: bool = False,
        host: Host | None = None,
    ) -> bytes: ...
    def cancel(self, nonce: bytes, now: float) -> None: ...
    def ends(self) -> list[End]: ...
    def tell(self, nonce: bytes, now: float, *, kept: bool = True) -> None: ...
    def say(self, peer: Peer, frame: Encodable, now: float) -> None: ...
    def drop(self, peer: Peer, why: str, now: float) -> None: ...
    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None: ...
    def joined(self, peer: Peer, now: float, rounds: Container[bytes] | None = None) -> None: ...
    def left(self, peer: Peer, now: float) -> None: ...
    def received(self, peer: Peer, frame: bytes, now: float) -> None: ...
    def flushed(self, peer: Peer, size: int, now: float) -> None: ...
    def finished(self, work: Work, value: Any, now: float) -> None: ...
    def failed(self, work: Work, error: Exception, now: float) -> None: ...
    def refused(self, refusal: Refusal, now: float) -> None: ...
    def tick(self, now: float) -> None: ...
    def ready(self, peer: Peer) -> bool: ...
    def take(self) -> Effects: ...


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A task of a service. payload: what every round of it is about. hold: nobody hears how a round
    ended before `tell`. enrolled: how many identities may be picked, at any moment; None where a
    roster is missing. prevented: why no round may begin at that moment, in words; nothing where one
    may. host: of the roster that is in force, where clients sign."""

    terms: Terms
    pace: Pace
    enrolled: Callable[[], int | None]
    payload: bytes = b""
    hold: bool = False
    prevented: Callable[[], str] = lambda: ""
    host: Callable[[], Host | None] = lambda: None

    __repr__ = short


class Paced:
    """The rounds of several tasks (`secagg.rounds.base.Rounds`)."""

    def __init__(
        self,
        inner: Inner,
        tasks: Mapping[str, Scheduled],
        *,
        of: Callable[[Peer], str | None],
        epoch: float = 0.0,
        randomness: Randomness = system_randomness,
    ) -> None:
        """tasks: by name. of: the task that a peer has greeted for. epoch: seconds of the wall
        clock when the time of calls is 0. Raises ParameterError for a pace that its terms do not
        have."""
        self._inner, self._of, self._epoch = inner, of, epoch
        self._outbox = Outbox()
        self._now = 0.0
        self._tasks, self._peers = dict(tasks), dict[Peer, Course]()
        self._unasked: dict[Peer, int] = {}
        self._written: dict[str, tuple[Any, ...]] = {}
        self._ends: list[tuple[str, End]] = []
        self._left_alone: dict[bytes, bytes] = {}  # rows of tasks that there are none of
        self._randomness, self.draining = randomness, False
        self._courses = {name: self._course(name, one) for name, one in self._tasks.items()}

    # What the application sees

    @property
    def tasks(self) -> Mapping[str, Course]:
        """To look at: candidates, when the next round is, why a task is held. One that is gone is
        here as long as it has a round."""
        known, found = self._tasks, self._courses.items()
        return {name: one for name, one in found if name in known or one.running is not None}

    @property
    def scheduled(self) -> Mapping[str, Scheduled]:
        """What the next round of each is about."""
        return self._tasks

    @property
    def idle(self) -> bool:
        """Whether no round runs, nor is one about to: what a drain waits for."""
        return all(one.running is None and not one.asking for one in self._courses.values())

    def pause(self, task: str, now: float) -> None:
        """No further round of it until `resume`; one that runs goes on."""
        self._after(lambda: self._courses[task].hold(Why.PAUSED, now), now)

    def resume(self, task: str, now: float) -> None:
        """Also of a task that five failures have paused; it is due at once."""
        self._after(lambda: self._courses[task].resume(now), now)

    def hasten(self, task: str, now: float) -> None:
        """Its next round is due at once. PolicyRefused where a round runs, or it is held."""
        self._after(lambda: self._courses[task].hasten(now), now)

    def between(self, task: str, then: Callable[[], None], now: float) -> None:
        """As `Course.between`: what a task's rounds are of changes between two of them."""
        self._after(lambda: self._courses[task].between(then, now), now)

    def drain(self, now: float) -> None:
        """No further round of any, as before the process ends; `idle` says when none is left. Not
        remembered: a process that starts again is not draining."""
        self.draining = True
        for one in self._courses.values():
            if one.held is None:  # a pause is held already, and is remembered
                self._after(partial(one.hold, Why.DRAINING, now), now)

    def become(self, tasks: Mapping[str, Scheduled], now: float) -> None:
        """Other tasks from now on. Of one that is changed the next round is another; one that is
        gone ends the round that it has, and then all links of its clients. Raises ParameterError
        for a pace that its terms do not have, and then all is as it was."""
        for one in tasks.values():
            one.pace.check(one.terms)
        before, self._tasks = self._tasks, dict(tasks)
        for name, one in tasks.items():
            if name not in self._courses:
                self._courses[name] = self._course(name, one)
                rows, self._left_alone = self._left_alone, {}
                for key, value in rows.items():
                    self._take_up(key, value)
                self._courses[name].running = None  # it was lost when the process began
            course = self._courses[name]
            course.become(one.terms, one.pace, now)
            if course.held is Why.DRAINING and name not in before and not self.draining:
                course.resume(now)  # it was gone, and is back
        for name, course in self._courses.items():
            gone = name not in tasks
            if course.held is None and (gone or (self.draining and name not in before)):
                course.hold(Why.DRAINING, now)
        self._settle(now)

    def cancel(self, task: str, now: float) -> None:
        """The round of it that runs, or is about to; the next is when it would have been."""
        one = self._courses[task]
        if one.running is not None:
            self._inner.cancel(one.running, now)
        self._after(lambda: one.abandon(now), now)

    def ends(self) -> list[tuple[str, End]]:
        """As `ServerRounds.ends`, each with its task."""
        ends, self._ends = self._ends, []
        return ends

    def tell(self, nonce: bytes, now: float, *, kept: bool = True) -> None:
        """As `ServerRounds.tell`; until then no round of that task begins."""
        self._inner.tell(nonce, now, kept=kept)
        self._after(lambda: self._over(nonce, now), now)

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Raises WireError for rows of these that are none."""
        own, others = dict[bytes, bytes](), list[tuple[bytes, bytes]]()
        for key, value in rows:
            if key.startswith(PACE):
                own[key[len(PACE) + len(ROUNDS) :]] = value
            else:
                others.append((key, value))
        self._inner.restore(others, now)
        for key, value in own.items():
            self._take_up(key, value)
        for one in self._courses.values():
            if one.running in self._inner.running and one.running is not None:
                one.taken_up(one.running, self._inner.cohort(one.running))
            else:
                one.running = None
            # what was written by a clock that was wrong is no reason to wait for years
            one.next = min(one.next, now + max(LONGEST_WAIT, one.pace.every))
        self._after(lambda: None, now)

    def joined(self, peer: Peer, now: float) -> None:
        course = self.tasks.get(self._of(peer) or "")
        old = None if course is None else course.line.link(peer.identity)
        if old is not None:  # half open, most often
            self._inner.drop(old, "a newer link has proved the same identity", now)
            self._forget(old, now)
        runs = None if course is None else course.running
        # a seat in a round of another task is for a link of that: this client knows of none
        self._inner.joined(peer, now, () if runs is None else (runs,))
        if peer.identity is None or course is None:
            self._inner.drop(peer, "it has greeted for no task here", now)
        elif self._inner.ready(peer):  # else it was turned away
            self._peers[peer] = course
            self._after(lambda: course.joined(peer, now), now)
        self._settle(now)

    def left(self, peer: Peer, now: float) -> None:
        self._inner.left(peer, now)
        self._after(lambda: self._forget(peer, now), now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        if (course := self._peers.get(peer)) is None or not is_pace(frame):
            self._inner.received(peer, frame, now)
        else:
            self._heard(peer, course, frame, now)
        self._settle(now)

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        self._inner.flushed(peer, size, now)

    def finished(self, work: Work, value: Any, now: float) -> None:
        self._after(lambda: self._inner.finished(work, value, now), now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        self._after(lambda: self._inner.failed(work, error, now), now)

    def refused(self, refusal: Refusal, now: float) -> None:
        self._inner.refused(refusal, now)

    def tick(self, now: float) -> None:
        self._inner.tick(now)
        self._settle(now)
        for one in self._courses.values():
            self._after(partial(one.tick, now), now)

    def ready(self, peer: Peer) -> bool:
        return self._inner.ready(peer)

    def take(self) -> Effects:
        """Rows of these before all: they say which round runs."""
        taken = self._inner.take()
        while gone := [peer for peer in taken.let_go if peer in self._peers]:
            for peer in gone:
                self._forget(peer, self._now)
            taken = taken.and_then(self._inner.take())
        for name, one in self._courses.items():
            self._write(name, one)
        due = min([taken.due, *(one.due for one in self._courses.values())])
        return replace(taken, writes=self._outbox.take().writes + taken.writes, due=due)

    # Inside

    def _after(self, call: Callable[[], None], now: float) -> None:
        self._now = now
        call()
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Rounds that ended are over."""
        self._now = now
        for end in self._inner.ends():
            for name, one in self._courses.items():
                if one.running == end.nonce:
                    self._ends.append((name, end))
                    one.ended(end, now)
                    if name in self._tasks and not self._tasks[name].hold:
                        one.over(now)
        for name in self._courses.keys() - self._tasks.keys():
            course = self._courses[name]
            if course.running is None and course.candidates:
                self._close(course, now)

    def _close(self, course: Course, now: float) -> None:
        """Of a task that there is no more: what is known of it stays, as it may come again."""
        for peer in [peer for peer, one in self._peers.items() if one is course]:
            self._inner.drop(peer, "there is no such task any more", now)
            self._forget(peer, now)

    def _forget(self, peer: Peer, now: float) -> None:
        """It is gone, or let go: no candidate, and its place in an asking is free."""
        self._unasked.pop(peer, None)
        if (course := self._peers.pop(peer, None)) is not None:
            course.left(peer, now)

    def _over(self, nonce: bytes, now: float) -> None:
        for one in self._courses.values():
            if one.running == nonce:
                one.over(now)

    def _heard(self, peer: Peer, course: Course, frame: bytes, now: float) -> None:
        try:
            said = decode_pace(frame)
            if not isinstance(said, Ready):
                raise WireError("a client says that it is ready; it neither asks nor sends away")
        except WireError as error:
            self._inner.drop(peer, str(error), now)
            return
        if course.ready(peer, said.nonce, now):
            self._unasked.pop(peer, None)
            return
        self._unasked[peer] = self._unasked.get(peer, 0) + 1
        if self._unasked[peer] > MOST_UNASKED:
            self._inner.drop(peer, f"it was ready {MOST_UNASKED} times unasked, and more", now)

    def _say(self, peer: Peer, frame: Encodable) -> None:
        self._inner.say(peer, frame, self._now)

    def _course(self, name: str, one: Scheduled) -> Course:
        return Course(
            one.terms,
            one.pace,
            say=self._say,
            open=partial(self._open, name),
            enrolled=one.enrolled,
            prevented=one.prevented,
            randomness=self._randomness,
        )

    def _open(self, name: str, plan: Plan, cohort: Sequence[Peer], now: float) -> bytes:
        task = self._tasks[name]
        about = Task(plan, payload_digest=payload_digest(task.payload))
        more: dict[str, Any] = {"select": chosen(cohort), "hold": task.hold}
        more |= {"inline": len(task.payload) <= INLINE, "host": task.host()}
        deadlines = task.pace.deadlines
        return self._inner.open(about, task.payload, deadlines=deadlines, now=now, **more)

    def _write(self, name: str, one: Course) -> None:
        """What has changed."""
        state, writes = remembered.state_of(one), []
        if self._written.get(name) != state:
            self._written[name] = state
            writes.append(Write(_TASK + name.encode(), remembered.encode(state, self._epoch)))
        key = _STANDING + name.encode() + b"\0"
        writes += [Write(key + identity, value) for identity, value in one.line.changed()]
        self._outbox.write(PACE, ROUNDS, writes)

    def _take_up(self, key: bytes, value: bytes) -> None:
        """Rows of a task that there is no more are left alone."""
        name, _, identity = key[1:].partition(b"\0")
        one = self._courses.get(name.decode("latin-1"))
        if one is None:
            self._left_alone[key] = value
            return
        if key[:1] == _STANDING:
            one.line.restore(identity, value)
            return
        remembered.take_up(one, value, self._epoch)
