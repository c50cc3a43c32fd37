"""The building blocks of specs/ once more, in plain Python: half of the independent verifier.

Written from the specification. Imports neither package, and shares no code with them: hashlib,
hmac and Python's integers, AES from `cryptography`, X25519 from PyNaCl.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cryptography.exceptions
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_scalarmult

P = 2**61 - 1
P25519 = 2**255 - 19
ORDER_8 = 325606250916557431795983626356110631294008115727848805560023387167927233504
OTHER_ORDER_8 = 39382357235489614581723060781553021112529911719440698176882885853963445705823


REASONS = (
    "below-threshold",
    "share-error",
    "integrity",
    "peer-fault",
    "cancelled",
    "lost",
    "bad-input",
)
FAULTS = (
    "lost",
    "late",
    "quit",
    "bad-input",
    "malformed",
    "wrong-phase",
    "equivocation",
    "invalid-key",
    "invalid-share",
    "too-few-holders",
    "rejected",
    "invalid-signature",
    "disagreement",
)
"""Of an abort, by code from 1 (10-secagg.md §7)."""


class Refused(Exception):
    """layer: the error class, fault or reason that the vectors name. rule: the § it breaks."""

    def __init__(self, layer: str, rule: str = "§7") -> None:
        super().__init__(layer, rule)
        self.layer, self.rule = layer, rule


# 10-secagg.md §2


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def E(*parts: bytes | int) -> bytes:
    raw = [u32(p) if isinstance(p, int) else p for p in parts]
    return b"".join(u32(len(r)) + r for r in raw)


def H(label: str, *parts: bytes | int) -> bytes:
    return hashlib.sha256(E(b"secagg/v1/" + label.encode(), *parts)).digest()


def T(prefix: int, *parts: bytes | int) -> bytes:
    return hashlib.sha256(bytes([prefix]) + E(*parts)).digest()


def EXPAND(secret: bytes, label: str, *parts: bytes | int) -> bytes:
    """RFC 5869 §2.3 for one block."""
    info = E(b"secagg/v1/" + label.encode(), *parts)
    return hmac.digest(secret, info + b"\x01", "sha256")


def KDF(secret: bytes, label: str, *parts: bytes | int) -> bytes:
    return EXPAND(hmac.digest(bytes(32), secret, "sha256"), label, *parts)


# 01-wire.md §2 and §3


class Cursor:
    """A straight line over bytes. rule: what a breach from here on is charged to."""

    def __init__(self, data: bytes, rule: str = "§7") -> None:
        self.data, self.at, self.rule = data, 0, rule

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Refused("Truncated", self.rule)
        self.at += size
        return self.data[self.at - size : self.at]

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def int(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def count(self, limit: int) -> int:
        number = self.int(4)
        if number > limit:
            raise Refused("TooLarge", self.rule)
        return number

    def prefixed(self, limit: int) -> bytes:
        return self.take(self.count(limit))

    def bitmap(self, size: int) -> set[int]:
        raw = self.take(-(-size // 8))
        found = {i for i in range(8 * len(raw)) if raw[i // 8] >> i % 8 & 1}
        if any(i >= size for i in found):
            raise Refused("WireError", self.rule)
        return found

    def end(self) -> None:
        if self.at != len(self.data):
            raise Refused("TrailingBytes", self.rule)


def bitmap(members: Any, size: int) -> bytes:
    number = sum(1 << i for i in members)
    return number.to_bytes(-(-size // 8), "little")


# 10-secagg.md §3


def offer(protocol: str, plan_digest: bytes, payload_digest: bytes) -> bytes:
    return H("offer", protocol.encode(), 1, 1, plan_digest, payload_digest, b"", 0)


def leaf(
    offered: bytes, index: int, party: int, c_pk: bytes, s_pk: bytes, signature: bytes = b""
) -> bytes:
    return T(0, offered, index, party, c_pk, s_pk, signature)


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1 as that text has it: split at the largest power of two below the size."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return T(1, root(leaves[:split]), root(leaves[split:]))


def session_id(offered: bytes, clients: int, members: Any, top: bytes) -> bytes:
    ids = set(members)
    return H("session", offered, len(ids), H("set", bitmap(ids, clients)), top)


def ring(session: bytes, size: int, label: str = "graph") -> tuple[list[int], int]:
    """The permutation, and how many draws were refused."""
    numbers = iter(stream(H(label, session), 32, 0, size + 64))
    order, refused = list(range(size)), 0
    for i in range(size - 1, 0, -1):
        while (r := next(numbers)) >= 2**32 - 2**32 % (i + 1):
            refused += 1
        j = r % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order, refused


def graph(session: bytes, size: int, degree: int) -> list[list[int]]:
    if degree >= size - 1:
        return [[v for v in range(size) if v != u] for u in range(size)]
    order, _ = ring(session, size)
    near: list[set[int]] = [set() for _ in range(size)]
    for p in range(size):
        for s in range(1, degree // 2 + 1):
            u, v = order[p], order[(p + s) % size]
            near[u].add(v)
            near[v].add(u)
    return [sorted(n) for n in near]


# 10-secagg.md §4


def clamp(random: bytes) -> bytes:
    k = bytearray(random)
    k[0] &= 0xF8
    k[31] = k[31] & 0x7F | 0x40
    return bytes(k)


def public(secret: bytes) -> bytes:
    return crypto_scalarmult(secret, bytes([9]) + bytes(31))


def check_public(key: bytes, rule: str) -> bytes:
    u = int.from_bytes(key, "little")
    if len(key) != 32 or u >= P25519 or u in (0, 1, P25519 - 1, ORDER_8, OTHER_ORDER_8):
        raise Refused("InvalidKey", rule)
    return key


def commitment(b: bytes, session: bytes, u: int) -> bytes:
    return EXPAND(b, "commit-b", session, u)


def self_key(b: bytes, session: bytes, u: int, segment: int) -> bytes:
    return KDF(b, "self", session, u, segment)


def pair_key(secret: bytes, u: int, v: int, v_pk: bytes, session: bytes, segment: int) -> bytes:
    ends = sorted([(u, public(secret)), (v, v_pk)])
    context = [x for end in ends for x in end]
    return KDF(crypto_scalarmult(secret, v_pk), "mask", session, *context, segment)


def sign(u: int, v: int) -> int:
    return 1 if u < v else -1


def _sealing(secret: bytes, other: bytes, session: bytes, context: Sequence[Any]) -> Any:
    key = KDF(crypto_scalarmult(secret, other), "seal", session, *context)
    return AESGCM(key), E(b"secagg/v1/seal", session, *context)


def seal(secret: bytes, u: int, v: int, v_pk: bytes, session: bytes, plain: bytes) -> bytes:
    """By the dealer u."""
    aead, context = _sealing(secret, v_pk, session, (u, v, public(secret), v_pk))
    return aead.encrypt(bytes(12), plain, context)


def unseal(secret: bytes, u: int, v: int, u_pk: bytes, session: bytes, sealed: bytes) -> bytes:
    """By the holder v."""
    aead, context = _sealing(secret, u_pk, session, (u, v, u_pk, public(secret)))
    try:
        return aead.decrypt(bytes(12), sealed, context)
    except cryptography.exceptions.InvalidTag:
        raise Refused("InvalidTag", "§4") from None


# 10-secagg.md §5


def stream(key: bytes, lane: int, first: int, count: int) -> list[int]:
    if len(key) != 32:
        raise Refused("InvalidKey", "§5")
    size = lane // 8
    if (first + count) * size > 16 * 2**32:
        raise Refused("ParameterError", "§5")
    block, skip = divmod(first * size, 16)
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    data = encryptor.update(bytes(skip + count * size))[skip:]
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]


def add(a: list[int], b: list[int], sign: int, modulus: int) -> list[int]:
    return [(x + sign * y) % modulus for x, y in zip(a, b, strict=True)]


def lane_of(width: int) -> int:
    return min(lane for lane in (8, 16, 32, 64) if lane >= width)


# 10-secagg.md §6

LIMBS = ((0, 7), (7, 14), (14, 21), (21, 28), (28, 32))


def split(
    secret: bytes, t: int, points: Sequence[int], draw: Callable[[int], bytes]
) -> list[bytes]:
    if not 1 <= t <= len(points) or len(set(points)) != len(points):
        raise Refused("ParameterError", "§6")
    if any(not 1 <= x < P for x in points):
        raise Refused("ParameterError", "§6")
    raw = draw(40 * (t - 1))
    upper = [int.from_bytes(raw[i : i + 8], "big") % 2**61 for i in range(0, len(raw), 8)]
    for i, value in enumerate(upper):
        while value == P:
            value = int.from_bytes(draw(8), "big") % 2**61
        upper[i] = value
    shares = []
    for x in points:
        share = b""
        for limb, (low, high) in enumerate(LIMBS):
            own = upper[limb * (t - 1) : (limb + 1) * (t - 1)]
            f = [int.from_bytes(secret[low:high], "little"), *own]
            y = sum(c * pow(x, power, P) for power, c in enumerate(f)) % P
            share += struct.pack(">Q", y)
        shares.append(share)
    return shares


def check_share(share: bytes) -> list[int]:
    if len(share) != 40:
        raise Refused("InvalidShare", "§6")
    limbs = list(struct.unpack(">5Q", share))
    if max(limbs) >= P:
        raise Refused("InvalidShare", "§6")
    return limbs


def combine(shares: Mapping[int, bytes], t: int) -> bytes:
    if len(shares) < t or any(not 1 <= x < P for x in shares):
        raise Refused("InvalidShare", "§6")
    points = sorted(shares)[:t]
    limbs = {x: check_share(shares[x]) for x in points}
    secret = b""
    for number, (low, high) in enumerate(LIMBS):
        value = 0
        for x in points:
            others = [z for z in points if z != x]
            over = math.prod(z - x for z in others)
            value += limbs[x][number] * math.prod(others) * pow(over, -1, P)
        value %= P
        if value >= 256 ** (high - low):
            raise Refused("InvalidShare", "§6")
        secret += value.to_bytes(high - low, "little")
    return secret


# 02-quantization.md §2 and 01-wire.md §5

Segments = Sequence[Sequence[int]]  # (width, length)


def pack(segments: Segments, vector: Sequence[Sequence[int]]) -> bytes:
    packed = b""
    for (width, length), lane in zip(segments, vector, strict=True):
        bits = "".join(f"{x % 2**width:0{width}b}"[::-1] for x in lane).ljust(8 * length * 8, "0")
        size = -(-width * length // 8)
        packed += bytes(int(bits[8 * i : 8 * i + 8][::-1], 2) for i in range(size))
    return packed


def unpack(cursor: Cursor, segments: Segments) -> list[list[int]]:
    vector = []
    for width, length in segments:
        number = int.from_bytes(cursor.take(-(-width * length // 8)), "little")
        if number >> width * length:
            raise Refused("WireError", cursor.rule)
        vector.append([number >> i * width & 2**width - 1 for i in range(length)])
    return vector
