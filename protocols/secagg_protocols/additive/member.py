"""What leader and helper share: messages judged, shares opened, sets locked, totals released
(specs/20-additive.md §8, §9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.crypto import hpke, sign
from secagg.errors import (
    BadTag,
    InvalidSignature,
    InvalidTag,
    LocalProtocolError,
    ParameterError,
    StorageError,
    WireError,
)
from secagg.sansio import (
    Aborted,
    Dropped,
    Expander,
    Finished,
    Ignored,
    Job,
    Mailbox,
    Outgoing,
    PhaseEntered,
    RingTotal,
    Session,
    Write,
)
from secagg.types import COLLECTOR, FIRST_RESERVED, AbortReason, Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import read_header
from secagg.wire.vector import write_vector
from secagg_protocols.additive import messages
from secagg_protocols.additive.book import Book, Row, State
from secagg_protocols.additive.faults import ServerFault, reason_of
from secagg_protocols.additive.messages import Included, Sealed, Shape, Statement, Tag, Total
from secagg_protocols.additive.sharing import Context, SeedShare, Share, read_packed, read_seed
from secagg_protocols.additive.states import Role, Stage

_SUM_ROW, _BATCH_ROW, _AGREEMENT_ROW = b"s", b"b", b"a"
"""Before the number of the batch; a report's row begins with r."""


class Member(Mailbox):
    """One server in one batch. Subclasses say what each message does; a table says who may send it.

    Clients are dropped for their faults. Another server cannot be: its fault ends the batch, before
    the set is locked, and is an event after.
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
        self._secrets, self._opening = secrets, secrets.opening_key()
        self._expander = expander
        self._shape = Shape.of(session.layout, self._context.params.servers)
        self._number = session.batch
        self._batch = self._context.batch(session.batch)
        self._book = Book(session.batch)
        self._sum = session.layout.zeros()
        self._grown = False  # the sum is not stored as it is
        self._stage = Stage.IDLE
        self._rows: dict[bytes, bytes] = {}
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
    def quorum(self) -> bool:
        return len(self._book.included) >= self._context.params.min_survivors

    @property
    def pending(self) -> int:
        return len(self._book.pending)

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
        except ServerFault as fault:
            self._blame(fault.party, fault.fault, fault.detail)

    def lost(self, party: PartyId, /) -> None:
        """A client whose report is in may go; a server may not."""
        if self.done or self._stage is Stage.LOCKED:
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

    def jobs(self) -> Sequence[Job]:
        return ()

    def finish(self, job: Job, value: Any, /) -> None:
        raise LocalProtocolError("servers of additive sums hand out no jobs")

    def result(self) -> RingTotal:
        if self._ended is not None:
            raise self._ended
        raise LocalProtocolError("a server holds a share of the sum: only the collector has it")

    # The store

    def writes(self) -> list[Write]:
        """Everything since the last call, the sum as it is now among it."""
        rows, self._rows = self._rows | dict(self._book.rows()), {}
        if self._grown:
            rows[_SUM_ROW + self._number.to_bytes(4)] = b"".join(
                lane.astype(lane.dtype.newbyteorder("<")).tobytes() for lane in self._sum
            )
            self._grown = False
        if self._stage is Stage.LOCKED:
            self._sum = ()  # it is in the total, and a server keeps the machines of an epoch
        return [Write(key, value) for key, value in rows.items()]

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Raises StorageError for rows that no server of this task has written."""
        if self._stage is not Stage.IDLE:
            raise LocalProtocolError("restore() comes before start()")
        mine = self._number.to_bytes(4)
        for key, value in rows:
            if Row.owns(key):
                self._restore_report(Row.decode(key, value))
            elif key == _SUM_ROW + mine:
                self._restore_sum(value)
            elif key == _BATCH_ROW + mine:
                self._restore_stage(value)
            elif key == _AGREEMENT_ROW + mine:
                self._agreement = bytes(value)

    def _restore_report(self, row: Row) -> None:
        if row.state is not State.PENDING:
            self._book.restore(row)
            return
        try:
            self._reopen(row)
        except (WireError, InvalidTag) as error:
            raise StorageError(
                "a stored report does not open: is this the store of these keys?"
            ) from error

    def _restore_sum(self, value: bytes) -> None:
        if len(value) != sum(lane.nbytes for lane in self._sum):
            raise StorageError("the stored sum has another length: use the store of this plan")
        at = 0
        for lane in self._sum:
            lane[:] = np.frombuffer(value, lane.dtype.newbyteorder("<"), lane.size, at)
            at += lane.nbytes

    def _restore_stage(self, value: bytes) -> None:
        stage = Stage.from_code(value[0]) if value else None
        if stage is None or (stage is Stage.ABORTED and len(value) != 2):
            raise StorageError("the stored batch is in no stage that is known")
        self._stage = stage
        if stage is Stage.ABORTED:
            reason = AbortReason.from_code(value[1]) or AbortReason.CANCELLED
            self._ended, self.done = errors.aborted(reason, "before a restart"), True
        else:
            self._total = bytes(value[1:])

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
            self._blame(sender, Fault.QUIT, messages.read_abort(reader).value)
        elif tag is Tag.COLLECT:
            reader.finish()
            self._collect()
        else:
            self._take(sender, tag, reader, message)

    def _receipt_again(self, sender: PartyId, reader: Reader) -> None:
        """Rule A3 when a batch is closed: a crash may have kept the receipt of a report that is in.
        Nothing else that a client says then is heard."""
        head = messages.read_head(reader, self._context.id, self._shape)
        if head is None or head.id in self._book.rejected:
            return
        if self._book.digest_of(head.id) == head.digest:
            self._send(sender, messages.receipt(self._context.id, head.id))

    @staticmethod
    def _of_batch(tag: Tag, role: Role) -> bool:
        """Clients know the task only, and a leader relays what they said."""
        return role is not Role.CLIENT and tag is not Tag.REPORT_SHARE

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

    def _open(self, sealed: Sealed) -> Share:
        """The share of this server; InvalidTag or WireError for one that is none."""
        id, public = sealed.head.id, sealed.head.public
        info = self._context.share_info(id, public, self._index)
        plaintext = self._opening.open(sealed.data, info)
        if self._index == 0:
            return read_packed(self._context.layout, plaintext)
        seed = read_seed(plaintext)
        return SeedShare(self._context.stream_keys(seed, id, self._index), self._expander)

    def _include(self, id: bytes) -> None:
        """Rule A5: the share is in the sum and its report in the set, stored together."""
        self._book.include(id).share.add_to(self._sum)
        self._grown = True

    # The set

    def _statement(self, included: Included) -> bytes:
        """This server's signature under a set."""
        return sign.sign(self._secrets.signing, included.to_sign(self._batch))

    def _check_signature(
        self, index: int, included: Included, signature: bytes, bearer: PartyId
    ) -> None:
        """bearer: who is to blame, as it has made the signature or should have checked it."""
        key = self._context.committee.servers[index].signing
        try:
            sign.verify(key, included.to_sign(self._batch), signature)
        except InvalidSignature as error:
            detail = f"not signed by server {index}"
            raise ServerFault(bearer, Fault.INVALID_SIGNATURE, detail) from error

    def _lock(self, statement: Statement) -> None:
        """Every server signed this set: it is this batch's for ever, and its total is made."""
        included = statement.included
        packed = write_vector(Writer(), self._context.layout, self._sum).finish()
        info = self._context.total_info(self._number, included, self._index)
        sealed = hpke.seal(self._context.committee.collector, packed, info)
        signed = Total.to_sign(self._batch, self._index, included, sealed)
        signature = sign.sign(self._secrets.signing, signed)
        self._total = Total(included, sealed, signature).encode(self._batch)
        self._agreement = statement.encode(Tag.AGREEMENT, self._batch)
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
        number = self._number.to_bytes(4)
        reason = bytes([self._ended.reason.code]) if self._ended else b""
        self._rows[_BATCH_ROW + number] = bytes([self._stage.code]) + (reason or self._total)
        if self._agreement:
            self._rows[_AGREEMENT_ROW + number] = self._agreement

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
        self._stage, self._ended = Stage.ABORTED, why
        self._started = self.done = True
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
