"""The demo in active mode: the same training, by clients that need not trust their server.

All machines are in this process, each with a key of its own in a roster that an administrator's
key has signed. After the last round comes, if it is asked for, one whose server lies in one of
three ways, with its true key.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from secagg import records
from secagg.crypto import sign
from secagg.demo import data, model, result, view
from secagg.demo.check import Contribution, Masked, judge, plain_mean, unmask_nothing
from secagg.demo.client import FIELD, training_generator
from secagg.demo.deaths import schedule
from secagg.demo.model import Flat, Samples
from secagg.demo.result import Progress, Row
from secagg.demo.tap import UPLOAD
from secagg.demo.task import Task
from secagg.drive import pump
from secagg.errors import Aborted, ParameterError
from secagg.fields import FixedPoint
from secagg.mask import add_streams
from secagg.party import Aggregate, aggregated
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.protocol import Session
from secagg.roster import Pin, Roster, SignedRoster
from secagg.sansio import Dropped
from secagg.shown import short
from secagg.types import SERVER, PartyId, Seed, system_randomness
from secagg.wire.frame import NONCE_SIZE, payload_digest

CLIP, BITS = 2.0, 16
"""As in the demo whose server follows the protocol."""
_YEAR = 365 * 24 * 3600


@dataclass(frozen=True)
class Settings:
    """As the demo's. cheat: what the server does in a round after these; None for no such round."""

    clients: int = 16
    rounds: int = 8
    seed: int = 1
    protocol: str | None = None
    corrupt: str = "0.2"
    dropout: str = "0.25"
    alpha: float = 0.5
    cheat: str | None = None


@dataclass(frozen=True)
class Caught:
    """A round whose server lied. refused: of each client, why it ended. answered: who opened a
    share. why: there is no sum; None if there is one."""

    cheat: str
    refused: Mapping[int, str]
    answered: tuple[int, ...]
    why: str | None


@dataclass(frozen=True)
class Result:
    """honest: the rounds whose server followed the protocol, as the demo shows them. caught: the
    one after them, whose server did not."""

    honest: result.Result
    caught: Caught | None

    __repr__ = short

    @property
    def plan(self) -> Plan:
        return self.honest.plan

    def broken(self) -> str | None:
        """The promise that this run did not keep, in words; None is success."""
        caught = self.caught
        if caught is not None and (caught.why is None or caught.answered):
            return f"the server lied ({caught.cheat}), and somebody opened a share for it"
        return self.honest.broken()

    def as_json(self) -> dict[str, object]:
        """The demo's keys, of the honest rounds, and what became of the lie."""
        caught = self.caught
        return self.honest.as_json() | {
            "adversary": "active",
            "cheat": caught.cheat if caught else None,
            "cheat_refused": {str(c): why for c, why in caught.refused.items()} if caught else {},
            "cheat_answered": len(caught.answered) if caught else 0,
            "cheat_sum": caught is not None and caught.why is None,
        }


def run(settings: Settings, progress: Progress) -> Result:
    """The whole demo. Raises ParameterError where no plan exists, errors.Aborted where a round of
    an honest server has no sum."""
    begun = time.monotonic()
    generator = np.random.default_rng(settings.seed)
    training, held_out = data.load(generator)
    split = data.dirichlet_split(training.labels, settings.clients, settings.alpha, generator)
    parts = [training.take(rows) for rows in split]
    plan = _plan(settings, parts)
    progress.clients = settings.clients
    deaths = schedule(plan, settings.rounds, generator)
    members = _Members.drawn(settings.clients)
    federation = _Federation(settings, plan, parts, held_out, members, progress)
    for number in range(1, settings.rounds + 1):
        progress.begin(number)
        federation.round(number, deaths[number])
    honest = result.Result(
        plan,
        tuple(progress.rows),
        federation.shown(),
        len(training),
        len(held_out),
        settings.seed,
        time.monotonic() - begun,
    )
    caught = None
    if settings.cheat is not None:
        progress.stage = "one more round, whose server lies"
        caught = federation.cheated(settings.rounds + 1, settings.cheat)
        progress.stage = ""
    return Result(honest, caught)


def _plan(settings: Settings, parts: list[Samples]) -> Plan:
    plan = choose.plan(
        clients=settings.clients,
        fields={FIELD: FixedPoint(model.LENGTH, CLIP, BITS)},
        corrupt=settings.corrupt,
        dropout=settings.dropout,
        adversary="active",
        protocol=settings.protocol,
        max_weight=1 << max(map(len, parts)).bit_length(),
    )
    lies = plan.info.lies()
    if settings.cheat is not None and settings.cheat not in lies:
        raise ParameterError(
            f"{plan.protocol} has no server that lies so: --cheat is one of {', '.join(lies)}"
        )
    return plan


@dataclass(frozen=True)
class _Members:
    """Who is in the roster, and every key of it: this process plays them all."""

    roster: Roster
    seeds: Mapping[PartyId, Seed]

    @classmethod
    def drawn(cls, clients: int) -> _Members:
        seeds = {PartyId(place): Seed(os.urandom(Seed.SIZE)) for place in range(clients)}
        seeds[SERVER], admin = Seed(os.urandom(Seed.SIZE)), Seed(os.urandom(Seed.SIZE))
        keys = tuple(sign.public_key(seeds[PartyId(place)]) for place in range(clients))
        now = int(time.time())
        roster = Roster(1, now + _YEAR, sign.public_key(seeds[SERVER]), keys)
        signed = SignedRoster.sign(roster, admin)
        return cls(Pin(sign.public_key(admin), 1).verify(signed, now), seeds)


class _Counted:
    """A client's machine, with the bytes of it. upload: its masked input."""

    def __init__(self, machine: Any) -> None:
        self._machine, self.up, self.down = machine, 0, 0
        self.upload = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def outgoing(self) -> list[Any]:
        messages: list[Any] = self._machine.outgoing()
        self.up += sum(len(message.data) for message in messages)
        if messages and self._machine.phase == UPLOAD:
            self.upload = messages[-1].data
        return messages

    def receive(self, sender: PartyId, message: bytes, /) -> None:
        self.down += len(message)
        self._machine.receive(sender, message)


@dataclass
class _Federation:
    """model: the global one, from secure means. plain: from float64 means of the same clients."""

    settings: Settings
    plan: Plan
    parts: list[Samples]
    held_out: Samples
    members: _Members
    progress: Progress

    def __post_init__(self) -> None:
        self.model: Flat = model.initial(np.random.default_rng(self.settings.seed))
        self.plain: Flat = self.model

    def round(self, number: int, deaths: Mapping[int, str]) -> None:
        begun = time.monotonic()
        session, given, clients = self._begun(number)
        server = self._server(session, None)

        def gone(party: PartyId, phase: str) -> bool:
            self.progress.phase = server.phase
            return bool(deaths.get(party) == server.phase)

        total = pump.run({SERVER: server}, clients, gone=gone)
        seconds = time.monotonic() - begun
        for event in server.events():
            if isinstance(event, Dropped):
                self.progress.lose(event.party, deaths.get(event.party, event.fault.value))
        seed = self.plan.rotation(session.nonce, session.payload_digest)
        self._sum(number, aggregated(self.plan, total, (), seed), given, clients, seconds)
        first = min(total.contributors)
        self._last = first, given[first], clients[first].upload

    def shown(self) -> Masked:
        """One upload of the last round beside the truth: its signature ends it."""
        client, true, message = self._last
        return unmask_nothing(self.plan, client, true, message[: -sign.SIGNATURE_SIZE])

    def cheated(self, number: int, cheat: str) -> Caught:
        session, _, clients = self._begun(number)
        server, why = self._server(session, cheat), None
        try:
            pump.run({SERVER: server}, clients)
        except Aborted as ended:
            why = str(ended)
        refused = {p: one.ended.detail for p, one in clients.items() if one.ended is not None}
        answered = tuple(p for p, one in clients.items() if one.phase == "unmask")
        return Caught(cheat, {int(p): text for p, text in refused.items()}, answered, why)

    def _begun(
        self, number: int
    ) -> tuple[Session, dict[PartyId, Contribution], dict[PartyId, Any]]:
        digest = payload_digest(Task(number, self.model).encode())
        nonce = os.urandom(NONCE_SIZE)
        session = self.plan.session(nonce, digest, roster=self.members.roster)
        seed = self.plan.rotation(nonce, digest)
        given: dict[PartyId, Contribution] = {}
        clients: dict[PartyId, Any] = {}
        for party in map(PartyId, range(self.settings.clients)):
            given[party] = self._trained(self.model, number, party)
            clients[party] = _Counted(self._client(session, party))
            encoded = records.encode(
                self.plan.schema,
                {FIELD: given[party].update},
                given[party].weight,
                system_randomness,
                self.plan.structure,
                seed,
            )
            clients[party].set_input(encoded.vector, digest)
        return session, given, clients

    def _client(self, session: Session, party: PartyId) -> Any:
        return self.plan.info.family.client(
            session,
            party,
            randomness=system_randomness,
            expander=add_streams,
            signing=self.members.seeds[party],
        )

    def _server(self, session: Session, cheat: str | None) -> Any:
        signing = self.members.seeds[SERVER]
        if cheat is not None:
            return self.plan.info.lies()[cheat](session, expander=add_streams, signing=signing)
        family = self.plan.info.family
        return family.machines(session, None, expander=add_streams, signing=signing)[SERVER]

    def _trained(self, start: Flat, number: int, party: int) -> Contribution:
        generator = training_generator(self.settings.seed, number, party)
        update = model.update(start, self.parts[party], model.Training(), generator)
        return Contribution(update, len(self.parts[party]))

    def _sum(
        self,
        number: int,
        total: Aggregate,
        given: Mapping[PartyId, Contribution],
        clients: Mapping[PartyId, Any],
        seconds: float,
    ) -> None:
        there = sorted(total.contributors)
        verdict = judge(self.plan, total, [given[party] for party in there])
        plain = [self._trained(self.plain, number, party) for party in there]
        self.model = self.model + total.mean[FIELD]
        self.plain = self.plain + plain_mean(plain)
        self.progress.rows.append(
            Row(
                round=number,
                contributors=len(there),
                dropped=dict(sorted(self.progress.dropped.items())),
                exact=verdict.exact,
                max_abs_error=verdict.max_abs_error,
                clipped=verdict.clipped,
                accuracy=model.accuracy(self.model, self.held_out),
                plain_accuracy=model.accuracy(self.plain, self.held_out),
                seconds=seconds,
                bytes_up=sum(one.up for one in clients.values()) / len(clients),
                bytes_down=sum(one.down for one in clients.values()) / len(clients),
            )
        )


LIES = {
    "split": "The server told each half of the clients that part of the other had dropped out, to "
    "have two sums in the place of one.",
    "swap": "The server put keys of its own in the place of client 0's, to read the shares that "
    "are sealed to it.",
    "lie": "The server told one half of the clients that client 0 was there, and the other half "
    "that it had dropped out, to have both of its secrets.",
}
"""In words, by name."""


def summarize(found: Result, progress: Progress, console: Console) -> None:
    """Prints the rounds, what the clients did where the server lied, and what the plan promises."""
    console.print(view.table(progress))
    console.print()
    console.print(view.upload(found.honest))
    for paragraph in _summary(found):
        console.print()
        console.print(paragraph)


def _summary(found: Result) -> Iterator[Text | Table]:
    clients = found.plan.threat.clients
    yield Text(
        f"{clients} clients with keys in a signed roster, all in this process. In every round "
        "above the server followed the protocol. "
        + (found.honest.broken() or "Each sum is the plain integer sum, bit for bit.")
    )
    caught = found.caught
    if caught is not None:
        yield Text(f"Then it lied. {LIES.get(caught.cheat, caught.cheat)}")
        yield _refusals(caught)
        opened = f"{len(caught.answered)} of {clients} clients opened a share"
        ended = "and it has a sum" if caught.why is None else f"and it has no sum ({caught.why})"
        yield Text(f"{opened}, {ended}.")
    yield Text("The plan, in its own words:")
    for line in view.told(found.plan):
        yield Text(line)


def _refusals(caught: Caught) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    drawn.add_column("clients", justify="right")
    drawn.add_column("what they refused, and why")
    for why, number in Counter(caught.refused.values()).most_common():
        drawn.add_row(str(number), why)
    return drawn
