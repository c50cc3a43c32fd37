"""A real column's range, and its rows as levels about the middle (specs/30-analytics.md §3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from secagg.analytics.checks import check_bound, is_float
from secagg.analytics.columns import Columns, Int64s, judge
from secagg.analytics.exact import offsets, outside
from secagg.analytics.results import round_up
from secagg.errors import ParameterError
from secagg.fields import Excess, FixedPoint
from secagg.types import system_randomness

LARGEST = 1e100
"""Of |low| and |high|, and 1 / LARGEST of their distance: squares and their sums stay normal."""


@dataclass(frozen=True)
class Range:
    """[low, high], each value of which becomes one of 2^bits - 1 levels about the middle.

    low, high: float64, or integers that float64 does not hold. A level q stands for exactly
    centre + q step, two numbers that both sides compute alike.
    """

    low: float | int
    high: float | int
    bits: int
    excess: Excess

    def __post_init__(self) -> None:
        within = -LARGEST <= self.low and self.high <= LARGEST
        if not (within and Fraction(self.high) - Fraction(self.low) >= 1 / Fraction(LARGEST)):
            raise ParameterError(
                f"a range has low < high within ±{LARGEST:g}, at least {1 / LARGEST:g} apart, "
                f"not {self.low!r} and {self.high!r}"
            )
        _ = self._field(1)  # judges the bits

    @cached_property
    def centre(self) -> float | int:
        """The middle, rounded to float64; down to an integer where the ends need more than that."""
        middle = (Fraction(self.low) + Fraction(self.high)) / 2
        floats = is_float(self.low) and is_float(self.high)
        return float(middle) if floats else check_bound("centre", math.floor(middle))

    @cached_property
    def step(self) -> float:
        return self._field(1).step

    @property
    def largest(self) -> int:
        """The largest magnitude of a level."""
        return self._field(1).levels

    @cached_property
    def error(self) -> Fraction:
        """|x - (centre + level * step)| is at most this, for every x in the range, of any type.

        It is the field's bound. That has room for 16 float64 roundings, of which three are made:
        x - centre, its division by step, and the step itself.
        """
        return Fraction(self._field(1).max_error)

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        """One level a row, and how many rows were clipped.

        Raises as `Columns.reals`, and RangeError for a row outside where that is an error.
        """
        from secagg.quantize import quantize  # here: planning must not wait for the compiler

        values, dtype = columns.exactly(name, self.low, self.high)
        if not columns.length:
            return np.empty(0, np.int64), 0
        beyond = outside(values, dtype, self.low, self.high)
        clipped = judge(beyond, name, f"[{self.low!r}, {self.high!r}]", self.excess)
        shifted = offsets(values, self.low, self.high, self.centre)
        field = self._field(columns.length)
        levels, _ = quantize(shifted, field, system_randomness, name=name)
        return levels, clipped

    def _field(self, length: int) -> FixedPoint:
        """Rounded to nearest, which draws no randomness; clipping is judged before the shift."""
        centre = Fraction(self.centre)
        # rounded up, so that no value of the range lies beyond the clip
        half = round_up(max(Fraction(self.high) - centre, centre - Fraction(self.low)))
        return FixedPoint(length, clip=half, bits=self.bits)
