"""A field of a plan with privacy <-> its part of the ring vector (specs/40-privacy.md §2).

Every unit, the client's one or each of its examples, becomes integers whose norm is the field's at
most; these are added up, and one share of noise to their sum. What is rounded after it was added
would have moved further than its norm says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.bounded import round_vector, unrotate
from secagg.errors import RangeError
from secagg.fields import Integer, Vector, joined
from secagg.layout import Lane
from secagg.noise import Response, Share
from secagg.ring import Ring
from secagg.sampler import add_noise, field_key, told_wrongly
from secagg.types import Randomness, Seed

Int64s = npt.NDArray[np.int64]
Unit = tuple[str, npt.NDArray[Any]]
"""What an error calls it, and its elements, flat. Of integers also those of several examples, a row
for each."""

CHUNK = 1 << 18
"""Integers of examples at a time."""

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
            total += levels
        else:
            _add_within(total, values, field, what)
    bits = total.view(np.uint64)
    bits &= np.uint64(ring.mask)
    part[:] = bits
    return clipped


def encode_joint(
    parts: Sequence[Lane],
    units: Sequence[Sequence[Unit]],
    fields: Sequence[Vector],
    ring: Ring,
    seed: bytes,
    randomness: Randomness,
) -> int:
    """As `encode_units`, of several Vectors that are one, each in units of its norm (§11.2).

    units: of each field, as many in each.
    """
    whole = joined(fields)
    lane = np.empty(whole.length, ring.dtype)
    together = (_in_norms(unit, fields) for unit in zip(*units, strict=True))
    clipped = encode_units(lane, together, whole, ring, seed, randomness)
    start = 0
    for part in parts:
        part[:] = lane[start : start + part.size]
        start += part.size
    return clipped


def _in_norms(unit: Sequence[Unit], fields: Sequence[Vector]) -> Unit:
    scaled = []
    for (what, values), field in zip(unit, fields, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            reals = np.array(values, np.float64)
            finite = np.isfinite(reals)
            reals /= field.norm
        if not np.isfinite(reals).all():
            at = np.isfinite(reals).argmin()
            why = "NaN or infinite" if not finite.all() else f"beyond 2^1023 times {field.norm!r}"
            raise RangeError(f"{what}: {why} at index {at}; replace such values")
        scaled.append(reals)
    return " and ".join(what for what, _ in unit), np.concatenate(scaled)


def apart(levels: Sequence[Int64s], fields: Sequence[Vector], seed: bytes) -> list[Any]:
    """The reals that sums of the parts of a joint vector stand for, each in its own units (§11.3).

    levels: of each field in order.
    """
    reals = unrotate(np.concatenate(levels), joined(fields), seed)
    ends = np.cumsum([field.length for field in fields])[:-1]
    return [part * field.norm for part, field in zip(np.split(reals, ends), fields, strict=True)]


def add_share(part: Lane, noise: Share, ring: Ring, secret: Seed, place: int) -> None:
    """One share of the noise of the plan's field number `place`. It wraps and is never cut off: who
    left a round for having drawn much would make what stays depend on it. Of a response, the bit
    that is told."""
    key = field_key(secret, place)
    if isinstance(noise, Response):
        part ^= part.dtype.type(told_wrongly(noise, key))
    else:
        add_noise(part, noise, ring, key)


def check_bit(part: Lane, what: str) -> None:
    """RangeError for -1, the only integer of a one-bit field that is no bit."""
    if part[0] > 1:
        raise RangeError(f"{what} is told as a bit: 0 or 1 is needed")


def debiased(levels: Int64s, response: Response, contributors: int) -> npt.NDArray[np.float64]:
    """How many bits were 1, of so many responses: (R - n p) / (1 - 2p), whose mean over all draws
    is that number (specs/40-privacy.md §10.3)."""
    flip = np.float64(response.flip)
    return (levels - contributors * flip) / (1 - 2 * flip)


def _add_within(total: Int64s, values: npt.NDArray[Any], field: Integer, what: str) -> None:
    rows, limit = values.reshape(-1, field.length), field.norm_squared
    step = max(1, CHUNK // field.length)
    for start in range(0, len(rows), step):
        some = rows[start : start + step].astype(np.int64)
        long = [place for place, squared in enumerate(_squares(some)) if squared > limit]
        if long:
            example = f", example {start + long[0]}" if values.ndim > 1 else ""
            raise RangeError(
                f"{what}{example}: its Euclidean norm is above {field.sensitivity!r}, the plan's "
                "sensitivity; integers are never made smaller: mend it, or agree on a plan with a "
                "larger one"
            )
        total += some.sum(axis=0)


def _squares(rows: Int64s) -> list[int]:
    """The squared norm of each, exactly."""
    if max(rows.shape[1], int(np.abs(rows).max(initial=0))) < EXACT:
        squared: list[int] = np.einsum("ij,ij->i", rows, rows).tolist()
        return squared
    return [sum(x * x for x in row) for row in rows.tolist()]
