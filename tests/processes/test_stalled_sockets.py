"""One stranger against the process of a server: stalled sockets, and links that withhold a byte."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from secagg.drive.aio import Contribution, Offer, Outcome, connect, message_limit, participate
from secagg.fields import FixedPoint
from secagg.plans.choose import plan
from secagg.plans.plan import Plan

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

CLIENTS, LIMIT = 4, 120.0
"""Seconds that nothing takes, unless it hangs."""
MEMORY, LOG = 300_000_000, 1_000_000
"""Bytes by which a server may grow, and which it may write to its log."""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
STALLED = (b"", HANDSHAKE[:-2], HANDSHAKE)
"""What one says before it says no more: nothing, a header without its end, or the whole of it, and
then no frame."""
LIMITED = (
    "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({0}, {0})); from secagg.cli import main"
)


@dataclass
class Server:
    """`secagg serve` as a process of its own, with a limit of descriptors."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, folder: Path, descriptors: int, *options: object) -> Server:
        program = f"{LIMITED.format(descriptors)}; from secagg.cli import main; main()"
        command = [sys.executable, "-c", program, "serve", *map(str, options), "--json"]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            return cls(subprocess.Popen(command, stdout=out, stderr=err), folder)

    async def port(self) -> int:
        file = self.folder / "port"
        while not file.exists():
            assert self.process.poll() is None, self.log
            await asyncio.sleep(0.02)
        return int(file.read_text())

    @property
    def log(self) -> str:
        return (self.folder / "err").read_text()

    def memory(self, which: str) -> int:
        """Bytes: VmRSS as it is, VmHWM as it was at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(which))
        return int(line.split()[1]) << 10

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Honest:
    """Clients that wait with their second upload until the strangers are there."""

    def __init__(self, agreed: Plan) -> None:
        self.agreed, self.attacked, self.first = agreed, asyncio.Event(), asyncio.Event()
        self._asked = 0

    async def run(self, url: str) -> tuple[Outcome, ...]:
        async with connect(url, timeout=LIMIT) as link:
            return await participate(link, self._give, plan=self.agreed)

    async def _give(self, offer: Offer) -> Contribution:
        self._asked += 1
        if self._asked > CLIENTS:
            self.first.set()
            await self.attacked.wait()
        length = self.agreed.schema.fields[0][1].length
        return Contribution({"update": np.full(length, 0.5)})


class Strangers:
    """All from one address, the honest clients' own."""

    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self._port, self._stack = port, stack
        self.sending: list[asyncio.Task[None]] = []

    async def stall(self, number: int) -> None:
        for i in range(number):
            one = await self._open()
            await asyncio.get_running_loop().sock_sendall(one, STALLED[i % len(STALLED)])

    async def withhold(self, links: int, size: int) -> None:
        """Each a message of the largest size that the server reads, but for its last byte."""
        loop, head = asyncio.get_running_loop(), b"\x82\xff" + size.to_bytes(8) + bytes(4)
        for _ in range(links):
            one = await self._open()
            await loop.sock_sendall(one, HANDSHAKE)
            while not (await loop.sock_recv(one, 1 << 16)).endswith(b"\r\n\r\n"):
                pass
            self.sending.append(asyncio.create_task(self._send(one, head + bytes(size - 1))))
        # the kernel takes some of it, and lets the rest wait for the server
        await asyncio.wait(self.sending, timeout=0.5)

    async def _open(self) -> socket.socket:
        one = self._stack.enter_context(socket.socket())
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self._port))
        return one

    async def _send(self, one: socket.socket, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(one, data)
        except OSError:
            pass  # cut meanwhile


@asynccontextmanager
async def attacking(port: int) -> AsyncIterator[Strangers]:
    async with AsyncExitStack() as stack:
        strangers = Strangers(port, stack)
        yield strangers
        for task in strangers.sending:
            task.cancel()
        await asyncio.gather(*strangers.sending, return_exceptions=True)


async def besieged(
    folder: Path, *, descriptors: int, stalled: int, withheld: int, length: int
) -> dict[str, float]:
    """A round in peace and one under attack; what the second cost, once all has been checked."""
    fields = {"update": FixedPoint(length, 1.0, 16)}
    agreed = plan(clients=CLIENTS, fields=fields, corrupt=0, dropout="0.25", protocol="secagg")
    sizes = ["--clients", CLIENTS, "--length", length, "--bits", 16, "--corrupt", 0]
    protocol = ["--dropout", "0.25", "--protocol", "secagg"]
    how = ["--rounds", 2, "--deadline", LIMIT, "--port-file", folder / "port"]
    server = Server.start(folder, descriptors, *sizes, *protocol, *how, "--out", folder / "m.npy")
    try:
        async with asyncio.timeout(LIMIT):
            port = await server.port()
            honest, url = Honest(agreed), f"ws://127.0.0.1:{port}"
            running = [asyncio.create_task(honest.run(url)) for _ in range(CLIENTS)]
            await honest.first.wait()
            before = server.memory("VmRSS")
            async with attacking(port) as strangers:
                await strangers.stall(stalled)
                await strangers.withhold(withheld, message_limit(agreed))
                begun = time.monotonic()
                async with connect(url, timeout=LIMIT):  # somebody comes late, and gets in
                    came = time.monotonic() - begun
                honest.attacked.set()
                outcomes = [await one for one in running]
                seconds = time.monotonic() - begun
        code = await asyncio.to_thread(server.process.wait, LIMIT)
    finally:
        server.end()
    assert code == 0, server.log
    for mine in outcomes:
        assert [(one.reason, one.included) for one in mine] == [(None, True)] * 2
        assert {one.contributors for one in mine} == {CLIENTS}
    peak = int(peak_of(folder)) - before
    assert peak < MEMORY and len(server.log) < LOG
    assert np.abs(np.load(folder / "m.npy") - 0.5).max() < 1e-3
    return {"MB": peak / 1e6, "log kB": len(server.log) / 1e3, "late s": came, "round s": seconds}


def peak_of(folder: Path) -> float:
    peak = json.loads((folder / "out").read_text())["peak_rss"]
    assert isinstance(peak, int | float)
    return float(peak)


async def test_stalled_sockets_cost_little(tmp_path: Path) -> None:
    """Rows 68 and 69, small."""
    await besieged(tmp_path, descriptors=256, stalled=200, withheld=10, length=1000)


@pytest.mark.soak
@pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")
async def test_a_thousand_stalled_sockets_and_sixty_withheld_bytes(tmp_path: Path) -> None:
    """Rows 68, 69 and 100, large: more than the process has descriptors, and memory for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        figures = await besieged(
            tmp_path, descriptors=1024, stalled=1000, withheld=60, length=1_600_000
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print({name: round(value, 1) for name, value in figures.items()})
