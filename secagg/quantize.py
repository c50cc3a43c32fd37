"""Reals <-> levels: clip, scale, round (specs/02-quantization.md §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import CryptoError, InputError, RangeError
from secagg.fields import FixedPoint
from secagg.kernels import quantize as kernels
from secagg.layout import Lane
from secagg.mask import KEY_SIZE, add_stream
from secagg.ring import Ring
from secagg.tensors import Tensor, nearest, read
from secagg.types import Randomness

CHUNK = 1 << 16
"""Elements at a time: temporaries stay at about a megabyte whatever the field's length."""

_INT64 = Ring(64)
"""In which two's complement is that of int64."""


def quantize(
    values: npt.ArrayLike, field: FixedPoint, randomness: Randomness, *, name: str = "values"
) -> tuple[npt.NDArray[np.int64], int]:
    """The levels in ±field.levels, flat in C order, and how many values were clipped.

    values: field.length real numbers in any shape: float16, bfloat16, float32, float64, longdouble
    or any integer dtype, of any byte order and strides; lists; tensors that numpy can read. Each is
    first converted to float64, which is exact up to 53 bits and rounds to nearest above. Where
    |x| > reach(field.clip, dtype), exactly so, x counts as clipped: the float32 nearest to a clip
    of 0.1 lies a little beyond it and is what a float32 of 0.1 is, so it is taken for the clip.
    -0.0 and denormals are numbers like any other.

    randomness: one call of 32 bytes, and for stochastic rounding only. The draw is uniform in
    2^32 steps, so the expectation of a level errs by less than 2^-32.

    Raises InputError for complex, boolean, object, text and masked arrays, scalars, and another
    number of elements; RangeError, with the flat index, for NaN and infinities, and for a value
    beyond clip where field.excess is `error`. |x - level * field.step| <= field.max_error for
    every x within ±clip, and so it is with ±clip in place of every x beyond.
    """
    levels = np.empty(field.length, np.int64)
    return levels, quantize_into(levels.view(np.uint64), values, field, randomness, name=name)


def quantize_into(
    out: Lane,
    values: npt.ArrayLike,
    field: FixedPoint,
    randomness: Randomness,
    *,
    ring: Ring = _INT64,
    weight: int = 1,
    name: str = "values",
) -> int:
    """out[i] = level i * weight modulo the ring, and how many values were clipped: `quantize`
    without an array of levels in between.

    out: field.length elements, contiguous, of a lane that holds the ring. weight: below 2^32.
    Where it raises, out has no meaning.
    """
    what = f"field {name!r}"
    tensor = read(values, what)
    one = Tensor(flatten(tensor, field.length, what), tensor.type)
    return quantize_parts(out, [(what, one)], field, randomness, ring=ring, weight=weight)


def quantize_parts(
    out: Lane,
    parts: Sequence[tuple[str, Tensor]],
    field: FixedPoint,
    randomness: Randomness,
    *,
    ring: Ring,
    weight: int,
) -> int:
    """`quantize_into` of arrays that stand one after the other, each with the reach of its own
    type, and field.length elements in all. parts: what an error calls each, and what it is."""
    key = _rounding_key(field, randomness)
    start = clipped = 0
    with np.errstate(over="ignore"):  # without the JIT, a product that wraps says so
        for what, tensor in parts:
            flat, limit = tensor.array.reshape(-1), reach(field.clip, tensor.type)
            rounding = _Rounding(field, limit, key, weight, ring.mask)
            for at in range(0, flat.size, CHUNK):
                chunk = _reals(flat[at : at + CHUNK])
                first = start + at
                counts = rounding(out[first : first + chunk.size], chunk, first)
                if counts.any():
                    _judge(chunk, counts, field, limit, at, what)
                clipped += int(counts[1])
            start += flat.size
    return clipped


def dequantize(levels: npt.NDArray[np.int64], step: float) -> npt.NDArray[np.float64]:
    """levels * step in float64: exact up to one rounding while |levels| <= 2^53."""
    return levels * np.float64(step)


def reach(bound: float, type: str) -> float:
    """How far a value of this type may lie from 0 and still be within ±bound, bound > 0.

    As far as the number of a floating type that is nearest to the bound, where that lies beyond:
    it is what the bound itself is in that type (specs/02-quantization.md §4.3).
    """
    return max(bound, nearest(bound, type))


def flatten(values: Any, length: int, what: str) -> npt.NDArray[Any]:
    """`values` as an array of one dimension in C order, not copied if its strides allow that.

    Raises InputError as `tensors.read` does, for a scalar, and for another number of elements.
    """
    array = read(values, what).array
    if array.ndim == 0:
        raise InputError(f"{what}: a scalar; wrap it as an array of one element")
    if array.size != length:
        raise InputError(f"{what} takes {length} elements, and {array.size} were given")
    return array.reshape(-1)


def _rounding_key(field: FixedPoint, randomness: Randomness) -> bytes | None:
    if field.rounding == "nearest":
        return None
    key = randomness(KEY_SIZE)
    if len(key) != KEY_SIZE:
        raise CryptoError(f"the source of randomness gave {len(key)} of {KEY_SIZE} bytes")
    return key


def _reals(chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As one of the two kinds that the kernels read; the conversion to float64 is exact there."""
    if chunk.dtype == np.float32 and chunk.dtype.isnative and chunk.flags.c_contiguous:
        return chunk
    with np.errstate(over="ignore", invalid="ignore"):
        # a longdouble beyond float64 becomes infinite, and is refused as that
        return np.ascontiguousarray(chunk, np.float64)


class _Rounding:
    """How the values of one field become elements: its rounding, then weight and ring."""

    def __init__(
        self, field: FixedPoint, limit: float, key: bytes | None, weight: int, mask: int
    ) -> None:
        # The kernels may take the limit for the clip: no value of its type lies between the two.
        # Dividing by the very step that decoding multiplies with keeps the error within max_error;
        # x * (levels / clip) would round twice, and x * levels can overflow.
        self._scale = limit, field.step, field.levels
        self._ring = np.uint64(weight), np.uint64(mask)
        self._key = key
        self._uniform = np.empty(min(field.length, CHUNK) if key else 0, np.uint32)

    def __call__(self, out: Lane, reals: npt.NDArray[Any], start: int) -> npt.NDArray[np.int64]:
        """How many values were not finite, and how many beyond the limit."""
        counts = np.zeros(2, np.int64)
        if self._key is None:
            kernels.nearest(out, counts, reals, *self._scale, *self._ring)
            return counts
        uniform = self._uniform[: reals.size]
        uniform.fill(0)
        add_stream(uniform, self._key, 1, start)
        kernels.stochastic(out, counts, reals, uniform, *self._scale, *self._ring)
        return counts


def _judge(
    reals: npt.NDArray[Any],
    counts: npt.NDArray[np.int64],
    field: FixedPoint,
    limit: float,
    start: int,
    what: str,
) -> None:
    if counts[0]:
        at = start + int(np.isfinite(reals).argmin())
        raise RangeError(f"{what}: NaN or infinite at index {at}; replace such values")
    if field.excess == "error":
        beyond = np.abs(reals.astype(np.float64)) > limit
        at = start + int(beyond.argmax())
        raise RangeError(
            f"{what}: beyond ±{field.clip} at index {at}; the plan refuses such values: "
            "clip them beforehand, or agree on a plan with a larger clip or excess='clip'"
        )
