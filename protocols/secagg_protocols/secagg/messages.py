"""The eight messages, byte by byte (specs/10-secagg.md §7)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from secagg.crypto.agree import KEY_SIZE
from secagg.crypto.seal import TAG_SIZE
from secagg.errors import WireError
from secagg.layout import Layout, RingVector
from secagg.protocol import Params
from secagg.types import AbortReason
from secagg.wire.codec import Reader
from secagg.wire.header import DIGEST_SIZE, HEADER_SIZE, write_header
from secagg.wire.vector import PackedVector, read_vector, write_vector

# A frozen dataclass each, with `encode(binding)` and a strict `read(reader, ...)` that takes what
# the receiver already knows, since the bytes do not describe themselves. The driver of both is the
# machine: it has read the header and dispatches by tag.
#
# How long a message is follows from the plan and from the sets, and from nothing that is secret:
# who counts the bytes of a masked input learns its layout, and neither its values nor how many
# pairs did not open. The one count on the wire, of the neighbours in a key list, is bounded by the
# plan's degree before it is used (validation.md rows 4, 5, 11).

SHARE_SIZE = 40
_PAIR = struct.Struct(f">II{SHARE_SIZE}s{SHARE_SIZE}s")
PAIR_SIZE = _PAIR.size
SEALED_SIZE = PAIR_SIZE + TAG_SIZE


class Tag(enum.IntEnum):
    """The messages of a session in their order (specs/10-secagg.md §7)."""

    ADVERTISE_KEYS = 1
    KEY_LIST = 2
    SHARE_KEYS = 3
    SHARE_LIST = 4
    MASKED_INPUT = 5
    UNMASK_REQUEST = 6
    UNMASK_ANSWER = 7
    ABORT = 8


NAMES = {tag.value: tag.name.lower().replace("_", "-") for tag in Tag}


@dataclass(frozen=True, slots=True)
class AdvertiseKeys:
    """Client to server, bound to the offer: the keys that seal shares and make masks."""

    c_pk: bytes
    s_pk: bytes

    @property
    def both(self) -> tuple[bytes, bytes]:
        return self.c_pk, self.s_pk

    def encode(self, offer: bytes) -> bytes:
        return write_header(Tag.ADVERTISE_KEYS, offer).raw(self.c_pk).raw(self.s_pk).finish()

    @classmethod
    def read(cls, reader: Reader) -> AdvertiseKeys:
        return cls(reader.fixed(KEY_SIZE, "c_pk"), reader.fixed(KEY_SIZE, "s_pk"))


@dataclass(frozen=True, slots=True)
class KeyList:
    """Server to client, bound to the session id: U1, the root, and the neighbours' keys.

    The indices are stated so that a graph computed differently is refused, not mis-keyed.
    """

    members: frozenset[int]
    root: bytes
    keys: Mapping[int, AdvertiseKeys]

    def encode(self, session: bytes, clients: int) -> bytes:
        writer = write_header(Tag.KEY_LIST, session).bitmap(self.members, clients)
        listed = (i.to_bytes(4) + k.c_pk + k.s_pk for i, k in sorted(self.keys.items()))
        return writer.raw(self.root).u32(len(self.keys)).raw(b"".join(listed)).finish()

    @classmethod
    def read(cls, reader: Reader, clients: int, degree: int) -> KeyList:
        members = reader.bitmap(clients, "U1")
        root = reader.fixed(DIGEST_SIZE, "root")
        keys: dict[int, AdvertiseKeys] = {}
        # strictly, so that nobody is listed twice, with two keys (validation.md rows 9, 13)
        last = -1
        for _ in range(reader.count(degree, "number of neighbours")):
            index = reader.u32("neighbour index")
            if index <= last:
                raise WireError("neighbour indices are not strictly ascending")
            keys[index] = AdvertiseKeys.read(reader)
            last = index
        return cls(members, root, keys)


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Client to server: the commitment to b, and a sealed pair per neighbour, ascending."""

    commitment: bytes
    sealed: tuple[bytes, ...]

    def encode(self, session: bytes) -> bytes:
        writer = write_header(Tag.SHARE_KEYS, session).raw(self.commitment)
        return writer.raw(b"".join(self.sealed)).finish()

    @classmethod
    def read(cls, reader: Reader, neighbours: int) -> ShareKeys:
        commitment = reader.fixed(DIGEST_SIZE, "commitment")
        return cls(commitment, _read_items(reader, neighbours, SEALED_SIZE, "sealed pairs"))


@dataclass(frozen=True, slots=True)
class ShareList:
    """Server to client: U2, and the pairs its neighbours in U2 sealed to it, ascending."""

    sharers: frozenset[int]
    sealed: tuple[bytes, ...]

    def encode(self, session: bytes, size: int) -> bytes:
        writer = write_header(Tag.SHARE_LIST, session).bitmap(self.sharers, size)
        return writer.raw(b"".join(self.sealed)).finish()

    @classmethod
    def read(cls, reader: Reader, size: int, neighbours: frozenset[int]) -> ShareList:
        sharers = reader.bitmap(size, "U2")
        return cls(
            sharers, _read_items(reader, len(sharers & neighbours), SEALED_SIZE, "sealed pairs")
        )


# Both indices are inside the seal although the seal key and its associated data name them already.
# Pairs that could be moved to another recipient, or reflected to their dealer, are a known slip of
# implementations that sealed shares without a context: here it takes two mistakes.
@dataclass(frozen=True, slots=True)
class SharePair:
    """What is sealed: the dealer's and the holder's index again, a share of b and one of s."""

    dealer: int
    holder: int
    b_share: bytes = field(repr=False)
    s_share: bytes = field(repr=False)

    def encode(self) -> bytes:
        return self.dealer.to_bytes(4) + self.holder.to_bytes(4) + self.b_share + self.s_share

    @classmethod
    def decode(cls, data: bytes) -> SharePair:
        if len(data) != PAIR_SIZE:
            raise WireError(f"a pair of shares is {PAIR_SIZE} bytes long, not {len(data)}")
        return cls(*_PAIR.unpack(data))


# Positions and not indices: k bits and not n, and nobody can be reported who is no neighbour. A
# neighbour outside U2 can be, and the server refuses that.
@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client to server: the dealers whose pair did not open, and the masked vector.

    `failed` holds positions in the sender's ascending list of neighbours: a bitmap of their
    number, so that the message has one size.
    """

    failed: frozenset[int]
    vector: RingVector

    def encode(self, session: bytes, neighbours: int, layout: Layout) -> bytes:
        writer = write_header(Tag.MASKED_INPUT, session).bitmap(self.failed, neighbours)
        return write_vector(writer, layout, self.vector).finish()


def read_masked_input(
    reader: Reader, neighbours: int, layout: Layout
) -> tuple[frozenset[int], PackedVector]:
    """The server's half: the vector stays packed until it is added."""
    return reader.bitmap(neighbours, "failed dealers"), read_vector(reader, layout)


# There are clients that take a list of the living and one of the dead, and give a share for each
# entry: a server that puts its victim into both has both of its secrets, with no more than that
# (specs/vulnerabilities.md). Here the dead are U2 without this set, which each client has itself.
@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """Server to client: U3 and nothing else. "In both lists" cannot be written."""

    survivors: frozenset[int]

    def encode(self, session: bytes, size: int) -> bytes:
        return write_header(Tag.UNMASK_REQUEST, session).bitmap(self.survivors, size).finish()

    @classmethod
    def read(cls, reader: Reader, size: int) -> UnmaskRequest:
        return cls(reader.bitmap(size, "U3"))


# A share comes without its point: x = 1 + the index of who answers, and who that is the link has
# proved. So x = 0, somebody else's point and one point twice cannot be sent (validation.md row 55).
# Whether the limbs are below p is asked of all shares of an answer at once, where it is taken.
@dataclass(frozen=True, slots=True)
class UnmaskAnswer:
    """Client to server: one share per dealer it holds shares of, by ascending index of dealer.

    Which secret each is a share of follows from U3, so it is not written.
    """

    shares: tuple[bytes, ...] = field(repr=False)

    def encode(self, session: bytes) -> bytes:
        return write_header(Tag.UNMASK_ANSWER, session).raw(b"".join(self.shares)).finish()

    @classmethod
    def read(cls, reader: Reader, dealers: int) -> UnmaskAnswer:
        return cls(_read_items(reader, dealers, SHARE_SIZE, "shares"))


# Bound to the offer in every phase, since one of the first phase is said before there is a session
# id. So one of another session of the same task is taken too: it ends what a lost link would have
# ended, for whoever could write it owns the link (specs/10-secagg.md §3.5).
@dataclass(frozen=True, slots=True)
class Abort:
    """Either way, bound to the offer: the sender is out, and why."""

    reason: AbortReason

    def encode(self, offer: bytes) -> bytes:
        return write_header(Tag.ABORT, offer).u8(self.reason.code).finish()

    @classmethod
    def read(cls, reader: Reader) -> Abort:
        reason = AbortReason.from_code(reader.u8("reason"))
        if reason is None:
            raise WireError("an unknown abort reason")
        return cls(reason)


def upload_sizes(params: Params, layout: Layout) -> dict[str, int]:
    """Exact bytes of one client's messages in a round without drops, |U1| = n."""
    degree = params.degree
    return {
        "advertise-keys": HEADER_SIZE + 2 * KEY_SIZE,
        "share-keys": HEADER_SIZE + DIGEST_SIZE + degree * SEALED_SIZE,
        "masked-input": HEADER_SIZE + _bits(degree) + layout.packed_size,
        "unmask": HEADER_SIZE + (degree + 1) * SHARE_SIZE,
    }


def download_sizes(params: Params, layout: Layout) -> dict[str, int]:
    """Exact bytes of the server's messages to one client in a round without drops, |U1| = n."""
    clients, degree = params.clients, params.degree
    return {
        "key-list": HEADER_SIZE + _bits(clients) + DIGEST_SIZE + 4 + degree * (4 + 2 * KEY_SIZE),
        "share-list": HEADER_SIZE + _bits(clients) + degree * SEALED_SIZE,
        "unmask-request": HEADER_SIZE + _bits(clients),
    }


def _bits(size: int) -> int:
    return (size + 7) // 8


def _read_items(reader: Reader, number: int, size: int, what: str) -> tuple[bytes, ...]:
    data = reader.fixed(number * size, what)
    return tuple(data[at : at + size] for at in range(0, len(data), size))
