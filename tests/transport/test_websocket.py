"""WebSocket links over real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import connect as raw_connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as raw_serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from secagg.drive.listening import listen
from secagg.errors import (
    LinkClosed,
    LinkTimeout,
    MissingExtra,
    ParameterError,
    PolicyRefused,
    TransportError,
)
from secagg.rounds.quota import Limits
from secagg.transport import door, websocket
from secagg.transport.base import Link
from secagg.transport.websocket import asgi, connect

LIMIT = 2000


async def echo(link: Link) -> None:
    try:
        while True:
            await link.send(await link.receive())
    except LinkClosed:
        return


class Recorder:
    """A service that only listens, and keeps what ended each link."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.arrived: asyncio.Queue[None] = asyncio.Queue()
        self.ends: asyncio.Queue[LinkClosed] = asyncio.Queue()

    async def __call__(self, link: Link) -> None:
        try:
            while True:
                self.received.append(await link.receive())
                self.arrived.put_nowait(None)
        except LinkClosed as end:
            self.ends.put_nowait(end)


async def by_hand(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket after its handshake, for what no library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_messages_come_back_whole_and_in_order() -> None:
    messages = [b"", b"x", bytes(range(256)) * 4000, b"y"]
    async with listen(echo, max_size=1 << 21) as port:
        link = await connect(f"ws://127.0.0.1:{port}/any/path", max_size=1 << 21)
        for message in messages:
            await link.send(message)
        assert [await link.receive() for _ in messages] == messages
        await link.close()
        with pytest.raises(LinkClosed):
            await link.receive()
        with pytest.raises(LinkClosed):
            await link.send(b"late")


async def test_no_compression_is_negotiated_even_if_offered() -> None:
    """Row 16: a limit must hold before anything is inflated."""
    async with (
        listen(echo) as port,
        raw_connect(f"ws://127.0.0.1:{port}", compression="deflate") as peer,
    ):
        assert peer.protocol.extensions == []


async def test_the_client_offers_no_compression() -> None:
    seen: list[str | None] = []

    async def handler(peer: ServerConnection) -> None:
        assert peer.request is not None
        seen.append(peer.request.headers.get("Sec-WebSocket-Extensions"))

    async with raw_serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await (await connect(f"ws://127.0.0.1:{port}")).close()
    assert seen == [None]


async def test_the_server_closes_on_a_text_frame() -> None:
    """Row 17: what is not a binary frame is never looked at."""
    service = Recorder()
    async with listen(service) as port, raw_connect(f"ws://127.0.0.1:{port}") as peer:
        await peer.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1003
        assert "text frame" in str(await service.ends.get())
    assert service.received == []


async def test_the_client_closes_on_a_text_frame() -> None:
    async def handler(peer: ServerConnection) -> None:
        await peer.send("hello")
        await peer.wait_closed()

    async with raw_serve(handler, "127.0.0.1", 0) as server:
        link = await connect(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
        with pytest.raises(LinkClosed, match="text frame"):
            await link.receive()


async def test_an_oversized_message_ends_the_link_at_the_server() -> None:
    """Row 22: the largest is accepted, one byte more is not, whole or in fragments."""
    service = Recorder()
    async with listen(service, max_size=LIMIT) as port:
        for message in (bytes(LIMIT + 1), [bytes(LIMIT // 2)] * 3):
            async with raw_connect(f"ws://127.0.0.1:{port}", compression=None) as peer:
                await peer.send(bytes(LIMIT))
                await service.arrived.get()
                await peer.send(message)
                with pytest.raises(ConnectionClosed) as closed:
                    await peer.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
                await service.ends.get()
    assert service.received == [bytes(LIMIT)] * 2


async def test_a_header_that_promises_too_much_is_enough() -> None:
    """Row 5: refused before a byte of it came, so nothing is ever collected."""
    async with listen(echo, max_size=LIMIT) as port:
        reader, writer = await by_hand(port)
        writer.write(b"\x82\xff" + (1 << 40).to_bytes(8) + bytes(4))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer[:1] == b"\x88" and int.from_bytes(answer[2:4]) == 1009
        writer.close()


async def test_an_oversized_message_ends_the_link_at_the_client() -> None:
    async def talk(link: Link) -> None:
        await link.send(bytes(LIMIT))
        await link.send(bytes(LIMIT + 1))

    async with listen(talk) as port:
        link = await connect(f"ws://127.0.0.1:{port}", max_size=LIMIT)
        assert len(await link.receive()) == LIMIT
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_the_application_has_its_own_limit() -> None:
    """Mounted in another application it may sit behind a server with a wider limit."""
    sent: list[MutableMapping[str, Any]] = []
    events = [{"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": bytes(9)}]

    async def receive() -> MutableMapping[str, Any]:
        return events.pop(0)

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    service = Recorder()
    await asgi(service, max_size=8)({"type": "websocket", "headers": []}, receive, send)
    assert [event["type"] for event in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1009 and service.received == []


async def test_a_web_page_cannot_join() -> None:
    """A browser lets any page open a WebSocket to loopback, but it says whose page it is."""
    async with listen(echo) as port:
        with pytest.raises(InvalidStatus) as refused:
            await raw_connect(f"ws://127.0.0.1:{port}", origin="https://example.org")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


async def test_plain_http_is_told_to_upgrade() -> None:
    async with listen(echo) as port:
        url = f"http://127.0.0.1:{port}/"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(opener.open, url)
        refused.value.close()
        assert refused.value.code == 426


async def test_other_scopes_are_refused() -> None:
    async def never(*_: object) -> Any:
        raise AssertionError("nothing is read or sent")

    with pytest.raises(TransportError, match="lifespan"):
        await asgi(echo)({"type": "lifespan"}, never, never)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
async def test_without_tls_only_loopback(host: str) -> None:
    """Row 67 has nothing to read: no plain-text link ever leaves the machine."""
    with pytest.raises(PolicyRefused, match="loopback"):
        async with listen(echo, host):
            pytest.fail("it listens")
    if host:
        with pytest.raises(PolicyRefused, match="wss://"):
            await connect(f"ws://[{host}]:9/" if ":" in host else f"ws://{host}:9/")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:80", "ws://", "ws://[::1", "ws:"])
async def test_what_is_no_websocket_url(url: str) -> None:
    with pytest.raises(ParameterError):
        await connect(url)


async def test_nobody_there_a_taken_port_and_another_kind_of_service() -> None:
    async with listen(echo, "localhost") as port:
        with pytest.raises(TransportError, match=str(port)):
            async with listen(echo, port=port):
                pytest.fail("it listens")
    with pytest.raises(TransportError, match="no link to 127.0.0.1"):
        await connect(f"ws://127.0.0.1:{port}")


async def test_a_server_that_never_answers() -> None:
    """Row 68: the opening has a deadline."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(LinkTimeout, match="0.1 seconds"):
            await connect(f"ws://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)


@pytest.mark.parametrize("package", ["websockets.asyncio.client", "uvicorn"])
async def test_a_missing_package_says_how_to_get_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"pip install 'secagg\[server\]'"):
        if package == "uvicorn":
            async with listen(echo):
                pytest.fail("it listens")
        else:
            await connect("ws://127.0.0.1:9")


async def test_a_peer_that_does_not_read_holds_neither_others_nor_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 68: one link's sends wait for its own peer only, and closing the server cuts it off."""
    for module in (door, websocket):
        monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.2)
    stuck = asyncio.Event()

    async def flood_or_echo(link: Link) -> None:
        if await link.receive() == b"flood":
            stuck.set()
            for _ in range(100):
                await link.send(bytes(1 << 20))
        else:
            await link.send(b"served")

    async with listen(flood_or_echo) as port:
        _, writer = await by_hand(port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"\x82\x85\0\0\0\0flood")
        await stuck.wait()
        link = await connect(f"ws://127.0.0.1:{port}")
        await link.send(b"hello")
        assert await link.receive() == b"served"
        await link.close()
    assert caplog.records == []
    writer.transport.abort()


async def test_what_was_said_last_reaches_whoever_is_still_talking() -> None:
    """Row 70: the whole server ends, and a peer that sends meets no reset: it reads what was said
    to it, and a goodbye. So a server waits for the other goodbye before its socket is closed."""

    async def last_word(link: Link) -> None:
        await link.send(b"it is over")

    words = frame(2, b"it is over", masked=False)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listen(last_word))
        reader, writer = await by_hand(port)
        await reader.readexactly(len(words))
        ending = asyncio.create_task(stack.aclose())
        await reader.readexactly(4)  # the goodbye, 1000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)  # the socket is not closed meanwhile
        writer.write(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(0xFFFF))
        await writer.drain()
        writer.write(frame(8, b"\x03\xe8", masked=True))
        assert await reader.read() == b""
        await ending
    writer.close()


async def test_a_link_on_which_nothing_can_be_said_is_read_to_its_end() -> None:
    events: list[MutableMapping[str, Any]] = [
        {"type": "websocket.receive", "bytes": b"it is over"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return events.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        raise OSError

    link = websocket._ServerLink(receive, send, 100)
    with pytest.raises(LinkClosed):
        await link.send(b"a question")
    assert await link.receive() == b"it is over"
    with pytest.raises(LinkClosed, match="code 1000"):
        await link.receive()
    with pytest.raises(LinkClosed):
        await link.receive()


async def test_a_goodbye_that_does_not_leave_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read, under a server that waits until it does."""
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.01)
    asked: list[MutableMapping[str, Any]] = []

    async def never(message: MutableMapping[str, Any]) -> None:
        asked.append(message)
        await asyncio.Event().wait()

    async def nothing() -> MutableMapping[str, Any]:
        raise AssertionError("it does not read")

    link = websocket._ServerLink(nothing, never, 1)
    async with asyncio.timeout(60):
        await link.close()
        await link.close()
    assert [message["type"] for message in asked] == ["websocket.close"]


# What is no text, and what the environment says


def frame(opcode: int, data: bytes, *, masked: bool) -> bytes:
    mask = bytes(4) if masked else b""
    return bytes([0x80 | opcode, len(data) | (0x80 if masked else 0)]) + mask + data


@pytest.mark.parametrize(
    "data",
    [(1, b"\xff\xfe"), (1, b""), (8, b"\x03\xe8\xff\xfe"), (8, b"\x03"), (8, b"\x03\xe8\x1b[2J")],
    ids=["text", "no text", "reason", "half a code", "control characters"],
)
async def test_a_peer_that_speaks_no_utf8_ends_its_link_only(data: tuple[int, bytes]) -> None:
    """At the client: never an error of another kind."""

    async def speak(connection: ServerConnection) -> None:
        connection.transport.write(frame(*data, masked=False))
        await connection.wait_closed()

    async with raw_serve(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await connect(f"ws://127.0.0.1:{port}")
        with pytest.raises(LinkClosed):
            await link.receive()
        await link.close()


@pytest.mark.parametrize(
    ("opcode", "data"), [(1, b"\xff\xfe"), (8, b"\x03\xe8\xff\xfe"), (8, b"\x00\x01"), (3, b"x")]
)
async def test_a_stranger_leaves_no_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture, opcode: int, data: bytes
) -> None:
    """The library below logs one for bytes that are no text: a page of it for each."""
    recorder = Recorder()
    async with listen(recorder) as port:
        reader, writer = await by_hand(port)
        writer.write(frame(opcode, data, masked=True))
        await reader.read()
        writer.close()
    assert [record for record in caplog.records if record.exc_info] == []
    assert "Fatal" not in caplog.text


@pytest.mark.parametrize(
    "line", [b"GET /\xff\xfe HTTP/1.1\r\n", b"\x16\x03\x01\xff", b"\xff" * 300]
)
async def test_a_stranger_that_speaks_no_http_leaves_none_either(
    caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    async with listen(Recorder()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line + b"\r\n\r\n")
        writer.write_eof()
        await reader.read()
        writer.close()
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_environment_chooses_no_proxy(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """It would see who takes part, and when."""
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(7))
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.upper(), address)
    async with server:
        for url in ("wss://127.0.0.1:9", "ws://127.0.0.1:9"):
            with pytest.raises(TransportError):
                await connect(url)
        assert seen == []


async def test_both_libraries_have_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they hold before a link of ours sees it: a message, a queue of them, a farewell."""
    import uvicorn
    import websockets.asyncio.client as library

    asked: dict[str, Any] = {}
    config, opens = uvicorn.Config, library.connect

    def configured(*args: Any, **options: Any) -> uvicorn.Config:
        asked.update(options)
        return config(*args, **options)

    def opened(*args: Any, **options: Any) -> Any:
        asked.update(options)
        return opens(*args, **options)

    monkeypatch.setattr(uvicorn, "Config", configured)
    monkeypatch.setattr(library, "connect", opened)
    async with listen(echo, max_size=LIMIT, limits=Limits(ping=3.0, pong=4.0)) as port:
        await (await connect(f"ws://127.0.0.1:{port}", max_size=LIMIT + 1)).close()
    assert (asked["ws_ping_interval"], asked["ws_ping_timeout"]) == (3.0, 4.0)
    assert (asked["ws_max_size"], asked["max_size"]) == (LIMIT, LIMIT + 1)
    assert asked["max_queue"] == websocket.QUEUE
    assert asked["close_timeout"] == websocket.CLOSE_TIMEOUT
