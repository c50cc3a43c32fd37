"""Peers that do only what a test does with them, and what a server of the tests knows of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

from secagg.rounds.doors import Doors
from secagg.rounds.quota import Limits
from secagg.transport.base import Link
from secagg.transport.websocket import connect
from secagg.watch import Watch

SOON = 30.0
"""Seconds until a test has failed. None of them waits for a time of its own."""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
STALLED = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "no end of the header": HANDSHAKE[:-2],
    "a body that does not come": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    "no TLS here": b"\x16\x03\x01\x02",
}
CROOKED = {
    "a header of a megabyte": HANDSHAKE[:-2] + b"X: " + bytes([65]) * (1 << 20) + b"\r\n\r\n",
    "ten thousand headers": HANDSHAKE[:-2] + b"X: 1\r\n" * 10_000 + b"\r\n",
    "a body of two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\n",
}
"""Whole requests, as somebody sends them who wants two servers to read them differently."""
BINARY, PING, PONG, FIN = 0x02, 0x89, 0x8A, 0x80


def masked(head: int, data: bytes = b"") -> bytes:
    """A short frame of a client, under a mask of zeros."""
    assert len(data) < 126
    return bytes([head, 0x80 | len(data)]) + bytes(4) + data


async def echo(link: Link) -> None:
    while True:
        await link.send(await link.receive())


class Watched(Doors):
    """Says whose frames have come."""

    def __init__(self, limits: Limits | None = None, watch: Watch | None = None) -> None:
        super().__init__(limits, watch)
        self.heard: set[Hashable] = set()
        self.got: dict[Hashable, int] = {}
        self.gone = 0

    def reads(self, link: Hashable, now: float, **said: int) -> bool:
        if said["size"]:
            self.heard.add(link)
            self.got[link] = said["got"]
        return super().reads(link, now, **said)

    def closed(self, link: Hashable, now: float) -> None:
        self.gone += 1
        super().closed(link, now)


@asynccontextmanager
async def raw(port: int, *, upgraded: bool = True) -> AsyncIterator[socket.socket]:
    """A socket that does only what the test does with it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as one:
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", port))
        if upgraded:
            await loop.sock_sendall(one, HANDSHAKE)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += await loop.sock_recv(one, 1)
        yield one


async def ended(one: socket.socket) -> bytes:
    """All that comes until the other side has ended it, in order or not."""
    loop, got = asyncio.get_running_loop(), b""
    async with asyncio.timeout(SOON):
        try:
            while data := await loop.sock_recv(one, 1 << 16):
                got += data
        except ConnectionResetError:
            pass
    return got


async def served(port: int) -> None:
    """An honest client gets what it came for."""
    async with asyncio.timeout(SOON):
        link = await connect(f"ws://127.0.0.1:{port}")
        await link.send(b"hello")
        assert await link.receive() == b"hello"
        await link.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)
