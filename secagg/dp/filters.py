"""Limits that hold while noise is chosen step by step (specs/40-privacy.md §9.5-§9.8).

What may still be released depends on what is spent, and what is asked for next on what was seen:
so composition of noise that was fixed beforehand does not apply, and neither does whatever is best
for the releases that happen to come. A filter is a limit that is fixed before the first release,
and is met whatever comes: sums of Rényi divergences at one order (Feldman and Zrnic 2021), or of
strengths of Gaussian mechanisms (Smith and Thakurta 2022).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from secagg.dp import gaussian, rdp
from secagg.dp.exact import precise
from secagg.dp.mechanisms import SMOOTHINGS, pure, reduced, renyi
from secagg.dp.release import Claim
from secagg.dp.several import Release

SLACK = 2.0**-40
"""Of all log-ratios of a reduction together: epsilon is short of it by twice as much, and a million
coordinates use 10^-27 of it in a round."""

_HALVINGS = 64
"""Of an interval, for the figure of a filter's size: no decision is made by it."""


@dataclass(frozen=True, slots=True)
class Way:
    """Which filter counts. order: of its Rényi divergences; 0 of Gaussian mechanisms, with the
    smoothing r^2 of their reduction, and slack, the most that all of its kappa may add up to; all 0
    of responses, whose epsilons add up."""

    order: int
    smoothing: int = 0
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Weight:
    """What a release takes of a filter: its divergence, or strength and kappa."""

    size: Decimal = Decimal(0)
    kappa: Decimal = Decimal(0)

    @precise
    def plus(self, other: Weight, times: int = 1) -> Weight:
        return Weight(self.size + times * other.size, self.kappa + times * other.kappa)


NOTHING = Weight()


@lru_cache(maxsize=1024)
@precise
def weigh(way: Way, release: Release) -> Weight | None:
    """None for a release that this way cannot count: Skellam noise as a Gaussian mechanism, noise
    that the smoothing would take away, or any as responses."""
    if way.order:
        sides = [renyi(block) for block in release]
        each = (min(line.slope * way.order + line.constant for line in two) for two in sides)
        return Weight(sum(each, Decimal(0)))
    if not way.smoothing:
        told = pure(release)
        return None if told is None else Weight(told)
    if any(not block.gaussian for block in release):
        return None
    pairs = [reduced(block, way.smoothing) for block in release]
    found = [pair for pair in pairs if pair is not None]
    if len(found) < len(pairs):
        return None
    strengths, kappas = zip(*found, strict=True)
    return Weight(sum(strengths, Decimal(0)), sum(kappas, Decimal(0)))


@precise
def fits(way: Way, claim: Claim, total: Weight) -> bool:
    """Whether all that is released keeps the claim, if it weighs no more than that in the end.

    claim: over whatever is released; its rounds count for nothing.
    """
    if way.order:
        return total.size <= _room(way.order, claim)
    if not way.smoothing:
        return total.size <= Decimal(claim.epsilon)
    slack = Decimal(way.slack)
    left = Decimal(claim.epsilon) - 2 * slack
    if left < 0 or total.kappa > slack:
        return False
    most = Decimal(claim.delta) * (-slack).exp()
    return not total.size or gaussian.delta(left, total.size) <= most


@precise
def used(way: Way, claim: Claim, total: Weight) -> float:
    """Which part of the filter that is, from 0 on: above 1 it does not fit. A figure: `fits`
    decides."""
    size = capacity(way, claim)
    part = total.size / size if size > 0 else Decimal("inf")
    if way.slack:
        part = max(part, total.kappa / Decimal(way.slack))
    return float(part)


@lru_cache(maxsize=64)
@precise
def capacity(way: Way, claim: Claim) -> Decimal:
    """The largest size that fits; to 15 digits, and from below."""
    if way.order:
        return _room(way.order, claim)
    low, high = Decimal(0), Decimal(1)
    while fits(way, claim, Weight(high)):
        low, high = high, 4 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(way, claim, Weight(middle)) else (low, middle)
    return low


def chosen(claim: Claim, release: Release, rounds: int) -> Way:
    """The way for releases of which this is the first, and of which `rounds` are meant to follow.

    Divergences where these rounds fit that way, since they count whatever noise comes later; else
    the way that has room for the most of them. Chosen before anything is released, it depends on no
    data, which is all that it may not depend on.
    """
    ways = list(_ways(claim, release, rounds))
    return max(ways, key=lambda way: _most(way, claim, release, rounds))


def divergences(claim: Claim, release: Release) -> Way:
    """The way that counts every noise there is, at the order by which most such releases fit."""
    return Way(_best_order(claim, release))


def _ways(claim: Claim, release: Release, rounds: int) -> Iterator[Way]:
    """In the order in which they are preferred."""
    yield divergences(claim, release)
    if pure(release) is not None:
        yield Way(0)
    for smoothing in sorted(SMOOTHINGS, reverse=True):
        bare = Way(0, smoothing, SLACK)
        weight = weigh(bare, release)
        if weight is None:
            continue
        yield bare
        if weight.kappa * rounds > 0:
            yield Way(0, smoothing, _rounded_up(weight.kappa * rounds))


@precise
def _best_order(claim: Claim, release: Release) -> int:
    """By which most of these releases fit; of several the lowest."""
    sides = [renyi(block) for block in release]
    rooms = [Decimal(claim.epsilon) - price for price in rdp.prices(Decimal(claim.delta))]
    sizes = rdp.totals(sides)
    many = [room / size if room > 0 else room for room, size in zip(rooms, sizes, strict=True)]
    order: int = rdp.ORDERS[many.index(max(many))]
    return order


def _most(way: Way, claim: Claim, release: Release, rounds: int) -> int:
    """How many of so many fit."""
    each = weigh(way, release)
    if each is None:
        return 0
    return bisect_left(
        range(1, rounds + 1), True, key=lambda n: not fits(way, claim, NOTHING.plus(each, n))
    )


@precise
def _room(order: int, claim: Claim) -> Decimal:
    """What divergences of that order may add up to."""
    price = rdp.prices(Decimal(claim.delta))[rdp.ORDERS.index(order)]
    return Decimal(claim.epsilon) - price


def _rounded_up(exact: Decimal) -> float:
    return math.nextafter(float(exact), math.inf)
