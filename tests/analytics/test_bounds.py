"""Every value lies within its bound, against exact arithmetic on the pooled rows.

Covers specs/30-analytics.md §3 and §4.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pooled import ask, covariance, holds, mean

from secagg.analytics import (
    Grid,
    Histogram,
    Mean,
    Moments,
    MomentTable,
    Query,
    Share,
    Sum,
    Table,
    Variance,
)
from secagg.analytics.ranges import Range
from secagg.analytics.results import Cell, round_up, sqrt_bounds
from secagg.errors import IntegrityError, ParameterError

QUICK = settings(max_examples=60, deadline=None)


@st.composite
def ranges(draw: Any) -> tuple[float, float]:
    """Also narrow ones far from 0, where the middle and the width are rounded."""
    low = draw(st.sampled_from([0.0, -1.0, 0.1, -120.0, 1e9, -1e17, 3e-40, 1e60]))
    ulps = 3 * math.ulp(low)
    width = draw(st.sampled_from([1.0, 120.0, 1e-3, 1e-30, 7e50, ulps]))
    high = low + width
    assume(high > low and high - low >= 1e-100)
    return low, high


def awkward(low: float, high: float, bits: int) -> st.SearchStrategy[float]:
    """Values of the range, its ends and those halfway between two levels among them."""
    of = Range(low, high, bits, "clip")
    half = st.integers(-of.largest, of.largest - 1).map(
        lambda q: float(Fraction(of.centre) + (q + Fraction(1, 2)) * Fraction(of.step))
    )
    drawn = st.floats(low, high) | st.sampled_from([low, high, of.centre]) | half
    return drawn.map(lambda x: min(max(x, low), high))


@QUICK
@given(data=st.data(), bounds=ranges(), bits=st.integers(2, 32))
def test_a_level_stands_for_its_value_within_the_error(
    data: Any, bounds: tuple[float, float], bits: int
) -> None:
    """§3.3, row by row: what every other bound is derived from."""
    query = Query(Sum(*bounds, bits=bits))
    of = Range(*bounds, bits, "clip")
    x = data.draw(awkward(*bounds, bits))
    level = int(query.encode(x)["value.sum"][0])
    assert abs(level) <= of.largest
    stands_for = Fraction(of.centre) + level * Fraction(of.step)
    assert abs(stands_for - Fraction(x)) <= of.error
    assert of.error <= Fraction(of.step) * (Fraction(1, 2) + Fraction(1, 1 << 17))


@QUICK
@given(data=st.data(), bounds=ranges(), bits=st.integers(2, 22), ddof=st.sampled_from([0, 1]))
def test_sum_mean_and_variance(
    data: Any, bounds: tuple[float, float], bits: int, ddof: int
) -> None:
    xs = data.draw(st.lists(awkward(*bounds, bits), min_size=2, max_size=12))
    query = Query(
        {
            "sum": Sum(*bounds, bits, column="x"),
            "mean": Mean(*bounds, bits, column="x"),
            "variance": Variance(*bounds, bits, column="x", ddof=ddof),
        },
        rows=12,
    )
    table = ask(query, [{"x": xs}])
    assert holds(table["mean"], mean(xs))
    assert holds(table["sum"], mean(xs) * len(xs))
    assert holds(table["variance"], covariance(xs, xs, ddof))


@pytest.mark.parametrize("low", [1e9, -120.0, 0.1, -1e17])
def test_a_range_of_a_few_floats_whose_middle_is_none(low: float) -> None:
    """§3.1: one end is farther from the rounded middle than half the width."""
    xs = [low + k * math.ulp(low) for k in range(4)]
    table = ask(Query(Sum(xs[0], xs[3], bits=8), rows=1), [xs[0]])
    assert holds(table["value"], Fraction(xs[0]))
    assert holds(ask(Query(Sum(xs[0], xs[3], bits=8)), [xs[3]])["value"], Fraction(xs[3]))


def test_the_bounds_are_reached() -> None:
    """A mean's bound is its error where every row is halfway; half of it would be a lie."""
    of = Range(0.0, 1.0, 4, "clip")
    x = float(Fraction(of.centre) + Fraction(of.step) / 2)
    cell = ask(Query(Mean(0, 1, 4)), [x, x])["value"]
    assert isinstance(cell, Cell) and cell.value is not None and cell.error is not None
    assert abs(cell.value - x) > 0.99 * cell.error


@QUICK
@given(data=st.data(), bits=st.integers(2, 20), rows=st.integers(2, 10))
def test_covariances_and_correlations(data: Any, bits: int, rows: int) -> None:
    """Of columns of different ranges; one of them often nearly constant."""
    bounds = {"a": (0.0, 1.0), "b": (-50.0, 3.0), "c": (10.0, 10.5)}
    few = {
        n: st.sampled_from(data.draw(st.lists(awkward(*b, bits), min_size=1, max_size=3)))
        for n, b in bounds.items()
    }
    columns = {n: data.draw(st.lists(v, min_size=rows, max_size=rows)) for n, v in few.items()}
    moments = ask(Query({"m": Moments(bounds, bits)}, rows=rows), [columns])["m"]
    assert isinstance(moments, MomentTable)
    for a, x in columns.items():
        assert holds(moments.mean[a], mean(x))
        for b, y in columns.items():
            assert holds(moments.covariance[a, b], covariance(x, y))
            correlation = moments.correlation[a, b]
            if correlation.value is not None and correlation.error is not None:
                low, high = sqrt_bounds(
                    covariance(x, y) ** 2 / (covariance(x, x) * covariance(y, y))
                )
                sign = 1 if covariance(x, y) > 0 else -1
                distance = max(abs(Fraction(correlation.value) - sign * r) for r in (low, high))
                assert distance <= Fraction(correlation.error) + high - low


def test_correlations_of_linear_columns() -> None:
    x = np.linspace(0, 1, 50)
    columns = {"x": x, "up": 3 * x, "down": -x}
    query = Query({"m": Moments({"x": (0, 1), "up": (0, 3), "down": (-1, 0)})}, rows=50)
    moments = ask(query, [columns])["m"]
    assert isinstance(moments, MomentTable)
    assert moments.correlation["x", "x"] == Cell(1.0, 0.0)
    assert abs(moments.correlation.value - np.corrcoef(list(columns.values()))).max() < 1e-4
    assert moments.correlation.error.max() < 5e-4


def test_a_correlations_bound_covers_the_errors_of_either_column() -> None:
    """v spreads over its range; u over two steps each way, and what rounding takes from it, all
    but half a step, is along v. Almost all of the bound comes from u, and almost all is needed."""
    step = Fraction(Range(0.0, 1.0, 8, "clip").step)
    u = [float(Fraction(1, 2) + step * k) for k in (-2.49, -1.51, 1.51, 2.49)]
    columns = {"u": u, "v": [0.0, 1.0, 0.0, 1.0]}
    for order in (("u", "v"), ("v", "u")):
        query = Query({"m": Moments({name: (0, 1) for name in order}, bits=8)}, rows=4)
        moments = ask(query, [columns])["m"]
        assert isinstance(moments, MomentTable)
        cell, truth = moments.correlation["u", "v"], np.corrcoef(u, columns["v"])[0, 1]
        assert cell.value == 0.0 and cell.error is not None
        assert 0.9 * cell.error < truth < cell.error


def test_a_column_that_may_be_constant_has_no_correlation() -> None:
    """Its quantised deviation is no larger than the error: the truth may be undefined."""
    columns = {"x": [0.0, 1.0, 0.5], "flat": [0.3, 0.3, 0.3]}
    query = Query({"m": Moments({"x": (0, 1), "flat": (0, 1)}, bits=8)}, rows=3)
    moments = ask(query, [columns])["m"]
    assert isinstance(moments, MomentTable)
    assert moments.correlation["x", "flat"] == Cell(None, None)
    assert math.isnan(moments.correlation.value[0, 1])
    assert moments.covariance["flat", "flat"].value == 0.0
    assert moments.covariance["flat", "flat"].error > 0  # type: ignore[operator]


@QUICK
@given(st.lists(st.floats(-5, 25, allow_nan=False), max_size=30))
def test_histograms_are_numpys_of_the_clipped_rows(xs: list[float]) -> None:
    edges = (0.0, 1.0, 2.5, 10.0, 20.0)
    grid = ask(Query(Histogram(edges), rows=30), [xs])["value"]
    assert isinstance(grid, Grid)
    expected, _ = np.histogram(np.clip(xs, 0, 20), edges)
    assert grid.value.tolist() == expected.tolist()
    assert not grid.error.any()


def test_histograms_of_categories_and_of_infinite_edges() -> None:
    query = Query({"c": Histogram(categories=("a", 7)), "e": Histogram((-math.inf, 0, math.inf))})
    table = ask(query, [{"c": "a", "e": -1e300}, {"c": 7, "e": 0}, {"c": 7, "e": 5}])
    categories, edges = table["c"], table["e"]
    assert isinstance(categories, Grid) and isinstance(edges, Grid)
    assert [categories[label].value for label in ("a", 7)] == [1, 2]
    assert edges.axes == (("[-inf, 0)", "[0, inf)"),)
    assert edges.value.tolist() == [1, 2]
    with pytest.raises(KeyError):
        categories["b"]
    with pytest.raises(KeyError):
        categories["a", 7]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
@QUICK
def test_shares_are_exact_up_to_the_last_division(flags: list[bool]) -> None:
    cell = ask(Query(Share(), rows=40), [flags])["value"]
    assert holds(cell, Fraction(sum(flags), len(flags)))
    assert cell.error < 1e-16  # type: ignore[union-attr, operator]


@QUICK
@given(st.fractions(0, 10**30), st.fractions(-(10**9), 10**9))
def test_roundings_are_on_the_safe_side(square: Fraction, x: Fraction) -> None:
    low, high = sqrt_bounds(square)
    assert low**2 <= square <= high**2
    assert high - low <= high * Fraction(1, 1 << 63)
    assert Fraction(round_up(x)) >= x
    assert math.isclose(round_up(x), x, rel_tol=1e-15, abs_tol=1e-300)
    cell = Cell.of(x, square)
    assert holds(cell, x + square) and holds(cell, x - square)


@pytest.mark.parametrize(
    ("measure", "part", "sums"),
    [
        (Variance(0, 1, 8), "squares", [-1]),
        (Variance(0, 1, 8), "squares", [127**2 * 2 + 1]),
        (Variance(0, 1, 8), "sum", [127 * 2 + 1]),
        (Mean(0, 1, 8), "sum", [-127 * 2 - 1]),
        (Share(), "true", [3]),
        (Share(), "true", [-1]),
        (Histogram((0, 1, 2)), "counts", [3, -1]),
        (Histogram((0, 1, 2)), "counts", [1, 2]),
        (Moments({"a": (0, 1), "b": (0, 1)}, 8), "products", [4, 5, 4]),
    ],
)
def test_row_89_sums_that_no_rows_can_have_withhold_the_table(
    measure: Any, part: str, sums: list[int]
) -> None:
    """§5.4: what one lying client adds is often no sum of rows; then nothing is printed."""
    query = Query({"m": measure}, rows=2)
    levels = {name: np.zeros(f.length, np.int64) for name, f in query.fields.items()}
    levels["rows"][0] = 2
    levels[f"m.{part}"][:] = sums
    with pytest.raises(IntegrityError, match="withheld"):
        Table.of(query, levels, 1)


def test_products_of_no_rows_withhold_the_table() -> None:
    """§5.4"""
    query = Query({"m": Moments({"a": (0, 1), "b": (0, 1)})})
    levels = {name: np.zeros(f.length, np.int64) for name, f in query.fields.items()}
    assert Table.of(query, levels, 1)["m"].mean["a"] == Cell(None, None)  # type: ignore[union-attr]
    levels["m.products"][1] = 1
    with pytest.raises(IntegrityError, match="withheld"):
        Table.of(query, levels, 1)


def test_products_beyond_both_columns_spreads_withhold_the_table() -> None:
    """§5.4: both columns have the levels 10 and 12, so their products add up to 240 or 244."""
    query = Query({"m": Moments({"a": (0, 1), "b": (0, 1)}, 8)}, rows=2)
    levels = {name: np.zeros(f.length, np.int64) for name, f in query.fields.items()}
    levels["rows"][0] = 2
    levels["m.sum"][:] = 22
    for products, possible in ((240, True), (244, True), (239, False)):
        levels["m.products"][:] = [244, products, 244]
        if possible:
            Table.of(query, levels, 1)
            continue
        with pytest.raises(IntegrityError, match="withheld"):
            Table.of(query, levels, 1)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Mean(1, 1),
        lambda: Mean(2, 1),
        lambda: Mean(math.nan, 1),
        lambda: Mean(0, math.inf),
        lambda: Mean(0, 1e101),
        lambda: Mean(0, 1e-101),
        lambda: Mean(0, 1, bits=1),
        lambda: Mean(0, 1, bits=33),
        lambda: Mean(0, 1, excess="wrap"),  # type: ignore[arg-type]
        lambda: Variance(0, 1, ddof=2),
        lambda: Moments({}),
        lambda: Moments({"a": (1, 0)}),
        lambda: Histogram(),
        lambda: Histogram((0, 1), categories=("a",)),
        lambda: Histogram((0,)),
        lambda: Histogram((0, 2, 2)),
        lambda: Histogram((0, math.nan)),
        lambda: Histogram(categories=("a", "a")),
        lambda: Histogram(categories=("a\n",)),
        lambda: Histogram(categories=(1.5,)),  # type: ignore[arg-type]
    ],
)
def test_impossible_measures_cannot_be_made(bad: Any) -> None:
    with pytest.raises(ParameterError):
        bad()
