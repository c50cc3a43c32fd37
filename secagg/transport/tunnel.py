"""TLS between a socket and the protocol of a connection, in as little memory as it takes.

asyncio has such a thing. It keeps 256 KiB for each connection to read into, as much again of what
came while the application does not read, and for ever a buffer as long as the largest message that
was sent; a handshake is timed by a clock of its own. Thousands of links that mostly wait, behind
limits that are counted, need less and have to know more. What TLS is, is OpenSSL's, here as there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from secagg.transport.doorkeeper import Entrance

SENT = 16 << 10
"""Bytes that are encrypted at once, those of a record: what OpenSSL collects them in keeps the
length of the longest."""

# Theory of operation.
#
# Towards its socket a tunnel is a protocol, towards the protocol above it a transport. The one
# above is made when the handshake is over, so whoever does not finish it has no more than this.
#
# A step of a handshake waits for its turn (`secagg.transport.turns`), and meanwhile nothing more is
# read, or whoever waits could be sent what it does not look at.
#
# What comes is decrypted at once, a record after the other, until there is no whole one, the
# protocol above pauses, or it closes. While it pauses the socket is not read either, so what stays
# encrypted here is what one call brought. What goes is encrypted at once and waits, if it has to,
# in the socket's transport, whose word about room is handed up as it is: bytes of ciphertext, a
# thousandth more than those of what was said.
#
# A peer may ask for new keys as often as it likes: OpenSSL answers the last time that it was asked,
# with the next thing that is said.
#
# Impossible: to be called by the socket before `connection_made` or after `connection_lost`; a
# `write` of the protocol above before it was made.


class Tunnel(asyncio.BufferedProtocol, asyncio.Transport):
    """The server's end of TLS on one connection."""

    def __init__(
        self, context: ssl.SSLContext, entrance: Entrance, made: Callable[[], Any]
    ) -> None:
        """made: makes the protocol above, once there is somebody to speak with."""
        super().__init__()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._entrance, self._made = entrance, made
        self._below: Any = None
        self._above: Any = None
        self._paused = self._over = self._waits = False

    # Towards the socket

    def connection_made(self, transport: Any) -> None:
        self._below = transport
        self._entrance.has(lambda why: transport.abort())

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        if self._above is None:
            self._entrance.closed()
        else:
            self._above.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._entrance.room

    def buffer_updated(self, nbytes: int) -> None:
        self._in.write(self._entrance.room[:nbytes])  # from here on there is room again
        if self._above is not None:
            self._go_on()
        elif not self._waits:
            self._waits = True
            self._below.pause_reading()
            self._entrance.in_turn(self._shake)

    def eof_received(self) -> None:
        """Also without a goodbye of TLS: what is said above has ends of its own."""

    def pause_writing(self) -> None:
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        if self._above is not None:
            self._above.resume_writing()

    # Towards the protocol above

    def write(self, data: Any) -> None:
        if self._over:
            return
        whole, pieces = memoryview(data).cast("B"), []
        for at in range(0, len(whole), SENT):
            self._tls.write(whole[at : at + SENT])
            pieces.append(self._out.read())
        if pieces:
            self._below.write(b"".join(pieces))

    def pause_reading(self) -> None:
        if not (self._paused or self._over):
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            self._below.resume_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def is_reading(self) -> bool:
        return not (self._paused or self._over)

    def close(self) -> None:
        """What was written leaves, and behind it the goodbye of TLS; nothing more is read."""
        if not self._over:
            self._over = True
            self._say_goodbye()
            self._below.close()

    def abort(self) -> None:
        self._over = True
        self._below.abort()

    def is_closing(self) -> bool:
        return self._over or bool(self._below.is_closing())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        own = {"sslcontext": self._tls.context, "ssl_object": self._tls}
        return own[name] if name in own else self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self._above = protocol

    def get_protocol(self) -> Any:
        return self._above

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return int(self._below.get_write_buffer_size())

    # Inside

    def _shake(self) -> None:
        self._waits = False
        if not (self._over or self._below.is_closing()):
            self._below.resume_reading()
            self._go_on()

    def _go_on(self) -> None:
        """As far as what has come leads."""
        try:
            if self._above is None:
                self._tls.do_handshake()
                self._open()
            while not (self._paused or self._over):
                self._hand_up()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._fail(error)

    def _open(self) -> None:
        self._flush()
        self._entrance.secured(self._tls.getpeercert(binary_form=True))
        if not self._over:  # its verdict may be that it has to go
            self._above = self._made()
            self._above.connection_made(self)

    def _hand_up(self) -> None:
        room = self._above.get_buffer(-1)
        size = self._tls.read(len(room), room)
        if size:
            self._above.buffer_updated(size)
        else:
            self.close()  # it has said goodbye

    def _fail(self, error: ssl.SSLError) -> None:
        """With TLS's own word for it. Whatever is above is told of the end, and of no byte."""
        if self._above is None:
            self._entrance.unsecured(error.reason or "no reason is given")
        self._flush()
        self._over = True
        self._below.close()

    def _say_goodbye(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other one is not waited for; or there was no handshake
        self._flush()

    def _flush(self) -> None:
        if (said := self._out.read()) and not self._below.is_closing():
            self._below.write(said)
