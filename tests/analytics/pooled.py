"""A round without a protocol, and the truth about pooled rows in exact fractions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from secagg.analytics import Cell, Query, Table


def ask(query: Query, clients: Sequence[Any]) -> Table:
    """What the server would read from the sums of these clients' answers."""
    answers = [query.encode(rows) for rows in clients]
    levels = {
        name: sum((answer[name] for answer in answers), np.zeros(field.length, np.int64))
        for name, field in query.fields.items()
    }
    return Table.of(query, levels, len(clients))


Number = float | int | Fraction


def exact(values: Sequence[Number]) -> list[Fraction]:
    return [Fraction(v) if isinstance(v, int | Fraction) else Fraction(float(v)) for v in values]


def mean(values: Sequence[Number]) -> Fraction:
    return sum(exact(values), Fraction(0)) / len(values)


def covariance(a: Sequence[Number], b: Sequence[Number], ddof: int = 0) -> Fraction:
    ma, mb = mean(a), mean(b)
    products = ((x - ma) * (y - mb) for x, y in zip(exact(a), exact(b), strict=True))
    return sum(products, Fraction(0)) / (len(a) - ddof)


def holds(cell: Any, truth: Fraction) -> bool:
    """|value - truth| <= error, with no rounding of our own."""
    assert isinstance(cell, Cell)
    assert cell.value is not None and cell.error is not None
    return abs(Fraction(cell.value) - truth) <= Fraction(cell.error)
