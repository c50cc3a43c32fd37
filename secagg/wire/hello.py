"""The first frames on a server's link: who speaks, for which task (specs/01-wire.md §7).

Clients are nobody in particular: what they say is sealed. Servers prove to each other who they are,
by the signature keys of the committee, and a collector proves to each that it has the collector's
key, which opens what the server sealed to it. Where clients of one server sign, a client proves its
place in the roster, and the server that it is the roster's. Whoever comes to a service proves a
key, in a role and for a task, and the service its own. No proof is bound to the channel: whoever
can change what a link carries can let two parties greet each other and then speak for either, so
links are loopback or TLS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from secagg.arguments import octets, settle, text
from secagg.crypto import hpke, labels, sign
from secagg.errors import (
    BadTag,
    ParameterError,
    RemoteProtocolError,
    TooLarge,
    UnknownVersion,
    WireError,
)
from secagg.rights import ServiceRole
from secagg.shown import short
from secagg.types import Buffer, PartyId, Role
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, VERSION

HELLO, PROOF, CHALLENGE, ANSWER, MEMBER, GREETING, CALLER, REPLY = 4, 5, 6, 7, 8, 9, 10, 11
CHALLENGE_SIZE = 32
SEALED_SIZE = CHALLENGE_SIZE + hpke.OVERHEAD
LARGEST = 2 + NONCE_SIZE + DIGEST_SIZE + 2 + CHALLENGE_SIZE
"""Bytes of a hello; a server reads nothing larger before it is known who speaks."""
_MEMBER_SIZE = 2 + NONCE_SIZE + DIGEST_SIZE + 4 + 4 + CHALLENGE_SIZE
MAX_TASK = 64
"""Characters of the name of a service's task."""
MAX_HOST = 253
LARGEST_CALLER = 2 + NONCE_SIZE + DIGEST_SIZE + sign.KEY_SIZE + 1 + 4 + MAX_TASK + CHALLENGE_SIZE
_TASK = re.compile(r"[a-z0-9-]{1,64}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Hello:
    """Who opens or answers a link. index: of a server; 0 of anybody else."""

    task: bytes
    role: Role
    index: int
    challenge: bytes

    __repr__ = short

    def encode(self, nonce: bytes) -> bytes:
        writer = Writer().u8(VERSION).u8(HELLO).raw(nonce).raw(self.task)
        return writer.u8(self.role).u8(self.index).raw(self.challenge).finish()


def decode_hello(data: Buffer, nonce: bytes) -> Hello:
    """WireError for what is none, RemoteProtocolError for another task's nonce."""
    reader = _body(data, HELLO, nonce)
    digest = reader.fixed(DIGEST_SIZE, "task digest")
    role, index = reader.u8("role"), reader.u8("index")
    challenge = reader.fixed(CHALLENGE_SIZE, "challenge")
    reader.finish()
    if role not in set(Role):
        raise WireError(f"role {role} is unknown")
    if index and role != Role.SERVER:
        raise WireError("only servers have an index")
    return Hello(digest, Role(role), index, challenge)


@dataclass(frozen=True, slots=True)
class MemberHello:
    """A member opens a link to the server of its roster. place: what it goes on to prove."""

    roster: bytes
    epoch: int
    place: PartyId
    challenge: bytes

    __repr__ = short

    def encode(self) -> bytes:
        writer = Writer().u8(VERSION).u8(MEMBER).raw(roster_nonce(self.roster)).raw(self.roster)
        return writer.u32(self.epoch).u32(self.place).raw(self.challenge).finish()

    @classmethod
    def decode(cls, data: Buffer, nonce: bytes) -> MemberHello:
        """WireError for what is none, RemoteProtocolError for another roster's nonce."""
        reader = _body(data, MEMBER, nonce, _MEMBER_SIZE)
        digest, epoch = reader.fixed(DIGEST_SIZE, "roster digest"), reader.u32("epoch")
        place = PartyId(reader.u32("place"))
        challenge = reader.fixed(CHALLENGE_SIZE, "challenge")
        reader.finish()
        if roster_nonce(digest) != nonce:  # else one hello would have many heads
            raise RemoteProtocolError("the hello is of another task or roster")
        return cls(digest, epoch, place, challenge)


def roster_nonce(digest: bytes) -> bytes:
    """Of the frames of a member's greeting: 16 bytes of the roster's digest."""
    return digest[:NONCE_SIZE]


def encode_greeting(challenge: bytes, nonce: bytes) -> bytes:
    """What the server of a roster has a member sign: 32 fresh bytes."""
    return Writer().u8(VERSION).u8(GREETING).raw(nonce).raw(challenge).finish()


def decode_greeting(data: Buffer, nonce: bytes) -> bytes:
    """The challenge. WireError; RemoteProtocolError for another roster's."""
    return _only(_body(data, GREETING, nonce), CHALLENGE_SIZE)


def encode_proof(signature: bytes, nonce: bytes) -> bytes:
    """nonce: 16 bytes of the task. signature: 64 bytes over both challenges."""
    return Writer().u8(VERSION).u8(PROOF).raw(nonce).raw(signature).finish()


def decode_proof(data: Buffer, nonce: bytes) -> bytes:
    """The signature, unchecked. WireError; RemoteProtocolError for another task's."""
    return _only(_body(data, PROOF, nonce), sign.SIGNATURE_SIZE)


def encode_challenge(sealed: bytes, nonce: bytes) -> bytes:
    """sealed: 32 fresh bytes, sealed to the collector's key; 80 in all."""
    return Writer().u8(VERSION).u8(CHALLENGE).raw(nonce).raw(sealed).finish()


def decode_challenge(data: Buffer, nonce: bytes) -> bytes:
    """What is sealed, unopened. WireError; RemoteProtocolError for another task's."""
    return _only(_body(data, CHALLENGE, nonce, LARGEST + hpke.OVERHEAD), SEALED_SIZE)


def encode_answer(opened: bytes, nonce: bytes) -> bytes:
    """opened: the 32 bytes that were sealed."""
    return Writer().u8(VERSION).u8(ANSWER).raw(nonce).raw(opened).finish()


def decode_answer(data: Buffer, nonce: bytes) -> bytes:
    """What the collector has opened, unchecked. WireError; RemoteProtocolError as above."""
    return _only(_body(data, ANSWER, nonce), CHALLENGE_SIZE)


@dataclass(frozen=True)
class Service:
    """name: its DNS name, in lower case, or an IPv4 address. key: its Ed25519 key, 32 bytes.

    Raises ParameterError, InvalidKey.
    """

    name: str
    key: bytes

    __repr__ = short

    def __post_init__(self) -> None:
        settle(self, name=text("name", self.name), key=octets("key", self.key))
        if len(self.name) > MAX_HOST or not _HOST.fullmatch(self.name):
            raise ParameterError(
                "a service's name is a DNS name in lower case, such as sum.hospital.example, of "
                f"at most {MAX_HOST} characters"
            )
        sign.check_public(self.key)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes, which all that is signed for this service has in it."""
        return labels.digest(labels.SERVICE, self.name.encode("ascii"), self.key)

    @property
    def nonce(self) -> bytes:
        """Of the frames of a greeting: 16 bytes of the digest."""
        return self.digest[:NONCE_SIZE]


def check_task(name: str) -> str:
    """The name of a service's task, or ParameterError."""
    if not _TASK.fullmatch(text("the name of a task", name)):
        raise ParameterError(
            f"a task's name has 1 to {MAX_TASK} characters, which are lower-case letters, digits "
            "and hyphens"
        )
    return name


@dataclass(frozen=True, slots=True)
class CallerHello:
    """Somebody opens a link to a service. key: which it goes on to prove. task: its name there."""

    service: bytes
    key: bytes
    role: ServiceRole
    task: str
    challenge: bytes

    __repr__ = short

    def encode(self) -> bytes:
        writer = Writer().u8(VERSION).u8(CALLER).raw(self.service[:NONCE_SIZE]).raw(self.service)
        writer.raw(self.key).u8(self.role).prefixed(self.task.encode("ascii"))
        return writer.raw(self.challenge).finish()

    @classmethod
    def decode(cls, data: Buffer, nonce: bytes) -> CallerHello:
        """WireError for what is none, RemoteProtocolError for another service's nonce. What the key
        is worth, nobody has asked yet."""
        reader = _body(data, CALLER, nonce, LARGEST_CALLER)
        digest = reader.fixed(DIGEST_SIZE, "service digest")
        key, role = reader.fixed(sign.KEY_SIZE, "key"), reader.u8("role")
        task = reader.prefixed(MAX_TASK, "task").decode("latin-1")
        challenge = reader.fixed(CHALLENGE_SIZE, "challenge")
        reader.finish()
        if role not in set(ServiceRole):
            raise WireError(f"role {role} is unknown")
        if not _TASK.fullmatch(task):
            raise WireError("the name of a task has another character than it may")
        if digest[:NONCE_SIZE] != nonce:  # or there were two encodings of what differs nowhere else
            raise RemoteProtocolError("the hello is of another service")
        return cls(digest, key, ServiceRole(role), task, challenge)


def encode_reply(challenge: bytes, nonce: bytes) -> bytes:
    """What a service has whoever came sign: 32 fresh bytes."""
    return Writer().u8(VERSION).u8(REPLY).raw(nonce).raw(challenge).finish()


def decode_reply(data: Buffer, nonce: bytes) -> bytes:
    """The challenge. WireError; RemoteProtocolError for another service's."""
    return _only(_body(data, REPLY, nonce), CHALLENGE_SIZE)


def _only(reader: Reader, size: int) -> bytes:
    body = reader.fixed(size, "body")
    reader.finish()
    return body


def _body(data: Buffer, kind: int, nonce: bytes, most: int = LARGEST) -> Reader:
    """The reader behind a checked head."""
    if len(data) > most:
        raise TooLarge(f"a frame of {len(data)} bytes in a handshake, and the limit is {most}")
    reader = Reader(data)
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(f"frame version {version}; this side speaks version {VERSION} only")
    if (found := reader.u8("kind")) != kind:
        raise BadTag(f"frame kind {found} where kind {kind} is due")
    if reader.fixed(NONCE_SIZE, "task nonce") != nonce:
        raise RemoteProtocolError("the hello is of another task, roster or service")
    return reader
