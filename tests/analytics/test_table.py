"""Tables: empty and small groups, what a reader can subtract, text and JSON; whole rounds.

Covers specs/30-analytics.md §5, §6 and §8.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pooled import ask, covariance, holds, mean

import secagg
from secagg.analytics import (
    Cell,
    Count,
    Grid,
    Histogram,
    Line,
    Mean,
    Moments,
    MomentTable,
    Query,
    Share,
    Sum,
    Table,
    Variance,
)
from secagg.errors import IntegrityError

NOTHING = Cell(None, None)
GROUPS = ("a", "b", "c", "d")
EVERYTHING = {
    "n": Count(),
    "sum": Sum(-1, 3, column="x"),
    "mean": Mean(-1, 3, column="x"),
    "variance": Variance(-1, 3, column="x"),
    "sample": Variance(-1, 3, column="x", ddof=1),
    "bins": Histogram((-1, 0, 3), column="z"),
    "share": Share(column="y"),
    "moments": Moments({"x": (-1, 3)}, ddof=1),
}


def rows_of(*counts: int) -> dict[str, list[Any]]:
    """So many rows of each group; x differs between groups."""
    groups = [g for g, n in zip(GROUPS, counts, strict=False) for _ in range(n)]
    xs = [GROUPS.index(g) / 2 for g in groups]
    return {"g": groups, "x": xs, "y": [True] * len(groups), "z": xs}


def by_group(min_group: int = 0, groups: tuple[str, ...] = GROUPS, **options: Any) -> Query:
    return Query(EVERYTHING, by="g", groups=groups, rows=400, min_group=min_group, **options)


def test_row_85_empty_groups_have_no_mean_and_divide_nothing() -> None:
    table = ask(by_group(), [rows_of(0, 1, 2)])
    empty = table.groups["a"]
    assert (empty.rows, empty.suppressed) == (0, False)
    assert table["a", "n"] == table["a", "sum"] == Cell(0.0, 0.0)
    for name in ("mean", "variance", "sample", "share"):
        assert table["a", name] == NOTHING
    assert table["a", "bins"].value.tolist() == [0, 0]  # type: ignore[union-attr]
    assert table["b", "variance"].value == 0.0  # type: ignore[union-attr]
    assert table["b", "sample"] == NOTHING  # one row says nothing about a spread
    moments = table["a", "moments"]
    assert isinstance(moments, MomentTable)
    assert moments.mean["x"] == moments.covariance["x", "x"] == moments.correlation["x", "x"]
    assert moments.mean["x"] == NOTHING


def test_nobody_has_rows_at_all() -> None:
    table = ask(by_group(), [rows_of(), rows_of()])
    assert table.total is not None and table.total.rows == 0
    assert table["mean"] == NOTHING
    assert table["n"] == Cell(0.0, 0.0)


def test_all_rows_in_one_group() -> None:
    table = ask(by_group(), [rows_of(0, 0, 7), rows_of(0, 0, 2)])
    assert table.counts == {"a": 0, "b": 0, "c": 9, "d": 0}
    assert table["c", "mean"] == table["mean"]
    assert holds(table["mean"], Fraction(1))


def test_the_total_is_of_all_rows_and_not_of_the_shown_ones() -> None:
    clients = [rows_of(2, 1, 5), rows_of(3, 9, 4, 1), rows_of(0, 0, 0, 30)]
    table = ask(by_group(min_group=6), clients)
    xs = [x for rows in clients for x in rows["x"]]
    assert holds(table["mean"], mean(xs))
    assert holds(table["sample"], covariance(xs, xs, 1))
    assert table.counts == {"a": None, "b": None, "c": 9, "d": 31}


def _reader(table: Table, counts: list[int], minimum: int) -> None:
    """What a table's reader can subtract is about two groups and `minimum` rows, or nothing."""
    for count, line in zip(counts, table.groups.values(), strict=True):
        assert line.rows == (None if line.suppressed else count)
        assert line.suppressed or count >= minimum
        assert all(cell.suppressed for cell in _cells(line)) == line.suppressed
        _both_sides(line, minimum)
    hidden = [n for n, line in zip(counts, table.groups.values(), strict=True) if line.suppressed]
    if table.total is None:
        return
    _both_sides(table.total, minimum)
    if table.total.rows is None:
        assert sum(counts) < minimum and all(cell.suppressed for cell in _cells(table.total))
    elif hidden:
        assert len(hidden) >= 2 and sum(hidden) >= minimum


def _both_sides(line: Line, minimum: int) -> None:
    """No count that a line shows is small, and no count that it shows the rest of."""
    bins, share = line.results["bins"], line.results["share"]
    assert isinstance(bins, Grid) and isinstance(share, Cell)
    counts = [cell.value for cell in bins.cells]
    if line.rows is not None and share.value is not None:
        counts += [share.value * line.rows, (1 - share.value) * line.rows]
    assert all(n is None or n >= minimum for n in counts)
    assert sum(cell.suppressed for cell in bins.cells) != 1


def _cells(line: Line) -> list[Cell]:
    cells: list[Cell] = []
    for result in line.results.values():
        if isinstance(result, MomentTable):
            grids = (result.mean, result.covariance, result.correlation)
            cells += [cell for grid in grids for cell in grid.cells]
        else:
            cells += [result] if isinstance(result, Cell) else result.cells
    return cells


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 14), min_size=1, max_size=4),
    minimum=st.integers(0, 12),
    total=st.booleans(),
)
def test_no_small_group_can_be_had_by_subtraction(
    counts: list[int], minimum: int, total: bool
) -> None:
    """§6.2: not a single hidden group, and not hidden ones that together are few rows."""
    groups = GROUPS[: len(counts)]
    table = ask(by_group(minimum, groups, total=total), [rows_of(*counts)])
    _reader(table, counts, minimum)
    assert (table.total is None) == (not total)


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((2, 20, 30, 40), {"c", "d"}),  # a is small, and b is its neighbour
        ((2, 10, 30, 40), {"c", "d"}),  # a reader must not learn that one of two is at most 2
        ((2, 3, 30, 40), set()),  # a and b are together 5 rows: and another pair
        ((2, 9, 30, 40), {"c", "d"}),  # together 11: nothing more is needed
        ((0, 20, 30, 40), {"c", "d"}),  # that a group is empty is a secret of its members too
        ((20, 20, 30, 40), {"a", "b", "c", "d"}),
        ((40, 20, 3, 30), {"a", "b"}),
        ((2, 2, 2, 2), set()),
    ],
)
def test_neighbours(counts: tuple[int, ...], shown: set[str]) -> None:
    table = ask(by_group(min_group=10), [rows_of(*counts)])
    assert {group for group, n in table.counts.items() if n is not None} == shown
    assert (table.total is not None and table.total.rows is None) == (sum(counts) < 10)


def test_without_groups_a_small_total_is_suppressed() -> None:
    query = Query(Mean(0, 1), min_group=3)
    assert ask(query, [0.5, 0.25])["value"] == NOTHING
    assert ask(query, [0.5, 0.25, 0.25])["value"] != NOTHING


def test_row_89_impossible_numbers_of_rows_withhold_the_table() -> None:
    query = Query(Count(), by="g", groups=("a", "b"), rows=2)
    for counts in ([-1, 2], [3, 2]):
        with pytest.raises(IntegrityError, match="withheld"):
            Table.of(query, {"rows": np.array(counts)}, 2)


def test_text_and_json() -> None:
    table = ask(by_group(min_group=3), [rows_of(1, 3, 5, 9)])
    text = str(table)
    assert text.startswith("1 client\n")
    lines = [line.split() for line in text.splitlines()]
    assert [line[2:] for line in lines if line[:2] in (["a", "rows"], ["b", "rows"])] == [
        ["suppressed"],
        ["suppressed"],
    ]
    assert ["d", "rows", "9"] in lines
    assert ["d", "bins", "[0,", "3]", "suppressed"] in lines  # [-1, 0) has none
    assert not {"small", "complement"} & {word for line in lines for word in line}
    assert "3 rows" in text.splitlines()[-1]
    data = json.loads(table.as_json())
    assert data == table.as_dict()
    assert data["groups"][0]["rows"] is None
    assert data["groups"][0]["measures"]["mean"] == {
        **{"value": None, "error": None},
        **{"interval": None, "clamped": False},
    }
    assert [group["suppressed"] for group in data["groups"]] == [True, True, False, False]
    assert data["total"]["measures"]["n"] == {
        **{"value": 18.0, "error": 0.0},
        **{"interval": None, "clamped": False},
    }
    assert data["total"]["measures"]["bins"]["value"] == [None, None]
    assert data["total"]["measures"]["bins"]["labels"] == [["[-1, 0)", "[0, 3]"]]
    with pytest.raises(KeyError):
        table["nothing"]
    with pytest.raises(KeyError, match="no total"):
        ask(by_group(total=False), [rows_of(1)])["mean"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (NOTHING, "-"),
        (Cell(None, None, suppressed=True), "suppressed"),
        (Cell(3.0, 0.0), "3"),
        (Cell(2.0**60, 0.0), str(2**60)),
        (Cell(2.0**70, 0.0), "1.180591621e+21 ± 2.9e+11"),
        (Cell(0.25, 0.0), "0.25"),
        (Cell(1.0, 0.0101), "1 ± 0.011"),
        (Cell(1 / 3, 1e-17), "0.3333333333 ± 3.4e-11"),
    ],
)
def test_a_cell_as_text(cell: Cell, text: str) -> None:
    assert str(cell) == text


@settings(max_examples=300, deadline=None)
@given(
    value=st.floats(-1e200, 1e200) | st.integers(-(2**70), 2**70).map(float),
    error=st.floats(0, 1e200) | st.sampled_from([0.0, 5e-324, 1e-300, 0.0101, 9.99e5]),
)
def test_a_printed_bound_is_never_too_small(value: float, error: float) -> None:
    """§4.1, of the decimals as they are printed: all that the cell allows is within them."""
    shown, _, bound = str(Cell(value, error)).partition(" ± ")
    around = Fraction(bound or 0)
    assert Fraction(shown) - around <= Fraction(value) - Fraction(error)
    assert Fraction(shown) + around >= Fraction(value) + Fraction(error)
    lost = abs(Fraction(shown) - Fraction(value))
    assert around <= (lost + Fraction(error)) * Fraction(11, 10), "and not much too large"


def test_many_correlations_are_not_listed() -> None:
    columns = {f"c{i}": (0, 1) for i in range(6)}
    query = Query({"m": Moments(columns), "few": Moments({"c0": (0, 1), "c1": (0, 1)})}, rows=3)
    text = str(ask(query, [{name: [0.1, 0.9, 0.4] for name in columns}]))
    assert "15 pairs" in text
    assert text.count("correlation c0, c1") == 1


@pytest.mark.parametrize("protocol", ["secagg", "additive"])
def test_a_whole_round_with_drops(protocol: str) -> None:
    """The table is that of the clients in the sum, for one server and for several alike."""
    query = by_group(min_group=3)
    clients = {i: rows_of(i, 5, (3 * i) % 4) for i in range(10)}
    servers = 1 if protocol == "secagg" else 3
    plan = secagg.plan(
        clients=10, fields=query.fields, protocol=protocol, servers=servers, dropout=0.3
    )
    answers = {i: query.encode(rows) for i, rows in clients.items()}
    drop = secagg.drop_at(plan.phase_names[-2] if servers == 1 else "upload", count=2)
    total = secagg.simulate(plan, answers, drop=drop, payload=query.payload)
    assert len(total.contributors) == 8
    table = query.table(total)
    plain = ask(query, [clients[i] for i in total.contributors])
    assert (table.groups, table.total, table.clients) == (plain.groups, plain.total, 8)
    assert table.counts["b"] == 40 or table.groups["a"].suppressed
