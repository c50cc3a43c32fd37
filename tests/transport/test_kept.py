"""What a link keeps of a message that was taken from it: nothing, as a thousand links wait."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import pytest

from secagg.drive.listening import listen
from secagg.drive.shell import Shell
from secagg.effects import Effects, Peer
from secagg.rounds.base import Outbox
from secagg.transport.base import Link
from secagg.transport.memory import pair
from secagg.transport.websocket import connect
from tests.transport.strangers import SOON, until

LARGE = 4 << 20


@pytest.fixture
def kept() -> object:
    """Bytes that are there beside those of its first call."""
    tracemalloc.start()

    def now() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    yield now
    tracemalloc.stop()


class Deaf:
    """Rounds that hear, count, and remember nothing."""

    def __init__(self) -> None:
        self.heard = 0

    def __getattr__(self, name: str) -> object:
        return lambda *news: None

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        self.heard += 1

    def ready(self, peer: Peer) -> bool:
        return True

    def take(self) -> Effects:
        return Outbox().take()


@pytest.mark.parametrize("pieces", [1, 8])
async def test_of_a_message_that_was_taken(pieces: int, kept: object) -> None:
    taken = asyncio.Event()

    async def on_link(link: Link) -> None:
        while True:
            await link.receive()
            taken.set()

    async with asyncio.timeout(SOON), listen(on_link, max_size=LARGE) as port:
        link = await connect(f"ws://127.0.0.1:{port}")
        await link.send(b"small")
        await taken.wait()
        taken.clear()
        before = kept()  # type: ignore[operator]
        if pieces == 1:
            await link.send(bytes(LARGE))
        else:
            await link._connection.send([bytes(LARGE // pieces)] * pieces)  # type: ignore[attr-defined]
        await taken.wait()
        assert kept() - before < LARGE / 8  # type: ignore[operator]
        await link.close()


async def test_by_a_shell_that_has_told_its_rounds(kept: object) -> None:
    rounds = Deaf()
    shell, (here, there) = Shell(rounds), pair()  # type: ignore[arg-type]
    serving = asyncio.create_task(shell.serve(Peer("somebody"), here))
    before = kept()  # type: ignore[operator]
    await there.send(bytes(LARGE))
    await until(lambda: rounds.heard)
    assert kept() - before < LARGE / 8  # type: ignore[operator]
    await there.close()
    await serving
    await shell.close()
