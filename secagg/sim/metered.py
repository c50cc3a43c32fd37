"""Machines that wear meters, and the sum in the clear: what a simulation adds to a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg import party, records
from secagg.committee import Keys
from secagg.delegate import ServerDelegate
from secagg.drive.participant import Contribution
from secagg.drive.pump import Servers
from secagg.errors import InputError
from secagg.layout import Lane, RingVector
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.players import Players
from secagg.rounds.clock import PhaseClock
from secagg.sansio import Job, Outgoing, RingTotal, ServerMachine
from secagg.schema import Schema, Slot
from secagg.sim.footprint import deep_size
from secagg.types import FIRST_RESERVED, SERVER, Buffer, PartyId, Randomness, Seed

Given: TypeAlias = Mapping[str, Any] | Contribution
"""What a client adds: its fields by name or, with a weight other than 1, a Contribution."""

Source: TypeAlias = Callable[[PartyId], Given]

Progress: TypeAlias = Callable[[str, int, int], None]
"""(phase, messages that have come, messages expected); the phase is "jobs" for the last work."""


class Meter:
    """CPU and wall seconds of one party's own work, by phase."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    def add(self, phase: str, cpu: float, wall: float) -> None:
        self.cpu[phase] = self.cpu.get(phase, 0.0) + cpu
        self.wall[phase] = self.wall.get(phase, 0.0) + wall

    @contextmanager
    def running(self, phase: Callable[[], str]) -> Iterator[None]:
        """Counts what this thread does inside `with`; phase: asked when that is done."""
        cpu, wall = time.thread_time(), time.monotonic()
        try:
            yield
        finally:
            self.add(phase(), time.thread_time() - cpu, time.monotonic() - wall)


@contextmanager
def naming(client: PartyId) -> Iterator[None]:
    """Says whose input it is that does not fit: in a simulation one caller makes them all."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"client {client}: {error}") from None
    except Exception as error:  # the caller's own code failed, whatever with: raised on, unchanged
        error.add_note(f"while the input of client {client} was made")
        raise


class Desk:
    """What all parties of one simulation share, and no party of a real round has."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        progress: Progress,
        keys: Keys | None = None,
        players: Players | None = None,
    ) -> None:
        self.plan, self.source, self.progress = plan, source, progress
        self.keys, self.players = keys, players
        self.clock = PhaseClock(time.monotonic())
        self.tally = Tally(plan.schema)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what belongs to the simulation and not to the round: no phase pays for it."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.clock.entered += time.monotonic() - started

    def input_of(self, me: PartyId) -> Contribution:
        with self.aside(), naming(me):
            given = self.source(me)
        return given if isinstance(given, Contribution) else Contribution(given)


class MeteredClient(party.Client):
    """A client with meters, which fetches its input when it has nothing else to say.

    What a message makes it do belongs to the phase that it answers in: dealing is share-keys.
    """

    def __init__(
        self, desk: Desk, me: PartyId, nonce: bytes, task: bytes, randomness: Randomness
    ) -> None:
        self.meter = Meter()
        self.bytes_up = self.bytes_down = 0
        self._desk, self._me, self._task = desk, me, task
        self._due = True
        super().__init__(
            desk.plan,
            me,
            nonce=nonce,
            payload_digest=task,
            committee=desk.keys.committee if desk.keys else None,
            randomness=randomness,
            roster=desk.players.roster if desk.players else None,
            signing=desk.players.members[me] if desk.players else None,
        )

    def start(self) -> None:
        with self.meter.running(self._now):
            super().start()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        self.bytes_down += len(message)
        with self.meter.running(self._now):
            super().receive(sender, message)

    def outgoing(self) -> list[Outgoing]:
        messages = super().outgoing()
        if not messages and self._due and not self.done:
            messages = self._contribute()
        self.bytes_up += sum(len(message.data) for message in messages)
        return messages

    def _now(self) -> str:
        return self.phase

    def _contribute(self) -> list[Outgoing]:
        """As `set_input`, but the encoded vector is tallied before it is lost in its mask.

        It counts only if the machine masks it at once: a client that the server has dropped
        meanwhile still waits for shares, and says nothing.
        """
        self._due = False
        given = self._desk.input_of(self._me)
        with self.meter.running(self._now), naming(self._me):
            encoded = self._encoded(given.fields, given.weight)
            self.machine.set_input(encoded.vector, self._task)
            messages = super().outgoing()
        if messages:
            with self._desk.aside():
                self._desk.tally.add(self._me, encoded)
        return messages


class ServersMeter:
    """What the servers of a round cost: they count as one, in the phase of the plan that the first
    of them entered last.

    What they do belongs to the phase that they are in: opening the shares and removing the masks is
    unmask, and all that several servers do after uploads is upload still. Wall time is that of
    calls and, while jobs are out, all that passes: in a simulation no client computes then.
    """

    def __init__(self, desk: Desk, servers: Servers) -> None:
        self.machines = {party: MeteredServer(self, party, one) for party, one in servers.items()}
        self.state_bytes = 0
        self._desk, self._meter = desk, Meter()
        self._phase = desk.plan.phase_names[0]
        self._expected = self._heard = 0

    @property
    def cpu_seconds(self) -> float:
        return sum(self._meter.cpu.values())

    @property
    def wall(self) -> Mapping[str, float]:
        """Seconds by phase."""
        return self._meter.wall

    def running(self) -> AbstractContextManager[None]:
        phase = self._phase
        return self._meter.running(lambda: phase)

    def add(self, cpu: float, wall: float) -> None:
        self._meter.add(self._phase, cpu, wall)

    def entered(self) -> None:
        leader = self.machines[SERVER]
        if leader.phase in self._desk.plan.phase_names:
            self._phase = leader.phase
            self._desk.clock.enter(self._phase, time.monotonic())
            self._expected, self._heard = len(leader.waiting_for), 0

    def expect(self, jobs: int) -> None:
        self._expected, self._heard = jobs, 0

    def tell(self, what: str) -> None:
        self._heard += 1
        with self._desk.aside():
            self._desk.progress(what, self._heard, self._expected)

    def weigh(self) -> None:
        with self._desk.aside():
            machines = [one.machine for one in self.machines.values()]
            self.state_bytes = max(self.state_bytes, deep_size(machines))


class MeteredServer(ServerDelegate):
    """One server, or the collector, with the meter of all. The CPU of a job is that of the thread
    which ran it."""

    def __init__(self, meter: ServersMeter, me: PartyId, machine: ServerMachine) -> None:
        super().__init__(machine)
        self._meter, self._leads = meter, me == SERVER
        self._resumed = 0.0

    def start(self) -> None:
        with self._meter.running():
            super().start()
        self._entered()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        phase = self.phase
        with self._meter.running():
            super().receive(sender, message)
        if self._leads and sender < FIRST_RESERVED:
            self._meter.tell(phase)

    def lost(self, party: PartyId, /) -> None:
        with self._meter.running():
            super().lost(party)

    def close_phase(self) -> None:
        self._meter.weigh()
        with self._meter.running():
            super().close_phase()
        self._meter.weigh()
        self._entered()

    def jobs(self) -> Sequence[Job]:
        with self._meter.running():
            jobs = [_TimedJob(job) for job in super().jobs()]
        self._meter.expect(len(jobs))
        self._resumed = time.monotonic()
        return jobs

    def finish(self, job: Job, value: Any, /) -> None:
        started = time.thread_time()
        if isinstance(job, _TimedJob):
            super().finish(job.job, value.value)
            started -= value.cpu
        else:
            super().finish(job, value)
        self._meter.add(time.thread_time() - started, time.monotonic() - self._resumed)
        self._meter.tell("jobs")
        self._resumed = time.monotonic()

    def result(self) -> RingTotal:
        with self._meter.running():
            return self.machine.result()

    def _entered(self) -> None:
        if self._leads:
            self._meter.entered()


@dataclass(frozen=True, slots=True)
class _Timed:
    value: Any
    cpu: float


@dataclass(frozen=True, slots=True)
class _TimedJob:
    """Its meter travels with its value, so that it can run on any executor."""

    job: Job

    def __call__(self) -> _Timed:
        started = time.thread_time()
        value = self.job()
        return _Timed(value, time.thread_time() - started)


class Tally:
    """The sum in the clear, kept while the contributions pass by: one vector, whatever n."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.clipped: dict[str, int] = {}
        """Elements of all inputs, by field."""
        self._members: set[PartyId] = set()
        self._ring = schema.layout.zeros()
        self._levels = {slot.name: np.zeros(slot.length, np.int64) for slot in schema.slots}

    def add(self, member: PartyId, encoded: records.Encoded) -> None:
        """Signed sums need no modulus: the schema's head-room proves them below 2^63."""
        vector = encoded.vector
        self._members.add(member)
        for name, number in encoded.clipped.items():
            self.clipped[name] = self.clipped.get(name, 0) + number
        for total, lane in zip(self._ring, vector, strict=True):
            total += lane
        for slot in self._schema.slots:
            self._levels[slot.name] += self._part(vector, slot)

    def equals(self, total: RingTotal, aggregate: Aggregate, noise: Seed | None = None) -> bool:
        """total must be reduced modulo its rings, as every machine gives it. noise: of central
        noise, the key."""
        sums = zip(self._schema.layout.reduce(self._ring), total.vector, strict=True)
        levels = self._levels if noise is None else self._with_noise(noise)
        return (
            self._members == aggregate.contributors == total.contributors
            and all(np.array_equal(mine, theirs) for mine, theirs in sums)
            and all(np.array_equal(mine, aggregate.levels[n]) for n, mine in levels.items())
        )

    def _with_noise(self, noise: Seed) -> dict[str, npt.NDArray[np.int64]]:
        vector = records.with_noise(self._schema, self._schema.layout.reduce(self._ring), noise)
        return {slot.name: self._part(vector, slot) for slot in self._schema.slots}

    def _part(self, vector: RingVector, slot: Slot) -> npt.NDArray[np.int64]:
        part = vector[slot.segment][slot.start : slot.start + slot.length]
        return _signed(part, self._schema.ring_of(slot).width)


def _signed(lane: Lane, width: int) -> npt.NDArray[np.int64]:
    """Two's complement of `width` bits: flipping and subtracting the sign bit extends it."""
    sign = np.uint64(1 << (width - 1))
    extended: npt.NDArray[np.uint64] = (lane.astype(np.uint64) ^ sign) - sign
    return extended.view(np.int64)
