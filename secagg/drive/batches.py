"""One server's machines, batch after batch, and what they want stored and said: without a clock.

A batch that is over keeps its machine, to answer its collector and servers that missed its end.
Such a machine shares its rows with the one that is running, so it must not write: what would make
it write has no effect, and no answer.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from secagg.committee import ServerSecrets
from secagg.effects import Write
from secagg.errors import Aborted, LocalProtocolError
from secagg.mask import add_streams
from secagg.plans.task import Task
from secagg.protocol import OneServer, SeveralServers
from secagg.rounds.clock import PhaseClock, why
from secagg.rounds.round import Observer
from secagg.sansio import Dropped, MemberMachine, Outgoing, PhaseEntered
from secagg.types import COLLECTOR, FIRST_RESERVED, SERVER, AbortReason, Fault, PartyId

log = logging.getLogger(__name__)

MAX_STASH = 1 << 16
"""Messages of later batches that are kept: what a server says that is ahead, some for a report."""
MAX_STASH_BYTES = 64 << 20
"""Bytes of these: one message may be as long as the plan's longest."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How one batch went, as this server can know.

    reports: how many were summed; a leader's only, and None after an abort. reason: None where the
    set is locked. detail: names the server at fault. phases: seconds each, since the last start of
    this process. faults: by dropped party; a client's id is its order of arrival in the batch.
    pending: reports that are stored here and wait for the next batch; after the last one they are
    in no sum.
    """

    batch: int
    reports: int | None
    reason: AbortReason | None
    detail: str
    phases: Mapping[str, float]
    faults: Mapping[PartyId, Fault]
    pending: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and the batch of the machine that says it."""

    batch: int
    message: Outgoing


class Batches:
    """The machine that runs, those of the batches before, and what to store before what is said.

    The caller stores `take_writes()` before it sends any of `said`, and empties that. When the
    machine is `over`, nothing more is given to it: the caller stores, sends, and calls `advance`.
    """

    def __init__(
        self,
        task: Task,
        index: int,
        secrets: ServerSecrets,
        batches: int,
        observer: Observer | None = None,
    ) -> None:
        self.number = 0
        self.machine: MemberMachine | None = None
        self.linked: set[PartyId] = set()
        """The servers to which a link leads, in the order of what was given to the machines."""
        self.said: list[Said] = []
        self.reports: list[BatchReport] = []
        self._task, self._index, self._secrets = task, index, secrets
        self._batches, self._observer = batches, observer
        self._numbers = {task.nonce(number): number for number in range(batches)}
        self._retired: dict[int, MemberMachine] = {}
        self._stash: deque[tuple[PartyId, int, bytes]] = deque()
        self._stashed = 0  # bytes
        self._clock = PhaseClock(time.monotonic())
        self._faults: dict[PartyId, Fault] = {}

    @property
    def over(self) -> bool:
        return self.machine is not None and self.machine.done

    @property
    def last(self) -> int:
        return self._batches - 1

    @property
    def finished(self) -> bool:
        """No batch is left."""
        return self.number >= self._batches

    @property
    def entered(self) -> float:
        """When the machine entered its phase, or when it was made; monotonic seconds."""
        return self._clock.entered

    @property
    def locked(self) -> set[int]:
        return {report.batch for report in self.reports if report.reason is None}

    def number_of(self, nonce: bytes) -> int | None:
        return self._numbers.get(nonce)

    def open(self, rows: Iterable[tuple[bytes, bytes]], *, closed: bool = False) -> None:
        """Every machine that the store knows, and the one after. rows: of the whole store.

        closed: the epoch is, so every batch has ended, and a leader waits for no helper to say so.
        """
        kept = list(rows)
        self._start(kept)
        while self.over or (closed and not self.finished):
            if not self.over:
                machine = self._running()
                self._call(self.number, machine, machine.abort, AbortReason.CANCELLED)
            self.advance(kept)

    def take_writes(self) -> list[Write]:
        """Asked for once for many messages: the machine's sum is a row as long as the vector."""
        return self.machine.writes() if self.machine is not None else []

    def advance(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """From a machine that is over to the next, which takes what had come for it."""
        machine = self._running()
        self.reports.append(self._report(machine))
        self._retired[self.number] = machine
        self.number += 1
        self.machine = None
        self._clock, self._faults = PhaseClock(time.monotonic()), {}
        if not self.finished:
            self._start(rows)
            machine.retire()
            for party in sorted(self.linked):
                self._call(self.number, self._running(), self._running().reconnected, party)
        stashed, self._stash, self._stashed = self._stash, deque(), 0
        for party, number, data in stashed:
            self.receive(party, number, data)

    def closing(self) -> list[Write]:
        """When no batch is left and the epoch closes: what need not be stored any longer."""
        return self._retired[self.last].closing()

    def end(self) -> None:
        """No batch goes on, and none begins: what is there still answers."""
        if self.machine is not None:
            self._retired[self.number] = self.machine
        self.machine, self.number = None, self._batches

    def receive(self, party: PartyId, number: int, data: bytes) -> None:
        """A message for one batch. What is for a later one waits for it."""
        if number in self._retired:
            machine = self._retired[number]
            self._call(number, machine, machine.receive, party, data)
        elif number == self.number and self.machine is not None and not self.over:
            self._call(number, self.machine, self.machine.receive, party, data)
        elif party > COLLECTOR and number < self._batches:
            self._keep(party, number, data)
            if number > self.number and party == SERVER:
                self._left_behind()

    def _keep(self, party: PartyId, number: int, data: bytes) -> None:
        """What is not kept comes again over the next link, as if it had been lost with this one."""
        size = self._stashed + len(data)
        if len(self._stash) < MAX_STASH and size <= MAX_STASH_BYTES:
            self._stash.append((party, number, data))
            self._stashed = size

    def reconnected(self, party: PartyId) -> None:
        """A new link to a server: in the order of the batches, so that their ends come first."""
        self.linked.add(party)
        for number, machine in self._retired.items():
            self._call(number, machine, machine.reconnected, party)
        if self.machine is not None and not self.over:
            self._call(self.number, self.machine, self.machine.reconnected, party)

    def lost(self, party: PartyId) -> None:
        """A server is given up. Where the machine goes on without it, its phase is closed."""
        machine = self._running()
        self._call(self.number, machine, machine.lost, party)
        if not machine.done and party in machine.waiting_for:
            self.close_phase()

    def close_phase(self) -> None:
        machine = self._running()
        self._call(self.number, machine, machine.close_phase)

    def extend(self) -> None:
        """The running batch stays open past its deadline, which begins anew."""
        machine = self._running()
        self._call(self.number, machine, machine.extend)
        self._clock.stop(time.monotonic())  # it enters the phase once more
        self._clock.enter(machine.phase, time.monotonic())

    def answered(self, number: int) -> bool:
        """Whether a collector can have the sum of this batch from this server."""
        machine = self.machine if number == self.number else self._retired.get(number)
        return machine is not None and machine.answered

    def _left_behind(self) -> None:
        """A leader tells how a batch ended before it speaks of the next, over whatever link: one
        that does not has lost that batch."""
        if self.machine is not None and not self.over:
            self._call(self.number, self.machine, self.machine.lost, SERVER)

    def _start(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        match self._task.plan.info.family:
            case SeveralServers(member=member):
                session = self._task.session(self.number)
                machine = member(session, self._index, self._secrets, expander=add_streams)
            case OneServer():
                raise LocalProtocolError("impossible: a task is of several servers")
        machine.restore(rows)
        self.machine = machine
        self._call(self.number, machine, machine.start)

    def _running(self) -> MemberMachine:
        if self.machine is None:
            raise LocalProtocolError("no batch is running")
        return self.machine

    def _call(
        self, number: int, machine: MemberMachine, call: Callable[..., None], *args: object
    ) -> None:
        try:
            call(*args)
        finally:
            self._drain(number, machine)

    def _drain(self, number: int, machine: MemberMachine) -> None:
        outgoing, events = machine.outgoing(), machine.events()
        if number in self._retired:
            if machine.writes():
                log.warning("batch %d is over: a message that would change it is ignored", number)
            else:
                self.said += [Said(number, message) for message in outgoing]
            return
        self.said += [Said(number, message) for message in outgoing]
        for event in events:
            if isinstance(event, PhaseEntered):
                self._clock.enter(event.phase, time.monotonic())
            elif isinstance(event, Dropped):
                self._faults[event.party] = event.fault
                log.info("party %d was dropped: %s", event.party, why(event))
            if self._observer is not None:
                self._observer(event)

    def _report(self, machine: MemberMachine) -> BatchReport:
        reason, detail = _ending(machine)
        reports = machine.included if self._index == 0 and reason is None else None
        phases, faults = self._clock.stop(time.monotonic()), dict(self._faults)
        return BatchReport(self.number, reports, reason, detail, phases, faults, machine.pending)


def _ending(machine: MemberMachine) -> tuple[AbortReason | None, str]:
    try:
        machine.result()
    except Aborted as aborted:
        return aborted.reason, str(aborted)
    except LocalProtocolError:  # a member has no result: it ended well
        return None, ""
    raise LocalProtocolError("a member of several servers has a result of its own")


def servers_of(parties: Iterable[PartyId]) -> list[PartyId]:
    """Those that are servers, leader first."""
    return sorted((party for party in parties if party >= FIRST_RESERVED), reverse=True)
