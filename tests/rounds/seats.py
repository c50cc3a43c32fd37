"""One round of a service in which links are lost and the server is killed: real rounds on both
sides, and a clock, links and a disk that are values.

A killed server has the rows that it had committed, and nothing that it had not; what was on its way
is lost with the link, in order. A client is one process, and keeps its seat (specs/50-service.md
§2.10).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - of a simulation, which a seed repeats

import numpy as np

from secagg.effects import Effects, Peer
from secagg.errors import SecAggError
from secagg.fields import Integer
from secagg.plans.terms import Terms
from secagg.rounds.asked import AskedRounds
from secagg.rounds.client import ClientRounds
from secagg.rounds.course import Pace
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.pace import Paced, Scheduled
from secagg.rounds.round import End
from secagg.rounds.server import ServerRounds
from secagg.service.jitter import Jitter
from secagg.wire.frame import Message, decode_frame
from secagg.wire.header import TAG_AT
from secagg.wire.pace import Later, decode_pace, is_pace
from tests.rounds.schedules import must
from tests.rounds.world import SERVER, Ledger, Store, claim, commit

CLIENTS, LENGTH, DEADLINE = 4, 2, 20.0
TERMS = Terms.of(
    {"update": Integer(LENGTH, 99)}, (CLIENTS, CLIENTS), population=9, corrupt=0, dropout="0.25"
)
PACE = Pace(CLIENTS, CLIENTS, "0", every=600.0, deadlines=DEADLINE)  # type: ignore[arg-type]
LONGEST_DOWN = 3.0
"""Seconds that a killed server of a gentle schedule is away."""


@dataclass
class Person:
    """A client: its rounds, its ledger, its link if there is one, and what it was told."""

    number: int
    asked: AskedRounds
    jitter: Jitter
    ledger: Ledger = field(default_factory=dict)
    link: Peer | None = None
    away: bool = False
    told: list[Outcome] = field(default_factory=list)
    said: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    ticking: float = math.inf
    refused: SecAggError | None = None
    asked_of: bool = False
    """Whether it has heard of the round."""

    @property
    def identity(self) -> bytes:
        return b"identity %d" % self.number

    @property
    def rounds(self) -> ClientRounds:
        return self.asked.rounds

    @property
    def values(self) -> list[int]:
        return [10 * self.number + 1, self.number]


class World:
    """losses, kills: how many, at most. gentle: none lasts so long that a phase could close."""

    def __init__(self, seed: int, *, losses: int, kills: int, gentle: bool) -> None:
        self.random, self.now, self.gentle = Random(seed), 1000.0, gentle
        self.losses, self.kills = losses, kills
        self.demanding = gentle
        self.lost = self.killed = self.links = 0
        self.store: Store = {}
        self.ends: list[End] = []
        self.paced: Paced | None = None
        self.life = 0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = itertools.count()
        self.ticking = math.inf
        self.people = [self.person(i) for i in range(CLIENTS)]
        self.start()
        for one in self.people:
            self.at(self.random.random(), lambda one=one: self.connect(one))  # type: ignore[misc]

    def person(self, number: int) -> Person:
        random = Random(self.random.random())
        rounds = ClientRounds(Consent(terms=TERMS), returning=True, randomness=random.randbytes)
        return Person(number, AskedRounds(rounds), Jitter(random.randbytes))

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (self.now + seconds, next(self.count), do))

    # The server

    def start(self) -> None:
        """Or start again, from what is stored."""
        self.life += 1
        inner = ServerRounds(durable=True, randomness=self.random.randbytes)
        tasks = {"task": Scheduled(TERMS, PACE, lambda: CLIENTS, hold=True)}
        self.paced = Paced(inner, tasks, of=lambda peer: "task", randomness=self.random.randbytes)
        self.paced.restore(list(self.store.items()), self.now)
        self.ticking = math.inf
        self.serve()

    def kill(self) -> None:
        """Between any two of its steps."""
        self.killed += 1
        self.paced = None
        for one in self.people:
            if one.link is not None:
                self.lose(one)
        longest = LONGEST_DOWN if self.gentle else 3 * DEADLINE
        self.at(self.random.uniform(0, longest), self.start)

    def serve(self) -> None:
        """What it wants done, in order; it may die after the rows are safe, and before or after
        any frame has left."""
        if (paced := self.paced) is None:
            return
        while True:
            ended = [end for _, end in paced.ends()]
            for end in ended:  # a result is kept in the transaction in which its round ends
                paced.tell(end.nonce, self.now)
            effects = paced.take()
            dies = self.dies(effects)
            if dies == 0 and effects.writes:
                return self.kill()
            commit(self.store, effects.writes)
            self.ends += ended
            for number, post in enumerate(effects.posts):
                if number + 1 == dies:
                    return self.kill()
                one = next(p for p in self.people if p.identity == post.peer.identity)
                raw = post.frame.encode()
                self.check_said(one, raw)
                if one.link == post.peer:
                    paced.flushed(post.peer, len(raw), self.now)
                    for frame in self.carried(one, raw, up=False):
                        self.send(one, lambda o=one, r=frame: self.hears(o, r))  # type: ignore[misc]
            for peer in effects.let_go:
                for one in self.people:
                    if one.link == peer:
                        self.lose(one)
            for work in effects.work:
                paced.finished(work, work.job(), self.now)
            if not (effects.writes or effects.posts or effects.let_go or effects.work or ended):
                break
        if effects.due < self.ticking:
            self.ticking, life = effects.due, self.life
            self.at(max(0.0, effects.due - self.now), lambda: self.tick(life))

    def check_said(self, one: Person, raw: bytes) -> None:
        if is_pace(raw) and isinstance(decode_pace(raw), Later):
            must(not one.rounds.running or bool(self.ends), "one is sent away out of its round")

    def dies(self, effects: Effects) -> int | None:
        """0: before its rows are safe; else the number of the post that does not leave."""
        if self.killed < self.kills and self.random.random() < 0.05:
            return self.random.randint(0, 1 + len(effects.posts))
        return None

    def tick(self, life: int) -> None:
        if self.paced is not None and life == self.life:
            self.ticking = math.inf
            self.paced.tick(self.now)
            self.serve()

    # Links

    def send(self, one: Person, arrives: Callable[[], None]) -> None:
        """In order, unless the link is lost first."""
        link = one.link

        def there() -> None:
            if one.link == link:
                arrives()

        self.at(0.0, there)

    def connect(self, one: Person) -> None:
        if one.link is not None or one.told:
            return
        if self.paced is None:
            return self.again(one)
        self.links += 1
        one.link = Peer(f"link {self.links}", one.identity)
        self.paced.joined(one.link, self.now)
        self.serve()
        if one.link is not None:
            one.asked.joined(SERVER, self.now)
            self.act(one)

    def again(self, one: Person) -> None:
        delay = one.jitter.again(one.rounds.pressing - self.now)
        self.at(delay, lambda: self.connect(one))

    def lose(self, one: Person) -> None:
        """Both sides hear of it, the server if it is there."""
        link, one.link = one.link, None
        one.asked.left(SERVER, self.now)
        self.act(one)
        if self.paced is not None and link is not None:
            self.paced.left(link, self.now)
        if (away := one.asked.later()) is not None:
            self.at(one.jitter.after(away.seconds), lambda: self.connect(one))
        else:
            self.again(one)

    # A client

    def hears(self, one: Person, raw: bytes) -> None:
        try:
            one.asked.received(SERVER, raw, self.now)
        except SecAggError as refused:  # what a driver raises, having left
            one.refused = refused
            one.rounds.withdraw(self.now)
            self.act(one)
            if one.link is not None:
                self.lose(one)
            one.rounds.give_up(self.now)
        self.act(one)

    def act(self, one: Person) -> None:
        while True:
            effects = one.asked.take()
            for this in effects.claims:
                claim(one.ledger, this)  # Spent is a second wording, and fails the schedule
            for post in effects.posts:
                if one.link is not None:
                    self.says(one, post.frame.encode())
            if effects.let_go and one.link is not None:
                self.lose(one)
            for offer in one.rounds.asked():
                one.asked_of = True
                slow = self.random.uniform(0, DEADLINE / 2 if self.gentle else 1.2 * DEADLINE)
                self.at(slow, lambda o=offer: self.give(one, o))  # type: ignore[misc]
            one.told += one.rounds.outcomes()
            if not (effects.claims or effects.posts):
                break
        if effects.due < one.ticking:
            one.ticking = effects.due
            self.at(max(0.0, effects.due - self.now), lambda: self.tick_of(one))

    def tick_of(self, one: Person) -> None:
        one.ticking = math.inf
        one.asked.tick(self.now)
        self.act(one)

    def give(self, one: Person, offer: Offer) -> None:
        values = {"update": np.array(one.values)}
        one.rounds.contribute(offer, Contribution(values, name="monday"), self.now)
        self.act(one)

    def says(self, one: Person, raw: bytes) -> None:
        """The same bytes again, or nothing."""
        if not is_pace(raw):
            frame = decode_frame(raw, limit=1 << 20)
            assert isinstance(frame, Message)
            first = one.said.setdefault((frame.nonce, frame.data[TAG_AT]), frame.data)
            must(first == frame.data, "a message has two wordings")

        def arrives(raw: bytes = raw) -> None:
            if self.paced is not None and one.link is not None:
                self.paced.received(one.link, raw, self.now)
                self.serve()

        if self.lost < self.losses and self.random.random() < 0.1:
            self.lost += 1
            if self.random.random() < 0.5:
                arrives()
            if one.link is not None:
                self.lose(one)
            return
        for frame in self.carried(one, raw, up=True):
            self.send(one, lambda f=frame: arrives(f))  # type: ignore[misc]

    def carried(self, one: Person, raw: bytes, *, up: bool) -> list[bytes]:
        """What comes out of the link for a frame: somebody in between may have done something."""
        return [raw]

    # All of it

    def run(self) -> World:
        until = self.now + 900
        while self.heap and not self.over:
            self.now, _, do = heapq.heappop(self.heap)
            if self.now > until:
                break
            do()
        self.judge()
        return self

    @property
    def over(self) -> bool:
        return bool(self.ends) and all(one.told or not one.asked_of for one in self.people)

    def judge(self) -> None:
        must(self.over, "a round, or a client of it, never hears the end")
        for end in self.ends:
            if end.result is not None:
                self.judge_sum(end)
        sums = {end.nonce for end in self.ends if end.result is not None}
        must(len({end.nonce for end in self.ends}) == len(self.ends) == 1, "a round ends twice")
        must(len(sums) <= 1, "an input is in two sums")
        if self.demanding:
            must(len(sums) == 1, "a round was lost with links that were back in time")
            (result,) = [end.result for end in self.ends if end.result is not None][:1]
            must(result is not None and len(result.contributors) == CLIENTS, "a seat was lost")
            must(all(one.told[0].included for one in self.people), "one hears it is not in the sum")

    def judge_sum(self, end: End) -> None:
        assert end.result is not None
        members = {*end.result.members.values()}
        inside = [one for one in self.people if one.identity in members]
        expected = [sum(column) for column in zip(*(one.values for one in inside), strict=True)]
        must(end.result.levels["update"].tolist() == expected, "the sum is wrong")
        for one in self.people:
            if one.told and one.told[0].included is not None and one.told[0].reason is None:
                must(one.told[0].included == (one in inside), "one hears the wrong thing")


def world(seed: int) -> World:
    """One of many."""
    random = Random(f"seats {seed}")
    gentle = seed % 4 != 3
    return World(seed, losses=random.randint(0, 4), kills=random.randint(0, 2), gentle=gentle)
