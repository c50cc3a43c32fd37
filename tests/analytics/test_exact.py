"""Every value within its bound where float64 alone would not do. Covers specs/30-analytics.md
§2.2, §3.1-§3.3, §3.6 and §4.1, with fractions as the truth.
"""

from __future__ import annotations

import bisect
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pooled import ask, covariance, holds, mean

from secagg.analytics import (
    Grid,
    Histogram,
    Mean,
    Measure,
    Moments,
    MomentTable,
    Query,
    Share,
    Sum,
    Table,
    Variance,
)
from secagg.analytics.ranges import LARGEST
from secagg.errors import InputError, RangeError
from tests.soak import examples

Number = int | float

RANGES: list[tuple[Number, Number]] = [
    (2**53 - 3, 2**53 + 4),
    (2**53 + 1, 2**53 + 2),
    (-(2**53) - 5, 2**53 + 5),
    (0.5, 2**53 + 1),
    (2**60, 2**60 + 1000),
    (2**60 + 1, 2**60 + 2**58),
    (1_700_000_000 * 10**9, 1_800_000_000 * 10**9 + 1),  # of times in nanoseconds
    (-(2**63), 2**63 - 1),
    (0, 2**64 - 1),
    (2**64 - 10, 2**64 - 1),
    (10**30 + 1, 10**30 + 7),
    (-(10**100), 10**100),
    (-LARGEST, LARGEST),
    (1.0, math.nextafter(1.0, 2)),
    (1e12, 1e12 + 1e-3),
    (-1e17, -1e17 + 64.0),
    (0, 1),
]

Part = Any
"""One client's column: a list, or an array of a dtype that holds it."""


def numbers(low: Number, high: Number) -> st.SearchStrategy[Number]:
    """In the range and a little outside: its ends, and what rounding could move across them."""
    first, last = math.ceil(low), math.floor(high)
    some = [st.sampled_from([low, high])]
    if first <= last:
        ends = [first, last, (first + last) // 2]
        some += [st.integers(first, last), st.sampled_from(ends)]
        some += [st.sampled_from(ends).map(lambda x: x + 1), st.integers(-(2**66), 2**66)]
    reach = st.floats(-1e101, 1e101) if high - low > 2**60 else st.floats(float(low), float(high))
    return st.one_of(*some, reach)


@st.composite
def columns(draw: Any, low: Number, high: Number) -> Part:
    """The same numbers in one of the ways that people have them."""
    values = draw(st.lists(numbers(low, high), min_size=1, max_size=6))
    kinds: list[type] = []
    if all(isinstance(x, int) for x in values):
        kinds += [t for t in (np.int64, np.uint64) if _fit(values, np.iinfo(t))]
    if all(isinstance(x, float) for x in values):
        kinds += [np.float64, np.longdouble]
    kind = draw(st.sampled_from([None, *kinds]))
    return values if kind is None else np.array(values, kind)


def rows_of(part: Part) -> list[Number]:
    values = part if isinstance(part, list) else part.tolist()
    return [x if isinstance(x, int) else float(x) for x in values]


def _fit(values: list[int], limits: Any) -> bool:
    return all(int(limits.min) <= x <= int(limits.max) for x in values)


@settings(max_examples=examples(250), deadline=None)
@given(data=st.data(), bounds=st.sampled_from(RANGES), bits=st.sampled_from([2, 8, 16, 21]))
def test_every_value_is_within_its_bound_of_the_exact_one(
    data: Any, bounds: tuple[Number, Number], bits: int
) -> None:
    parts = data.draw(st.lists(columns(*bounds), min_size=1, max_size=4))
    low, high = bounds
    query = Query(
        {
            "mean": Mean(low, high, bits, column="x"),
            "sum": Sum(low, high, bits, column="x"),
            "variance": Variance(low, high, bits, column="x", ddof=1),
            "moments": Moments({"x": bounds}, bits),
        },
        rows=6,
    )
    given_rows = [x for part in parts for x in rows_of(part)]
    xs = [min(max(Fraction(x), Fraction(low)), Fraction(high)) for x in given_rows]
    table = ask(query, [{"x": part} for part in parts])
    moments = table["moments"]
    assert isinstance(moments, MomentTable)
    assert holds(table["mean"], mean(xs)) and holds(moments.mean["x"], mean(xs))
    assert holds(table["sum"], mean(xs) * len(xs))
    assert holds(moments.covariance["x", "x"], covariance(xs, xs))
    if len(xs) > 1:
        assert holds(table["variance"], covariance(xs, xs, 1))
    outside = sum(not low <= x <= high for x in given_rows)
    assert sum(query.encode({"x": part}).clipped["mean"] for part in parts) == outside


def test_a_spread_far_from_zero_is_that_of_the_rows() -> None:
    """As near as the range and the bits allow, and not as float64 does at that distance."""
    query = Query(Variance(2**60, 2**60 + 1000, bits=16), rows=2)
    cell = ask(query, [np.array([2**60 + 100, 2**60 + 130])])["value"]
    assert holds(cell, Fraction(225))
    assert cell.error < 0.5  # type: ignore[union-attr, operator]


EDGES: list[tuple[Number, ...]] = [
    (2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3),
    (-math.inf, 2**53 + 1, math.inf),
    (0.5, 2**60 + 1, 2**60 + 2, 2**64),
    (2.0**53, 2.0**53 + 2, 2.0**53 + 4),
    (-(2**63), 0, 2**63 - 1),
]


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data(), edges=st.sampled_from(EDGES))
def test_a_row_is_in_the_bin_that_it_is_in(data: Any, edges: tuple[Number, ...]) -> None:
    """§3.6"""
    finite = [edge for edge in edges if math.isfinite(edge)]
    parts = data.draw(st.lists(columns(finite[0], finite[-1]), min_size=1, max_size=3))
    query = Query(Histogram(edges), rows=6)
    grid = ask(query, parts)["value"]
    assert isinstance(grid, Grid)
    expected = [0] * (len(edges) - 1)
    for part in parts:
        for x in rows_of(part):
            at = bisect.bisect_right([Fraction(e) for e in finite], Fraction(x))
            at += edges[0] == -math.inf
            expected[min(max(at - 1, 0), len(expected) - 1)] += 1
    assert grid.value.tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_edge_is_in_the_bin_above_it_in_every_type(dtype: Any) -> None:
    """§3.6: the float32 of 0.7 is less than 0.7, and what a float32 column has for it."""
    edges = (0.0, 0.1, 0.3, 0.7, 0.9)
    query = Query(Histogram(edges, excess="error"), rows=5)
    assert query.encode(np.array(edges, dtype))["value.counts"].tolist() == [1, 1, 1, 2]
    with pytest.raises(RangeError, match="row 0"):
        query.encode(np.nextafter(np.array([edges[-1]], dtype), dtype(1)))


@pytest.mark.parametrize("measure", [Mean(0, 2**53 + 1), Mean(0, 10), Histogram((0, 2**53 + 1))])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([2**60, True], InputError),
        ([2**60, None], InputError),
        ([2**60, 1j], InputError),
        ([1.5, False], InputError),
        ([np.True_, 2], InputError),
        ([2**60, math.nan], RangeError),
        ([2**60, -math.inf], RangeError),
        ([2**60, np.nextafter(np.longdouble(1), 2)], RangeError),
        (np.array([1, np.nextafter(np.longdouble(1), 2)]), RangeError),
    ],
)
def test_what_is_no_number_is_refused_beside_large_ones(
    measure: Measure, bad: Any, error: type[Exception]
) -> None:
    if np.finfo(np.longdouble).nmant <= 52 and error is RangeError and bad[1] == 1:
        pytest.skip("a longdouble is a float64 here")
    with pytest.raises(error, match="'value'"):
        Query(measure, rows=2).encode(bad)


def test_the_largest_sums_are_finite() -> None:
    """§3.1: no value or bound can leave float64, for no range and no number of rows."""
    rows = (2**63 - 1) // (2**31 - 1)
    query = Query(Sum(-LARGEST, LARGEST, bits=32), rows=rows)
    levels = {"rows": np.array([rows]), "value.sum": np.array([rows * (2**31 - 1)])}
    assert holds(Table.of(query, levels, 1)["value"], rows * Fraction(LARGEST))
    query = Query(Variance(-LARGEST, LARGEST, bits=2), rows=2**62)
    levels = {"rows": np.array([2**62]), "value.sum": np.array([0])}
    cell = Table.of(query, levels | {"value.squares": np.array([2**62])}, 1)["value"]
    assert holds(cell, Fraction(LARGEST) ** 2)


def test_a_share_of_more_rows_than_float64_counts() -> None:
    rows = 2**62 + 1
    query = Query(Share(), rows=rows)
    levels = {"rows": np.array([rows]), "value.true": np.array([2**61 + 1])}
    assert holds(Table.of(query, levels, 1)["value"], Fraction(2**61 + 1, rows))
