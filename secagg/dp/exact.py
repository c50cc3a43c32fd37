"""Real numbers to 60 digits and more, for what is decided (specs/40-privacy.md §4.2).

Floats would do for a figure. They do not for a decision, in which a plan's maker and its readers
must agree on every machine: `math.erfc` and `math.exp` are as good as the C library that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    localcontext,
)
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")

CONTEXT = Context(
    prec=100,
    rounding=ROUND_HALF_EVEN,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    traps=[DivisionByZero, InvalidOperation],
)
"""40 digits more than are promised, for what differences lose. Nothing overflows; what underflows
is zero, which is what it is compared with anyway."""

PI = Decimal(
    "3.1415926535897932384626433832795028841971693993751"
    "0582097494459230781640628620899862803482534211706798"
)
_SERIES_BELOW = 12
"""Where the normal tail changes its method: there the series loses 32 digits of 100, and the
fraction needs 200 terms."""


def precise(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Computes in CONTEXT, whatever the calling thread's own is."""

    @wraps(function)
    def inside(*args: _Given.args, **named: _Given.kwargs) -> _Found:
        with localcontext(CONTEXT):
            return function(*args, **named)

    return inside


@precise
def tail(x: Decimal) -> Decimal:
    """P(N(0, 1) > x), to 60 digits of itself wherever x is."""
    if x < 0:
        return 1 - tail(-x)
    if x < _SERIES_BELOW:
        return Decimal("0.5") - _density(x) * _series(x)
    return _density(x) / _continued(x)


def ceiling(value: Decimal) -> int:
    """The least integer that is no smaller."""
    return int(value.to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=1)
@precise
def _root_of_two_pi() -> Decimal:
    return (2 * PI).sqrt()


def _density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / _root_of_two_pi()


def _series(x: Decimal) -> Decimal:
    """x + x^3/3 + x^5/(3 5) + ..: P(0 < N(0, 1) < x) over the density at x; all terms positive."""
    square, term, total, n = x * x, x, x, 1
    while term > total.scaleb(-CONTEXT.prec):
        n += 2
        term = term * square / n
        total += term
    return total


def _continued(x: Decimal) -> Decimal:
    """x + 1/(x + 2/(x + 3/(x + ..))): the density at x over the tail (Laplace 1805).

    Two of its approximations with n and n + 1 terms are on either side of it; with this many they
    have 60 digits in common, from x = 12 on.
    """
    found = x
    for k in range(32 + int((150 / x) ** 2), 0, -1):
        found = x + k / found
    return found
