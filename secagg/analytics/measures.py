"""What can be asked about one column. Each measure is sums of integers over rows, and a reading.

A measure turns a row into levels, levels into addends of its *parts*, and the exact sums of the
parts into a value with a bound (specs/30-analytics.md §3, §4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import isfinite
from typing import TypeAlias

import numpy as np

from secagg.analytics.bounds import Spread, mean, require
from secagg.analytics.checks import Label, check_bound, check_edges, check_labels
from secagg.analytics.columns import Columns, Int64s, judge
from secagg.analytics.exact import in_own_type, outside
from secagg.analytics.ranges import Range
from secagg.analytics.results import NOTHING, SUPPRESSED, Cell, Grid, Result
from secagg.arguments import choice, integer, settle, text
from secagg.errors import ParameterError
from secagg.fields import EXCESSES, MAX_BITS, MIN_BITS, Excess
from secagg.shown import short

Sums: TypeAlias = Mapping[str, Sequence[int]]
"""Of one group: each part's exact sums."""


Span: TypeAlias = tuple[float, float]
"""The ends of a range."""


@dataclass(frozen=True, slots=True)
class Part:
    """`width` integers for each group, to each of which a row adds at most `each` in magnitude.
    alone: and to one of them only."""

    width: int
    each: int
    alone: bool = False

    @property
    def squared(self) -> int:
        """Of the longest that a row's integers can be, in all groups: it is in one."""
        return self.each**2 * (1 if self.alone else self.width)


class Measure(ABC):
    """One entry of a query. `name` below is its name there, and its column unless it has one."""

    @abstractmethod
    def columns(self, name: str) -> tuple[str, ...]:
        """The columns that it reads."""

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """The integer fields that it adds to a plan, by the ends of their names."""

    @abstractmethod
    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        """rows x anything, and how many values were clipped."""

    def clips(self, name: str) -> Mapping[str, Measure]:
        """What counts the rows that this measure clips, by a name for each column that it does."""
        return {}

    def spans(self, name: str) -> Mapping[str, Span]:
        """The range in which it takes values of a column, of each such column."""
        return {}

    @abstractmethod
    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        """Of some rows: rows x width for each part."""

    def counts(self, rows: int, sums: Sums) -> Sequence[int]:
        """How many of the group's rows are in each bin, where that is what the measure tells.

        Raises IntegrityError for sums that no rows can have.
        """
        return ()

    @abstractmethod
    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Result:
        """rows: of the group; None for a suppressed one, and then nothing is read. hidden: which
        of `counts` to withhold.

        Raises IntegrityError as `counts`.
        """


@dataclass(frozen=True)
class Count(Measure):
    """How many rows. Every table counts them; this puts the number among the measures too."""

    def columns(self, name: str) -> tuple[str, ...]:
        return ()

    def parts(self) -> Mapping[str, Part]:
        return {}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        return np.empty((columns.length, 0), np.int64), 0

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {}

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        return SUPPRESSED if rows is None else Cell.of(rows)


@dataclass(frozen=True)
class _OneColumn(Measure):
    """column: where it is not the measure's name in the query."""

    column: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.column is not None:
            settle(self, column=text("column", self.column))

    def columns(self, name: str) -> tuple[str, ...]:
        return (name if self.column is None else self.column,)


@dataclass(frozen=True)
class _Ranged(_OneColumn):
    """low, high: the public range; a value outside is clipped and counted, or refused, as `excess`
    says. Integers are kept exactly, and anything else is the float64 nearest to it. bits: 2 to 32;
    each value is rounded to one of 2^bits - 1 levels."""

    low: float
    high: float
    bits: int = 16
    excess: Excess = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        # queries are compared by what they print, so one number has one form
        settle(
            self,
            low=check_bound("low", self.low),
            high=check_bound("high", self.high),
            bits=integer("bits", self.bits, MIN_BITS, MAX_BITS),
            excess=choice("excess", self.excess, EXCESSES),
        )
        _ = self.range  # judges them together

    @cached_property
    def range(self) -> Range:
        return Range(self.low, self.high, self.bits, self.excess)

    def parts(self) -> Mapping[str, Part]:
        return {"sum": Part(1, self.range.largest)}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        levels, clipped = self.range.levels(columns, self.columns(name)[0])
        return levels[:, None], clipped

    def clips(self, name: str) -> Mapping[str, Measure]:
        if self.excess == "error":
            return {}
        return {f"{name} clipped": Outside(self.low, self.high, column=self.columns(name)[0])}

    def spans(self, name: str) -> Mapping[str, Span]:
        return {self.columns(name)[0]: (self.low, self.high)}

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"sum": levels}

    def offset(self, rows: int, sums: Sums) -> int:
        """The sum of the levels."""
        [total] = sums["sum"]
        require(abs(total) <= rows * self.range.largest)
        return total


@dataclass(frozen=True)
class Sum(_Ranged):
    """The sum of a real column, of error at most rows * (step / 2)."""

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        if rows is None:
            return SUPPRESSED
        offset, centre = self.offset(rows, sums), Fraction(self.range.centre)
        return Cell.of(rows * centre + offset * Fraction(self.range.step), rows * self.range.error)


@dataclass(frozen=True)
class Mean(_Ranged):
    """The mean of a real column, of error at most step / 2; nothing for no rows."""

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        if rows is None:
            return SUPPRESSED
        return mean(self.range, rows, self.offset(rows, sums))


@dataclass(frozen=True)
class Variance(_Ranged):
    """The variance about the mean: of the rows as a population, or with ddof=1 as a sample.

    Of error at most (step / 2) (2 s + step / 2), s being the standard deviation, times
    rows / (rows - ddof); nothing for ddof rows or fewer.
    """

    ddof: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, ddof=integer("ddof", self.ddof, 0, 1))

    def parts(self) -> Mapping[str, Part]:
        largest = self.range.largest
        return {"sum": Part(1, largest), "squares": Part(1, largest**2)}

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"sum": levels, "squares": levels * levels}

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        if rows is None:
            return SUPPRESSED
        [offset], [squares] = sums["sum"], sums["squares"]
        return Spread(self.range, rows, offset, squares).variance(self.ddof)


@dataclass(frozen=True)
class Share(_OneColumn):
    """The share of rows that are true, exactly; of a column of booleans or of 0 and 1.

    Suppressed where few rows are true, and where few are not (specs/30-analytics.md §6).
    """

    def parts(self) -> Mapping[str, Part]:
        return {"true": Part(1, 1)}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        return columns.flags(self.columns(name)[0])[:, None], 0

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"true": levels}

    def counts(self, rows: int, sums: Sums) -> Sequence[int]:
        """Of the rows that are false, and of those that are true."""
        [true] = sums["true"]
        require(0 <= true <= rows)
        return rows - true, true

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        if rows is None or hidden:
            return SUPPRESSED
        _, true = self.counts(rows, sums)
        return Cell.of(Fraction(true, rows)) if rows else NOTHING


@dataclass(frozen=True)
class Outside(_OneColumn):
    """How many rows lie outside [low, high], exactly: what a measure of that range has clipped.

    Suppressed where they are few, and where the others are.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, low=check_bound("low", self.low), high=check_bound("high", self.high))
        _ = Range(self.low, self.high, MIN_BITS, "clip")  # judges them together

    def parts(self) -> Mapping[str, Part]:
        return {"outside": Part(1, 1)}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        flags = outside(
            *columns.exactly(self.columns(name)[0], self.low, self.high), self.low, self.high
        )
        return flags.astype(np.int64)[:, None], 0

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"outside": levels}

    def counts(self, rows: int, sums: Sums) -> Sequence[int]:
        [beyond] = sums["outside"]
        require(0 <= beyond <= rows)
        return rows - beyond, beyond

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Cell:
        return SUPPRESSED if rows is None or hidden else Cell.of(self.counts(rows, sums)[1])


@dataclass(frozen=True)
class Histogram(_OneColumn):
    """How many rows lie in each bin, exactly.

    edges: of real bins [e0, e1), [e1, e2), ..., the last one closed; the outermost may be
    infinite. A value outside is counted in the nearest bin and reported as clipped, or refused,
    as `excess` says. categories: instead, the public list of values that a row may have; any
    other is refused. Bins of few rows are suppressed as groups are, each with its neighbour: list
    categories that may be rare beside each other (specs/30-analytics.md §6).
    """

    edges: tuple[float, ...] = ()
    categories: tuple[Label, ...] = ()
    excess: Excess = "clip"

    __repr__ = short

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            edges=check_edges(self.edges),
            categories=check_labels("categories", self.categories),
            excess=choice("excess", self.excess, EXCESSES),
        )
        if bool(self.edges) == bool(self.categories):
            raise ParameterError("a histogram has either edges or categories")
        if self.edges and not _ascending(self.edges):
            raise ParameterError("a histogram has two edges or more, strictly ascending")

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """Of its cells, in their order: intervals, or categories."""
        if self.categories:
            return self.categories
        bins = [f"[{_short(low)}, {_short(high)}" for low, high in pairwise(self.edges)]
        closing = "]" if isfinite(self.edges[-1]) else ")"
        return (*(f"{each})" for each in bins[:-1]), bins[-1] + closing)

    def parts(self) -> Mapping[str, Part]:
        return {"counts": Part(len(self.labels), 1, alone=True)}

    def levels(self, columns: Columns, name: str) -> tuple[Int64s, int]:
        column = self.columns(name)[0]
        if self.categories:
            return columns.indices(column, self.categories)[:, None], 0
        return self._bins(columns, column)

    def expand(self, levels: Int64s) -> Mapping[str, Int64s]:
        return {"counts": (levels == np.arange(len(self.labels))).astype(np.int64)}

    def counts(self, rows: int, sums: Sums) -> Sequence[int]:
        counts = sums["counts"]
        require(min(counts) >= 0 and sum(counts) == rows)
        return counts

    def read(self, rows: int | None, sums: Sums, hidden: Collection[int] = ()) -> Grid:
        if rows is None:
            return Grid((self.labels,), (SUPPRESSED,) * len(self.labels))
        cells = enumerate(map(Cell.of, self.counts(rows, sums)))
        return Grid((self.labels,), tuple(SUPPRESSED if i in hidden else c for i, c in cells))

    def _bins(self, columns: Columns, column: str) -> tuple[Int64s, int]:
        values, dtype = columns.exactly(column, *self.edges)
        edges = [in_own_type(edge, dtype) for edge in self.edges]
        beyond = (values < edges[0]) | (values > edges[-1])
        clipped = judge(beyond, column, f"[{self.edges[0]!r}, {self.edges[-1]!r}]", self.excess)
        if values.dtype == object:  # which numpy would compare as float64
            bins = np.array([bisect_right(edges, value) for value in values], np.int64)
        else:
            bins = np.searchsorted(edges, values, side="right")
        levels = np.clip(bins - 1, 0, len(self.labels) - 1)  # the last edge is inside
        return levels[:, None].astype(np.int64), clipped


COUNTING = (Share, Outside, Histogram)
"""Those that have `counts`."""

LINEAR = (Sum, Mean)
"""Those that tell the sum of levels, and of their squares nothing."""


def _ascending(edges: Sequence[float]) -> bool:
    """False for NaN."""
    return len(edges) > 1 and all(low < high for low, high in pairwise(edges))


def _short(edge: float) -> str:
    return repr(edge).removesuffix(".0")
