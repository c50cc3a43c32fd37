"""A sum is stored at most once in 50 ms, and what waits for it is said then (03 §1.8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from secagg.drive.shell import Shell
from secagg.effects import Effects, Peer, Post, Write
from secagg.errors import StorageError
from secagg.store.memory import MemoryStore
from secagg.transport import memory

LARGE, PAUSE = 65_536, 0.05
SUM = bytes(17)
EACH = 0.002
"""Seconds from one input to the next."""


class Adding:
    """Rounds that hold one sum of so many bytes, and acknowledge each input (`Rounds`)."""

    def __init__(self, size: int) -> None:
        self._size, self._peers = size, list[Peer]()
        self._total = 0

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        self._total += 1
        self._peers.append(peer)

    def take(self) -> Effects:
        peers, self._peers = self._peers, []
        if not peers:
            return Effects()
        row = Write(SUM, self._total.to_bytes(4) * (self._size // 4))
        return Effects((row,), posts=tuple(Post(one, Stored()) for one in peers))

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """There are none."""

    def ready(self, peer: Peer) -> bool:
        return True

    def tick(self, now: float) -> None: ...
    def joined(self, peer: Peer, now: float) -> None: ...
    def left(self, peer: Peer, now: float) -> None: ...
    def flushed(self, peer: Peer, size: int, now: float) -> None: ...
    def finished(self, work: Any, value: Any, now: float) -> None: ...
    def failed(self, work: Any, error: Exception, now: float) -> None: ...
    def refused(self, refusal: Any, now: float) -> None: ...


class Stored:
    """A frame that says so."""

    size = 1

    def encode(self) -> bytes:
        return b"s"


class Watched(MemoryStore):
    """at: when each transaction began; total: how many inputs were in the last one."""

    def __init__(self, broken: int = 0) -> None:
        super().__init__()
        self.at, self.total, self._broken = list[float](), 0, broken

    def commit(self, writes: Sequence[Write]) -> None:
        self.at.append(time.monotonic())
        if len(self.at) == self._broken:
            raise StorageError("the disk is full")
        super().commit(writes)
        self.total = int.from_bytes((writes[0].value or b"")[:4])


async def added(store: Watched, size: int, inputs: int) -> list[tuple[float, int]]:
    """When each input was acknowledged, and how many were stored by then."""
    shell = Shell(Adding(size), store=store)
    ours, theirs = memory.pair()
    serving = asyncio.create_task(shell.serve(Peer("a"), theirs))

    async def hear() -> list[tuple[float, int]]:
        heard = []
        for _ in range(inputs):
            await ours.receive()
            heard.append((time.monotonic(), store.total))
        return heard

    hearing = asyncio.create_task(hear())
    try:
        for _ in range(inputs):
            await ours.send(b"input")
            await asyncio.sleep(EACH)
        await shell.until(asyncio.wait({hearing}))
        return hearing.result()
    finally:
        hearing.cancel()
        await shell.close(0)
        serving.cancel()


@pytest.mark.usefixtures("patience")
async def test_a_sum_is_stored_at_most_once_in_50_ms() -> None:
    """Rule 03 §1.8: 200 inputs in 0.4 s are some nine transactions, and none waits longer."""
    store = Watched()
    heard = await added(store, LARGE + 4, 200)
    gaps = [later - before for before, later in zip(store.at, store.at[1:], strict=False)]
    assert min(gaps) >= PAUSE - 1e-9 and len(store.at) <= 2 + 200 * EACH / PAUSE
    waits = [at - (heard[0][0] + i * EACH) for i, (at, _) in enumerate(heard)]
    assert max(waits) <= PAUSE + EACH


@pytest.mark.usefixtures("patience")
async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    """Rule 03 §1.3."""
    heard = await added(store := Watched(), LARGE + 4, 60)
    assert all(stored > i for i, (_, stored) in enumerate(heard)) and store.total == 60


@pytest.mark.usefixtures("patience")
async def test_rows_without_a_sum_wait_for_nothing() -> None:
    heard = await added(store := Watched(), LARGE, 50)
    assert len(store.at) == 50 and len(heard) == 50


@pytest.mark.usefixtures("patience")
async def test_96_a_sum_that_cannot_be_stored_is_acknowledged_to_nobody() -> None:
    """The second transaction fails: who waits for it hears nothing, and the shell ends."""
    store = Watched(broken=2)
    with pytest.raises(StorageError, match="full"):
        await added(store, LARGE + 4, 60)
    assert store.total == 1 and len(store.at) == 2
