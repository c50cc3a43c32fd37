"""uvicorn's protocols, with limits that it does not have.

Read of uvicorn 0.49 and 0.54, with websockets 15 and 17; whoever takes another reads these again:

- Both wait for a request's header, and for an upgrade, as long as the connection lasts: uvicorn's
  only timer begins after a response. So every connection is timed from its accept
  (`secagg.transport.doorkeeper`), and both of its protocols end it on demand.
- They are plain asyncio protocols, for which a transport reads 256 KiB at a time. As buffered ones
  they are given RECEIVED bytes at most.
- All that was read is parsed at once, into an object for each frame however small, although only
  the first message is taken by the application. Here the rest waits as bytes.
- 0.54 collects the pieces of a message in a list, 0.49 in a buffer; neither counts them.
- websockets collects a frame in a buffer that grows with it. What such buffers leave behind in the
  heap was half as much again as what they held; so the payload of a large frame is collected in
  pages of its own, which are taken as they are filled and given back whole.
- A ping is answered into the transport's buffer even if nobody reads the answers, without end. Here
  one answer waits, the last, which is all that RFC 6455 §5.5.3 asks for.
- 0.49 does not stop an application that sends faster than its peer reads; 0.54 does.
- 0.49 closes its socket behind its goodbye, so whoever is still sending meets a reset and may never
  read what was said to it last; 0.54 waits for the other goodbye.
- 0.49 to 0.52 fail to shut down at a link that we are closing already, and leave all others open.
"""

from __future__ import annotations

import asyncio
import mmap
from typing import TYPE_CHECKING, Any

from secagg.transport.doorkeeper import RECEIVED as RECEIVED
from secagg.transport.doorkeeper import Entrance
from secagg.transport.meter import Meter
from secagg.watch import Cut, Refused

if TYPE_CHECKING:  # what the mixins are mixed into, which is loaded only by whoever listens
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Http
    from uvicorn.protocols.websockets.websockets_sansio_impl import (
        WebSocketsSansIOProtocol as _WebSocket,
    )
else:
    _Http = _WebSocket = object

CRUMB = 256
"""Bytes that are parsed at once where frames may be small: what a link has in objects is bounded by
their number. Of a stranger it is a byte, so that nothing behind a message is looked at with it."""
DOOR = "secagg.door"
"""Under which an application finds the entrance of its connection, in the state of its scope."""
LARGE = 64 << 10
"""Bytes of a payload from which on it is collected in pages of its own."""
RETRY = 5
"""Seconds after which whoever found all links taken may ask again."""
_POLICY = 1008  # RFC 6455 §7.4.1, and 1013 of the registry in §11.7
_CODES = {Refused.FULL: 1013, Refused.TOO_LARGE: 1009}
"""1013 asks to come again later: it is nobody's fault."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n" % RETRY
)


class _Sips(asyncio.BufferedProtocol):
    """Reads a little at a time."""

    _door: Entrance

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._door.room

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._door.room[:nbytes]))  # type: ignore[attr-defined]


class _Timed(_Sips, _Http):  # type: ignore[misc]  # eof_received, which returns None in all
    """An HTTP connection that is known from its first moment."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._door = self.app_state[DOOR]
        self._door.has(lambda why: transport.abort())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.closed()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Where there is no link to hope for, that is all that is said, and nothing more is read:
        also the requests of those who watch this server are answered meanwhile."""
        if self._door.full:
            self._door.watch.refused(Refused.FULL)
            self.transport.write(_FULL)
            self.transport.close()
        else:
            super().handle_websocket_upgrade(event)


class _Metered(_Sips, _WebSocket):  # type: ignore[misc]
    """A WebSocket that parses no further than its application reads and its doors allow."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._meter, self._rest, self._waits = Meter(), b"", False
        self._pong: bytes | None = None
        self._pages: mmap.mmap | None = None
        # `writable` says that nothing waits: a frame at a time, and no answer behind it
        transport.set_write_buffer_limits(high=0)
        self._door = self.app_state[DOOR]
        self._door.has(self._cut)
        self._door.read_on = self._read_on

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._rest, self._pages = b"", None
        self.writable.set()  # so that whoever sends finds out
        self._door.closed()

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:  # the request, which the other protocol hands over
            super().data_received(data)
            return
        self._rest += data
        self._parse()

    async def receive(self) -> Any:
        if self.queue.empty():
            self._look()
        message = await super().receive()
        if self.queue.empty():
            self._meter.taken()
            # behind what a stranger says of itself may come what only those may say who are known:
            # that is looked at when the application has judged the first, and asks for more
            if not self._door.stranger:
                self._look()
        return message

    def _look(self) -> None:
        """What has come behind the messages that were taken."""
        self._reads()
        self._parse()

    def handle_bytes(self, event: Any) -> None:
        super().handle_bytes(event)
        self._forget(event)

    def handle_cont(self, event: Any) -> None:
        super().handle_cont(event)
        self._forget(event)

    def _forget(self, event: Any) -> None:
        """It was handed over. The parser keeps its last frame, and uvicorn 0.49 the last message,
        until there is another one: of links that wait for each other that is an input of each."""
        event.data = b""
        if event.fin:
            self.bytes = bytearray()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            for answer in self.conn.data_to_send():  # to this one and to those parsed with it
                self._pong = answer

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()
        pong, self._pong = self._pong, None
        if pong is not None:
            self.transport.write(pong)

    def shutdown(self) -> None:
        from websockets.exceptions import InvalidState

        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()

    def _parse(self) -> None:
        """Up to the next whole message, and no further than may be read."""
        while self._rest and not (self.read_paused or self._waits or self._over()):
            size = max(1 if self._door.stranger else CRUMB, self._meter.left)
            piece, self._rest = self._rest[:size], self._rest[size:]
            self._meter.every = self.close_sent  # nobody takes what comes now
            self._meter.feed(piece)
            self._collect(piece)
            self._reads()
        if self._over():
            self._rest = b""
        elif self._rest or self._waits:
            self.transport.pause_reading()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _collect(self, piece: bytes) -> None:
        if (pages := self._pages) is None:
            super().data_received(piece)
            if self._meter.left > LARGE:
                self._pages = mmap.mmap(-1, self._meter.left)
            return
        pages.write(piece)
        if not self._meter.left:
            self._pages = None
            super().data_received(pages[:])
            pages.close()

    def _over(self) -> bool:
        return self.transport.is_closing() or self.conn.parser_exc is not None

    def _reads(self) -> None:
        self._waits = not self._door.reads(self._meter)

    def _read_on(self) -> None:
        self._waits = False
        self._parse()

    def _cut(self, why: Cut) -> None:
        if self.handshake_complete and self.conn.close_sent is None and not self._over():
            self.conn.fail(_CODES.get(why.why, _POLICY), why.words[:100])
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.abort()


class _Polite(_Metered):
    """Closes its socket after the other goodbye, where uvicorn closes it behind its own.

    The application waits for it meanwhile, within the time that it has for a goodbye.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._parted = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._parted.set()

    def handle_close(self, event: Any) -> None:
        super().handle_close(event)
        self._parted.set()

    def send_receive_event_to_app(self) -> None:
        if not self.close_sent:  # else nobody takes it, and reading goes on
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        if message["type"] != "websocket.close" or not self.handshake_complete:
            await super().send(message)
            return
        await self.writable.wait()
        if self.close_sent or self._over():
            raise RuntimeError("the link is closed")
        self.conn.send_close(message.get("code", 1000), message.get("reason", ""))
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.read_paused = False
        self._parse()
        try:
            await self._parted.wait()
        finally:
            self.transport.close()


def protocols() -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """uvicorn's protocol of HTTP, and that of WebSockets to which it upgrades."""
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class Http(_Timed, H11Protocol):  # type: ignore[misc]
        pass

    class Polite(_Polite, WebSocketsSansIOProtocol):  # type: ignore[misc]
        pass

    class Metered(_Metered, WebSocketsSansIOProtocol):  # type: ignore[misc]
        pass

    waits = "close_timer" in WebSocketsSansIOProtocol.__init__.__code__.co_names
    return Http, Metered if waits else Polite
