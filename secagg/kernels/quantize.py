"""Rounding reals to levels (specs/02-quantization.md §4). Floats are the point here.

Values are finite, and levels = (largest level) < 2^31. What reaches ±clip becomes ±levels without
a division, so that the ends of the range are exact whatever clip / levels rounds to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Levels = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

_TWO_32 = float(1 << 32)


@njit(cache=True, nogil=True)
def nearest(out: Levels, values: Reals, clip: float, step: float, levels: int) -> None:
    """out[i] = the integer nearest to values[i] / step, ties to even, within ±levels."""
    for i in range(values.size):
        x = values[i]
        if x >= clip:
            out[i] = levels
        elif x <= -clip:
            out[i] = -levels
        else:
            out[i] = np.int64(np.rint(x / step))


@njit(cache=True, nogil=True)
def stochastic(
    out: Levels,
    values: Reals,
    uniform: npt.NDArray[np.uint32],
    clip: float,
    step: float,
    levels: int,
) -> None:
    """out[i] = floor(y) + (uniform[i] < floor(frac(y) 2^32)) for y = values[i] / step.

    Just inside ±clip, y can pass ±levels by a rounding error: it is bounded before it is split.
    """
    top = float(levels)
    for i in range(values.size):
        x = values[i]
        if x >= clip:
            out[i] = levels
        elif x <= -clip:
            out[i] = -levels
        else:
            y = max(-top, min(top, x / step))
            below = np.floor(y)
            up = float(uniform[i]) < np.floor((y - below) * _TWO_32)
            out[i] = np.int64(below) + np.int64(up)
