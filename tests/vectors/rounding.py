"""Vectors as integers of a bounded norm: what operations do to this code, and the scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from secagg.bounded import TRIES, round_vector, unrotate
from secagg.fields import Vector, rounded_norm_squared

Data = dict[str, Any]
Steps = list[tuple[str, Data]]
Shake = Callable[[str, int], bytes]


def _largest_norm(levels: int, length: int) -> Data:
    return {"square": rounded_norm_squared(levels, length)}


def _round_vector(norm: str, bits: int, values: list[str], seed: str, randomness: str) -> Data:
    data, drawn = bytes.fromhex(randomness), [0]

    def draw(size: int) -> bytes:
        drawn[0] += size
        return data[drawn[0] - size : drawn[0]]

    field = Vector(len(values), float.fromhex(norm), bits)
    reals = np.array([float.fromhex(value) for value in values])
    levels, clipped = round_vector(reals, field, bytes.fromhex(seed), draw)
    return {"levels": levels.tolist(), "clipped": clipped, "tries": drawn[0] // 32}


def _unrotate(norm: str, bits: int, levels: list[int], seed: str) -> Data:
    field = Vector(len(levels), float.fromhex(norm), bits)
    reals = unrotate(np.array(levels, np.int64), field, bytes.fromhex(seed))
    return {"values": [x.hex() for x in reals.tolist()]}


ALONE: dict[str, Callable[..., Data]] = {
    "largest_norm": _largest_norm,
    "round_vector": _round_vector,
    "unrotate": _unrotate,
}

NORMS = [
    *((1, d) for d in (1, 2, 3, 4, 5, 9, 16, 1 << 20)),
    *((32767, d) for d in (1, 2, 1970, 1 << 20, (1 << 30) - 1)),
    *(((1 << 29) - 1, d) for d in (1, 2, 3, 48, (1 << 30) - 1)),
]
SHAPES = [(1, 2), (3, 16), (5, 2), (5, 8), (64, 16), (65, 30)]
"""Length and bits."""
TOO_LONG = "rounding/long/30"
"""A name whose key rounds five elements of 0.44 away from zero, which is longer than there may be;
found by trying names in order."""
EVEN = (0.66, 0.22, 0.66, -0.22, 0.0)
"""What the rotation of 32 bytes of 1 makes 0.44 in each element."""


def steps(shake: Shake) -> Iterator[tuple[str, Data]]:
    for levels, length in NORMS:
        yield "largest_norm", {"levels": levels, "length": length}
    for length, bits in SHAPES:
        common = {"bits": bits, "seed": shake(f"rounding/{length}", 32).hex()}
        given = {**common, "randomness": shake(f"rounding/{bits}", 32).hex()}
        for norm, values in _inputs(shake, length):
            said = {"norm": norm.hex(), "values": [x.hex() for x in values]}
            yield "round_vector", {**given, **said}
        raw = shake(f"rounding/sum/{length}", 4 * length)
        sums = [int.from_bytes(raw[4 * i : 4 * i + 4]) - 2**31 for i in range(length)]
        yield "unrotate", {**common, "norm": (0.3).hex(), "levels": sums}
    yield from _tries(shake)
    for bad in ("nan", "inf", "-inf"):
        one = {"norm": (1.0).hex(), "bits": 16, "values": [bad, "0x0.0p+0"]}
        yield "round_vector", {**one, "seed": "00" * 32, "randomness": "00" * 32}


def _inputs(shake: Shake, length: int) -> Iterator[tuple[float, list[float]]]:
    """Shorter than the norm and longer; and where squares are no floats."""
    raw = shake(f"rounding/values/{length}", 4 * length)
    values = [int.from_bytes(raw[4 * i : 4 * i + 4]) / 2**31 - 1 for i in range(length)]
    yield 2 * math.sqrt(length), values
    yield 0.3, values
    if length == 5:
        yield 2.0**-500, [x * 1e-160 for x in values]
        yield 2.0**500, [x * 1e308 for x in values]
        yield 1.0, [x * 2.0**-1070 for x in values]
        yield 1.0, [0.0, -0.0, 0.0, 0.0, 0.0]


def _tries(shake: Shake) -> Iterator[tuple[str, Data]]:
    """Of C = 1 and five elements four may be rounded away from zero, and not all."""
    long, short = shake(TOO_LONG, 32).hex(), shake("rounding/short", 32).hex()
    values = [x.hex() for x in EVEN]
    common = {"norm": (1.0).hex(), "bits": 2, "values": values, "seed": "01" * 32}
    for keys in (long + short, long * (TRIES - 1) + short, long * TRIES):
        yield "round_vector", {**common, "randomness": keys}
