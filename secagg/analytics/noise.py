"""From sums with noise to values with intervals (specs/30-analytics.md §9).

A sum here is the exact one plus noise of known deviation, independent of that in other sums. All
that is said of one is a function of it and of public numbers, so it tells no more than it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from secagg.analytics.results import Cell, Number, round_up
from secagg.plans.label import WITHIN_95, within
from secagg.shown import short

SETTLED = 10.0
"""How many deviations of its own noise, and of that in a sum of levels, a count has where intervals
go by slopes: what they leave out is below a fifth of what they have then."""

Real: TypeAlias = Number | float
Interval: TypeAlias = tuple[Real, Real]


@dataclass(frozen=True, slots=True)
class Noisy:
    """A sum as it came, and the deviation of the noise in it."""

    value: int
    deviation: float


@dataclass(frozen=True, slots=True)
class Slopes:
    """A number that follows from several sums: its value, and by the name of each sum how much it
    gains where that gains one deviation. Arithmetic keeps both, to first order."""

    value: float
    gains: Mapping[str, float]

    __repr__ = short

    @classmethod
    def of(cls, name: str, total: Noisy, unit: int = 1) -> Slopes:
        """A sum by itself, in units."""
        return cls(total.value / unit, {name: total.deviation / unit})

    @property
    def half(self) -> float:
        """Of its 95 % interval."""
        return WITHIN_95 * math.hypot(*self.gains.values())

    def __add__(self, other: Slopes) -> Slopes:
        return self._with(other, self.value + other.value, 1.0, 1.0)

    def __sub__(self, other: Slopes) -> Slopes:
        return self._with(other, self.value - other.value, 1.0, -1.0)

    def __mul__(self, other: Slopes) -> Slopes:
        return self._with(other, self.value * other.value, other.value, self.value)

    def __truediv__(self, other: Slopes) -> Slopes:
        ratio = self.value / other.value
        return self._with(other, ratio, 1 / other.value, -ratio / other.value)

    def plus(self, number: float) -> Slopes:
        return Slopes(self.value + number, self.gains)

    def times(self, number: float) -> Slopes:
        return Slopes(number * self.value, {k: number * gain for k, gain in self.gains.items()})

    def root(self) -> Slopes:
        """Of a value above 0."""
        return Slopes(math.sqrt(self.value), self.times(0.5 / math.sqrt(self.value)).gains)

    def _with(self, other: Slopes, value: float, mine: float, its: float) -> Slopes:
        names = [*self.gains, *(name for name in other.gains if name not in self.gains)]
        a, b = self.gains, other.gains
        return Slopes(value, {k: mine * a.get(k, 0.0) + its * b.get(k, 0.0) for k in names})


def among(value: Real, error: Number, interval: Interval, least: Real, most: Real) -> Cell:
    """A cell of what lies from `least` to `most` for any rows. interval: without `error`, which is
    added, and rounded outwards."""
    low, high = Fraction(interval[0]) - error, Fraction(interval[1]) + error
    ends = Fraction(least), Fraction(most)
    kept, low, high = (min(max(each, ends[0]), ends[1]) for each in (Fraction(value), low, high))
    shown = float(kept)
    return Cell(
        shown,
        round_up(error + abs(kept - Fraction(shown))),
        interval=(0.0 - round_up(-low), round_up(high)),
        clamped=kept != value,
    )


def count(total: Noisy, most: int) -> Cell:
    """How many rows there are, of which there may be `most`."""
    half = within(total.deviation)
    return among(total.value, 0, (total.value - half, total.value + half), 0, most)


def ratio(part: Noisy, whole: Noisy, least: float, most: float) -> Interval:
    """Where part / whole is, between `least` and `most`, without noise: the numbers x for which
    part - x whole is within 1.96 of its own deviations of 0 (Fieller 1954). Each true ratio is
    among them in 95 of 100 cases, whatever it is and however few rows there are; where the count
    may be 0, they reach to infinity on a side, and the interval is all that there may be."""
    z = WITHIN_95**2
    a = whole.value**2 - z * whole.deviation**2
    if a <= 0:
        return least, most
    b = part.value * whole.value
    spread = part.deviation**2 * a + (part.value * whole.deviation) ** 2
    half = WITHIN_95 * math.sqrt(spread)
    return (b - half) / a, (b + half) / a


def settled(rows: Noisy, *sums: tuple[Noisy, int]) -> bool:
    """Whether the count is large beside the noise in it, and in sums of levels of up to so many."""
    widest = max([rows.deviation, *(total.deviation / largest for total, largest in sums)])
    return rows.value >= SETTLED * widest
