"""What a listening server shows of itself under TLS, and whom it asks for the same.

1.3 and nothing older: its every cipher keeps what was said yesterday from whoever steals the key
today, and has no compression and no renegotiation that would have to be forbidden. No tickets: a
link lasts for many rounds, so that a handshake saved is worth less than the state of all of them.
"""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from secagg.errors import InputError, ParameterError
from secagg.store.files import open_to_others

if TYPE_CHECKING:  # loaded by whoever listens under TLS
    from cryptography.x509 import Certificate

_LARGEST = 1 << 20
"""Bytes of a file: a chain has some thousands, and an authority's bundle is smaller than that."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class TLS:
    """Files in PEM. certificate: the server's own, and after it those between it and its authority.
    key: of the first of them, not encrypted, and open to nobody else. client_ca: whoever has no
    certificate of one of these authorities has no link; None asks for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        for name, path in (("certificate", self.certificate), ("key", self.key)):
            _is_path(name, path)
        if self.client_ca is not None:
            _is_path("client_ca", self.client_ca)

    def load(self, now: float | None = None) -> Credentials:
        """Reads all of them. now: seconds since 1970; None asks the clock of the machine, by which
        clients judge as well.

        Raises InputError, which names the file, for one that is missing, holds something else, is
        encrypted or open to others, for a key of another certificate, and for certificates before
        or after their time.
        """
        return Credentials(self, time.time() if now is None else now)


class Credentials:
    """Files of TLS as they were when they were read last. Handshakes that have begun, and links,
    go on with those that they began with."""

    def __init__(self, files: TLS, now: float) -> None:
        self.files = files
        self.context, self.expires = _read(files, now)
        """What handshakes begin with from now on; and until when its certificates are good, in
        seconds since 1970."""

    def become(self, other: Credentials) -> None:
        """As of other files, which are read already."""
        self.files, self.context, self.expires = other.files, other.context, other.expires

    def reload(self, now: float | None = None) -> None:
        """Reads the files again. Raises as `TLS.load`, and leaves all as it is.

        A new context, not the old one filled again: that would go on to trust the authorities that
        were taken out, and half of it would be new where the key does not fit.
        """
        self.context, self.expires = _read(self.files, time.time() if now is None else now)


def ends(certificate: bytes) -> float:
    """Until when a certificate is good, in seconds since 1970; in DER, as a handshake has shown."""
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _is_path(name: str, path: object) -> None:
    if not isinstance(path, Path):
        raise ParameterError(f"{name} must be a Path, not a {type(path).__name__}")


def _read(files: TLS, now: float) -> tuple[ssl.SSLContext, float]:
    chain = _certificates(files.certificate)
    for number, one in enumerate(chain, start=1):
        if (wrong := _untimely(one, now)) is not None:
            raise InputError(f"{files.certificate}: certificate {number} of it {wrong}")
    _check_key(files, chain[0])
    context = _context()
    try:
        # a key that was encrypted meanwhile is not asked about at the terminal
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InputError(
            f"OpenSSL refuses {files.certificate} with {files.key}: {_reason(error)}"
        ) from None
    if files.client_ca is not None:
        _ask_clients(context, files.client_ca, now)
    return context, min(one.not_valid_after_utc.timestamp() for one in chain)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= (
        ssl.OP_NO_COMPRESSION
    )  # as 1.3 has it; said for whoever changes the line above
    context.num_tickets = 0
    return context


def _ask_clients(context: ssl.SSLContext, file: Path, now: float) -> None:
    authorities = _certificates(file)
    reasons = [_untimely(one, now) for one in authorities]
    if None not in reasons:
        raise InputError(f"{file}: no authority of it is good now: the first {reasons[0]}")
    try:
        context.load_verify_locations(file)
    except (OSError, ValueError) as error:
        raise InputError(f"OpenSSL refuses {file}: {_reason(error)}") from None
    context.verify_mode = ssl.CERT_REQUIRED


def _certificates(file: Path) -> Sequence[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_bytes_of(file))
    except ValueError:
        raise InputError(f"{file} has no certificate in PEM, or one that is damaged") from None


def _untimely(one: Certificate, now: float) -> str | None:
    begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
    today = datetime.fromtimestamp(now, UTC)
    if today < begins:
        return f"is not valid before {begins:%Y-%m-%d %H:%M} UTC: is the clock right?"
    if today > ends:
        return f"has expired on {ends:%Y-%m-%d %H:%M} UTC: renew it"
    return None


def _check_key(files: TLS, own: Certificate) -> None:
    """OpenSSL would find most of it, and not say which file it is."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        key = load_pem_private_key(_bytes_of(files.key, private=True), None)
        fits = key.public_key().public_bytes(*form) == own.public_key().public_bytes(*form)
    except TypeError:
        raise InputError(
            f"{files.key} is encrypted: a server starts without anybody to ask. Take the "
            "passphrase off, and leave the file to its owner (mode 600)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(f"{files.key} has no private key in PEM, or one that is damaged") from None
    if not fits:
        raise InputError(
            f"{files.key} is not the key of the first certificate in {files.certificate}"
        )


def _bytes_of(file: Path, *, private: bool = False) -> bytes:
    try:
        descriptor = os.open(file, _FLAGS)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a file's name has no NUL character"
        raise InputError(f"{file} cannot be read: {why}") from None
    try:
        status = os.fstat(descriptor)  # of what is read, whatever the name leads to meanwhile
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{file} is not a regular file")
        if private and open_to_others(status):
            mode = stat.S_IMODE(status.st_mode)
            raise InputError(
                f"{file} is open to other users (mode {mode:04o}): chmod it to 600 and, if one of "
                "them may have read it, make another key and have its certificate revoked"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            data = opened.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(data) > _LARGEST:
        raise InputError(f"{file} has more than {_LARGEST} bytes")
    return data


def _reason(error: Exception) -> str:
    """In OpenSSL's words, without the place in its sources."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
