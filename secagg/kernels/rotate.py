"""A random rotation of reals, and their rounding to integers of a bounded norm
(specs/40-privacy.md §2). Floats are the point.

Every result is one of a fixed sequence of float64 operations, none of them fused or reordered, so
that it is the same on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.kernels.jit import kernel

# Theory of operation.
#
# The Walsh-Hadamard transform of D = 2^k numbers is k stages of butterflies (a + b, a - b), over
# distances 1, 2, 4 and so on. Each number of a stage is one addition of two of the stage before,
# so the order in which butterflies of a stage are done changes nothing, and the loops may go as
# the cache likes: all stages within pieces of the cache's size first, and three stages at a time in
# each pass, since eight numbers fit into registers. A reference that does stage after stage gives
# the same bits.
#
# A sum of squares does hang on its order. Here it is of sums of sums of 1024, which is as quick as
# one sum and keeps the error below 2^-41 for 2^30 numbers: what is rounded towards zero must be
# within its norm without a check.
#
# The norm of what is rounded is an integer and compared as one. No square is added once the sum is
# beyond the limit, which is below 2^62, and none is of a number beyond the limit's root: nothing
# overflows, whatever the reals are. What no int64 holds, NaN among it, is refused as a float: none
# comes here, but converted it would be the smallest int64, whose square wraps around to 0.

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

PIECE = 1 << 12
"""Numbers whose stages are done together: 32 KiB, a first-level cache."""
_FAN = 1024
_TWO_32 = float(1 << 32)


@kernel
def squared_norm(values: Reals, scale: float) -> float:
    """The sum of (values[i] scale)^2, of sums of sums of 1024 each."""
    total = 0.0
    for wide in range(0, values.size, _FAN * _FAN):
        middle = 0.0
        for narrow in range(wide, min(wide + _FAN * _FAN, values.size), _FAN):
            inner = 0.0
            for i in range(narrow, min(narrow + _FAN, values.size)):
                x = values[i] * scale
                inner += x * x
            middle += inner
        total += middle
    return total


@kernel
def multiply_signed(values: Reals, factor: float, signs: Bytes) -> None:
    """values[i] times ±factor: minus where bit i of signs, from the lowest of each byte, is 1."""
    for i in range(values.size):
        bit = (np.int64(signs[i >> 3]) >> np.int64(i & 7)) & np.int64(1)
        values[i] *= factor * np.float64(1 - 2 * bit)


@kernel
def hadamard(values: Reals) -> None:
    """The unscaled transform, in place, of a power of two of numbers."""
    piece = min(values.size, PIECE)
    for start in range(0, values.size, piece):
        _stages(values[start : start + piece], 1)
    _stages(values, piece)


@kernel
def _stages(values: Reals, distance: int) -> None:
    """All from that distance on."""
    while 8 * distance <= values.size:
        _three_stages(values, distance)
        distance *= 8
    while distance < values.size:
        _stage(values, distance)
        distance *= 2


@kernel
def _stage(values: Reals, distance: int) -> None:
    for start in range(0, values.size, 2 * distance):
        first, second = _pair(values, start, distance)
        for i in range(distance):
            a, b = first[i], second[i]
            first[i], second[i] = a + b, a - b


@kernel
def _three_stages(values: Reals, distance: int) -> None:
    for start in range(0, values.size, 8 * distance):
        x0, x1 = _pair(values, start, distance)
        x2, x3 = _pair(values, start + 2 * distance, distance)
        x4, x5 = _pair(values, start + 4 * distance, distance)
        x6, x7 = _pair(values, start + 6 * distance, distance)
        for i in range(distance):
            a, b, c, d = x0[i], x1[i], x2[i], x3[i]
            e, f, g, h = x4[i], x5[i], x6[i], x7[i]
            a, b, c, d = a + b, a - b, c + d, c - d
            e, f, g, h = e + f, e - f, g + h, g - h
            a, b, c, d = a + c, b + d, a - c, b - d
            e, f, g, h = e + g, f + h, e - g, f - h
            x0[i], x1[i], x2[i], x3[i] = a + e, b + f, c + g, d + h
            x4[i], x5[i], x6[i], x7[i] = a - e, b - f, c - g, d - h


@kernel
def _pair(values: Reals, start: int, distance: int) -> tuple[Reals, Reals]:
    """Two neighbours of that length: of arrays by themselves LLVM sees that they do not overlap."""
    middle = start + distance
    return values[start:middle], values[middle : middle + distance]


@kernel
def round_within(
    out: Int64s, reals: Reals, uniform: npt.NDArray[np.uint32], spent: int, root: int, limit: int
) -> np.int64:
    """out[i] = floor(y) + (uniform[i] < floor(frac(y) 2^32)) for y = reals[i].

    spent: the sum of squares so far. What it is then, or -1 where that is above limit, or an
    integer is above its root: out has no meaning then.
    """
    total = np.int64(spent)
    for i in range(reals.size):
        below = np.floor(reals[i])
        if not abs(below) <= _TWO_32:
            return np.int64(-1)
        up = np.float64(uniform[i]) < np.floor((reals[i] - below) * _TWO_32)
        rounded = np.int64(below) + np.int64(up)
        if abs(rounded) > root:
            return np.int64(-1)
        total += rounded * rounded
        if total > limit:
            return np.int64(-1)
        out[i] = rounded
    return total
