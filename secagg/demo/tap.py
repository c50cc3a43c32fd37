"""What the server sees: the masked vectors of a round, copied as they come over the socket."""

from __future__ import annotations

from secagg.transport.base import Link
from secagg.types import PartyId
from secagg.wire.frame import Announce, Message, decode_frame

UPLOAD = "masked-input"


class Tap:
    """uploads: the masked-input message of each party in the round announced last."""

    def __init__(self, phases: tuple[str, ...]) -> None:
        self.uploads: dict[PartyId, bytes] = {}
        self.phases = phases
        self._nonce = b""

    def on(self, link: Link) -> Link:
        return _TappedLink(link, self)

    def announced(self, nonce: bytes) -> None:
        if nonce != self._nonce:
            self._nonce = nonce
            self.uploads.clear()


class _TappedLink:
    """Knows whose message this is from the announcement that went out, and its phase by counting:
    an honest client sends one message a phase, in order."""

    def __init__(self, link: Link, tap: Tap) -> None:
        self._link = link
        self._tap = tap
        self._announced: Announce | None = None
        self._sent = 0

    async def send(self, data: bytes) -> None:
        frame = decode_frame(data, limit=len(data))
        if isinstance(frame, Announce):
            self._announced, self._sent = frame, 0
            self._tap.announced(frame.nonce)
        await self._link.send(data)

    async def receive(self) -> bytes:
        data = await self._link.receive()
        frame = decode_frame(data, limit=len(data))
        if isinstance(frame, Message) and self._announced and frame.nonce == self._announced.nonce:
            if self._tap.phases[self._sent : self._sent + 1] == (UPLOAD,):
                self._tap.uploads[self._announced.party] = frame.data
            self._sent += 1
        return data

    async def close(self) -> None:
        await self._link.close()
