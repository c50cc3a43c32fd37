"""What the conformance rules run on: fresh machines of one small session, and how to say no."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from secagg import sansio
from secagg.crypto import labels
from secagg.errors import Aborted, SecAggError
from secagg.layout import Layout, RingVector, Segment
from secagg.mask import add_streams
from secagg.players import Players
from secagg.protocol import Infeasible, OneServer, Params, ProtocolInfo, Session, SeveralServers
from secagg.ring import Ring
from secagg.sansio import ClientMachine, RingTotal
from secagg.shown import short
from secagg.suite import SUITE_1, Suite
from secagg.testing.network import (
    Act,
    Network,
    Schedule,
    Wire,
    counter_randomness,
    honest,
    plain_sum,
    players,
    server_keys,
)
from secagg.threat import Threat
from secagg.types import SERVER, PartyId, Randomness
from secagg.wire.header import DIGEST_SIZE, HEADER_SIZE

THREATS = (
    Threat(8, Fraction(0), Fraction(1, 4)),
    Threat(5, Fraction(0), Fraction(1, 5)),
    Threat(16, Fraction(0), Fraction(1, 8)),
    Threat(8, Fraction(0), Fraction(1, 4), servers=3),
)
_LAYOUT = Layout((Segment(Ring(1), 33), Segment(Ring(13), 5), Segment(Ring(64), 3)))
"""Three segments; a ring of one bit, one that is no whole lane, and one that fills its lane."""

SEED = b"conformance"
_PLAN = b"conformance"
"""In the place of a plan's bytes, where a server writes them down."""

_STEPS = 64
"""Far more than any protocol's phases and waves of jobs: beyond it, a server never ends."""


class ConformanceError(AssertionError):
    """A protocol breaks the rule that the message begins with."""


def demand(fact: bool, otherwise: str) -> None:
    """ConformanceError with those words, unless it is a fact."""
    if not fact:
        raise ConformanceError(otherwise)


def demand_raises(kinds: type[SecAggError], act: Callable[[], Any], what: str) -> SecAggError:
    """The error of `act`, which must be one of `kinds`; ConformanceError for another or none."""
    try:
        act()
    except kinds as error:
        return error
    except SecAggError as error:
        raise ConformanceError(f"{what} raises {type(error).__name__}: {error}") from error
    raise ConformanceError(f"{what} raises nothing, and {kinds.__name__} is the rule")


@dataclass(frozen=True)
class Bench:
    """One protocol under one threat, with inputs: makes networks of it, and judges their sums."""

    info: ProtocolInfo
    threat: Threat
    session: Session
    inputs: Mapping[PartyId, RingVector]

    __repr__ = short

    @classmethod
    def of(cls, info: ProtocolInfo, threats: Iterable[Threat], suite: Suite = SUITE_1) -> Bench:
        rules = []
        for threat in threats:
            if suite.signed:  # of a server that may lie
                threat = replace(threat, adversary="active")
            params = info.parameters(threat)
            if isinstance(params, Infeasible):
                rules.append(params.rule)
                continue
            inputs = {PartyId(i): input_of(i) for i in range(params.clients)}
            return cls(info, threat, _session(info, threat, params, suite), inputs)
        raise ConformanceError(f"{info.name}: no threat to test with is feasible: {rules}")

    @cached_property
    def players(self) -> Players | None:
        """Everybody's keys, where clients sign."""
        return players(self.params, self.session.suite, SEED)

    def client(
        self, party: PartyId, draw: Randomness, session: Session | None = None
    ) -> ClientMachine:
        """A machine for this client, without an input. session: in place of the bench's."""
        return self.info.family.client(
            session or self.session,
            party,
            randomness=draw,
            expander=add_streams,
            signing=self.players.members[party] if self.players else None,
        )

    @property
    def params(self) -> Params:
        return self.session.params

    @property
    def parties(self) -> list[PartyId]:
        return list(self.inputs)

    @property
    def phases(self) -> list[str]:
        return [phase.name for phase in self.info.phases(self.params, self.session.suite)]

    @property
    def resumes(self) -> bool:
        """Whether machines of this suite go on from rows."""
        return self.info.resumes(self.session.suite)

    def spare(self, phase: str) -> int:
        """How many clients may vanish in a phase without ending the round."""
        if phase == self.phases[0]:
            return self.params.clients - self.params.min_clients
        return self.params.clients - self.params.min_survivors

    def network(self, schedule: Schedule | None = None, wire: Wire = honest) -> Network:
        return Network.of(
            self.info,
            self.session,
            self.inputs,
            seed=SEED,
            schedule=schedule,
            wire=wire,
        )

    def run(self, network: Network) -> RingTotal:
        network.start()
        for _ in range(_STEPS):
            if network.over:
                return network.result()
            network.step()
        raise ConformanceError(f"the session does not end: phase {network.server.phase!r}")

    def exact(self, network: Network, why: str) -> RingTotal:
        """Runs to a total that must be the plain sum over a plausible set of contributors."""
        try:
            total = self.run(network)
        except Aborted as error:
            raise ConformanceError(f"{why}: the round ends without a sum: {error}") from error
        expected = plain_sum(self.session.layout, self.inputs, total.contributors)
        got = [lane.tolist() for lane in total.vector]
        demand(got == expected, f"{why}: the total is not the sum over its contributors")
        everyone = frozenset(self.inputs)
        demand(
            total.contributors <= everyone and total.dropped == everyone - total.contributors,
            f"{why}: contributors and dropped do not make up the clients",
        )
        return total


def _session(info: ProtocolInfo, threat: Threat, params: Params, suite: Suite) -> Session:
    cast = players(params, suite, SEED)
    session = Session(
        bytes(16),
        labels.digest(labels.PLAN, _PLAN),
        bytes([7]) * 32,
        params,
        _LAYOUT,
        corrupted=threat.corrupted,
        suite=suite,
        roster=cast.roster if cast else None,
        plan=_PLAN,
    )
    match info.family:
        case SeveralServers():
            return replace(session, committee=server_keys(params, SEED).committee)
        case OneServer():
            return session


def input_of(number: int) -> RingVector:
    """Uniform and different for every client, from a fixed seed."""
    draw = counter_randomness(b"input" + number.to_bytes(4))
    return tuple(
        s.group.reduce(np.frombuffer(draw(s.length * s.group.dtype.itemsize), s.group.dtype))
        for s in _LAYOUT.segments
    )


def same(a: RingTotal, b: RingTotal) -> bool:
    """Whether two totals have the same vector and the same sets, to the bit."""
    vectors = all(np.array_equal(x, y) for x, y in zip(a.vector, b.vector, strict=True))
    return vectors and (a.contributors, a.dropped) == (b.contributors, b.dropped)


def everywhere(bench: Bench, act: Act) -> Schedule:
    """The schedule in which every client does this in every phase."""
    return Schedule({(phase, p): act for phase in bench.phases for p in bench.parties})


def dropped(network: Network) -> set[PartyId]:
    """Whom the one server, or the first, which answers for the clients, has dropped."""
    drops = [e for who, e in network.events if who == SERVER and isinstance(e, sansio.Dropped)]
    return {event.party for event in drops}


def garbage(data: bytes) -> list[bytes]:
    """What may come in place of a message; none of them is a message of its session.

    A bit of each byte before the binding, and of its first, its last and some between: whoever
    compares less than all of it misses one of these.
    """
    before = HEADER_SIZE - DIGEST_SIZE
    flips = (*range(before), *range(before, HEADER_SIZE - 1, 5), HEADER_SIZE - 1)
    return [
        b"",
        data[: HEADER_SIZE - 1],
        data[:-1],
        data + b"\0",
        bytes(len(data)),
        b"\xff" * 64,
        *(data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :] for i in flips),
    ]
