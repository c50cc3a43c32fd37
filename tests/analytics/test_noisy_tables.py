"""Queries with differential privacy. Covers specs/30-analytics.md §9."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pooled import covariance, holds, mean
from released import released, tape

import secagg
from secagg.analytics import (
    Cell,
    Count,
    Grid,
    Histogram,
    Mean,
    Measure,
    Moments,
    MomentTable,
    Outside,
    Query,
    Share,
    Sum,
    Table,
    Variance,
)
from secagg.analytics.noise import Noisy, count, ratio
from secagg.analytics.spreads import folded, multiplied
from secagg.errors import HeadroomError, InputError, ParameterError, PolicyRefused
from secagg.fields import Integer
from secagg.plans.label import PrivacyLabel, label_of
from secagg.privacy import Privacy

ASKED = Privacy(2, 1e-5)
EXAMPLE = Privacy(2, 1e-5, unit="example", examples=4)

MEASURES: dict[str, Measure] = {
    "n": Count(),
    "mean": Mean(0, 10, column="x"),
    "sum": Sum(-3, 10, bits=8, column="x"),
    "variance": Variance(0, 10, bits=9, column="x"),
    "bins": Histogram((0, 2, 5, 10), column="x"),
    "share": Share(column="s"),
    "out": Outside(1, 9, column="x"),
    "moments": Moments({"x": (0, 10), "y": (-1, 1)}, bits=7),
}
GROUPS = ("a", "b", "c")


def query(privacy: Privacy | None = ASKED, **options: Any) -> Query:
    rows = options.pop("rows", 4)
    return Query(MEASURES, by="g", groups=GROUPS, rows=rows, privacy=privacy, **options)


ROW = st.fixed_dictionaries(
    {
        "x": st.sampled_from([0.0, 10.0]) | st.floats(0, 10),
        "y": st.sampled_from([-1.0, 1.0]) | st.floats(-1, 1),
        "s": st.booleans(),
        "g": st.sampled_from(GROUPS),
    }
)


def plan_of(asked: Query, clients: int = 20, **options: Any) -> secagg.Plan:
    options = {"corrupt": 0, "dropout": 0.1, **options}
    return secagg.plan(clients=clients, fields=asked.fields, privacy=asked.privacy, **options)


def label(asked: Query, clients: int = 20, **changed: Any) -> PrivacyLabel:
    plan = plan_of(asked, clients)
    made = label_of(plan.threat, plan.schema, clients)
    assert made is not None
    return replace(made, **changed)


LABEL = label(Query(Count(), privacy=ASKED))


def norm_squared(one: Any) -> int:
    return sum(int(x) ** 2 for x in np.asarray(one).reshape(-1).tolist())


# What one unit can move


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, max_size=4))
def test_no_client_moves_a_field_further_than_its_sensitivity(rows: list[Any]) -> None:
    """§9.1, of all that a client holds: the neighbour has zeros."""
    asked = query()
    answer = asked.encode(rows)
    for name, field in asked.fields.items():
        assert isinstance(field, Integer)
        assert norm_squared(answer[name]) <= field.norm_squared
        assert np.abs(answer[name]).max(initial=0) <= field.max


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, max_size=4))
def test_no_row_moves_a_field_further_than_its_sensitivity(rows: list[Any]) -> None:
    """§9.1, of one row: a client's input has a row for each of its own, and their sum is what the
    same rows are with the other unit."""
    asked, whole = query(EXAMPLE), query().encode(rows)
    answer = asked.encode(rows)
    for name, field in asked.fields.items():
        assert isinstance(field, Integer)
        assert answer[name].shape == (len(rows), field.length)
        assert all(norm_squared(row) <= field.norm_squared for row in answer[name])
        assert answer[name].sum(axis=0).tolist() == whole[name].tolist()


def test_every_sensitivity_is_reached() -> None:
    """A larger one would buy noise for nothing: rows at an end of all ranges, in one group."""
    rows = [{"x": 10.0, "y": 1.0, "s": True, "g": "b"}] * 4
    for asked, answer in ((q, q.encode(rows)) for q in (query(), query(EXAMPLE))):
        one = asked.privacy is EXAMPLE
        for name, field in asked.fields.items():
            assert isinstance(field, Integer)
            reached = norm_squared(answer[name][0] if one else answer[name])
            # a value at an end is a level's worth away from the last level, where h is rounded up
            assert reached >= 0.999 * field.norm_squared, name


def test_a_row_is_in_one_group_and_one_bin() -> None:
    """So neither the number of groups nor that of bins costs noise."""
    fields = query(EXAMPLE).fields
    assert {n: f.norm_squared for n, f in fields.items()} == {  # type: ignore[union-attr]
        "rows": 1,
        "mean.sum": 32767**2,
        "sum.sum": 127**2,
        "variance.sum": 255**2,
        "variance.squares": 255**2,
        "bins.counts": 1,
        "share.true": 1,
        "out.outside": 1,
        "moments.sum": 2 * 63**2,
        "moments.products": 3 * 63**2,
    }
    whole = query(rows=100).fields
    assert all(
        math.isclose(whole[n].sensitivity, 100 * f.sensitivity)  # type: ignore[union-attr, operator]
        for n, f in fields.items()
    )
    assert fields["bins.counts"].length == 9


def test_a_longer_row_than_said_is_refused_by_the_plan() -> None:
    """The bound does not rest on `encode`: an input of another make is held to it too."""
    asked = query(EXAMPLE)
    plan, inputs = plan_of(asked), asked.encode([])
    crooked = {**inputs, "rows": np.ones((1, 3), int)}
    crooked |= {n: np.zeros((1, f.length), int) for n, f in asked.fields.items() if n != "rows"}
    with pytest.raises(secagg.errors.RangeError, match="sensitivity"):
        released(plan, [crooked] * 20, tape(0))


# Readings


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ddof=st.sampled_from([0, 1]), bits=st.sampled_from([4, 8, 16, 32]))
def test_without_noise_every_value_is_within_its_rounding(data: Any, ddof: int, bits: int) -> None:
    """§9.5: `error` is what rounding adds, proved for all rows, and the interval has it too."""
    values = st.sampled_from([0.0, 10.0, 3.3]) | st.floats(0, 10)
    xs = data.draw(st.lists(values, min_size=2, max_size=12))
    ys = [data.draw(st.floats(-1, 1)) for _ in xs]
    asked = Query(
        {
            "mean": Mean(0, 10, bits, column="x"),
            "sum": Sum(0, 10, bits, column="x"),
            "variance": Variance(0, 10, bits, column="x", ddof=ddof),
            "moments": Moments({"x": (0, 10), "y": (-1, 1)}, bits, ddof=ddof),
        },
        rows=12,
        privacy=Privacy(1000, 0.5, unit="example", examples=12),
    )
    table = exactly(asked, [{"x": xs, "y": ys}])
    moments = table["moments"]
    assert isinstance(moments, MomentTable)
    n = len(xs)
    for cell, truth in (
        (table["mean"], mean(xs)),
        (table["sum"], mean(xs) * n),
        (table["variance"], covariance(xs, xs, ddof)),
        (moments.mean["y"], mean(ys)),
        (moments.covariance["x", "y"], covariance(xs, ys, ddof)),
        (moments.covariance["y", "y"], covariance(ys, ys, ddof)),
    ):
        assert holds(cell, truth)
        assert isinstance(cell, Cell) and cell.interval is not None
        assert cell.interval[0] <= truth <= cell.interval[1]
    correlation = moments.correlation["x", "y"]
    if correlation.value is not None and correlation.error is not None:
        truth = np.corrcoef(xs, ys)[0, 1]
        assert abs(correlation.value - truth) <= correlation.error + 1e-9


def exactly(asked: Query, clients: Sequence[Any]) -> Table:
    """As if the noise had come out as nothing, and were known to."""
    answers = [asked.encode(rows) for rows in clients]
    levels = {
        name: sum(np.int64(a[name]).reshape(-1, f.length).sum(axis=0) for a in answers)
        for name, f in asked.fields.items()
    }
    silent = replace(LABEL, sigma_total=dict.fromkeys(asked.fields, 0.0))
    return Table.of(asked, levels, len(clients), silent)  # type: ignore[arg-type]


def test_without_noise_a_private_table_is_the_exact_one() -> None:
    rng = np.random.default_rng(5)
    clients = [
        {
            "x": rng.uniform(0, 10, 4),
            "y": rng.uniform(-1, 1, 4),
            "s": rng.random(4) < 0.5,
            "g": rng.choice(GROUPS, 4),
        }
        for _ in range(9)
    ]
    noisy = exactly(query(), clients)
    plain = query(None)
    answers = [plain.encode(rows) for rows in clients]
    exact = Table.of(plain, {n: sum(a[n] for a in answers) for n in plain.fields}, 9)
    assert noisy.counts == exact.counts
    for group in GROUPS:
        for name in ("n", "bins", "share", "out", "mean", "sum"):
            one, other = noisy[group, name], exact[group, name]
            assert isinstance(one, Cell | Grid) and type(one) is type(other)
            np.testing.assert_allclose(one.value, other.value, rtol=1e-12)  # type: ignore[union-attr, arg-type]
        near, true = noisy[group, "variance"], exact[group, "variance"]
        assert abs(near.value - true.value) <= near.error + true.error  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("largest", [1, 7, 127, 2**31 - 1])
def test_squares_and_products_are_rounded_to_the_nearest(largest: int) -> None:
    """§9.5: to half a step, and never beyond the largest; of 32 bits within int64 too."""
    ends = [0, 1, largest // 3, largest // 2, largest - 1, largest]
    q = np.array([*ends, *(-end for end in ends)], np.int64)
    left, right = (each.reshape(-1) for each in np.meshgrid(q, q))
    of_square, of_two = folded(q, largest).tolist(), multiplied(left, right, largest).tolist()
    for level, found in zip(q.tolist(), of_square, strict=True):
        assert abs(found - (Fraction(2 * level**2, largest) - largest)) <= Fraction(1, 2)
    for a, b, found in zip(left.tolist(), right.tolist(), of_two, strict=True):
        assert abs(found - Fraction(a * b, largest)) <= Fraction(1, 2)
    assert max(map(abs, of_square + of_two)) == largest


@pytest.mark.parametrize("rows", [0, 1, 3, 10, 1000])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_ratio_is_covered_however_few_rows_there_are(rows: int, share: float) -> None:
    """§9.7: the interval of Fieller has no case in which it is too narrow."""
    rng = np.random.default_rng(rows)
    part, whole, inside = round(share * rows), rows, 0
    truth = part / whole if rows else 0.5
    for _ in range(4000):
        a = Noisy(part + round(20 * rng.normal()), 20.0)
        b = Noisy(whole + round(20 * rng.normal()), 20.0)
        low, high = ratio(a, b, -1e9, 1e9)
        inside += low <= truth <= high
    assert inside / 4000 > 0.94
    assert rows < 1000 or inside / 4000 < 0.96


def test_a_ratio_of_a_count_that_may_be_nothing_may_be_anything() -> None:
    assert ratio(Noisy(3, 5.0), Noisy(9, 5.0), 0, 1) == (0, 1)
    low, high = ratio(Noisy(30, 5.0), Noisy(90, 5.0), 0, 1)
    assert 0 < low < 1 / 3 < high < 1


@pytest.mark.parametrize(
    ("told", "value", "interval", "clamped"),
    [
        (50, 50, (40, 60), False),
        (-3, 0, (0, 7), True),
        (-30, 0, (0, 0), True),
        (104, 100, (94, 100), True),
        (5, 5, (0, 15), False),
    ],
)
def test_a_count_is_set_to_what_rows_can_have(
    told: int, value: float, interval: tuple[float, float], clamped: bool
) -> None:
    cell = count(Noisy(told, 5.3), 100)
    assert (cell.value, cell.error, cell.interval) == (value, 0.0, interval)
    assert cell.clamped == clamped
    assert (", clamped" in str(cell)) == clamped


def test_noisy_tables_are_clamped_and_none_is_withheld() -> None:
    """§9.9: exact sums like these are no rows', and without privacy their tables are withheld."""
    asked = query(Privacy(0.5, 1e-5))
    plan, withheld, clamped = plan_of(asked), 0, 0
    rows = [{"x": 1.0, "y": 0.2, "s": False, "g": "a"}]
    answer = asked.encode(rows)
    plain = query(None)
    for seed in range(10):
        total = released(plan, [answer] * 20, tape(seed))
        for line in asked.table(total).groups.values():
            assert line.rows is not None and 0 <= line.rows <= 80
            share, bins = line.results["share"], line.results["bins"]
            assert isinstance(share, Cell) and isinstance(bins, Grid)
            assert share.value is None or 0 <= share.value <= 1
            assert (bins.value >= 0).all() and (bins.value <= 80).all()
            clamped += sum(cell.clamped for cell in bins.cells)
        try:
            Table.of(plain, total.levels, 20)
        except secagg.errors.IntegrityError:
            withheld += 1
    assert clamped > 10 and withheld == 10


# Decided on noisy counts only


def lone(min_group: int = 30, **options: Any) -> Query:
    measures = {"x": Mean(0, 10), "s": Share()}
    return Query(
        measures, by="g", groups=("a", "b"), rows=2, min_group=min_group, privacy=ASKED, **options
    )


def clients_of(a: int, b: int, n: int = 40) -> list[Mapping[str, Any]]:
    """So many rows in either group, one for each client in turn."""
    groups: list[list[str]] = [[] for _ in range(n)]
    for place, group in enumerate(["a"] * a + ["b"] * b):
        groups[place % n].append(group)
    return [{"g": g, "x": [5.0] * len(g), "s": [True] * len(g)} for g in groups]


def test_what_is_suppressed_is_decided_on_noisy_counts_alone() -> None:
    """§9.4: of 30 rows and 29 with a minimum of 30, noise decides, and the same sums give the same
    table whatever the rows were. Whoever looked at exact counts would show one and never the
    other."""
    asked = lone()
    plan, shown = plan_of(asked, 40), set()
    inputs = [asked.encode(rows) for rows in clients_of(30, 29)]
    for seed in range(30):
        total = released(plan, inputs, tape(seed))
        told = dict(zip(("a", "b"), total.levels["rows"].tolist(), strict=True))
        table = asked.table(total)
        assert {g for g, n in table.counts.items() if n is not None} == {
            g for g, n in told.items() if n >= 30
        }, "by the noisy count, of each group by itself"
        shown.add(tuple(table.counts[g] is not None for g in ("a", "b")))
    assert len(shown) == 4, "all four cases, though one group always has enough and one never"


def test_a_share_and_bins_are_suppressed_by_their_noisy_counts() -> None:
    asked = Query(
        {"s": Share(), "b": Histogram(categories=("u", "v"))}, min_group=10, privacy=ASKED
    )
    known = label(asked)
    for true, first, shown in ((30, 9, True), (95, 10, False), (9, 100, False), (-4, -9, False)):
        levels = {"rows": [100], "s.true": [true], "b.counts": [first, 100 - first]}
        table = Table.of(asked, {n: np.array(v) for n, v in levels.items()}, 100, known)
        share, bins = table["s"], table["b"]
        assert isinstance(share, Cell) and isinstance(bins, Grid)
        assert share.suppressed != shown
        assert [cell.suppressed for cell in bins.cells] == [first < 10, 100 - first < 10]


def test_two_rounds_have_half_each_and_see_noisy_counts_only() -> None:
    """§9.3"""
    asked = lone(min_group=20)
    first = asked.first_round()
    assert first.privacy == Privacy(1, 5e-6) and [*first.fields] == ["rows"]
    clients = clients_of(40, 20)
    seen = set()
    for seed in range(12):
        total = released(plan_of(first, 40), [first.encode(r) for r in clients], tape(seed))
        counts = first.table(total).counts
        told = total.levels["rows"].tolist()
        enough = {g for g, n in zip(("a", "b"), told, strict=True) if n >= 20}
        assert {g for g, n in counts.items() if n is not None} == enough
        assert all(counts[g] == t for g, t in zip(("a", "b"), told, strict=True) if g in enough)
        second = asked.second_round(counts)
        assert set(second.groups) == enough
        assert second.privacy == Privacy(1, 5e-6)
        seen.add(second.groups)
        total = released(plan_of(second, 40), [second.encode(r) for r in clients], tape(seed))
        table = second.table(total)
        assert "With the counts that were published before: epsilon 2, delta 1e-05." in str(table)
        assert all(n is not None for n in table.counts.values() if n and n >= 20)
        if "b" not in enough:
            with pytest.raises(PolicyRefused, match="published counts"):
                asked.second_round(counts, ("b",))
    assert seen == {("a", "b"), ("a",)}, "20 rows are sometimes enough, as the noise has it"


def test_a_count_that_moved_between_two_rounds_is_shown() -> None:
    """§7.5 is for exact counts, whose difference is one. Two noisy ones differ by noise."""
    second = lone(min_group=20).second_round({"a": 40, "b": 30})
    levels = {"rows": [43, 31], "x.sum": [0, 0], "s.true": [21, 9]}
    table = Table.of(
        second, {n: np.array(v) for n, v in levels.items()}, 100, label(second, sigma_total=
        dict.fromkeys(second.fields, 3.0))
    )  # fmt: skip
    assert table.counts == {"a": 43, "b": 31}
    assert table.total is not None and table.total.rows == 74


# What is asked of a plan


def test_the_budget_is_split_by_measure_and_equal_otherwise() -> None:
    assert query().privacy == ASKED and ASKED.split is None
    split = {"rows": "0.2", "v": "0.6", "s": "0.2"}
    asked = Query(
        {"v": Variance(0, 1), "s": Share(), "n": Count()}, privacy=replace(ASKED, split=split)
    )
    assert asked.privacy is not None and asked.privacy.split == {
        "rows": Fraction(1, 5),
        "v.sum": Fraction(3, 10),
        "v.squares": Fraction(3, 10),
        "s.true": Fraction(1, 5),
    }
    assert replace(asked, rows=2).privacy == asked.privacy, "a split by field stays"
    sigmas = plan_of(asked).privacy.noises  # type: ignore[union-attr]
    by_name = dict(zip(asked.fields, sigmas, strict=True))
    assert by_name["rows"].variance == by_name["s.true"].variance
    ratio_of = by_name["v.sum"].variance / by_name["rows"].variance / 32767**2
    assert math.isclose(ratio_of, 2 / 3, rel_tol=1e-6)
    first = replace(asked, by="g", groups=("a",), min_group=5).first_round()
    assert first.privacy == Privacy(1, 5e-6)


@pytest.mark.parametrize(
    "split", [{"v": 1}, {"rows": 0.5, "w": 0.5}, {"rows": 0.5, "v": 0.25, "n": 0.25}]
)
def test_a_split_of_others_than_the_measures_is_refused(split: Any) -> None:
    with pytest.raises(ParameterError, match="'rows', 'v'"):
        Query({"v": Mean(0, 1), "n": Count()}, privacy=replace(ASKED, split=split))


def test_a_measure_called_rows_is_not_what_split_means() -> None:
    with pytest.raises(ParameterError, match="name the measure"):
        split = {"rows": 1}
        Query({"rows": Mean(0, 1)}, privacy=replace(ASKED, split=split))
    assert Query({"rows": Mean(0, 1)}, privacy=ASKED).privacy == ASKED


class Largest(Measure):
    """Of which one row can move anything by anything."""

    def columns(self, name: str) -> tuple[str, ...]:
        return (name,)

    def parts(self) -> Mapping[str, Any]:
        return {}

    def levels(self, columns: Any, name: str) -> Any:
        return np.zeros((columns.length, 0), np.int64), 0

    def expand(self, levels: Any) -> Mapping[str, Any]:
        return {}

    def read(self, rows: Any, sums: Any, hidden: Any = ()) -> Any:
        return Cell(0.0, 0.0)


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (lambda: Query(Largest(), privacy=ASKED), ParameterError, "bins of a Histogram"),
        (
            lambda: Query(Mean(0, 1, excess="error"), privacy=ASKED),
            ParameterError,
            "excess='clip'",
        ),
        (
            lambda: Query(Histogram((0, 1), excess="error"), privacy=ASKED),
            ParameterError,
            "who takes part is public",
        ),
        (lambda: Query(Mean(0, math.inf), privacy=ASKED), ParameterError, "high"),
        (lambda: Query(Mean(0, 1), privacy=2.0), ParameterError, "privacy"),  # type: ignore[arg-type]
        (lambda: Query(Mean(0, 1), rows=5, privacy=EXAMPLE), ParameterError, "rows=5"),
        (lambda: Query(Mean(0, 1), rows=1 << 49, privacy=ASKED), HeadroomError, "fewer rows"),
        (lambda: Query(Mean(0, 1, 32), rows=2, privacy=ASKED), None, ""),
        (
            lambda: Query(Variance(0, 1, 32), rows=1 << 3, privacy=ASKED),
            HeadroomError,
            "fewer bits",
        ),
    ],
)
def test_what_cannot_have_privacy_is_refused_and_says_what_would_do(
    bad: Any, error: Any, words: str
) -> None:
    if error is None:
        bad()
        return
    with pytest.raises(error, match=words):
        bad()


def test_a_plan_with_less_noise_than_there_can_be_is_refused_with_what_would_do() -> None:
    asked = Query(Mean(0, 1, 32), rows=2, privacy=Privacy(0.01, 1e-9))
    with pytest.raises(ParameterError, match="more noise than the largest"):
        plan_of(asked)


def test_a_sum_of_another_promise_is_no_answer() -> None:
    """Not one without noise, one with more epsilon, or of another unit; one with less is."""
    asked, plain = Query(Share(), privacy=ASKED), Query(Share())
    answers = [asked.encode(True)] * 20

    def total(privacy: Privacy | None, *, of: Query = asked) -> secagg.Aggregate:
        plan = plan_of(replace(of, privacy=privacy))
        return released(plan, answers, tape(1))

    asked.table(total(ASKED))
    asked.table(total(Privacy(1, 1e-6)))
    asked.table(total(replace(ASKED, rounds=3)))
    with pytest.raises(InputError, match="privacy=query.privacy"):
        asked.table(total(None, of=plain))
    with pytest.raises(InputError, match="privacy=query.privacy"):
        plain.table(total(ASKED))
    for other in (replace(ASKED, epsilon=3), replace(ASKED, delta=1e-4)):
        with pytest.raises(InputError, match="promises less"):
            asked.table(total(other))
    row = Query(Share(), privacy=Privacy(2, 1e-5, unit="example", examples=1))
    with pytest.raises(InputError, match="promises less"):
        asked.table(released(plan_of(row), [row.encode(True)] * 20, tape(1)))


def test_the_payload_binds_the_privacy() -> None:
    """§1.3; and that of a query without is what it was."""
    texts = {query(p).payload for p in (None, ASKED, EXAMPLE, replace(ASKED, epsilon=3))}
    assert len(texts) == 4
    assert "privacy" not in json.loads(query(None).payload)


@pytest.mark.parametrize("privacy", [ASKED, Privacy(2, 1e-5, unit="example", examples=2)])
@pytest.mark.parametrize("trust", ["distributed", "central", "local"])
def test_a_whole_round_and_its_label(privacy: Privacy, trust: Any) -> None:
    """In every mode, with clients lost and clients without rows, and said to be a simulation."""
    asked = Query({"x": Mean(0, 10), "s": Share()}, rows=2, privacy=replace(privacy, trust=trust))
    plan = plan_of(asked, 60)
    text = " ".join(plan.explain().split())
    assert f"differential privacy of each {privacy.unit}" in text
    rows = {i: {"x": [3.0] * (i % 3), "s": [True] * (i % 3)} for i in range(60)}
    answers = {i: asked.encode(each) for i, each in rows.items()}
    drop = secagg.drop_at("masked-input", count=4)
    total = secagg.simulate(plan, answers, drop=drop, payload=asked.payload)
    table = asked.table(total)
    assert table.privacy == total.privacy and table.privacy is not None
    assert table.clients == 56 and table.privacy.contributors == 56
    data = json.loads(table.as_json())
    assert data["privacy"]["statement"].startswith("Not private: ")
    assert data["privacy"]["unit"] == privacy.unit and data["privacy"]["trust"] == trust
    assert "Not private: " in str(table)
    cell = data["total"]["measures"]["x"]
    low, high = cell["interval"]
    assert low <= cell["value"] <= high and not math.isclose(cell["value"], 3.0, abs_tol=1e-9)
    assert data["total"]["interval"][0] <= data["total"]["rows"] <= data["total"]["interval"][1]


def test_a_client_without_rows_answers_as_others_do() -> None:
    asked = query(EXAMPLE)
    plan = plan_of(asked)
    table = asked.table(released(plan, [asked.encode([])] * 20, tape(3)))
    assert table.total is not None and table.total.interval is not None
    assert table.total.interval[0] == 0
