"""What a table is made of: a value with its bound, and labelled grids of them.

Every value is computed as an exact rational and rounded once; what that rounding loses is part of
the bound (specs/30-analytics.md §4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Context, Decimal
from fractions import Fraction
from itertools import combinations, product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.analytics.checks import Label
from secagg.shown import at_most, short

Number: TypeAlias = Fraction | int

MAX_PAIRS = 10

_SQRT_BITS = 64

_UP = Context(prec=40, rounding=ROUND_UP)
_WIDE = Context(prec=800)
"""Any number beside any other here: the largest is below 10^250, and so is its inverse."""


@dataclass(frozen=True, slots=True)
class Cell:
    """|value - truth| <= error, the truth being that of the rows after clipping.

    Both are None where there is nothing to say: an empty group, a suppressed one, a variance of
    too few rows, a correlation with a column that quantisation cannot tell from a constant.
    suppressed: that is why; not compared, for it says nothing of a value.

    Of a query with privacy the value has noise, and interval says how far it may be off: (low,
    high), between which the truth is in 95 of 100 tables. error is then what rounding alone may
    add, and is in the interval too. clamped: the noise had moved the value to where no rows can
    be, and it was set to the nearest that some have.
    """

    value: float | None
    error: float | None
    suppressed: bool = field(default=False, compare=False)
    interval: tuple[float, float] | None = None
    clamped: bool = False

    __repr__ = short

    @classmethod
    def of(cls, exact: Number, bound: Number = 0) -> Cell:
        """The nearest float64 to `exact`; its error covers `bound` and that rounding."""
        value = float(exact)
        return cls(value, round_up(bound + abs(exact - Fraction(value))))

    def __str__(self) -> str:
        """Ten digits, or all of an integer that int64 holds, and a bound that covers those left
        out too; no bound where it is 0. With noise, three digits of it, and the bound of what
        rounding adds where that would be seen in them."""
        if self.value is None or self.error is None:
            return "suppressed" if self.suppressed else "-"
        if self.interval is not None:
            return _noisy(self.value, self.error, self.interval, self.clamped)
        whole = self.value.is_integer() and abs(self.value) < 1 << 63
        shown = str(int(self.value)) if whole else f"{self.value:.10g}"
        lost = _UP.abs(_UP.subtract(Decimal(shown), Decimal(self.value)))
        error = _UP.add(lost, Decimal(self.error))
        return f"{shown} ± {at_most(error, 2)}" if error else shown

    def as_dict(self) -> dict[str, object]:
        """JSON's own types; null where nothing may be said."""
        return {
            "value": self.value,
            "error": self.error,
            "interval": self.interval and list(self.interval),
            "clamped": self.clamped,
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """(label, text) of each line in a table's text."""
        yield "", str(self)


NOTHING = Cell(None, None)
SUPPRESSED = Cell(None, None, suppressed=True)


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells along one or two labelled axes, in C order: grid["a"], or grid["a", "b"]."""

    axes: tuple[tuple[Label, ...], ...]
    cells: tuple[Cell, ...]

    __repr__ = short

    def __getitem__(self, key: Label | tuple[Label, ...]) -> Cell:
        """KeyError for another number of labels than axes, or for a label that is not there."""
        labels = key if isinstance(key, tuple) else (key,)
        if len(labels) != len(self.axes) or any(
            label not in axis for label, axis in zip(labels, self.axes, strict=True)
        ):
            raise KeyError(key)
        flat = 0
        for label, axis in zip(labels, self.axes, strict=True):
            flat = flat * len(axis) + axis.index(label)
        return self.cells[flat]

    @property
    def value(self) -> npt.NDArray[np.float64]:
        """The values, NaN where there is none; shape: the lengths of the axes."""
        return self._array([cell.value for cell in self.cells])

    @property
    def error(self) -> npt.NDArray[np.float64]:
        """The bounds, likewise."""
        return self._array([cell.error for cell in self.cells])

    def as_dict(self) -> dict[str, object]:
        """The labels of each axis, then what each cell has in row-major order, flat."""
        cells = [cell.as_dict() for cell in self.cells]
        return {"labels": [list(axis) for axis in self.axes]} | {
            key: [cell[key] for cell in cells] for key in NOTHING.as_dict()
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """(labels, value with its error) of each cell, as a person reads it."""
        for labels, cell in zip(product(*self.axes), self.cells, strict=True):
            yield ", ".join(map(str, labels)), str(cell)

    def _array(self, numbers: list[float | None]) -> npt.NDArray[np.float64]:
        array = np.array([math.nan if n is None else n for n in numbers], np.float64)
        return array.reshape([len(axis) for axis in self.axes])


@dataclass(frozen=True, slots=True)
class MomentTable:
    """Means, covariances and correlations of several columns. Variances are on the diagonal."""

    mean: Grid
    covariance: Grid
    correlation: Grid

    __repr__ = short

    @property
    def columns(self) -> tuple[Label, ...]:
        """The columns, in the order of the rows and columns of all three grids."""
        return self.mean.axes[0]

    def as_dict(self) -> dict[str, object]:
        """The three grids as JSON's own types."""
        return {name: getattr(self, name).as_dict() for name in self.__slots__}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Correlations of a few columns only: many would bury the rest of a table."""
        names = self.columns
        yield from ((f"mean {label}", text) for label, text in self.mean.lines())
        yield from ((f"variance {name}", str(self.covariance[name, name])) for name in names)
        pairs = list(combinations(names, 2))
        if len(pairs) > MAX_PAIRS:
            yield "correlation", f"{len(pairs)} pairs, not listed"
            return
        yield from ((f"correlation {a}, {b}", str(self.correlation[a, b])) for a, b in pairs)


Result: TypeAlias = Cell | Grid | MomentTable


def _noisy(value: float, error: float, interval: tuple[float, float], clamped: bool) -> str:
    """The interval is rounded outwards."""
    low, high = map(Decimal, interval)
    place = (high - low).adjusted() - 2 if high > low else -9
    if low == low.to_integral_value() and high == high.to_integral_value():
        place = max(place, 0)
    unit = Decimal(1).scaleb(place)
    shown = Decimal(value).quantize(unit, context=_WIDE)
    down, up = low.quantize(unit, ROUND_FLOOR, _WIDE), high.quantize(unit, ROUND_CEILING, _WIDE)
    rounding = f"; rounding ± {at_most(error, 2)}" if Decimal(error) >= unit else ""
    return f"{shown:f}{', clamped' * clamped} (95 %: {down:f} to {up:f}{rounding})"


def round_up(exact: Number) -> float:
    """The smallest float64 that is at least `exact`, or its neighbour."""
    nearest = float(exact)
    return nearest if nearest >= exact else math.nextafter(nearest, math.inf)


def sqrt_bounds(square: Number) -> tuple[Fraction, Fraction]:
    """(low, high) around the square root, apart by at most 2^-64 of it; square >= 0."""
    exact = Fraction(square)
    if exact == 0:
        return exact, exact
    # sqrt(p / q) = sqrt(p q) / q, and p q >= 1: the shift makes 64 bits and more significant
    root = math.isqrt(exact.numerator * exact.denominator << 2 * _SQRT_BITS)
    scale = exact.denominator << _SQRT_BITS
    return Fraction(root, scale), Fraction(root + 1, scale)
