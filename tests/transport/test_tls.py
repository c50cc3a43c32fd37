"""Links under TLS: the platform's own, and never without the check of who is at the other end."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from secagg.errors import TransportError
from secagg.transport.websocket import connect
from tests.authority import DAY, Authority


@dataclass
class Served:
    """port: of a WebSocket server. met: links that it got."""

    port: int
    met: int = 0


@asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[Served]:
    """A WebSocket server on loopback that returns what it hears."""

    async def echo(connection: ServerConnection) -> None:
        served.met += 1
        await connection.send(await connection.recv())

    served = Served(0)
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        served.port = next(iter(server.sockets)).getsockname()[1]
        yield served


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The only one that this process trusts."""
    made = Authority.made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


async def test_a_server_with_its_certificate_is_linked(authority: Authority) -> None:
    context = authority.server("127.0.0.1", datetime.now(UTC) + DAY)
    async with serving(context) as served:
        link = await connect(f"wss://127.0.0.1:{served.port}")
        await link.send(b"sealed")
        assert await link.receive() == b"sealed"
        await link.close()


@pytest.mark.parametrize(
    ("host", "days", "why"),
    [
        ("192.0.2.1", 1, "address mismatch"),
        ("127.0.0.1", -1, "expired"),
        ("127.0.0.1", 5, "not yet valid"),
    ],
)
async def test_row_66_certificates_of_others_and_of_other_days(
    authority: Authority, host: str, days: int, why: str
) -> None:
    """The link ends in the handshake: nobody behind it hears of it."""
    async with serving(authority.server(host, datetime.now(UTC) + days * DAY)) as served:
        with pytest.raises(TransportError, match=f"(?i){why}"):
            await connect(f"wss://127.0.0.1:{served.port}")
        assert not served.met


async def test_row_66_an_authority_that_nobody_knows(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority.made(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.path))
    async with serving(authority.server("127.0.0.1", datetime.now(UTC) + DAY)) as served:
        with pytest.raises(TransportError, match="certificate verify failed"):
            await connect(f"wss://127.0.0.1:{served.port}")
        assert not served.met


async def test_row_66_a_server_that_speaks_no_tls() -> None:
    async with serving(None) as served:
        with pytest.raises(TransportError):
            await connect(f"wss://127.0.0.1:{served.port}")
        assert not served.met


async def test_row_66_versions_before_1_2() -> None:
    """What a client offers is what the platform's default offers, and that begins with 1.2."""
    assert ssl.create_default_context().minimum_version >= ssl.TLSVersion.TLSv1_2
