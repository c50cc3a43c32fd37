"""The Gaussian mechanism, exactly (Balle and Wang 2018; specs/40-privacy.md §4.3).

strength: (sensitivity / deviation)^2, which is 1 / z^2 of a noise multiplier z. It is what adds up
when mechanisms are composed: the whole of them is one Gaussian mechanism of the summed strength.
"""

from __future__ import annotations

from decimal import Decimal

from secagg.dp.exact import precise, tail

_DIGITS = 25
"""Of the root that `epsilon` finds: more than a binary64 has."""


@precise
def delta(epsilon: Decimal, strength: Decimal) -> Decimal:
    """The least delta at this epsilon, with strength > 0."""
    above, below = _sides(epsilon, strength)
    return above - below


@precise
def epsilon(delta: Decimal, strength: Decimal) -> Decimal:
    """The least epsilon >= 0 at this delta, 0 < delta < 1, from above and to 20 digits.

    Newton's method on ln delta, which is concave in epsilon (delta is the integral of a normal
    tail against an exponential, and log-concavity survives both): from above the root each step
    ends above it. The first value is the classical bound, from tail(x) <= exp(-x^2 / 2).
    """
    above, below = _sides(Decimal(0), strength)
    if above - below <= delta:
        return Decimal(0)
    wanted = delta.ln()
    found = strength / 2 + (-2 * wanted * strength).sqrt()
    while True:
        above, below = _sides(found, strength)
        here = above - below
        step = (wanted - here.ln()) * here / below  # the derivative of delta is -below
        if step <= found.scaleb(-_DIGITS):
            return found
        found = max(found - step, Decimal(0))


def _sides(epsilon: Decimal, strength: Decimal) -> tuple[Decimal, Decimal]:
    """P(L > epsilon) of the privacy loss L, and exp(epsilon) times it in the neighbour's world."""
    mu = strength.sqrt()
    return tail(epsilon / mu - mu / 2), epsilon.exp() * tail(epsilon / mu + mu / 2)
