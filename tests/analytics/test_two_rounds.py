"""Counts first, then values of large groups only, enforced by every client.

Covers specs/30-analytics.md §7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pooled import ask

import secagg
from secagg.analytics import Mean, Query
from secagg.errors import InputError, ParameterError, PolicyRefused, RangeError

QUERY = Query({"x": Mean(0, 10)}, by="g", groups=("a", "b", "c", "d"), rows=22, min_group=5)
PUBLISHED: dict[str | int, int | None] = {"a": 12, "b": 5, "c": None, "d": None}


def rows(**counts: int) -> dict[str, list[Any]]:
    groups = [g for g, n in counts.items() for _ in range(n)]
    return {"g": groups, "x": [float("abcd".index(g)) for g in groups]}


def test_the_first_round_asks_for_counts_only() -> None:
    first = QUERY.first_round()
    assert [*first.fields] == ["rows"]
    table = ask(first, [rows(a=6, c=4), rows(a=6, b=5, d=9)])
    assert table.counts == PUBLISHED, "whoever knows of 30 rows would have c, if d were shown"
    assert table.total is None


def test_both_sides_derive_the_same_second_query() -> None:
    second = QUERY.second_round(PUBLISHED)
    assert second == QUERY.second_round(dict(reversed(PUBLISHED.items())))
    assert second.groups == ("a", "b")
    assert second.payload == QUERY.second_round(PUBLISHED, ("b", "a")).payload
    assert second.payload != QUERY.second_round(PUBLISHED | {"a": 13}).payload
    assert second.payload != QUERY.second_round(PUBLISHED | {"c": 4}).payload
    assert second.fields["rows"].length == 2


def test_rows_of_small_groups_stay_at_home() -> None:
    second = QUERY.second_round(PUBLISHED)
    answer = second.encode(rows(a=2, c=4, b=1))
    assert answer["rows"].tolist() == [2, 1]
    assert answer.left_out == 4
    assert all((answer[n] == second.encode(rows(a=2, b=1))[n]).all() for n in answer)
    with pytest.raises(RangeError, match="row 0"):
        second.encode({"g": ["e"], "x": [1.0]})
    table = ask(second, [rows(a=6, c=4), rows(a=6, b=5)])
    assert table.counts == {"a": 12, "b": 5}
    assert table.total is not None and table.total.rows == 17


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        ((12, 5, 7, 22), "abcd"),
        ((12, 4, 7, 22), "cd"),  # fewer than the minimum
        ((12, 5, 7, 21), "ab"),  # 22 - 21: whoever is gone had one
        ((12, 5, 7, 17), "abcd"),  # 22 - 17: as many as the minimum
        ((16, 5, 7, 22), "cd"),  # 16 - 12
        ((17, 5, 7, 22), "abcd"),
    ],
)
def test_a_count_that_moved_a_little_is_withheld(now: tuple[int, ...], shown: str) -> None:
    """§7.5: the difference from the published count is a count too; and with the number of all
    rows, or a total, the others would give it away."""
    second = QUERY.second_round({"a": 12, "b": 5, "c": 7, "d": 22})
    counts = dict(zip(second.groups, now, strict=True))
    table = ask(second, [rows(**{str(group): n}) for group, n in counts.items()])
    assert table.counts == {g: n if str(g) in shown else None for g, n in counts.items()}
    assert table.total is not None
    assert table.total.suppressed == (len(shown) < 4)


def test_numpys_counts_and_groups_make_the_same_second_query() -> None:
    like: Any = {np.str_("a"): np.int64(12), "b": np.uint8(5), "c": None, "d": None}
    second = QUERY.second_round(like, np.array(["b", "a"]))  # type: ignore[arg-type]
    assert second.payload == QUERY.second_round(PUBLISHED).payload
    for asked in ("a", {"a"}, [1.5]):
        with pytest.raises(ParameterError, match="asked"):
            QUERY.second_round(PUBLISHED, asked)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="'a'"):
        QUERY.second_round(PUBLISHED | {"a": 12.0})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="exactly"):
        QUERY.second_round([12, 5, None, None])  # type: ignore[arg-type]


def test_a_client_names_fewer_groups_than_it_may() -> None:
    assert QUERY.second_round(PUBLISHED, ("b",)).groups == ("b",)


@pytest.mark.parametrize("asked", [("a", "c"), ("c",), ("a", "z"), ()])
def test_a_second_query_for_a_small_group_is_refused(asked: tuple[str, ...]) -> None:
    with pytest.raises(PolicyRefused, match="published counts"):
        QUERY.second_round(PUBLISHED, asked)


@pytest.mark.parametrize("small", [None, 0, 4])
def test_no_group_is_large_enough(small: int | None) -> None:
    with pytest.raises(PolicyRefused, match="no group"):
        QUERY.second_round({"a": small, "b": small, "c": 4, "d": 0})


@pytest.mark.parametrize(
    "published",
    [{}, {"a": 9, "b": 9}, dict.fromkeys("abcde", 9), dict.fromkeys("abce", 9)],
)
def test_counts_of_other_groups_are_refused(published: dict[str | int, int | None]) -> None:
    with pytest.raises(InputError, match="exactly"):
        QUERY.second_round(published)


def test_a_third_round_and_rounds_without_a_minimum_make_no_sense() -> None:
    with pytest.raises(ParameterError):
        QUERY.second_round(PUBLISHED).second_round({"a": 9, "b": 9})
    for query in (Query(Mean(0, 1), min_group=5), Query(Mean(0, 1), by="g", groups=("a",))):
        with pytest.raises(ParameterError):
            query.first_round()
        with pytest.raises(ParameterError):
            query.second_round({"a": 7})


def test_two_whole_rounds() -> None:
    clients = [rows(a=i % 3, b=1, c=i % 2, d=0 if i else 2) for i in range(8)]
    tables = []
    query = QUERY.first_round()
    while True:
        plan = secagg.plan(clients=8, fields=query.fields, corrupt=0, dropout=0)
        answers = {i: query.encode(of_client) for i, of_client in enumerate(clients)}
        tables.append(query.table(secagg.simulate(plan, answers, payload=query.payload)))
        if query.published:
            break
        query = QUERY.second_round(tables[0].counts)
    first, second = tables
    assert first.counts == {"a": 7, "b": 8, "c": None, "d": None}
    assert second.counts == {"a": 7, "b": 8}
