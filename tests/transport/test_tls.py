"""Links under TLS: the platform's own, and never without the check of who is at the other end."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve

from secagg.errors import TransportError
from secagg.transport.websocket import connect

DAY = timedelta(days=1)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Authority:
    """Signs certificates of servers, and is known to a client that trusts `path`."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Authority:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        one = cls(ec.generate_private_key(ec.SECP256R1()), name, folder)
        root = one._builder(name, one.key, datetime.now(UTC) + DAY)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # an interpreter of 3.13 on is strict: an authority says that it may sign
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True}
        root = root.add_extension(x509.KeyUsage(**usage), critical=True)
        one.path.write_bytes(one._signed(root))
        return one

    @property
    def path(self) -> Path:
        return self.folder / "authority.pem"

    def server(self, host: str, until: datetime) -> ssl.SSLContext:
        """What a server has that is called `host`, an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = self._builder(subject, key, until).add_extension(names, critical=False)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file = self.folder / "server.pem"
        file.write_bytes(secret + self._signed(builder))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
    ) -> x509.CertificateBuilder:
        public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder(self.name, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 3 * DAY)
            .not_valid_after(until)
            .add_extension(public, critical=False)
            .add_extension(issuer, critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


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
    (tmp_path / "other").mkdir()
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
