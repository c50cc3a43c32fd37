"""Intervals cover what they say, in sums with real noise, with clients lost and without.

Covers specs/30-analytics.md §9.6-§9.8 and specs/40-privacy.md §8. `make soak` has a thousand
releases of each, through whole rounds where that is a matter of minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
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
)
from secagg.analytics import Variance as Var
from secagg.analytics.table import Line
from secagg.errors import InputError, ParameterError
from secagg.privacy import MECHANISMS, TRUSTS
from tests.soak import SOAK

RELEASES = 1000 if SOAK else 20
WITHIN = 0.93, 0.97
"""Of a thousand releases; of twenty, what all cells together are within, and each is above 0.8."""

LOST = [0, 0.05, 0.1] if SOAK else [0, 0.1]

Rows = Mapping[str, Any]


@pytest.mark.parametrize("trust", ["distributed", "central", "local"])
@pytest.mark.parametrize("lost", LOST)
def test_intervals_of_sums(lost: float, trust: Any) -> None:
    """Of `Aggregate.interval`, by the noise of those who stayed and not of those who must."""
    n, rng = 20, np.random.default_rng(int(100 * lost))
    plan = secagg.plan(
        clients=n,
        fields={"u": secagg.Vector(16, 1.0, 16), "k": secagg.Integer(16, 30, sensitivity=30)},
        corrupt=0.1,
        dropout=0.1,
        privacy=secagg.Privacy(6, 1e-4, trust=trust),
    )
    vectors, counts = rng.normal(size=(n, 16)) / 8, rng.integers(-7, 8, (n, 16))
    inputs = [{"u": u, "k": k} for u, k in zip(vectors, counts, strict=True)]
    inside, releases = Counter[str](), RELEASES if trust == "distributed" else min(RELEASES, 100)
    for number in range(releases):
        if SOAK and trust == "distributed":
            drop = secagg.drop_at("masked-input", count=round(lost * n))
            total = secagg.simulate(plan, dict(enumerate(inputs)), drop=drop, seed=number)
        else:
            gone = frozenset(rng.choice(n, round(lost * n), replace=False).tolist())
            total = released(plan, inputs, tape(number), gone)
        assert total.count == n - round(lost * n)
        stayed = sorted(total.contributors)
        for name, exact in (("u", vectors[stayed].sum(axis=0)), ("k", counts[stayed].sum(axis=0))):
            inside[name] += int((abs(total.sum[name] - exact) <= total.interval[name]).sum())
    judge(inside, Counter(dict.fromkeys(inside, 16 * releases)), releases)


def judge(inside: Counter[str], seen: Counter[str], releases: int) -> None:
    shares = {name: round(float(inside[name] / seen[name]), 4) for name in seen}
    print("covered:", shares)
    low, high = WITHIN
    if releases >= 1000:
        assert all(low <= share <= high for share in shares.values()), shares
    assert low - 0.01 < inside.total() / seen.total() < high + 0.01, shares
    assert all(share > 0.8 for share in shares.values()), shares


QUERY = Query(
    {
        "mean": Mean(0, 10, column="x"),
        "sum": Sum(0, 10, column="x"),
        "variance": Var(0, 10, column="x", ddof=1),
        "share": Share(column="s"),
        "bins": Histogram((0, 3, 6, 10), column="x"),
    },
    by="g",
    groups=("a", "b"),
    rows=10,
    privacy=secagg.Privacy(30, 1e-4),
)
MOMENTS = Query(
    Moments({"x": (0, 10), "y": (-1, 1)}, ddof=1), rows=10, privacy=secagg.Privacy(30, 1e-4)
)


def rows_of(rng: np.random.Generator, count: int) -> Rows:
    x = rng.uniform(1, 8, count)
    y = np.clip((x - 4) / 6 + rng.normal(size=count) / 4, -1, 1)
    return {"x": x, "y": y, "s": rng.random(count) < 0.4, "g": rng.choice(["a", "b"], count)}


def truths(line: Line, rows: Rows) -> Iterator[tuple[str, Cell, float]]:
    """Every cell of a line, and what it is of the pooled rows."""
    x = rows["x"]
    results = line.results
    if isinstance(moments := results.get("value"), MomentTable):
        both = [x, rows["y"]]
        for i, a in enumerate(("x", "y")):
            yield "mean", moments.mean[a], both[i].mean()
            yield "variance", moments.covariance[a, a], both[i].var(ddof=1)
        yield "covariance", moments.covariance["x", "y"], np.cov(both)[0, 1]
        yield "correlation", moments.correlation["x", "y"], np.corrcoef(both)[0, 1]
        return
    bins = results["bins"]
    assert isinstance(bins, Grid)
    exact = {"mean": x.mean(), "sum": x.sum(), "variance": x.var(ddof=1), "share": rows["s"].mean()}
    yield from ((name, results[name], truth) for name, truth in exact.items())  # type: ignore[misc]
    counts = np.histogram(x, (0, 3, 6, 10))[0]
    yield from (("bins", cell, truth) for cell, truth in zip(bins.cells, counts, strict=True))
    yield "rows", Cell(0.0, 0.0, interval=line.interval), len(x)


@pytest.mark.parametrize("query", [QUERY, MOMENTS], ids=["by group", "moments"])
@pytest.mark.parametrize("lost", LOST)
def test_intervals_of_cells(query: Query, lost: float) -> None:
    n, rng = 20, np.random.default_rng(int(100 * lost) + 1)
    plan = secagg.plan(
        clients=n, fields=query.fields, corrupt=0, dropout=0.1, privacy=query.privacy
    )
    # fewer than there may be: of a count that is as large as can be, no interval ends below it
    clients = [rows_of(rng, 9) for _ in range(n)]
    inputs = [query.encode(rows) for rows in clients]
    inside, seen = Counter[str](), Counter[str]()
    for number in range(RELEASES):
        gone = frozenset(rng.choice(n, round(lost * n), replace=False).tolist())
        table = query.table(released(plan, inputs, tape(number), gone))
        stayed = [rows for i, rows in enumerate(clients) if i not in gone]
        pooled = {name: np.concatenate([rows[name] for rows in stayed]) for name in stayed[0]}
        for group, line in [*table.groups.items(), (None, table.total)]:
            of = pooled["g"] == group if group else slice(None)
            assert line is not None
            rows = {name: column[of] for name, column in pooled.items()}
            for name, cell, truth in truths(line, rows):
                assert cell.interval is not None
                inside[name] += cell.interval[0] <= truth <= cell.interval[1]
                seen[name] += 1
    judge(inside, seen, RELEASES)


ONE_ROW: Mapping[str, Measure] = {
    "count": Count(),
    "mean": Mean(0, 10, 2, column="x"),
    "sum": Sum(0, 10, 2, column="x"),
    "variance": Var(0, 10, 4, column="x"),
    "share": Share(column="s"),
    "outside": Outside(0, 10, column="x"),
    "one bin": Histogram((0, 10), column="x"),
    "bins": Histogram((0, 3, 6, 10), column="x"),
    "moments": Moments({"x": (0, 10), "y": (-1, 1)}, 4),
}


@pytest.mark.parametrize("measure", ONE_ROW)
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("trust", TRUSTS)
def test_a_table_is_right_or_refused(trust: Any, mechanism: Any, measure: str) -> None:
    """30 §9.2: whoever adds noise, and whatever it is; in a sum of responses no row is counted.

    A client has one row, of which each count is a bit, so that plan() would take responses."""
    try:
        asked = Query(
            ONE_ROW[measure], privacy=secagg.Privacy(30, 1e-4, trust=trust, mechanism=mechanism)
        )
    except ParameterError as refused:
        assert mechanism == "response"
        assert trust != "local" or "mechanism='noise' would do" in str(refused)
        return
    assert mechanism == "noise"
    plan = secagg.plan(
        clients=40, fields=asked.fields, corrupt=0, dropout=0.1, privacy=asked.privacy
    )
    rows = rows_of(np.random.default_rng(4), 36)
    inputs = [asked.encode([{k: rows[k][i] for k in rows}]) for i in range(36)]
    inside, seen = 0, 0
    for number in range(20):
        table = asked.table(released(plan, inputs, tape(number)))
        assert table.total is not None
        for _, cell, truth in of_one(ONE_ROW[measure], table.total, rows):
            assert cell.interval is not None
            inside += cell.interval[0] <= truth <= cell.interval[1]
            seen += 1
    assert inside >= 0.85 * seen, (inside, seen)


def of_one(measure: Measure, line: Line, rows: Rows) -> Iterator[tuple[str, Cell, float]]:
    """The cells of a query that is one measure, and the rows, with the truth of each."""
    x, value = rows["x"], line.results["value"]
    yield "rows", Cell(0.0, 0.0, interval=line.interval), len(x)
    if isinstance(value, MomentTable):
        yield from ((n, c, t) for n, c, t in truths(line, rows) if n == "mean")
    elif isinstance(value, Grid):
        edges = (0, 10) if len(value.cells) == 1 else (0, 3, 6, 10)
        counts = np.histogram(x, edges)[0]
        yield from (("bins", c, t) for c, t in zip(value.cells, counts, strict=True))
    else:
        exact = {Mean: x.mean(), Sum: x.sum(), Var: x.var(), Share: rows["s"].mean(), Outside: 0}
        yield "value", value, exact.get(type(measure), len(x))


def test_no_table_is_made_of_responses() -> None:
    """30 §9.2: also where the plan was made with another privacy than the query's, which keeps
    the same epsilon."""
    asked = Query(Share(column="s"), privacy=secagg.Privacy(2, 1e-4, trust="local"))
    told = secagg.Privacy(2, 1e-4, trust="local", mechanism="response")
    plan = secagg.plan(clients=40, fields=asked.fields, corrupt=0, dropout=0, privacy=told)
    inputs = [asked.encode([{"s": i % 5 == 0}]) for i in range(40)]
    with pytest.raises(InputError, match="of randomised responses, of which no table is made"):
        asked.table(released(plan, inputs, tape(0)))


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_intervals_of_sums_of_responses(epsilon: float) -> None:
    """40 §10.3: the sum that is told is of the true number, and so is its interval."""
    privacy = secagg.Privacy(epsilon, 1e-4, trust="local", mechanism="response")
    bit = secagg.Integer(1, max=1, sensitivity=1)
    plan = secagg.plan(
        clients=40, fields={"few": bit, "most": bit}, corrupt=0, dropout=0.1, privacy=privacy
    )
    inputs = [{"few": [int(i % 8 == 0)], "most": [int(i % 8 != 0)]} for i in range(36)]
    releases, inside = 200, Counter[str]()
    for number in range(releases):
        total = released(plan, inputs, tape(number))
        for name, truth in (("few", 5), ("most", 31)):
            inside[name] += int(abs(total.sum[name][0] - truth) <= total.interval[name])
    assert min(inside.values()) >= 0.9 * releases, inside
