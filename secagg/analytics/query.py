"""A query: what is asked, of whom, as fields of a plan; and a client's answer to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from secagg.analytics.checks import ROWS, Label, check_labels, check_name, field_name
from secagg.analytics.columns import Columns, Int64s, read_columns
from secagg.analytics.measures import Measure, Part
from secagg.analytics.once import require_levels, require_told_once
from secagg.analytics.private import Form, form
from secagg.analytics.promise import asked, bounded, by_field, halved, require_kept
from secagg.analytics.table import Table
from secagg.arguments import flag, integer, kind_of, settle, text
from secagg.errors import HeadroomError, InputError, ParameterError, PolicyRefused
from secagg.fields import Field, Integer
from secagg.privacy import Privacy
from secagg.shown import complete, short

if TYPE_CHECKING:
    from secagg.party import Aggregate

MAX_ROWS = (1 << 63) - 1

CHUNK = 1 << 20
"""Addends at a time: a client with many rows needs no more than some megabytes beside them."""

_VERSION = 1

Integers: TypeAlias = npt.NDArray[np.signedinteger[Any]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answer(Mapping[str, Integers]):
    """A client's fields, ready for a round. The rest stays with the client. Where the unit of
    privacy is an example, each field has a row for every row of the client.

    clipped: of each measure, how many values lay outside its range, also logged as a warning; it
    is sent in a query that counts what is clipped only. left_out: how many rows were
    of groups that the second round does not ask about.
    """

    fields: Mapping[str, Integers] = field(repr=False)
    clipped: Mapping[str, int] = field(repr=False)
    left_out: int = field(repr=False)

    __repr__ = short

    def __getitem__(self, name: str) -> Integers:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


@dataclass(frozen=True)
class Query:
    """Named measures, over all rows or by group: the public part, which all parties agree on.

    measures: name -> Measure, or one measure, which is then named "value". by, groups: the column
    that says which group a row is in, and the fixed list of groups. rows: the most rows that one
    client holds. min_group: every count of fewer rows is suppressed in tables, that of a group with
    all its values, and with its neighbour in the list (so list groups that may be small beside each
    other); 0 suppresses none, and an empty group then has 0 rows and no mean. total: whether tables
    have a line for all groups together. clipped: whether they also tell how many rows each measure
    has clipped, as "age clipped" beside "age"; it is one more count of the column, with a field and
    a minimum as any other; with a minimum it needs the column's values to be a Mean or a Sum only.
    published: made by `second_round`.

    privacy: sums have noise then, that hides any one client (unit "client"), or any one of its rows
    (unit "example", of which examples is `rows`). Plan with both, `fields=query.fields,
    privacy=query.privacy`. Its split is by measure, with "rows" for the count of rows, and becomes
    one by field; without, all fields have equal parts. Every value has an interval then, and counts
    are judged by min_group, and published, as they are with their noise: nothing more is withheld
    beside small ones (specs/30-analytics.md §9).

    Raises ParameterError for an impossible query, HeadroomError where the sums of one client's
    rows may not fit an integer field.
    """

    measures: Mapping[str, Measure] | Measure
    by: str | None = None
    groups: tuple[Label, ...] = ()
    rows: int = 1
    min_group: int = 0
    total: bool = True
    published: tuple[tuple[Label, int | None], ...] = ()
    clipped: bool = False
    privacy: Privacy | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            measures=_named(self.measures, flag("clipped", self.clipped)),
            by=None if self.by is None else text("by", self.by),
            groups=check_labels("groups", self.groups),
            rows=integer("rows", self.rows, 1, MAX_ROWS),
            min_group=integer("min_group", self.min_group, 0, MAX_ROWS),
            total=flag("total", self.total),
            published=_published(self.published),
        )
        if (self.by is None) != (not self.groups):
            raise ParameterError("a query by a column needs its list of groups, and only then")
        if not (self.by is not None or self.total):
            raise ParameterError("a query without groups has nothing but its total")
        if self.privacy is not None:
            privacy = asked(self.privacy, self.rows)
            fields = {name: list(self._fields_of(name)) for name in self.named}
            settle(self, privacy=by_field(privacy, fields))
        elif self.min_group:
            require_levels(self.named)
            require_told_once(self.named, self.columns, self.by)
        _ = self.fields  # proves the head-room of one client; the plan proves that of all

    @property
    def named(self) -> Mapping[str, Measure]:
        """The measures by name; the mapping that `measures` was made."""
        return cast("Mapping[str, Measure]", self.measures)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those that a client's rows must have, each once."""
        of_measures = (c for name, measure in self.named.items() for c in measure.columns(name))
        return tuple(dict.fromkeys([*((self.by,) if self.by is not None else ()), *of_measures]))

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """For `secagg.plan(fields=...)`: integers, exactly summed; `rows` counts rows."""
        return {name: self._integer(name, part) for name, part in self.parts.items()}

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """By field: the addends of one row to one group. A field has them for group after group."""
        return {ROWS: Part(1, 1)} | {
            field: part for name in self.named for field, part in self._fields_of(name).items()
        }

    @cached_property
    def forms(self) -> Mapping[str, Form[Any]]:
        """How each measure is asked and read with privacy; none without."""
        return {n: form(n, m) for n, m in self.named.items() if self.privacy is not None}

    @property
    def payload(self) -> bytes:
        """The query itself, as the task of its round.

        A round's plan has names and sizes of fields only. With this as the round's payload, its
        digest binds ranges, groups and published counts too: clients who were told different
        queries do not share a session.
        """
        measures = [[name, complete(measure)] for name, measure in self.named.items()]
        names = ("by", "groups", "rows", "min_group", "total", "published")
        rest = {name: getattr(self, name) for name in names}
        if self.privacy is not None:
            rest["privacy"] = complete(self.privacy)
        return json.dumps({"analytics": _VERSION, "measures": measures} | rest).encode()

    def encode(self, rows: Any) -> Answer:
        """A client's rows as the fields of its input.

        rows: for a query of one column a value, or a sequence of values; else a row, as a mapping
        of columns to values, a sequence of such rows, or a mapping of columns to sequences, such
        as a data frame. Other columns are not looked at. No rows at all is an answer too.

        Raises InputError for missing columns, unequal lengths and wrong types; RangeError, with
        the row's number, for NaN and infinities, for a value outside its range where that is an
        error, for a group or category that the query does not list, and for more than `rows` rows.
        """
        columns = read_columns(rows, self.columns, self.rows)
        places = self._places(columns)
        levels, clipped = {}, {}
        for name, measure in self.named.items():
            levels[name], clipped[name] = measure.levels(columns, name)
            if clipped[name]:
                log.warning("measure %r: %d values were clipped to its range", name, clipped[name])
        apart = self.privacy is not None and self.privacy.unit == "example"
        fields = self._apart(levels, places) if apart else self._together(levels, places)
        return Answer(fields, clipped, int((places < 0).sum()))

    def _together(self, levels: Mapping[str, Int64s], places: Int64s) -> dict[str, Integers]:
        sums = {name: np.zeros((self._width, p.width), np.int64) for name, p in self.parts.items()}
        sums[ROWS][:, 0] = np.bincount(places[places >= 0], minlength=self._width)
        for name in self.named:
            _add(sums, name, self._asked(name), levels[name], places)
        return {name: total.reshape(-1) for name, total in sums.items()}

    def _apart(self, levels: Mapping[str, Int64s], places: Int64s) -> dict[str, Integers]:
        """A row for each, and all that it adds to is in it: the plan bounds each by itself."""
        asked, here = places >= 0, places[places >= 0]
        addends = {ROWS: np.ones((len(here), 1), np.int64)}
        for name in self.named:
            for kind, of_rows in self._asked(name).expand(levels[name][asked]).items():
                addends[field_name(name, kind)] = of_rows
        apart: dict[str, Integers] = {}
        for name, part in self.parts.items():
            smallest = np.min_scalar_type(-part.each)
            cells = np.zeros((len(here), self._width, part.width), smallest)
            cells[np.arange(len(here)), here] = addends[name]
            apart[name] = cells.reshape(len(here), self._width * part.width)
        return apart

    def table(self, aggregate: Aggregate) -> Table:
        """What a round over `fields` says; see Table.

        Raises InputError for an aggregate of other fields, or of a plan without the privacy that
        the query asks for; IntegrityError for sums without noise that no rows can have.
        """
        from secagg.party import Aggregate  # here: planning must not wait for the compiler

        if not isinstance(aggregate, Aggregate):
            raise InputError(
                f"a table is made of what a round gave, an Aggregate, not of {kind_of(aggregate)}"
            )
        require_kept(self.privacy, aggregate.privacy)
        return Table.of(self, aggregate.levels, aggregate.count, aggregate.privacy)

    def first_round(self) -> Query:
        """How many rows each group has, and nothing else: the first of two rounds.

        Its tables have no total, which no client needs to judge a second round. With privacy each
        of the two rounds has half of epsilon and of delta.
        """
        self._require_two_rounds()
        half = None if self.privacy is None else replace(halved(self.privacy), split=None)
        return replace(self, measures={}, total=False, privacy=half)

    def second_round(
        self, published: Mapping[Label, int | None], asked: tuple[Label, ...] | None = None
    ) -> Query:
        """This query for the groups that may be asked about: the same on both sides.

        published: the first round's `Table.counts`: every group's rows, None where suppressed.
        asked: the groups that the collector wants, where it says so; by default all that reach
        min_group. Rows of other groups are left out of every sum by `encode`.

        Raises PolicyRefused for a group without a published count of min_group rows, and where
        there is no other;
        InputError where `published` has not exactly the query's groups.
        """
        self._require_two_rounds()
        if not isinstance(published, Mapping) or set(published) != set(self.groups):
            raise InputError("the published counts are not of exactly the query's groups")
        counts = _published((group, published[group]) for group in self.groups)
        enough = {g for g, n in counts if n is not None and n >= self.min_group}
        wanted = enough if asked is None else check_labels("asked", asked)
        groups = tuple(g for g in self.groups if g in wanted)
        small = [g for g in wanted if g not in enough]
        if small or not groups:
            raise PolicyRefused(
                f"groups {small} have fewer than {self.min_group} rows by the published counts, "
                "or are none of the query: no values are given for them"
                if small
                else f"no group has {self.min_group} rows by the published counts"
            )
        half = None if self.privacy is None else halved(self.privacy)
        return replace(self, groups=groups, published=counts, privacy=half)

    @property
    def _width(self) -> int:
        return len(self.groups) or 1

    def _asked(self, name: str) -> Measure | Form[Any]:
        return self.forms.get(name, self.named[name])

    def _fields_of(self, name: str) -> dict[str, Part]:
        parts = self._asked(name).parts()
        return {field_name(name, kind): part for kind, part in parts.items()}

    def _integer(self, name: str, part: Part) -> Integer:
        if self.privacy is not None:
            return bounded(name, part, self._width, self.privacy, self.rows)
        most = self.rows * part.each
        if most.bit_length() > 63:
            raise HeadroomError(
                f"field {name!r}: {self.rows} rows of up to {part.each} each need "
                f"{most.bit_length() + 1} bits of 64; use fewer bits, or fewer rows a client"
            )
        return Integer(self._width * part.width, most)

    def _places(self, columns: Columns) -> Int64s:
        """Each row's group, by its place in `groups`; -1 for one that is not asked about."""
        if self.by is None:
            return np.zeros(columns.length, np.int64)
        known = tuple(group for group, _ in self.published) or self.groups
        place = {group: i for i, group in enumerate(self.groups)}
        of_known = np.array([place.get(group, -1) for group in known], np.int64)
        places: Int64s = of_known[columns.indices(self.by, known)]
        return places

    def _require_two_rounds(self) -> None:
        if self.by is None or self.min_group < 2 or self.published:
            raise ParameterError(
                "two rounds are for a query by group with a min_group above 1, and only once"
            )


def _named(given: Any, clipped: bool) -> Mapping[str, Measure]:
    """A copy: what a caller does to its mapping later changes no query. clipped: with counts of
    what each clips."""
    if not isinstance(given, Measure | Mapping):
        raise ParameterError(
            "measures must be a Measure such as Mean(0, 120), or a mapping of names to Measures, "
            f"not {kind_of(given)}"
        )
    named = {"value": given} if isinstance(given, Measure) else dict(given)
    for name, measure in named.items():
        if not isinstance(measure, Measure):
            raise ParameterError(
                f"measure {check_name(name)!r} must be a Measure such as Mean(0, 120), not "
                f"{kind_of(measure)}"
            )
    checked = {check_name(name): measure for name, measure in named.items()}
    counts: dict[str, Measure] = {}
    for name, measure in checked.items() if clipped else ():
        counts |= measure.clips(name)
    for name, count in counts.items():
        if checked.get(name, count) != count:
            raise ParameterError(f"the name {name!r} is for what is clipped: give yours another")
    return checked | counts


def _published(given: Any) -> tuple[tuple[Label, int | None], ...]:
    """Fit for the payload: Python's own."""
    try:
        pairs = [(group, rows) for group, rows in given]
    except (TypeError, ValueError):
        raise ParameterError("published must be pairs of a group and its rows") from None
    labels = check_labels("published groups", [group for group, _ in pairs])
    return tuple((label, _rows(label, n)) for label, (_, n) in zip(labels, pairs, strict=True))


def _rows(label: Label, rows: int | None) -> int | None:
    return None if rows is None else integer(f"the rows of {label!r}", rows, 0, MAX_ROWS)


def _add(
    sums: Mapping[str, Int64s],
    name: str,
    measure: Measure | Form[Any],
    levels: Int64s,
    places: Int64s,
) -> None:
    """Adds every row to its group. No sum of at most `rows` rows leaves int64: see `fields`."""
    widest = max((part.width for part in measure.parts().values()), default=1)
    size = max(1, CHUNK // widest)
    for start in range(0, len(levels), size):
        here = places[start : start + size]
        for kind, addends in measure.expand(levels[start : start + size]).items():
            for place in np.unique(here[here >= 0]):
                sums[field_name(name, kind)][place] += addends[here == place].sum(axis=0)
