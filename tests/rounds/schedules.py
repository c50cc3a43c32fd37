"""Days of a service in a second: clients that are silent, leave and return, rounds that fail, a
process that is restarted, and what must hold of it all (specs/50-service.md §2).

Under the pace are rounds that do nothing but last: they have the calls of `ServerRounds` that the
pace makes, and look at each whether it may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random  # noqa: TID251 - of a simulation, which a seed repeats
from typing import Any

from secagg.effects import Effects, Encodable, Peer, Post
from secagg.errors import Aborted
from secagg.fields import Integer
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.rounds import pace as pacing
from secagg.rounds.clock import RoundReport
from secagg.rounds.course import ANSWER, MOST_FAILURES, Pace
from secagg.rounds.line import FORGIVEN, MOST_MISSES
from secagg.rounds.round import End
from secagg.rounds.selection import Candidate
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.pace import Asked, Later, Ready, decode_pace

VOTES = {"votes": Integer(1, 3)}
TERMS = Terms.of(VOTES, (3, 80), population=120, corrupt=0, dropout=0)


class Broken(Exception):
    """An invariant does not hold."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


@dataclass
class Running:
    task: str
    cohort: tuple[Peer, ...]
    until: float
    result: Any
    faults: dict[PartyId, Fault]
    over: bool = False


class Lasting:
    """Rounds that last, in the place of `ServerRounds`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.links: set[Peer] = set()
        self.rounds: dict[bytes, Running] = {}
        self.posts: list[Post] = []
        self.gone: list[Peer] = []
        self.ended: list[End] = []

    @property
    def running(self) -> frozenset[bytes]:
        return frozenset(self.rounds)

    def cohort(self, nonce: bytes) -> frozenset[bytes]:
        return frozenset(peer.identity or b"" for peer in self.rounds[nonce].cohort)

    def open(self, task: Task, payload: bytes = b"", **more: Any) -> bytes:
        here = [Candidate(peer, i, 0.0) for i, peer in enumerate(self.links)]
        cohort = tuple(one.peer for one in more["select"](task.plan, here))
        return self.world.opened(self, task, cohort)

    def cancel(self, nonce: bytes, now: float) -> None:
        if nonce in self.rounds and not self.rounds[nonce].over:
            self._end(nonce, None, AbortReason.CANCELLED)

    def ends(self) -> list[End]:
        ends, self.ended = self.ended, []
        return ends

    def tell(self, nonce: bytes, now: float, *, kept: bool = True) -> None:
        del self.rounds[nonce]

    def say(self, peer: Peer, frame: Encodable, now: float) -> None:
        if peer in self.links:
            self.posts.append(Post(peer, frame))

    def drop(self, peer: Peer, why: str, now: float) -> None:
        self.links.discard(peer)
        self.gone.append(peer)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        must(not list(rows), "a row of the pace was given to others")

    def joined(self, peer: Peer, now: float, rounds: Container[bytes] = ()) -> None:
        self.links.add(peer)

    def left(self, peer: Peer, now: float) -> None:
        self.links.discard(peer)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        raise Broken("a frame of the pace reached the rounds")

    def tick(self, now: float) -> None:
        for nonce, one in tuple(self.rounds.items()):
            if now >= one.until and not one.over:
                self._end(nonce, one.result, AbortReason.BELOW_THRESHOLD)

    def ready(self, peer: Peer) -> bool:
        return peer in self.links

    def take(self) -> Effects:
        posts, self.posts, gone, self.gone = tuple(self.posts), [], tuple(self.gone), []
        due = (one.until for one in self.rounds.values() if not one.over)
        return Effects(posts=posts, let_go=gone, due=min(due, default=math.inf))

    def _end(self, nonce: bytes, result: Any, why: AbortReason) -> None:
        one = self.rounds[nonce]
        one.over = True
        members = {PartyId(i): peer.identity or b"" for i, peer in enumerate(one.cohort)}
        report = RoundReport({}, 0, 0, faults=one.faults, members=members)
        error = None if result else Aborted(why)
        self.ended.append(End(nonce, result, error, report))
        if not self.world.tasks[one.task].hold:
            del self.rounds[nonce]

    flushed = finished = failed = refused = None  # type: ignore[assignment]


@dataclass
class Person:
    """silent: how often it says nothing when it is asked; late: or too late; restless: how often it
    leaves in a minute; faulty: how often it drops out of a round; deaf: it keeps its link
    when it is sent away."""

    identity: bytes
    task: str
    silent: float = 0.0
    late: float = 0.0
    restless: float = 0.0
    faulty: float = 0.0
    deaf: bool = False
    link: Peer | None = None
    back: float = 0.0
    since: float = 0.0
    told: float = -math.inf
    """Until when it is away, as it was told."""
    passed: int = 0
    """Rounds that were opened without it while it waited."""

    @property
    def steady(self) -> bool:
        return not (self.silent or self.late or self.restless or self.faulty)


@dataclass
class Asking:
    nonce: bytes
    at: float
    asked: list[Peer] = field(default_factory=list)
    ready: list[Peer] = field(default_factory=list)


class World:
    """tasks: by name. failing: how often a round fails. hold: ends wait for an application."""

    def __init__(
        self,
        seed: int,
        tasks: Mapping[str, tuple[Terms, Pace, bool]],
        people: list[Person],
        *,
        failing: float = 0.0,
        kind: Callable[..., Any] | None = None,
    ) -> None:
        self.random, self.now, self.failing = Random(seed), 1000.0, failing
        self.people = {one.identity: one for one in people}
        self.sluggish = seed % 5 == 4  # it ticks once a second, and not when it is due
        self.kind = kind or pacing.Paced
        self.tasks = {
            name: pacing.Scheduled(terms, pace, partial(self.enrolled, name), hold=hold)
            for name, (terms, pace, hold) in tasks.items()
        }
        self.store: dict[bytes, bytes] = {}
        self.askings: dict[str, Asking] = {}
        self.opens: dict[str, list[float]] = {name: [] for name in tasks}
        self.failures = dict.fromkeys(tasks, 0)
        self.failed_at = dict.fromkeys(tasks, -math.inf)
        self.holding = dict.fromkeys(tasks, False)
        self.answers: list[tuple[float, Peer, bytes]] = []
        self.untold: list[tuple[float, bytes]] = []
        self.numbers = 0
        self.start()

    def enrolled(self, task: str) -> int:
        return sum(one.task == task for one in self.people.values())

    def start(self) -> None:
        self.inner = Lasting(self)
        self.paced = self.kind(
            self.inner, self.tasks, of=lambda peer: str(peer.address), randomness=self.bytes
        )
        self.paced.restore(list(self.store.items()), self.now)

    def bytes(self, size: int) -> bytes:
        return self.random.randbytes(size)

    # What happens

    def restart(self) -> None:
        """Every link is gone, and what was never stored."""
        self.settle()
        before = {name: self.standing(name) for name in self.tasks}
        for one in self.people.values():
            if one.link is not None:
                one.link, one.back = None, self.now + self.random.uniform(0, 20)
        self.askings.clear()
        self.answers.clear()
        self.untold.clear()
        self.start()
        for name, kept in before.items():
            must(self.standing(name) == kept, "a restart has changed who is next")

    def standing(self, task: str) -> object:
        course = self.paced.tasks[task]
        places = {i: (s.misses, s.passed, s.served) for i, s in course.line._standings.items()}
        return places, course.line.rounds, course.failures, course.held

    def join(self, one: Person) -> None:
        self.numbers += 1
        one.since = self.now
        one.told = -math.inf  # of a link that is no more
        one.link = Peer(f"link {self.numbers}", one.identity, address=one.task)
        self.paced.joined(one.link, self.now)
        self.settle()

    def leave(self, one: Person, back: float) -> None:
        link, one.link, one.back = one.link, None, self.now + back
        if link is not None:
            self.paced.left(link, self.now)
        self.settle()

    def settle(self) -> None:
        while True:
            effects = self.paced.take()
            self.due = effects.due
            for write in effects.writes:
                if write.value is None:
                    self.store.pop(write.key, None)
                else:
                    self.store[write.key] = write.value
            for post in effects.posts:
                self.heard(post.peer, decode_pace(post.frame.encode()))
            for name, end in self.paced.ends():
                self.end(name, end)
            if not (effects.posts or effects.writes or effects.let_go):
                return

    def heard(self, peer: Peer, frame: object) -> None:
        one = self.people[peer.identity or b""]
        if one.link != peer:
            return
        if isinstance(frame, Asked):
            asking = self.askings.setdefault(one.task, Asking(frame.nonce, self.now))
            if asking.nonce != frame.nonce:
                asking = self.askings[one.task] = Asking(frame.nonce, self.now)
            asking.asked.append(peer)
            must(one.told <= self.now, "somebody is asked that was sent away")
            if self.random.random() >= one.silent:
                slow = self.random.random() < one.late
                wait = ANSWER + self.random.random() if slow else self.random.uniform(0, ANSWER - 1)
                self.answers.append((self.now + wait, peer, Ready(frame.nonce).encode()))
        elif isinstance(frame, Later):
            seated = [r for r in self.inner.rounds.values() if peer in r.cohort and not r.over]
            must(not seated, "somebody is sent away out of a running round")
            one.told = self.now + frame.seconds - 0.001  # it was rounded up
            if one.deaf:
                return
            one.back = one.told + self.random.uniform(0, 5)
            one.link = None
            self.paced.left(peer, self.now)

    def opened(self, inner: Lasting, task: Task, cohort: tuple[Peer, ...]) -> bytes:
        """Every invariant of a round that begins."""
        identities = [peer.identity or b"" for peer in cohort]
        name = self.people[identities[0]].task if identities else "nobody"
        terms, pace = self.tasks[name].terms, self.tasks[name].pace
        must(not self.holding[name], "a round of a task that is held")
        others = [one for one in inner.rounds.values() if one.task == name]
        must(not others, "two rounds of one task at once")
        must(pace.least <= len(cohort) <= pace.target, "a cohort below the least, or above")
        must(len({*identities}) == len(cohort), "an identity has two places")
        must(task.plan == terms.plan(len(cohort), self.enrolled(name)), "another plan")
        asking = self.askings[name]
        in_time = [peer for peer in asking.ready if peer in inner.links]
        must({*cohort} <= {*in_time}, "a place is of somebody that was silent, or has left")
        expected = terms.size(min(len(in_time), pace.target))
        must(len(cohort) == expected, "a place is lost")
        wanted = math.ceil(pace.target * (1 + pace.spare))
        must(len(asking.asked) <= wanted, "more are asked than are spared")
        failures = self.failures[name]
        if failures:
            waited = self.now - self.failed_at[name]
            must(waited >= min(60, 2**failures), "too soon after a round that failed")
        elif self.opens[name]:
            must(self.now - self.opens[name][-1] >= pace.every, "too soon after the last round")
        self.opens[name].append(self.now)
        self.waited(name, {*identities}, asking)
        nonce = self.random.randbytes(16)
        fails = self.random.random() < self.failing
        faults = {
            PartyId(i): Fault.LATE
            for i, identity in enumerate(identities)
            if self.random.random() < self.people[identity].faulty
        }
        until = self.now + self.random.uniform(1, 40)
        inner.rounds[nonce] = Running(name, cohort, until, None if fails else object(), faults)
        return nonce

    def waited(self, name: str, cohort: set[bytes], asking: Asking) -> None:
        """Nobody that is steady is passed over more often than there are others to take turns, nor
        anybody for ever."""
        present = {one.identity for one in self.people.values() if one.link is not None}
        asked = {peer.identity for peer in asking.asked}
        least = self.tasks[name].pace.least
        for one in self.people.values():
            if (
                one.task != name
                or one.identity not in present
                or max(one.told, one.since) > asking.at
            ):
                continue
            one.passed = 0 if one.identity in cohort else one.passed + 1
            turns = 2 + math.ceil(self.enrolled(name) / least)
            most = turns if one.steady else turns + FORGIVEN * MOST_MISSES
            must(one.passed <= most or one.identity in asked, "somebody waits for ever")

    def end(self, name: str, end: End) -> None:
        cancelled = isinstance(end.error, Aborted) and end.error.reason is AbortReason.CANCELLED
        if end.result is not None:
            self.failures[name] = 0
        elif not cancelled:
            self.failures[name] += 1
            self.failed_at[name] = self.now
            if self.failures[name] >= MOST_FAILURES:
                self.holding[name] = True
        if self.tasks[name].hold:
            self.untold.append((self.now + self.random.uniform(0, 10), end.nonce))

    def pause(self, name: str) -> None:
        self.holding[name] = True
        self.paced.pause(name, self.now)
        self.settle()

    def resume(self, name: str) -> None:
        self.holding[name], self.failures[name] = False, 0
        self.opens[name] and self.opens[name].append(-math.inf)
        self.paced.resume(name, self.now)
        self.settle()

    # Time

    def run(self, seconds: float, *, restarts: float = 0.0, operator: float = 0.0) -> None:
        """restarts, operator: how often in a minute."""
        end = self.now + seconds
        while self.now < end:
            for one in self.people.values():
                if one.link is None and one.back <= self.now:
                    self.join(one)
                elif one.link is not None and self.random.random() < one.restless / 60:
                    self.leave(one, self.random.uniform(0, 90))
            if self.random.random() < restarts / 60:
                self.restart()
            if self.random.random() < operator / 60:
                self.interfere()
            self.step(self.now + 1.0)

    def interfere(self) -> None:
        name = self.random.choice(list(self.tasks))
        if self.holding[name]:
            self.resume(name)
        elif self.random.random() < 0.5:
            self.pause(name)
        else:
            self.paced.cancel(name, self.now)
            self.opens[name] and self.opens[name].append(-math.inf)
            self.settle()

    def step(self, until: float) -> None:
        """To that moment, in the order of what is due."""
        while True:
            answer = min((at for at, _, _ in self.answers), default=math.inf)
            told = min((at for at, _ in self.untold), default=math.inf)
            due = math.inf if self.sluggish else max(self.due, self.now)
            at = min(answer, told, due)
            if at > until:
                break
            self.now = max(self.now, at)
            if answer <= self.now:
                self.say()
            if told <= self.now:
                self.tell()
            if self.sluggish:
                continue
            self.paced.tick(self.now)
            before = self.due
            self.settle()
            must(self.due > self.now or self.due != before, "it is due, and nothing is done")
        self.now = until
        self.paced.tick(until)
        self.settle()
        self.lively()

    def lively(self) -> None:
        """Where enough may be asked, somebody is."""
        for name, course in self.paced.tasks.items():
            if course.held or course.asking or course.running or self.now < course.next:
                continue
            able = {
                peer.identity
                for peer, until in course._here.items()
                if max(until, course.line.until(peer.identity or b"")) <= self.now
            }
            must(len(able) < self.tasks[name].pace.least, "nobody is asked, and there are enough")

    def say(self) -> None:
        due = [one for one in self.answers if one[0] <= self.now]
        self.answers = [one for one in self.answers if one[0] > self.now]
        for _, peer, frame in due:
            if peer not in self.inner.links:
                continue
            asking = self.askings[self.people[peer.identity or b""].task]
            if frame[2:18] == asking.nonce and self.now < asking.at + ANSWER:
                asking.ready.append(peer)
            self.paced.received(peer, frame, self.now)
            self.settle()

    def tell(self) -> None:
        due = [nonce for at, nonce in self.untold if at <= self.now]
        self.untold = [one for one in self.untold if one[0] > self.now]
        for nonce in due:
            self.paced.tell(nonce, self.now)
            self.settle()


def world(seed: int, kind: Callable[..., Any] | None = None) -> World:
    """One of many: a few tasks and people of every sort, by lot."""
    random = Random(f"world {seed}")
    tasks = {}
    people = []
    for number in range(random.randint(1, 3)):
        least = random.randint(3, 6)
        target = random.randint(least, 2 * least) if seed % 7 else 70
        every = random.choice([0.0, 0.0, 20.0, 100.0])
        spare = random.choice(["0", "1/4", "1"])
        name = f"task {number}"
        tasks[name] = (TERMS, Pace(least, target, spare, every), random.random() < 0.3)  # type: ignore[arg-type]
        for _ in range(random.randint(least, 4 * target) if target < 70 else 100):
            steady = random.random() < 0.6
            habits = [0.0 if steady else random.choice([0.0, 0.3, 0.9]) for _ in range(4)]
            one = Person(b"id %d" % len(people), name, *habits, random.random() < 0.2)  # type: ignore[arg-type]
            people.append(one)
    return World(seed, tasks, people, failing=random.choice([0.0, 0.2, 0.7]), kind=kind)
