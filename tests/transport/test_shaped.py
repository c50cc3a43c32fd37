"""The token bucket keeps its rate, and the shaped link the promises of transport/base.py."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import LinkClosed, ParameterError
from secagg.transport import memory
from secagg.transport.shaped import TokenBucket, shaped


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(8_000, burst=500)  # 1,000 bytes a second
    assert bucket.take(500, now=10.0) == 0
    assert bucket.take(1000, now=10.0) == 1.0
    assert bucket.take(1000, now=11.0) == 1.0, "the debt was paid meanwhile, and no more"
    assert bucket.take(0, now=12.0) == 0
    assert bucket.take(700, now=100.0) == pytest.approx(0.2), "a silence saves up one burst only"


@settings(max_examples=100, deadline=None)
@given(
    rate=st.integers(1, 10**9),
    burst=st.integers(0, 10**6),
    sends=st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 1000)), min_size=1, max_size=20),
)
def test_no_window_carries_more_than_the_burst_and_the_rate(
    rate: int, burst: int, sends: list[tuple[int, int]]
) -> None:
    """From any message to any later one, whatever the sizes and the silences between them."""
    bucket, now, left = TokenBucket(8 * rate, burst), 0.0, []
    for size, silence in sends:
        now += silence
        now += bucket.take(size, now)
        left.append((now, size))
    for i, (since, _) in enumerate(left):
        for j in range(i + 1, len(left)):
            sent = sum(size for _, size in left[i + 1 : j + 1])
            assert sent <= burst + rate * (left[j][0] - since) + 1e-6 * (1 + sent + rate)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ParameterError):
        TokenBucket(rate)


def test_a_burst_that_is_none() -> None:
    with pytest.raises(ParameterError):
        TokenBucket(1, burst=-1)


async def test_messages_are_whole_and_in_order_and_only_sending_is_held_back() -> None:
    """Row 73."""
    left, right = memory.pair()
    slow = shaped(left, 8e9)
    for i in range(3):
        await slow.send(bytes([i]) * 1000)
    assert [await right.receive() for _ in range(3)] == [bytes([i]) * 1000 for i in range(3)]
    await right.send(b"back")
    assert await slow.receive() == b"back"


async def test_a_message_waits_for_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.timeout

    def noted(delay: float) -> asyncio.Timeout:
        waits.append(delay)
        return real(0)

    monkeypatch.setattr(asyncio, "timeout", noted)
    left, right = memory.pair()
    slow = shaped(left, 80, burst=5, clock=lambda: 0.0)  # ten bytes a second; time stands still
    await slow.send(bytes(5))
    await slow.send(bytes(20))
    await slow.send(bytes(10))
    assert waits == [0.0, 2.0, 3.0]
    assert [len(await right.receive()) for _ in range(3)] == [5, 20, 10]


async def test_closing_wakes_whoever_waits_to_send() -> None:
    """Row 70: a link that goes away is news to whoever is held back."""
    left, right = memory.pair()
    slow = shaped(left, 8, burst=0)
    waiting = asyncio.create_task(slow.send(bytes(3600)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await slow.close()
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(LinkClosed):
        await right.receive()
    with pytest.raises(LinkClosed):
        await slow.send(b"late")
    await slow.close()


async def test_a_link_that_the_peer_closed() -> None:
    left, right = memory.pair()
    slow = shaped(left, 8e9)
    await right.close()
    with pytest.raises(LinkClosed):
        await slow.send(b"late")
    with pytest.raises(LinkClosed):
        await slow.receive()
