"""How large a noisy sum becomes, but for a chance of 2^-40 (specs/40-privacy.md §6)."""

from __future__ import annotations

from decimal import Decimal
from math import isqrt

from secagg.dp.exact import ceiling, precise
from secagg.noise import Kind, Noise

WRAP = 40
"""A noisy sum of honest clients wraps around in one of 2^40 rounds."""


@precise
def vector_bound(length: int, squared: int, units: int, noise: Noise, shares: int) -> int:
    """M for a Vector of that length: no element of a sum is beyond ±M.

    squared: the largest square of one encoded unit's norm. units: how many are added at most, each
    rotated by the same rotation. shares: how many shares of noise at most.

    The smaller of two bounds: of what a rotation makes of a sum, whatever the sum, and of units
    that all point one way, which no rotation exceeds.
    """
    spread = shares * Decimal(noise.variance)
    filled = 1 << (length.bit_length() - 1)
    signal = Decimal(units * units * squared) / filled
    rotated = _tail(signal + spread, noise.kind, length) + units
    aligned = units * isqrt(squared) + _tail(spread, noise.kind, length)
    return min(rotated, aligned)


@precise
def integer_bound(length: int, largest: int, units: int, noise: Noise, shares: int) -> int:
    """M for integers of magnitude at most `largest` in each of so many units."""
    return units * largest + _tail(shares * Decimal(noise.variance), noise.kind, length)


def _tail(variance: Decimal, kind: Kind, length: int) -> int:
    """T with P(|x| > T for one of so many elements) <= 2^-40, for x sub-Gaussian, and with a
    Skellam part sub-gamma: its cumulants are below those of a bounded variable (Bernstein)."""
    chance = (Decimal(2) ** (WRAP + 1) * length).ln()
    slack = chance / 3 if kind is Kind.SKELLAM else Decimal(0)
    return ceiling(slack + (slack * slack + 2 * chance * variance).sqrt())
