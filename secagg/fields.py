"""What a field of a plan holds: reals in a range, integers (specs/02-quantization.md §3, §4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    Flat and in C order, like those of FixedPoint. Raises ParameterError with the argument's name,
    HeadroomError for a max of more than 63 bits.
    """

    length: int
    max: int

    def __post_init__(self) -> None:
        length = integer("length", self.length, 1, MAX_LENGTH - 1)
        largest = integer("max", self.max, 1, MAX_READ)
        if largest.bit_length() > 63:
            raise HeadroomError(f"max {largest} needs {largest.bit_length() + 1} bits of 64")
        settle(self, length=length, max=largest)

    def bound(self, clients: int, max_weight: int) -> int:
        """M = n max."""
        return clients * self.max


Field: TypeAlias = FixedPoint | Integer
