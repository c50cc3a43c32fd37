"""Machines around a machine: every call goes on to the one inside, unless a subclass does more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from secagg.effects import Write
from secagg.sansio import (
    Aborted,
    Event,
    Job,
    Machine,
    Need,
    Outgoing,
    PhasedMachine,
    RingTotal,
    ServerMachine,
)
from secagg.types import AbortReason, Buffer, NonCopyable, PartyId


class Delegate(NonCopyable):
    """A Machine around `machine`: a driver cannot tell them apart."""

    machine: Machine

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @property
    def phase(self) -> str:
        return self.machine.phase

    @property
    def done(self) -> bool:
        return self.machine.done

    @property
    def ended(self) -> Aborted | None:
        return self.machine.ended

    def start(self) -> None:
        self.machine.start()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        self.machine.receive(sender, message)

    def lost(self, party: PartyId, /) -> None:
        self.machine.lost(party)

    def reconnected(self, party: PartyId, /) -> None:
        self.machine.reconnected(party)

    def abort(self, why: AbortReason, /) -> None:
        self.machine.abort(why)

    def outgoing(self) -> list[Outgoing]:
        return self.machine.outgoing()

    def events(self) -> list[Event]:
        return self.machine.events()

    def acknowledged(self) -> None:
        self.machine.acknowledged()

    def writes(self) -> list[Write]:
        return self.machine.writes()

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        self.machine.restore(rows)


class PhasedDelegate(Delegate):
    """A PhasedMachine around `machine`."""

    machine: PhasedMachine

    @property
    def need(self) -> Need:
        return self.machine.need

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        return self.machine.waiting_for

    @property
    def alive(self) -> frozenset[PartyId]:
        return self.machine.alive

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.machine.contributors

    @property
    def quorum(self) -> bool:
        return self.machine.quorum

    def close_phase(self) -> None:
        self.machine.close_phase()

    def jobs(self) -> Sequence[Job]:
        return self.machine.jobs()

    def finish(self, job: Job, value: Any, /) -> None:
        self.machine.finish(job, value)


class ServerDelegate(PhasedDelegate):
    """A ServerMachine around `machine`, or around whatever else has the sum."""

    machine: ServerMachine

    def result(self) -> RingTotal:
        return self.machine.result()

    def transcript(self) -> list[bytes]:
        return self.machine.transcript()

    def evidence(self) -> list[bytes]:
        return self.machine.evidence()
