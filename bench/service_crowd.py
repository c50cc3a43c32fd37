"""Who wants a service to be busy with them: many connections at once, none of which takes part.

    python -m bench.service_crowd '{"kind": "tls", "port": 8443, "links": 1000, ...}'

Each connection does one thing that costs it little, waits until it is cut, and comes again `again`
seconds later from the same address; there are `sources` of those. The numbers of what was made and
what was cut are lines of JSON on standard output, one a second.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bench.common import Row
from bench.service_ground import environment
from secagg.transport.door import LINK, fastest_loop

REQUEST = (
    f"GET {LINK} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
HALF = b"\x82\xfe\x0f\xff" + bytes(4) + bytes(2000)
"""A message of 4,095 bytes, of which so many come."""
PING = b"\x89\x84" + bytes(8)
BEGIN, PIECE = b"\x02\x81" + bytes(5), b"\x00\x81" + bytes(5)
"""A message of pieces of a byte each."""
BURST = 16
"""Pings, or pieces, that are sent at once; each tenth of a second."""


@dataclass
class _Crowd:
    kind: str
    port: int
    links: int
    sources: int
    again: float
    path: str = "/"
    made: int = 0
    cut: int = 0
    refused: int = 0
    open: int = 0

    def __post_init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    async def run(self) -> None:
        tasks = [asyncio.create_task(self._one(number)) for number in range(self.links)]
        while True:
            await asyncio.sleep(1.0)
            said = {name: getattr(self, name) for name in ("made", "cut", "refused", "open")}
            print(json.dumps(said), flush=True)
            if any(task.done() for task in tasks):
                return

    async def _one(self, number: int) -> None:
        source = f"127.200.{number % self.sources >> 8}.{1 + (number % self.sources & 255) % 254}"
        await asyncio.sleep(self.again * number / self.links)
        while True:
            try:
                await self._connection(source)
            except (OSError, asyncio.IncompleteReadError):
                self.refused += 1
            await asyncio.sleep(self.again)

    async def _connection(self, source: str) -> None:
        secured: dict[str, Any] = {} if self.kind == "tls" else {"ssl": self.context}
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0), **secured
        )
        self.made, self.open = self.made + 1, self.open + 1
        try:
            if self.kind == "payload":
                await _payload(self.path, writer)
            else:
                await DEEDS[self.kind](reader, writer)
            self.cut += 1
        finally:
            self.open -= 1
            writer.transport.abort()


async def _stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The first bytes of a handshake."""
    writer.write(b"\x16\x03\x01\x02")
    await reader.read()


async def _nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(REQUEST[:-2])
    await reader.read()


async def _message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _upgraded(reader, writer)
    writer.write(HALF)
    await reader.read()


async def _pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _upgraded(reader, writer)
    await _again(writer, PING)


async def _fragments(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _upgraded(reader, writer)
    writer.write(BEGIN)
    await _again(writer, PIECE)


async def _payload(path: str, writer: asyncio.StreamWriter) -> None:
    """It asks for all of it, and reads nothing."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while not writer.transport.is_closing():
        await asyncio.sleep(0.1)


async def _upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")


async def _again(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Until it is cut. What comes back is not read."""
    while not writer.transport.is_closing():
        writer.write(piece * BURST)
        await asyncio.sleep(0.1)


Deed = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEEDS: dict[str, Deed] = {
    "tls": _stall,
    "header": _header,
    "message": _message,
    "pings": _pings,
    "fragments": _fragments,
    "handshakes": _nothing,
}
"""By kind, what a connection does until it is cut."""


@contextmanager
def crowd(**job: Any) -> Iterator[list[Row]]:
    """One that is there meanwhile; what it has told so far, the last of it last."""
    told: list[Row] = []
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.service_crowd", json.dumps(job)],
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    reader = threading.Thread(target=_read, args=(child, told), daemon=True)
    reader.start()
    try:
        yield told
    finally:
        child.kill()
        child.wait()
        reader.join()
        if child.stdout is not None:
            child.stdout.close()


def _read(child: subprocess.Popen[str], told: list[Row]) -> None:
    for line in child.stdout or ():
        told.append(json.loads(line))


def main(job: Row) -> None:
    with suppress(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=fastest_loop()) as runner:
            runner.run(_Crowd(**job).run())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
