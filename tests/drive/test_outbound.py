"""Links that are opened again when gone, and frames that wait for one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from secagg.drive.outbound import Outbound, cancelled, keep
from secagg.effects import Peer
from secagg.errors import LinkClosed, PolicyRefused, TransportError
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.transport.opening import Backoff
from secagg.wire.frame import Message

PEER = Peer("server")
FRAME = Message(bytes(16), bytes(10))
SOON = 10.0


class Far:
    """Answers links in memory, each that it was called on; none for so many attempts."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals, self.calls = refusals, 0

    async def open(self) -> Link:
        self.calls += 1
        if self.calls <= self.refusals:
            raise TransportError("nobody listens")
        return memory.pair()[0]


async def kept(far: Far, lasting: list[float], asked: list[int]) -> None:
    """Links that last for so many seconds, one after the other; then the test is over."""
    left = iter(lasting)

    async def serve(peer: Peer, link: Link) -> TransportError | None:
        seconds = next(left, None)
        if seconds is None:
            raise asyncio.CancelledError
        await asyncio.sleep(seconds)
        return LinkClosed("gone")

    class Counting(Backoff):
        def delay(self, failures: int) -> float:
            asked.append(failures)
            return 0.001

    with contextlib.suppress(asyncio.CancelledError):
        await keep(PEER, far.open, serve, Counting(0.1, 30.0))


@pytest.mark.usefixtures("patience")
async def test_a_peer_that_does_not_answer_is_called_again() -> None:
    far, asked = Far(refusals=5), []  # type: ignore[var-annotated]
    await kept(far, [], asked)
    assert far.calls == 6 and asked == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("patience")
async def test_a_peer_that_drops_every_link_is_not_called_ever_faster() -> None:
    """A link that does not last is a failure like no link, and one that has lasted is none."""
    asked: list[int] = []
    await kept(Far(), [0.0, 1.0, 29.0, 31.0, 0.0], asked)
    assert asked == [1, 2, 3, 1, 2]


async def test_what_no_other_attempt_can_mend_is_raised() -> None:
    async def refuse() -> Link:
        raise PolicyRefused("without TLS only loopback")

    async def serve(peer: Peer, link: Link) -> TransportError | None:
        return None

    with pytest.raises(PolicyRefused):
        await keep(PEER, refuse, serve, Backoff())


async def test_what_waits_leaves_in_order_and_is_told_of() -> None:
    ours, theirs = memory.pair(capacity=1)
    flushed: list[int] = []
    way = Outbound(ours, flushed.append)
    for _ in range(4):
        way.post(FRAME)
    ending = way.finish()
    assert [await theirs.receive() for _ in range(4)] == [FRAME.encode()] * 4
    await ending
    assert flushed == [FRAME.size] * 4


async def test_a_goodbye_ends_though_nobody_reads() -> None:
    ours, _ = memory.pair(capacity=1)
    way = Outbound(ours, lambda size: None)
    for _ in range(4):
        way.post(FRAME)
    async with asyncio.timeout(SOON):
        await cancelled([way.finish()], 0.01)
    assert way.writer.cancelled()
