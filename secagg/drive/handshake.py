"""The first frames on a server's link: who speaks, for which task (specs/01-wire.md §7).

Clients and the collector are nobody in particular: what a client says is sealed, and what a
collector gets is sealed to its key. Servers prove to each other who they are, by the signature keys
of the committee. The proof is not bound to the channel: whoever can change what a link carries can
let two servers greet each other and then speak for either, so links are loopback or TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from secagg.crypto import labels, sign
from secagg.crypto.randomness import checked
from secagg.errors import (
    BadTag,
    LinkTimeout,
    RemoteProtocolError,
    TooLarge,
    UnknownVersion,
    WireError,
)
from secagg.plans.task import Task
from secagg.transport.base import Link
from secagg.types import Buffer, PartyId, Randomness, Seed, server_id, system_randomness
from secagg.types import Role as Role
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, VERSION

HELLO, PROOF = 4, 5
CHALLENGE_SIZE = 32
LARGEST = 2 + NONCE_SIZE + DIGEST_SIZE + 2 + CHALLENGE_SIZE
"""Bytes of a hello; nothing larger is read before it is known who speaks."""
TIMEOUT = 10.0
"""Seconds that a handshake may take."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who opens or answers a link. index: of a server; 0 of anybody else."""

    task: bytes
    role: Role
    index: int
    challenge: bytes

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


def decode_proof(data: Buffer, nonce: bytes) -> bytes:
    reader = _body(data, PROOF, nonce)
    signature = reader.fixed(sign.SIGNATURE_SIZE, "signature")
    reader.finish()
    return signature


def anonymous(task: Task, role: Role) -> bytes:
    """The hello of a client or a collector, which nothing answers."""
    return Hello(task.digest(), role, 0, bytes(CHALLENGE_SIZE)).encode(task.nonce())


class Greeter:
    """Says hello for one server, and judges the hellos that it gets.

    Every refusal is an error of its own kind, and the caller closes the link: UnknownVersion,
    BadTag and WireError for bytes that are no hello, RemoteProtocolError for another task or a
    party that has no business here, InvalidSignature, LinkTimeout.
    """

    def __init__(
        self,
        task: Task,
        index: int,
        signing: Seed,
        *,
        randomness: Randomness = system_randomness,
        timeout: float = TIMEOUT,
    ) -> None:
        self._task, self._digest, self._nonce = task, task.digest(), task.nonce()
        self._index, self._signing = index, signing
        self._randomness, self._timeout = checked(randomness), timeout

    async def open(self, link: Link, other: int) -> None:
        """To server `other`, over a link that this side opened."""
        async with _deadline(self._timeout):
            ours = self._hello()
            await link.send(ours.encode(self._nonce))
            theirs = self._judged(decode_hello(await link.receive(), self._nonce))
            if (theirs.role, theirs.index) != (Role.SERVER, other):
                raise RemoteProtocolError(f"server {other} was called, and another party answers")
            said = (ours.challenge, theirs.challenge)
            await link.send(self._proof(other, said))
            self._verify(other, said, decode_proof(await link.receive(), self._nonce))

    async def accept(self, link: Link) -> tuple[Role, PartyId]:
        """Who opened the link; for a client the id is 0. Only the leader calls on other servers."""
        async with _deadline(self._timeout):
            theirs = self._judged(decode_hello(await link.receive(), self._nonce))
            if theirs.role is not Role.SERVER:
                return theirs.role, PartyId(0)
            if theirs.index != 0 or self._index == 0:
                raise RemoteProtocolError(f"server {theirs.index} does not call on {self._index}")
            ours = self._hello()
            await link.send(ours.encode(self._nonce))
            said = (theirs.challenge, ours.challenge)
            self._verify(theirs.index, said, decode_proof(await link.receive(), self._nonce))
            await link.send(self._proof(theirs.index, said))
            return theirs.role, server_id(theirs.index)

    def _hello(self) -> Hello:
        challenge = self._randomness(CHALLENGE_SIZE)
        return Hello(self._digest, Role.SERVER, self._index, challenge)

    def _judged(self, hello: Hello) -> Hello:
        if hello.task != self._digest:
            raise RemoteProtocolError("the hello is of another task")
        return hello

    def _proof(self, other: int, said: tuple[bytes, bytes]) -> bytes:
        signature = sign.sign(self._signing, self._to_sign(self._index, other, said))
        return Writer().u8(VERSION).u8(PROOF).raw(self._nonce).raw(signature).finish()

    def _verify(self, other: int, said: tuple[bytes, bytes], signature: bytes) -> None:
        key = self._task.committee.servers[other].signing
        sign.verify(key, self._to_sign(other, self._index, said), signature)

    def _to_sign(self, signer: int, other: int, said: tuple[bytes, bytes]) -> bytes:
        """said: the challenges, of whoever opened the link first."""
        return labels.encode(labels.LINK, self._digest, signer, other, *said)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LinkTimeout(f"the handshake took more than {seconds} seconds") from None


def _body(data: Buffer, kind: int, nonce: bytes) -> Reader:
    """The reader behind a checked head."""
    if len(data) > LARGEST:
        raise TooLarge(f"a frame of {len(data)} bytes in a handshake, and the limit is {LARGEST}")
    reader = Reader(data)
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(f"frame version {version}; this side speaks version {VERSION} only")
    if (found := reader.u8("kind")) != kind:
        raise BadTag(f"frame kind {found} where kind {kind} is due")
    if reader.fixed(NONCE_SIZE, "task nonce") != nonce:
        raise RemoteProtocolError("the hello is of another task")
    return reader
