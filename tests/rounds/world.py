"""A server's rounds and its clients', driven by hand: one thread, a clock that is a number.

What a driver would do with effects happens here at once and in the order that it must have, so a
test says only what its peers do and how time goes by.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from secagg.budget import Budget
from secagg.drive.outbound import charged, noted
from secagg.effects import Claim, Effects, Peer, Write
from secagg.errors import InputError, SecAggError, Spent
from secagg.fields import Integer
from secagg.party import Aggregate
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.quota import Limits
from secagg.rounds.round import End
from secagg.rounds.server import ServerRounds
from secagg.store.memory import MemoryLedger
from secagg.types import Role
from secagg.wire.frame import payload_digest

LENGTH = 4
SOON = 10.0
"""Seconds of a deadline."""
SERVER = Peer("server", None, Role.SERVER)


def toy(clients: int, dropout: float = 0.5, length: int = LENGTH) -> Plan:
    """One phase, no protection, no rows."""
    fields = {"update": Integer(length, 1000)}
    return plan(clients=clients, fields=fields, corrupt=0, dropout=dropout, protocol="plainsum")


def real(
    clients: int, dropout: float = 0.25, length: int = LENGTH, protocol: str = "secagg"
) -> Plan:
    """Four phases."""
    fields = {"update": Integer(length, 1000)}
    return plan(clients=clients, fields=fields, corrupt=0, dropout=dropout, protocol=protocol)


def vector(who: object, number: int = 1) -> list[int]:
    seed = sum(str(who).encode())
    return [(7 * seed + 13 * number + 3 * i) % 2001 - 1000 for i in range(LENGTH)]


def total(names: Iterable[object], number: int = 1) -> list[int]:
    """The sum of these, in plain integers."""
    columns = zip(*(vector(who, number) for who in names), strict=True)
    return [sum(column) for column in columns]


def counter() -> Callable[[int], bytes]:
    """A service's randomness as a counter, so that nonces have names."""
    numbers = iter(range(1, 1000))
    return lambda size: next(numbers).to_bytes(size)


def nonce(number: int) -> bytes:
    return number.to_bytes(16)


Store = dict[bytes, bytes]
Ledger = dict[bytes, bytes]


def commit(store: Store, writes: Iterable[Write]) -> None:
    for write in writes:
        if write.value is not None:
            store[write.key] = write.value
        elif len(write.key) == 16:
            for key in [key for key in store if key.startswith(write.key)]:
                del store[key]
        else:
            store.pop(write.key, None)


def claim(ledger: Ledger, one: Claim) -> None:
    if ledger.setdefault(one.key, one.digest) != one.digest:
        raise Spent("claimed already")


@dataclass
class Client:
    """What a client's driver has: its rounds, its store, its ledger, and what it was told."""

    world: World
    peer: Peer
    rounds: ClientRounds
    store: Store = field(default_factory=dict)
    ledger: Ledger = field(default_factory=dict)
    give: Callable[[Offer], Contribution | None] | None = None
    reads: bool = True
    told: list[Outcome] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    here: bool = False
    budget: Budget | None = None
    notes: MemoryLedger = field(default_factory=MemoryLedger)

    def join(self) -> None:
        self.here = True
        self.world.server.joined(self.peer, self.world.now)
        self.rounds.joined(SERVER, self.world.now)
        self.world.settle()

    def leave(self) -> None:
        self.here = False
        self.world.server.left(self.peer, self.world.now)
        self.rounds.left(SERVER, self.world.now)
        self.world.settle()

    def say(self, frame: bytes) -> None:
        self.world.server.received(self.peer, frame, self.world.now)
        self.world.settle()

    def step(self) -> bool:
        """Effects first, then inputs; whether anything moved."""
        effects = self.rounds.take()
        moved = _anything(effects)
        commit(self.store, effects.writes)
        unpaid = charged(effects, self.budget)
        for refusal in unpaid.values():
            self.rounds.refused(refusal, self.world.now)
        refused = {*unpaid}
        for one in effects.claims:
            try:
                claim(self.ledger, one)
            except Spent:
                refused.add(one.key)
                self.rounds.refused(one, self.world.now)
        noted(effects, self.notes)
        for post in effects.posts:
            if self.here and not post.needs & refused:
                self.world.server.received(self.peer, post.frame.encode(), self.world.now)
        if effects.let_go and self.here:
            self.leave()
        for offer in self.rounds.asked():
            moved = True
            self.answer(offer)
        self.told += self.rounds.outcomes()
        return moved

    def answer(self, offer: Offer) -> None:
        if self.give is None:
            return
        given = self.give(offer)
        if given is None:
            self.rounds.decline(offer, self.world.now)
            return
        try:
            self.rounds.contribute(offer, given, self.world.now)
        except InputError as bad:
            self.errors.append(bad)


class World:
    """One server and its clients. Clients give `vector(name, round)` unless told otherwise."""

    def __init__(self, *, durable: bool = False, limits: Limits | None = None, **more: Any) -> None:
        self.now = 1000.0
        self.limits, self.durable, self.more = limits, durable, more
        self.store: Store = {}
        self.clients: dict[str, Client] = {}
        self.ends: list[End] = []
        self.let_go: list[Peer] = []
        self.posted: deque[tuple[Peer, bytes]] = deque()
        self.randomness = counter()
        self.server = self.new_server()

    def new_server(self) -> ServerRounds:
        return ServerRounds(
            self.limits, durable=self.durable, randomness=self.randomness, **self.more
        )

    def client(
        self,
        name: str,
        give: Callable[[Offer], Contribution | None] | None = None,
        *,
        silent: bool = False,
        identity: bytes | None = None,
        consent: Consent | None = None,
        budget: Budget | None = None,
        notes: MemoryLedger | None = None,
        **more: Any,
    ) -> Client:
        consent = consent or Consent(unprotected=True)
        rounds = ClientRounds(consent, counting=budget.counting if budget else None, **more)
        made = Client(self, Peer(name, identity), rounds, budget=budget)
        made.notes = notes or made.notes
        if not silent:
            made.give = give or (lambda offer: plainly(name, offer))
        self.clients[name] = made
        made.join()
        return made

    def open(self, plan: Plan, payload: bytes = b"", **more: Any) -> bytes:
        more.setdefault("deadlines", SOON)
        task = Task(plan, payload_digest=payload_digest(payload))
        opened = self.server.open(task, payload, now=self.now, **more)
        self.settle()
        return opened

    def settle(self) -> None:
        """Until nobody has anything to do before time goes on."""
        while self._step_server() | any([client.step() for client in self.clients.values()]):
            pass

    def _step_server(self) -> bool:
        effects = self.server.take()
        commit(self.store, effects.writes)
        self.let_go += effects.let_go
        for post in effects.posts:
            client = self.clients.get(str(post.peer.name))
            if client is None or not client.here or client.peer != post.peer or not client.reads:
                continue
            raw = post.frame.encode()
            self.posted.append((post.peer, raw))
            self.server.flushed(post.peer, len(raw), self.now)
            try:
                client.rounds.received(SERVER, raw, self.now)
            except SecAggError as error:
                client.errors.append(error)
                client.leave()
        for peer in effects.let_go:
            if (client := self.clients.get(str(peer.name))) is not None and client.here:
                client.leave()
        for work in effects.work:
            self.server.finished(work, work.job(), self.now)
        self.ends += self.server.ends()
        return _anything(effects)

    @property
    def due(self) -> float:
        return min(self.server.take().due, *(c.rounds.take().due for c in self.clients.values()))

    def wait(self, seconds: float) -> None:
        """Time goes by, with a tick at each moment that anybody asked for."""
        until = self.now + seconds
        while (due := self.due) <= until:
            self.now = max(self.now, due)
            self.tick()
        self.now = until
        self.tick()

    def tick(self) -> None:
        self.server.tick(self.now)
        for client in self.clients.values():
            client.rounds.tick(self.now)
        self.settle()

    def restart(self) -> None:
        """The server dies and another process begins with its store; every link is gone."""
        for client in self.clients.values():
            if client.here:
                client.here = False
                client.rounds.left(SERVER, self.now)
        self.server = self.new_server()
        self.server.restore(list(self.store.items()), self.now)
        self.settle()

    def result(self, opened: bytes) -> Aggregate:
        end = self.end(opened)
        if end.error is not None:
            raise end.error
        assert end.result is not None
        return end.result

    def end(self, opened: bytes) -> End:
        (end,) = (end for end in self.ends if end.nonce == opened)
        return end


def plainly(name: object, offer: Offer) -> Contribution:
    return Contribution({"update": np.array(vector(name, offer.round))})


def _anything(effects: Effects) -> bool:
    return effects != Effects(due=effects.due)


def levels(result: Aggregate) -> list[int]:
    return [int(level) for level in result.levels["update"]]


NEVER = math.inf
