"""What leader and helper share: messages judged, shares opened, sets locked, totals released
(specs/20-additive.md §8, §9)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.effects import Write
from secagg.errors import (
    BadTag,
    InvalidSignature,
    InvalidTag,
    LocalProtocolError,
    ParameterError,
    StorageError,
    WireError,
)
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import (
    Aborted,
    Dropped,
    Finished,
    Ignored,
    Need,
    Outgoing,
    PhasedMailbox,
    PhaseEntered,
    RingTotal,
)
from secagg.types import COLLECTOR, FIRST_RESERVED, AbortReason, Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive.sharing import Context
from secagg_protocols.reports import messages, rows
from secagg_protocols.reports.book import Book, Row, State
from secagg_protocols.reports.faults import PeerFault, reason_of, refuse
from secagg_protocols.reports.messages import (
    Head,
    Included,
    Receipt,
    Shape,
    Statement,
    Tag,
)
from secagg_protocols.reports.rows import BatchRows
from secagg_protocols.reports.seals import Seals
from secagg_protocols.reports.states import Role, Stage


class Member(PhasedMailbox):
    """One server in one batch. Subclasses say what each message does; a table says who may send it.

    Clients are dropped for their faults. Another server cannot be: its fault ends the batch, before
    the set is locked, and is an event after. Once the batch has ended, one way or the other, what
    is still said is bytes: opened shares, the sum and the key that opens are gone.
    """

    table: dict[tuple[Stage, Role], frozenset[Tag]]

    def __init__(
        self, session: Session, index: int, secrets: ServerSecrets, *, expander: Expander
    ) -> None:
        super().__init__()
        self._context = Context.of(session)
        if secrets.public != self._context.committee.servers[index]:
            raise ParameterError(f"these are not the secret keys of server {index}")
        self._index, self.me = index, server_id(index)
        self._shape = Shape.of(session.layout, self._context.params.servers)
        self._number = session.batch
        self._batch = self._context.batch(session.batch)
        self._seals = Seals(self._context, session.batch, index, secrets, expander=expander)
        relays = index == 0 and not self._context.params.direct
        self._book = Book(session.batch, self._context.params.servers - 1 if relays else 0)
        self._sum = session.layout.zeros()
        self._grown = False  # the sum is not stored as it is
        self._stage = Stage.IDLE
        self._rows: dict[bytes, bytes | None] = {}
        self._total = b""  # the message, once locked
        self._agreement = b""  # the message, once locked
        self._collector_waits = self._started = False
        self._ended: errors.Aborted | None = None
        self.done = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(index={self._index}, stage={self._stage.name})"

    @property
    def phase(self) -> str:
        return self._stage.phase

    @property
    def need(self) -> Need:
        """Rows that were taken up say in which stage it is before it has been started."""
        return super().need if self._started else Need.NOTHING

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        raise NotImplementedError

    @property
    def quorum(self) -> bool:
        return len(self._book.included) >= self._context.params.min_survivors

    @property
    def pending(self) -> int:
        return self._book.undecided

    def start(self) -> None:
        """A batch that the store knows goes on where it was; one that had ended has ended."""
        if self._started:
            raise LocalProtocolError("start() is called once")
        self._started = True
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
        if self.done or self._over:
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
        else:
            self._abort(errors.Aborted(why, f"in {self.phase or 'idle'}"))

    def result(self) -> RingTotal:
        if self._ended is not None:
            raise self._ended.again()
        raise LocalProtocolError("a server holds a share of the sum: only the collector has it")

    # The store

    def writes(self) -> list[Write]:
        """Everything since the last call, the sum as it is now among it."""
        changed, self._rows = self._rows | dict(self._book.rows()), {}
        if self._grown:
            changed[self._key(rows.SUM)] = rows.write_sum(len(self._book.included), self._sum)
            self._grown = False
        return [Write(key, value) for key, value in changed.items()]

    def retire(self) -> None:
        self._book.retire()

    def closing(self) -> list[Write]:
        """§9.7"""
        return [Write(key, None) for key in self._book.undecided_keys()]

    def restore(self, kept: Iterable[tuple[bytes, bytes]], /) -> None:
        """Raises StorageError for rows that no server of this task has written."""
        if self._stage is not Stage.IDLE:
            raise LocalProtocolError("restore() comes before start()")
        stored = dict(kept)
        batch = BatchRows.read(stored, self._context, self._number)
        self._stage, self._total, self._agreement = batch.stage, batch.total, batch.agreement
        if batch.reason is not None:
            self._why = Aborted(batch.reason, "before a restart")
            self._ended, self.done = errors.aborted(batch.reason, self._why.detail), True
        if batch.sum is not None:
            self._sum = batch.sum
        for row in (Row.decode(key, value) for key, value in stored.items() if Row.owns(key)):
            batch.check_row(row, self._number)
            self._restore_report(row)
        batch.check(self._book)
        if self._over:
            self._forget()

    def _key(self, kind: bytes) -> bytes:
        return kind + self._number.to_bytes(4)

    def _restore_report(self, row: Row) -> None:
        """What is pending is opened where this batch goes on, and else belongs to another."""
        if row.state is not State.PENDING:
            self._book.restore(row)
            return
        if self._over:
            self._book.left[row.id] = row.digest
            return
        try:
            self._reopen(row)
        except (WireError, InvalidTag) as error:
            raise StorageError(
                "a stored report does not open: is this the store of these keys?"
            ) from error

    def _reopen(self, row: Row) -> None:
        raise NotImplementedError

    # One message

    def _role(self, party: PartyId) -> Role | None:
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
        reader = Reader(message)
        number, bound = read_header(reader)
        if number not in messages.NAMES:
            raise BadTag(f"tag {number} is unknown")
        tag = Tag(number)
        if tag not in allowed:
            name = messages.NAMES[tag]
            self._blame(sender, Fault.WRONG_PHASE, f"{name} in {self.phase}")
            return
        if bound != (self._batch if self._of_batch(tag, role) else self._context.id):
            raise WireError("the message is bound to another task or batch")
        if tag is Tag.ABORT:
            self._take_abort(sender, messages.read_abort(reader))
        elif tag is Tag.COLLECT:
            reader.finish()
            self._collect()
        else:
            self._take(sender, tag, reader, message)

    def _receipt_again(self, sender: PartyId, reader: Reader) -> None:
        """Rule A3 when a batch is closed: a crash may have kept the receipt of a report that is in.
        Nothing else that a client says then is heard."""
        head = messages.read_head(reader, self._context.id, self._shape)
        if head is not None and self._book.digest_of(head.id) == head.digest:
            self._acknowledge(sender, head.id, head.digest)

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
        self._collector_waits = not self._total
        if self._total:
            self._send(COLLECTOR, self._total)
        elif self._ended is not None:
            self._send(COLLECTOR, messages.abort(self._batch, self._ended.reason))

    # Reports

    def _check_signed(self, sender: PartyId, head: Head) -> None:
        """Rule A2: shares that another hand has put together are not one report."""
        try:
            head.check(self._context.id)
        except InvalidSignature as error:
            detail = "the report is not signed with its own key"
            raise PeerFault(sender, Fault.INVALID_SIGNATURE, detail) from error

    def _acknowledge(self, to: PartyId, id: bytes, digest: bytes) -> None:
        """Rule A3: never for a report that was rejected, in whichever batch."""
        if not self._book.is_rejected(id):
            self._send_receipt(to, self._seals.receipt(id, digest))

    def _send_receipt(self, to: PartyId, receipt: Receipt) -> None:
        self._send(to, receipt.encode(self._context.id))

    def _include(self, id: bytes) -> None:
        """Rule A5: the share is in the sum and its report in the set, stored together."""
        self._book.include(id).share.add_to(self._sum)
        self._grown = True

    # The set

    def _check_signature(
        self, index: int, included: Included, signature: bytes, bearer: PartyId
    ) -> None:
        """bearer: who is to blame, as it has made the signature or should have checked it."""
        if not self._context.is_signed(index, included.to_sign(self._batch), signature):
            refuse(bearer, Fault.INVALID_SIGNATURE, f"no signature of server {index} under the set")

    def _lock(self, statement: Statement) -> None:
        """Every server signed this set: it is this batch's for ever, and its total is made.

        The sum is in the total from here on, and nowhere else.
        """
        self._total = self._seals.total(statement, self._sum)
        self._agreement = statement.encode(Tag.AGREEMENT, self._batch)
        self._drop_sum()
        self._enter(Stage.LOCKED)
        if self._collector_waits:
            self._collect()

    # Ends

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self._events.append(PhaseEntered(self.phase))
        self._store_stage()

    def _store_stage(self) -> None:
        """The signed set is stored beside the total: it is the proof of what all agreed on."""
        reason = bytes([self._ended.reason.code]) if self._ended else b""
        self._rows[self._key(rows.BATCH)] = bytes([self._stage.code]) + (reason or self._total)
        if self._agreement:
            self._rows[self._key(rows.AGREEMENT)] = self._agreement

    @property
    def _over(self) -> bool:
        """Nothing is added any more: the set is locked, or the batch aborted."""
        return self._stage in (Stage.LOCKED, Stage.ABORTED)

    def _forget(self) -> None:
        """Rule A13: a server keeps the machines of an epoch, and of secrets, one that is over has
        the key that signs receipts."""
        self._book.end()
        self._seals.forget()
        self._sum, self._grown = (), False

    def _drop_sum(self) -> None:
        """Also from the store, in the transaction that ends the batch."""
        self._forget()
        self._rows[self._key(rows.SUM)] = None

    def _finish(self) -> None:
        self.done = True
        self._events.append(Finished())

    def _blame(self, party: PartyId, fault: Fault, detail: str) -> None:
        """A client is dropped, a server ends the batch, and anybody may pose as a collector."""
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
        self._stage, self._ended = Stage.ABORTED, why.again()
        self._started = self.done = True
        self._drop_sum()
        self._store_stage()
        for server in self._other_servers():
            self._send(server, messages.abort(self._batch, why.reason))
        self._events.append(Aborted(why.reason, str(why)))
        if self._collector_waits:
            self._collect()

    def _abort_again(self, server: PartyId) -> None:
        """The abort of this batch may have been lost with the link, or before a restart."""
        if self._ended is not None:
            self._send(server, messages.abort(self._batch, self._ended.reason))

    def _other_servers(self) -> list[PartyId]:
        raise NotImplementedError

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        raise NotImplementedError

    def _lose(self, party: PartyId) -> None:
        raise NotImplementedError

    def _send(self, to: PartyId, data: bytes) -> None:
        self._outgoing.append(Outgoing(to, data, commit=True, sender=self.me))
