"""Certificates of an authority of one's own, for tests."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from secagg.transport.tls import TLS

DAY = timedelta(days=1)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Authority:
    """Signs certificates of servers and clients, and is known to whoever trusts `path`."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    folder: Path

    @classmethod
    def made(cls, folder: Path, until: datetime | None = None) -> Authority:
        folder.mkdir(exist_ok=True)
        name = _named("an authority")
        one = cls(ec.generate_private_key(ec.SECP256R1()), name, folder)
        root = one._builder(name, one.key, until or datetime.now(UTC) + DAY)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # an interpreter of 3.13 on is strict: an authority says that it may sign
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True}
        root = root.add_extension(x509.KeyUsage(**usage), critical=True)
        one.path.write_bytes(one._signed(root))
        return one

    @property
    def path(self) -> Path:
        return self.folder / "authority.pem"

    def issued(
        self, host: str, until: datetime | None = None, *, name: str = "one", secret: str = ""
    ) -> TLS:
        """The files of whoever is called `host`, an address. secret: the key's passphrase."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = self._builder(_named(name), key, until or datetime.now(UTC) + DAY)
        files = TLS(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files.certificate.write_bytes(self._signed(builder.add_extension(names, critical=False)))
        sealed: KeySerializationEncryption = NoEncryption()
        if secret:
            sealed = BestAvailableEncryption(secret.encode())
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        files.key.chmod(0o600)
        return files

    def server(self, host: str, until: datetime) -> ssl.SSLContext:
        """What another server than ours has that is called `host`."""
        files = self.issued(host, until)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        return context

    def client(self, files: TLS | None = None) -> ssl.SSLContext:
        """Of whoever trusts this authority. files: what it shows of itself."""
        context = ssl.create_default_context(cafile=self.path)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
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


def _named(what: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, what)])
