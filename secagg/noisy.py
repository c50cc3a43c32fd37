"""A field of a plan with privacy <-> its part of the ring vector (specs/40-privacy.md §2).

Every unit, the client's one or each of its examples, becomes integers whose norm is the field's at
most; these are added up, and one share of noise to their sum. What is rounded after it was added
would have moved further than its norm says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.bounded import round_vector
from secagg.errors import RangeError
from secagg.fields import Integer, Vector
from secagg.layout import Lane
from secagg.noise import Noise
from secagg.ring import Ring
from secagg.sampler import add_noise, field_key
from secagg.types import Randomness, Seed

Int64s = npt.NDArray[np.int64]
Unit = tuple[str, npt.NDArray[Any]]
"""What an error calls it, and its elements, flat."""

EXACT = 1 << 20
"""Integers up to here, and as many, have squares whose sum int64 holds."""


def encode_units(
    part: Lane,
    units: Iterable[Unit],
    field: Vector | Integer,
    ring: Ring,
    seed: bytes,
    randomness: Randomness,
) -> int:
    """part := the sum of all units modulo the ring. How many were longer than the field's norm.

    Integers are never made shorter: RangeError where they are longer than their sensitivity says.
    seed: of the rotation, 32 public bytes, the same for a whole sum.
    """
    total, clipped = np.zeros(part.size, np.int64), 0
    for what, values in units:
        if isinstance(field, Vector):
            levels, long = round_vector(values, field, seed, randomness, what)
            clipped += long
        else:
            levels = _within(values, field, what)
        total += levels
    bits = total.view(np.uint64)
    bits &= np.uint64(ring.mask)
    part[:] = bits
    return clipped


def add_share(part: Lane, noise: Noise, ring: Ring, secret: Seed, place: int) -> None:
    """One share of the noise of the plan's field number `place`. It wraps and is never cut off: who
    left a round for having drawn much would make what stays depend on it."""
    add_noise(part, noise, ring, field_key(secret, place))


def _within(values: Int64s, field: Integer, what: str) -> Int64s:
    small = max(values.size, int(np.abs(values).max(initial=0))) < EXACT
    squared = int(values @ values) if small else sum(x * x for x in values.tolist())
    if squared > field.norm_squared:
        raise RangeError(
            f"{what}: its Euclidean norm is above {field.sensitivity!r}, the plan's sensitivity; "
            "integers are never made smaller: mend it, or agree on a plan with a larger one"
        )
    return values
