"""A whole round in one process: n clients, a schedule of drops, a seed; metered and checked.

The pump runs the session. Here the machines wear meters, every client gets its input at the
moment it would mask it, and what comes out is compared with the sum computed in the clear.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg import party
from secagg.arguments import fraction, instance, integer, kind_of, octets
from secagg.committee import Keys
from secagg.cut import clipping
from secagg.drive import pump
from secagg.drive.pump import Servers
from secagg.errors import BelowThreshold, InputError, IntegrityError, ParameterError
from secagg.mask import add_streams
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.players import Players
from secagg.protocol import OneServer, SeveralServers
from secagg.sansio import Event, RingTotal
from secagg.shown import short
from secagg.sim.footprint import peak_rss
from secagg.sim.metered import Desk, Given, MeteredClient, Progress, ServersMeter, Source
from secagg.types import MAX_CLIENTS, SERVER, PartyId, Randomness, Seed
from secagg.wire.frame import NONCE_SIZE, payload_digest

log = logging.getLogger(__name__)

MAX_SEED = (1 << 128) - 1

Inputs: TypeAlias = Source | Mapping[PartyId, Given] | Mapping[int, Given]
"""One entry or call for each client: its fields by name, or a Contribution with a weight."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Some clients never send the message of `phase`, and are gone from then on."""

    phase: str
    rate: Fraction | None = None
    count: int | None = None

    def number(self, clients: int) -> int:
        return round((self.rate or 0) * clients) if self.count is None else self.count


def drop_at(
    phase: str, rate: float | str | Fraction | None = None, *, count: int | None = None
) -> Drop:
    """A schedule for `simulate`: round(rate * n) clients, or `count` of them, drop at `phase`.

    phase: one of the protocol's, such as "masked-input" for whoever drops after share-keys. rate:
    0 to 1, taken as the decimal it prints as. Raises ParameterError unless exactly one is given.
    """
    if (rate is None) == (count is None):
        raise ParameterError("a drop has either a rate or a count of clients")
    if count is not None:
        return Drop(phase, count=integer("count", count, 0, MAX_CLIENTS))
    return Drop(phase, fraction("rate", rate))


@dataclass(frozen=True)
class Simulation:
    """What a round gave and what it cost.

    exact: the total equals the plain sum, over exactly the contributors, of what they encoded:
    every ring element, and every field's signed integers. phases: wall seconds each, without the
    generation of inputs and this check. client_seconds, server_seconds: CPU; a client's is the
    mean over those that stayed to the end, as are client_phases, the same by phase, and bytes_up
    and bytes_down, which count protocol messages. server_phases: wall seconds of the server's own
    calls and jobs, when no client computes. server_state_bytes: the machine's largest size
    at the end of a phase, messages it has just made included. peak_rss: of the whole process since
    it began, in bytes; None where the system does not say. The first round of a process also pays
    for loading compiled kernels.
    """

    aggregate: Aggregate
    exact: bool
    phases: Mapping[str, float]
    client_seconds: float
    client_phases: Mapping[str, float]
    server_seconds: float
    server_phases: Mapping[str, float]
    bytes_up: float
    bytes_down: float
    server_state_bytes: int
    peak_rss: int | None

    __repr__ = short


def simulate(
    plan: Plan,
    inputs: Inputs,
    *,
    drop: Drop | Iterable[Drop] | None = None,
    seed: int = 0,
    payload: bytes = b"",
    progress: Progress | None = None,
) -> Aggregate:
    """One round of `plan` among all of its clients, in this process.

    inputs: a mapping with an entry for each id from 0 to n - 1, or a callable PartyId -> fields,
    called once for each client that gets as far as masking, one at a time, so that the inputs
    need never be in memory together. An entry is the fields by name, or a Contribution with a
    weight. drop: who vanishes when; by default nobody does. seed: decides who drops and every
    random byte of the machines, so that a run can be repeated bit by bit; as nothing in one
    process is hidden from it, that gives nothing away. payload: the task, as `Server` knows it.
    Where clients sign, all keys are made for this run, and its clients are the first of the roster.

    Raises ParameterError for a phase that the protocol does not have and for more drops than
    clients, InputError or RangeError for an input that does not fit the plan, BelowThreshold where
    too few are left, PolicyRefused for a plan that is for reading only. What was clipped is in the
    aggregate's report, and logged as one warning.
    """
    done = run(plan, inputs, drop=drop, seed=seed, payload=payload, progress=progress)
    if not done.exact:
        raise IntegrityError("the total is not the plain sum of the inputs: this is a bug of ours")
    return done.aggregate


def run(
    plan: Plan,
    inputs: Inputs,
    *,
    drop: Drop | Iterable[Drop] | None = None,
    seed: int = 0,
    payload: bytes = b"",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Simulation:
    """As `simulate`, with the meters and the outcome of the check.

    executor: runs the server's jobs; without one, this thread does.
    """
    instance("plan", plan, Plan)
    seed = integer("seed", seed, 0, MAX_SEED)
    leaving = _schedule(plan, _drops(drop), seed)
    desk = Desk(plan, _source(plan, inputs), _told(progress), *_keys(plan, seed))
    task = payload_digest(octets("payload", payload))
    nonce = _randomness(seed, "nonce")(NONCE_SIZE)
    meter = ServersMeter(desk, _servers(desk, nonce, task))
    clients = {
        me: MeteredClient(desk, me, nonce, task, _randomness(seed, f"client {me}"))
        for me in map(PartyId, range(plan.threat.clients))
    }
    total, told = _summed(meter, clients, leaving, executor)
    noise = Seed(_randomness(seed, "noise")(Seed.SIZE)) if plan.schema.central_noise else None
    with meter.running():
        aggregate = party.aggregated(plan, total, told, plan.rotation(nonce, task), noise)
    phases = desk.clock.stop(time.monotonic())
    exact = desk.tally.equals(total, aggregate, noise)
    aggregate = _with_clipped(plan, aggregate, desk.tally.clipped)
    stayed = [client for me, client in clients.items() if me not in leaving]
    return Simulation(
        aggregate=aggregate,
        exact=exact,
        phases=_in_order(plan, phases),
        client_seconds=_mean(sum(client.meter.cpu.values()) for client in stayed),
        client_phases={
            phase: _mean(client.meter.cpu.get(phase, 0.0) for client in stayed)
            for phase in plan.phase_names
        },
        server_seconds=meter.cpu_seconds,
        server_phases=_in_order(plan, meter.wall),
        bytes_up=_mean(client.bytes_up for client in stayed),
        bytes_down=_mean(client.bytes_down for client in stayed),
        server_state_bytes=meter.state_bytes,
        peak_rss=peak_rss(),
    )


def _keys(plan: Plan, seed: int) -> tuple[Keys | None, Players | None]:
    """Of servers, where there are several; of everybody, where clients sign."""
    match plan.info.family:
        case OneServer():
            signed = plan.suite.signed
            draw = _randomness(seed, "roster")
            return None, Players.of(plan.threat.population, draw) if signed else None
        case SeveralServers():
            return Keys(plan.params.servers, _randomness(seed, "servers")), None


def _servers(desk: Desk, nonce: bytes, task: bytes) -> Servers:
    plan, keys, players = desk.plan, desk.keys, desk.players
    session = plan.session(
        nonce,
        task,
        keys.committee if keys else None,
        roster=players.roster if players else None,
        invited=frozenset(map(PartyId, range(plan.threat.clients))) if players else None,
    )
    signing = players.server if players else None
    return plan.info.family.machines(session, keys, expander=add_streams, signing=signing)


def _summed(
    meter: ServersMeter,
    clients: Mapping[PartyId, MeteredClient],
    leaving: Mapping[PartyId, str],
    executor: Executor | None,
) -> tuple[RingTotal, list[Event]]:
    servers = meter.machines
    try:
        total = pump.run(
            servers, clients, gone=lambda me, phase: leaving.get(me) == phase, executor=executor
        )
    except BelowThreshold as ended:
        raise party.with_faults(ended, servers[SERVER].events()) from None
    return total, servers[SERVER].events()


def _with_clipped(plan: Plan, aggregate: Aggregate, clipped: Mapping[str, int]) -> Aggregate:
    if note := clipping(plan.schema, clipped, aggregate.count):
        log.warning("in this simulation, %s", note)
    label = aggregate.privacy
    report = replace(
        aggregate.report, clipped=clipped, privacy=None if label is None else label.reproducible()
    )
    return replace(aggregate, report=report)


def _schedule(plan: Plan, drops: Sequence[Drop], seed: int) -> dict[PartyId, str]:
    """Who drops at which phase: disjoint slices of one shuffle, in the protocol's order."""
    phases, n = plan.phase_names, plan.threat.clients
    wanted = [drop.phase for drop in drops]
    for phase in wanted:
        if phase not in phases:
            raise ParameterError(
                f"{plan.protocol} has no phase {phase!r} under this plan; it has "
                f"{', '.join(phases)}"
            )
    if len(set(wanted)) < len(wanted):
        raise ParameterError("a phase is named twice among the drops")
    numbers = {drop.phase: drop.number(n) for drop in drops}
    if sum(numbers.values()) > n:
        raise ParameterError(f"{sum(numbers.values())} drops are more than the {n} clients")
    shuffled = iter(np.random.Generator(np.random.PCG64(seed)).permutation(n).tolist())
    return {
        PartyId(next(shuffled)): phase for phase in phases for _ in range(numbers.get(phase, 0))
    }


def _drops(drop: Any) -> tuple[Drop, ...]:
    """One, several or none; ParameterError for what is no drop."""
    if drop is None or isinstance(drop, Drop):
        return () if drop is None else (drop,)
    if isinstance(drop, str | np.ndarray) or not isinstance(drop, Iterable):
        raise ParameterError(f"drop is made by drop_at, one or several, not {kind_of(drop)}")
    return tuple(instance("a drop", one, Drop) for one in drop)


def _told(progress: Any) -> Progress:
    if progress is None:
        return lambda phase, done, of: None
    if not callable(progress):
        raise ParameterError(f"progress must be callable, not {kind_of(progress)}")
    told: Progress = progress
    return told


def _source(plan: Plan, inputs: Inputs) -> Source:
    if callable(inputs):
        return inputs
    if not hasattr(inputs, "items"):
        raise InputError(
            "inputs are a mapping of ids to each client's fields, or a callable of an id, and not "
            f"{kind_of(inputs)}"
        )
    by_id = {PartyId(me): given for me, given in inputs.items()}
    everyone = range(plan.threat.clients)
    if by_id.keys() != set(everyone):
        missing = [me for me in everyone if me not in by_id]
        first = f", and client {missing[0]} has none" if missing else ""
        raise InputError(
            f"inputs need one entry for each id from 0 to {everyone[-1]}; given are "
            f"{len(by_id)}{first}"
        )
    return by_id.__getitem__


def _randomness(seed: int, whose: str) -> Randomness:
    key = hashlib.sha256(f"secagg simulation {seed} {whose}".encode()).digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return lambda size: stream.update(bytes(size))


def _in_order(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    return {phase: seconds[phase] for phase in plan.phase_names if phase in seconds}


def _mean(numbers: Iterable[float]) -> float:
    values = list(numbers)
    return sum(values) / max(1, len(values))
