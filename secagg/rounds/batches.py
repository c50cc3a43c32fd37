"""One server's machines, batch after batch, and what they want stored and said."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from secagg.committee import ServerSecrets
from secagg.effects import Work, Write
from secagg.errors import Aborted, LocalProtocolError
from secagg.mask import add_streams
from secagg.plans.task import Task
from secagg.protocol import OneServer, SeveralServers
from secagg.rounds.base import MACHINE, Outbox, Rows
from secagg.rounds.clock import PhaseClock, why
from secagg.rounds.round import Observer
from secagg.sansio import Dropped, Ignored, MemberMachine, Need, Outgoing, PhaseEntered, Unkept
from secagg.shown import short
from secagg.types import COLLECTOR, FIRST_RESERVED, SERVER, AbortReason, Fault, PartyId

log = logging.getLogger(__name__)

MAX_STASH = 1 << 16
"""Messages of later batches that are kept: what a server says that is ahead, some for a report."""
MAX_STASH_BYTES = 64 << 20
"""Bytes of these: one message may be as long as the plan's longest."""
MAX_FAULTS = 1 << 12
"""Clients of one batch whose fault is kept: at a helper anybody may come and have one."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How one batch went, as this server can know.

    reports: how many were summed, at a leader; None after an abort. reason: None where the set is
    locked. detail: names the server at fault. phases: seconds of each. faults: by dropped party, of
    so many; ids are orders of arrival. pending: reports that wait, after the last batch for none.
    """

    batch: int
    reports: int | None
    reason: AbortReason | None
    detail: str
    phases: Mapping[str, float]
    faults: Mapping[PartyId, Fault]
    pending: int
    __repr__ = short


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and the batch of the machine that says it."""

    batch: int
    message: Outgoing


@dataclass(frozen=True)
class Epoch:
    """A task at one of its servers. batches: how many, the same number at every server."""

    task: Task
    index: int
    secrets: ServerSecrets = field(repr=False)
    batches: int = 1

    @property
    def leads(self) -> bool:
        return self.index == 0

    @cached_property
    def namespace(self) -> bytes:
        """Of the rows of an epoch; also the nonce of what clients send."""
        return self.task.nonce()

    @cached_property
    def nonces(self) -> tuple[bytes, ...]:
        """By batch: what frames of servers and collectors are routed by."""
        return tuple(map(self.task.nonce, range(self.batches)))

    @cached_property
    def numbers(self) -> dict[bytes, int]:
        """Which batch a frame is for, by that."""
        return {nonce: number for number, nonce in enumerate(self.nonces)}

    def machine(self, number: int) -> MemberMachine:
        """Of batch `number`, of this server, to be restored before it is started."""
        session = self.task.batch(number)
        match self.task.plan.info.family:
            case SeveralServers(member=member):
                return member(session, self.index, self.secrets, expander=add_streams)
            case OneServer():
                raise LocalProtocolError("impossible: a task is of several servers")


@dataclass
class _Stash:
    """What servers have said of later batches."""

    waiting: deque[tuple[PartyId, int, bytes]] = field(default_factory=deque)
    size: int = 0

    def keep(self, party: PartyId, number: int, data: bytes) -> None:
        """What is not kept comes again over the next link, as if it had been lost with this one."""
        size = self.size + len(data)
        if len(self.waiting) < MAX_STASH and size <= MAX_STASH_BYTES:
            self.waiting.append((party, number, data))
            self.size = size


# Theory of operation.
#
# One machine runs at a time: the batch that takes reports, agrees, and locks. A batch that is over
# keeps its machine, because its collector and servers that missed its end ask it. Such a machine
# shares its rows with the one that is running, so it must not write: what would make it write has
# no effect, and no answer. What is for a batch that has not begun waits, within bounds, as servers
# are not in step: a leader that is one batch ahead has told how the last one ended before, in order
# over the same link, so a helper that hears of the next batch without that has lost the old one.
#
# Between two machines stand rows. The next batch is made from all that the store has: reports that
# wait for it are among that, and those that were summed, so that none is summed twice. These rows
# are kept here as they were handed out to be stored, so that a batch can begin in the call in which
# the last one ended, in the same transaction; reading the store instead would stop the server for
# as long as that takes, and could come only after everything was written. It costs little: values
# are those that the machines have made anyway, and go when the row goes.
#
# After every call to a machine it is drained: its rows to the outbox, its messages to `said` beside
# the number of the batch, for whoever knows links; its jobs go out as work and come back by number.
# Rows come before messages, whatever came first: the driver stores one before it sends the other.
# Rows are asked for once for many messages (`store`), as the sum is a row as long as the vector.
class Batches:
    """The machine that runs, and those of the batches before.

    When the machine is `over`, nothing more is given to it: the caller calls `store`, takes what is
    `said`, and calls `advance`.
    """

    def __init__(
        self, epoch: Epoch, outbox: Outbox, observer: Observer | None, now: float = 0.0
    ) -> None:
        self.number = 0
        self.machine: MemberMachine | None = None
        self.linked: set[PartyId] = set()
        """The servers to which a link leads, in the order of what was given to the machines."""
        self.said: list[Said | Unkept] = []
        """Messages, and who has brought one that was not kept."""
        self.ignored: set[PartyId] = set()
        """Whose message, of those that came last, had no effect on the running machine."""
        self.reports: list[BatchReport] = []
        self._epoch, self._outbox, self._observer = epoch, outbox, observer
        self._retired: dict[int, MemberMachine] = {}
        self._rows: Rows = {}
        self._stash = _Stash()
        self._clock = PhaseClock(now)
        self._faults: dict[PartyId, Fault] = {}

    def says_to(self, party: PartyId) -> bool:
        """Whether anything is said to it, or of it that nothing was kept."""
        return any(
            (said.message.to if isinstance(said, Said) else said.sender) == party
            for said in self.said
        )

    @property
    def over(self) -> bool:
        return self.machine is not None and self.machine.done

    @property
    def last(self) -> int:
        return self._epoch.batches - 1

    @property
    def finished(self) -> bool:
        """No batch is left."""
        return self.number >= self._epoch.batches

    @property
    def entered(self) -> float:
        """When the machine entered its phase, or when it was made; monotonic seconds."""
        return self._clock.entered

    @property
    def locked(self) -> set[int]:
        return {report.batch for report in self.reports if report.reason is None}

    @property
    def collects(self) -> bool:
        """Whether the running batch takes reports."""
        machine = self.machine
        phases = self._epoch.task.plan.phase_names
        return machine is not None and not machine.done and machine.phase in phases

    def number_of(self, nonce: bytes) -> int | None:
        return self._epoch.numbers.get(nonce)

    def open(self, rows: Mapping[bytes, bytes], now: float, *, closed: bool = False) -> None:
        """Every machine that the store knows, and the one after. rows: all that machines have.

        closed: the epoch is, so every batch has ended, and a leader waits for no helper to say so.
        """
        self._rows = dict(rows)
        self._start(now)
        while self.over or (closed and not self.finished):
            if not self.over:
                machine = self.running
                self._call(self.number, machine, now, machine.abort, AbortReason.CANCELLED)
            self.store()
            self.advance(now)

    def store(self) -> None:
        """What the running machine wants stored, before what it has said is sent."""
        if self.machine is not None:
            self._put(self.machine.writes())

    def advance(self, now: float, *, begin: bool = True) -> None:
        """From a machine that is over to the next, which takes what had come for it. begin: the
        next batch does; else it goes on if it had come as far as agreeing on its set, and only
        what is there still answers."""
        machine = self.running
        self.reports.append(self._report(machine, now))
        self._retired[self.number] = machine
        self.number += 1
        self.machine = None
        self._clock, self._faults = PhaseClock(now), {}
        if not self.finished and self._start(now, begin=begin):
            machine.retire()
            for party in sorted(self.linked):
                self._call(self.number, self.running, now, self.running.reconnected, party)
        stash, self._stash = self._stash, _Stash()
        for party, number, data in stash.waiting:
            self.receive(party, number, data, now)

    def close(self) -> None:
        """The epoch closes: what need not be stored any longer goes."""
        self._put(self._retired[self.last].closing())

    def receive(self, party: PartyId, number: int, data: bytes, now: float) -> None:
        """A message for one batch. What is for a later one waits for it."""
        self.ignored.clear()
        if number in self._retired:
            machine = self._retired[number]
            self._call(number, machine, now, machine.receive, party, data)
        elif number == self.number and self.machine is not None and not self.over:
            self._call(number, self.machine, now, self.machine.receive, party, data)
        elif party > COLLECTOR and number < self._epoch.batches:
            self._stash.keep(party, number, data)
            if number > self.number and party == SERVER:
                self._left_behind(now)

    def finish(self, work: Work, value: Any, now: float) -> None:
        """A job has returned, to the machine that handed it out."""
        number = work.ticket[0] if isinstance(work.ticket, tuple) else None
        machine = self.machine if number == self.number else self._retired.get(number or 0)
        if machine is None or number is None:
            raise LocalProtocolError("this work was not handed out here")
        self._call(number, machine, now, machine.finish, work.job, value)

    def wants(self, work: Work) -> bool:
        """Whether its batch waits for it: not of one that is over, or overtaken by its end."""
        number = work.ticket[0] if isinstance(work.ticket, tuple) else None
        machine = self.machine if number == self.number else None
        return machine is not None and machine.need is Need.JOBS

    def reconnected(self, party: PartyId, now: float) -> None:
        """A new link to a server: in the order of the batches, so that their ends come first."""
        self.linked.add(party)
        for number, machine in self._retired.items():
            self._call(number, machine, now, machine.reconnected, party)
        if self.machine is not None and not self.over:
            self._call(self.number, self.machine, now, self.machine.reconnected, party)

    def lost(self, party: PartyId, now: float) -> None:
        """A server is given up. Where the machine goes on without it, its phase is closed."""
        machine = self.running
        self._call(self.number, machine, now, machine.lost, party)
        if not machine.done and party in machine.waiting_for:
            self.close_phase(now)

    def close_phase(self, now: float) -> None:
        self._call(self.number, self.running, now, self.running.close_phase)

    def extend(self, now: float, heard: bool) -> None:
        """The running batch stays open past its deadline, which begins anew. heard: every server
        could say what it has accepted; else nothing gives up its place, or is rejected for it."""
        machine = self.running
        if heard:
            self._call(self.number, machine, now, machine.extend)
        self._clock.stop(now)  # it enters the phase once more
        self._clock.enter(machine.phase, now)

    def answered(self, number: int) -> bool:
        """Whether a collector can have the sum of this batch from this server."""
        machine = self.machine if number == self.number else self._retired.get(number)
        return machine is not None and machine.answered

    @property
    def running(self) -> MemberMachine:
        """Raises LocalProtocolError where no batch runs."""
        if self.machine is None:
            raise LocalProtocolError("no batch is running")
        return self.machine

    @property
    def undecided(self) -> frozenset[PartyId]:
        """Clients whose report the running batch has, and has not decided on."""
        machine = self.running
        return machine.alive - machine.contributors - machine.waiting_for

    def _left_behind(self, now: float) -> None:
        """A leader tells how a batch ended before it speaks of the next, over whatever link: one
        that does not has lost that batch."""
        if self.machine is not None and not self.over:
            self._call(self.number, self.machine, now, self.machine.lost, SERVER)

    def _start(self, now: float, *, begin: bool = True) -> bool:
        """The machine of the batch that is due, from all that the epoch has stored; whether there
        is one. begin: also of one that takes reports, or has not begun."""
        machine = self._epoch.machine(self.number)
        machine.restore(self._rows.items())
        if not begin and machine.phase in ("", *self._epoch.task.plan.phase_names):
            return False
        self.machine = machine
        self._call(self.number, machine, now, machine.start)
        return True

    def _put(self, writes: Iterable[Write]) -> None:
        """To the outbox, and beside it what the next machine will be made from."""
        writes = list(writes)
        self._outbox.write(self._epoch.namespace, MACHINE, writes)
        for write in writes:
            if write.value is None:
                self._rows.pop(write.key, None)
            else:
                self._rows[write.key] = write.value

    def _call(
        self,
        number: int,
        machine: MemberMachine,
        now: float,
        call: Callable[..., None],
        *args: object,
    ) -> None:
        """Any call of any machine, drained also after an error."""
        try:
            call(*args)
        finally:
            self._drain(number, machine, now)

    def _drain(self, number: int, machine: MemberMachine, now: float) -> None:
        """A machine that is over may answer, but not write: its rows are its successor's too."""
        said = [Said(number, message) for message in machine.outgoing()]
        events = machine.events()
        if number in self._retired:
            if machine.writes():
                log.warning("batch %d is over: a message that would change it is ignored", number)
            else:
                self.said += said
            return
        self.said += said
        for event in events:
            if isinstance(event, PhaseEntered):
                self._clock.enter(event.phase, now)
            elif isinstance(event, Unkept):
                self.said.append(event)
            elif isinstance(event, Ignored):
                self.ignored.add(event.sender)
            elif isinstance(event, Dropped):
                if len(self._faults) < MAX_FAULTS or event.party >= FIRST_RESERVED:
                    self._faults[event.party] = event.fault
                    log.info("party %d was dropped: %s", event.party, why(event))
            if self._observer is not None:
                self._observer(event)
        for job in machine.jobs():
            self._outbox.work(Work(job, (number,)))

    def _report(self, machine: MemberMachine, now: float) -> BatchReport:
        reason, detail = _ending(machine)
        reports = machine.included if self._epoch.leads and reason is None else None
        phases, faults = self._clock.stop(now), dict(self._faults)
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
