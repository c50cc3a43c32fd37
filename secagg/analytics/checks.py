"""A query's arguments, made Python's own once: what is kept is what is computed, printed and
digested, whatever types the caller has (see secagg.arguments)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from secagg.arguments import is_duration, kind_of, real, text
from secagg.errors import ParameterError
from secagg.schema import MAX_NAME

Label: TypeAlias = str | int
"""A group, a category, a bin or a column."""

MAX_LABELS = 1 << 20
MAX_LABEL_BITS = 1 << 10
"""Of an integer: a query is printed, and Python prints none of many thousand bits."""

ROWS = "rows"
"""The field that counts rows. The names of a measure's fields have a dot, so none is this one."""


def check_labels(what: str, labels: Any) -> tuple[Label, ...]:
    """A public list of distinct texts and integers, fit for printing; numpy's become Python's.

    A text alone is not the list of its letters, and a set has no order that two parties share.
    """
    checked = tuple(_label(what, place, each) for place, each in enumerate(_items(what, labels)))
    if len(set(checked)) < len(checked) or len(checked) > MAX_LABELS:
        raise ParameterError(f"{what} must be distinct, and at most {MAX_LABELS}")
    return checked


def check_bound(what: str, value: Any) -> float | int:
    """A finite number: integers as they are, also beyond 2^53, any other as the nearest float64.

    An integer that float64 holds is that float: 0, 0.0 and -0.0 are one bound, and print alike.
    """
    nearest = real(what, value)
    if isinstance(value, numbers.Integral) and not is_duration(value):
        value = int(value)
    if isinstance(value, int | Decimal | Fraction):
        exact = Fraction(value)
        if exact.denominator == 1 and exact != Fraction(nearest):
            return int(exact)
    return nearest + 0.0  # which makes -0.0 0.0


def is_float(bound: float) -> bool:
    """Not an integer that float64 does not hold: see `check_bound`."""
    return isinstance(bound, float)


def check_edges(edges: Any) -> tuple[float | int, ...]:
    """As `check_bound`, and infinities."""
    return tuple(
        _edge(f"edges[{place}]", edge) for place, edge in enumerate(_items("edges", edges))
    )


def check_name(name: Any) -> str:
    """Of a measure: printable, of any script."""
    checked = text("a measure's name", name)
    if not (checked and checked.isprintable()):
        raise ParameterError("a measure's name must be printable, and not empty")
    return checked


def field_name(measure: str, kind: str) -> str:
    """specs/30-analytics.md §3.4: field names are ASCII, and a measure's name need not be."""
    name = f"{measure.encode('unicode_escape').decode()}.{kind}"
    if len(name) > MAX_NAME:
        raise ParameterError(
            f"measure {measure!r}: its field's name would have {len(name)} characters of "
            f"{MAX_NAME}; name the measure otherwise, with the column as column={measure!r}"
        )
    return name


def _items(what: str, given: Any) -> tuple[Any, ...]:
    try:
        if isinstance(given, str | bytes | set | frozenset) or not isinstance(given, Iterable):
            raise TypeError
        return tuple(given)
    except TypeError:
        raise ParameterError(
            f"{what} must be a list in a fixed order, not {kind_of(given)}"
        ) from None


def _label(what: str, place: int, value: Any) -> Label:
    if isinstance(value, str) and (plain := str.__str__(value)).isprintable():
        return plain
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral) and not is_duration(value):
        if abs(int(value)) >> MAX_LABEL_BITS == 0:
            return int(value)
        raise ParameterError(f"{what}: number {place} has more than {MAX_LABEL_BITS} bits")
    kind = "not printable" if isinstance(value, str) else kind_of(value)
    raise ParameterError(f"{what} must be printable texts or integers; number {place} is {kind}")


def _edge(what: str, edge: Any) -> float | int:
    if isinstance(edge, float | np.floating | Decimal):
        if edge.is_nan() if isinstance(edge, Decimal) else math.isnan(edge):
            raise ParameterError(f"{what} must be a number, or infinite at either end, not NaN")
        if math.isinf(edge):
            return float(edge)
    return check_bound(what, edge)
