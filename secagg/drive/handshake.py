"""Who speaks on a server's link, for which task: `secagg.wire.hello`, said and judged in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from secagg.crypto import labels, sign
from secagg.crypto.randomness import checked
from secagg.errors import LinkTimeout, RemoteProtocolError
from secagg.plans.task import Task
from secagg.transport.base import Link
from secagg.types import PartyId, Randomness, Role, Seed, server_id, system_randomness
from secagg.wire.hello import CHALLENGE_SIZE, Hello, decode_hello, decode_proof, encode_proof

TIMEOUT = 10.0
"""Seconds that a handshake may take."""


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
        return encode_proof(signature, self._nonce)

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
