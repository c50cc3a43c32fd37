"""Links that are opened again when gone, and frames that wait for one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from secagg.drive import outbound
from secagg.drive.outbound import Outbound, cancelled, ended, keep
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


class Leaving:
    """A link whose other end has said some last words and is gone: whoever writes finds out first,
    as words take a turn of the loop each to be read."""

    def __init__(self, words: list[bytes]) -> None:
        self._words = iter(words)

    async def send(self, data: bytes) -> None:
        raise LinkClosed("gone")

    async def receive(self) -> bytes:
        await asyncio.sleep(0)
        for word in self._words:
            return word
        raise LinkClosed("gone")

    async def close(self) -> None:
        pass


async def test_what_was_said_last_is_read_though_we_were_still_talking() -> None:
    """Row 70: an abort, a receipt or the end of a round, after which the other side is gone."""
    heard: list[bytes] = []

    async def read(link: Link) -> None:
        while True:
            heard.append(await link.receive())

    link = Leaving([b"one", b"two", b"three"])
    way = Outbound(link, lambda size: None)
    way.post(FRAME)
    reading = asyncio.create_task(read(link))
    await ended(reading, way.writer)
    assert heard == [b"one", b"two", b"three"] and reading.done()
    assert isinstance(way.writer.exception(), LinkClosed)


@pytest.mark.parametrize("let_go", [False, True])
async def test_who_is_let_go_or_told_all_is_read_no_further(let_go: bool) -> None:
    ours, _ = memory.pair()
    way = Outbound(ours, lambda size: None)
    reading = asyncio.create_task(ours.receive())
    if let_go:
        way.writer.cancel()
    else:
        way.finish()
    async with asyncio.timeout(SOON):
        await ended(reading, way.writer)  # type: ignore[arg-type]  # it reads nothing
    assert not reading.done()
    await cancelled([reading])


async def test_who_is_gone_and_says_no_end_is_not_listened_to_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbound, "FLUSH_TIMEOUT", 0.01)
    ours, _ = memory.pair()
    way = Outbound(Leaving([]), lambda size: None)
    way.post(FRAME)
    reading = asyncio.create_task(ours.receive())
    async with asyncio.timeout(SOON):
        await ended(reading, way.writer)  # type: ignore[arg-type]  # it reads nothing
    assert not reading.done()
    await cancelled([reading])
