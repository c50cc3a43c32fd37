"""What a field of a plan holds: reals in a range, integers (specs/02-quantization.md §3, §4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, TypeAlias

from secagg.arguments import choice, integer, real, settle
from secagg.errors import HeadroomError, ParameterError

Rounding = Literal["nearest", "stochastic"]
Excess = Literal["clip", "error"]

ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic")
EXCESSES: tuple[Excess, ...] = ("clip", "error")

MIN_BITS, MAX_BITS = 2, 32
"""One bit has no sign. Above 32 the float64 product x * scale is no longer within half a step
of its exact value by a margin worth stating; wider data belongs into an Integer field."""

MIN_STEP = 2.0**-1024
"""Of a step, which is above it: its inverse is a float64 then."""

MAX_READ = (1 << 64) - 1
"""What a plan's bytes can name as an integer's bound. It is at most 2^63 - 1."""
MAX_LENGTH = 1 << 32

MAX_VECTOR, MAX_VECTOR_BITS = (1 << 30) - 1, 30
"""With both, the squared norm of a rounded vector is below 2^62: it is compared in int64."""
MIN_NORM, MAX_NORM = 2.0**-500, 2.0**500
"""In which squares, and their sums, are float64s."""


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """`length` reals in [-clip, clip], each rounded to one of 2^bits - 1 evenly spaced values.

    Values may come in an array of any shape with that many elements: it is taken flat, row by row
    (C order), and sums and means come back flat. `secagg.Structure` keeps names and shapes.

    rounding: nearest (ties to even) or stochastic (unbiased). excess: what a value beyond clip
    does: `clip` (and counted: Outcome.clipped, Report.clipped) or `error` (RangeError).

    Every number may be numpy's; it is kept as Python's, so that a plan's maker computes with the
    very clip that its readers decode. Raises ParameterError with the argument's name, HeadroomError
    for a clip of more than half the largest float64.
    """

    length: int
    clip: float
    bits: int
    rounding: Rounding = "nearest"
    excess: Excess = "clip"

    def __post_init__(self) -> None:
        settle(
            self,
            length=integer("length", self.length, 1, MAX_LENGTH - 1),
            clip=real("clip", self.clip),
            bits=integer("bits", self.bits, MIN_BITS, MAX_BITS),
            rounding=choice("rounding", self.rounding, ROUNDINGS),
            excess=choice("excess", self.excess, EXCESSES),
        )
        if not self.clip > 0:
            raise ParameterError(f"clip must be above 0, not {self.clip!r}")
        if not self.step > MIN_STEP:
            raise ParameterError(
                f"clip {self.clip!r} is too small for {self.bits} bits; give the values in a "
                "smaller unit"
            )
        if not math.isfinite(self.spread(1, 1)):
            raise HeadroomError(
                f"clip {self.clip!r} is too large: from -clip to clip is more than float64 holds; "
                "give the values in a larger unit"
            )

    @property
    def levels(self) -> int:
        """The largest magnitude after rounding, 2^(bits-1) - 1: symmetric, so that -x is exact."""
        return (1 << (self.bits - 1)) - 1

    @property
    def step(self) -> float:
        """The distance between two neighbouring values, in the units of the input."""
        return self.clip / self.levels

    @property
    def max_error(self) -> float:
        """Of one rounded element, and so of any weighted mean: half a step, or one if stochastic.

        The slack covers the few float64 roundings of x / step and of the mean's division.
        """
        steps = 0.5 if self.rounding == "nearest" else 1.0
        return self.step * (steps + math.ldexp(1.0, self.bits - 50))

    def bound(self, clients: int, max_weight: int) -> int:
        """M = n W (2^(bits-1) - 1)."""
        return clients * max_weight * self.levels

    def spread(self, clients: int, max_weight: int) -> float:
        """From the smallest to the largest sum, in the units of the input; infinite past float64.

        Where it is finite, so is every sum: a ring has no residue above 2 M, not for clients that
        lie either, and rounding is monotonic (specs/02-quantization.md §3.4).
        """
        return 2 * self.bound(clients, max_weight) * self.step


@dataclass(frozen=True, slots=True)
class Integer:
    """`length` integers of magnitude at most `max`; summed exactly and never weighted.

    Flat and in C order, like those of FixedPoint. sensitivity: of a plan with privacy, and of no
    other: the largest Euclidean norm of one unit's integers, such as 1 where each is one bar of a
    histogram; an input beyond is refused. Raises ParameterError with the argument's name,
    HeadroomError for a max of more than 63 bits.
    """

    length: int
    max: int
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        length = integer("length", self.length, 1, MAX_LENGTH - 1)
        largest = integer("max", self.max, 1, MAX_READ)
        if largest.bit_length() > 63:
            raise HeadroomError(f"max {largest} needs {largest.bit_length() + 1} bits of 64")
        settle(self, length=length, max=largest)
        if self.sensitivity is not None:
            settle(self, sensitivity=real("sensitivity", self.sensitivity))
            self._check_sensitivity()

    def _check_sensitivity(self) -> None:
        least, most = 1, self.length * self.max**2
        if self.sensitivity is None or not self.sensitivity >= least:
            raise ParameterError("sensitivity must be at least 1, the norm of the smallest integer")
        if self.norm_squared > MAX_READ:
            raise HeadroomError(f"the square of sensitivity {self.sensitivity!r} has over 64 bits")
        if Fraction(self.sensitivity) ** 2 > most * (1 + Fraction(1, 1 << 50)):
            raise ParameterError(
                f"sensitivity {self.sensitivity!r} is beyond every input: {self.length} integers "
                f"of at most {self.max} have a norm of at most {math.sqrt(most):.6g}"
            )

    @property
    def norm_squared(self) -> int:
        """Of the largest norm that one unit may have: the square of a binary64 that is meant to be
        the root of an integer is that integer (specs/40-privacy.md)."""
        return _squared(self.sensitivity or 0.0, self.length * self.max**2)

    def bound(self, clients: int, max_weight: int) -> int:
        """M = n max, of a sum without noise."""
        return clients * self.max


@dataclass(frozen=True, slots=True)
class Vector:
    """`length` reals of a Euclidean norm of at most `norm`, for plans with privacy.

    A longer vector is made as short as that. It is rotated at random, so that no element stands
    out, and rounded to integers of a norm of 2^(bits-1) - 1 and hardly more: `bits` is what one
    client resolves, as for FixedPoint, and the width of the sum's ring follows (specs/40-privacy.md
    §2). Flat and in C order, like those of FixedPoint. Raises ParameterError with the argument's
    name.
    """

    length: int
    norm: float
    bits: int

    def __post_init__(self) -> None:
        settle(
            self,
            length=integer("length", self.length, 1, MAX_VECTOR),
            norm=real("norm", self.norm),
            bits=integer("bits", self.bits, MIN_BITS, MAX_VECTOR_BITS),
        )
        if not MIN_NORM <= self.norm <= MAX_NORM:
            raise ParameterError(
                f"norm must be from {MIN_NORM:g} to {MAX_NORM:g}, not {self.norm!r}; give the "
                "values in another unit"
            )

    @property
    def levels(self) -> int:
        """The norm in integer units before rounding, 2^(bits-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def step(self) -> float:
        """One integer unit, in the units of the input."""
        return self.norm / self.levels

    @property
    def norm_squared(self) -> int:
        """Of the largest norm after rounding, in integer units: the sensitivity of a sum."""
        return rounded_norm_squared(self.levels, self.length)

    @property
    def max_error(self) -> float:
        """Of one element of one rounded vector, against what was made short enough, and so of a
        mean; noise is beside it.

        Each integer is within one step, so the difference is no longer than length^1/2 steps, nor
        than both vectors together; and rotating back keeps that, of which one element may have all.
        Mostly it is nearer to half a step. The slack is for float64, there and back.
        """
        longest = self.levels + math.sqrt(self.norm_squared)
        steps = min(math.sqrt(self.length), longest)
        return self.step * (steps + math.ldexp(longest, -40))


def joined(fields: Sequence[Vector]) -> Vector:
    """What several are together, each in units of its norm (specs/40-privacy.md §11). Raises
    ParameterError for other bits, and for too many elements."""
    bits = {field.bits for field in fields}
    if len(bits) > 1:
        raise ParameterError(
            f"the Vectors of joint=True are rounded as one, and have {sorted(bits)} bits: the same "
            "of all would do"
        )
    return Vector(sum(field.length for field in fields), 1.0, bits.pop())


@lru_cache(maxsize=1024)
def _squared(norm: float, most: int) -> int:
    exact = Fraction(norm)
    return min(math.floor(exact * exact * (1 + Fraction(1, 1 << 50))), most)


def rounded_norm_squared(levels: int, length: int) -> int:
    """The largest squared norm of integers that a vector of norm `levels` is rounded to.

    floor(C^2 + d/4 + C + sqrt(d)/2), in integers (specs/40-privacy.md §2.3; Kairouz, Liu and
    Steinke 2021, theorem 1 with beta = exp(-1/2), where the other of its two is never smaller).
    """
    return levels**2 + levels + (length + math.isqrt(4 * length)) // 4


Field: TypeAlias = FixedPoint | Integer | Vector
