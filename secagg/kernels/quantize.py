"""Reals to elements of a ring, in one pass (specs/02-quantization.md §4, §5). Floats are the point.

An element is level * weight in two's complement, `mask` being 2^w - 1: with a mask of 64 ones and
a weight of 1 it is the level itself, read as int64. levels = (largest level) < 2^31, weight < 2^32.
What reaches ±clip becomes ±levels whatever clip / levels rounds to. counts[0] += the values that
are NaN or infinite, whose elements mean nothing; counts[1] += those beyond clip. Each loop is one
pass of selections without a branch, so that it becomes vector code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.kernels.jit import kernel
from secagg.layout import Lane

# Theory of operation.
#
# Everything else in secagg is exact, and this is where reals become integers; so what is rounded,
# and how, is decided once, in float64, whatever came. float16 and float32 convert to it exactly.
#
# One pass over the values does five things: it divides by the step, clips, rounds, multiplies by
# the weight and reduces modulo the ring. As five numpy expressions each would be a pass through
# memory with an array between them; d is a million and more, so that was most of a client's time.
# Each loop has selections and no branch, so that LLVM makes vector code of it: counting what is not
# finite instead of raising at once is a part of that, and the caller raises when the pass is over.
#
# Clipping happens twice over, and must. The levels are bounded by `top`, and still y = x / step can
# exceed it by a rounding error for x just inside ±clip, because step is itself a rounded clip /
# top; and x = clip itself has to give exactly `top`, as the plan promises that ±clip are levels. So
# the comparison with ±clip decides about the ends and that with ±top about what is between.
#
# NaN compares false with everything: `not y > -top` sends it to -top, where the conversion to 32
# bits is defined. Its element means nothing, and counts[0] says so to the caller, which withholds
# all.
#
# Stochastic rounding takes 32 bits of one draw for each value: floor(y) + 1 with probability
# floor(frac(y) 2^32) / 2^32. The comparison is of integers in float64, so it is exact and the bias
# is below 2^-32 of a step (§4); comparing reals with a float in [0, 1) would hang on how that float
# was made. The uniforms come from the caller: kernels draw nothing.
#
# The weight multiplies after rounding, in uint64 modulo 2^64, so that weight * level is exact in
# the ring, and head-room, proved in secagg.schema, is what keeps the sum from wrapping, not this.

Counts = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64] | npt.NDArray[np.float32]

_TWO_32 = float(1 << 32)


@kernel
def nearest(
    out: Lane,
    counts: Counts,
    values: Reals,
    clip: float,
    step: float,
    levels: int,
    weight: np.uint64,
    mask: np.uint64,
) -> None:
    """The level is the integer nearest to values[i] / step, ties to even, within ±levels."""
    top, infinite, beyond = float(levels), np.int64(0), np.int64(0)
    for i in range(values.size):
        x = np.float64(values[i])
        infinite += np.int64(not np.isfinite(x))
        beyond += np.int64(abs(x) > clip)
        # through 32 bits: every vector unit converts float64 to int32, and not every one to int64
        level = np.int64(np.int32(np.rint(_scaled(x, clip, step, top))))
        out[i] = out.dtype.type(np.uint64(level) * weight & mask)
    counts[0] += infinite
    counts[1] += beyond


@kernel
def stochastic(
    out: Lane,
    counts: Counts,
    values: Reals,
    uniform: npt.NDArray[np.uint32],
    clip: float,
    step: float,
    levels: int,
    weight: np.uint64,
    mask: np.uint64,
) -> None:
    """The level is floor(y) + (uniform[i] < floor(frac(y) 2^32)) for y = values[i] / step."""
    top, infinite, beyond = float(levels), np.int64(0), np.int64(0)
    for i in range(values.size):
        x = np.float64(values[i])
        infinite += np.int64(not np.isfinite(x))
        beyond += np.int64(abs(x) > clip)
        y = _scaled(x, clip, step, top)
        below = np.floor(y)
        up = np.float64(uniform[i]) < np.floor((y - below) * _TWO_32)
        level = np.int64(np.int32(below)) + np.int64(up)
        out[i] = out.dtype.type(np.uint64(level) * weight & mask)
    counts[0] += infinite
    counts[1] += beyond


@kernel
def _scaled(x: float, clip: float, step: float, top: float) -> float:
    """x / step within ±top. Just inside ±clip it can pass ±top by a rounding error; NaN is -top,
    so that whatever is rounded fits 32 bits."""
    y = x / step
    if not y > -top or x <= -clip:
        y = -top
    if y > top or x >= clip:
        y = top
    return y
