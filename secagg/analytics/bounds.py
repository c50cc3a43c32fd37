"""From exact sums of levels to means, covariances and correlations with their bounds.

Each row's value x and what its level stands for, x', differ by at most e = `Range.error`. Every
bound below follows from that alone, whatever the data (specs/30-analytics.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from secagg.analytics.ranges import Range
from secagg.analytics.results import NOTHING, Cell, sqrt_bounds
from secagg.errors import IntegrityError


def require(possible: bool) -> None:
    """Sums that no rows can have come from an answer that `encode` did not make: without this,
    one lying client could have a table print a negative variance."""
    if not possible:
        raise IntegrityError(
            "no rows can have these sums: a client added what is not an answer to the query; "
            "the table is withheld"
        )


def mean(of: Range, rows: int, offset: int) -> Cell:
    """centre + step offset / rows. A mean of errors of at most e is at most e."""
    if not rows:
        return NOTHING
    return Cell.of(Fraction(of.centre) + Fraction(offset, rows) * Fraction(of.step), of.error)


@dataclass(frozen=True)
class Spread:
    """How `rows` rows of one column lie about their mean. offset, squares: sums of q and q^2.

    Let u be the column minus its mean and |u| its root mean square. Taking the mean away projects,
    so it lengthens nothing: |u - u'| <= e, the root mean square of errors of at most e.
    """

    range: Range
    rows: int
    offset: int
    squares: int

    def __post_init__(self) -> None:
        require(0 <= self.squares <= self.rows * self.range.largest**2)
        require(self.offset**2 <= self.rows * self.squares)  # Cauchy-Schwarz

    def variance(self, ddof: int) -> Cell:
        """|u|^2 rows / (rows - ddof), by `covariance` with itself: | |u|^2 - |u'|^2 | <=
        e (2 |u'| + e)."""
        return covariance(self, self, self.squares, ddof)

    @cached_property
    def deviation(self) -> tuple[Fraction, Fraction]:
        """|u'| from below and from above; rows >= 1."""
        return sqrt_bounds(_covariance(self, self, self.squares))

    @cached_property
    def turn(self) -> Fraction | None:
        """A bound on |u/|u| - u'/|u'||; None where u' is no longer than e, as u may be 0 then.

        u lies within e of u', so the angle t between them has sin t <= e / |u'| = r < 1. The
        chord is 2 sin(t/2) = sin t / cos(t/2), with cos^2(t/2) = (1 + cos t) / 2 >= 1 - r^2/2, so
        it is at most r / (1 - r^2/2).
        """
        low = self.deviation[0]
        if low <= self.range.error:
            return None
        ratio = self.range.error / low
        return ratio / (1 - ratio**2 / 2)


def covariance(a: Spread, b: Spread, products: int, ddof: int) -> Cell:
    """<u, v> rows / (rows - ddof); products: the sum of the two columns' levels multiplied.

    <u, v> - <u', v'> = <u', v - v'> + <u - u', v'> + <u - u', v - v'>, so it is at most
    |u'| f + e |v'| + e f, e and f being the columns' errors.
    """
    require(products**2 <= a.squares * b.squares)
    require(_scaled(a, b, products) ** 2 <= _scaled(a, a, a.squares) * _scaled(b, b, b.squares))
    if a.rows <= ddof:
        return NOTHING
    e, f = a.range.error, b.range.error
    bound = a.deviation[1] * f + e * b.deviation[1] + e * f
    scale = Fraction(a.rows, a.rows - ddof)
    return Cell.of(_covariance(a, b, products) * scale, bound * scale)


def correlation(a: Spread, b: Spread, products: int) -> Cell:
    """<u, v> / (|u| |v|), of which no ddof is left. With unit vectors in place of u and v the
    difference is <u - u', v> + <u', v - v'>: at most the sum of the two turns."""
    if not a.rows or a.turn is None or b.turn is None:
        return NOTHING
    if a is b:
        return Cell.of(1)
    between = _scaled(a, b, products)
    variances = _scaled(a, a, a.squares) * _scaled(b, b, b.squares)
    low, high = sqrt_bounds(Fraction(between**2, variances))
    return Cell.of(low if between > 0 else -low, a.turn + b.turn + high - low)


def _covariance(a: Spread, b: Spread, products: int) -> Fraction:
    """<u', v'>, exactly."""
    steps = Fraction(a.range.step) * Fraction(b.range.step)
    return Fraction(_scaled(a, b, products), a.rows**2) * steps


def _scaled(a: Spread, b: Spread, products: int) -> int:
    """<u', v'> rows^2, in steps: the centres cancel."""
    return a.rows * products - a.offset * b.offset
