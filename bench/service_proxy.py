"""A network that does what networks do, between a fleet and a service: a proxy of TCP connections.

It stands in the benchmark's own process, in a thread with a loop. What goes through, either way, is
taken a piece at a time, and with a probability for each piece the fault of its kind happens to it:

    delay       it waits, and all behind it, up to `longest` seconds
    drop        it is not handed on, and what follows is
    cut         the connection ends, both ways, without a goodbye
    slice       it goes on in pieces of a few bytes, with a wait between them
    duplicate   it is handed on twice
    corrupt     one bit of it is another

Under TLS a connection ends at the first byte that is not the next one that was sent; so of these
only delay and slice leave a link alive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np

KINDS = ("delay", "drop", "cut", "slice", "duplicate", "corrupt")
PIECE = 4096
"""Bytes of a piece at most."""
CRUMBS = 64
"""Pieces into which a slice is cut at most."""


@dataclass
class Proxy:
    """port: of its own. target: of the service. rate: faults a piece. faults: that have happened.
    Off, it hands on what comes."""

    kind: str
    target: int
    rate: float
    lot: np.random.Generator
    longest: float = 0.2
    port: int = 0
    faults: int = 0
    connections: int = 0
    on: bool = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._way(reader, here)),
            asyncio.create_task(self._way(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for one in (writer, here):
                one.transport.abort()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                for piece in await self._through(data):
                    writer.write(piece)
                    await writer.drain()
                    if len(piece) < len(data) and self.kind == "slice":
                        await asyncio.sleep(0.001)
            # what was said last is read before the end is
            await asyncio.sleep(0.05)

    async def _through(self, data: bytes) -> list[bytes]:
        """What is handed on in its place."""
        if not self.on or self.lot.random() >= self.rate:
            return [data]
        self.faults += 1
        match self.kind:
            case "delay":
                await asyncio.sleep(self.longest * self.lot.random())
                return [data]
            case "drop":
                return []
            case "cut":
                raise ConnectionResetError
            case "slice":
                size = max(1, len(data) // CRUMBS)
                return [data[at : at + size] for at in range(0, len(data), size)]
            case "duplicate":
                return [data, data]
            case _:
                found = bytearray(data)
                found[int(self.lot.integers(len(data)))] ^= 1 << int(self.lot.integers(8))
                return [bytes(found)]


@contextmanager
def proxy(kind: str, target: int, rate: float, seed: int = 0) -> Iterator[Proxy]:
    """One that listens meanwhile."""
    made = Proxy(kind, target, rate, np.random.default_rng(seed))
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=1024)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    def work() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for one in asyncio.all_tasks(loop):
            one.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()

    task = loop.create_task(run())
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
