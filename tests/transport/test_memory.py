"""The in-memory link keeps the promises of transport/base.py."""

from __future__ import annotations

import asyncio

import pytest

from secagg.errors import LinkClosed
from secagg.transport import memory


async def test_messages_are_whole_and_in_order_both_ways() -> None:
    left, right = memory.pair()
    for i in range(3):
        await left.send(bytes([i]) * i)
        await right.send(bytes([10 + i]))
    assert [await right.receive() for _ in range(3)] == [b"", b"\x01", b"\x02\x02"]
    assert [await left.receive() for _ in range(3)] == [b"\x0a", b"\x0b", b"\x0c"]


async def test_a_full_link_makes_the_sender_wait() -> None:
    left, right = memory.pair(capacity=2)
    await left.send(b"1")
    await left.send(b"2")
    third = asyncio.create_task(left.send(b"3"))
    await asyncio.sleep(0)
    assert not third.done()
    assert await right.receive() == b"1"
    await third
    assert [await right.receive(), await right.receive()] == [b"2", b"3"]


@pytest.mark.parametrize("closer", [0, 1])
async def test_closing_either_end_wakes_everybody(closer: int) -> None:
    """Row 70: a link that goes away is news at both ends, whatever they were doing."""
    ends = memory.pair(capacity=1)
    left, right = ends
    await left.send(b"kept")
    waiting = [asyncio.create_task(left.send(b"2")), asyncio.create_task(left.receive())]
    await asyncio.sleep(0)
    await ends[closer].close()
    for task in waiting:
        with pytest.raises(LinkClosed):
            await task
    assert await right.receive() == b"kept"
    with pytest.raises(LinkClosed):
        await right.receive()
    with pytest.raises(LinkClosed):
        await right.send(b"late")
    await ends[closer].close()
