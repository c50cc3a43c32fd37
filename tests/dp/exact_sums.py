"""Probabilities of noise and of its sums, from their definitions, to 50 digits or as float64."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

DIGITS = Context(prec=80)
Weights = dict[int, Decimal]


@lru_cache(maxsize=8)
def shares(variance: float, count: int) -> Weights:
    """The sum of so many discrete Gaussians, to 16 deviations."""
    with localcontext(DIGITS):
        reach = int(16 * variance**0.5) + 1
        weights = {
            x: (-Decimal(x * x) / (2 * Decimal(variance))).exp() for x in range(-reach, reach + 1)
        }
        one = _normal(weights)
        total = one
        for _ in range(count - 1):
            total = _convolved(total, one)
        return total


def gaussian(variance: float, reach: int) -> Weights:
    """One discrete Gaussian of that variance."""
    with localcontext(DIGITS):
        doubled = 2 * Decimal(variance)
        return _normal({x: (-Decimal(x * x) / doubled).exp() for x in range(-reach, reach + 1)})


def skellam(variance: float) -> npt.NDArray[np.float64]:
    """Probabilities of 0, 1, .. as float64: Miller's recurrence downwards, then normalised.

    Where it begins it is not yet right, and so that is left out.
    """
    start = int(260 + 16 * variance**0.5)
    with localcontext(DIGITS):
        terms = [Decimal(0), Decimal(1)]
        for k in range(start, 0, -1):
            terms.append(terms[-2] + 2 * k * terms[-1] / Decimal(variance))
        terms.reverse()
        whole = terms[0] + 2 * sum(terms[1:])
        return np.array([float(term / whole) for term in terms[:-60]])


def as_array(weights: Weights) -> npt.NDArray[np.float64]:
    return np.array([float(weights[x]) for x in sorted(weights)])


def _normal(weights: Weights) -> Weights:
    whole = sum(weights.values())
    return {x: weight / whole for x, weight in weights.items()}


def _convolved(one: Weights, other: Weights) -> Weights:
    total: Weights = {}
    for x, p in one.items():
        for y, q in other.items():
            total[x + y] = total.get(x + y, Decimal(0)) + p * q
    return total
