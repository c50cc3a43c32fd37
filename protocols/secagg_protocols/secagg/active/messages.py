"""The messages of active mode, byte by byte (specs/12-active.md §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from secagg.crypto import labels
from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import WireError
from secagg.layout import Layout, RingVector
from secagg.shown import short
from secagg.suite import SUITE_2
from secagg.types import AbortReason
from secagg.wire.codec import Reader, Writer, encode_bitmap
from secagg.wire.header import DIGEST_SIZE, write_header
from secagg.wire.vector import PackedVector, read_vector, write_vector
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.messages import (
    SEALED_SIZE,
    SHARE_SIZE,
    AdvertiseKeys,
    SharePair,
    Tag,
)

# Those of suite 1 with what makes them statements, and two more. A signature is always what ends a
# message, over digests of all that stands before it, so a decoder reads a body and its statement
# together and cannot forget one.
#
# What a signature is over travels only where its receiver does not know it: sets and digests that
# both have are left out. So a message whose sender has another view than its receiver does not
# parse into something else, its signature is not valid.

SURVIVORS, AGREE = 9, 10
"""Tags besides those of suite 1, whose names mean the same in both."""
NAMES = {**messages.NAMES, SURVIVORS: "survivors", AGREE: "agree"}
SALT_SIZE = 16
B, S = b"b", b"s"
"""Which secret a share is of, in its digest."""


def digest_of(members: Collection[int], size: int) -> bytes:
    """H(SET, bitmap of `size` bits)."""
    return _digest_of(frozenset(members), size)


# Each member says something of the same set, and a set knows its own hash: without this a client
# spends as long on U3's digests as on verifying who has agreed.
@lru_cache(maxsize=16)
def _digest_of(members: frozenset[int], size: int) -> bytes:
    return labels.digest(labels.SET, encode_bitmap(members, size))


# A server computes two of these for each pair of neighbours, some millions at most: they are H of
# secagg.crypto.labels, with the encoding written out, as all of its lengths are known.
_SHARE = labels.encode(labels.SHARE_DIGEST) + DIGEST_SIZE.to_bytes(4)
_BOTH = labels.encode(labels.DIGESTS) + DIGEST_SIZE.to_bytes(4)


def share_digest(session: bytes, dealer: int, holder: int, kind: bytes, share: bytes) -> bytes:
    """H(SHARE_DIGEST, session, dealer, holder, "b" or "s", 40 bytes). No blind: what is hashed has
    251 bits that nobody else knows, and is committed to besides (specs/12-active.md §2)."""
    return hashlib.sha256(
        b"%b%b\0\0\0\4%b\0\0\0\4%b\0\0\0\1%b\0\0\0\x28%b"
        % (_SHARE, session, dealer.to_bytes(4), holder.to_bytes(4), kind, share)
    ).digest()


@dataclass(frozen=True, slots=True)
class Digests:
    """Of the two shares that one holder was dealt. 32 bytes each."""

    b: bytes
    s: bytes

    @classmethod
    def of(cls, session: bytes, pair: SharePair) -> Digests:
        ends = session, pair.dealer, pair.holder
        return cls(share_digest(*ends, B, pair.b_share), share_digest(*ends, S, pair.s_share))

    @property
    def both(self) -> bytes:
        return self.b + self.s

    @property
    def digest(self) -> bytes:
        """H(DIGESTS, b, s): what a holder is told of them before it has opened its pair."""
        return hashlib.sha256(b"%b%b\0\0\0\x20%b" % (_BOTH, self.b, self.s)).digest()

    def named(self, survived: bool) -> bytes:
        return self.b if survived else self.s


@dataclass(frozen=True, slots=True)
class SignedKeys(AdvertiseKeys):
    """Client to server, bound to the offer, and by the server to the neighbours."""

    signature: bytes = b""

    def encode(self, offer: bytes) -> bytes:
        return _header(Tag.ADVERTISE_KEYS, offer).raw(self.body).finish()

    @property
    def body(self) -> bytes:
        return self.c_pk + self.s_pk + self.signature

    @classmethod
    def read(cls, reader: Reader) -> SignedKeys:
        keys = AdvertiseKeys.read(reader)
        return cls(keys.c_pk, keys.s_pk, _signature(reader))


@dataclass(frozen=True, slots=True)
class KeyList:
    """Server to client, bound to the session: U1, the neighbours' keys, the path of its own leaf
    where those are not all, and the server's statement about U1."""

    members: frozenset[int]
    keys: Mapping[int, SignedKeys]
    path: tuple[bytes, ...]
    signature: bytes

    def encode(self, session: bytes, roster: int) -> bytes:
        writer = _header(Tag.KEY_LIST, session).bitmap(self.members, roster).u32(len(self.keys))
        listed = (i.to_bytes(4) + one.body for i, one in sorted(self.keys.items()))
        return writer.raw(b"".join((*listed, *self.path, self.signature))).finish()

    @classmethod
    def read(cls, reader: Reader, roster: int, degree: int, complete: bool) -> KeyList:
        """roster: N, of how many bits U1 is. complete: whether all keys are listed, and no path."""
        members = reader.bitmap(roster, "U1")
        keys: dict[int, SignedKeys] = {}
        last = -1  # strictly ascending: nobody is listed twice (validation.md rows 9, 13)
        for _ in range(reader.count(degree, "number of neighbours")):
            index = reader.u32("neighbour index")
            if index <= last:
                raise WireError("neighbour indices are not strictly ascending")
            keys[index] = SignedKeys.read(reader)
            last = index
        steps = 0 if complete else max(len(members) - 1, 0).bit_length()
        path = tuple(reader.fixed(DIGEST_SIZE, "path") for _ in range(steps))
        return cls(members, keys, path, _signature(reader))


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a dealer says to one holder: the sealed pair, and the digests of what is in it."""

    sealed: bytes
    digests: Digests

    SIZE: ClassVar[int] = SEALED_SIZE + 2 * DIGEST_SIZE

    @property
    def encoded(self) -> bytes:
        return self.sealed + self.digests.both


# Kept as one piece, as it came: a server has one of each client, and of a complete graph all their
# parts would be as many objects as there are pairs of clients.
@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Client to server. body: the commitment to b; per neighbour, ascending, what it is dealt; the
    digests of the dealer's own shares. signature: the dealer's."""

    body: bytes
    signature: bytes = b""

    @classmethod
    def of(cls, commitment: bytes, dealt: Iterable[Dealt], own: Digests) -> ShareKeys:
        return cls(b"".join((commitment, *(one.encoded for one in dealt), own.both)))

    @property
    def commitment(self) -> bytes:
        return self.body[:DIGEST_SIZE]

    def to(self, position: int) -> Dealt:
        """What the neighbour at that place among the dealer's is dealt."""
        first = DIGEST_SIZE + position * Dealt.SIZE
        b, s, end = first + SEALED_SIZE, first + SEALED_SIZE + DIGEST_SIZE, first + Dealt.SIZE
        return Dealt(self.body[first:b], Digests(self.body[b:s], self.body[s:end]))

    @property
    def own(self) -> Digests:
        return Digests(self.body[-2 * DIGEST_SIZE : -DIGEST_SIZE], self.body[-DIGEST_SIZE:])

    @property
    def digest(self) -> bytes:
        """H(BODY, body): what the dealer has signed, and its neighbours are shown."""
        return labels.digest(labels.BODY, self.body)

    def encode(self, session: bytes) -> bytes:
        return _header(Tag.SHARE_KEYS, session).raw(self.body).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader, neighbours: int) -> ShareKeys:
        size = 3 * DIGEST_SIZE + neighbours * Dealt.SIZE
        return cls(reader.fixed(size, "commitment and shares"), _signature(reader))


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a holder is given of one dealer. digests: H(DIGESTS, ..) of its two shares. body: what
    the dealer has signed."""

    sealed: bytes
    digests: bytes
    body: bytes
    signature: bytes

    @property
    def encoded(self) -> bytes:
        return self.sealed + self.digests + self.body + self.signature

    @classmethod
    def read(cls, reader: Reader) -> Delivered:
        return cls(
            reader.fixed(SEALED_SIZE, "sealed pair"),
            reader.fixed(DIGEST_SIZE, "digest of digests"),
            reader.fixed(DIGEST_SIZE, "digest of a body"),
            _signature(reader),
        )


@dataclass(frozen=True, slots=True)
class ShareList:
    """Server to client: U2; per neighbour in it, ascending, what it dealt; the server's statement
    about U2, and about this list."""

    sharers: frozenset[int]
    delivered: tuple[Delivered, ...]
    signature: bytes
    delivery: bytes = b""

    def rest(self, size: int) -> bytes:
        """All but the last signature: what it is over, by its digest."""
        writer = Writer().bitmap(self.sharers, size)
        return writer.raw(b"".join(d.encoded for d in self.delivered)).raw(self.signature).finish()

    def digest(self, size: int) -> bytes:
        return labels.digest(labels.DELIVERY, self.rest(size))

    def encode(self, session: bytes, size: int) -> bytes:
        return _header(Tag.SHARE_LIST, session).raw(self.rest(size)).raw(self.delivery).finish()

    @classmethod
    def read(cls, reader: Reader, size: int, neighbours: frozenset[int]) -> ShareList:
        listed = cls.read_rest(reader, size, neighbours)
        return cls(listed.sharers, listed.delivered, listed.signature, _signature(reader))

    @classmethod
    def read_rest(cls, reader: Reader, size: int, neighbours: frozenset[int]) -> ShareList:
        """As it is in evidence: without the signature that ends it."""
        sharers = reader.bitmap(size, "U2")
        listed = tuple(Delivered.read(reader) for _ in range(len(sharers & neighbours)))
        return cls(sharers, listed, _signature(reader))


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client to server: the dealers whose pair did not open, as positions in its list of
    neighbours; 16 bytes of salt; the masked vector; its signature."""

    failed: frozenset[int]
    salt: bytes = field(repr=False)
    vector: bytes = field(repr=False)
    signature: bytes

    __repr__ = short

    @property
    def digest(self) -> bytes:
        """H(MASKED, salt, packed vector). Salted, as it outlives the vector in transcripts."""
        return labels.digest(labels.MASKED, self.salt, self.vector)

    def encode(self, session: bytes, neighbours: int) -> bytes:
        writer = _header(Tag.MASKED_INPUT, session).bitmap(self.failed, neighbours)
        return writer.raw(self.salt).raw(self.vector).raw(self.signature).finish()

    @classmethod
    def read(
        cls, reader: Reader, neighbours: int, layout: Layout
    ) -> tuple[MaskedInput, PackedVector]:
        """The server's half: what was said, and its vector, checked whole and still packed."""
        failed = reader.bitmap(neighbours, "failed dealers")
        salt = reader.fixed(SALT_SIZE, "salt")
        packed = reader.fixed(layout.packed_size, "vector")
        vector = read_vector(Reader(packed), layout)  # takes all of it
        return cls(failed, salt, packed, _signature(reader)), vector


def packed(layout: Layout, vector: RingVector) -> bytes:
    """A ring vector as messages have it (specs/01-wire.md §5)."""
    return write_vector(Writer(), layout, vector).finish()


@dataclass(frozen=True, slots=True)
class Survivors:
    """Server to client: U3, and its statement about U2 and U3."""

    members: frozenset[int]
    signature: bytes

    def encode(self, session: bytes, size: int) -> bytes:
        return _header(SURVIVORS, session).bitmap(self.members, size).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader, size: int) -> Survivors:
        return cls(reader.bitmap(size, "U3"), _signature(reader))


@dataclass(frozen=True, slots=True)
class Agree:
    """Client to server: its signature of (U2, U3), as it was shown them."""

    signature: bytes

    def encode(self, session: bytes) -> bytes:
        return _header(AGREE, session).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader) -> Agree:
        return cls(_signature(reader))


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """Server to client: who has agreed, as positions among the signers, and what they signed."""

    signers: frozenset[int]
    signatures: tuple[bytes, ...]

    def encode(self, session: bytes, signers: int) -> bytes:
        writer = _header(Tag.UNMASK_REQUEST, session).bitmap(self.signers, signers)
        return writer.raw(b"".join(self.signatures)).finish()

    @classmethod
    def read(cls, reader: Reader, signers: int, quorum: int) -> UnmaskRequest:
        """signers: how many may sign. quorum: how many have to; exactly as many are shown."""
        who = reader.bitmap(signers, "signers")
        if len(who) != quorum:
            raise WireError(f"{len(who)} signers are shown where {quorum} are due")
        return cls(who, tuple(_signature(reader) for _ in range(quorum)))


@dataclass(frozen=True, slots=True)
class UnmaskAnswer:
    """Client to server: one share of each dealer it holds one of, ascending; its signature."""

    shares: tuple[bytes, ...] = field(repr=False)
    signature: bytes

    __repr__ = short

    def encode(self, session: bytes) -> bytes:
        writer = _header(Tag.UNMASK_ANSWER, session).raw(b"".join(self.shares))
        return writer.raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader, dealers: int) -> UnmaskAnswer:
        shares = tuple(reader.fixed(SHARE_SIZE, "share") for _ in range(dealers))
        return cls(shares, _signature(reader))


def answer_digest(digests: Collection[bytes]) -> bytes:
    """H(ANSWER, the digests of its shares in their order), so that one of them can be told from
    what was dealt, and shown, without the others."""
    return labels.digest(labels.ANSWER, b"".join(digests))


@dataclass(frozen=True, slots=True)
class Abort(messages.Abort):
    """Either way, bound to the offer. Nobody signs it: what it ends, a lost link would end."""

    def encode(self, offer: bytes) -> bytes:
        return _header(Tag.ABORT, offer).u8(self.reason.code).finish()

    @classmethod
    def of(cls, reason: AbortReason) -> Abort:
        return cls(reason)


def _header(tag: int, binding: bytes) -> Writer:
    return write_header(tag, binding, SUITE_2)


def _signature(reader: Reader) -> bytes:
    return reader.fixed(SIGNATURE_SIZE, "signature")
