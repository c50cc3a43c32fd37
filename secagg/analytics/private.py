"""How each measure is asked and read where sums have noise (specs/30-analytics.md §9).

What one row can add to a field decides how much noise it gets, so squares are not sent as they are:
their sum is told by that of 2 t^2 - 1, t = q / Q being a level as a part of the largest, in steps
of 1 / Q. That moves by one level's worth at most, as a sum of levels does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from secagg.analytics.columns import Int64s
from secagg.analytics.measures import (
    Count,
    Histogram,
    Mean,
    Measure,
    Outside,
    Part,
    Share,
    Sum,
    Variance,
)
from secagg.analytics.moments import Moments, moment_table, pairs, ranges_of
from secagg.analytics.noise import Noisy, Slopes, among, count, ratio
from secagg.analytics.ranges import Range
from secagg.analytics.results import NOTHING, SUPPRESSED, Cell, Grid, MomentTable, Result
from secagg.analytics.spreads import (
    Spread,
    correlation,
    covariance,
    folded,
    multiplied,
    variance,
)
from secagg.arguments import kind_of
from secagg.errors import ParameterError

M = TypeVar("M", bound=Measure)

Sums: TypeAlias = Mapping[str, Sequence[Noisy]]
"""Of one line: each part's."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How many a line has, with noise, and how many it may have at most."""

    told: Noisy
    most: int

    @property
    def some(self) -> bool:
        """Whether there is something to divide by."""
        return self.told.value >= 1


class Form(ABC, Generic[M]):
    """Of one measure."""

    def __init__(self, measure: M) -> None:
        self.measure = measure

    def parts(self) -> Mapping[str, Part]:
        """As `Measure.parts`."""
        return self.measure.parts()

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        """As `Measure.expand`."""
        return self.measure.expand(levels)

    def counts(self, rows: Rows, sums: Sums) -> Sequence[Noisy]:
        """As `Measure.counts`, and never refused: noise makes impossible sums of possible ones."""
        return ()

    @abstractmethod
    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Result:
        """hidden: which of `counts` to withhold."""


class _Counted(Form[Count]):
    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        return count(rows.told, rows.most)


class _Binned(Form[Histogram]):
    def counts(self, rows: Rows, sums: Sums) -> Sequence[Noisy]:
        return sums["counts"]

    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Grid:
        cells = enumerate(count(each, rows.most) for each in sums["counts"])
        shown = tuple(SUPPRESSED if place in hidden else cell for place, cell in cells)
        return Grid((self.measure.labels,), shown)


class _Beyond(Form[Outside]):
    def counts(self, rows: Rows, sums: Sums) -> Sequence[Noisy]:
        return _sides(rows, sums["outside"][0])

    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        return SUPPRESSED if hidden else count(sums["outside"][0], rows.most)


class _Shared(Form[Share]):
    def counts(self, rows: Rows, sums: Sums) -> Sequence[Noisy]:
        return _sides(rows, sums["true"][0])

    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        [true] = sums["true"]
        if hidden:
            return SUPPRESSED
        if not rows.some:
            return NOTHING
        share = Fraction(true.value, rows.told.value)
        return among(share, 0, ratio(true, rows.told, 0, 1), 0, 1)


class _Summed(Form[Sum]):
    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        of, [offset] = self.measure.range, sums["sum"]
        total = rows.told.value * Fraction(of.centre) + offset.value * Fraction(of.step)
        slopes = Slopes.of("rows", rows.told).times(of.centre)
        half = (slopes + Slopes.of("sum", offset).times(of.step)).half
        # rounding adds no more than so much for each row, of which there may be `most`
        error, low, high = (rows.most * Fraction(x) for x in (of.error, of.low, of.high))
        interval = total - Fraction(half), total + Fraction(half)
        return among(total, error, interval, min(low, Fraction()), max(high, Fraction()))


class _Averaged(Form[Mean]):
    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        return _mean(self.measure.range, rows, sums["sum"][0])


class _Squared(Form[Variance]):
    def parts(self) -> Mapping[str, Part]:
        largest = self.measure.range.largest
        return {"sum": Part(1, largest), "squares": Part(1, largest)}

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"sum": levels, "squares": folded(levels, self.measure.range.largest)}

    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        if not rows.some:
            return NOTHING
        [offset], [squares] = sums["sum"], sums["squares"]
        return variance(
            Spread.of(self.measure.range, rows.told, offset, squares), self.measure.ddof
        )


class _Moved(Form[Moments]):
    def parts(self) -> Mapping[str, Part]:
        parts = self.measure.parts()
        return {name: Part(part.width, self._largest) for name, part in parts.items()}

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        columns = [
            folded(levels[:, i], self._largest)
            if i == j
            else multiplied(levels[:, i], levels[:, j], self._largest)
            for i, j in pairs(len(self.measure.ranges))
        ]
        return {"sum": levels, "products": np.column_stack(columns)}

    def read(self, rows: Rows, sums: Sums, hidden: Collection[int] = ()) -> MomentTable:
        names, ranges = tuple(self.measure.ranges), ranges_of(self.measure)
        corners = pairs(len(names))
        if not rows.some:
            nothing = dict.fromkeys(corners, NOTHING)
            return moment_table(names, [NOTHING] * len(names), nothing, nothing)
        means = [_mean(of, rows, each) for of, each in zip(ranges, sums["sum"], strict=True)]
        products = dict(zip(corners, sums["products"], strict=True))
        spreads = [
            Spread.of(of, rows.told, offset, products[i, i], i)
            for i, (of, offset) in enumerate(zip(ranges, sums["sum"], strict=True))
        ]
        covariances, correlations = {}, {}
        for (i, j), each in products.items():
            a, b, ddof = spreads[i], spreads[j], self.measure.ddof
            covariances[i, j] = variance(a, ddof) if i == j else covariance(a, b, each, ddof)
            correlations[i, j] = correlation(a, b, each)
        return moment_table(names, means, covariances, correlations)

    @property
    def _largest(self) -> int:
        return ranges_of(self.measure)[0].largest


_FORMS: Mapping[type[Measure], type[Form[Any]]] = {
    Count: _Counted,
    Histogram: _Binned,
    Outside: _Beyond,
    Share: _Shared,
    Sum: _Summed,
    Mean: _Averaged,
    Variance: _Squared,
    Moments: _Moved,
}


def form(name: str, measure: Measure) -> Form[Any]:
    """Raises ParameterError, with what would do, for a measure that cannot be had with privacy."""
    if (kind := _FORMS.get(type(measure))) is None:
        raise ParameterError(
            f"measure {name!r} is {kind_of(measure)}, and how far one row can move that is not "
            "known: with privacy= ask what is made of counts and sums of columns in a range, "
            f"{', '.join(sorted(each.__name__ for each in _FORMS))}; the rest, such as the largest "
            "value, from the bins of a Histogram"
        )
    if getattr(measure, "excess", None) == "error":
        raise ParameterError(
            f"measure {name!r} has excess='error': with privacy= a client that leaves a round for "
            "its values tells of them, and who takes part is public; use excess='clip'"
        )
    return kind(measure)


def _mean(of: Range, rows: Rows, offset: Noisy) -> Cell:
    if not rows.some:
        return NOTHING
    centre, step, largest = Fraction(of.centre), Fraction(of.step), of.largest
    low, high = ratio(offset, rows.told, -largest, largest)
    value = centre + step * Fraction(offset.value, rows.told.value)
    interval = centre + step * Fraction(low), centre + step * Fraction(high)
    return among(value, of.error, interval, of.low, of.high)


def _sides(rows: Rows, part: Noisy) -> tuple[Noisy, Noisy]:
    """The rows that are not, and those that are."""
    rest = math.hypot(rows.told.deviation, part.deviation)
    return Noisy(rows.told.value - part.value, rest), part
