"""Who the servers of a multi-server sum are: their keys, the collector's, and the epoch.

Whoever chooses these keys could name itself under every one of them, so a client takes them from
somebody other than a server that it sends to (specs/20-additive.md §3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from secagg.arguments import octets
from secagg.crypto import agree, labels, sign
from secagg.crypto.agree import KeyPair
from secagg.crypto.hpke import OpeningKey
from secagg.errors import CryptoError, ParameterError
from secagg.shown import short
from secagg.types import MAX_SERVERS, Buffer, Randomness, Seed, system_randomness
from secagg.wire.codec import Reader, Writer

MIN_SERVERS = 2
_KEY = agree.KEY_SIZE


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """One server's public keys. sealing: X25519, for HPKE. signing: Ed25519. 32 bytes each."""

    sealing: bytes
    signing: bytes

    __repr__ = short

    def __post_init__(self) -> None:
        agree.check_public(self.sealing)
        sign.check_public(self.signing)


@dataclass(frozen=True)
class Committee:
    """Two to sixteen servers, leader first; the collector's X25519 key; the epoch, a u32.

    Raises ParameterError for keys that are not all different: one server under two names would
    hold two of the shares. InvalidKey for one that is none.
    """

    servers: tuple[ServerKeys, ...]
    collector: bytes
    epoch: int

    __repr__ = short

    def __post_init__(self) -> None:
        if not MIN_SERVERS <= len(self.servers) <= MAX_SERVERS:
            raise ParameterError(
                f"a committee has {MIN_SERVERS} to {MAX_SERVERS} servers, not {len(self.servers)}"
            )
        if not 0 <= self.epoch < 1 << 32:
            raise ParameterError(f"an epoch is a number of 32 bits, not {self.epoch!r}")
        sealing = {agree.check_public(self.collector), *(s.sealing for s in self.servers)}
        signing = {s.signing for s in self.servers}
        if len(sealing) <= len(self.servers) or len(signing) < len(self.servers):
            raise ParameterError("a key occurs twice among the servers and the collector")

    def encode(self) -> bytes:
        """Canonical (specs/20-additive.md §3): u8 m, m pairs of keys, collector key, u32 epoch."""
        writer = Writer().u8(len(self.servers))
        for keys in self.servers:
            writer.raw(keys.sealing).raw(keys.signing)
        return writer.raw(self.collector).u32(self.epoch).finish()

    @classmethod
    def read(cls, reader: Reader) -> Committee:
        """Raises WireError, InvalidKey or ParameterError; nothing of it is trusted."""
        servers = tuple(
            ServerKeys(reader.fixed(_KEY, "sealing key"), reader.fixed(_KEY, "signing key"))
            for _ in range(reader.u8("number of servers"))
        )
        return cls(servers, reader.fixed(_KEY, "collector key"), reader.u32("epoch"))

    @classmethod
    def decode(cls, data: Buffer) -> Committee:
        reader = Reader(octets("a committee", data))
        committee = cls.read(reader)
        reader.finish()
        return committee

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; the roster digest of the offer."""
        return labels.digest(labels.COMMITTEE, self.encode())


@dataclass(frozen=True, slots=True)
class ServerSecrets:
    """One server's private keys: the X25519 scalar, and the Ed25519 seed."""

    opening: Seed
    signing: Seed

    @classmethod
    def generate(cls, randomness: Randomness = system_randomness) -> ServerSecrets:
        return cls(opening_secret(randomness), Seed(_draw(randomness)))

    @property
    def public(self) -> ServerKeys:
        return ServerKeys(agree.public_key(self.opening), sign.public_key(self.signing))

    def opening_key(self) -> OpeningKey:
        return OpeningKey(self.opening)


class Keys:
    """The secret keys of every server and of the collector, for a process that plays them all.

    It gives no privacy: who has these can open every share.
    """

    def __init__(self, servers: int, randomness: Randomness, *, epoch: int = 0) -> None:
        self.servers = tuple(ServerSecrets.generate(randomness) for _ in range(servers))
        self.collector: Seed = opening_secret(randomness)
        self.committee = Committee(
            tuple(secrets.public for secrets in self.servers),
            ServerSecrets(self.collector, self.collector).public.sealing,
            epoch,
        )


def opening_secret(randomness: Randomness = system_randomness) -> Seed:
    """A fresh X25519 scalar: the collector's only secret."""
    return KeyPair.from_random(_draw(randomness)).secret


def _draw(randomness: Randomness) -> bytes:
    data = randomness(Seed.SIZE)
    if len(data) != Seed.SIZE:
        raise CryptoError(f"the source of randomness gave {len(data)} of {Seed.SIZE} bytes")
    return data
