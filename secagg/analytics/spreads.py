"""Variances, covariances and correlations from sums with noise (specs/30-analytics.md §9).

In units of t = q / Q, the level of a value as a part of the largest, so from -1 to 1. Intervals go
by slopes: a change of each sum, by its deviation, moves the result by so much (the delta method).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from secagg.analytics.columns import Int64s
from secagg.analytics.noise import Noisy, Slopes, among, settled
from secagg.analytics.ranges import Range
from secagg.analytics.results import NOTHING, Cell

WITHIN_FLOATS = Fraction(1, 1 << 8)
"""Of a step of a product: the roundings of float64 here are far below, 2^-50 beside 2^-39."""


def folded(levels: Int64s, largest: int) -> Int64s:
    """Q (2 t^2 - 1), to the nearest integer: as large as a level at most, of either sign. 2 q^2 is
    below 2^63, with room for what rounds it."""
    return (2 * levels * levels + largest // 2) // largest - largest


def multiplied(left: Int64s, right: Int64s, largest: int) -> Int64s:
    """Q t u, to the nearest integer."""
    return (left * right + largest // 2) // largest


@dataclass(frozen=True)
class Spread:
    """How the rows of one column lie about their mean: mean and variance of t, of `rows` rows."""

    range: Range
    rows: Noisy
    mean: Slopes
    variance: Slopes
    settled: bool

    @classmethod
    def of(cls, range: Range, rows: Noisy, offset: Noisy, squares: Noisy, place: int = 0) -> Spread:
        """rows: 1 or more. offset, squares: the sums of levels, and of what `folded` makes of
        them. place: of the column among several."""
        number, largest = Slopes.of("rows", rows), range.largest
        mean = Slopes.of(f"sum {place}", offset, largest) / number
        of_square = (Slopes.of(f"squares {place}", squares, largest) / number).plus(1).times(0.5)
        steady = settled(rows, (offset, largest), (squares, largest))
        return cls(range, rows, mean, of_square - mean * mean, steady)

    @property
    def half(self) -> Fraction:
        """The largest deviation that values of the range can have."""
        return (Fraction(self.range.high) - Fraction(self.range.low)) / 2

    @property
    def unit(self) -> Fraction:
        """What 1 of t is."""
        return Fraction(self.range.step) * self.range.largest

    @property
    def least(self) -> float:
        """The variance at the lower end of its interval."""
        return self.variance.value - self.variance.half


def variance(of: Spread, ddof: int) -> Cell:
    """The square of a level was rounded by a quarter of a step of t^2."""
    return _cell(of, of, of.variance, Fraction(1, 4), ddof, of.settled, 0)


def covariance(a: Spread, b: Spread, products: Noisy, ddof: int) -> Cell:
    """products: the sum of what `multiplied` makes of the two columns' levels."""
    steady = a.settled and b.settled and settled(a.rows, (products, a.range.largest))
    return _cell(a, b, _between(a, b, products), Fraction(1, 2), ddof, steady, -1)


def correlation(a: Spread, b: Spread, products: Noisy) -> Cell:
    """Nothing where a column may be constant, by its interval and its rounding. The bound on
    rounding is for deviations at the lower ends of their intervals, and as good as these are."""
    if a is b:
        return among(1, 0, (1.0, 1.0), -1, 1)
    if not (a.settled and b.settled and settled(a.rows, (products, a.range.largest))):
        return NOTHING
    errors = _turn(a), _turn(b)
    if errors[0] is None or errors[1] is None:
        return NOTHING
    found = _between(a, b, products) / (a.variance.root() * b.variance.root())
    step = _rounded(a, Fraction(1, 2)) / Fraction((a.least * b.least) ** 0.5)
    error = errors[0] + errors[1] + step
    return among(found.value, error, (found.value - found.half, found.value + found.half), -1, 1)


def _between(a: Spread, b: Spread, products: Noisy) -> Slopes:
    number = Slopes.of("rows", a.rows)
    return Slopes.of("products", products, a.range.largest) / number - a.mean * b.mean


def _cell(
    a: Spread, b: Spread, found: Slopes, rounded: Fraction, ddof: int, steady: bool, sign: int
) -> Cell:
    """With the bound of §4.5 for columns that deviate as far as any can, and what rounding a
    product adds. sign: -1 where it may be as far below 0 as above, else 0."""
    if a.rows.value <= ddof:
        return NOTHING
    number = Slopes.of("rows", a.rows)
    found = found * number / number.plus(-ddof)
    unit, scale = a.unit * b.unit, 1 + ddof  # N / (N - ddof) is no more, from 2 rows on
    most = scale * a.half * b.half
    e, f = a.range.error, b.range.error
    error = scale * (a.unit * f + e * b.unit + e * f + unit * _rounded(a, rounded))
    value, half = float(unit) * found.value, float(unit) * found.half
    interval = (value - half, value + half) if steady else (float(sign * most), float(most))
    return among(value, error, interval, sign * most, most)


def _turn(of: Spread) -> Fraction | None:
    """As `bounds.Spread.turn`, with what rounding the squares does to a deviation."""
    if of.least <= 0:
        return None
    low, e = Fraction(of.least**0.5), of.range.error / of.unit
    lost = _rounded(of, Fraction(1, 4)) / Fraction(of.least)
    if e >= low or lost >= Fraction(1, 2):
        return None
    return e / low / (1 - (e / low) ** 2 / 2) + lost


def _rounded(of: Spread, steps: Fraction) -> Fraction:
    """Of a mean of products, in units of t."""
    return (steps + WITHIN_FLOATS) / of.range.largest
