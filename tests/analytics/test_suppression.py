"""A reader of everything that is published, who knows the rule and tries every table there is.

Covers specs/30-analytics.md §6 and §7.5. Each test lists all tables of a small world, groups those
that look alike from outside, and asks what a reader of one of them knows about a withheld count:
the values that it has in all that look the same. The promise is that 0 to min_group - 1 are there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import pytest

from secagg.analytics import (
    Cell,
    Count,
    Grid,
    Histogram,
    Mean,
    Measure,
    Outside,
    Query,
    Share,
    Table,
)
from secagg.analytics.results import Result
from secagg.analytics.suppression import neighbours, withheld
from tests.soak import SOAK

Counts = tuple[int, ...]


def worlds(parts: int, most: int) -> Iterator[Counts]:
    """Every way to give `parts` counts that add up to `most` or less."""
    if not parts:
        yield ()
        return
    for first in range(most + 1):
        yield from ((first, *rest) for rest in worlds(parts - 1, most - first))


class Reader:
    """Tables that look alike, and what their withheld counts are."""

    def __init__(self) -> None:
        self._known: dict[Hashable, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._asked: set[Hashable] = set()

    def sees(self, published: Hashable, withheld: Mapping[str, int], asked: bool = True) -> None:
        """asked: not for a table at the edge of the world, beyond which some look like it."""
        if asked:
            self._asked.add(published)
        for name, count in withheld.items():
            self._known[published][name].add(count)

    def narrowest(self, most: int) -> int:
        """How many of 0 to `most` - 1 are possible, for the withheld count that is known best."""
        return min(
            len(set(range(most)) & values)
            for published in self._asked
            for values in self._known[published].values()
        )


@pytest.mark.parametrize(
    ("parts", "least", "most"),
    [(2, 4, 18), (3, 4, 14), (4, 3, 12), (5, 3, 11), (6, 2, 9), (7, 2, 8), (4, 5, 16)],
)
def test_a_withheld_count_may_be_any_small_number(parts: int, least: int, most: int) -> None:
    """§6.1 of counts whose sum is known: the bins of a line, the groups of a total."""
    reader = Reader()
    for counts in worlds(parts, most):
        if sum(counts) < least:
            assert withheld(counts, least) == frozenset(range(parts))
            continue
        hidden = withheld(counts, least)
        assert {i for i, n in enumerate(counts) if n < least} <= hidden
        shown = tuple(None if i in hidden else n for i, n in enumerate(counts))
        reader.sees((shown, sum(counts)), {f"{i}": counts[i] for i in hidden})
    assert reader.narrowest(least) == least


def test_what_is_withheld_beside_a_small_count() -> None:
    """§6.4, §6.5: utility too is a rule. Nothing is withheld where nothing is small."""
    for counts, hidden in {
        (20, 20, 30, 40): set(),
        (2, 20, 30, 40): {0, 1},
        (20, 30, 2, 40): {2, 3},
        (2, 3, 30, 40, 20, 90): {0, 1, 2, 3},  # 5 rows together: and the smallest pair
        (2, 9, 30, 40): {0, 1},
        (20, 30, 2): {0, 1, 2},
        (2, 30, 20): {0, 1},
        (5, 20, 7, 30, 6, 40): {0, 2, 4},  # 18, which two of them may have: none is known better
        (9, 20, 9, 30, 9, 40): {0, 1, 2, 3, 4, 5},  # 27 would say that each is 9
        (3, 20, 3, 30, 3, 40): {0, 1, 2, 3, 4, 5},  # 9 would say that it is a sum of few rows
    }.items():
        assert withheld(counts, 10) == hidden
    assert withheld((0, 0), 0) == frozenset()
    assert [*map(sorted, (neighbours(i, 5) for i in range(5)))] == [
        [0, 1],
        [0, 1],
        [2, 3],
        [2, 3],
        [2, 3, 4],
    ]
    assert neighbours(0, 1) == {0}


def table(query: Query, clients: int, cells: Sequence[Counts]) -> Table:
    """cells: for each group its bins, or how many rows are false and how many true."""
    counts = np.array(cells, np.int64)
    levels = {"rows": counts.sum(axis=1)}
    if "m.counts" in query.fields:
        levels["m.counts"] = counts.reshape(-1)
    if "m.true" in query.fields:
        levels["m.true"] = counts[:, 1]
    return Table.of(query, levels, clients)


def hidden_counts(table: Table, cells: Sequence[Counts]) -> dict[str, int]:
    """Every count that the table does not show. Of a total, what is not in a shown count of a
    group: the rest can be added up."""
    hidden: dict[str, int] = {}
    lines = [*table.groups.values()] or ([table.total] if table.total else [])
    for g, (line, bins) in enumerate(zip(lines, cells, strict=True)):
        if line.rows is None:
            hidden[f"{g}"] = sum(bins)
        shown = _shown(line.results["m"]) if "m" in line.results else [True] * len(bins)
        hidden |= {f"{g},{k}": n for k, n in enumerate(bins) if not shown[k]}
    if table.total is not None and table.total.rows is None:
        hidden["all"] = sum(n for name, n in hidden.items() if name.isdigit())
    if table.total is not None and "m" in table.total.results:
        for k, shown in enumerate(_shown(table.total.results["m"])):
            mine = [n for name, n in hidden.items() if name.endswith(f",{k}")]
            if not shown and mine:
                hidden[f"all,{k}"] = sum(mine)
    return hidden


def _shown(result: Result) -> list[bool]:
    if isinstance(result, Cell):  # a share: both sides
        return [result.value is not None] * 2
    assert isinstance(result, Grid)
    return [cell.value is not None for cell in result.cells]


PQ, PQR = Histogram(categories=("p", "q")), Histogram(categories=("p", "q", "r"))


@pytest.mark.parametrize(
    ("total", "rows", "knows"),
    [(True, 50, False), (False, 50, False), (False, 50, True), (False, 2, False), (False, 1, True)],
)
@pytest.mark.parametrize(
    ("groups", "measure", "bins", "least", "most"),
    [
        (2, PQ, 2, 3, 10),
        (2, PQR, 3, 2, 6),
        (3, PQ, 2, 2, 6 if SOAK else 5),
        (2, Share(), 2, 3, 10),
        (4, Count(), 1, 3, 10),
        (5, Count(), 1, 3, 8 if SOAK else 7),
        (1, PQR, 3, 3, 10),
    ],
    ids=str,
)
def test_a_reader_of_a_table_learns_no_withheld_count(
    groups: int,
    measure: Measure,
    bins: int,
    least: int,
    most: int,
    total: bool,
    rows: int,
    knows: bool,
) -> None:
    """§6.1, of all that a table is: text, JSON, order, and how many clients there are.

    knows: the reader has the number of all rows, which another table may have shown. With two
    rows a client the number of clients is the least that can have these. Both narrow what hidden
    groups may have.
    """
    names = tuple("abcde"[:groups])
    query = Query({"m": measure}, by="g", groups=names, rows=rows, min_group=least, total=total)
    reader, clients = Reader(), -(-most // rows)
    for world in worlds(groups * bins, most):
        cells = [world[i : i + bins] for i in range(0, len(world), bins)]
        told = sum(world) if knows else None
        if told is not None and told < least:
            continue
        made = table(query, clients, cells)
        inside = rows < 50 or total or knows or sum(world) + least <= most + 1
        reader.sees((str(made), made.as_json(), told), hidden_counts(made, cells), inside)
    assert reader.narrowest(least) == least


@pytest.mark.parametrize("total", [True, False])
def test_measures_beside_each_other_say_nothing_of_each_other(total: bool) -> None:
    """§6.7: two ways to cut the same rows, in two groups, of all of which a reader has the text."""
    query = Query(
        {"m": PQ, "s": Share(), "out": Outside(0, 1)},
        by="g",
        groups=("a", "b"),
        rows=50,
        min_group=2,
        total=total,
    )
    reader, most = Reader(), 5
    for cells in worlds(4, most):
        sizes = [sum(cells[:2]), sum(cells[2:])]
        for a, b in itertools.product(*(range(n + 1) for n in sizes)):
            levels = {
                "rows": np.array(sizes),
                "m.counts": np.array(cells),
                "s.true": np.array([a, b]),
                "out.outside": np.array([0, sizes[1]]),
            }
            made = Table.of(query, levels, 1)
            hidden = hidden_counts(made, [cells[:2], cells[2:]])
            for group, true in zip("ab", (a, b), strict=True):
                if made.groups[group].results["s"].value is None:  # type: ignore[union-attr]
                    hidden[f"{group} true"] = true
                assert made.groups[group].results["out"] == Cell(None, None)
            reader.sees((str(made), made.as_json()), hidden, sum(sizes) < most or total)
    assert reader.narrowest(2) == 2


def test_a_mean_says_little_of_what_it_clips() -> None:
    """§6.9: beside the mean of two-bit levels, any small number of rows may be outside, and any
    but none inside."""
    query = Query({"x": Mean(-1, 1, bits=2)}, rows=50, min_group=3, clipped=True)
    outer, inner = Reader(), Reader()
    for low, middle, high, below, above in worlds(5, 8):
        rows, clipped = low + middle + high + below + above, below + above
        levels = {"rows": rows, "x.sum": high + above - low - below, "x clipped.outside": clipped}
        made = Table.of(query, {name: np.array([n]) for name, n in levels.items()}, 1)
        if rows >= 3 and made["x clipped"].value is None:  # type: ignore[union-attr]
            outer.sees(str(made), {"outside": clipped})
            inner.sees(str(made), {"inside": rows - clipped})
    assert outer.narrowest(3) == 3
    assert inner.narrowest(3) == 2


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("knows", [True, False])
def test_a_reader_of_both_rounds_learns_no_withheld_count(total: bool, knows: bool) -> None:
    """§7.5: the published counts are known, and the second table's are other clients' in part."""
    first = {"a": 6, "b": 4, "c": 3}
    query = Query(
        Count(), by="g", groups=tuple("abc"), rows=40, min_group=3, total=total
    ).second_round(first)
    reader = Reader()
    for world in worlds(3, 12):
        made = table(query, 1, [(n,) for n in world])
        told = sum(world) if knows else None
        if told is not None and told < 3:
            continue
        for n, line, before in zip(world, made.groups.values(), first.values(), strict=True):
            assert line.suppressed or (n >= 3 and not 0 < abs(n - before) < 3)
        inside = knows or sum(world) <= 10
        hidden = hidden_counts(made, [(n,) for n in world])
        if "all" in hidden and (knows or any(not line.suppressed for line in made.groups.values())):
            assert hidden.pop("all") >= 3, "what can be had by subtraction"
        reader.sees((str(made), made.as_json(), told), hidden, inside)
    assert reader.narrowest(3) == 3
