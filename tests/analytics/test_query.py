"""A query's fields, and what a client may hand to `encode`. Covers specs/30-analytics.md §2, §3."""

from __future__ import annotations

import math
import subprocess
import sys
import traceback
import unicodedata
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
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
    Outside,
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
    "a flag of a half": (ROWS | {"smoker": [0.5, 1.0]}, RangeError, "neither 0 nor 1 at row 0"),
    "a flag without value": (ROWS | {"smoker": [1.0, np.nan]}, RangeError, "nor 1 at row 1"),
    "no such group": (ROWS | {"ward": ["A", "Z9"]}, RangeError, "'ward'.*row 1"),
    "no label": (ROWS | {"ward": ["A", ["B"]]}, InputError, "'ward'.*row 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_80_81_wrong_rows_are_refused_and_not_quoted(name: str) -> None:
    rows, error, words = BAD[name]
    with pytest.raises(error, match=words) as caught:
        QUERY.encode(rows)
    assert "Z9" not in str(caught.value)


CANARIES: list[Any] = [
    8675309,
    8675309.25,
    "8675309",
    -8675309j,
    Decimal("8675309.5"),
    8675309 << 60,
]


@pytest.mark.parametrize("canary", CANARIES, ids=str)
@pytest.mark.parametrize("column", ROWS)
@pytest.mark.parametrize("excess", ["clip", "error"])
def test_no_error_tells_a_value_of_the_data(column: str, canary: Any, excess: Any) -> None:
    """Nor how many rows there are; nor what was raised on the way to it."""
    query = Query(
        {
            "age": Mean(0, 120, excess=excess),
            "smoker": Share(),
            "bin": Histogram((0, 18, 65), column="age", excess=excess),
            "m": Moments({"bmi": (10, 60)}, excess=excess),
        },
        by="ward",
        groups=("A", "B", "C"),
        rows=7,
    )
    good = {name: list(values) for name, values in ROWS.items()}
    pairs = list(zip(*good.values(), strict=True))
    rows = [
        good | {column: [good[column][0], canary]},
        good | {column: np.array([canary, canary])},
        good | {column: canary},
        good | {column: [canary] * 3},
        good | {column: [[canary], [canary]]},
        [dict(zip(good, values, strict=True)) | {column: canary} for values in pairs],
        {name: [*values * 29, canary] for name, values in good.items()},
        [canary],
        canary,
    ]
    refused = 0
    for given_rows in rows:
        try:
            answer = query.encode(given_rows)
        except (InputError, RangeError) as error:
            refused += 1
            text = "".join(traceback.format_exception(error)[-1:]) + repr(error)
            context = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            assert "8675309" not in text + repr(context)
            assert "59" not in text and "(3" not in text
        else:
            assert "8675309" not in repr(answer)
    assert refused >= 5


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


CLIPPING = {
    "age": Mean(0, 120),
    "spread": Variance(0, 120, column="age"),
    "strict": Sum(0, 1000, excess="error", column="age"),
    "m": Moments({"age": (0, 120), "bmi": (10, 60)}),
    "y": Share(),
}


def test_a_table_tells_what_was_clipped_where_the_query_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """§3.7: as many as each client knows of its own; by default nobody else is told."""
    parts = [
        {"age": [130.0, 5.0, 121.0], "bmi": [9, 61, 20], "y": [True] * 3},
        {"age": [-1.0, 120.0], "bmi": [10, 60], "y": [False] * 2},
    ]
    silent, told = Query(CLIPPING, rows=3), Query(CLIPPING, rows=3, clipped=True)
    assert not any("clipped" in name for name in [*silent.fields, *silent.named])
    assert "strict clipped" not in told.named, "what is refused is not clipped"
    with pytest.raises(RangeError):
        ask(told, parts)
    loose = {name: m for name, m in CLIPPING.items() if name != "strict"}
    told = Query(loose, rows=3, clipped=True)
    caplog.clear()
    answers = [told.encode(part) for part in parts]
    assert [answer.clipped["age"] for answer in answers] == [2, 1]
    assert "'age': 2 values" in caplog.text and "130" not in caplog.text
    table = ask(told, parts)
    counts = {name: table[name].value for name in told.named if "clipped" in name}  # type: ignore[union-attr]
    assert counts == {
        "age clipped": 3,
        "spread clipped": 3,
        "m age clipped": 3,
        "m bmi clipped": 2,
    }
    assert "age clipped" in str(table)
    assert told.payload != Query(loose, rows=3).payload


def test_counts_of_what_was_clipped_are_suppressed_as_others_are() -> None:
    """§6: three of nine are few, and so would six of nine be, were it the other way around."""
    query = Query({"age": Mean(0, 120)}, rows=9, min_group=4, clipped=True)
    for outside, shown in ((3, False), (4, True), (5, True), (6, False), (0, False)):
        table = ask(query, [[130.0] * outside + [5.0] * (9 - outside)])
        assert table["age clipped"] == (Cell(float(outside), 0.0) if shown else Cell(None, None))
        assert table["age"].value is not None  # type: ignore[union-attr]
    with pytest.raises(ParameterError, match="in two ways"):
        Query(
            {"age": Mean(0, 120), "bins": Histogram((0, 60, 120), column="age")},
            min_group=4,
            clipped=True,
        )


def test_a_query_that_counts_what_is_clipped_stays_one() -> None:
    query = Query({"x": Mean(0, 1)}, by="g", groups=("a", "b"), rows=9, min_group=2, clipped=True)
    assert [*query.first_round().fields] == ["rows"]
    second = query.second_round({"a": 5, "b": None})
    assert [*second.named] == ["x", "x clipped"]
    with pytest.raises(ParameterError, match=r"analytics\.Query\(\.\.\., clipped=True\)"):
        secagg.plan(clients=9, fields=query.fields, clipped=True)
    with pytest.raises(ParameterError, match="'x clipped'"):
        Query({"x": Mean(0, 1), "x clipped": Share()}, clipped=True)
    with pytest.raises(ParameterError, match="clipped must"):
        Query(Mean(0, 1), clipped=1)  # type: ignore[arg-type]
    own = Query({"o": Outside(2**53, 2**53 + 1)}, rows=4)
    rows = [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2]
    assert own.encode(rows)["o.outside"].tolist() == [2]
    for bad in (lambda: Outside(1, 1), lambda: Outside(0, math.inf), lambda: Outside("0", 1)):
        with pytest.raises(ParameterError):
            bad()


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
    ("bad", "words"),
    [
        (lambda: Query({"a": 3}), "'a'.*not an int"),
        (lambda: Query({1: Count()}), "name.*not an int"),
        (lambda: Query({"": Count()}), "name"),
        (lambda: Query({"a\n": Count()}), "name"),
        (lambda: Query([Count()]), "measures.*not a list"),
        (lambda: Query(Count), "measures"),
        (lambda: Query(Count(), by="g"), "list of groups"),
        (lambda: Query(Count(), groups=("a",)), "list of groups"),
        (lambda: Query(Count(), by=3, groups=("a",)), "by must.*not an int"),
        (lambda: Query(Count(), by="g", groups=("a", "a")), "groups must be distinct"),
        (lambda: Query(Count(), by="g", groups="ab"), "groups.*not a str"),
        (lambda: Query(Count(), by="g", groups={"a", "b"}), "groups.*not a set"),
        (lambda: Query(Count(), by="g", groups=3), "groups.*not an int"),
        (lambda: Query(Count(), by="g", groups=np.array(3)), "groups.*not a ndarray"),
        (lambda: Query(Count(), by="g", groups=np.zeros((2, 2), int)), "number 0 is a ndarray"),
        (lambda: Query(Count(), by="g", groups=(1, 2.0)), "number 1 is a float"),
        (lambda: Query(Count(), by="g", groups=("a", None)), "number 1 is a NoneType"),
        (lambda: Query(Count(), rows=0), "rows must"),
        (lambda: Query(Count(), rows=True), "rows.*not a bool"),
        (lambda: Query(Count(), rows=2.0), "rows.*not a float"),
        (lambda: Query(Count(), rows="2"), "rows.*not a str"),
        (lambda: Query(Count(), rows=[2]), "rows.*not a list"),
        (lambda: Query(Count(), min_group=-1), "min_group"),
        (lambda: Query(Count(), min_group=1.5), "min_group.*not a float"),
        (lambda: Query(Count(), total=False), "total"),
        (lambda: Query(Count(), total="no"), "total.*not a str"),
        (lambda: Query(Count(), published={"a": 1}), "published"),
        (lambda: Mean("0", 1), "low.*not a str"),
        (lambda: Mean(0, [1]), "high.*not a list"),
        (lambda: Mean(True, 2), "low.*not a bool"),
        (lambda: Mean(np.zeros(1), 2), "low.*not a ndarray"),
        (lambda: Mean(0, 10**400), "high must be a finite"),
        (lambda: Mean(0, 1, bits=16.0), "bits.*not a float"),
        (lambda: Mean(0, 1, bits="16"), "bits.*not a str"),
        (lambda: Mean(0, 1, excess=["clip"]), "excess"),
        (lambda: Mean(0, 1, column=3), "column.*not an int"),
        (lambda: Variance(0, 1, ddof=True), "ddof.*not a bool"),
        (lambda: Variance(0, 1, ddof=1.0), "ddof.*not a float"),
        (lambda: Share(column=["a"]), "column.*not a list"),
        (lambda: Histogram("0123"), "edges.*not a str"),
        (lambda: Histogram((float("nan"), 0, 1)), r"edges\[0\] .* infinite at either end, not NaN"),
        (lambda: Histogram((0, Decimal("sNaN"))), r"edges\[1\] .* infinite at either end, not NaN"),
        (lambda: Histogram((0, np.float32("nan"))), r"edges\[1\] .* not NaN"),
        (lambda: Histogram(5), "edges.*not an int"),
        (lambda: Histogram((0, "1")), r"edges\[1\].*not a str"),
        (lambda: Histogram(categories="ab"), "categories.*not a str"),
        (lambda: Moments([("a", 0, 1)]), "ranges"),
        (lambda: Moments({"a": 1}), "'a'.*two numbers"),
        (lambda: Moments({"a": (0, 1, 2)}), "'a'.*two numbers"),
        (lambda: Moments({"a": (0, "1")}), "high of 'a'.*not a str"),
        (lambda: Moments({3: (0, 1)}), "column.*not an int"),
    ],
)
def test_impossible_queries_cannot_be_made(bad: Any, words: str) -> None:
    """Always by the argument's name, and never by Python's own error from inside."""
    with pytest.raises(ParameterError, match=words):
        bad()


def test_numpys_numbers_make_the_same_query_as_pythons() -> None:
    """Equal, with one payload, and of Python's own types throughout: numpy's would print as
    themselves, and so be another task."""
    plain = Query(
        {
            "m": Mean(0.25, 8, 12, column="x"),
            "v": Variance(0, 8, ddof=1, column="x"),
            "h": Histogram((0, 1.5, 9), column="y"),
            "k": Histogram(categories=("a", 3), column="z"),
            "mm": Moments({"x": (0, 2)}, 8, ddof=1),
        },
        by="g",
        groups=(1, 2, True is False),
        rows=5,
        min_group=0,
        published=((1, 4), (2, None), (False, 0)),
    )
    like = Query(
        {
            np.str_("m"): Mean(np.float32(0.25), np.int8(8), np.int64(12), column=np.str_("x")),
            "v": Variance(np.uint8(0), np.float64(8), ddof=np.int64(1), column="x"),
            "h": Histogram(np.array([0, 1.5, 9], np.float32), column="y"),
            "k": Histogram(categories=[np.str_("a"), np.int16(3)], column="z"),
            "mm": Moments({"x": np.array([0, 2])}, np.int8(8), ddof=np.uint8(1)),
        },
        by=np.str_("g"),
        groups=[np.int64(1), np.uint8(2), np.False_],  # type: ignore[arg-type]
        rows=np.int64(5),  # type: ignore[arg-type]
        min_group=np.uint8(0),  # type: ignore[arg-type]
        published=[(np.int64(1), np.int64(4)), (2, None), (np.False_, 0)],  # type: ignore[arg-type]
    )
    assert like == plain and like.payload == plain.payload and repr(like) == repr(plain)
    array = Query(Count(), by="g", groups=np.array([1, 2]), rows=3)  # type: ignore[arg-type]
    assert array.groups == (1, 2) and {type(g) for g in array.groups} == {int}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (7, 7.0),
        (2**53, float(2**53)),
        (2**53 + 1, 2**53 + 1),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (Decimal(2**53 + 1), 2**53 + 1),
        (Fraction(2**60 + 1), 2**60 + 1),
        (Decimal("0.1"), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
    ],
)
def test_a_bound_is_kept_as_it_is(given: Any, kept: float | int) -> None:
    """Integers exactly; what is no integer as the nearest float64, which of a float is itself."""
    high = Mean(-1, given).high
    assert high == kept and type(high) is type(kept)
    assert Histogram((-1, given)).edges == (-1.0, kept)


@pytest.mark.parametrize("name", ["Größe", "身長", "age.sum", "a\\b", "a b", "é", "e\u0301"])
def test_a_measure_has_a_name_of_any_script(name: str) -> None:
    """§3.4: its fields' names are ASCII, and different for different names."""
    query = Query({name: Mean(0, 250)}, rows=5)
    plan = secagg.plan(clients=4, dropout=0, corrupt=0, fields=query.fields, protocol="plainsum")
    total = secagg.simulate(plan, {i: query.encode({name: [100, 200]}) for i in range(4)})
    table = query.table(total)
    assert table[name].value == pytest.approx(150, abs=0.01)  # type: ignore[union-attr]
    assert name in str(table)
    assert all(field.isascii() and field.isprintable() for field in query.fields)


def test_different_names_are_different_fields() -> None:
    names = ["ö", "\\xf6", "\\\\xf6", "o", "ö.sum", "é", "e\u0301", "\U0001f600"]
    query = Query({name: Mean(0, 1) for name in names})
    assert len(query.fields) == len(names) + 1
    assert "\\xf6.sum" in query.fields and "\\\\xf6.sum" in query.fields


def test_a_name_too_long_for_a_field_is_refused_by_the_query() -> None:
    long = "身" * 50
    with pytest.raises(ParameterError, match=f"{long}.*column=") as caught:
        Query({long: Mean(0, 1)})
    assert "304 characters of 255" in str(caught.value)
    assert Query({"h": Mean(0, 1, column=long)}).columns == (long,)


def test_a_name_in_another_unicode_form_is_said_to_be_there() -> None:
    query = Query({"Größe": Mean(0, 250)})
    with pytest.raises(InputError, match="another Unicode form"):
        query.encode({unicodedata.normalize("NFD", "Größe"): 3.0})
    with pytest.raises(InputError, match=r"missing columns: \['Größe'\]$"):
        query.encode({"groesse": 3.0})


class Series:
    """What one column of a data frame has: values, and row labels in place of keys."""

    ndim, dtype = 1, np.dtype(float)

    def keys(self) -> range:
        return range(2)

    def __contains__(self, label: object) -> bool:
        return label in self.keys()

    def __getitem__(self, label: int) -> float:
        return [0.5, 1.0][label]

    def __len__(self) -> int:
        return 2

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.array([0.5, 1.0])


def test_a_column_of_a_frame_is_values_and_not_a_row() -> None:
    answer = Query(Mean(0, 1, bits=2), rows=2).encode(Series())
    assert answer["rows"].tolist() == [2] and answer["value.sum"].tolist() == [1]


OVERLAPS = {
    "two histograms": {"a": Histogram((0, 1, 2), column="x"), "x": Histogram((0, 1, 3))},
    "share and mean": {"x": Share(), "m": Mean(0, 1, column="x")},
    "share and moments": {"x": Share(), "m": Moments({"y": (0, 1), "x": (0, 1)})},
    "categories": {"x": Histogram(categories=(0, 1)), "s": Share(column="x")},
    "histogram and mean": {"x": Histogram((0, 65, 130)), "m": Mean(64, 65, column="x")},
    "histogram and moments": {"x": Histogram((0, 65)), "m": Moments({"y": (0, 1), "x": (0, 65)})},
    "rows outside another range": {"x": Outside(0, 1), "m": Mean(0, 2, column="x")},
    "what is refused": {"x": Outside(0, 1), "m": Mean(0, 1, excess="error", column="x")},
    "variance and its clipped": {"x": Outside(0, 1), "m": Variance(0, 1, column="x")},
    "moments and their clipped": {"x": Outside(0, 1), "m": Moments({"x": (0, 1)})},
    "two levels and their clipped": {
        "x": Mean(0, 1),
        "m": Mean(0, 1, bits=8, column="x"),
        "out": Outside(0, 1, column="x"),
    },
    "two ranges": {"x": Sum(0, 65), "m": Mean(0, 66, column="x")},
    "two ranges of moments": {"x": Sum(0, 65), "m": Moments({"y": (0, 1), "x": (0, 66)})},
    "the groups": {"g": Histogram(categories=("a", "b"))},
    "their mean": {"m": Mean(0, 1, column="g")},
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_with_a_minimum_no_column_is_told_in_two_ways(name: str) -> None:
    """§6.8: bins of 0-1 and 0-2, each of many rows, differ by a bin of few; and a mean beside two
    bins that are withheld gives both."""
    Query(OVERLAPS[name], by="g", groups=("a", "b"))
    with pytest.raises(ParameterError, match="in two ways"):
        Query(OVERLAPS[name], by="g", groups=("a", "b"), min_group=2)


def test_with_a_minimum_a_column_has_one_count_or_values_in_one_range() -> None:
    same = {"x": Histogram((0, 1, 2)), "again": Histogram((0, 1, 2), column="x")}
    mean, total = Mean(0, 2, column="y"), Sum(0, 2, column="y")
    several = {"mean": mean, "v": Variance(0, 2, column="y"), "m": Moments({"y": (0.0, 2)})}
    clipped = {"mean": mean, "total": total, "out": Outside(0, 2, column="y")}
    for values in (several, clipped):
        Query({**same, **values}, by="g", groups=("a",), min_group=2)


def _objects(values: list[Any]) -> Any:
    return np.array(values, object)


def test_an_array_of_objects_is_read_as_a_list() -> None:
    """§2.2: integers of any size, Python's included; and what a list may not hold it may not."""
    for values in ([2**70 + 1, 5], [1, 2], [0.5, 2**53 + 1], [np.uint64(2**63 + 1), 0.25]):
        for measure in (Sum(0, 2**71), Histogram((0, 1, 2**71))):
            query = Query(measure, rows=2)
            listed = query.encode(values)
            for objects in (_objects(values), {"value": _objects(values)}):
                assert all((query.encode(objects)[n] == listed[n]).all() for n in listed)
    for flags in ([True, False], [1, 0], [1.0, 0.0]):
        assert Query(Share(), rows=2).encode(_objects(flags))["value.true"].tolist() == [1]
    for bad in ([1, None], [1, "2"], [True, 2], [1, 1j], [Decimal(1), 2], [[1], [2]], [[1, 2], 3]):
        with pytest.raises(InputError, match="'value'"):
            Query(Sum(0, 1), rows=2).encode(_objects(bad))
    with pytest.raises(InputError, match="masked"):
        Query(Sum(0, 1), rows=2).encode(np.ma.masked_array([1, 2], dtype=object))


ZEROS: list[Any] = [0, 0.0, -0.0, np.float32(-0.0), Decimal("-0"), Fraction(0)]


@pytest.mark.parametrize("zero", ZEROS, ids=repr)
def test_zero_is_one_bound_whatever_its_sign(zero: Any) -> None:
    """As a low end, a high one, and an edge."""

    def query(end: Any) -> Query:
        measures = {
            "a": Mean(end, 1),
            "b": Variance(-1, end),
            "c": Moments({"c": (end, 1), "d": (-1, end)}),
            "e": Histogram((-1, end, 1)),
            "o": Outside(end, 1),
        }
        return Query(measures)

    assert query(zero) == query(0.0) and query(zero).payload == query(0.0).payload


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


@pytest.mark.parametrize("measure", [Mean(0, 10), Share()])
@pytest.mark.parametrize(
    ("other", "kind"), [("3", "a str"), (None, "nothing"), (1j, "a complex"), (b"1", "a bytes")]
)
def test_what_is_no_number_in_a_list_is_named_by_its_row(
    measure: Any, other: Any, kind: str
) -> None:
    """And not by the type that numpy finds for the whole list, which may be that of no element."""
    query = Query({"x": measure}, rows=5)
    for first in (1, 2**60):
        with pytest.raises(InputError, match=f"column 'x': no real number at row 1, but {kind}"):
            query.encode({"x": [first, other]})


@pytest.mark.parametrize("column", [{"A", "B"}, frozenset("AB"), {0: "A", 1: "B"}])
def test_a_column_has_a_row_in_each_place(column: Any) -> None:
    """A set has no order, and of a mapping the keys would be counted."""
    query = Query({"x": Mean(0, 10)}, by="g", groups=("A", "B"), rows=5)
    with pytest.raises(InputError, match="column 'g' is a .* no row for each place: give a list"):
        query.encode({"g": column, "x": [1.0, 9.0]})
    with pytest.raises(InputError, match="column 'x' is a .* no row for each place: give a list"):
        query.encode({"g": ["A", "B"], "x": column})
    with pytest.raises(InputError, match="rows in a set have no order"):
        Query({"x": Mean(0, 10)}, rows=5).encode(frozenset({1.0, 2.0}))


def test_an_array_without_axes_is_the_number_in_it() -> None:
    """Beside a float, numpy would have rounded it first."""
    query = Query({"x": Outside(0, 2**53)}, rows=2)
    for beyond in (2**53 + 1, np.int64(2**53 + 1), np.array(2**53 + 1)):
        assert query.encode({"x": [beyond, 0.5]})["x.outside"].tolist() == [1]


def test_labels_are_short_enough_to_be_printed() -> None:
    at = 1 << 1024
    assert Query({"x": Histogram(categories=(at - 1, 2))}).payload
    with pytest.raises(ParameterError, match="categories: number 1 has more than 1024 bits"):
        Histogram(categories=(2, -at))


@pytest.mark.parametrize("other", [None, 5, {"x.sum": [1]}])
def test_a_table_is_made_of_an_aggregate(other: Any) -> None:
    with pytest.raises(InputError, match="made of what a round gave, an Aggregate, not of a"):
        QUERY.table(other)


def test_squares_of_three_levels_are_counts_and_so_refused_with_a_minimum() -> None:
    """specs/30-analytics.md §6.8: N, the sum of q and that of q^2 give the rows at -1, 0 and 1."""
    for measure in (Variance(0, 120, bits=2), Moments({"x": (0, 1), "y": (0, 1)}, bits=2)):
        Query({"x": measure}, rows=5)
        with pytest.raises(ParameterError, match="three levels, .* are exact counts"):
            Query({"x": measure}, rows=5, min_group=2)
        Query({"x": replace(measure, bits=3)}, rows=5, min_group=2)
    Query({"x": Mean(0, 120, bits=2)}, rows=5, min_group=2)
