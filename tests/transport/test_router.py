"""Links to several peers: opened again when gone, one without the others."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from secagg.errors import LinkClosed, ParameterError, PolicyRefused, TransportError
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.transport.router import (
    CAPACITY,
    Backoff,
    Channel,
    Connected,
    Disconnected,
    Received,
    Router,
)
from secagg.types import PartyId

QUICK = Backoff(0.001, 0.002)
ONE, TWO = PartyId(1), PartyId(2)
SOON = 10.0


class Peer:
    """Answers links in memory; each that it was called on is kept."""

    def __init__(self, refusals: int = 0) -> None:
        self.links: list[Link] = []
        self.calls, self.refusals = 0, refusals

    async def open(self) -> Link:
        self.calls += 1
        if self.calls <= self.refusals:
            raise TransportError("nobody listens")
        ours, theirs = memory.pair()
        self.links.append(theirs)
        return ours


async def test_news_of_one_party_come_in_order() -> None:
    peer = Peer()
    async with asyncio.timeout(SOON), Router({ONE: peer.open}, backoff=QUICK) as router:
        first = await router.receive()
        assert isinstance(first, Connected) and first.party == ONE
        await peer.links[0].send(b"a")
        await peer.links[0].send(b"b")
        await peer.links[0].close()
        assert [await router.receive() for _ in range(3)] == [
            Received(ONE, b"a"),
            Received(ONE, b"b"),
            Disconnected(ONE),
        ]
        assert isinstance(await router.receive(), Connected)
        router.send(ONE, b"again")
        assert await peer.links[1].receive() == b"again"


async def test_a_peer_that_is_gone_ends_no_other_link() -> None:
    one, two = Peer(), Peer()
    async with asyncio.timeout(SOON), Router({ONE: one.open, TWO: two.open}) as router:
        assert {(await router.receive()).party for _ in range(2)} == {ONE, TWO}
        await one.links[0].close()
        assert await router.receive() == Disconnected(ONE)
        assert not router.reaches(ONE) and router.reaches(TWO)
        with pytest.raises(LinkClosed, match="party 1"):
            router.send(ONE, b"lost")
        router.send(TWO, b"kept")
        assert await two.links[0].receive() == b"kept"
    for link in two.links:
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_a_peer_that_does_not_answer_is_called_again() -> None:
    peer = Peer(refusals=5)
    async with asyncio.timeout(SOON), Router({ONE: peer.open}, backoff=QUICK) as router:
        assert isinstance(await router.receive(), Connected)
    assert peer.calls == 6


async def test_what_no_other_attempt_can_mend_is_raised() -> None:
    async def refuse() -> Link:
        raise PolicyRefused("without TLS only loopback")

    async with asyncio.timeout(SOON), Router({ONE: refuse, TWO: Peer().open}) as router:
        with pytest.raises(PolicyRefused):
            for _ in range(2):
                await router.receive()


async def test_a_link_can_be_given_up() -> None:
    peer = Peer()
    async with asyncio.timeout(SOON), Router({ONE: peer.open}, backoff=QUICK) as router:
        await router.receive()
        router.renew(ONE)
        assert await router.receive() == Disconnected(ONE)
        assert isinstance(await router.receive(), Connected)
        router.renew(TWO)
    assert len(peer.links) == 2


def test_backoff_doubles_up_to_its_cap_less_a_random_part() -> None:
    """Row 76: no herd, and at most the cap."""
    late = Backoff(0.1, 3.0, lambda size: bytes(size))
    delays = [late.delay(failures) for failures in range(1, 80)]
    assert delays[:3] == [0.1, 0.2, 0.4] and delays[-1] == max(delays) == 3.0
    assert all(a <= b for a, b in pairwise(delays))
    early = Backoff(0.1, 3.0, lambda size: b"\xff" * size)
    assert all(d / 2 < early.delay(n) < d for n, d in enumerate(delays, start=1))
    for first, most in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ParameterError):
            Backoff(first, most)


async def test_a_peer_that_drops_every_link_is_not_called_ever_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link over which nothing came is a failure like no link."""
    asked: list[int] = []
    monkeypatch.setattr(Backoff, "delay", lambda self, failures: asked.append(failures) or 0.0)
    peer = Peer()
    async with asyncio.timeout(SOON), Router({ONE: peer.open}) as router:
        for number in range(7):
            assert isinstance(await router.receive(), Connected)
            if number == 4:
                await peer.links[number].send(b"alive")
                assert await router.receive() == Received(ONE, b"alive")
            await peer.links[number].close()
            assert await router.receive() == Disconnected(ONE)
    assert asked[:6] == [1, 2, 3, 4, 1, 2]


async def test_whoever_does_not_read_is_let_go() -> None:
    ours, theirs = memory.pair(capacity=1)
    channel = Channel(ours, most=3)
    for _ in range(6):
        channel.post(b"frame")
        await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        with pytest.raises(LinkClosed):
            await channel.receive()
    channel.post(b"nowhere")
    await channel.close()
    await theirs.close()


async def test_a_channel_counts_what_waits_and_flushes_it() -> None:
    ours, theirs = memory.pair(capacity=1)
    channel = Channel(ours)
    for _ in range(4):
        channel.post(b"frame")
    assert channel.queued == 20
    flushing = asyncio.create_task(channel.flush(SOON))
    assert [await theirs.receive() for _ in range(4)] == [b"frame"] * 4
    await flushing
    assert channel.queued == 0
    with pytest.raises(LinkClosed):
        await theirs.receive()


async def test_a_flush_ends_though_nobody_reads() -> None:
    ours, theirs = memory.pair(capacity=1)
    channel = Channel(ours)
    for _ in range(4):
        channel.post(b"frame")
    async with asyncio.timeout(SOON):
        await channel.flush(0.01)
    await theirs.close()


async def test_what_nobody_takes_is_not_read() -> None:
    """CAPACITY messages wait, one in the reader's hand and one under way: the sender waits."""
    ours, theirs = memory.pair(capacity=1)
    sent: list[int] = []

    async def open_link() -> Link:
        return ours

    async def flood() -> None:
        for number in range(4 * CAPACITY):
            await theirs.send(bytes([number]))
            sent.append(number)

    async with asyncio.timeout(SOON), Router({ONE: open_link}) as router:
        flooding = asyncio.create_task(flood())
        for _ in range(100 * CAPACITY):
            await asyncio.sleep(0)
        assert len(sent) <= CAPACITY + 2
        assert isinstance(await router.receive(), Connected)
        for number in range(4 * CAPACITY):
            assert await router.receive() == Received(ONE, bytes([number]))
        await flooding


def test_a_peer_that_is_away_for_years_is_still_called() -> None:
    assert 15.0 < Backoff(0.1, 30.0).delay(10_000) <= 30.0
