"""Vectors of a bounded norm <-> integers of a bounded norm (specs/40-privacy.md §2).

What a client adds to a sum is an integer vector whose squared norm is at most that of its field,
exactly and always: that is what its privacy is counted by, and no float has a say in it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from secagg.errors import RangeError
from secagg.fields import Vector
from secagg.kernels.rotate import round_within, squared_norm
from secagg.mask import KEY_SIZE, add_stream
from secagg.quantize import CHUNK
from secagg.rotate import rotate, rotate_back
from secagg.types import Randomness

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

SEED_SIZE = KEY_SIZE
"""Bytes of a rotation's seed, which is public."""

SLACK = 2.0**-20
"""Of a norm. Who brings a vector to the norm in float32 may be beyond it by so much, and is not
told that it was made shorter."""

TRIES = 100
"""Of roundings, after which every element is rounded towards zero. One is accepted with a chance
of 39 % or more, so that a hundred all fail in 1 of 10^21."""


def round_vector(
    values: npt.NDArray[np.generic],
    field: Vector,
    seed: bytes,
    randomness: Randomness,
    what: str = "values",
) -> tuple[Int64s, bool]:
    """The integers of one unit's vector, and whether it was longer than the norm.

    values: field.length reals of any type, flat. seed: of the rotation, 32 public bytes.
    randomness: 32 bytes for every try. The squares of the integers add up to at most
    field.norm_squared. Raises RangeError, with the flat index, for NaN and infinities.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a longdouble beyond float64: refused next
        reals = np.array(values, np.float64)
    finite = np.isfinite(reals)
    if not finite.all():
        raise RangeError(f"{what}: NaN or infinite at index {finite.argmin()}; replace such values")
    norm, exponent = norm_of(reals)
    bound = math.ldexp(field.norm, -exponent)  # norm 2^e itself may be more than float64 holds
    if norm > bound:
        reals *= math.ldexp(1.0, -exponent)
        rotate(reals, seed, field.levels / norm)
    else:
        rotate(reals, seed, field.levels / field.norm)
    return _rounded(reals, field, randomness), norm > bound * (1 + SLACK)


def unrotate(levels: Int64s, field: Vector, seed: bytes) -> Reals:
    """The reals that a sum of integers stands for, in the units of the input."""
    reals = levels.astype(np.float64)
    rotate_back(reals, seed, field.step)
    return reals


def norm_of(reals: Reals) -> tuple[float, int]:
    """(x, e) with a norm of x 2^e. By a power of two the largest element is brought near 1, so
    that no square overflows, and none that counts vanishes."""
    exponent = math.frexp(float(max(-reals.min(), reals.max())))[1]
    exponent = max(exponent, -500)  # what is smaller still is within every norm
    return math.sqrt(squared_norm(reals, math.ldexp(1.0, -exponent))), exponent


def _rounded(reals: Reals, field: Vector, randomness: Randomness) -> Int64s:
    out = np.empty(reals.size, np.int64)
    limit = field.norm_squared
    for _ in range(TRIES):
        if _round(out, reals, randomness(KEY_SIZE), limit):
            return out
    return np.trunc(reals).astype(np.int64)  # never longer than it was: §2.4


def _round(out: Int64s, reals: Reals, key: bytes, limit: int) -> bool:
    """Whether the integers are within the limit. Element i is rounded by that of the key's
    stream."""
    root, spent = math.isqrt(limit), 0
    uniform = np.empty(min(reals.size, CHUNK), np.uint32)
    for start in range(0, reals.size, CHUNK):
        part = uniform[: min(CHUNK, reals.size - start)]
        part.fill(0)
        add_stream(part, key, 1, start)
        end = start + part.size
        spent = int(round_within(out[start:end], reals[start:end], part, spent, root, limit))
        if spent < 0:
            return False
    return True
