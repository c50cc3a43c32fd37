"""Releases of different noise: what they tell together (specs/40-privacy.md §9)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TypeAlias

from secagg.dp import gaussian, rdp
from secagg.dp.exact import precise
from secagg.dp.mechanisms import SMOOTHINGS, Block, Line, pure, reduced, renyi
from secagg.dp.release import Accounting, Loss, by_divergences, checked_delta

Release: TypeAlias = tuple[Block, ...]
"""What one round reveals of one unit."""


@precise
def composed(releases: Mapping[Release, int], delta: float) -> Loss | None:
    """The least epsilon of all of them at that delta, each as often as it says; None of none.

    A binary64, rounded up. It is the figure of releases whose noise was fixed beforehand; where
    each was chosen after seeing others, `secagg.dp.filters` says what is promised (§9.8).
    """
    at = Decimal(checked_delta(delta))
    counted = {blocks: times for blocks, times in releases.items() if times}
    if not counted:
        return None
    lines = [
        Line(times * line.slope, times * line.constant)
        for blocks, times in counted.items()
        for block in blocks
        for line in renyi(block)
    ]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    best = rdp.least(pairs, at), _renyi(counted)
    told = pure(block for blocks in counted for block in blocks)
    if told is not None:
        each = (times * (pure(blocks) or Decimal(0)) for blocks, times in counted.items())
        best = min(best, (sum(each, Decimal(0)), Accounting.RESPONSE), key=lambda one: one[0])
    for strength, kappa in _gaussians(counted):
        shifted = gaussian.epsilon(at * (-kappa).exp(), strength) + 2 * kappa
        best = min(best, (shifted, Accounting.REDUCTION), key=lambda one: one[0])
    return Loss(_rounded_up(max(best[0], Decimal(0))), best[1])


def _gaussians(counted: Mapping[Release, int]) -> Iterator[tuple[Decimal, Decimal]]:
    """(strength, kappa) of all, for each smoothing that every block has room for; of Gaussian
    blocks alone."""
    if any(not block.gaussian for blocks in counted for block in blocks):
        return
    for smoothing in SMOOTHINGS:
        each = [
            (times, reduced(block, smoothing))
            for blocks, times in counted.items()
            for block in blocks
        ]
        found = [(times * pair[0], times * pair[1]) for times, pair in each if pair is not None]
        if len(found) == len(each):
            strengths, kappas = zip(*found, strict=True)
            yield sum(strengths, Decimal(0)), sum(kappas, Decimal(0))


def _renyi(counted: Mapping[Release, int]) -> Accounting:
    return by_divergences({block.noise.kind for blocks in counted for block in blocks})


def _rounded_up(exact: Decimal) -> float:
    """The least binary64 that is no smaller."""
    number = float(exact)
    return number if Decimal(number) >= exact else math.nextafter(number, math.inf)
