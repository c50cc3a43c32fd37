"""The client: sends its vector as soon as it has one."""

from __future__ import annotations

from typing import NoReturn

from secagg.errors import InputError, LocalProtocolError, RemoteProtocolError, WireError
from secagg.layout import Expander, RingVector
from secagg.protocol import Session
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered
from secagg.types import SERVER, AbortReason, Buffer, PartyId, Randomness
from secagg.wire.codec import Reader
from secagg.wire.header import read_header, write_header
from secagg.wire.vector import write_vector
from secagg_protocols.plainsum import messages

# Theory of operation.
#
# A client here has one thing to say and nothing to protect. It waits for two events, start() and
# the input, which may come in either order; whichever is the second one makes the upload, and with
# it the client is done. Three variables are its state: whether it was started, its vector, whether
# it is done. A table of two states would say less than the two ifs of `_upload`.
#
# The server has nothing to say to it but an abort, so every other message ends the session. That is
# stricter than a sum in the clear needs; it is what the machines that do protect something do, and
# this one is the double on which drivers and transports are tried: what it let pass, its tests
# would let pass everywhere.
#
# For the same reason the upload is marked `commit`, although no secret would be lost by a second
# one: a driver has to treat an input that leaves here as it treats a masked one.
#
# Impossible: an input after the end (set_input refuses), an upload before the start (_upload
# looks), a second upload: the first one ends the session.


class PlainSumClient(Mailbox):
    """Idle until started, then waiting for its input, then done."""

    def __init__(
        self, session: Session, me: PartyId, *, randomness: Randomness, expander: Expander
    ) -> None:
        super().__init__()
        self._session = session
        self._offer = session.offer("plainsum")
        self._started = False
        self._vector: RingVector | None = None
        self.phase = ""
        self.done = False

    @property
    def owes_input(self) -> bool:
        return self._started and not self.done

    def start(self) -> None:
        if self._started or self.done:
            raise LocalProtocolError("start() is called once")
        self._started, self.phase = True, "upload"
        self._events.append(PhaseEntered("upload"))
        self._upload()

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        if self.done or self._vector is not None:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._session.payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._vector = self._session.layout.check(vector)
        self._upload()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if sender != SERVER or self.done:
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            reader = Reader(message)
            tag, binding = read_header(reader)
            reason = AbortReason.from_code(reader.u8("reason"))
            reader.finish()
        except WireError as error:
            self._fail(f"malformed message: {error}")
        if tag != messages.ABORT or binding != self._offer or reason is None:
            self._fail("the server has nothing to say here but abort")
        self._end(Aborted(reason))

    def lost(self, party: PartyId, /) -> None:
        if party == SERVER and not self.done:
            self._end(Aborted(AbortReason.LOST))

    def abort(self, why: AbortReason, /) -> None:
        if not self.done:
            self._outgoing.append(Outgoing(SERVER, messages.abort(self._offer, why.code)))
            self._end(Aborted(why))

    def _upload(self) -> None:
        if self._started and self._vector is not None:
            writer = write_header(messages.UPLOAD, self._offer)
            write_vector(writer, self._session.layout, self._vector)
            self._outgoing.append(Outgoing(SERVER, writer.finish(), commit=True))
            self._end(Finished())

    def _fail(self, why: str) -> NoReturn:
        self.abort(AbortReason.PEER_FAULT)
        raise RemoteProtocolError(why)

    def _end(self, event: Aborted | Finished) -> None:
        self._events.append(event)
        self.done, self._vector = True, None
