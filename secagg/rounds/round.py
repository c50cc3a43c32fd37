"""One round at its server: a machine, the seats of its clients, and its clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from secagg import errors, party, watch
from secagg.effects import Peer, Work, Write
from secagg.errors import IntegrityError, LocalProtocolError
from secagg.rounds.base import MACHINE, OPENED, ROUND, ROUNDS, Outbox, Rows
from secagg.rounds.clock import PhaseClock, RoundReport, why
from secagg.rounds.cohort import Cohort
from secagg.rounds.farewell import Farewell
from secagg.rounds.hosting import Written, written_in
from secagg.rounds.opening import Opening
from secagg.rounds.progress import Progress
from secagg.rounds.seen import Seen, opened_row, read_opened
from secagg.sansio import Disputed, Dropped, Event, PhaseEntered
from secagg.shown import short
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.frame import HEAD_SIZE, Message, Over

# Theory of operation.
#
# The machine knows parties; a round knows which peer sits on which party's seat, if any does. Seats
# without a peer are lost to the machine when the round opens, so nobody waits for those that never
# came. A peer that leaves is lost too, unless it has proved who it is: then its seat waits for it
# until the phase closes, which is what the machine's deadline is for, and a new link of the same
# identity takes the seat again. Where clients sign a seat waits for nobody: a client that has lost
# its link takes nothing up again (specs/12-active.md V9).
#
# After every call the round settles: what the machine wants stored and said goes to the outbox,
# jobs it has go out as work, and a phase that waits for nobody is closed, until nothing moves. A
# phase also closes at its deadline. Work has none: only the server's own processors can be late
# with it.
#
# The end is one of four: a sum, an abort that the machine decided, a cancellation, or a bug, whose
# exception goes on to the driver after the round has been made to end, because nothing that a
# broken machine holds is used. Each client is then told how the round ended and where it stands: in
# the sum, or out of it with a fault. Whoever opens a round with `hold` has the result first, and
# says when they may be told.
#
# Once the last phase has begun, clients open the sum of a set that is fixed, and nobody can take
# back what was said: answers that come after a cancellation, a deadline or a sum that fails its
# check are seen all the same. So whoever is in that set is told that it is, however the round ends,
# and its input is spent.

log = logging.getLogger(__name__)

Observer = Callable[[Event], None]


@dataclass(frozen=True)
class End:
    """How a round ended for its server: a result, or why there is none.

    summed: where there is none, whose inputs are spent: in a sum that was had, or being opened.
    """

    nonce: bytes
    result: party.Aggregate | None
    error: Exception | None
    report: RoundReport
    summed: frozenset[PartyId] = frozenset()

    __repr__ = short

    def get(self) -> party.Aggregate:
        """The result, or raises what there is in its place."""
        if self.result is None:
            raise self.error or errors.Aborted(AbortReason.LOST)
        return self.result


class Round:
    """One session at its server. Ended once `end` is there; told once everybody was."""

    def __init__(
        self,
        opening: Opening,
        machine: party.Server,
        cohort: Sequence[bytes | None],
        outbox: Outbox,
        now: float,
        *,
        durable: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """cohort: the identities of those who sit on the first seats, None where there is none."""
        self.opening, self._outbox, self._durable = opening, outbox, durable
        self.cohort, self.machine = Cohort(cohort), machine
        self._signed = opening.task.plan.suite.signed
        self._written = Written()
        self.seats: dict[PartyId, Peer] = {}
        self.clock = PhaseClock(now, opening.limits)
        self._observer = observer
        self._seen = Seen()
        self._working: dict[int, Work] = {}
        self._worked = 0
        self.end: End | None = None

    # Who is there

    def begin(self, seats: Mapping[PartyId, Peer], now: float) -> None:
        """Opened: these seats are taken, and every other one is lost."""
        if self._durable:
            row = Write(ROUND, self.opening.row(self.cohort))
            self._outbox.write(self.opening.nonce, ROUNDS, [row])
        self.seats = dict(seats)
        self._seen.peers = dict(self.seats)
        self._start((), now)

    def restore(
        self, own: Rows, rows: Collection[tuple[bytes, bytes]], written: Rows, now: float
    ) -> None:
        """own: its rows; rows: the machine's; written: of `written_in`. Its phase has its deadline
        anew: the time when nobody could come does not count. Who has no identity cannot come back,
        and is lost; without anybody who can, and without rows, the round is."""
        self._written.restore(written)
        if OPENED in own:
            self._seen.opening = read_opened(own[OPENED])
        if rows:
            self._start(rows, now)
        if not rows or not any(self.cohort):
            self._lose(now)
        for i, identity in enumerate(self.cohort):
            if identity is None:
                self.call(partial(self.machine.lost, PartyId(i)), now)

    def fault(self, seat: PartyId) -> Fault | None:
        """For which it was dropped, as far as this process has seen it."""
        return self._seen.faults.get(seat)

    def place(self, seat: PartyId) -> str:
        """For the log."""
        return f"party {seat} of round {self.opening.nonce.hex()[:8]} in {self.machine.phase}"

    def free_seat(self, identity: bytes) -> PartyId | None:
        """That of somebody who has proved to be this, and is not there now."""
        empty = [seat for seat in self.cohort.seats(identity) if seat not in self.seats]
        alive = self.machine.alive if empty else frozenset()
        return next((seat for seat in empty if seat in alive), None)

    def returned(self, peer: Peer, seat: PartyId, now: float) -> None:
        """What it may not have heard is said again, the announcement first."""
        self.seats[seat] = self._seen.peers[seat] = peer
        self._outbox.post(peer, self.opening.announce(seat))
        self.call(lambda: self.machine.reconnected(seat), now)

    def left(self, seat: PartyId, now: float) -> None:
        del self.seats[seat]
        if self._signed or self._identity(seat) is None:
            self.call(lambda: self.machine.lost(seat), now)

    # What happens

    def receive(self, seat: PartyId, data: bytes, now: float) -> None:
        self._seen.up += len(data)
        self.call(lambda: self.machine.receive(seat, data), now)

    def finished(self, number: int, value: Any, now: float) -> None:
        if (work := self._working.pop(number, None)) is not None:
            self.call(lambda: self.machine.finish(work.job, value), now)

    def failed(self, error: Exception, now: float) -> None:
        """Of a job, or a bug: nothing that the machine holds is used any more."""
        if self.end is None:
            self._end_without(error, now)
            self._working.clear()
            self._drain(now)  # a bug may show in the call that opens the sum
            self._end_without(error, now)
            self.machine.abort(_reason(error))
            self._drain(now)

    def _lose(self, now: float) -> None:
        """Unless it has all that it needs: its sum, or work that only remains to be done."""
        if not self._working:
            why = "the server was started again, and nobody can come back to this round"
            self.failed(errors.Aborted(AbortReason.LOST, why), now)

    def cancel(self, now: float) -> None:
        self.failed(errors.Aborted(AbortReason.CANCELLED), now)

    def tick(self, now: float) -> None:
        if self.end is None and not self._working and now >= self.clock.due:
            self.call(self.machine.close_phase, now)

    def lose(self) -> None:
        """It has ended, and nobody has its result: so nobody hears that there is one. But there
        was, and whoever is in it must not be in another."""
        if self.end is not None and self.end.result is not None:
            lost = errors.Aborted(AbortReason.CANCELLED, "its result could not be kept")
            summed = self.end.result.contributors
            self.end = replace(self.end, result=None, error=lost, summed=summed)

    @property
    def largest(self) -> int:
        """Bytes of the largest frame that a client of it can have to say by now: of this phase, or
        of one before."""
        cost, phases = self.opening.task.plan.cost, self._phases
        if not cost.uploads:
            return HEAD_SIZE + cost.largest_message
        phase = self.clock.phase
        upto = phases.index(phase) + 1 if phase in phases else len(phases)
        return HEAD_SIZE + max(cost.uploads[:upto])

    @property
    def due(self) -> float:
        """When its phase must close; never while it works, or after its end."""
        return float("inf") if self.end is not None or self._working else self.clock.due

    def call(self, call: Callable[[], None], now: float) -> None:
        """Any call of the machine, and whatever follows from it until nothing moves."""
        if self.end is not None:
            return
        try:
            call()
            self._settle(now)
        except Exception as bug:  # passed on: but first nobody waits for a round that is broken
            self.failed(bug, now)
            raise

    def tell(self, standings: Callable[[PartyId, Over], None]) -> Farewell:
        """How it ended, to every seat; and what is left of it, in place of all of its rows."""
        if self.end is None:
            raise LocalProtocolError("the round is still running")
        over = self._last_word(self.end)
        included = self.end.result.contributors if self.end.result else self.end.summed
        known = {}
        for i, identity in enumerate(self.cohort):
            seat = PartyId(i)
            standing = None if seat in included else self._fault(seat)
            standings(seat, replace(over, standing=standing))
            if identity is not None:
                known[identity] = standing
        return Farewell(over, known)

    # Inside

    def _start(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """rows: the machine's, of a round that goes on. The announcement is posted before all
        else."""
        for seat, peer in self.seats.items():
            self._outbox.post(peer, self.opening.announce(seat))
        if rows:
            self.machine.restore(rows)
        self.call(self._begin_machine, now)

    def _begin_machine(self) -> None:
        self.machine.start()
        for i in range(len(self.cohort), self.opening.task.plan.threat.clients):
            self.machine.lost(PartyId(i))

    def _settle(self, now: float) -> None:
        """Until nothing moves: it has ended, works, or waits for somebody."""
        while True:
            self._drain(now)
            if self.machine.done:
                self._conclude(now)
                return
            if self._working:
                return
            if jobs := self.machine.jobs():
                for job in jobs:
                    self._hand_out(job)
                return
            if self.machine.waiting_for:
                return
            self.machine.close_phase()

    def _hand_out(self, job: Callable[[], Any]) -> None:
        self._worked += 1
        work = self._working[self._worked] = Work(job, (self.opening.nonce, self._worked))
        self._outbox.work(work)

    def _conclude(self, now: float) -> None:
        """Its sum with the identities of those in it, or the error that there is in its place."""
        try:
            total = self.machine.aggregate()
        except (errors.Aborted, IntegrityError) as without:
            self._end_without(without.with_traceback(None), now)  # its frames hold the machine
            return
        named = replace(total, members=self.cohort.members(total.contributors))
        self.end = End(self.opening.nonce, named, None, self.report(now))

    def _end_without(self, error: Exception, now: float) -> None:
        report, summed = self.report(now), self._seen.opening
        self.end = End(self.opening.nonce, None, error, report, summed)

    def _opens(self) -> None:
        """The last phase begins, or goes on: what it asks for leaves with this row, or after it."""
        if not self._seen.opening and (opened := self.machine.contributors):
            self._seen.opening = opened
            if self._durable:
                row = Write(OPENED, opened_row(opened))
                self._outbox.write(self.opening.nonce, ROUNDS, [row])

    @property
    def _phases(self) -> tuple[str, ...]:
        return self.opening.task.plan.phase_names

    def _identity(self, seat: PartyId) -> bytes | None:
        return self.cohort[seat] if seat < len(self.cohort) else None

    def _fault(self, seat: PartyId) -> Fault | None:
        """As far as this process has seen it: one before it was restored has forgotten which."""
        gone = self.end is not None and bool(self.end.result is not None or self.end.summed)
        gone |= seat not in self.machine.alive
        return self.fault(seat) or Fault.LOST if gone else None

    def progress(self) -> Progress:
        machine, seen, seats = self.machine, self._seen, map(PartyId, range(len(self.cohort)))
        gone = {seat: seen.faults.get(seat) for seat in seats if seat not in machine.alive}
        where = self.clock.phase, self._phases, self.due
        return Progress(*where, seen.up, seen.down, machine.waiting_for, gone, self.cohort)

    def report(self, now: float) -> RoundReport:
        seen, written = self._seen, self._written
        number = max(1, len(seen.peers) or len(self.cohort))
        up, down = seen.up / number, seen.down / number
        return RoundReport(
            self.clock.stop(now),
            up,
            down,
            faults=dict(seen.faults),
            dropped_in=dict(seen.dropped_in),
            disputed=frozenset(seen.disputed),
            members=self.cohort.members(),
            peers=dict(seen.peers),
            transcript=written.transcript,
            evidence=written.evidence,
        )

    def _last_word(self, end: End) -> Over:
        """Without a standing: that is each client's own."""
        nonce, total = end.nonce, end.result
        if total is not None:
            return Over(nonce, None, len(total.contributors), len(total.dropped))
        reason = _reason(end.error)
        if reason is AbortReason.CANCELLED:  # of our own accord: nobody's doing
            return Over(nonce, reason, len(end.summed), 0)
        clients = self.opening.task.plan.threat.clients
        return Over(nonce, reason, len(end.summed), clients - len(self.machine.alive))

    def _drain(self, now: float) -> None:
        machine, nonce = self.machine, self.opening.nonce
        fresh = self._written.take(machine)
        if self._durable:
            self._outbox.write(nonce, MACHINE, machine.writes())
            self._outbox.write(written_in(nonce), ROUNDS, fresh)
        for out in machine.outgoing():
            if out.to in self.seats:
                self._seen.down += len(out.data)
                self._outbox.post(self.seats[out.to], Message(nonce, out.data))
        for event in machine.events():
            self._heard(event)
        self.clock.enter("" if machine.done else machine.phase, now)

    def _heard(self, event: Event) -> None:
        if isinstance(event, Dropped):
            self._seen.faults[event.party] = event.fault
            seat = self.seats.get(event.party)
            at = "" if seat is None else seat.at
            phase = self.clock.phase or self.machine.phase  # the machine has left it already
            self._seen.dropped_in[event.party] = phase
            said = (event.party, at, self.opening.nonce.hex()[:8], phase, why(event))
            extra = watch.Event.PARTY_DROPPED.line
            log.info("party %d%s was dropped from round %s in %s: %s", *said, extra=extra)
        elif isinstance(event, Disputed):
            self._seen.disputed.add((event.dealer, event.holder))
            share, extra = (event.dealer, event.holder), watch.Event.SHARE_UNUSABLE.line
            log.debug("a share of party %d at %d is unusable", *share, extra=extra)
        elif isinstance(event, PhaseEntered) and event.phase not in self._phases[:-1]:
            self._opens()
        if self._observer is not None:
            self._observer(event)


def _reason(error: Exception | None) -> AbortReason:
    """What clients hear of it: a bug of ours is none of their business."""
    if isinstance(error, errors.Aborted):
        return error.reason
    return AbortReason.INTEGRITY if isinstance(error, IntegrityError) else AbortReason.CANCELLED


def ticket_of(work: Work) -> tuple[bytes, int]:
    """The nonce of the round that has handed it out, and its number there."""
    if not isinstance(work.ticket, tuple):
        raise LocalProtocolError("this work was not handed out here")
    return work.ticket[0], work.ticket[1]
