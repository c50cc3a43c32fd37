"""Rényi divergences: their sum over blocks and rounds, and what it promises (§4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache

from secagg.dp.exact import precise
from secagg.dp.mechanisms import Block, Line, renyi

ORDERS = (*range(2, 64), *(m << k for k in range(3, 38) for m in range(8, 16)))
"""2 to 63, and eight to each doubling from 64 to 2^41. The best order is about 1 + sqrt(2 ln(1 /
delta) / rho), so 10^8 for an epsilon of 10^-6; between two of these an epsilon loses a 500th."""


@precise
def epsilon(blocks: Iterable[Block], delta: Decimal, rounds: int) -> Decimal:
    """The least that one of ORDERS promises; below 0, it promises 0.

    From a divergence to epsilon: Canonne, Kamath and Steinke 2020, proposition 12.
    """
    sums = totals([renyi(block) for block in blocks])
    return min(rounds * each + price for each, price in zip(sums, prices(delta), strict=True))


@precise
def least(bounds: list[tuple[Line, Line]], delta: Decimal) -> Decimal:
    """The same of divergences that are given, each by its two lines."""
    return min(each + price for each, price in zip(totals(bounds), prices(delta), strict=True))


def totals(bounds: list[tuple[Line, Line]]) -> Iterator[Decimal]:
    """The sum of all divergences at each order, each by the lower of its two lines.

    One pass over the orders, on which a block goes from its steeper line to its flatter one: a plan
    has up to a thousand blocks, and there are hundreds of orders.
    """
    slope = sum((steep.slope for steep, _ in bounds), Decimal(0))
    constant = sum((steep.constant for steep, _ in bounds), Decimal(0))
    crossings = [(_crossing(steep, flat), steep, flat) for steep, flat in bounds]
    crossings.sort(key=lambda crossing: crossing[0], reverse=True)
    for order in ORDERS:
        while crossings and crossings[-1][0] <= order:
            _, steep, flat = crossings.pop()
            slope += flat.slope - steep.slope
            constant += flat.constant - steep.constant
        yield slope * order + constant


def _crossing(steep: Line, flat: Line) -> Decimal:
    """The order from which the flatter line is the lower one."""
    if steep.slope == flat.slope:
        return Decimal(0 if flat.constant <= steep.constant else "inf")
    return (flat.constant - steep.constant) / (steep.slope - flat.slope)


@lru_cache(maxsize=16)
@precise
def prices(delta: Decimal) -> tuple[Decimal, ...]:
    """What each order adds to its divergence."""
    return tuple(
        logs - delta.ln() / (order - 1) for order, logs in zip(ORDERS, _logarithms(), strict=True)
    )


@lru_cache(maxsize=1)
@precise
def _logarithms() -> tuple[Decimal, ...]:
    found = ((order - 1, Decimal(order).ln(), Decimal(order - 1).ln()) for order in ORDERS)
    return tuple(below - own - own / less for less, own, below in found)
