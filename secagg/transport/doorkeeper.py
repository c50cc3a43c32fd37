"""Connections of a listening socket: accepted one by one, and ended when their judge says so.

asyncio's own servers accept as many at once as the backlog holds, before anything of ours hears of
the first; and where no descriptor is left, CPython 3.11 to 3.13 try all of them again, each with a
traceback in the log. Here each is known before the next is accepted, and without descriptors the
listener rests. Who may stay is decided elsewhere (`secagg.transport.base.Doors`).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from secagg.repeats import Repeats
from secagg.transport.base import MAX_SIZE, Doors
from secagg.transport.meter import Meter
from secagg.transport.turns import Turns
from secagg.watch import Cut, Event, Refused, Watch

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that the system completes and keeps for us; it may have a lower limit of its own."""
RECEIVED = 32 << 10
"""Bytes that are read at once from one connection."""
REST = 0.5
"""Seconds without accepting, after there was no descriptor for it."""
_CLOSED = Cut(Refused.OTHER, "nobody listens any more")
AT_ONCE = 32
"""Connections that are accepted before the loop looks at what else there is."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Entrance:
    """One connection, from its accept to its end, as its protocol and its application tell of it.

    ended: why it was cut, if it was. certificate: what it has proved under TLS, in DER. stranger:
    its application waits for it to say who it is. most: bytes that a message of it may have, now.
    cut, read_on: of whichever protocol has the connection.
    """

    def __init__(self, keeper: Doorkeeper, address: str) -> None:
        self.address, self._keeper = address, keeper
        self.ended: Cut | None = None
        self.certificate: bytes | None = None
        self.stranger = False
        self.most: Callable[[], int] = lambda: MAX_SIZE
        self._cut: Callable[[Cut], None] | None = None
        self._inside = True
        self.read_on: Callable[[], None] = lambda: None

    def has(self, cut: Callable[[Cut], None]) -> None:
        """From now on by this protocol. It is called at once where the verdict came before it."""
        self._cut = cut
        if self.ended is not None:
            cut(self.ended)

    def cut(self, why: Cut) -> None:
        self.ended = why
        if self._cut is not None:
            self._cut(why)

    def secured(self, certificate: bytes | None) -> None:
        """Its handshake of TLS is over."""
        self.certificate = certificate
        self._told(self._keeper.doors.secured)

    @property
    def room(self) -> memoryview:
        """To read into, RECEIVED bytes, which all connections of one listener share: what came is
        handed over before their loop reads from anybody else. Another listener may be another
        thread's."""
        return self._keeper.room

    def in_turn(self, step: Callable[[], None]) -> None:
        """A step of its handshake, when those of other addresses have had theirs."""
        self._keeper.turns.add(self.address, step)

    def unsecured(self, why: str) -> None:
        """Its handshake has failed, and its socket is about to be gone."""
        said = "a TLS handshake with %s failed: %s", self.address, why
        now, repeats = time.monotonic(), self._keeper.repeats
        repeats.refused(Refused.TLS, log, Event.TLS_FAILED, now, *said)

    @property
    def full(self) -> bool:
        """Whether every link is taken by somebody who is known: there is none to hope for."""
        return self._keeper.doors.full

    @property
    def watch(self) -> Watch:
        """Who hears of what it sends, and why it was refused."""
        return self._keeper.doors.watch

    def asked(self) -> None:
        """It has sent the header of a request that is none for a WebSocket."""
        self._told(self._keeper.doors.asked)

    def answered(self) -> None:
        """That request is done with; there may be another."""
        self._told(self._keeper.doors.answered)

    def greeted(self) -> None:
        """The application has accepted its WebSocket."""
        self._told(self._keeper.doors.greeted)

    def unknown(self) -> None:
        """The application has it, and waits for it to say who it is."""
        if self._inside:
            self.stranger = True
            self._told(self._keeper.doors.unknown)

    def known(self) -> None:
        """It has said so."""
        if self.stranger:
            self.stranger = False
            self._told(self._keeper.doors.known)

    def leaving(self) -> None:
        """The application is done with it."""
        if self._inside:  # else its socket has gone first
            self._keeper.parting.add(self)
        self._told(self._keeper.doors.leaving)

    def closed(self) -> None:
        """Its socket is gone."""
        self._inside = False
        self._keeper.forget(self)
        self._told(self._keeper.doors.closed)

    def reads(self, meter: Meter) -> bool:
        """Whether it may be read on now; else it is cut, or `read_on` is called later."""
        doors = self._keeper.doors
        may = doors.reads(
            self,
            time.monotonic(),
            pieces=meter.pieces,
            size=meter.size,
            pending=meter.pending,
            got=meter.got,
            message=meter.message,
            most=self.most(),
        )
        if not doors.quiet:
            self._keeper.act()
        return may

    def _told(self, call: Callable[[Entrance, float], None]) -> None:
        call(self, time.monotonic())
        self._keeper.act()


Made: TypeAlias = Callable[[Entrance], asyncio.BaseProtocol]
"""The protocol of a new connection."""


class Doorkeeper:
    """Accepts, and carries out what the doors decide."""

    def __init__(
        self, doors: Doors, listener: socket.socket, made: Made, *, tls: bool = False
    ) -> None:
        """tls: what `made` makes begins with a handshake, and says when it is over."""
        self.doors, self._listener, self._made, self._tls = doors, listener, made, tls
        self._here: set[Entrance] = set()
        self.repeats, self.room = Repeats(watch=doors.watch), memoryview(bytearray(RECEIVED))
        self.turns = Turns()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = 0.0  # when that is due, which uvloop's own do not say where it is at once
        self.parting: set[Entrance] = set()
        """Those whose application is done with them, and whose peer has not said so yet."""
        self.gone = asyncio.Event()
        listener.setblocking(False)
        listener.listen(BACKLOG)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.doors.starved(time.monotonic())
                    self.act()
                    await asyncio.sleep(REST)
                elif self._listener.fileno() < 0:
                    return  # closed under us: nobody can come any more
                # else of the one connection that was gone before it was accepted

    def act(self) -> None:
        """Ends, or reads on, whatever the doors have named, and wakes up when they want it."""
        while True:
            verdicts = self.doors.take()
            for entrance, why in verdicts.cut.items():
                entrance.cut(why)  # type: ignore[attr-defined]
            for entrance in verdicts.read_on:
                entrance.read_on()  # type: ignore[attr-defined]
            if not (verdicts.cut or verdicts.read_on):
                break
        self._wake_at(verdicts.due)

    async def parted(self, timeout: float) -> None:
        """Until every peer that was told goodbye has said it too, or so many seconds are over.

        A socket that is closed before answers whatever still comes with a reset, and a peer that
        meets one while it writes may never read what was said to it last.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.parting:
                    self.gone.clear()
                    await self.gone.wait()
        except TimeoutError:
            pass

    def forget(self, entrance: Entrance) -> None:
        """Its socket is gone."""
        self._here.discard(entrance)
        self.parting.discard(entrance)
        self.gone.set()

    def close(self) -> None:
        """No timer of its own is left, and no socket: also of whoever has not come so far that
        anybody else knows of it."""
        for entrance in tuple(self._here):
            entrance.cut(_CLOSED)
        if self._timer is not None:
            self._timer.cancel()
        self.repeats.close(log)
        self.doors.close()

    async def _accept(self) -> None:
        """The next, and those that wait behind it: whoever comes with many must not make others
        wait in the system's queue, where all are one."""
        arrived = [self._met(*await asyncio.get_running_loop().sock_accept(self._listener))]
        refused: OSError | None = None
        try:
            while len(arrived) < AT_ONCE:
                arrived.append(self._met(*self._listener.accept()))
        except BlockingIOError:
            pass
        except OSError as error:
            refused = error
        connecting = asyncio.gather(*(self._connect(*one) for one in arrived))
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await connecting  # at once: a socket that no protocol has would be nobody's to close
            raise
        if refused is not None:
            raise refused

    def _met(self, connection: socket.socket, address: Any) -> tuple[Entrance, socket.socket]:
        """Known, before the next is accepted."""
        connection.setblocking(False)
        entrance = Entrance(self, neighbourhood(str(address[0])))
        self._here.add(entrance)
        self.doors.opened(entrance, entrance.address, time.monotonic(), tls=self._tls)
        self.act()
        return entrance, connection

    async def _connect(self, entrance: Entrance, connection: socket.socket) -> None:
        if entrance.ended:
            connection.close()
            entrance.closed()
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self._made(entrance), connection)
        except OSError:  # gone before it was accepted
            entrance.closed()

    def _wake_at(self, due: float) -> None:
        if self._timer is not None and self._wakes > due:
            self._timer.cancel()
            self._timer = None
        # one that comes too early finds nothing to do
        if self._timer is None and due < float("inf"):
            self._wakes, seconds = due, max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.doors.tick(time.monotonic())
        self.act()


def neighbourhood(address: str) -> str:
    """Of whom limits count together what comes from there: of IPv6 a network of 64 bits, which is
    the least that anybody is given, and has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # of a socket that has other ones
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
