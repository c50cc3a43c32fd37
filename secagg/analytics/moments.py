"""Means, covariances and correlations of several columns at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import Any, TypeAlias

import numpy as np

from secagg.analytics.bounds import Spread, correlation, covariance, mean
from secagg.analytics.checks import check_bound, check_labels
from secagg.analytics.columns import Columns, Int64s
from secagg.analytics.measures import Measure, Outside, Part, Span, Sums
from secagg.analytics.ranges import Range
from secagg.analytics.results import SUPPRESSED, Cell, Grid, MomentTable
from secagg.arguments import choice, integer, settle, text
from secagg.errors import ParameterError
from secagg.fields import EXCESSES, MAX_BITS, MIN_BITS, Excess
from secagg.shown import short

Triangle: TypeAlias = Mapping[tuple[int, int], Cell]


@dataclass(frozen=True)
class Moments(Measure):
    """The mean of each column, and covariance and correlation of each pair.

    ranges: column -> (low, high), public; d columns take d + d (d + 1) / 2 integers for each
    group. bits, excess: of all of them, as for a Mean. ddof: of the covariances. A correlation
    is left out where a column is, up to quantisation, constant.
    """

    ranges: Mapping[str, tuple[float, float]]
    bits: int = 16
    excess: Excess = "clip"
    ddof: int = 0

    __repr__ = short

    def __post_init__(self) -> None:
        if not isinstance(self.ranges, Mapping) or not self.ranges:
            raise ParameterError("ranges must be a mapping of one column or more to (low, high)")
        # a copy: what a caller does to its mapping later changes no query
        ranges = {text("a column", name): _pair(name, pair) for name, pair in self.ranges.items()}
        check_labels("columns", ranges)
        settle(
            self,
            ranges=ranges,
            bits=integer("bits", self.bits, MIN_BITS, MAX_BITS),
            excess=choice("excess", self.excess, EXCESSES),
            ddof=integer("ddof", self.ddof, 0, 1),
        )
        _ = self._ranges

    def columns(self, name: str) -> tuple[str, ...]:
        return tuple(self.ranges)

    def parts(self) -> Mapping[str, Part]:
        largest, width = self._ranges[0].largest, len(self.ranges)
        pairs = width * (width + 1) // 2
        return {"sum": Part(width, largest), "products": Part(pairs, largest**2)}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        each = [r.levels(columns, c) for c, r in zip(self.ranges, self._ranges, strict=True)]
        return np.column_stack([levels for levels, _ in each]), sum(n for _, n in each)

    def clips(self, name: str) -> Mapping[str, Measure]:
        if self.excess == "error":
            return {}
        ranges = self.ranges.items()
        return {f"{name} {c} clipped": Outside(low, high, column=c) for c, (low, high) in ranges}

    def spans(self, name: str) -> Mapping[str, Span]:
        return self.ranges

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        left, right = np.triu_indices(len(self.ranges))
        return {"sum": levels, "products": levels[:, left] * levels[:, right]}

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> MomentTable:
        names = tuple(self.ranges)
        if rows is None:
            nothing = dict.fromkeys(pairs(len(names)), SUPPRESSED)
            return moment_table(names, [SUPPRESSED] * len(names), nothing, nothing)
        products = dict(zip(pairs(len(names)), sums["products"], strict=True))
        spreads = [
            Spread(r, rows, offset, products[i, i])
            for i, (r, offset) in enumerate(zip(self._ranges, sums["sum"], strict=True))
        ]
        covariances, correlations = {}, {}
        for (i, j), total in products.items():
            a, b = spreads[i], spreads[j]
            covariances[i, j] = covariance(a, b, total, self.ddof)
            correlations[i, j] = correlation(a, b, total)
        means = [mean(spread.range, rows, spread.offset) for spread in spreads]
        return moment_table(names, means, covariances, correlations)

    @cached_property
    def _ranges(self) -> tuple[Range, ...]:
        return ranges_of(self)


def ranges_of(moments: Moments) -> tuple[Range, ...]:
    """Of its columns, in order."""
    ends = moments.ranges.values()
    return tuple(Range(low, high, moments.bits, moments.excess) for low, high in ends)


def pairs(width: int) -> list[tuple[int, int]]:
    """The upper triangle by rows, diagonal included, as `Moments.expand` has it."""
    return list(combinations_with_replacement(range(width), 2))


def moment_table(
    names: tuple[str, ...], means: list[Cell], covariances: Triangle, correlations: Triangle
) -> MomentTable:
    """Of the means of columns and the cells of their pairs."""

    def square(triangle: Triangle) -> Grid:
        corners = product(range(len(names)), repeat=2)
        return Grid((names, names), tuple(triangle[min(c), max(c)] for c in corners))

    return MomentTable(Grid((names,), tuple(means)), square(covariances), square(correlations))


def _pair(column: str, pair: Any) -> tuple[float | int, float | int]:
    try:
        low, high = pair
    except (TypeError, ValueError):
        raise ParameterError(f"the range of {column!r} must be two numbers, (low, high)") from None
    return check_bound(f"low of {column!r}", low), check_bound(f"high of {column!r}", high)
