"""The proxy that the environment names, and what is in its URL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from secagg.errors import ParameterError, TransportError
from secagg.rounds.offer import Contribution, Offer
from secagg.service.serving import opened
from secagg.service.trial import TRIAL
from secagg.service.web import Asked, Proxy, ask, proxy_of, trust
from secagg.transport import websocket
from tests.service.place import LEAST, Place, attend, call, enrol, given, site, waiting_for

SECRET = "pa:ss w0rd"
NAMED = "user:pa%3Ass%20w0rd@"


@dataclass
class Tunnels:
    """A proxy in this process. open: how many it opens; further ones hear 407."""

    port: int = 0
    open: int = 100
    seen: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(head)
        if len(self.seen) > self.open:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        host, port = head.split()[1].split(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.writers += [writer, back]
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))

    def cut(self) -> None:
        """Every tunnel that there is."""
        for writer in self.writers:
            writer.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch, who: str = NAMED) -> AsyncIterator[Tunnels]:
    made = Tunnels()
    server = await asyncio.start_server(made.tunnel, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://{who}127.0.0.1:{made.port}")
    try:
        yield made
    finally:
        server.close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


async def test_links_and_requests_go_through_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    heard = list[str]()
    async with opened(place.config()) as serving, proxied(monkeypatch) as tunnels:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        one = call(site(serving, 1), 1, lambda offer: given(1), told=heard.append)
        ends = await asyncio.gather(one, *(attend(serving, n) for n in range(2, LEAST + 1)))
        assert all(outcome.included for (outcome,) in ends)
        asked, context = Asked(serving.url, "GET", "/healthz"), trust(place.folder / "tls" / TRIAL)
        assert (await asyncio.to_thread(ask, asked, context, 10.0))[0] == 200
        monkeypatch.setenv("no_proxy", "localhost")
        assert (await asyncio.to_thread(ask, asked, context, 10.0))[0] == 200
        assert len(tunnels.seen) == LEAST + 1
        who = base64.b64encode(f"user:{SECRET}".encode()).decode()
        for head in tunnels.seen:
            assert head.startswith(f"CONNECT localhost:{serving.ports[0]} HTTP/1.")
            assert f"proxy-authorization: basic {who}".lower() in head.lower()
        by = f"the proxy 127.0.0.1:{tunnels.port}"
        assert heard[0] == f"connected to {serving.url} by {by}: waiting for a round"
    assert SECRET not in caplog.text and who not in caplog.text and "pa%3A" not in caplog.text


async def test_row_70_a_proxy_that_cuts_a_link_amid_a_round_costs_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, more, heard = asyncio.Event(), asyncio.Event(), list[str]()

    async def inputs(offer: Offer) -> Contribution:
        asked.set()
        await more.wait()
        return given(1)

    async with opened(place.config()) as serving, proxied(monkeypatch) as tunnels:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        one = asyncio.create_task(call(site(serving, 1), 1, inputs, told=heard.append))
        await waiting_for(serving, 1)
        monkeypatch.setenv("no_proxy", "localhost")
        others = [asyncio.create_task(attend(serving, n)) for n in range(2, LEAST + 1)]
        async with asyncio.timeout(60):
            await asked.wait()
            tunnels.cut()
            while len([said for said in heard if said.startswith("connected")]) < 2:
                await asyncio.sleep(0.01)
            more.set()
            ends = await asyncio.gather(one, *others)
        assert all(outcome.included for (outcome,) in ends)
        (result,) = serving.books.results.all()
        assert (result.contributors, result.dropped) == (LEAST, 0)


async def test_one_that_refuses_is_named_without_its_password(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(place.config()) as serving, proxied(monkeypatch) as tunnels:
        tunnels.open = 0
        await enrol(serving, 1)
        with pytest.raises(TransportError, match="407") as link:
            await attend(serving, 1, timeout=0.1)
        asked, context = Asked(serving.url, "GET", "/healthz"), trust(place.folder / "tls" / TRIAL)
        with pytest.raises(
            TransportError, match=f"by the proxy 127.0.0.1:{tunnels.port}.*407"
        ) as http:
            await asyncio.to_thread(ask, asked, context, 10.0)
    for error in (link, http):
        assert "pa" not in str(error.value).replace("path", "") and "user" not in str(error.value)


def test_which_one_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://sum.hospital.example"
    assert proxy_of(url) is None
    monkeypatch.setenv("all_proxy", "proxy.example:3128")
    assert proxy_of(url) == Proxy("proxy.example", 3128)
    monkeypatch.setenv("https_proxy", f"http://{NAMED}[::1]")
    found = proxy_of(url)
    assert found == Proxy("::1", 80, "user", SECRET)
    assert found is not None and found.url == f"http://{NAMED}[::1]:80"
    assert SECRET not in repr(found) and "user" not in repr(found)
    for names, bypassed in ((".hospital.example", True), ("*", True), ("other.example", False)):
        monkeypatch.setenv("no_proxy", names)
        assert (proxy_of(url) is None) == bypassed


@pytest.mark.parametrize(
    "named", ["socks5://a:1", f"https://{NAMED}a", "http://a:b:c", "http://", "http://a/path"]
)
def test_one_that_cannot_be_used(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(ParameterError, match="no http://HOST:PORT") as error:
        proxy_of("https://a.example")
    assert "w0rd" not in str(error.value)


@pytest.mark.parametrize("given", [f"socks5://{NAMED}a", "http://user@a"])
async def test_a_link_s_own_proxy_is_checked(given: str) -> None:
    with pytest.raises(ParameterError, match="a proxy is http://HOST:PORT") as error:
        await websocket.connect("wss://127.0.0.1:9", proxy=given)
    assert "w0rd" not in str(error.value) and "user" not in str(error.value)
