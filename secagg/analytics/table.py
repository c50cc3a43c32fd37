"""What the server makes of the sums: a line for each group, small ones suppressed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from secagg.analytics.columns import Int64s
from secagg.analytics.query import ROWS, Query
from secagg.analytics.results import Label, Result
from secagg.errors import InputError, IntegrityError

Suppressed = Literal["", "small", "complement"]


@dataclass(frozen=True, slots=True)
class Line:
    """One group, or all of them. rows: None where suppressed, and then every value is None.

    suppressed: `small` for fewer than min_group rows; `complement` for a group that is hidden so
    that a small one cannot be had by subtraction from the total.
    """

    rows: int | None
    results: Mapping[str, Result]
    suppressed: Suppressed = ""

    def as_dict(self) -> dict[str, object]:
        results = {name: result.as_dict() for name, result in self.results.items()}
        return {"rows": self.rows, "suppressed": self.suppressed, "measures": results}


@dataclass(frozen=True)
class Table:
    """table["age"].value and .error, or table["north", "age"]; `total` is of all groups together.

    Suppression hides small groups from the readers of this table. Whoever made it has the sums of
    every group: against the collector, use two rounds (specs/30-analytics.md §6, §7).
    """

    query: Query
    clients: int
    groups: Mapping[Label, Line]
    total: Line | None

    @classmethod
    def of(cls, query: Query, levels: Mapping[str, Int64s], clients: int) -> Table:
        """levels: the exact sums of the query's fields, over `clients` clients.

        Raises as `Query.table`.
        """
        sums = _by_group(query, levels)
        counts = [int(count) for count in sums[ROWS][:, 0]]
        if min(counts) < 0 or sum(counts) > clients * query.rows:
            raise IntegrityError(
                "no clients can have so many rows: one added what is not an answer to the query; "
                "the table is withheld"
            )
        hidden = _hidden(counts, query)
        lines = [_line(query, sums, [place], hidden[place]) for place in range(len(counts))]
        whole: Suppressed = "small" if sum(counts) < query.min_group else ""
        total = _line(query, sums, range(len(counts)), whole) if query.total else None
        return cls(query, clients, dict(zip(query.groups, lines, strict=bool(query.by))), total)

    @property
    def counts(self) -> dict[Label, int | None]:
        """Rows of each group, None where suppressed: what `Query.second_round` takes."""
        return {group: line.rows for group, line in self.groups.items()}

    def __getitem__(self, key: str | tuple[Label, str]) -> Result:
        """A measure of all rows, or (group, measure). KeyError where the table has no such."""
        if isinstance(key, tuple):
            group, measure = key
            return self.groups[group].results[measure]
        if self.total is None:
            raise KeyError(f"{key}: this table has no total; name a group too")
        return self.total.results[key]

    def as_dict(self) -> dict[str, object]:
        """Of JSON's own types."""
        return {
            "clients": self.clients,
            "min_group": self.query.min_group,
            "groups": [{"group": g} | line.as_dict() for g, line in self.groups.items()],
            "total": self.total and self.total.as_dict(),
        }

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), allow_nan=False)

    def __str__(self) -> str:
        """Aligned text: group, measure, value ± the bound on its error."""
        lines = [*self._texts()]
        widths = [max(len(line[i]) for line in lines) for i in range(2)]
        text = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".strip() for a, b, c in lines]
        return "\n".join([f"{self.clients} clients", *text])

    def _texts(self) -> Iterator[tuple[str, str, str]]:
        named = [(str(group), line) for group, line in self.groups.items()]
        if self.total is not None:
            named.append(("all", self.total))
        for name, line in named:
            if line.rows is None:
                yield name, ROWS, f"suppressed ({line.suppressed})"
                continue
            yield name, ROWS, str(line.rows)
            for measure, result in line.results.items():
                for label, text in result.lines():
                    yield name, f"{measure} {label}".strip(), text


def _by_group(query: Query, levels: Mapping[str, Int64s]) -> Mapping[str, Int64s]:
    """Each field as groups x width."""
    sizes = {name: field.length for name, field in query.fields.items()}
    if {name: array.size for name, array in levels.items()} != sizes:
        raise InputError(
            f"the aggregate's fields are not the query's {sizes}: plan with `query.fields`"
        )
    return {name: levels[name].reshape(-1, part.width) for name, part in query.parts.items()}


def _hidden(counts: Sequence[int], query: Query) -> list[Suppressed]:
    """Which groups to suppress.

    With a total beside the groups, all hidden ones together can be had by subtraction. So the
    smallest group that is shown is hidden too, until those together are min_group rows, and so at
    least two groups: a reader learns of no set of fewer rows (specs/30-analytics.md §6).
    """
    hidden: list[Suppressed] = ["small" if n < query.min_group else "" for n in counts]
    while query.total and any(hidden):
        together = [n for n, why in zip(counts, hidden, strict=True) if why]
        shown = [place for place, why in enumerate(hidden) if not why]
        if not shown or sum(together) >= query.min_group:
            break
        hidden[min(shown, key=lambda place: counts[place])] = "complement"
    return hidden


def _line(
    query: Query, sums: Mapping[str, Int64s], places: Sequence[int], hidden: Suppressed
) -> Line:
    """The groups at `places` taken together."""
    # in Python's integers, which no sum of groups can leave
    summed = {
        name: [sum(map(int, column)) for column in np.transpose(array[list(places)])]
        for name, array in sums.items()
    }
    rows = None if hidden else summed[ROWS][0]
    results: dict[str, Result] = {}
    for name, measure in query.named.items():
        of_measure = {kind: summed[f"{name}.{kind}"] for kind in measure.parts()}
        results[name] = measure.read(rows, of_measure)
    return Line(rows, results, hidden)
