"""What each kernel means, in plain Python ints: the specification, and the oracle of the tests.

Nothing here is fast, and nothing here shares code with what it judges. Same names and the same
arguments as the kernels, but results are returned instead of written to `out`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

P = 2**61 - 1


def add(accumulator: Sequence[int], stream: Sequence[int], lane_bits: int) -> list[int]:
    """The sum of a lane and a stream (specs/10-secagg.md §5)."""
    return [(a + s) % 2**lane_bits for a, s in zip(accumulator, stream, strict=True)]


def pack(elements: Sequence[int], width: int) -> bytes:
    """pack.pack: the elements are the digits, in base 2^width, of one little-endian number
    (specs/02-quantization.md §2)."""
    number = sum(element % (1 << width) << i * width for i, element in enumerate(elements))
    return number.to_bytes(math.ceil(len(elements) * width / 8), "little")


def unpack(data: bytes, width: int, length: int) -> list[int]:
    """pack.unpack; unpack_add is its sum with the accumulator, modulo the lane."""
    number = int.from_bytes(data, "little")
    return [(number >> i * width) % 2**width for i in range(length)]


def multiply(a: int, b: int) -> int:
    """field.multiply (specs/10-secagg.md §6)."""
    return a * b % P


def evaluate(coefficients: Sequence[Sequence[int]], points: Sequence[int]) -> list[list[int]]:
    """field.evaluate: per point, the value of the polynomial of each limb."""
    limbs = range(len(coefficients[0]))
    return [
        [sum(c[limb] * x**power for power, c in enumerate(coefficients)) % P for limb in limbs]
        for x in points
    ]


def barycentric(points: Sequence[int]) -> list[int]:
    """field.barycentric: the inverse of each point's product of differences to the others."""
    return [
        pow(math.prod(x - other for j, other in enumerate(points) if j != i), -1, P)
        for i, x in enumerate(points)
    ]


def lagrange(points: Sequence[int], at: Sequence[int]) -> list[list[int]]:
    """field.lagrange: f(z) = sum of weight_i f(x_i) for every f of degree < len(points)."""
    rows: list[list[int]] = []
    for z in at:
        rows.append([])
        for i, x in enumerate(points):
            others = [other for j, other in enumerate(points) if j != i]
            below = math.prod(x - other for other in others)
            above = math.prod(z - other for other in others)
            rows[-1].append(above * pow(below, -1, P) % P)
    return rows


def syndromes(
    shares: Sequence[Sequence[int]], points: Sequence[int], weights: Sequence[int], rows: int
) -> list[list[int]]:
    """field.syndromes: the products of the shares with the rows of a check matrix."""
    return [
        combine(shares, [w * x**k % P for w, x in zip(weights, points, strict=True)])
        for k in range(rows)
    ]


def combine(shares: Sequence[Sequence[int]], weights: Sequence[int]) -> list[int]:
    """field.combine: the weighted sum of the shares, limb by limb."""
    return [
        sum(w * share[limb] for w, share in zip(weights, shares, strict=True)) % P
        for limb in range(len(shares[0]))
    ]


def element(level: int, weight: int, width: int) -> int:
    """What the kernels of quantize write for a level (specs/02-quantization.md §5)."""
    return level * weight % (1 << width)


def nearest(value: float, clip: float, step: float, levels: int) -> int:
    """The level in quantize.nearest; Python rounds ties to even (specs/02-quantization.md §4)."""
    return _end(value, clip, levels) or round(value / step)


def stochastic(value: float, uniform: int, clip: float, step: float, levels: int) -> int:
    """The level in quantize.stochastic, from one draw of 32 bits."""
    if end := _end(value, clip, levels):
        return end
    y = max(-levels, min(levels, value / step))
    below = math.floor(y)
    return below + (uniform < math.floor((y - below) * 2**32))


def add_draws(
    elements: Sequence[int],
    blocks: Sequence[int],
    columns: Sequence[tuple[int, int]],
    factor: int,
    width: int,
) -> list[int]:
    """noise.add_draws, from blocks and columns as numbers (specs/41-noise.md §4)."""
    return [
        (element + factor * _draw(block, columns)) % 2**width
        for element, block in zip(elements, blocks, strict=True)
    ]


def _draw(block: int, columns: Sequence[tuple[int, int]]) -> int:
    rest, column = divmod(block, len(columns))
    rest, negative = divmod(rest, 2)
    threshold, alias = columns[column]
    x = column if rest < threshold else alias
    return -x if negative else x


def _end(value: float, clip: float, levels: int) -> int:
    """±levels for what reaches ±clip, else 0."""
    return levels * ((value >= clip) - (value <= -clip))
