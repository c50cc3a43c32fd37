"""What leader and helper share: reports opened and stored, sets locked, rows taken up
(specs/20-additive.md §8, §9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from secagg.committee import ServerSecrets
from secagg.effects import Write
from secagg.errors import (
    InvalidSignature,
    LocalProtocolError,
    ParameterError,
    StorageError,
    WireError,
)
from secagg.sansio import (
    Aborted,
    Job,
    Need,
    PhaseEntered,
)
from secagg.types import Buffer, Fault, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.batch import BatchMachine
from secagg_protocols.reports.book import CHECKED, Book, Pending, Row, State
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.faults import PeerFault, refuse
from secagg_protocols.reports.messages import (
    Head,
    Included,
    Receipt,
    Report,
    Sealed,
    Statement,
    Tag,
)
from secagg_protocols.reports.opening import Arrival, Openings
from secagg_protocols.reports.rows import BatchRows, Tally
from secagg_protocols.reports.scheme import Opened, Opening
from secagg_protocols.reports.seals import Seals
from secagg_protocols.reports.states import Stage

# Theory of operation.
#
# A report is opened (at once, or by a job where the scheme is slow), stored, checked where the
# scheme has an exchange, ruled on and decided. It is in the book from when it is opened. Before
# that it is nowhere: a crash loses it as if it had not come, and its client says it again. So a
# receipt is signed only for what the book has.
#
# Who brings a report, and what is done once it is stored or refused, is what leader and helper
# differ in: `_stored`, `_refused`. What they do alike is here once: to read and unseal it, to open
# it again from its row, to add it, to lock the set.
#
# It is judged twice, by different means. Whether its shares belong together is asked of the report,
# by its own key and its manifest, before anything is opened; whether this server's share is one is
# asked of what comes out of the seal, by the scheme. What fails the first is nobody's report and
# leaves no row; what fails the second is rejected, and so spent for the epoch.
#
# A set is locked in one order. The total is made of the sum; the sum, the opened shares and the key
# that opens are forgotten; total and agreement become rows of one transaction; and only then is a
# collector answered. So there is never a total of a set that is not stored as locked.
#
# A machine that is made from rows says again whatever it said and was not answered, and nothing
# else: what a peer has done comes again with its answers, so it is not stored. A pending report is
# opened again, from the message as it came. One that no longer opens shows that keys and store do
# not belong together, and is refused: a report less would be a set of its own.


class Member(BatchMachine):
    """One server in one batch, with its reports."""

    def __init__(self, context: Context, number: int, index: int, secrets: ServerSecrets) -> None:
        super().__init__(context, number, index)
        # with other keys no share would open, and every client would be dropped for it
        if secrets.public != context.committee.servers[index]:
            raise ParameterError(f"these are not the secret keys of server {index}")
        relays = index == 0 and not context.params.direct
        self._seals = Seals(context, number, index, secrets)
        self._relays_to = context.params.servers - 1 if relays else 0
        self._book = Book(number, self._relays_to)
        self._tally = Tally(context.scheme)
        self._openings = Openings()

    @property
    def need(self) -> Need:
        """Rows that were taken up say in which stage it is before it has been started."""
        if not self._progress.started:
            return Need.NOTHING
        return Need.JOBS if len(self._openings) else super().need

    @property
    def quorum(self) -> bool:
        return self.included >= self._context.params.min_survivors

    @property
    def included(self) -> int:
        """How many reports are in the sum."""
        return len(self._book.included)

    @property
    def pending(self) -> int:
        return self._book.undecided

    def jobs(self) -> Sequence[Job]:
        return self._openings.due()

    def finish(self, job: Job, value: Any, /) -> None:
        """value: what the job returned. One that the end of the batch has overtaken has no effect:
        its report was never here, and its client says it again."""
        if not isinstance(job, Opening):
            raise LocalProtocolError("this job was not handed out here")
        arrival = self._openings.take(job.id)
        if arrival is not None:
            self._judged(arrival, value)
        elif not self._progress.over:
            raise LocalProtocolError("this job was not handed out here, or is finished")

    # The store

    def writes(self) -> list[Write]:
        """Everything since the last call, the sum as it is now among it."""
        changed = self._progress.rows(self._tally) | self._book.rows()
        return [Write(key, value) for key, value in changed.items()]

    def retire(self) -> None:
        self._book.retire()

    def closing(self) -> list[Write]:
        """§9.7"""
        return [Write(key, None) for key in self._book.closing_keys()]

    def restore(self, kept: Iterable[tuple[bytes, bytes]], /) -> None:
        """Raises StorageError for rows that no server of this task has written."""
        if self._stage is not Stage.IDLE:
            raise LocalProtocolError("restore() comes before start()")
        stored, number = dict(kept), self._seat.number
        batch, book = BatchRows.read(stored, self._seat), Book(number, self._relays_to)
        for row in (Row.decode(key, value) for key, value in stored.items() if Row.owns(key)):
            batch.check_row(row, number)
            self._restore_report(book, batch, row, stored.get(CHECKED + row.id))
        batch.check(book)
        self._take_up(batch, book)  # nothing is refused from here on

    def _take_up(self, batch: BatchRows, book: Book) -> None:
        self._book = book
        self._progress.take_up(batch)
        self._tally.take_up(batch)
        if (failure := self._progress.failure) is not None:
            self._why = Aborted(failure.reason, "before a restart")
        if self._progress.over:
            self._forget()

    def _restore_report(
        self, book: Book, batch: BatchRows, row: Row, exchanged: bytes | None
    ) -> None:
        """What is pending is opened where this batch goes on, and else belongs to another."""
        if row.state is not State.PENDING:
            book.restore(row)
        elif batch.over:
            book.left[row.id] = row.digest
        else:
            try:
                book.carry(row.id, self._reopen(row, exchanged))
            except WireError as error:
                raise StorageError(
                    "a stored report does not open: is this the store of these keys?"
                ) from error

    def _reopen(self, row: Row, exchanged: bytes | None) -> Pending:
        """Not a job: a server that starts has no one waiting yet."""
        reader = Reader(row.kept)
        tag, _ = read_header(reader)
        own, *relayed = self._read_shares(tag, reader)
        opening = self._seals.unseal(own)
        opened = opening() if opening else None
        if opened is None:
            raise WireError("the share does not open")
        pending = self._pending(row.digest, opened, relayed)
        pending.batch = row.batch
        if exchanged is not None:
            pending.share = self._context.scheme.end(opened.checking, exchanged)
            pending.checking, pending.message = None, exchanged
        return pending

    # Reports

    def _read_shares(self, tag: int, reader: Reader) -> tuple[Sealed, ...]:
        """All of a whole report, this server's own first, as only a leader gets one; else that."""
        if tag == Tag.REPORT:
            shares = Report.read(reader, self._context.shape).shares
        else:
            shares = (Sealed.read(reader, self._context.shape, self._seat.index),)
        reader.finish()
        return shares

    def _check_signed(self, sender: PartyId, head: Head) -> None:
        """Rule A2: shares that another hand has put together are not one report."""
        try:
            head.check(self._context.id)
        except InvalidSignature as error:
            detail = "the report is not signed with its own key"
            raise PeerFault(sender, Fault.INVALID_SIGNATURE, detail) from error

    def _known(self, id: bytes) -> bytes | None:
        """The digest of the report of that id, if it has come; also where it is still opened."""
        arrival = self._openings.get(id)
        return arrival.head.digest if arrival else self._book.digest_of(id)

    def _open(
        self, shares: Sequence[Sealed], message: Buffer, sender: PartyId | None = None
    ) -> None:
        """Of a report that is not known: at once, or as a job where the scheme is slow."""
        own, relayed = shares[0], shares[1:]
        pending = self._pending(own.head.digest, Opened(None), relayed)
        pending.sender = sender
        arrival = Arrival(own.head, pending, message)
        opening = self._seals.unseal(own)
        if opening is not None and self._context.scheme.jobs:
            self._openings.add(opening, arrival)
        else:
            self._judged(arrival, opening() if opening else None)

    def _pending(self, digest: bytes, opened: Opened, relayed: Iterable[Sealed]) -> Pending:
        """The shares of helpers are small, and a view of one would keep its whole report in
        memory."""
        copies = tuple(Sealed(one.head, one.index, bytes(one.data)) for one in relayed)
        pending = Pending(digest, None, relayed=copies)
        self._fill(pending, opened)
        return pending

    def _fill(self, pending: Pending, opened: Opened) -> None:
        pending.share, pending.checking = opened.share, opened.checking
        if opened.checking is not None:
            pending.parts[self._seat.index] = opened.part

    def _judged(self, arrival: Arrival, opened: Opened | None) -> None:
        """Rule A4: a share that does not open is rejected; one that does is stored."""
        if opened is None:
            self._refused(arrival)
            return
        self._fill(arrival.pending, opened)
        self._book.accept(arrival.head.id, arrival.pending, arrival.message)
        self._stored(arrival)

    def _refused(self, arrival: Arrival) -> None:
        raise NotImplementedError

    def _stored(self, arrival: Arrival) -> None:
        raise NotImplementedError

    def _receipt_again(self, sender: PartyId, reader: Reader) -> None:
        """Rule A3 when a batch is closed: a crash may have kept the receipt of a report that is in.
        Nothing else that a client says then is heard."""
        head = messages.read_head(reader, self._context.id, self._context.shape)
        if head is not None and self._book.digest_of(head.id) == head.digest:
            self._acknowledge(sender, head.id, head.digest)

    def _acknowledge(self, to: PartyId, id: bytes, digest: bytes) -> None:
        """Rule A3: never for a report that was rejected, in whichever batch."""
        if not self._book.is_rejected(id):
            self._send_receipt(to, self._seals.receipt(id, digest))

    def _send_receipt(self, to: PartyId, receipt: Receipt) -> None:
        self._send(to, receipt.encode(self._context.id))

    def _include(self, id: bytes) -> None:
        """Rule A5: the share is in the sum and its report in the set, stored together."""
        self._tally.add(self._book.include(id).share)

    # The set

    def _check_signature(
        self, index: int, included: Included, signature: bytes, bearer: PartyId
    ) -> None:
        """bearer: who is to blame, as it has made the signature or should have checked it."""
        if not self._context.is_signed(index, included.to_sign(self._seat.batch), signature):
            refuse(bearer, Fault.INVALID_SIGNATURE, f"no signature of server {index} under the set")

    def _lock(self, statement: Statement) -> None:
        """Every server signed this set: it is this batch's for ever, and its total is made.

        The sum is in the total from here on, and nowhere else.
        """
        # made before the sum is forgotten, stored with the lock, and said after that
        total = self._seals.total(statement, self._tally.total)
        self._forget()
        self._progress.lock(total, statement.encode(Tag.AGREEMENT, self._seat.batch))
        self._events.append(PhaseEntered(self.phase))
        if self._progress.waited:
            self._collect()

    def _forget(self) -> None:
        """Rule A13: a server keeps the machines of an epoch, and of secrets, one that is over has
        the key that signs receipts."""
        self._book.end()
        self._seals.forget()
        self._tally.forget()
        self._openings.forget()
