"""Vectors of a bounded norm as integers, and back (40-privacy.md §2).

Part of the second implementation: it imports nothing of the packages. Python's floats, one
operation at a time, in the order of §2.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any

from blocks import Refused, stream

Data = dict[str, Any]
TRIES = 100
S2 = 2**27
"""The byte at which its signs begin."""


def C(bits: int) -> int:
    return 2 ** (bits - 1) - 1


def B(levels: int, length: int) -> int:
    """§2.3, as theorem 1 of Kairouz, Liu and Steinke has it."""
    with localcontext(Context(prec=60)):
        c, d = Decimal(levels), Decimal(length)
        root = d.sqrt()
        return math.floor(min((c + root) ** 2, c * c + d / 4 + c + root / 2))


def largest(length: int) -> int:
    """D"""
    return max(2**k for k in range(32) if 2**k <= length)


def signs(seed: bytes, first: int, count: int) -> list[int]:
    """§2.9"""
    data = stream(seed, 8, first, -(-count // 8))
    return [1 - 2 * (data[i // 8] >> i % 8 & 1) for i in range(count)]


def transformed(x: Sequence[float]) -> list[float]:
    """H without its factor: butterflies at distances 1, 2, 4 and so on."""
    y, distance = list(x), 1
    while distance < len(y):
        for i in range(len(y)):
            if i // distance % 2 == 0:
                j = i + distance
                y[i], y[j] = y[i] + y[j], y[i] - y[j]
        distance *= 2
    return y


def rotated(x: Sequence[float], seed: bytes, f: float) -> list[float]:
    """f U x"""
    d, wide = len(x), largest(len(x))
    g = 1 / math.sqrt(wide)
    factors = [f * g] * wide + [f] * (d - wide)
    y = [v * (s * h) for v, s, h in zip(x, signs(seed, 0, d), factors, strict=True)]
    y[:wide] = transformed(y[:wide])
    if d > wide:
        last = zip(y[d - wide :], signs(seed, S2, wide), strict=True)
        y[d - wide :] = transformed([v * (s * g) for v, s in last])
    return y


def rotated_back(y: Sequence[float], seed: bytes, f: float) -> list[float]:
    """f U^T y: §2.12"""
    x, d, wide = list(y), len(y), largest(len(y))
    g = 1 / math.sqrt(wide)
    if d > wide:
        last = zip(transformed(x[d - wide :]), signs(seed, S2, wide), strict=True)
        x[d - wide :] = [v * (s * g) for v, s in last]
    x[:wide] = transformed(x[:wide])
    factors = [f * g] * wide + [f] * (d - wide)
    return [v * (s * h) for v, s, h in zip(x, signs(seed, 0, d), factors, strict=True)]


def summed(numbers: Sequence[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total


def norm(x: Sequence[float]) -> tuple[float, int]:
    """norm and e of §2.8."""
    e = max(math.frexp(max(abs(v) for v in x))[1], -500)
    small = [v * math.ldexp(1.0, -e) for v in x]
    squares = [v * v for v in small]
    for _ in range(3):
        squares = [summed(squares[i : i + 1024]) for i in range(0, len(squares), 1024)]
    return math.sqrt(squares[0]), e


def scaled(x: Sequence[float], bits: int, c: float, seed: bytes) -> tuple[list[float], bool]:
    """§2.1, §2.2: and whether it was clipped."""
    if not all(map(math.isfinite, x)):
        raise Refused("RangeError", "§2")
    length, e = norm(x)
    if not length > math.ldexp(c, -e):
        return rotated(x, seed, C(bits) / c), False
    return rotated([v * math.ldexp(1.0, -e) for v in x], seed, C(bits) / length), True


def nearest(y: Sequence[float], key: bytes) -> list[int]:
    """§2.10"""
    found = []
    for value, u in zip(y, stream(key, 32, 0, len(y)), strict=True):
        below = math.floor(value)
        found.append(below + (u < math.floor((value - below) * 2**32)))
    return found


def rounded(y: Sequence[float], most: int, draw: Callable[[], bytes]) -> list[int]:
    """§2.4"""
    for _ in range(TRIES):
        q = nearest(y, draw())
        if sum(x * x for x in q) <= most:
            return q
    return [math.trunc(value) for value in y]


def do_largest_norm(levels: int, length: int) -> Data:
    return {"square": B(levels, length)}


def do_round_vector(norm: str, bits: int, values: list[str], seed: str, randomness: str) -> Data:
    """randomness: the keys of as many tries as there may be; each of the last bytes but one key's
    worth is of a try that was too long."""
    c, tape = float.fromhex(norm), bytes.fromhex(randomness)
    x = [float.fromhex(v) for v in values]
    y, clipped = scaled(x, bits, c, bytes.fromhex(seed))
    tries = 0

    def draw() -> bytes:
        nonlocal tries
        tries += 1
        return tape[32 * tries - 32 : 32 * tries]

    return {"levels": rounded(y, B(C(bits), len(x)), draw), "clipped": clipped, "tries": tries}


def do_unrotate(norm: str, bits: int, levels: list[int], seed: str) -> Data:
    """§2.12"""
    reals = rotated_back([float(q) for q in levels], bytes.fromhex(seed), _step(norm, bits))
    return {"values": [x.hex() for x in reals]}


def _step(norm: str, bits: int) -> float:
    return float.fromhex(norm) / C(bits)


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
