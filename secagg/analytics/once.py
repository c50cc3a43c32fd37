"""One column, told once: what a query with a minimum may ask (specs/30-analytics.md §6.8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from secagg.analytics.measures import COUNTING, LINEAR, Measure, Variance
from secagg.analytics.moments import Moments
from secagg.errors import ParameterError
from secagg.fields import MIN_BITS

SQUARED = (Variance, Moments)
"""Measures that tell the sum of squared levels."""


def require_levels(named: Mapping[str, Measure]) -> None:
    """Of three levels the sums of their values and squares are counts."""
    for name, measure in named.items():
        if isinstance(measure, SQUARED) and measure.bits == MIN_BITS:
            raise ParameterError(
                f"measure {name!r} has {MIN_BITS} bits and so three levels, of which its sums "
                "are exact counts, and min_group does not cover those: use 3 bits or more"
            )


def require_told_once(
    named: Mapping[str, Measure], columns: Collection[str], by: str | None
) -> None:
    """From what two measures tell of one column together, counts of few rows may follow."""
    for column in columns:
        readers = {name: m for name, m in named.items() if column in m.columns(name)}
        hint = (
            "it makes the groups, and so can be in no measure"
            if column == by and readers
            else _told_twice(column, readers)
        )
        if hint:
            raise ParameterError(
                f"column {column!r} would be told in two ways, from which together a reader "
                f"may have counts of few rows, and that min_group does not cover: {hint}"
            )


def _told_twice(column: str, readers: Mapping[str, Measure]) -> str | None:
    """What to ask instead."""
    counts = {replace(m, column=column) for m in readers.values() if isinstance(m, COUNTING)}
    values = {name: m for name, m in readers.items() if not isinstance(m, COUNTING)}
    if len(counts) > 1:
        return "ask for one histogram, with the edges of both"
    if len({m.spans(name)[column] for name, m in values.items()}) > 1:
        return "take all its values in one range"
    if counts and values and not _linear(values, *counts):
        return (
            "ask for its counts or for its values; beside values there may be the count of "
            "what is clipped, if they are a Mean or a Sum only"
        )
    return None


def _linear(values: Mapping[str, Measure], count: Measure) -> bool:
    """Whether the values are one sum of levels, and `count` is of what that clips: the sum fits any
    such count below the minimum (§6.9)."""
    clips = all(count in measure.clips(name).values() for name, measure in values.items())
    bits = {measure.bits for measure in values.values() if isinstance(measure, LINEAR)}
    return clips and len(bits) == 1 and all(isinstance(m, LINEAR) for m in values.values())
