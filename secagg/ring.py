"""Z_2^w: widths, lanes, encoded sizes, head-room; and the layout of a vector in segments.

A ring vector is a tuple of one unsigned array per segment, each of the segment's lane dtype and
each element below 2^w (specs/02-quantization.md §1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.errors import HeadroomError, InputError, ParameterError

MAX_WIDTH = 64
LANES = (8, 16, 32, 64)

Lane: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
RingVector: TypeAlias = tuple[Lane, ...]


class Expander(Protocol):
    """Adds ± the streams of keys into an accumulator: the seam to the masking core."""

    def __call__(self, accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        """accumulator[i] ± stream(key)[first + i] for every key, modulo the lane.

        accumulator: contiguous, writable, of a lane dtype (u1, u2, u4, u8). keys: 32 bytes each,
        concatenated. signs: one byte a key, 1 for + and 0 for -. first: the index, in elements,
        of the accumulator within the streams.
        """


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

    @classmethod
    def holding(cls, bound: int, what: str = "a sum") -> Ring:
        """The smallest ring in which every signed integer of magnitude <= bound is distinct.

        w = ceil(log2(2 bound + 1)) (specs/02-quantization.md §3). Raises HeadroomError past 64.
        """
        width = max(1, (2 * bound).bit_length())
        if width > MAX_WIDTH:
            raise HeadroomError(
                f"{what} can reach ±{bound}, which needs ceil(log2(2*{bound} + 1)) = {width} bits; "
                f"a ring has at most {MAX_WIDTH}. Use fewer bits, a smaller weight or fewer clients"
            )
        return cls(width)


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` elements of one ring, count lane and weight lane included."""

    ring: Ring
    length: int


@dataclass(frozen=True)
class Layout:
    """The segments of one vector, by strictly ascending width, numbered from 0."""

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        widths = [s.ring.width for s in self.segments]
        if not widths or sorted(set(widths)) != widths:
            raise ParameterError(f"segments need strictly ascending widths, not {widths}")

    @cached_property
    def packed_size(self) -> int:
        return sum(s.ring.packed_size(s.length) for s in self.segments)

    @property
    def length(self) -> int:
        return sum(s.length for s in self.segments)

    @property
    def ring_bits(self) -> int:
        """The widest segment's width."""
        return self.segments[-1].ring.width

    def zeros(self) -> RingVector:
        return tuple(np.zeros(s.length, s.ring.dtype) for s in self.segments)

    def require(self, vector: RingVector) -> None:
        """InputError unless the vector has exactly these segments: dtypes and lengths."""
        if len(vector) != len(self.segments):
            raise InputError(f"{len(self.segments)} segments expected, {len(vector)} given")
        for number, (lane, segment) in enumerate(zip(vector, self.segments, strict=True)):
            if lane.dtype != segment.ring.dtype or lane.shape != (segment.length,):
                raise InputError(
                    f"segment {number}: expected {segment.ring.dtype}[{segment.length}], "
                    f"got {lane.dtype}{list(lane.shape)}"
                )

    def check(self, vector: RingVector) -> RingVector:
        """A fresh, contiguous copy of a caller's vector, or InputError saying what is wrong."""
        self.require(vector)
        for number, (lane, segment) in enumerate(zip(vector, self.segments, strict=True)):
            if lane.size and int(lane.max()) > segment.ring.mask:
                raise InputError(
                    f"segment {number}: an element is not below 2^{segment.ring.width}"
                )
        return tuple(lane.copy(order="C") for lane in vector)
