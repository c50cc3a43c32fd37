"""The client machine: one report, built once, and the same bytes until they are stored
(specs/20-additive.md §7)."""

from __future__ import annotations

from typing import NoReturn

from secagg.crypto.randomness import checked
from secagg.errors import (
    InputError,
    LocalProtocolError,
    RemoteProtocolError,
    WireError,
)
from secagg.layout import Expander, RingVector
from secagg.protocol import Session
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered
from secagg.types import AbortReason, Buffer, PartyId, Randomness, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive.sharing import Context, make_report
from secagg_protocols.reports import messages
from secagg_protocols.reports.messages import Receipt, Report, Tag
from secagg_protocols.reports.states import ClientState


class AdditiveClient(Mailbox):
    """Speaks once. Its session is over when every server has signed that it has its report, also
    where it speaks to the leader only."""

    def __init__(self, session: Session, *, randomness: Randomness, expander: Expander) -> None:
        super().__init__()
        self._context = Context.of(session)
        self._payload_digest = session.payload_digest
        self._randomness, self._expander = checked(randomness), expander
        self._state = ClientState.IDLE
        self._vector: RingVector | None = None
        self._spent = False
        self._id = self._digest = b""
        self._kept: dict[PartyId, bytes] = {}  # by server: what it has not acknowledged
        self._missing = set(range(self._context.params.servers))  # whose receipts have not come

    def __repr__(self) -> str:
        return f"AdditiveClient(state={self._state.value[0]})"

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
            return set(map(server_id, self._missing))
        return {server_id(0)} if self._missing else set()

    def start(self) -> None:
        if self._state is not ClientState.IDLE:
            raise LocalProtocolError("start() is called once")
        self._state = ClientState.WANT_INPUT
        self._events.append(PhaseEntered(self.phase))
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
        self._end(ClientState.ENDED, Aborted(why))

    def acknowledged(self) -> None:
        """What was sent has arrived, so it is forgotten."""
        self._kept.clear()

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the server: the same bytes again, unless it has them."""
        if party in self._kept and not self.done:
            self._outgoing.append(Outgoing(party, self._kept[party], commit=True))

    def _upload(self) -> None:
        if self._state is not ClientState.WANT_INPUT or self._vector is None:
            return
        report = make_report(self._context, self._vector, self._randomness, self._expander)
        self._vector = None
        self._id, self._digest = report.head.id, report.head.digest
        self._kept = self._addressed(report)
        for server, data in self._kept.items():
            self._outgoing.append(Outgoing(server, data, commit=True))
        self._state = ClientState.WANT_RECEIPTS

    def _addressed(self, report: Report) -> dict[PartyId, bytes]:
        if not self._context.params.direct:
            return {server_id(0): report.encode(self._context.id)}
        return {server_id(share.index): share.encode(self._context.id) for share in report.shares}

    def _handle(self, sender: PartyId, reader: Reader) -> None:
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
        if receipt.id != self._id:
            self._events.append(Ignored(sender, "a receipt for another report"))
            return
        index, params = receipt.index, self._context.params
        bearer = server_id(index if params.direct else 0)
        if index >= params.servers or sender != bearer:
            self._fail("a receipt of a server that does not send it over this link")
        if not self._context.is_receipt(index, self._digest, receipt.signature):
            self._fail(_not_signed(index, params.direct))
        self._missing.discard(index)
        if params.direct:
            self._kept.pop(sender, None)
        if not self._missing:
            self._end(ClientState.STORED, Finished())

    def _fail(self, why: str) -> NoReturn:
        self.abort(AbortReason.PEER_FAULT)
        raise RemoteProtocolError(why)

    def _end(self, state: ClientState, event: Aborted | Finished) -> None:
        self._state, self._vector = state, None
        self._kept = {}
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
