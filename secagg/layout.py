"""What a vector is made of: segments, each a number of elements of one group.

A vector is a tuple of one unsigned array per segment, each of its group's lane dtype and each
element below the group's modulus (specs/02-quantization.md §1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError, ParameterError
from secagg.shown import short

Lane: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
RingVector: TypeAlias = tuple[Lane, ...]


class Fresh(tuple[Lane, ...]):
    """A vector that its maker hands over: nobody else has its lanes, so whoever is given it may
    write into them."""


class Expander(Protocol):
    """Adds ± the streams of keys into an accumulator: the seam to the masking core."""

    def __call__(self, accumulator: Lane, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        """accumulator[i] ± stream(key)[first + i] for every key, modulo the lane.

        accumulator: contiguous, writable, of a lane dtype (u1, u2, u4, u8). keys: 32 bytes each,
        concatenated. signs: one byte a key, 1 for + and 0 for -. first: the index, in elements,
        of the accumulator within the streams.
        """


class Group(Protocol):
    """The integers below `modulus` under addition, each in one lane; `width` bits hold each."""

    @property
    def width(self) -> int: ...
    @property
    def modulus(self) -> int:
        """At most 2^width, and above 2^(width - 1)."""

    @property
    def lane_bits(self) -> int:
        """8, 16, 32 or 64."""

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The native lane."""

    def packed_size(self, length: int) -> int:
        """Bytes of `length` elements at exactly `width` bits each, padded to a whole byte."""

    def reduce(self, total: Lane, /) -> Lane:
        """A fresh lane of elements below the modulus, from what `add` has accumulated."""

    def add(self, total: Lane, elements: Lane, /) -> None:
        """In place. total: any number of additions to zeros, which `reduce` ends."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` elements of one group, count lane and weight lane included."""

    group: Group
    length: int


@dataclass(frozen=True)
class Layout:
    """The segments of one vector, by strictly ascending width, numbered from 0."""

    segments: tuple[Segment, ...]

    __repr__ = short

    def __post_init__(self) -> None:
        widths = [s.group.width for s in self.segments]
        if not widths or sorted(set(widths)) != widths:
            raise ParameterError(f"segments need strictly ascending widths, not {widths}")

    @cached_property
    def packed_size(self) -> int:
        return sum(s.group.packed_size(s.length) for s in self.segments)

    @property
    def length(self) -> int:
        return sum(s.length for s in self.segments)

    @property
    def ring_bits(self) -> int:
        """The widest segment's width."""
        return self.segments[-1].group.width

    def zeros(self) -> RingVector:
        return tuple(np.zeros(s.length, s.group.dtype) for s in self.segments)

    def reduce(self, total: RingVector) -> RingVector:
        """Accumulators of this layout, as elements of their groups."""
        return tuple(s.group.reduce(lane) for lane, s in zip(total, self.segments, strict=True))

    def require(self, vector: RingVector) -> None:
        """InputError unless the vector has exactly these segments: dtypes and lengths."""
        if len(vector) != len(self.segments):
            raise InputError(f"{len(self.segments)} segments expected, {len(vector)} given")
        for number, (lane, segment) in enumerate(zip(vector, self.segments, strict=True)):
            if lane.dtype != segment.group.dtype or lane.shape != (segment.length,):
                raise InputError(
                    f"segment {number}: expected {segment.group.dtype}[{segment.length}], "
                    f"got {lane.dtype}{list(lane.shape)}"
                )

    def check(self, vector: RingVector) -> RingVector:
        """A fresh, contiguous copy of a caller's vector, or InputError saying what is wrong. One
        that is `Fresh` is not copied."""
        self.require(vector)
        for number, (lane, segment) in enumerate(zip(vector, self.segments, strict=True)):
            if lane.size and int(lane.max()) >= segment.group.modulus:
                raise InputError(
                    f"segment {number}: an element is not below {_power(segment.group.modulus)}"
                )
        if isinstance(vector, Fresh):
            return vector
        return tuple(lane.copy(order="C") for lane in vector)


def _power(modulus: int) -> str:
    bits = modulus.bit_length() - 1
    return f"2^{bits}" if modulus == 1 << bits else str(modulus)
