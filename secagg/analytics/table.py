"""What the server makes of the sums: a line for each group, small ones suppressed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from secagg.analytics.checks import ROWS, Label, field_name
from secagg.analytics.columns import Int64s
from secagg.analytics.measures import Measure, Part, Sums
from secagg.analytics.noise import Noisy, count
from secagg.analytics.private import Form, Rows
from secagg.analytics.results import SUPPRESSED, Cell, Result
from secagg.analytics.suppression import withheld
from secagg.errors import InputError, IntegrityError
from secagg.fields import Field
from secagg.plans.label import PrivacyLabel
from secagg.privacy import Privacy
from secagg.shown import short

Bins = Mapping[str, frozenset[int]]
"""By measure: which of its counts are withheld."""


class Asked(Protocol):
    """What a table must know of the query that it answers: a `Query`, which makes tables."""

    @property
    def by(self) -> str | None: ...
    @property
    def groups(self) -> tuple[Label, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def min_group(self) -> int: ...
    @property
    def total(self) -> bool: ...
    @property
    def published(self) -> tuple[tuple[Label, int | None], ...]: ...
    @property
    def privacy(self) -> Privacy | None: ...
    @property
    def forms(self) -> Mapping[str, Form[Any]]: ...
    @property
    def named(self) -> Mapping[str, Measure]: ...
    @property
    def fields(self) -> Mapping[str, Field]: ...
    @property
    def parts(self) -> Mapping[str, Part]: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One group, or all of them. rows: None where suppressed, and then every value is None.

    suppressed: for having few rows, or so that others with few cannot be had by subtraction; which
    of the two is not told. interval, clamped: of the rows, as a Cell has them, with privacy.
    """

    rows: int | None
    results: Mapping[str, Result]
    suppressed: bool = False
    interval: tuple[float, float] | None = None
    clamped: bool = False

    __repr__ = short

    def as_dict(self) -> dict[str, object]:
        """JSON's own types; rows is null where the group is suppressed."""
        return {
            "rows": self.rows,
            "suppressed": self.suppressed,
            "interval": self.interval and list(self.interval),
            "clamped": self.clamped,
            "measures": {name: result.as_dict() for name, result in self.results.items()},
        }

    def __str__(self) -> str:
        """The number of rows."""
        if self.rows is None:
            return str(SUPPRESSED)
        if self.interval is None:
            return str(self.rows)
        return str(Cell(float(self.rows), 0.0, interval=self.interval, clamped=self.clamped))


@dataclass(frozen=True)
class Table:
    """table["age"].value and .error, or table["north", "age"]; `total` is of all groups together.

    Suppression hides small groups from the readers of this table. Whoever made it has the sums of
    every group: against the collector, use two rounds (specs/30-analytics.md §6, §7). privacy: of a
    query with it, what this table promises (§9).
    """

    query: Asked
    clients: int
    groups: Mapping[Label, Line]
    total: Line | None
    privacy: PrivacyLabel | None = None

    __repr__ = short

    @classmethod
    def of(
        cls,
        query: Asked,
        levels: Mapping[str, Int64s],
        clients: int,
        label: PrivacyLabel | None = None,
    ) -> Table:
        """levels: the sums of the query's fields, over `clients` clients; exact without a label,
        and with it with the noise that it tells of.

        Raises as `Query.table`.
        """
        sums = _by_group(query, levels)
        if label is not None:
            groups, whole = _noisy(query, sums, clients, label.sigma_total)
            named = dict(zip(query.groups, groups, strict=bool(query.by)))
            return cls(query, clients, named, whole, label)
        counts = [int(count) for count in sums[ROWS][:, 0]]
        if min(counts) < 0 or sum(counts) > clients * query.rows:
            raise IntegrityError(
                "no clients can have so many rows: one added what is not an answer to the query; "
                "the table is withheld"
            )
        hidden = _hidden_groups(query, counts)
        parts = [_together(sums, [place]) for place in range(len(counts))]
        bins = [None if i in hidden else _bins(query, part) for i, part in enumerate(parts)]
        lines = [_line(query, *each) for each in zip(parts, bins, strict=True)]
        total = _total(query, sums, hidden, bins) if query.total else None
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
            "privacy": self.privacy and self.privacy.as_dict(),
        }

    def as_json(self) -> str:
        """`as_dict` in one line; never NaN, which JSON lacks."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def __str__(self) -> str:
        """Aligned text: group, measure, value ± the bound on its error."""
        lines = [*self._texts()]
        widths = [max(len(line[i]) for line in lines) for i in range(2)]
        text = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".strip() for a, b, c in lines]
        if self.privacy is not None:
            text += _promised(self.query, self.privacy)
        elif any(c == str(SUPPRESSED) for *_, c in lines):
            text.append(
                f"suppressed: of fewer than {self.query.min_group} rows, or withheld so that such "
                "cannot be had by subtraction; fewer are where those of few rows are beside each "
                "other in the query's lists"
            )
        return "\n".join([f"{self.clients} client{'s' * (self.clients != 1)}", *text])

    def _texts(self) -> Iterator[tuple[str, str, str]]:
        named = [(str(group), line) for group, line in self.groups.items()]
        if self.total is not None:
            named.append(("all", self.total))
        for name, line in named:
            yield name, ROWS, str(line)
            if line.rows is None:
                continue
            for measure, result in line.results.items():
                for label, text in result.lines():
                    yield name, f"{measure} {label}".strip(), text


def _by_group(query: Asked, levels: Mapping[str, Int64s]) -> Mapping[str, Int64s]:
    """Each field as groups x width."""
    sizes = {name: field.length for name, field in query.fields.items()}
    if {name: array.size for name, array in levels.items()} != sizes:
        raise InputError(
            f"the aggregate's fields are not the query's {sizes}: plan with `query.fields`"
        )
    return {name: levels[name].reshape(-1, part.width) for name, part in query.parts.items()}


def _hidden_groups(query: Asked, counts: Sequence[int]) -> frozenset[int]:
    """The places of the groups to suppress (specs/30-analytics.md §6.2, §6.6, §7.5).

    With or without a total: the number of all rows may be known from elsewhere, another table of
    these clients for one.
    """
    least, before = query.min_group, dict[Label | None, int | None](query.published)
    small = [
        place
        for place, (group, rows) in enumerate(zip(query.groups or (None,), counts, strict=True))
        if rows < least or 0 < abs(rows - (before.get(group) or rows)) < least
    ]
    return withheld(counts, least, small)


def _total(
    query: Asked, sums: Mapping[str, Int64s], hidden: frozenset[int], shown: Sequence[Bins | None]
) -> Line:
    """All groups together. Minus the shown ones it is the hidden ones together: so what is
    withheld of either is withheld of all (§6.7). After published counts it would say by how much
    the hidden ones differ from those, and is suppressed (§7.5)."""
    whole = _together(sums, range(len(shown)))
    if whole[ROWS][0] < query.min_group or (query.published and hidden):
        return _line(query, whole, None)
    judged = [bins for bins in shown if bins is not None]
    if hidden:
        judged.append(_bins(query, _together(sums, [*hidden])))
    union = {name: frozenset[int]().union(*(bins[name] for bins in judged)) for name in query.named}
    return _line(query, whole, union)


def _together(sums: Mapping[str, Int64s], places: Sequence[int]) -> Sums:
    """The sums of the groups at `places`, in Python's integers: a sum of groups may leave int64."""
    return {
        name: [sum(map(int, column)) for column in np.transpose(array[list(places)])]
        for name, array in sums.items()
    }


def _of(summed: Sums, name: str, measure: Measure) -> Sums:
    return {kind: summed[field_name(name, kind)] for kind in measure.parts()}


def _bins(query: Asked, summed: Sums) -> Bins:
    """Of each measure's counts, those to withhold from a reader who has the number of rows."""
    [rows] = summed[ROWS]
    return {
        name: withheld(measure.counts(rows, _of(summed, name, measure)), query.min_group)
        for name, measure in query.named.items()
    }


def _line(query: Asked, summed: Sums, bins: Bins | None) -> Line:
    """bins: None for a suppressed line."""
    rows = None if bins is None else summed[ROWS][0]
    results = {
        name: measure.read(rows, _of(summed, name, measure), bins[name] if bins else ())
        for name, measure in query.named.items()
    }
    return Line(rows, results, bins is None)


def _noisy(
    query: Asked, sums: Mapping[str, Int64s], clients: int, deviations: Mapping[str, float]
) -> tuple[list[Line], Line | None]:
    """Each group's, and that of all. All is made of sums with noise, whatever is withheld too, so
    that nothing more need be withheld: whoever had all of them would know no more (§9.4)."""

    def told(places: Sequence[int]) -> Mapping[str, Sequence[Noisy]]:
        return {
            name: [Noisy(total, deviations[name] * math.sqrt(len(places))) for total in totals]
            for name, totals in _together(sums, places).items()
        }

    places, most = range(len(sums[ROWS])), clients * query.rows
    lines = [_noisy_line(query, told([place]), most) for place in places]
    return lines, _noisy_line(query, told(places), most) if query.total else None


def _noisy_line(query: Asked, sums: Mapping[str, Sequence[Noisy]], most: int) -> Line:
    rows = Rows(sums[ROWS][0], most)

    def small(told: Noisy) -> bool:
        return max(0, told.value) < query.min_group

    hidden = small(rows.told)
    results: dict[str, Result] = {}
    for name, measure in query.named.items():
        form = query.forms[name]
        parts = {kind: sums[field_name(name, kind)] for kind in form.parts()}
        few = [place for place, told in enumerate(form.counts(rows, parts)) if small(told)]
        results[name] = measure.read(None, {}) if hidden else form.read(rows, parts, few)
    cell = count(rows.told, most)
    if hidden or cell.value is None:
        return Line(None, results, suppressed=True)
    return Line(int(cell.value), results, False, cell.interval, cell.clamped)


def _promised(query: Asked, label: PrivacyLabel) -> Iterator[str]:
    yield label.statement
    unsaid = (warning for warning in label.warnings if warning not in label.statement)
    yield from (f"Mind: {warning}." for warning in unsaid)
    if query.published and query.privacy is not None:
        whole, delta = 2 * query.privacy.epsilon, 2 * query.privacy.delta
        yield f"With the counts that were published before: epsilon {whole:g}, delta {delta:g}."
    if query.min_group:
        yield f"Suppressed are counts that with their noise are below {query.min_group}."
