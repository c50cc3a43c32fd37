"""What a stranger can do to a listening process: real sockets, and one's own limits made small."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import re
import socket
import tracemalloc
from contextlib import AsyncExitStack
from typing import Any

import pytest

from secagg.drive.listening import descriptors, listen
from secagg.errors import LinkClosed
from secagg.rounds.doors import Doors
from secagg.rounds.quota import Limits
from secagg.transport import door, doorkeeper, websocket
from secagg.transport.base import Link
from secagg.transport.protocols import RECEIVED
from secagg.transport.websocket import connect
from tests.soak import SOAK
from tests.transport.strangers import (
    BINARY,
    CROOKED,
    FIN,
    PING,
    PONG,
    SOON,
    STALLED,
    Watched,
    echo,
    ended,
    masked,
    raw,
    served,
    until,
)

OWN = 64 << 10
"""Bytes of a link beyond its message."""


# Links that are not open yet


@pytest.mark.parametrize("said", STALLED.values(), ids=STALLED)
async def test_whoever_does_not_finish_its_opening_is_closed(said: bytes) -> None:
    """Row 68: whatever it has said until then."""
    async with (
        asyncio.timeout(SOON),
        listen(echo, limits=Limits(opening=0.05)) as port,
        raw(port, upgraded=False) as one,
    ):
        await asyncio.get_running_loop().sock_sendall(one, said)
        await ended(one)
        await served(port)


@pytest.mark.parametrize("said", CROOKED.values(), ids=CROOKED)
async def test_what_is_no_handshake_is_refused_and_costs_its_link_only(said: bytes) -> None:
    """Row 67: with 4xx as often as it is asked, or with the end of the link."""
    async with (
        asyncio.timeout(SOON),
        listen(echo) as port,
        raw(port, upgraded=False) as one,
    ):
        try:
            await asyncio.get_running_loop().sock_sendall(one, said)
            one.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all of it was said
        answers = re.findall(rb"HTTP/1\.1 (\d)", await ended(one))
        assert set(answers) <= {b"4"}
        await served(port)


async def test_whoever_has_finished_it_is_not() -> None:
    limits = Limits(opening=0.05)
    async with listen(echo, limits=limits) as port, raw(port, upgraded=False) as late:
        link = await connect(f"ws://127.0.0.1:{port}")
        await ended(late)
        await link.send(b"still here")
        assert await link.receive() == b"still here"
        await link.close()


async def test_stalled_links_have_few_places_and_the_oldest_goes() -> None:
    """Row 69: by the count, not by the clock; an honest client is served meanwhile."""
    limits = Limits(passing=2, opening=1e6)
    async with listen(echo, limits=limits) as port, raw(port, upgraded=False) as first:
        async with raw(port, upgraded=False) as second, raw(port, upgraded=False):
            await ended(first)
            await served(port)
            await ended(second)


async def test_a_link_that_is_let_go_and_reads_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its socket would stay for ever: a close waits for what was written before it."""
    for module in (door, websocket):
        monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)

    async def flood(link: Link) -> None:
        await link.send(bytes(32 << 20))

    doors = Watched(Limits(leaving=0.1))
    async with door.listen(flood, doors=doors) as port, raw(port):
        await until(lambda: doors.gone)


# Bytes


@pytest.mark.parametrize(
    "frames",
    [
        masked(BINARY) + 5000 * masked(0x00),
        masked(BINARY) + 5000 * masked(0x00, b"x"),
        5000 * masked(PING),
        5000 * masked(PONG, b"x"),
    ],
    ids=["empty fragments", "fragments of a byte", "pings", "pongs"],
)
async def test_a_link_that_sends_crumbs_is_cut(
    frames: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would be an object, and no limit on the size of a message counts them."""
    async with listen(echo) as port, raw(port) as one:
        await asyncio.get_running_loop().sock_sendall(one, frames)
        await ended(one)
        await served(port)
    assert "127.0.0.1 was cut: it sends crumbs" in caplog.text


async def test_a_link_that_was_told_goodbye_sends_no_crumbs_either(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody takes what comes then, so whole messages count as well."""

    async def brief(link: Link) -> None:
        pass

    async with listen(brief) as port, raw(port) as one:
        with contextlib.suppress(OSError):  # it may be cut before all is sent
            await asyncio.get_running_loop().sock_sendall(one, 5000 * masked(FIN | BINARY, b"x"))
        await ended(one)
    assert "127.0.0.1 was cut: it sends crumbs" in caplog.text


async def test_a_message_in_honest_fragments_comes_whole() -> None:
    async with listen(echo) as port, raw(port) as one:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, masked(BINARY, b"a") + masked(0x00, b"b") + masked(0x80, b"c"))
        assert await loop.sock_recv(one, 9) == bytes([FIN | BINARY, 3]) + b"abc"


async def test_answers_to_pings_do_not_pile_up_before_whoever_reads_nothing() -> None:
    """RFC 6455 §5.5.3: the last is enough."""
    sent, pings = bytes(16 << 20), 50
    heard = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.receive()
        await link.send(sent)
        await link.receive()
        heard.set()
        await link.receive()

    async with listen(talk) as port, raw(port) as one:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, masked(FIN | BINARY))
        assert await loop.sock_recv(one, 2) == bytes([FIN | BINARY, 127])
        numbered = b"".join(masked(PING, b"%03d" % i) for i in range(pings))
        await loop.sock_sendall(one, numbered + masked(FIN | BINARY))
        await heard.wait()
        one.shutdown(socket.SHUT_WR)
        got = await ended(one)
    assert got[8 : 8 + len(sent)] == sent
    assert got[8 + len(sent) :].startswith(bytes([PONG, 3]) + b"%03d" % (pings - 1))
    assert got[8 + len(sent) :].count(bytes([PONG])) == 1


BURSTS = {
    "messages of a byte": 20_000 * masked(FIN | BINARY, b"x"),
    "empty messages": 20_000 * masked(FIN | BINARY),
    "fragments": masked(BINARY) + (Limits().fragments // 2) * masked(0x00, b"x"),
    "a header alone": bytes([FIN | BINARY, 0xFF]) + (1 << 25).to_bytes(8),
}


@pytest.mark.parametrize("burst", BURSTS.values(), ids=BURSTS)
async def test_a_link_costs_64_kib_beyond_its_message(burst: bytes) -> None:
    """Measured: what several of them cost while the application takes nothing."""
    links, doors = 20 if SOAK else 3, Watched()
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    async def deaf(link: Link) -> None:
        await over.wait()

    async with door.listen(deaf, doors=doors) as port:
        peers = [raw(port) for _ in range(links)]
        sockets = [await peer.__aenter__() for peer in peers]
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for one in sockets:
                await loop.sock_sendall(one, burst)
            await until(lambda: len(doors.heard) == links)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        over.set()
        for peer in peers:
            await peer.__aexit__(None, None, None)
    assert after - before < links * OWN


async def test_messages_that_wait_for_room_come_whole_and_are_what_was_sent() -> None:
    """While links that withhold a byte hold all of it, and are cut for it."""
    size = 1 << 20
    limits = Limits(unfinished=4 * size)
    head = bytes([FIN | BINARY, 0xFF]) + size.to_bytes(8) + bytes(4)
    data = bytes(range(256)) * (size // 256)
    async with listen(echo, limits=limits, max_size=size) as port:
        async with raw(port) as one, raw(port) as two, raw(port) as three:
            loop = asyncio.get_running_loop()
            for evil in (one, two, three):
                await loop.sock_sendall(evil, head + data[:-1])
            link = await connect(f"ws://127.0.0.1:{port}", max_size=size)
            async with asyncio.timeout(SOON):
                for _ in range(3):
                    await link.send(data)
                    assert await link.receive() == data
            await link.close()
            ends = [asyncio.create_task(ended(evil)) for evil in (one, two, three)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()


async def test_a_link_that_waits_for_room_is_not_read() -> None:
    """Its message stays where its sender has it: a limit that bytes pass by is none."""
    size = 1 << 20
    head = bytes([FIN | BINARY, 0xFF]) + size.to_bytes(8) + bytes(4)
    doors = Watched(Limits(unfinished=4 * size))
    async with (
        door.listen(echo, doors=doors, max_size=size) as port,
        AsyncExitStack() as stack,
    ):
        holding = [await stack.enter_async_context(raw(port)) for _ in range(4)]
        sending = [
            asyncio.create_task(
                asyncio.get_running_loop().sock_sendall(one, head + bytes(size - 1))
            )
            for one in holding
        ]
        await until(lambda: doors.gone or list(doors.got.values()).count(size - 1) >= 3)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert doors.gone or min(doors.got.values()) <= RECEIVED
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)


async def test_a_sender_waits_for_whoever_does_not_read() -> None:
    """So that what waits for a peer is counted where it waits."""
    sent = []

    async def flood(link: Link) -> None:
        for number in range(100):
            await link.send(bytes(1 << 20))
            sent.append(number)

    async with listen(flood) as port, raw(port):
        await until(lambda: sent)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(sent) < 50


# Descriptors, and the log


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_the_listener_rests(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 100: and says so a few times, not a few thousand; then all goes on."""
    monkeypatch.setattr(doorkeeper, "REST", 0.0)
    loop, failures = asyncio.get_running_loop(), 3000
    accept = loop.sock_accept

    async def failing(listener: socket.socket) -> Any:
        nonlocal failures
        failures -= 1
        if failures > 0:
            raise OSError(number, "no more")
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with listen(echo) as port:
        await served(port)
    assert len(caplog.records) < 50 and "no descriptor is left" in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_connection_that_was_gone_before_it_was_accepted_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    accept, errors = loop.sock_accept, [ConnectionAbortedError(), OSError(errno.EPROTO, "gone")]

    async def failing(listener: socket.socket) -> Any:
        if errors:
            raise errors.pop()
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with listen(echo) as port:
        await served(port)


async def test_the_listener_rests_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to take the processor for itself."""
    rests: list[float] = []
    loop, sleep = asyncio.get_running_loop(), asyncio.sleep

    async def slept(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    async def failing(listener: socket.socket) -> Any:
        raise OSError(errno.EMFILE, "no more")

    monkeypatch.setattr(loop, "sock_accept", failing)
    monkeypatch.setattr(doorkeeper.asyncio, "sleep", slept)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        keeper = doorkeeper.Doorkeeper(Doors(), listener, lambda entrance: asyncio.Protocol())
        running = asyncio.create_task(keeper.run())
        while len(rests) < 5:
            await sleep(0)
        running.cancel()
        await asyncio.wait({running})
        keeper.close()
    assert set(rests) == {doorkeeper.REST} and doorkeeper.REST >= 0.1


async def test_nonsense_by_the_thousand_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    async with listen(echo) as port:
        for _ in range(200):
            async with raw(port, upgraded=False) as one:
                await asyncio.get_running_loop().sock_sendall(one, b"nonsense\r\n\r\n")
                assert b"400" in await ended(one)
    assert 0 < len(caplog.records) < 20


async def test_what_is_ours_is_always_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A bug is no repeat."""

    async def broken(link: Link) -> None:
        raise ZeroDivisionError

    async with listen(broken) as port:
        for _ in range(15):
            link = await connect(f"ws://127.0.0.1:{port}")
            with pytest.raises(LinkClosed):
                await link.receive()
    assert len([record for record in caplog.records if record.exc_info]) == 15


def test_a_process_knows_how_many_descriptors_it_may_have() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        assert descriptors() == min(soft, 512)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_number_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert descriptors() is None
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    assert descriptors() is None
