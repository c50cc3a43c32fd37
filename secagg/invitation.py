"""Invitations to a service: one line of text, what accepts it, and what renews a key
(specs/51-admission.md §2).

The token of an invitation is the seed of a key. Who accepts signs its own key with it, so the token
itself goes nowhere: a proxy that reads the request can put no other key into it, and a register
that is stolen, which has the public half, lets nobody in.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import cached_property

from secagg.arguments import instance, octets, settle, text
from secagg.crypto import labels, sign
from secagg.errors import (
    InputError,
    InvalidSignature,
    ParameterError,
    TrailingBytes,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.roster import MAX_ENROLMENT, MAX_NAME, Enrolment, check_name
from secagg.shown import short
from secagg.types import Buffer, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.hello import Service

VERSION = 1
PREFIX = "secagg1-"
TOKEN_SIZE = 16
MAX_URL = 300
_SUM = 4
"""Bytes at the end that a slip of the pen does not keep: of 2^32, one."""
_DIGEST = 32
PUBLIC_PKI = bytes(_DIGEST)
"""In the place of a CA: the service's certificate is one that every system trusts."""
MAX_ACCEPTANCE = 1 + sign.KEY_SIZE + sign.SIGNATURE_SIZE + 4 + MAX_ENROLMENT
MAX_RENEWAL = MAX_ACCEPTANCE
_URL = re.compile(r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?(/[!-~]*)?")
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}")
_ALPHABET = re.compile(r"[a-z2-7]*")


class Token(Seed):
    """16 secret bytes, good for one enrolment; shown and compared as a Seed is."""

    __slots__ = ()
    SIZE = TOKEN_SIZE

    def ticket(self, service: Service) -> Seed:
        """The seed of the key that accepts with this token, at this service only."""
        return Seed(labels.digest(labels.TICKET, service.digest, self.expose()))


@dataclass(frozen=True)
class Invitation:
    """What a service's administrator gives to one whom it wants. url: where the service is, whose
    name is the host in it. key: the service's. ca: SHA-256 of the certificate of the CA that
    vouches for it, or PUBLIC_PKI. name: of who is invited. token: secret.

    Raises ParameterError, InvalidKey.
    """

    url: str
    key: bytes
    ca: bytes
    name: str
    token: Token = field(repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            url=text("url", self.url),
            key=octets("key", self.key),
            ca=octets("ca", self.ca, _DIGEST),
            name=check_name(self.name),
            token=instance("token", self.token, Token),
        )
        self.service  # noqa: B018 - so that there is no value of one whose URL has no host

    @cached_property
    def service(self) -> Service:
        """Whom the URL and the key are of."""
        found = _URL.fullmatch(self.url)
        if found is None or len(self.url) > MAX_URL or int(found[3] or 1) >> 16:
            raise ParameterError(
                f"the URL of a service is https://HOST, https://HOST:PORT or one with a path, in "
                f"at most {MAX_URL} characters, its host in lower case"
            )
        if found[1] == "http" and not _LOOPBACK.fullmatch(found[2]):
            raise ParameterError("without TLS, http://, a service is on this machine only")
        return Service(found[2], self.key)

    def encode(self) -> str:
        """The code: text to be passed on, in lower case and digits, whose end tells a slip."""
        writer = Writer().prefixed(self.url.encode("ascii")).raw(self.key).raw(self.ca)
        writer.prefixed(self.name.encode("ascii")).raw(self.token.expose())
        body = writer.finish()
        return PREFIX + _letters(body + _sum(body))

    @classmethod
    def decode(cls, code: str) -> Invitation:
        """Raises InputError, which says what is wrong and never shows the code; ParameterError or
        InvalidKey for one that no service makes."""
        data = _data(text("a code", code))
        body, own = data[:-_SUM], data[-_SUM:]
        try:
            if _sum(body) != own:
                _read(data)  # whether it is the end that is missing
                raise InputError(
                    "the code has a wrong character somewhere, or lacks one: copy it once more, as "
                    "a whole"
                )
            return cls(*_read(body + own))
        except Truncated:
            raise InputError("the end of the code is missing: copy it as a whole") from None
        except TrailingBytes:
            raise InputError("there is more behind the code than belongs to it") from None
        except WireError:
            raise InputError(
                "the code has a wrong character near its beginning: copy it once more"
            ) from None

    def accept(self, signing: Seed) -> Acceptance:
        """signing: the seed of the key that is to be enrolled."""
        ticket = self.token.ticket(self.service)
        return Acceptance.make(self.service, ticket, Enrolment.make(self.name, signing))


@dataclass(frozen=True)
class Acceptance:
    """An invitation is accepted: ticket: the public key of the token, by which it is found.
    request: of whose name and key (specs/14-roster.md §2). signature: by the ticket, over the
    service and the key. What `check` has not seen is worth nothing."""

    ticket: bytes
    request: Enrolment
    signature: bytes

    __repr__ = short

    @classmethod
    def make(cls, service: Service, ticket: Seed, request: Enrolment) -> Acceptance:
        """ticket: the seed of it."""
        public = sign.public_key(ticket)
        said = labels.encode(labels.SIGN_ACCEPTANCE, service.digest, public, request.key)
        return cls(public, request, sign.sign(ticket, said))

    def check(self, service: Service) -> None:
        """Raises InvalidSignature unless who has the token says this key, to this service."""
        said = labels.encode(labels.SIGN_ACCEPTANCE, service.digest, self.ticket, self.request.key)
        sign.verify(self.ticket, said, self.signature)

    def encode(self) -> bytes:
        return _encoded(self.ticket, self.signature, self.request)

    @classmethod
    def decode(cls, data: Buffer) -> Acceptance:
        """Raises WireError and what Enrolment raises; that it is the token's, `check` says."""
        ticket, signature, request = _decoded("an acceptance", data)
        return cls(ticket, request, signature)


@dataclass(frozen=True)
class Renewal:
    """The owner of a key has another from now on: request: of the name, and the new key. old: the
    key until now. signature: by the old one, over the service and both."""

    old: bytes
    request: Enrolment
    signature: bytes

    __repr__ = short

    @classmethod
    def make(cls, service: Service, old: Seed, request: Enrolment) -> Renewal:
        """old: the seed of the key until now. request: signed by the new one."""
        public = sign.public_key(old)
        said = labels.encode(labels.SIGN_RENEWAL, service.digest, public, request.key)
        return cls(public, request, sign.sign(old, said))

    def check(self, service: Service) -> None:
        """Raises InvalidSignature unless who has the old key says the new one, to this service."""
        said = labels.encode(labels.SIGN_RENEWAL, service.digest, self.old, self.request.key)
        try:
            sign.verify(self.old, said, self.signature)
        except InvalidSignature:
            raise InvalidSignature("a renewal is not signed by the owner of the old key") from None

    def encode(self) -> bytes:
        return _encoded(self.old, self.signature, self.request)

    @classmethod
    def decode(cls, data: Buffer) -> Renewal:
        """Raises WireError and what Enrolment raises; that it is the owner's, `check` says."""
        old, signature, request = _decoded("a renewal", data)
        return cls(old, request, signature)


def _encoded(key: bytes, signature: bytes, request: Enrolment) -> bytes:
    """Canonical: u8 version, the key that signs, its signature, prefixed request."""
    writer = Writer().u8(VERSION).raw(key).raw(signature)
    return writer.prefixed(request.encode()).finish()


def _decoded(what: str, data: Buffer) -> tuple[bytes, bytes, Enrolment]:
    reader = Reader(octets(what, data))
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(f"{what} of version {version}; this code speaks version {VERSION}")
    key, signature = reader.fixed(sign.KEY_SIZE, "key"), reader.fixed(sign.SIGNATURE_SIZE, "proof")
    request = reader.prefixed(MAX_ENROLMENT, "request")
    reader.finish()
    return key, signature, Enrolment.decode(request)


def _data(code: str) -> bytes:
    """The bytes of a code, unchecked but for its letters, of which each stands in one way."""
    if not code.startswith(PREFIX):
        other = re.match(r"secagg[0-9]+-", code)
        raise InputError(
            "this code is of another version: use the release that the service has"
            if other
            else f"this is no code of an invitation: one begins with {PREFIX}"
        )
    letters = code[len(PREFIX) :]
    good = _ALPHABET.match(letters)
    if good is None or good.end() != len(letters):
        at = len(PREFIX) + (0 if good is None else good.end()) + 1
        raise InputError(
            f"character {at} of the code is none that occurs in one, which are a to z and 2 to 7"
        )
    try:
        data = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except binascii.Error:
        raise InputError("the code has a letter too few or too many: copy it as a whole") from None
    if _letters(data) != letters or len(data) < _SUM:
        raise InputError("the end of the code is missing or wrong: copy it as a whole")
    return data


def _read(data: bytes) -> tuple[str, bytes, bytes, str, Token]:
    reader = Reader(data)
    url = reader.prefixed(MAX_URL, "URL").decode("latin-1")
    key, ca = reader.fixed(sign.KEY_SIZE, "key"), reader.fixed(_DIGEST, "CA")
    name = reader.prefixed(MAX_NAME, "name").decode("latin-1")
    token = Token(reader.fixed(TOKEN_SIZE, "token"))
    reader.fixed(_SUM, "sum")
    reader.finish()
    return url, key, ca, name, token


def _letters(data: bytes) -> str:
    """Base32 without padding: no letter that is read for another, or that a mail breaks at."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _sum(body: bytes) -> bytes:
    return labels.digest(labels.CODE, body)[:_SUM]
