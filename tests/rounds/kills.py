"""One round whose server or one of whose clients dies at a chosen moment, and goes on.

A moment lies before and after everything that a driver does with effects: the transaction of its
writes, each claim, each post, and the result that an application puts in a safe place. A round
that nobody disturbs says how many there are, so a test goes through all of them and cannot miss
one. Whatever is under way to a process that dies is gone; what it has sent arrives.

Nothing here hangs on luck: frames arrive one by one and in order, and time goes on only when
nobody has anything to do.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from secagg.budget import Budget
from secagg.crypto import sign
from secagg.drive.outbound import charged
from secagg.earlier import Memory, write
from secagg.effects import Charge, Claim, Effects, Peer, Post, Write
from secagg.errors import Aborted, SecAggError, Spent
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.players import Players
from secagg.policy import Policy
from secagg.roster import SignedRoster
from secagg.rounds.base import sorted_out
from secagg.rounds.client import ClientRounds
from secagg.rounds.clock import RoundReport
from secagg.rounds.enrolled import Host
from secagg.rounds.hosting import Written, written_in
from secagg.rounds.membership import Membership
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.round import End
from secagg.rounds.server import ServerRounds
from secagg.store.memory import MemoryLedger
from secagg.testing import counter_randomness
from secagg.types import AbortReason, PartyId, Seed
from secagg.wire.frame import Message, decode_frame, payload_digest
from secagg.wire.header import TAG_AT
from tests.rounds.world import SERVER, SOON, Ledger, Store, claim, commit, counter, vector

PAYLOAD = b"the task"
ADMIN = Seed(b"admin".ljust(32))
"""Of the roster of a scene whose clients sign."""
UNMASK_REQUEST = 6
WRITE, CHARGE, CLAIM, NOTE, POST, RESULT = "write", "charge", "claim", "note", "post", "result"
FILE = "file"
"""What a driver does, as moments are named."""


class Killed(Exception):
    """The process is no more."""


@dataclass(frozen=True)
class Scene:
    """What happens. gone: this client never says that message, and nothing after it. known: whether
    links prove who is at their far end. victim: who dies, None for nobody; at: at which of its
    moments, from 0. back: how many of its last transactions its rows forget, as if they had been
    put back; its ledger forgets nothing. budget: makes
    one for a client, which is its own for good. late: transcripts are filed after clients were told
    of the end, as those of rounds are that the application has cancelled."""

    plan: Plan
    gone: tuple[str, str] | None = None
    known: bool = True
    victim: str | None = None
    at: int = -1
    back: int = 0
    budget: Callable[[str], Budget | None] | None = None
    late: bool = False

    @property
    def names(self) -> str:
        return "abcdefgh"[: self.plan.threat.clients]


@dataclass
class Process:
    """Whoever may die: what it has on its disk, and how often it has begun anew."""

    name: str
    store: Store = field(default_factory=dict)
    before: list[Store] = field(default_factory=list)
    ledger: Ledger = field(default_factory=dict)
    lives: int = 0
    budget: Budget | None = None
    notes: MemoryLedger = field(default_factory=MemoryLedger)


_News: TypeAlias = Callable[[], None]


class Town:
    """Plays one scene to its end."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.now = scene, 1000.0
        self.moments: list[str] = []
        """Those of the victim, named by what had just been done and what came next."""
        self.killed = ""
        self.said: defaultdict[tuple[str, str, int], set[bytes]] = defaultdict(set)
        """Every message that left, by sender, receiver and tag."""
        self.results: list[Aggregate] = []
        self.ends: list[End] = []
        self.files: dict[bytes, RoundReport] = {}
        """Transcripts and evidence, on a disk of the server's application, by place."""
        self.told: dict[str, list[Outcome]] = {name: [] for name in scene.names}
        self.errors: list[SecAggError] = []
        self._draw = counter()
        self.cast = Players.of(len(scene.names), counter_randomness(b"cast"))
        self._under_way: deque[tuple[str, _News]] = deque()
        self._server = Process("server")
        self._clients = {name: Process(name, budget=self._budget(name)) for name in scene.names}
        self._links: dict[str, Peer] = {}
        self._out: set[str] = set()
        self.server = self._new_server()
        self.clients = {name: self._new_client(name) for name in scene.names}

    def play(self) -> Town:
        for name in self.scene.names:
            self._join(name)
        self._carry()
        self._guarded(self._server, self._open)
        while True:
            self._carry()
            due = min(self.server.take().due, *(c.take().due for c in self.clients.values()))
            if due == math.inf:
                return self
            self.now = max(self.now, due)
            self._guarded(self._server, self._tick)
            for name in self.scene.names:
                self._guarded(self._clients[name], lambda n=name: self._client_ticks(n))  # type: ignore[misc]

    # What processes do

    def _open(self) -> None:
        task = Task(self.scene.plan, payload_digest=payload_digest(PAYLOAD))
        self.server.open(task, PAYLOAD, deadlines=SOON, now=self.now, hold=True)
        self._serve()

    def _tick(self) -> None:
        self.server.tick(self.now)
        self._serve()

    def _serve(self) -> None:
        """What a server's driver and application do after each call."""
        while (effects := self.server.take()) != Effects(due=effects.due):
            self._do(self._server, effects, self._to_client)
            for work in effects.work:
                self.server.finished(work, work.job(), self.now)
        for place, report in self.server.filing.left().items():
            self._file(place, report)
        for end in self.server.ends():
            place = written_in(end.nonce)
            if not self.scene.late:
                self._file(place, end.report)
            self._one_by_one(self._server, [(RESULT, partial(self._stored, end))])
            if end.nonce in self.server.running:
                self.server.tell(end.nonce, self.now)
            self._serve()
            if self.scene.late:
                self._file(place, end.report)

    def _file(self, place: bytes, report: RoundReport) -> None:
        """One that is there is never replaced, as a process that died before it could say so has
        written it; nothing is filed of a round that has nothing written down."""
        if report.transcript:
            self._one_by_one(self._server, [(FILE, lambda: self._written(place, report))])
            assert self.files[place].transcript == report.transcript
            assert self.files[place].evidence == report.evidence
            self.server.filing.filed(place)
            self._serve()

    def _written(self, place: bytes, report: RoundReport) -> None:
        self.files.setdefault(place, report)

    def _stored(self, end: End) -> None:
        self.ends.append(end)
        if end.result is not None:
            self.results.append(end.result)

    def _client_ticks(self, name: str) -> None:
        self.clients[name].tick(self.now)
        self._act(name)

    def _act(self, name: str) -> None:
        """What a client's driver and application do after each call."""
        rounds, process = self.clients[name], self._clients[name]
        while (effects := rounds.take()) != Effects(due=effects.due) or self._answers(name):
            self._do(process, effects, lambda peer, raw: self._to_server(name, raw))
        self.told[name] += rounds.outcomes()

    def _answers(self, name: str) -> bool:
        offers = self.clients[name].asked()
        for offer in offers:
            self.clients[name].contribute(offer, contribution(name, offer), self.now)
        return bool(offers)

    def _do(self, process: Process, effects: Effects, send: Callable[[Peer, bytes], None]) -> None:
        """As every driver must: writes, charges, claims, notes, posts, in that order."""
        refused: set[bytes] = set()
        steps: list[tuple[str, _News]] = []
        if effects.writes:
            steps.append((WRITE, lambda: self._commit(process, effects.writes)))
        steps += [(CHARGE, partial(self._charge, process, one, refused)) for one in effects.charges]
        steps += [(CLAIM, partial(self._claim, process, one, refused)) for one in effects.claims]
        steps += [(NOTE, partial(write, process.notes, one)) for one in effects.notes]
        steps += [(POST, partial(self._post, post, refused, send)) for post in effects.posts]
        self._one_by_one(process, steps)

    def _one_by_one(self, process: Process, steps: Sequence[tuple[str, _News]]) -> None:
        """Between two steps is one moment: nobody can tell after the one from before the other."""
        before = "before "
        for doing, step in steps:
            self._passes(process, before + doing)
            step()
            before = f"after {doing}, before "
        if steps:
            self._passes(process, before.removesuffix(", before "))

    def _commit(self, process: Process, writes: Iterable[Write]) -> None:
        process.before.append(dict(process.store))
        commit(process.store, writes)

    def _charge(self, process: Process, one: Charge, refused: set[bytes]) -> None:
        for refusal in charged(Effects(charges=(one,)), process.budget).values():
            refused.add(one.key)
            self.clients[process.name].refused(refusal, self.now)

    def _claim(self, process: Process, one: Claim, refused: set[bytes]) -> None:
        try:
            claim(process.ledger, one)
        except Spent:
            refused.add(one.key)
            self.clients[process.name].refused(one, self.now)

    def _post(self, post: Post, refused: set[bytes], send: Callable[[Peer, bytes], None]) -> None:
        if not post.needs & refused:
            send(post.peer, post.frame.encode())

    # What is under way

    def _carry(self) -> None:
        while self._under_way:
            self._under_way.popleft()[1]()

    def _to_client(self, peer: Peer, raw: bytes) -> None:
        name = str(peer.name)[0]
        if self._links.get(name) != peer:
            return
        self._note("server", name, raw)
        self.server.flushed(peer, len(raw), self.now)
        self._under_way.append((name, lambda: self._heard(name, raw)))

    def _heard(self, name: str, raw: bytes) -> None:
        def hear() -> None:
            try:
                self.clients[name].received(SERVER, raw, self.now)
            except SecAggError as error:
                self.errors.append(error)
            self._act(name)

        self._guarded(self._clients[name], hear)

    def _to_server(self, name: str, raw: bytes) -> None:
        if name in self._out or (peer := self._links.get(name)) is None:
            return
        frame = decode_frame(raw, limit=len(raw))
        assert isinstance(frame, Message)
        spoken = self.scene.plan.info.messages[frame.data[TAG_AT]]
        if (name, spoken) == self.scene.gone:
            self._out.add(name)
            self._unlink(name)
            return
        self._note(name, "server", raw)
        self._news(lambda: self.server.received(peer, raw, self.now))

    def _note(self, sender: str, to: str, raw: bytes) -> None:
        frame = decode_frame(raw, limit=len(raw))
        if isinstance(frame, Message):
            self.said[sender, to, frame.data[TAG_AT]].add(frame.data)

    def _news(self, call: _News) -> None:
        def tell() -> None:
            call()
            self._serve()

        self._under_way.append(("server", lambda: self._guarded(self._server, tell)))

    def _join(self, name: str) -> None:
        if name in self._out:
            return
        identity = self._identity(name) if self.scene.known else None
        life = self._clients[name].lives + self._server.lives
        peer = self._links[name] = Peer(f"{name}, link {life}", identity)
        self._news(lambda: self.server.joined(peer, self.now))
        self.clients[name].joined(SERVER, self.now)
        self._guarded(self._clients[name], lambda: self._act(name))

    def _unlink(self, name: str) -> None:
        """The server hears of it after all that was sent before."""
        if (peer := self._links.pop(name, None)) is not None:
            self._news(lambda: self.server.left(peer, self.now))
            self.clients[name].left(SERVER, self.now)

    # Death

    def _passes(self, process: Process, moment: str) -> None:
        """Names a moment of the victim, and is its last where the scene says so."""
        if process.name == self.scene.victim and not process.lives:
            self.moments.append(moment)
            if len(self.moments) - 1 == self.scene.at:
                self.killed = moment
                raise Killed

    def _guarded(self, process: Process, call: _News) -> None:
        try:
            call()
        except Killed:
            process.lives += 1
            for _ in range(self.scene.back):
                process.store = process.before.pop() if process.before else {}
            self._under_way = deque(n for n in self._under_way if n[0] != process.name)
            if process is self._server:
                self._server_begins()
            else:
                self._client_begins(process.name)

    def _server_begins(self) -> None:
        for name in tuple(self._links):
            del self._links[name]
            self.clients[name].left(SERVER, self.now)
            self._act(name)
        self.server = self._new_server()
        self.server.restore(list(self._server.store.items())[::-1], self.now)
        self._serve()
        for name in self.scene.names:
            self._join(name)

    def _client_begins(self, name: str) -> None:
        self._unlink(name)
        rounds = self.clients[name] = self._new_client(name)
        rounds.restore(list(self._clients[name].store.items())[::-1], self.now)
        self._act(name)
        self._join(name)

    def _new_server(self) -> ServerRounds:
        files = self.scene.plan.suite.signed
        given = {"randomness": self._draw, "host": self._host, "files": files}
        return ServerRounds(durable=True, **given)

    def _new_client(self, name: str) -> ClientRounds:
        budget = self._clients[name].budget
        counting = budget.counting if budget else None
        member = self._membership(name) if self.scene.plan.suite.signed else None
        more: dict[str, Any] = {"durable": self.scene.known, "counting": counting, "member": member}
        return ClientRounds(Consent(unprotected=True), **more)

    def _identity(self, name: str) -> bytes:
        if not self.scene.plan.suite.signed:
            return name.encode()
        return self.cast.roster.key_of(PartyId(self.scene.names.index(name)))

    @property
    def _host(self) -> Host | None:
        if not self.scene.plan.suite.signed:
            return None
        return Host(SignedRoster.sign(self.cast.roster, ADMIN), self.cast.server)

    def unfiled(self) -> list[bytes]:
        """Places in the server's store where something is written down."""
        return [
            place
            for (place, _), own in sorted_out(self._server.store.items()).items()
            if Written().restore(own)
        ]

    def memory(self, name: str) -> Memory:
        """What the notes of a member say, whatever a process of it knows."""
        admin = sign.public_key(ADMIN)
        return Memory.read(self._clients[name].notes, admin, self._identity(name), Policy())

    def _membership(self, name: str) -> Membership:
        seed = self.cast.members[self.scene.names.index(name)]
        admin, memory = sign.public_key(ADMIN), self.memory(name)
        return Membership(self.cast.roster, admin, seed, Policy(), memory, math.inf)

    def _budget(self, name: str) -> Budget | None:
        return self.scene.budget(name) if self.scene.budget else None

    def budget(self, name: str) -> Budget:
        """Of that client."""
        found = self._clients[name].budget
        assert found is not None
        return found


def contribution(name: str, offer: Offer) -> Contribution:
    return Contribution({"update": np.array(vector(name, offer.round))}, payload=PAYLOAD)


def deaths(scene: Scene, every: int = 1) -> Iterator[Town]:
    """The scene with its victim killed at every moment that it has in it, or at every second one,
    third one and so on, with the last."""
    undisturbed = Town(scene).play()
    last = len(undisturbed.moments) - 1
    for at in sorted({*range(0, last, every), last}):
        town = Town(replace(scene, at=at)).play()
        assert town.killed == undisturbed.moments[at], "until it dies, all goes as it did"
        yield town


def lost(end: End) -> bool:
    return isinstance(end.error, Aborted) and end.error.reason is AbortReason.LOST
