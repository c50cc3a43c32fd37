"""A query's fields, and what a client may hand to `encode`. Covers specs/30-analytics.md §2, §3."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pooled import ask

import secagg
from secagg.analytics import (
    Cell,
    Count,
    Histogram,
    Mean,
    Moments,
    Query,
    Share,
    Sum,
    Table,
    Variance,
)
from secagg.errors import HeadroomError, InputError, ParameterError, RangeError
from secagg.fields import Integer

ROOT = Path(__file__).parent.parent.parent

QUERY = Query(
    {
        "n": Count(),
        "age": Mean(0, 120, bits=8),
        "spread": Variance(0, 120, bits=8, column="age"),
        "smoker": Share(),
        "bin": Histogram((0, 18, 65), column="age"),
        "m": Moments({"age": (0, 120), "bmi": (10, 60)}, bits=8),
    },
    by="ward",
    groups=("A", "B", "C"),
    rows=10,
)
ROWS = {"age": [10.0, 50.0], "smoker": [True, False], "bmi": [20, 30], "ward": ["A", "C"]}


def test_fields_are_integers_and_count_rows_in_secret() -> None:
    assert dict(QUERY.fields) == {
        "rows": Integer(3, 10),
        "age.sum": Integer(3, 10 * 127),
        "spread.sum": Integer(3, 10 * 127),
        "spread.squares": Integer(3, 10 * 127**2),
        "smoker.true": Integer(3, 10),
        "bin.counts": Integer(6, 10),
        "m.sum": Integer(6, 10 * 127),
        "m.products": Integer(9, 10 * 127**2),
    }
    assert QUERY.columns == ("ward", "age", "smoker", "bmi")
    assert secagg.plan(clients=9, fields=QUERY.fields).schema.clients == 9


class Frame:
    """What a data frame has of a mapping: keys, membership, columns with tolist."""

    def keys(self) -> list[str]:
        return [*ROWS, "name"]

    def __contains__(self, name: str) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Any:
        return np.array(ROWS[name])


def test_every_way_to_hand_in_rows_is_the_same_answer() -> None:
    each = [dict(zip(ROWS, values, strict=True)) for values in zip(*ROWS.values(), strict=True)]
    expected = {name: array.tolist() for name, array in QUERY.encode(ROWS).items()}
    assert expected["rows"] == [1, 0, 1]
    assert expected["smoker.true"] == [1, 0, 0]
    assert expected["bin.counts"] == [1, 0, 0, 0, 0, 1]
    arrays = {name: np.array(column) for name, column in ROWS.items()}
    for rows in (each, tuple(each), arrays, Frame(), ROWS | {"name": "not looked at" * 2}):
        if isinstance(rows, dict) and "name" in rows:
            rows["name"] = ["x", "y"]
        answer = QUERY.encode(rows)
        assert {name: array.tolist() for name, array in answer.items()} == expected
        assert set(answer) == set(QUERY.fields) and len(answer) == len(QUERY.fields)
    one = QUERY.encode(each[0])
    assert one["rows"].tolist() == [1, 0, 0]


def test_a_single_measure_needs_no_names() -> None:
    query = Query(Mean(-1, 1), rows=3)
    assert [*query.named] == ["value"]
    for rows in ([0.5, -0.25], np.array([0.5, -0.25], np.float32), {"value": (0.5, -0.25)}):
        assert query.encode(rows)["rows"].tolist() == [2]
        assert query.encode(rows)["value.sum"].tolist() == [
            8192
        ]  # of 16383.5, to even, and -8191.75
    for row in (0.5, np.float64(0.5), {"value": 0.5}, [0.5], [{"value": 0.5}]):
        assert query.encode(row)["value.sum"].tolist() == [16384]
    assert Query(Histogram(categories=("yes", "no"))).encode("no")["value.counts"].tolist() == [
        0,
        1,
    ]
    assert Query(Share()).encode(True)["value.true"].tolist() == [1]


@pytest.mark.parametrize("rows", [[], (), np.empty(0), {"value": []}, {"value": np.empty(0)}])
def test_no_rows_are_an_answer(rows: Any) -> None:
    for measure in (Mean(0, 1), Share(), Histogram((0, 1)), Histogram(categories=("a",))):
        answer = Query(measure).encode(rows)
        assert not any(array.any() for array in answer.values())


def test_rows_without_columns_are_counted() -> None:
    query = Query({"patients": Count()}, rows=5)
    table = ask(query, [[{"x": 1}, {"x": 2}], {"x": [1, 2, 3]}, {"x": 1}, []])
    assert table["patients"] == Cell(6.0, 0.0)
    with pytest.raises(InputError):
        query.encode(7)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "missing column": ({"age": [1.0]}, InputError, "bmi"),
    "missing in one row": ([{n: c[0] for n, c in ROWS.items()}, {"age": 1}], InputError, "row 1"),
    "a row that is none": ([{n: c[0] for n, c in ROWS.items()}, 3], InputError, "row 1"),
    "unequal": (ROWS | {"age": [1.0]}, InputError, "unequal"),
    "mixed": (ROWS | {"age": 1.0}, InputError, "single"),
    "a bare value": (3.0, InputError, "one column"),
    "two axes": (ROWS | {"age": np.zeros((2, 1))}, InputError, "2 axes"),
    "too many": ({n: c * 6 for n, c in ROWS.items()}, RangeError, "at most 10"),
    "NaN": (ROWS | {"age": [1.0, math.nan]}, RangeError, "'age'.*row 1"),
    "infinite": (ROWS | {"bmi": [math.inf, 20]}, RangeError, "'bmi'.*row 0"),
    "longdouble": (ROWS | {"bmi": np.array([20, "1e400"], np.longdouble)}, RangeError, "row 1"),
    "text": (ROWS | {"age": ["1", "2"]}, InputError, "'age'"),
    "None": (ROWS | {"age": [1.0, None]}, InputError, "'age'"),
    "complex": (ROWS | {"age": [1j, 2]}, InputError, "'age'"),
    "booleans": (ROWS | {"age": [True, False]}, InputError, "'age'"),
    "masked": (ROWS | {"age": np.ma.masked_array([1.0, 2.0])}, InputError, "masked"),
    "masked flags": (ROWS | {"smoker": np.ma.masked_array([True, False])}, InputError, "masked"),
    "masked groups": (ROWS | {"ward": np.ma.masked_array(["A", "B"])}, InputError, "masked"),
    "not a flag": (ROWS | {"smoker": [0, 2]}, RangeError, "'smoker'.*row 1"),
    "a real flag": (ROWS | {"smoker": [0.0, 1.0]}, InputError, "'smoker'"),
    "no such group": (ROWS | {"ward": ["A", "Z9"]}, RangeError, "'ward'.*row 1"),
    "no label": (ROWS | {"ward": ["A", ["B"]]}, InputError, "'ward'.*row 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_80_81_wrong_rows_are_refused_and_not_quoted(name: str) -> None:
    rows, error, words = BAD[name]
    with pytest.raises(error, match=words) as caught:
        QUERY.encode(rows)
    assert "Z9" not in str(caught.value)


def test_row_82_values_outside_are_clipped_and_counted_or_refused() -> None:
    rows = {"x": [-5.0, 0.5, 1.0, 99.0]}
    measures = {"mean": Mean(0, 1, column="x"), "bins": Histogram((0, 0.5, 1), column="x")}
    answer = Query(measures, rows=4).encode(rows)
    assert answer.clipped == {"mean": 2, "bins": 2}
    assert answer["bins.counts"].tolist() == [1, 3]
    clipped = Query(measures, rows=4).encode({"x": [0.0, 0.5, 1.0, 1.0]})
    assert answer["mean.sum"] == clipped["mean.sum"]
    assert not any(clipped.clipped.values())
    for measure in (Mean(0, 1, excess="error"), Histogram((0, 1), excess="error")):
        with pytest.raises(RangeError, match="row 3"):
            Query(measure, rows=4).encode([0.0, 0.5, 1.0, 1.0000001])
        Query(measure, rows=2).encode([0.0, 1.0])


def test_an_answer_and_its_columns_show_nothing_in_their_repr() -> None:
    answer = QUERY.encode(ROWS | {"age": [777.0, 50.0]})
    assert repr(answer) == "Answer()"


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ABC"), st.floats(0, 120)), max_size=40),
    parts=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_row_88_any_split_over_clients_gives_the_same_table(
    rows: list[tuple[str, float]], parts: int, seed: int
) -> None:
    """Bit for bit: what is summed are integers."""
    query = Query(
        {"mean": Mean(0, 120, column="x"), "m": Moments({"x": (0, 120)})},
        by="g",
        groups=("A", "B", "C"),
        rows=40,
    )

    def columns(some: list[tuple[str, float]]) -> dict[str, list[Any]]:
        return {"g": [g for g, _ in some], "x": [x for _, x in some]}

    generator = np.random.default_rng(seed)
    order = [rows[i] for i in generator.permutation(len(rows))]
    cuts = sorted(generator.integers(0, len(rows) + 1, parts - 1).tolist())
    split = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    whole = ask(query, [columns(rows)])
    table = ask(query, [columns(some) for some in split])
    assert table.groups == whole.groups
    assert table.total == whole.total
    assert [line.rows for line in table.groups.values()] == [
        sum(g == group for g, _ in rows) for group in "ABC"
    ]


def test_chunks_of_many_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"x": np.linspace(0, 1, 1000), "g": np.arange(1000) % 3}
    query = Query({"x": Moments({"x": (0, 1)})}, by="g", groups=(0, 1, 2), rows=1000)
    whole = query.encode(rows)
    monkeypatch.setattr("secagg.analytics.query.CHUNK", 7)
    for name, array in query.encode(rows).items():
        assert array.tolist() == whole[name].tolist()


def test_row_83_head_room_is_proved_for_one_client_and_for_all() -> None:
    most = ((1 << 63) - 1) // (2**31 - 1) ** 2
    fits = Query(Variance(0, 1, bits=32), rows=most)
    with pytest.raises(HeadroomError, match="fewer bits"):
        Query(Variance(0, 1, bits=32), rows=most + 1)
    with pytest.raises(HeadroomError):
        secagg.plan(clients=9, fields=fits.fields)


def test_row_84_extreme_rows_are_exact() -> None:
    """Rows at the ends of the range, as many as the head-room lets a client have."""
    query = Query(Variance(-1, 1, bits=31), rows=7)
    answer = query.encode([-1.0] * 7)
    largest = 2**30 - 1
    assert answer["value.sum"].tolist() == [-7 * largest]
    assert answer["value.squares"].tolist() == [7 * largest**2]
    cell = ask(query, [[-1.0] * 4 + [1.0] * 3, [1.0]])["value"]
    assert isinstance(cell, Cell) and cell.value is not None
    assert math.isclose(cell.value, 1.0, rel_tol=1e-8)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Query({"a": 3}),  # type: ignore[dict-item]
        lambda: Query({1: Count()}),  # type: ignore[dict-item]
        lambda: Query(Count(), by="g"),
        lambda: Query(Count(), groups=("a",)),
        lambda: Query(Count(), by="g", groups=("a", "a")),
        lambda: Query(Count(), rows=0),
        lambda: Query(Count(), rows=True),
        lambda: Query(Count(), min_group=-1),
        lambda: Query(Count(), total=False),
    ],
)
def test_impossible_queries_cannot_be_made(bad: Any) -> None:
    with pytest.raises(ParameterError):
        bad()


def test_another_rounds_aggregate_is_refused() -> None:
    other = Query(Sum(0, 1), rows=2)
    levels = {name: np.zeros(field.length, np.int64) for name, field in other.fields.items()}
    with pytest.raises(InputError, match="query.fields"):
        Table.of(QUERY, levels, 1)


def test_the_payload_tells_queries_apart() -> None:
    same = Query(Mean(0, 1.0), by="g", groups=["a", "b"], rows=2)  # type: ignore[arg-type]
    query = Query(Mean(0.0, 1), by="g", groups=("a", "b"), rows=2)
    assert query.payload == same.payload
    others = [
        Query(Mean(0, 2), by="g", groups=("a", "b"), rows=2),
        Query(Mean(0, 1), by="g", groups=("b", "a"), rows=2),
        Query(Mean(0, 1, column="x"), by="g", groups=("a", "b"), rows=2),
        Query(Sum(0, 1), by="g", groups=("a", "b"), rows=2),
    ]
    assert len({query.payload, *(other.payload for other in others)}) == 5


def test_asking_and_planning_do_not_load_the_compiler() -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'protocols')]!r}\n"
        "import secagg\nfrom secagg import analytics\n"
        "query = analytics.Query(analytics.Mean(0, 1))\n"
        "secagg.plan(clients=9, fields=query.fields)\nprint('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.3, 0.7), (-0.7, -0.3)])
def test_the_ends_of_a_range_in_the_columns_own_type_are_inside(
    dtype: Any, low: float, high: float
) -> None:
    """specs/02-quantization.md §4.3: the float32 nearest to 0.7 lies below 0.7, and is 0.7."""
    query = Query({"x": Mean(low, high, excess="error")}, rows=2)
    answer = query.encode(np.array([low, high], dtype))
    assert answer.clipped == {"x": 0}
    with pytest.raises(RangeError, match="at row 1"):
        query.encode(np.array([low, np.nextafter(dtype(high), dtype(9))], dtype) + dtype(0.001))
