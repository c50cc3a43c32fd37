"""Promises and the noise for them: what operations do to this code, and the scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from secagg.dp import (
    Block,
    Claim,
    Shape,
    integer_bound,
    kept_by,
    loss,
    noises,
    vector_bound,
)
from secagg.dp.responses import central, flips
from secagg.noise import Kind, Noise, Response, share

Data = dict[str, Any]
Steps = list[tuple[str, Data]]
Listed = list[list[Any]]


def _blocks(listed: Listed) -> list[Block]:
    return [
        Block(share(Kind(kind), float.fromhex(variance)), *numbers)
        for kind, variance, *numbers in listed
    ]


def _claim(blocks: Listed, epsilon: str, delta: str, rounds: int) -> Data:
    claim = Claim(float.fromhex(epsilon), float.fromhex(delta), rounds)
    return {"by": kept_by(_blocks(blocks), claim) or ""}


def _least_noise(shapes: Listed, epsilon: str, delta: str, rounds: int, shares: int) -> Data:
    wanted = [Shape(*numbers, Fraction(part)) for *numbers, part in shapes]
    claim = Claim(float.fromhex(epsilon), float.fromhex(delta), rounds)
    return {"noises": [[n.kind, n.variance.hex()] for n in noises(wanted, claim, shares)]}


def _vector_bound(
    length: int, square: int, units: int, kind: int, variance: str, shares: int
) -> Data:
    noise = Noise(Kind(kind), float.fromhex(variance))
    return {"bound": vector_bound(length, square, units, noise, shares)}


def _integer_bound(
    length: int, largest: int, units: int, kind: int, variance: str, shares: int
) -> Data:
    noise = Noise(Kind(kind), float.fromhex(variance))
    return {"bound": integer_bound(length, largest, units, noise, shares)}


def _flips(parts: list[str], epsilon: str, delta: str, rounds: int) -> Data:
    claim = Claim(float.fromhex(epsilon), float.fromhex(delta), rounds)
    return {"flips": [one.flip.hex() for one in flips(list(map(Fraction, parts)), claim)]}


def _central(flip: str, honest: int, delta: str) -> Data:
    found = central([Response(float.fromhex(flip))], 1, honest, float.fromhex(delta))
    return {"epsilon": f"{found:.4f}"}


ALONE: dict[str, Callable[..., Data]] = {
    "claim": _claim,
    "least_noise": _least_noise,
    "vector_bound": _vector_bound,
    "integer_bound": _integer_bound,
    "flips": _flips,
    "central": _central,
}

SQUARE = 1073709570
"""Of 1,970 coordinates of 16 bits."""
WIDE, NARROW, COUNT = (
    [1, (2.0**27).hex(), 1970, SQUARE, 800],
    [1, (6.25).hex(), 256, 17000, 1000],
    [2, (0.0179).hex(), 1, 1, 1000],
)
LONE = [1, (0.5).hex(), 1, 1, 1]
RELEASES: list[tuple[Listed, float, int]] = [
    ([WIDE], 1e-5, 10),
    ([WIDE], 2.0**-64, 1000),
    ([NARROW], 1e-5, 1),
    ([[1, (6.25).hex(), 1 << 30, 9, 1 << 20]], 1e-9, 1 << 20),
    ([COUNT], 1e-5, 1),
    ([[2, (3.0).hex(), 100, 5, 7]], 0.01, 3),
    ([WIDE, NARROW, COUNT], 1e-6, 4),
    ([LONE], 1e-3, 2),
    ([[3, (0.25).hex(), 1, 1, 1]], 1e-6, 1),
    ([[3, (0.25).hex(), 1, 1, 1], [3, (0.125).hex(), 1, 1, 1]], 1e-6, 7),
    ([[3, (0.25).hex(), 1, 1, 1], LONE], 1e-6, 1),
    ([[1, (1e17 / 3).hex(), 7, 11, 1]], 0.25, 1),
]
UPDATE, TABLE = [1970, SQUARE, True, "1"], [40, 3, False, "1"]
WANTED: list[tuple[Listed, float, float, int, int]] = [
    ([UPDATE], 2.0, 1e-4, 10, 800),
    ([TABLE], 1.0, 1e-6, 1, 55),
    ([UPDATE, [10, 77, True, "1/3"], [1, 1 << 40, False, "2/7"]], 0.5, 1e-9, 300, 90),
    ([[8, 1, False, "1"]], 1000.0, 0.5, 1, 1000),
    ([TABLE], 1e-6, 1e-15, 10**6, 1000),
]
REFUSED = [(0.0, 1e-5, 1), (1.0, 0.0, 1), (1.0, 1.0, 1), (1.0, 1e-5, 0), (2048.0, 1e-5, 1)]


def steps() -> Iterator[tuple[str, Data]]:
    for blocks, delta, rounds in RELEASES:
        least = loss(_blocks(blocks), delta, rounds).epsilon
        for epsilon in (least, math.nextafter(least, 0)):
            yield "claim", _said(epsilon, delta, rounds, blocks=blocks)
    yield "claim", _said(1.0, 1e-5, 1, blocks=[[1, (6.0).hex(), 1, 1, 2]])
    for refused in REFUSED:
        yield "claim", _said(*refused, blocks=[COUNT])
    for shapes, epsilon, delta, rounds, shares in WANTED:
        yield "least_noise", _said(epsilon, delta, rounds, shapes=shapes, shares=shares)
    for flip, length, shares in ((0.5, 1, 1), (2.0**-65, 1, 1), (0.25, 2, 1), (0.25, 1, 2)):
        yield "claim", _said(1.0, 1e-5, 1, blocks=[[3, flip.hex(), length, 1, shares]])
    for parts, epsilon, rounds in (
        (["1"], 1.0, 1),
        (["1"], math.log(3), 1),
        (["9/10", "1/10"], 3.0, 7),
        (["1"], 60.0, 1),
        (["1/3", "1/3", "1/3"], 2.0**-20, 1000),
        (["1"], 2.0**-20, 10**6),
        (["1/1000000", "999999/1000000"], 2.0**-20, 1 << 20),
    ):
        yield "flips", _said(epsilon, 1e-5, rounds, parts=parts)
    for flip, honest, delta in (
        (0.25, 1, 1e-6), (0.25, 2, 1e-6), (0.25, 6, 0.05), (0.125, 12, 1e-3), (0.375, 30, 1e-6)
    ):  # fmt: skip
        yield "central", {"flip": flip.hex(), "honest": honest, "delta": delta.hex()}
    yield "least_noise", _said(1e-6, 1e-15, 1, shapes=[UPDATE], shares=800)
    for kind, variance, length, units in (
        (1, 16384.0, 1970, 1000),
        (1, 16384.0, 1, 1000),
        (2, 3.3, 1 << 20, 1 << 20),
        (2, 2.0**-20, 31, 1),
        (1, 2.0**40, (1 << 30) - 1, 100),
    ):
        noise = {"kind": kind, "variance": variance.hex(), "shares": units}
        yield "vector_bound", {"length": length, "square": SQUARE, "units": units, **noise}
        yield "integer_bound", {"length": length, "largest": 1000, "units": units, **noise}


def _said(epsilon: float, delta: float, rounds: int, **more: Any) -> Data:
    return {"epsilon": epsilon.hex(), "delta": delta.hex(), "rounds": rounds, **more}
