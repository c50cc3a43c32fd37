"""The door under TLS, over real sockets: who comes in, who does not, and what each costs."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as raw_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from secagg.drive.listening import listen
from secagg.errors import LinkClosed, ParameterError, PolicyRefused, TransportError
from secagg.rounds.quota import Limits
from secagg.transport import door, tunnel
from secagg.transport.base import Link, address_of, certificate_of
from secagg.transport.door import LINK, STILL, TLS
from secagg.transport.doorkeeper import RECEIVED, neighbourhood
from secagg.transport.websocket import connect
from tests.authority import DAY, Authority
from tests.transport.strangers import CROOKED, SOON, STALLED, Watched, echo, ended, raw, until

HERE = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The only one that clients of this process trust."""
    made = Authority.made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


def hello(authority: Authority) -> bytes:
    """The first words of a client under TLS."""
    out = ssl.MemoryBIO()
    one = authority.client().wrap_bio(ssl.MemoryBIO(), out, server_hostname=HERE)
    with pytest.raises(ssl.SSLWantReadError):
        one.do_handshake()
    return out.read()


async def served(port: int) -> None:
    """An honest client gets what it came for."""
    async with asyncio.timeout(SOON):
        link = await connect(f"wss://{HERE}:{port}")
        await link.send(b"hello")
        assert await link.receive() == b"hello"
        await link.close()


@asynccontextmanager
async def sealed(
    port: int, authority: Authority, files: TLS | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection under TLS that says only what the test has it say."""
    context = authority.client(files)
    reader, writer = await asyncio.open_connection(HERE, port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Until the other side has ended it, in order or not."""
    got = b""
    async with asyncio.timeout(SOON):
        try:
            while data := await reader.read(1 << 16):
                got += data
        except (ConnectionError, ssl.SSLError):
            pass
    return got


def tunnels() -> list[tunnel.Tunnel]:
    return [one for one in gc.get_objects() if type(one) is tunnel.Tunnel]


# Who comes in


@pytest.mark.parametrize("size", [0, 1, 5, tunnel.SENT, tunnel.SENT + 1, 3_000_000])
async def test_messages_come_back_whole_and_in_order(authority: Authority, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    tls = authority.issued(HERE).load()
    async with listen(echo, tls=tls) as port:
        link = await connect(f"wss://{HERE}:{port}")
        for _ in range(3):
            await link.send(message)
            assert await link.receive() == message
        await link.close()
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_both_sides_say_much_at_once(authority: Authority) -> None:
    """More than sockets hold, so that both have to wait for each other's reading."""
    sizes = [1 << 22, 1, 1 << 20, 70_000]

    async def talk(link: Link) -> None:
        async def say() -> None:
            for size in sizes:
                await link.send(bytes(size))

        saying = asyncio.create_task(say())
        assert [len(await link.receive()) for _ in sizes] == sizes
        await saying

    async with asyncio.timeout(SOON), listen(talk, tls=authority.issued(HERE).load()) as port:
        link = await connect(f"wss://{HERE}:{port}")
        await talk(link)
        with pytest.raises(LinkClosed, match="1000"):
            await link.receive()


async def test_a_link_knows_whose_certificate_was_shown(authority: Authority) -> None:
    """In DER, of an authority that the server has been told; and none where it asks for none."""
    files = authority.issued(HERE, name="client")
    shown: list[bytes | None] = []

    async def look(link: Link) -> None:
        shown.append(certificate_of(link))

    for client_ca in (authority.path, None):
        tls = replace(authority.issued(HERE), client_ca=client_ca).load()
        async with listen(look, tls=tls) as port:
            url = f"wss://{HERE}:{port}"
            async with raw_connect(url, ssl=authority.client(files)) as peer:
                await peer.wait_closed()
    pem = ssl.DER_cert_to_PEM_cert(shown[0] or b"")
    assert pem.encode() == files.certificate.read_bytes() and shown[1:] == [None]


@pytest.mark.parametrize("whose", ["nobody's", "of a foreign authority", "expired"])
async def test_row_66_a_client_without_a_certificate_of_ours_has_no_link(
    authority: Authority, whose: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The link ends in the handshake, and the operator is told why."""
    foreign = Authority.made(tmp_path / "foreign")
    files = {
        "nobody's": None,
        "of a foreign authority": foreign.issued(HERE, name="client"),
        "expired": authority.issued(HERE, datetime.now(UTC) - DAY, name="client"),
    }[whose]
    met = []

    async def meet(link: Link) -> None:
        met.append(link)

    tls = replace(authority.issued(HERE), client_ca=authority.path).load()
    async with listen(meet, tls=tls) as port:
        with pytest.raises((OSError, ConnectionClosed, EOFError, Exception)):
            async with asyncio.timeout(SOON):
                async with raw_connect(f"wss://{HERE}:{port}", ssl=authority.client(files)):
                    pytest.fail("it has a link")
        good = authority.issued(HERE, name="good")
        async with raw_connect(f"wss://{HERE}:{port}", ssl=authority.client(good)) as peer:
            await peer.wait_closed()
    assert len(met) == 1
    assert f"a TLS handshake with {HERE} failed" in caplog.text


async def test_row_66_versions_before_1_3_are_refused(authority: Authority) -> None:
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listen(echo, tls=authority.issued(HERE).load()) as port:
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
            await asyncio.open_connection(HERE, port, ssl=old)
        await served(port)


@pytest.mark.parametrize(
    ("host", "days", "why"),
    [("192.0.2.1", 1, "mismatch"), (HERE, -1, "expired"), (HERE, 5, "not yet valid")],
)
async def test_row_66_clients_refuse_certificates_of_others_and_of_other_days(
    authority: Authority, host: str, days: int, why: str
) -> None:
    """This door would not start with the last two; its clock may be wrong, or years go by."""
    until = datetime.now(UTC) + days * DAY
    tls = authority.issued(host, until).load((until - DAY).timestamp())
    async with listen(echo, tls=tls) as port:
        with pytest.raises(TransportError, match=f"(?i){why}"):
            await connect(f"wss://{HERE}:{port}")


async def test_row_66_an_authority_that_the_client_does_not_know(
    authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.made(tmp_path / "foreign")
    async with listen(echo, tls=foreign.issued(HERE).load()) as port:
        with pytest.raises(TransportError, match="certificate verify failed"):
            await connect(f"wss://{HERE}:{port}")


async def test_certificates_are_read_again_for_those_who_come_after(
    authority: Authority, tmp_path: Path
) -> None:
    """Links that are there stay, and an authority that was taken out is trusted no more."""
    (tmp_path / "clients.pem").write_bytes(authority.path.read_bytes())
    tls = replace(authority.issued(HERE), client_ca=tmp_path / "clients.pem").load()
    client, foreign = authority.issued(HERE, name="client"), Authority.made(tmp_path / "foreign")
    other = foreign.issued(HERE, name="client")
    trusting = ssl.create_default_context(cafile=authority.path)
    trusting.load_cert_chain(other.certificate, other.key)
    async with asyncio.timeout(SOON), listen(echo, tls=tls) as port:
        url = f"wss://{HERE}:{port}"
        async with raw_connect(url, ssl=authority.client(client)) as there:
            old = there.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            authority.issued(HERE)
            (tmp_path / "clients.pem").write_bytes(foreign.path.read_bytes())
            tls.reload()
            async with raw_connect(url, ssl=trusting) as peer:
                await peer.send(b"x")
                assert await peer.recv() == b"x"
                new = peer.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            async with sealed(port, authority, client) as (reader, _):
                assert await all_of(reader) == b""
            await there.send(b"y")
            assert await there.recv() == b"y"
    assert new != old


# Who does not finish


async def test_stalled_handshakes_hold_up_nobody(authority: Authority) -> None:
    """Row 68: two hundred of them, half of which say half a hello."""
    said = hello(authority)
    limits = Limits(handshake=1e6, passing=1000)
    async with listen(echo, limits=limits, tls=authority.issued(HERE).load()) as port:
        async with AsyncExitStack() as stack:
            for number in range(200):
                one = await stack.enter_async_context(raw(port, upgraded=False))
                await asyncio.get_running_loop().sock_sendall(one, said[: 100 * (number % 2)])
            await served(port)


async def test_stalled_handshakes_have_a_stranger_s_places(authority: Authority) -> None:
    """Row 69: by their count."""
    limits = Limits(handshake=1e6, passing=2)
    tls = authority.issued(HERE).load()
    async with listen(echo, limits=limits, tls=tls) as port, raw(port, upgraded=False) as first:
        async with raw(port, upgraded=False) as second, raw(port, upgraded=False):
            await ended(first)
            await served(port)
            await ended(second)


@pytest.mark.parametrize("part", ["nothing", "half a hello", "a hello"])
async def test_a_handshake_has_its_seconds(authority: Authority, part: str) -> None:
    """Row 68: whatever part of it was said; and they are its own, not the header's."""
    said = hello(authority)
    said = {"nothing": b"", "half a hello": said[:100], "a hello": said}[part]
    limits = Limits(handshake=0.05, opening=1e6)
    async with (
        listen(echo, limits=limits, tls=authority.issued(HERE).load()) as port,
        raw(port, upgraded=False) as one,
    ):
        await asyncio.get_running_loop().sock_sendall(one, said)
        await ended(one)


@pytest.mark.parametrize("said", [b"", STALLED["no end of the header"]], ids=["nothing", "half"])
async def test_behind_it_a_header_has_its_own(authority: Authority, said: bytes) -> None:
    limits = Limits(handshake=1e6, opening=0.05)
    async with (
        listen(echo, limits=limits, tls=authority.issued(HERE).load()) as port,
        sealed(port, authority) as (reader, writer),
    ):
        writer.write(said)
        assert await all_of(reader) == b""


JUNK = {
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a megabyte of nothing": bytes(1 << 20),
    "an old hello": b"\x80\x2e\x01\x00\x02" + bytes(60),
    "a record of nonsense": b"\x16\x03\x01\x00\x40" + bytes(64),
}


@pytest.mark.parametrize("said", JUNK.values(), ids=JUNK)
async def test_row_67_what_is_no_tls_is_closed_and_costs_its_link_only(
    authority: Authority, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listen(echo, tls=authority.issued(HERE).load()) as port:
        for _ in range(20):
            async with raw(port, upgraded=False) as one:
                try:
                    await asyncio.get_running_loop().sock_sendall(one, said)
                except OSError:
                    pass  # refused before all of it was said
                assert b"HTTP" not in await ended(one)
        await served(port)
    assert 0 < caplog.text.count("a TLS handshake with") <= 11, "a few lines, and one that counts"
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("said", CROOKED.values(), ids=CROOKED)
async def test_row_67_what_is_no_handshake_is_refused_under_tls_too(
    authority: Authority, said: bytes
) -> None:
    """Headers without end, and requests that two servers would read differently: also where there
    is an application to be reached behind them."""
    inside: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.append(scope["path"])

    tls = authority.issued(HERE).load()
    async with listen(echo, tls=tls, app=app) as port:
        async with sealed(port, authority) as (reader, writer):
            writer.write(said)
            answers = re.findall(rb"HTTP/1\.1 (\d)", await all_of(reader))
            assert set(answers) <= {b"4"}
        async with asyncio.timeout(SOON):
            await (await connect(f"wss://{HERE}:{port}{LINK}")).close()
    assert inside == []


async def test_bytes_that_break_tls_end_their_link_only(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 70: as somebody on the way may bring about."""
    ends: list[BaseException] = []

    async def listening(link: Link) -> None:
        try:
            await link.receive()
        except LinkClosed as end:
            ends.append(end)

    async with listen(listening, tls=authority.issued(HERE).load()) as port:
        link: Any = await connect(f"wss://{HERE}:{port}")
        sock = link._connection.transport.get_extra_info("socket")
        os.write(sock.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        await until(lambda: ends)
        await link.close()
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_connection_that_is_cut_in_the_middle_of_a_message(authority: Authority) -> None:
    """Row 70: no part of it is seen."""
    heard: list[bytes] = []
    over = asyncio.Event()

    async def listening(link: Link) -> None:
        try:
            while True:
                heard.append(await link.receive())
        finally:
            over.set()

    async with asyncio.timeout(SOON), listen(listening, tls=authority.issued(HERE).load()) as port:
        async with raw_connect(f"wss://{HERE}:{port}", ssl=authority.client()) as peer:
            await peer.send(b"whole")
            await until(lambda: heard)
            peer.transport.write(b"\x82\xff" + (1 << 20).to_bytes(8) + bytes(1 << 19))
            peer.transport.abort()
            await over.wait()
    assert heard == [b"whole"]


# What each costs


async def test_a_sender_waits_for_whoever_does_not_read(authority: Authority) -> None:
    """Row 68, also under uvicorn 0.49, which stops nobody by itself."""
    sent = []

    async def flood(link: Link) -> None:
        for number in range(100):
            await link.send(bytes(1 << 20))
            sent.append(number)

    tls = authority.issued(HERE).load()
    async with listen(flood, tls=tls) as port:
        async with raw_connect(f"wss://{HERE}:{port}", ssl=authority.client()) as peer:
            peer.transport.pause_reading()
            await until(lambda: sent)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert len(sent) < 50
            peer.transport.abort()


async def test_a_link_that_waits_for_room_is_not_read_under_tls(authority: Authority) -> None:
    """What comes meanwhile stays with its sender, and none of it is kept encrypted either."""
    size = 8 << 20
    doors = Watched(Limits(unfinished=4 * size // 3))
    tls = authority.issued(HERE).load()
    head = b"\x82\xff" + size.to_bytes(8) + bytes(4)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            door.listen(echo, doors=doors, max_size=size, tls=tls)
        )
        peers = [
            await stack.enter_async_context(
                raw_connect(f"wss://{HERE}:{port}", ssl=authority.client())
            )
            for _ in range(2)
        ]
        for peer in peers:
            peer.transport.write(head + bytes(size - 1))
        await until(lambda: doors.gone or max(doors.got.values(), default=0) == size - 1)
        kept = [one._in.pending for one in tunnels() if one._paused]
        assert doors.gone or (kept and max(kept) <= RECEIVED)
        for peer in peers:
            peer.transport.abort()


async def test_a_large_message_leaves_no_large_buffer_behind(authority: Authority) -> None:
    """OpenSSL's grow with what they get, and stay."""

    class Seen:
        most = 0

        def __init__(self) -> None:
            self._inner = ssl.MemoryBIO()

        def read(self) -> bytes:
            Seen.most = max(Seen.most, self._inner.pending)
            return self._inner.read()

    async with listen(echo, tls=authority.issued(HERE).load()) as port:
        link = await connect(f"wss://{HERE}:{port}")
        await link.send(b"x")
        assert await link.receive() == b"x"
        (one,) = (one for one in tunnels() if not one._over)
        seen: Any = Seen()
        seen._inner, one._out = one._out, seen
        await link.send(bytes(1 << 22))
        assert len(await link.receive()) == 1 << 22
        await link.close()
    assert 0 < Seen.most < 2 * tunnel.SENT


_FEW = """
import asyncio, resource, sys
from pathlib import Path
from secagg.rounds.doors import Doors
from secagg.rounds.quota import Limits
from secagg.transport.door import TLS, listen

async def echo(link):
    while True:
        await link.send(await link.receive())

async def main():
    tls = TLS(Path(sys.argv[1]), Path(sys.argv[2])).load()
    doors = Doors(Limits(passing=1000, handshake=1e6))
    async with listen(echo, doors=doors, tls=tls) as port:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        print(port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_row_100_without_descriptors_it_rests_and_recovers(authority: Authority) -> None:
    """A process that may open 64 files, and 200 connections that say nothing."""
    pytest.importorskip("resource")
    files = authority.issued(HERE)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _FEW, files.certificate, files.key),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        async with asyncio.timeout(4 * SOON):
            port = int(await child.stdout.readline())
            async with AsyncExitStack() as stack:
                for _ in range(200):
                    await stack.enter_async_context(raw(port, upgraded=False))
                said = await child.stderr.readline()
                assert b"no descriptor is left" in said
            await served(port)
            child.terminate()
            assert len(await child.stderr.read()) < 5000, "a few lines, however long it lasts"
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_when_it_closes_nobody_is_left_in_a_handshake(authority: Authority) -> None:
    """No application has heard of it, and no timer of the doors is left to end it."""
    doors = Watched(Limits(handshake=1e6))
    async with AsyncExitStack() as one:
        async with door.listen(echo, doors=doors, tls=authority.issued(HERE).load()) as port:
            silent = await one.enter_async_context(raw(port, upgraded=False))
            await asyncio.get_running_loop().sock_sendall(silent, hello(authority))
            assert await asyncio.get_running_loop().sock_recv(silent, 1)
        await ended(silent)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_row_69_whoever_has_a_network_has_one_address(address: str, counted: str) -> None:
    """Of IPv6 there are enough for each connection to have its own."""
    assert neighbourhood(address) == counted


async def test_row_69_links_know_the_address_that_is_counted(authority: Authority) -> None:
    seen: list[str | None] = []

    async def look(link: Link) -> None:
        seen.append(address_of(link))

    tls = authority.issued("::1").load()
    async with listen(look, "::1", tls=tls) as port:
        link = await connect(f"wss://[::1]:{port}")
        with pytest.raises(LinkClosed):
            await link.receive()
    assert seen == ["::/64"]


# Where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_beyond_loopback_it_takes_tls_or_a_word_for_it(
    authority: Authority, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PolicyRefused, match="loopback"):
        async with listen(echo, host):
            pytest.fail("it listens")
    async with listen(echo, host, tls=authority.issued(HERE).load()) as port:
        if host == "0.0.0.0":
            await served(port)
    assert caplog.records == []
    async with listen(echo, host, insecure_plaintext=True):
        pass
    assert caplog.text.count("are plain text") == 1


async def test_loopback_without_tls_is_no_matter_for_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listen(echo, "localhost", insecure_plaintext=True):
        pass
    assert caplog.records == []


async def test_no_name_is_resolved_to_listen_on(authority: Authority) -> None:
    with pytest.raises(ParameterError, match="numeric"):
        async with listen(echo, "sum.hospital.example", tls=authority.issued(HERE).load()):
            pytest.fail("it listens")


async def test_tls_is_loaded_before_it_is_listened_with(authority: Authority) -> None:
    wrong: Any = authority.issued(HERE)
    with pytest.raises(ParameterError, match="tls must be a Credentials"):
        async with listen(echo, tls=wrong):
            pytest.fail("it listens")


def test_the_fastest_loop_is_of_a_package_that_may_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert door.fastest_loop() is None
    made: Any = type(sys)("uvloop")
    made.new_event_loop = asyncio.new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", made)
    assert door.fastest_loop() is asyncio.new_event_loop


# Other paths


class App:
    """Answers each request with the path of it."""

    def __init__(self) -> None:
        self.scopes: list[MutableMapping[str, Any]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body, more = b"", scope["method"] == "POST"
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        self.bodies.append(body)
        answer = scope["path"].encode()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def app() -> Iterator[App]:
    yield App()


def request(path: str, *more: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *more, "", "")).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next one: its status, and its body."""
    async with asyncio.timeout(SOON):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        return int(head[9:12]), await reader.readexactly(int(length[1]) if length else 0)


async def test_one_path_is_the_links_and_the_others_are_the_applications(
    authority: Authority, app: App
) -> None:
    async with listen(echo, tls=authority.issued(HERE).load(), app=app) as port:
        link = await connect(f"wss://{HERE}:{port}{LINK}")
        await link.send(b"x")
        assert await link.receive() == b"x"
        await link.close()
        for path in ("/", "/v1/payload", LINK + "/"):
            with pytest.raises(InvalidStatus, match="403"):
                await raw_connect(f"wss://{HERE}:{port}{path}", ssl=authority.client())
        async with sealed(port, authority) as (reader, writer):
            for path in ("/healthz", "/v1/payload", "/" + "a" * 4000):
                writer.write(request(path))
                assert await answer(reader) == (200, path.encode())
            writer.write(request(LINK))
            status, _ = await answer(reader)
            assert status == 426
    assert [scope["scheme"] for scope in app.scopes] == ["https"] * 3
    assert [[*scope["state"]] for scope in app.scopes] == [[STILL]] * 3, "all it has of the door"


async def test_a_request_keeps_a_stranger_s_place_and_has_seconds_of_its_own(
    app: App,
) -> None:
    """A body that does not come holds neither for ever; what comes in time is served, whatever the
    seconds of a header."""
    limits = Limits(opening=1e6, request=0.05)
    async with listen(echo, limits=limits, app=app) as port, raw(port, upgraded=False) as one:
        said = request("/v1/enrol", "Content-Length: 9", method="POST")
        await asyncio.get_running_loop().sock_sendall(one, said)
        assert await ended(one) == b""
    assert app.scopes
    limits = Limits(opening=1e6, request=1e6, passing=1)
    async with listen(echo, limits=limits, app=app) as port, raw(port, upgraded=False) as one:
        await asyncio.get_running_loop().sock_sendall(one, said)
        await until(lambda: len(app.scopes) == 2)
        async with raw(port, upgraded=False):
            assert await ended(one) == b""


async def test_after_its_answer_the_next_header_has_its_seconds(app: App) -> None:
    """And what is answered while they would be over is answered."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        await leave.wait()
        await app(scope, receive, send)

    limits = Limits(opening=0.2, request=1e6)
    async with listen(echo, limits=limits, app=slow) as port, raw(port, upgraded=False) as one:
        await asyncio.get_running_loop().sock_sendall(one, request("/healthz"))
        await inside.wait()
        async with raw(port, upgraded=False) as late:
            await ended(late)  # so the seconds of a header are over
        leave.set()
        assert b"200 OK" in await ended(one)


async def test_what_an_application_raises_is_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async with listen(echo, app=broken) as port, raw(port, upgraded=False) as one:
        await asyncio.get_running_loop().sock_sendall(one, request("/", "Connection: close"))
        assert b"500 Internal" in await ended(one)
    assert "ZeroDivisionError" in caplog.text


# Strangers among links


class Asking:
    """A service that has each link say who it is, in one message."""

    def __init__(self) -> None:
        self.links: list[Any] = []
        self.heard: list[bytes] = []
        self.leave = asyncio.Event()

    async def __call__(self, link: Any) -> None:
        link.stranger(True)
        self.links.append(link)
        self.heard.append(await link.receive())
        link.stranger(False)
        await link.send(b"welcome")
        self.heard.append(await link.receive())
        await self.leave.wait()


@pytest.fixture
def asking() -> Asking:
    return Asking()


async def test_a_stranger_s_message_is_small(asking: Asking) -> None:
    """Row 5: the last that may be is heard, and of one that is longer its announced length is
    enough."""
    limits = Limits(stranger=1000)
    async with listen(asking, limits=limits) as port:
        async with raw(port) as one:
            head = b"\x82\xfe" + (1001).to_bytes(2) + bytes(4)
            await asyncio.get_running_loop().sock_sendall(one, head)
            assert b"\x88" in await ended(one)
        link = await connect(f"ws://{HERE}:{port}")
        await link.send(bytes(1000))
        assert await link.receive() == b"welcome"
        await link.send(bytes(1 << 20))
        await until(lambda: len(asking.heard) == 2)
        asking.leave.set()
        await link.close()
    assert [len(one) for one in asking.heard] == [1000, 1 << 20]


async def test_what_follows_at_once_is_no_stranger_s(asking: Asking) -> None:
    """A client of several servers says hello and goes on, and nobody answers it in between."""
    async with listen(asking, limits=Limits(stranger=1000)) as port, raw(port) as one:
        first = b"\x82\x81" + bytes(4) + b"x"
        head = b"\x82\xff" + (1 << 20).to_bytes(8) + bytes(4)
        await asyncio.get_running_loop().sock_sendall(one, first + head + bytes(1 << 20))
        await until(lambda: len(asking.heard) == 2)
        asking.leave.set()
        await ended(one)
    assert [len(one) for one in asking.heard] == [1, 1 << 20]


async def test_links_that_have_not_said_who_they_are_have_a_stranger_s_place(
    asking: Asking,
) -> None:
    """Row 69: one count for all of them, from the accept to the end of the greeting."""
    async with listen(asking, limits=Limits(passing=2, opening=1e6)) as port:
        known = await connect(f"ws://{HERE}:{port}")
        await known.send(b"me")
        assert await known.receive() == b"welcome"
        async with raw(port) as silent, raw(port, upgraded=False), raw(port, upgraded=False):
            await ended(silent)
        await known.send(b"still here")
        await until(lambda: b"still here" in asking.heard)
        asking.leave.set()
        await known.close()


async def test_a_link_that_was_let_go_is_cut_whether_it_was_known_or_not() -> None:
    """With its socket it would stay a stranger for ever."""

    async def dismiss(link: Any) -> None:
        link.stranger(True)

    doors = Watched(Limits(leaving=0.05))
    async with door.listen(dismiss, doors=doors) as port, raw(port):
        await until(lambda: doors.gone)


async def test_when_all_links_are_known_a_newcomer_is_told_to_come_again(asking: Asking) -> None:
    """Row 69: before anything of a link is made for it. Who watches the server is answered, and
    once a link is free it may come."""
    app = App()
    async with listen(asking, limits=Limits(links=1), app=app) as port:
        url = f"ws://{HERE}:{port}{LINK}"
        known = await connect(url)
        await known.send(b"me")
        assert await known.receive() == b"welcome"
        with pytest.raises(InvalidStatus) as refused:
            await raw_connect(url)
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        with pytest.raises(TransportError, match="503"):
            await connect(url)
        async with raw(port, upgraded=False) as one:
            said = request("/healthz", "Connection: close")
            await asyncio.get_running_loop().sock_sendall(one, said)
            assert b"200 OK" in await ended(one)
        asking.leave.set()
        await known.send(b"bye")
        with pytest.raises(LinkClosed):
            await known.receive()
        await known.close()
        await (await connect(url)).close()
    assert len(asking.links) == 2


async def test_two_listeners_share_no_memory(authority: Authority) -> None:
    """Each may be another thread's, and a thread that reads from a socket lets the others run."""
    rooms: list[memoryview] = []

    async def look(link: Any) -> None:
        rooms.append(link._entrance.room)

    async with AsyncExitStack() as stack:
        for tls in (None, authority.issued(HERE).load()):
            port = await stack.enter_async_context(listen(look, tls=tls))
            for _ in range(2):
                link = await connect(f"{'wss' if tls else 'ws'}://{HERE}:{port}")
                with pytest.raises(LinkClosed):
                    await link.receive()
    assert [len(one) for one in rooms] == [RECEIVED] * 4
    assert len({id(one) for one in rooms}) == 2
