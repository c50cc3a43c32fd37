"""One server's part in one batch, apart from what its reports are: who may speak, what a fault
costs, and how it ends (specs/20-additive.md §8)."""

from __future__ import annotations

from collections.abc import Mapping

from secagg import errors
from secagg.errors import (
    BadTag,
    LocalProtocolError,
    WireError,
)
from secagg.sansio import (
    Aborted,
    Dropped,
    Finished,
    Ignored,
    Outgoing,
    PhasedMailbox,
    PhaseEntered,
    RingTotal,
)
from secagg.types import COLLECTOR, FIRST_RESERVED, AbortReason, Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.context import Context, Seat
from secagg_protocols.reports.faults import PeerFault, reason_of, too_few
from secagg_protocols.reports.messages import (
    Tag,
)
from secagg_protocols.reports.rows import Progress
from secagg_protocols.reports.states import Role, Stage

# Theory of operation.
#
# A message passes four gates, and each has its own answer. Who sent it: a party that the stage does
# not list is not heard, with an event. What it is: another tag from one that it lists is
# wrong-phase. What it is bound to and how long it is: malformed. What it says: the methods that
# take it, which raise `PeerFault` for a lie. All faults end in `_blame`, the only place that
# decides what a fault costs. Clients are dropped for theirs. Another server cannot be: its fault
# ends the batch, before the set is locked, and is an event after, because what all have signed can
# be collected whatever one of them says later. A collector's fault is an event alone: the machine
# has only its driver's word for who speaks. Behind `secagg.rounds` that one has proved its key
# (specs/01-wire.md §7); no other driver may give a stranger the power to end a batch.
#
# Every message is `commit`: what the progress and the book have changed is one transaction with
# whatever was said meanwhile, so no caller can send a message whose rows are not stored.
#
# Once the batch has ended, one way or the other, what is still said is bytes: opened shares, the
# sum and the key that opens are gone (rule A13). The machine stays to answer: receipts, the total,
# and, at a helper, what the leader has forgotten.


class BatchMachine(PhasedMailbox):
    """Gates, stages and ends. `Member` adds reports; leader and helper what they say."""

    table: Mapping[tuple[Stage, Role], frozenset[Tag]]

    def __init__(self, context: Context, number: int, index: int) -> None:
        super().__init__()
        self._seat = Seat(context, number, server_id(index))
        self._progress = Progress(number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(index={self._seat.index}, stage={self._progress.stage.name})"

    @property
    def me(self) -> PartyId:
        return self._seat.me

    @property
    def _context(self) -> Context:
        return self._seat.context

    @property
    def _stage(self) -> Stage:
        return self._progress.stage

    @property
    def phase(self) -> str:
        return self._stage.phase

    @property
    def done(self) -> bool:
        return self._progress.done

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        raise NotImplementedError

    @property
    def included(self) -> int:
        """How many reports are in the sum."""
        raise NotImplementedError

    @property
    def answered(self) -> bool:
        """Whether a collector was given the total of the locked set, since this process started:
        before that nobody can have it, whatever they say."""
        return self._progress.answered

    def start(self) -> None:
        """A batch that the store knows goes on where it was; one that had ended has ended."""
        if self._progress.started:
            raise LocalProtocolError("start() is called once")
        self._progress.started = True
        if self._stage is Stage.IDLE:
            self._enter(Stage.UPLOAD)
        else:
            self._events.append(PhaseEntered(self.phase))
            self._resume()

    def _resume(self) -> None:
        """A helper's part ends with the lock; a leader sees the others lock first."""

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        role = self._role(sender)
        allowed = self.table.get((self._stage, role)) if role else None
        if role is None or allowed is None:
            if role is Role.CLIENT:
                self._receipt_again(sender, Reader(message))
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            self._handle(sender, role, allowed, message)
        except WireError as error:
            self._blame(sender, Fault.MALFORMED, str(error))
        except PeerFault as fault:
            self._blame(fault.party, fault.fault, fault.detail)

    def lost(self, party: PartyId, /) -> None:
        """A client whose report is in may go; a server may not."""
        if self.done or self._progress.over:
            return
        if self._role(party) in (Role.LEADER, Role.HELPER):
            self._blame(party, Fault.LOST, "the link to the server is gone")
        elif party < FIRST_RESERVED:
            self._lose(party)

    def abort(self, why: AbortReason, /) -> None:
        """A set that is locked is released all the same: this only ends the wait for the others."""
        if self.done:
            return
        if self._stage is Stage.LOCKED:
            self._finish()
        elif why is AbortReason.BELOW_THRESHOLD:
            self._abort(too_few(self.included, self._context.params.min_survivors))
        else:
            self._abort(errors.Aborted(why, f"in {self.phase or 'idle'}"))

    def result(self) -> RingTotal:
        if self._progress.failure is not None:
            raise self._progress.failure.again()
        raise LocalProtocolError("a server holds a share of the sum: only the collector has it")

    # One message

    def _role(self, party: PartyId) -> Role | None:
        """None for this server itself, and for a server that the task does not have."""
        if party == COLLECTOR:
            return Role.COLLECTOR
        if party < FIRST_RESERVED:
            return Role.CLIENT
        index = server_id(0) - party
        if party == self.me or index >= self._context.params.servers:
            return None
        return Role.HELPER if index else Role.LEADER

    def _handle(
        self, sender: PartyId, role: Role, allowed: frozenset[Tag], message: Buffer
    ) -> None:
        """All gates but the first. WireError, PeerFault: what these cost is `_blame`'s to say."""
        reader = Reader(message)
        number, bound = read_header(reader)
        if number not in messages.NAMES:
            raise BadTag(f"tag {number} is unknown")
        tag = Tag(number)
        if tag not in allowed:
            name = messages.NAMES[tag]
            self._blame(sender, Fault.WRONG_PHASE, f"{name} in {self.phase}")
            return
        if bound != (self._seat.batch if self._of_batch(tag, role) else self._context.id):
            raise WireError("the message is bound to another task or batch")
        if tag is Tag.ABORT:
            self._take_abort(sender, messages.read_abort(reader))
        elif tag is Tag.COLLECT:
            reader.finish()
            self._collect()
        else:
            self._take(sender, tag, reader, message)

    @staticmethod
    def _of_batch(tag: Tag, role: Role) -> bool:
        """Clients know the task only, and a leader relays what they said."""
        return role is not Role.CLIENT and tag is not Tag.REPORT_SHARE

    def _take_abort(self, sender: PartyId, why: AbortReason) -> None:
        self._blame(sender, Fault.QUIT, why.value)

    def _take(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        raise NotImplementedError

    def _collect(self) -> None:
        """Rule A12: the same request gets the same bytes, once there are any."""
        progress, batch = self._progress, self._seat.batch
        progress.waited = not progress.total
        if progress.total:
            progress.answered = True
            self._send(COLLECTOR, progress.total)
        elif progress.failure is not None:
            self._send(COLLECTOR, messages.abort(batch, progress.failure.reason))
        else:
            self._send(COLLECTOR, messages.open_batch(batch, self.included))

    # Ends

    def _enter(self, stage: Stage) -> None:
        self._progress.enter(stage)
        self._events.append(PhaseEntered(self.phase))

    def _finish(self) -> None:
        self._progress.done = True
        self._events.append(Finished())

    def _blame(self, party: PartyId, fault: Fault, detail: str) -> None:
        """A client is dropped, a server ends the batch, and a collector changes nothing."""
        role = self._role(party)
        if role is Role.CLIENT:
            self._drop(party, fault, detail)
        elif role is Role.COLLECTOR or role is None or self._stage is Stage.LOCKED:
            self._events.append(Ignored(party, f"{fault.value}: {detail}"))
        else:
            self._events.append(Dropped(party, fault, detail))
            index = server_id(0) - party
            self._abort(errors.Aborted(reason_of(fault), f"server {index}: {fault.value}"))

    def _abort(self, why: errors.Aborted) -> None:
        """The batch ends without a sum: secrets go first, then the other servers hear of it, by
        reason, and last a collector that waits."""
        self._forget()
        self._progress.abort(why)
        for server in self._other_servers():
            self._send(server, messages.abort(self._seat.batch, why.reason))
        self._events.append(Aborted(why.reason, str(why)))
        if self._progress.waited:
            self._collect()

    def _abort_again(self, server: PartyId) -> None:
        """The abort of this batch may have been lost with the link, or before a restart."""
        if self._progress.failure is not None:
            reason = self._progress.failure.reason
            self._send(server, messages.abort(self._seat.batch, reason))

    def _receipt_again(self, sender: PartyId, reader: Reader) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        """Rule A13: whatever a batch that is over has no use for."""
        raise NotImplementedError

    def _other_servers(self) -> list[PartyId]:
        raise NotImplementedError

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        raise NotImplementedError

    def _lose(self, party: PartyId) -> None:
        raise NotImplementedError

    def _send(self, to: PartyId, data: bytes) -> None:
        self._outgoing.append(Outgoing(to, data, commit=True))
