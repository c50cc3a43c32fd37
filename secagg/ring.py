"""Z_2^w: widths, lanes, encoded sizes, head-room (specs/02-quantization.md §1, §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.errors import HeadroomError, ParameterError
from secagg.layout import Lane

MAX_WIDTH = 64
LANES = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo 2^width, 1 <= width <= 64, held in the smallest lane that fits."""

    width: int

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise ParameterError(f"a ring is 1 to {MAX_WIDTH} bits wide, not {self.width}")

    @property
    def lane_bits(self) -> int:
        return next(lane for lane in LANES if lane >= self.width)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The native lane. Streams are little-endian on the wire; see secagg.mask."""
        return np.dtype(f"u{self.lane_bits // 8}")

    @property
    def modulus(self) -> int:
        return 1 << self.width

    @property
    def mask(self) -> int:
        return self.modulus - 1

    def packed_size(self, length: int) -> int:
        """Bytes of `length` elements at exactly `width` bits each, padded to a whole byte."""
        return (length * self.width + 7) // 8

    def reduce(self, total: Lane, /) -> Lane:
        return total & self.dtype.type(self.mask)

    def add(self, total: Lane, elements: Lane, /) -> None:
        """A lane wraps at a multiple of the modulus, so nothing is lost before `reduce`."""
        total += elements

    @classmethod
    def holding(cls, bound: int, what: str = "a sum", remedy: str = "a smaller bound") -> Ring:
        """The smallest ring in which every signed integer of magnitude <= bound is distinct.

        w = ceil(log2(2 bound + 1)) (specs/02-quantization.md §3). Raises HeadroomError past 64, for
        which the remedy is something to use.
        """
        width = max(1, (2 * bound).bit_length())
        if width > MAX_WIDTH:
            raise HeadroomError(
                f"{what} can reach ±{bound}, which needs ceil(log2(2*{bound} + 1)) = {width} bits; "
                f"a ring has at most {MAX_WIDTH}. Use {remedy}"
            )
        return cls(width)
