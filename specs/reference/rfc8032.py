"""Ed25519 (RFC 8032 §5.1) in Python integers, as strict as specs/20-additive.md §6: for verify.py.

Affine points, but for products, which would take an inversion a bit. Nothing is constant time.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def decode(raw: bytes) -> Point | None:
    """§5.1.3, canonical encodings only: the point, or None."""
    if len(raw) != 32:
        return None
    number = int.from_bytes(raw, "little")
    y, odd = number & 2**255 - 1, number >> 255
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * ROOT % P
    if v * x * x % P != u or (x == 0 and odd):
        return None
    return (x if x & 1 == odd else P - x), y


def encode(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(a: Point, b: Point) -> Point:
    """§5.1.4 in affine coordinates: complete, as D is not a square."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


@lru_cache(1 << 14)
def multiply(scalar: int, point: Point) -> Point:
    """In the homogeneous coordinates of §5.1.4. A signature is asked about again and again."""
    x, y = point
    result, double = (0, 1, 1, 0), (x, y, 1, x * y % P)
    while scalar:
        if scalar & 1:
            result = _add(result, double)
        double, scalar = _add(double, double), scalar >> 1
    inverse = pow(result[2], -1, P)
    return result[0] * inverse % P, result[1] * inverse % P


def _add(p: tuple[int, int, int, int], q: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


_BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
BASE: Point = _BASE or IDENTITY


def is_key(raw: bytes) -> bool:
    """Canonical, on the curve, of prime order: what a committee may hold."""
    point = decode(raw)
    return point is not None and point != IDENTITY and multiply(L, point) == IDENTITY


def _secret(seed: bytes) -> tuple[int, bytes]:
    hashed = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(hashed[:32], "little")
    return scalar & 2**254 - 8 | 2**254, hashed[32:]


def _number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


@lru_cache(1 << 10)
def public(seed: bytes) -> bytes:
    return encode(multiply(_secret(seed)[0], BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    """§5.1.6"""
    scalar, prefix = _secret(seed)
    r = _number(prefix, message)
    commitment = encode(multiply(r, BASE))
    challenge = _number(commitment, public(seed), message)
    return commitment + ((r + challenge * scalar) % L).to_bytes(32, "little")


@lru_cache(1 << 14)
def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """§5.1.7 without the cofactor, and with small orders refused."""
    if len(signature) != 64:
        return False
    a, r = decode(key), decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    if IDENTITY in (multiply(8, a), multiply(8, r)):
        return False
    challenge = _number(signature[:32], key, message)
    return multiply(s, BASE) == add(r, multiply(challenge, a))
