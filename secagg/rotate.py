"""A public random rotation, under which no element of a vector stands out
(specs/40-privacy.md §2.2).

U = H2 S2 (H1 + I) S1: random signs S1 on all d elements, a Walsh-Hadamard transform H1 of the first
D = 2^floor(log2 d), fresh signs S2 on the last D, and a transform H2 of these. Where d is a power
of two the first two are all of it. No padding: what is sent is as long as what was given.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from secagg.kernels.rotate import hadamard, multiply_signed
from secagg.mask import add_stream

Reals = npt.NDArray[np.float64]

SECOND = 1 << 27
"""The byte of the stream of signs at which those of S2 begin: S1 has at most 2^30 bits."""


def width(length: int) -> int:
    """D: the largest power of two that is no larger."""
    return 1 << (length.bit_length() - 1)


def rotate(values: Reals, seed: bytes, scale: float) -> None:
    """values := scale U values, in place. seed: 32 public bytes, the same for a whole sum."""
    wide = width(values.size)
    root = 1 / math.sqrt(wide)
    signs = _signs(seed, 0, values.size)
    multiply_signed(values[:wide], scale * root, signs)
    multiply_signed(values[wide:], scale, _from(signs, wide))
    hadamard(values[:wide])
    if wide < values.size:
        last = values[values.size - wide :]
        multiply_signed(last, root, _signs(seed, SECOND, wide))
        hadamard(last)


def rotate_back(values: Reals, seed: bytes, scale: float) -> None:
    """values := scale U^T values, in place."""
    wide = width(values.size)
    root = 1 / math.sqrt(wide)
    if wide < values.size:
        last = values[values.size - wide :]
        hadamard(last)
        multiply_signed(last, root, _signs(seed, SECOND, wide))
    hadamard(values[:wide])
    signs = _signs(seed, 0, values.size)
    multiply_signed(values[:wide], scale * root, signs)
    multiply_signed(values[wide:], scale, _from(signs, wide))


def _signs(seed: bytes, start: int, count: int) -> npt.NDArray[np.uint8]:
    """A bit for each of `count` elements, from the lowest of each byte of the stream."""
    signs = np.zeros(-(-count // 8), np.uint8)
    add_stream(signs, seed, 1, start)
    return signs


def _from(signs: npt.NDArray[np.uint8], first: int) -> npt.NDArray[np.uint8]:
    """The bits from `first` on, a power of two: below 8 they do not begin at a byte."""
    if first >= 8:
        return signs[first // 8 :]
    return np.packbits(np.unpackbits(signs, bitorder="little")[first:], bitorder="little")
