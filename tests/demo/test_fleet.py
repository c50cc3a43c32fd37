"""The client processes of a demo: real ones."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from secagg.demo import fleet as fleet_module
from secagg.demo.client import Orders
from secagg.demo.fleet import ClientFailed, Fleet
from secagg.demo.folder import Folder
from secagg.demo.model import Samples
from secagg.drive.listening import listen
from secagg.transport.base import Link

SOON = 30.0


def orders(folder: Folder, port: int, client: int = 0) -> Orders:
    return Orders(client, f"ws://127.0.0.1:{port}", bytes(32), folder, 1, frozenset())


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_client_that_fails_stops_the_demo_with_what_it_said(tmp_path: Path) -> None:
    """This one finds no samples."""
    async with asyncio.timeout(SOON), Fleet() as fleet:
        await fleet.start([orders(Folder(tmp_path), port=1)])
        with pytest.raises(ClientFailed, match="client 0 ended with exit code 1") as failed:
            await fleet.guard(forever())
    assert "client-0-images.npy" in failed.value.log


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes in /proc")
async def test_a_killed_client_is_replaced_and_none_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed client is no failure; one that is still there at the end is stopped and reaped."""
    monkeypatch.setattr(fleet_module, "GRACE", 0.2)
    folder = Folder(tmp_path)
    for client in (0, 1):
        folder.put_samples(client, Samples(np.zeros((1, 64)), np.zeros(1, np.int64)))
    links: asyncio.Queue[Link] = asyncio.Queue()
    before = children()

    async def on_link(link: Link) -> None:
        await links.put(link)
        await link.receive()

    async with asyncio.timeout(SOON), listen(on_link) as port:
        both = [orders(folder, port, client) for client in (0, 1)]
        async with Fleet() as fleet:
            await fleet.start(both)
            for _ in both:
                await fleet.guard(links.get())
            first = children() - before
            assert len(first) == 2
            victim = next(pid for pid in first if b"\0--client\x000\0" in command(pid))
            os.kill(victim, signal.SIGKILL)
            await fleet.guard(fleet.buried([0]))
            await fleet.start(both)
            await fleet.guard(links.get())
            assert len(first & children()) == 1 and len(children() - before) == 2
        assert children() == before


async def test_guard_passes_on_the_result_and_leaves_nothing_running() -> None:
    async def answer() -> int:
        return 42

    cancelled = False

    async def wait() -> None:
        nonlocal cancelled
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async with Fleet() as fleet:
        assert await fleet.guard(answer()) == 42
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await fleet.guard(wait())
    assert cancelled


def children() -> set[int]:
    """Of this process, zombies too."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == os.getpid():
            found.add(int(entry.parts[2]))
    return found


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
