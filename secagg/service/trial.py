"""A certificate authority for a trial: one that only those trust who were given its fingerprint.

An organisation that has an authority of its own, or a public name, uses that. This is for the day
before it has: the authority's key lies beside the server's, for its owner alone, so that the
server's certificate can be renewed without that anybody has to be told of another authority.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secagg.errors import InputError
from secagg.shown import short

_Key: TypeAlias = ec.EllipticCurvePrivateKey

TRIAL = "trial-ca.pem"
"""Name of the authority's certificate, beside the server's chain."""
AUTHORITY_DAYS, SERVER_DAYS = 3650, 397
"""How long each is valid; the second is the longest that browsers take of a public authority."""
_EARLIER = timedelta(hours=1)
"""Before now, from when on they are: clocks differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """certificate, key: PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    __repr__ = short

    @classmethod
    def new(cls, name: str, now: datetime) -> Authority:
        """name: of the service's host, which its own name says, so that people can tell two."""
        key = ec.generate_private_key(ec.SECP256R1())
        called = _called(f"secagg trial authority of {name}"[:64])
        made = _begun(called, called, key, now, AUTHORITY_DAYS)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(_pem(made.sign(key, hashes.SHA256())), _secret(key))

    def issue(self, name: str, now: datetime) -> tuple[bytes, bytes]:
        """The chain and the key of a server of that name, PEM. Raises InputError for an authority
        that is damaged."""
        try:
            issuer = x509.load_pem_x509_certificate(self.certificate)
            signing = serialization.load_pem_private_key(self.key, None)
        except (ValueError, TypeError):
            raise InputError("the trial authority's files are damaged: put them back") from None
        if not isinstance(signing, ec.EllipticCurvePrivateKey):
            raise InputError("the trial authority's key is of another kind than it was made with")
        key = ec.generate_private_key(ec.SECP256R1())
        made = _begun(_called(name[:64]), issuer.subject, key, now, SERVER_DAYS)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (_usage(signs_certificates=False), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False),
        ):
            made = made.add_extension(extension, critical=critical)
        return _pem(made.sign(signing, hashes.SHA256())) + self.certificate, _secret(key)


def expires(chain: bytes) -> datetime:
    """Of the first certificate of a PEM file, in UTC. InputError for what is none."""
    try:
        return x509.load_pem_x509_certificate(chain).not_valid_after_utc
    except ValueError:
        raise InputError("there is no certificate of PEM in it") from None


def names(chain: bytes) -> list[str]:
    """Of hosts, in the first certificate of a PEM file. InputError for what is none."""
    try:
        found = x509.load_pem_x509_certificate(chain).extensions
        hosts = found.get_extension_for_class(x509.SubjectAlternativeName).value
        return hosts.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        return []
    except ValueError:
        raise InputError("there is no certificate of PEM in it") from None


def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of the DER of the first certificate of a PEM file: what clients are told."""
    try:
        return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256())
    except ValueError:
        raise InputError("there is no certificate of PEM in it") from None


def _begun(
    subject: x509.Name, issuer: x509.Name, key: _Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - _EARLIER).not_valid_after(now + timedelta(days=days))
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return made.add_extension(own, critical=False)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        **dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment"),
                *("key_agreement", "encipher_only", "decipher_only"),
            ),
            False,
        ),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _secret(key: _Key) -> bytes:
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, plain)
