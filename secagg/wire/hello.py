"""The first frames on a server's link: who speaks, for which task (specs/01-wire.md §7).

Clients are nobody in particular: what they say is sealed. Servers prove to each other who they are,
by the signature keys of the committee, and a collector proves to each that it has the collector's
key, which opens what the server sealed to it. No proof is bound to the channel: whoever can change
what a link carries can let two parties greet each other and then speak for either, so links are
loopback or TLS.
"""

from __future__ import annotations

from dataclasses import dataclass

from secagg.crypto import hpke, sign
from secagg.errors import BadTag, RemoteProtocolError, TooLarge, UnknownVersion, WireError
from secagg.shown import short
from secagg.types import Buffer, Role
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, VERSION

HELLO, PROOF, CHALLENGE, ANSWER = 4, 5, 6, 7
CHALLENGE_SIZE = 32
SEALED_SIZE = CHALLENGE_SIZE + hpke.OVERHEAD
LARGEST = 2 + NONCE_SIZE + DIGEST_SIZE + 2 + CHALLENGE_SIZE
"""Bytes of a hello; a server reads nothing larger before it is known who speaks."""


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
        raise RemoteProtocolError("the hello is of another task")
    return reader
