"""Machines that wear meters, and the sum in the clear: what a simulation adds to a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg import party, records
from secagg.drive.clock import PhaseClock
from secagg.drive.participant import Contribution
from secagg.fields import Schema
from secagg.footprint import deep_size
from secagg.party import Aggregate
from secagg.planner import Plan
from secagg.ring import Lane, RingVector
from secagg.sansio import Job, Outgoing, Randomness, RingTotal
from secagg.types import Buffer, PartyId

Given: TypeAlias = Mapping[str, Any] | Contribution
"""What a client adds: its fields by name or, with a weight other than 1, a Contribution."""

Source: TypeAlias = Callable[[PartyId], Given]

Progress: TypeAlias = Callable[[str, int, int], None]
"""(phase, messages that have come, messages expected); the phase is "jobs" for the last work."""


class Cpu:
    """Adds up the CPU seconds of this thread inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._entered = 0.0

    def __enter__(self) -> None:
        self._entered = time.thread_time()

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.thread_time() - self._entered


class Desk:
    """What all parties of one simulation share, and no party of a real round has."""

    def __init__(self, plan: Plan, source: Source, progress: Progress) -> None:
        self.plan, self.source, self.progress = plan, source, progress
        self.clock = PhaseClock()
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
        with self.aside():
            given = self.source(me)
        return given if isinstance(given, Contribution) else Contribution(given)


class MeteredClient(party.Client):
    """A client with meters, which fetches its input when it has nothing else to say."""

    def __init__(
        self, desk: Desk, me: PartyId, nonce: bytes, task: bytes, randomness: Randomness
    ) -> None:
        self.cpu = Cpu()
        self.bytes_up = self.bytes_down = 0
        self._desk, self._me, self._task = desk, me, task
        self._due = True
        super().__init__(desk.plan, me, nonce=nonce, payload_digest=task, randomness=randomness)

    def start(self) -> None:
        with self.cpu:
            super().start()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        self.bytes_down += len(message)
        with self.cpu:
            super().receive(sender, message)

    def outgoing(self) -> list[Outgoing]:
        messages = super().outgoing()
        if not messages and self._due and not self.done:
            messages = self._contribute()
        self.bytes_up += sum(len(message.data) for message in messages)
        return messages

    def _contribute(self) -> list[Outgoing]:
        """As `set_input`, but the encoded vector is tallied before it is lost in its mask.

        It counts only if the machine masks it at once: a client that the server has dropped
        meanwhile still waits for shares, and says nothing.
        """
        self._due = False
        given = self._desk.input_of(self._me)
        with self.cpu:
            encoded = records.encode(self.plan.schema, given.fields, given.weight, self._randomness)
            self.machine.set_input(encoded.vector, self._task)
            messages = super().outgoing()
        if messages:
            with self._desk.aside():
                self._desk.tally.add(self._me, encoded.vector)
        return messages


class MeteredServer(party.Server):
    """The server with meters."""

    def __init__(self, desk: Desk, nonce: bytes, task: bytes) -> None:
        self.cpu = Cpu()
        self.state_bytes = 0
        self._desk = desk
        self._expected = self._heard = 0
        super().__init__(desk.plan, nonce=nonce, payload_digest=task)

    def aggregate(self) -> Aggregate:
        with self.cpu:
            return super().aggregate()

    def start(self) -> None:
        with self.cpu:
            super().start()
        self._entered()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        with self.cpu:
            super().receive(sender, message)
        self._tell(self.phase)

    def lost(self, party: PartyId, /) -> None:
        with self.cpu:
            super().lost(party)

    def close_phase(self) -> None:
        self._weigh()
        with self.cpu:
            super().close_phase()
        self._weigh()
        self._entered()

    def jobs(self) -> Sequence[Job]:
        with self.cpu:
            jobs = [_TimedJob(job, self.cpu) for job in super().jobs()]
        self._expected, self._heard = len(jobs), 0
        return jobs

    def finish(self, job: Job, value: Any, /) -> None:
        with self.cpu:
            super().finish(job.job if isinstance(job, _TimedJob) else job, value)
        self._tell("jobs")

    def _entered(self) -> None:
        self._desk.clock.enter(self.phase)
        self._expected, self._heard = len(self.waiting_for), 0

    def _tell(self, phase: str) -> None:
        self._heard += 1
        with self._desk.aside():
            self._desk.progress(phase, self._heard, self._expected)

    def _weigh(self) -> None:
        with self._desk.aside():
            self.state_bytes = max(self.state_bytes, deep_size(self.machine))


@dataclass(frozen=True, slots=True)
class _TimedJob:
    job: Job
    cpu: Cpu

    def __call__(self) -> Any:
        with self.cpu:
            return self.job()


class Tally:
    """The sum in the clear, kept while the contributions pass by: one vector, whatever n."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._members: set[PartyId] = set()
        self._ring = schema.layout.zeros()
        self._levels = {slot.name: np.zeros(slot.length, np.int64) for slot in schema.slots}

    def add(self, member: PartyId, vector: RingVector) -> None:
        """Signed sums need no modulus: the schema's head-room proves them below 2^63."""
        self._members.add(member)
        for total, lane in zip(self._ring, vector, strict=True):
            total += lane
        for slot in self._schema.slots:
            part = vector[slot.segment][slot.start : slot.start + slot.length]
            width = self._schema.layout.segments[slot.segment].ring.width
            self._levels[slot.name] += _signed(part, width)

    def equals(self, total: RingTotal, aggregate: Aggregate) -> bool:
        """total must be reduced modulo its rings, as every machine gives it."""
        segments = self._schema.layout.segments
        return (
            self._members == aggregate.contributors == total.contributors
            and all(
                np.array_equal(mine & mine.dtype.type(segment.ring.mask), theirs)
                for mine, segment, theirs in zip(self._ring, segments, total.vector, strict=True)
            )
            and all(np.array_equal(mine, aggregate.levels[n]) for n, mine in self._levels.items())
        )


def _signed(lane: Lane, width: int) -> npt.NDArray[np.int64]:
    """Two's complement of `width` bits: flipping and subtracting the sign bit extends it."""
    sign = np.uint64(1 << (width - 1))
    extended: npt.NDArray[np.uint64] = (lane.astype(np.uint64) ^ sign) - sign
    return extended.view(np.int64)
