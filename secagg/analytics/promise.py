"""What a query with privacy asks of its plan (specs/30-analytics.md §9)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from secagg.analytics.checks import ROWS
from secagg.analytics.measures import Part
from secagg.arguments import instance
from secagg.errors import HeadroomError, InputError, ParameterError
from secagg.fields import MAX_READ, Integer
from secagg.plans.label import PrivacyLabel
from secagg.privacy import Privacy


def asked(privacy: Any, rows: int) -> Privacy:
    """Raises ParameterError."""
    checked = instance("privacy", privacy, Privacy)
    if checked.examples not in (None, rows):
        raise ParameterError(
            f"examples={checked.examples} and rows={rows} are one number, the most rows that one "
            "client holds: each row is an example"
        )
    if checked.mechanism == "response":
        raise ParameterError(
            "a query's tables are made of sums of rows, and a sum of randomised responses is none: "
            "mechanism='noise' would do, or a plan with a field of your own for each yes or no, "
            "Integer(1, max=1, sensitivity=1), whose Aggregate.sum and Aggregate.interval are of "
            "the true number"
        )
    return checked


def by_field(privacy: Privacy, fields: Mapping[str, Collection[str]]) -> Privacy:
    """With the split by field that a plan takes, of one by measure: a measure's part is its fields'
    in equal parts, that of "rows" the count of rows. fields: of each measure. A split by field
    stays.

    Raises ParameterError for other names.
    """
    split = privacy.split
    of_all = {ROWS, *(field for those in fields.values() for field in those)}
    if split is None or set(split) == of_all:
        return privacy
    if ROWS in fields:
        raise ParameterError(
            f"{ROWS!r} is what split calls the count of rows: name the measure else"
        )
    named: Mapping[str, Collection[str]] = {ROWS: [ROWS]} | {k: f for k, f in fields.items() if f}
    if set(split) != set(named):
        raise ParameterError(
            f"split is by measure, of {', '.join(map(repr, named))}: name each of these, and no "
            "other; what only counts rows has its part in 'rows'"
        )
    parts = {
        field: Fraction(split[name]) / len(those)
        for name, those in named.items()
        for field in those
    }
    return replace(privacy, split=parts)


def halved(privacy: Privacy) -> Privacy:
    """For one of two rounds: two promises of half add up to one, whatever the noise is made of."""
    return replace(privacy, epsilon=privacy.epsilon / 2, delta=privacy.delta / 2)


def bounded(name: str, part: Part, groups: int, privacy: Privacy, rows: int) -> Integer:
    """The field of `part` for so many groups. A row is in one of them; of a client that holds
    `rows`, all may be in the same, and alike.

    Raises HeadroomError where a client's sums, or their norm, do not fit.
    """
    most = rows if privacy.unit == "client" else 1
    if (most * part.each).bit_length() > 63 or most**2 * part.squared > MAX_READ:
        raise HeadroomError(
            f"field {name!r}: {most} rows of up to {part.each} each are more than noise is made "
            "for; use fewer bits, fewer rows a client, or unit='example'"
        )
    norm = math.sqrt(most**2 * part.squared)
    return Integer(groups * part.width, most * part.each, sensitivity=norm)


def require_kept(privacy: Privacy | None, label: PrivacyLabel | None) -> None:
    """That a sum promises what the query asks for. Raises InputError."""
    if privacy is None and label is None:
        return
    if privacy is None or label is None:
        which = "the query, and the sum has" if label is None else "the sum, and the query asks for"
        raise InputError(
            f"privacy is of {which} none: plan with privacy=query.privacy, beside its fields"
        )
    if label.epsilon_local is not None:
        raise InputError(
            "the sum is of randomised responses, of which no table is made: plan with "
            "privacy=query.privacy"
        )
    weaker = (
        label.unit != privacy.unit
        or max(label.epsilon_server or 0.0, label.epsilon_release) > privacy.epsilon
        or label.delta > privacy.delta
        or label.rounds < privacy.rounds
    )
    if weaker:
        raise InputError(
            f"the sum promises less than the query asks for: {label.statement} Plan with "
            "privacy=query.privacy"
        )
