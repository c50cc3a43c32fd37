"""The client machine: one report, built once, and the same bytes until they are stored
(specs/20-additive.md §7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from secagg.crypto.randomness import checked
from secagg.effects import Write
from secagg.errors import (
    InputError,
    InvalidSignature,
    LocalProtocolError,
    RemoteProtocolError,
    StorageError,
    WireError,
)
from secagg.layout import RingVector
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered
from secagg.types import AbortReason, Buffer, PartyId, Randomness, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.kept import Kept
from secagg_protocols.reports.making import make_report
from secagg_protocols.reports.messages import Receipt, Report, Sealed, Tag
from secagg_protocols.reports.states import ClientState

# Theory of operation.
#
# Its input becomes a report at once: a vector is split, the shares sealed, and the vector gone.
# From then on it has bytes that only servers can open, and says those and no others, on every new
# link, until the servers that they are for have answered. So what it keeps may be stored, and a
# client that is made from its rows is as good as the one that died: it says the same report, which
# a server that has it knows. It stores no secret, as it has none; it needs none either, as receipts
# are checked with the servers' keys.
#
# A report has one wording for ever. Rows that are older than it would let a second one of the same
# input be made, which is summed with the first: whoever drives this keeps a claim outside the rows.
# That it has ended is a row too, the last one: a client that is done reports no more.
#
# It trusts nobody who brings it anything. A receipt counts if its server has signed it for this
# very report. In relay mode the leader brings them all, and what is wrong with one is then the
# leader's fault or that of the way to it: nobody else can be named.


class ReportClient(Mailbox):
    """Speaks once. Its session is over when every server has signed that it has its report, also
    where it speaks to the leader only."""

    def __init__(self, context: Context, payload_digest: bytes, *, randomness: Randomness) -> None:
        super().__init__()
        self._context, self._payload_digest = context, payload_digest
        self._randomness = checked(randomness)
        self._state = ClientState.IDLE
        self._vector: RingVector | None = None
        self._spent = self._started = False
        self._kept = Kept(context.params.servers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(state={self._state.value[0]})"

    @property
    def phase(self) -> str:
        return self._state.phase

    @property
    def done(self) -> bool:
        return self._state in (ClientState.STORED, ClientState.ENDED)

    @property
    def owes_input(self) -> bool:
        return self._state is ClientState.WANT_INPUT

    @property
    def _unheard(self) -> set[PartyId]:
        """The servers that it speaks to and that owe a receipt: a leader that relays, all."""
        if self._context.params.direct:
            return set(map(server_id, self._kept.missing))
        return {server_id(0)} if self._kept.missing else set()

    def start(self) -> None:
        if self._started:
            raise LocalProtocolError("start() is called once")
        self._started = True
        if self._state is ClientState.IDLE:
            self._state = ClientState.WANT_INPUT
        if self._why is not None:  # before a restart: its driver has no other way to know
            self._events.append(self._why)
            return
        self._events.append(PhaseEntered(self.phase))
        if self._state is ClientState.STORED:
            self._events.append(Finished())
        elif self._state is ClientState.WANT_RECEIPTS:
            self._say(self._kept.messages)
        self._upload()

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        if self.done or self._spent:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._vector = self._context.layout.check(vector)
        self._spent = True
        self._upload()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if self.done or sender not in self._unheard:
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            self._handle(sender, Reader(message))
        except WireError as error:
            self._fail(f"malformed message: {error}")

    def lost(self, party: PartyId, /) -> None:
        if party in self._unheard and not self.done:
            self._end(ClientState.ENDED, Aborted(AbortReason.LOST))

    def abort(self, why: AbortReason, /) -> None:
        if self.done:
            return
        for server in sorted(self._unheard, reverse=True):
            self._outgoing.append(Outgoing(server, messages.abort(self._context.id, why)))
        self._started = True
        self._end(ClientState.ENDED, Aborted(why))

    def acknowledged(self) -> None:
        """What was sent has arrived, so it is forgotten."""
        self._kept.forget()

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the server: the same bytes again, unless it has them."""
        if party in self._kept.messages and not self.done:
            self._say({party: self._kept.messages[party]})

    def writes(self) -> list[Write]:
        return self._kept.writes()

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Raises StorageError for rows that are none of a report of this task's servers."""
        if self._started:
            raise LocalProtocolError("restore() comes before start()")
        kept = Kept(self._context.params.servers)
        ended = kept.restore(rows)
        for party, data in kept.messages.items():
            self._check_kept(kept, party, data)
        self._kept = kept  # nothing is refused from here on
        if ended is not None:
            self._state, self._spent = ClientState.STORED, True
            if isinstance(ended, AbortReason):
                self._state, self._why = ClientState.ENDED, Aborted(ended, "before a restart")
        elif self._kept.id:
            self._state, self._spent = ClientState.WANT_RECEIPTS, True

    def _check_kept(self, kept: Kept, party: PartyId, data: bytes) -> None:
        """Its servers would refuse a report that is not whole as this client's fault."""
        reader, shape = Reader(data), self._context.shape
        try:
            tag, binding = read_header(reader)
            if tag == Tag.REPORT:
                head = Report.read(reader, shape).head
            else:
                head = Sealed.read(reader, shape, server_id(0) - party).head
            reader.finish()
            head.check(self._context.id)
        except (WireError, InvalidSignature) as error:
            raise StorageError("a stored report is damaged: no server would take it") from error
        known = (self._context.id, kept.id, kept.digest)
        if (binding, head.id, head.digest) != known:
            raise StorageError("a stored report is of another task, or not the one that is known")

    def _upload(self) -> None:
        """The report, once there is an input and the session has begun; the input is gone then."""
        if self._state is not ClientState.WANT_INPUT or self._vector is None:
            return
        report = make_report(self._context, self._vector, self._randomness)
        self._vector = None
        self._kept.put(report.head, self._addressed(report))
        self._say(self._kept.messages)
        self._state = ClientState.WANT_RECEIPTS

    def _say(self, said: dict[PartyId, bytes]) -> None:
        for server, data in said.items():
            self._outgoing.append(Outgoing(server, data, commit=True))

    def _addressed(self, report: Report) -> dict[PartyId, bytes]:
        if not self._context.params.direct:
            return {server_id(0): report.encode(self._context.id)}
        return {server_id(share.index): share.encode(self._context.id) for share in report.shares}

    def _handle(self, sender: PartyId, reader: Reader) -> None:
        """Raises WireError for what is none of its messages, RemoteProtocolError for a lie."""
        tag, binding = read_header(reader)
        if binding != self._context.id or tag not in (Tag.RECEIPT, Tag.ABORT):
            self._fail("a server says a receipt of this task here, or abort")
        if tag == Tag.ABORT:
            self._end(ClientState.ENDED, Aborted(messages.read_abort(reader)))
            return
        self._take_receipt(sender, Receipt.read(reader))

    def _take_receipt(self, sender: PartyId, receipt: Receipt) -> None:
        """§7.3: checked against the report that this client has made, whoever brings it."""
        if self._state is not ClientState.WANT_RECEIPTS:
            self._fail("a receipt before there is a report")
        if receipt.id != self._kept.id:
            self._events.append(Ignored(sender, "a receipt for another report"))
            return
        index, params = receipt.index, self._context.params
        bearer = server_id(index if params.direct else 0)
        if index >= params.servers or sender != bearer:
            self._fail("a receipt of a server that does not send it over this link")
        if not self._context.is_receipt(index, self._kept.digest, receipt.signature):
            self._fail(_not_signed(index, params.direct))
        self._kept.has(index, sender if params.direct else None)
        if not self._kept.missing:
            self._end(ClientState.STORED, Finished())

    def _fail(self, why: str) -> NoReturn:
        self.abort(AbortReason.PEER_FAULT)
        raise RemoteProtocolError(why)

    def _end(self, state: ClientState, event: Aborted | Finished) -> None:
        self._state, self._vector = state, None
        self._kept.end(event.reason if isinstance(event, Aborted) else None)
        self._events.append(event)


def _not_signed(index: int, direct: bool) -> str:
    """A leader that relays can have changed what a helper signed: nobody but it can be named."""
    if direct:
        return (
            f"server {index} has not signed for this report: if it stored one, it is another, put "
            "in the place of this on the way"
        )
    return (
        f"what server 0 brought as the receipt of server {index} is not for this report: the one "
        "or the other was exchanged at server 0 or on the way to it or from it"
    )
