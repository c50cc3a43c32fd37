"""Links of several servers: hello and proof of each kind of party, for one task."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cached_property

from secagg.crypto import hpke, labels, sign
from secagg.crypto.randomness import checked
from secagg.errors import InvalidTag, RemoteProtocolError
from secagg.plans.task import Task
from secagg.rounds.greeting import Met, Script
from secagg.types import PartyId, Randomness, Role, Seed, server_id, system_randomness
from secagg.wire.hello import (
    CHALLENGE_SIZE,
    Hello,
    decode_answer,
    decode_challenge,
    decode_hello,
    decode_proof,
    encode_answer,
    encode_challenge,
    encode_proof,
)

# Theory of operation.
#
# A greeting is a conversation of at most four frames, and it is easiest to read as one: so it is
# written as a generator, which yields what it says and is sent what it hears, and returns whom it
# has met. The precedent is the sans-IO layer of WebSocket libraries, whose opening handshakes are
# generators for the same reason. A generator knows no clock and no link; `Greeted` has both.
#
# Four kinds of party speak. A client is nobody in particular: what it says is sealed to the
# servers, and whoever poses as one could as well report. A server proves which one it is, over two
# fresh challenges that both sides sign, so that a proof is of one link in one direction. The caller
# proves first: a server that is called by a stranger signs nothing for it. A collector proves that
# it has the key to which every total is sealed. That changes nothing about secrecy, as a stranger
# cannot open a total; it matters for the end of an epoch, which a server closes once the collector
# says that it has every sum. Without the proof anybody who knows the public task could say so.
#
# The key of a collector opens and does not sign, so its proof is to open: the server seals a fresh
# challenge to it, in an info that names task and server and that no total has. A collector thereby
# opens nothing but challenges for whoever calls itself a server, and an answer is worth nothing at
# another server.
#
# What is impossible here: that two parties come out of one greeting with different tasks, because
# every hello has the digest, and the proofs are over it; that a proof is replayed, because the
# challenge is fresh; that a frame of another kind gets through, because each is decoded as what is
# due. What remains is a relay: the proof is not bound to the channel, so links are loopback or TLS.


def as_client(task: Task) -> Script:
    """A client says hello, which nothing answers."""
    return Met(Role.SERVER, None, _anonymous(task, Role.CLIENT))
    yield b""  # unreachable: it makes this a generator, as every script is


def as_collector(task: Task, secret: Seed, server: PartyId) -> Script:
    """A collector says hello, and opens what the server has sealed to its key."""
    sealed = decode_challenge((yield _anonymous(task, Role.COLLECTOR)), task.nonce())
    index = server_id(0) - server
    try:
        opened = hpke.OpeningKey(secret).open(sealed, _sealed_for(task, index))
    except InvalidTag:
        raise InvalidTag(
            f"what is called as server {index} has sealed for another collector, or is another "
            "server: give the servers in the task's order, and the key of its collector"
        ) from None
    return Met(Role.SERVER, None, encode_answer(opened, task.nonce()))


def _anonymous(task: Task, role: Role) -> bytes:
    return Hello(task.digest(), role, 0, bytes(CHALLENGE_SIZE)).encode(task.nonce())


def _sealed_for(task: Task, server: int) -> bytes:
    return labels.encode(labels.COLLECTOR_LINK, task.digest(), server)


@dataclass(frozen=True)
class Greeter:
    """One server's side of every greeting.

    Each refusal is an error of its own kind: UnknownVersion, BadTag and WireError for bytes that
    are no such frame, RemoteProtocolError for another task or a party that has no business here,
    InvalidSignature and InvalidTag for what is not proved.
    """

    task: Task
    index: int
    signing: Seed = field(repr=False)
    randomness: Randomness = field(default=system_randomness, repr=False)

    @cached_property
    def _nonce(self) -> bytes:
        return self.task.nonce()

    @cached_property
    def _digest(self) -> bytes:
        return self.task.digest()

    def call(self, other: int) -> Script:
        """To server `other`, over a link that this side has opened."""
        ours = self._hello()
        theirs = self._judged(decode_hello((yield ours.encode(self._nonce)), self._nonce))
        if (theirs.role, theirs.index) != (Role.SERVER, other):
            raise RemoteProtocolError(f"server {other} was called, and another party answers")
        said = (ours.challenge, theirs.challenge)
        proof = decode_proof((yield self._proof(other, said)), self._nonce)
        return Met(Role.SERVER, self._verified(other, said, proof))

    def answer(self) -> Script:
        """Whoever has opened the link. Only the leader calls on other servers."""
        theirs = self._judged(decode_hello((yield b""), self._nonce))
        if theirs.role is Role.CLIENT:
            return Met(Role.CLIENT)
        if theirs.role is Role.COLLECTOR:
            return (yield from self._answer_collector())
        if theirs.index != 0 or self.index == 0:
            raise RemoteProtocolError(f"server {theirs.index} does not call on {self.index}")
        ours = self._hello()
        said = (theirs.challenge, ours.challenge)
        proof = decode_proof((yield ours.encode(self._nonce)), self._nonce)
        identity = self._verified(theirs.index, said, proof)
        return Met(Role.SERVER, identity, self._proof(theirs.index, said))

    def _answer_collector(self) -> Script:
        key, challenge = self.task.committee.collector, self._challenge()
        sealed = hpke.seal(key, challenge, _sealed_for(self.task, self.index))
        opened = decode_answer((yield encode_challenge(sealed, self._nonce)), self._nonce)
        if not hmac.compare_digest(opened, challenge):
            raise RemoteProtocolError("a collector without the collector's key")
        return Met(Role.COLLECTOR, key)

    def _hello(self) -> Hello:
        return Hello(self._digest, Role.SERVER, self.index, self._challenge())

    def _challenge(self) -> bytes:
        return checked(self.randomness)(CHALLENGE_SIZE)

    def _judged(self, hello: Hello) -> Hello:
        if hello.task != self._digest:
            raise RemoteProtocolError("the hello is of another task")
        return hello

    def _proof(self, other: int, said: tuple[bytes, bytes]) -> bytes:
        signature = sign.sign(self.signing, self._to_sign(self.index, other, said))
        return encode_proof(signature, self._nonce)

    def _verified(self, other: int, said: tuple[bytes, bytes], signature: bytes) -> bytes:
        key = self.task.committee.servers[other].signing
        sign.verify(key, self._to_sign(other, self.index, said), signature)
        return key

    def _to_sign(self, signer: int, other: int, said: tuple[bytes, bytes]) -> bytes:
        """said: the challenges, of whoever opened the link first."""
        return labels.encode(labels.LINK, self._digest, signer, other, *said)
