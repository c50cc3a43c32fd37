"""What one field of one round costs, by each bound that is proved (specs/40-privacy.md §3, §4).

A sum of discrete Gaussians is no discrete Gaussian, and neither is a Gaussian. Two ways are known
to account for that. The published one (Kairouz, Liu and Steinke 2021) bounds the Rényi divergence
of the sum itself. The other shows that the sum is, but for a factor exp(±kappa) on every
probability, what becomes of a *continuous* Gaussian of almost its variance when it is rounded at
random: then it has all that is known of the Gaussian mechanism, of which a Rényi divergence loses
a part. Skellam noise sums to itself, and has the published bound alone (Agarwal et al. 2021).

The functions here compute in whatever context is there: `release` sets it, once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from secagg.arguments import integer, settle
from secagg.dp.exact import PI, precise
from secagg.errors import ParameterError
from secagg.noise import Kind, Response, Share, checked
from secagg.types import MAX_CLIENTS

MAX_DIMENSIONS, MAX_SQUARED = (1 << 32) - 1, (1 << 64) - 1
NARROWEST = 6.25
"""The variance from which shares of discrete Gaussian noise may be summed: a deviation of 2.5.
There the sum of a million of them is within 10^-19 of a discrete Gaussian."""

SMOOTHINGS = (1, 2, 4)
"""Variances r^2 of the random rounding in the reduction. It takes r^2 from the noise's variance,
and adds 8 exp(-2 pi^2 r^2) to each coordinate's log-ratio: 2 10^-8, 6 10^-17, 4 10^-34."""

_NARROW_CAP = 64
"""exp(-pi^2 64) is 10^-274; what is wider is no better known."""


@dataclass(frozen=True, slots=True)
class Block:
    """One field's part in one round.

    noise: of one share. length: elements, each of which has noise of its own. squared: the square
    of the sensitivity, the largest L2 distance, in integer units, between the sums with one unit's
    data and with zeros in its place. shares: how many shares of noise are surely in the sum, and
    known to none who is not to learn the data. Of a response squared counts for nothing, since a
    bit has one other value, and there is one share.

    Raises ParameterError, also for several discrete Gaussian shares of a variance below 6.25.
    """

    noise: Share
    length: int
    squared: int
    shares: int

    def __post_init__(self) -> None:
        checked(self.noise)
        settle(
            self,
            length=integer("length", self.length, 1, MAX_DIMENSIONS),
            squared=integer("squared", self.squared, 1, MAX_SQUARED),
            shares=integer("shares", self.shares, 1, MAX_CLIENTS),
        )
        if self.gaussian and self.shares > 1 and self.noise.variance < NARROWEST:
            raise ParameterError(
                f"{self.shares} shares of discrete Gaussian noise of variance "
                f"{self.noise.variance:g} do not sum to one; from {NARROWEST} on they do, and "
                "Skellam noise does of every variance"
            )
        if isinstance(self.noise, Response) and (self.length, self.shares) != (1, 1):
            raise ParameterError("a response is of one bit, which its client tells by itself")

    @property
    def gaussian(self) -> bool:
        return self.noise.kind is Kind.GAUSSIAN


@dataclass(frozen=True, slots=True)
class Line:
    """A Rényi divergence of at most slope * order + constant."""

    slope: Decimal
    constant: Decimal


def variance(block: Block) -> Decimal:
    """Of all shares together."""
    return block.shares * Decimal(block.noise.variance)


def unlikeness(block: Block) -> Decimal:
    """tau of specs/40-privacy.md §3.3: half of it bounds the log-ratio, in one coordinate, of the
    sum of shares to one discrete Gaussian of their variance.

    A bound of Kairouz et al.'s 10 sum of exp(-2 pi^2 v k / (k + 1)) over k < shares, by its first
    term; and by the integer part of v, so that a plan of many fields has few exponentials. Where
    shares may be summed at all, it is nothing either way.
    """
    narrow = min(int(block.noise.variance), _NARROW_CAP)
    return 10 * (block.shares - 1) * _decay(narrow)


def responded(block: Block) -> Decimal | None:
    """The largest logarithm of a ratio of a response's probabilities, ln((1 - p) / p) (§10.2): its
    epsilon, without any delta. None of noise."""
    if not isinstance(block.noise, Response):
        return None
    flip = Decimal(block.noise.flip)
    return ((1 - flip) / flip).ln()


def pure(blocks: Iterable[Block]) -> Decimal | None:
    """The epsilon of all together without any delta; None where one has noise."""
    found = [responded(block) for block in blocks]
    told = [epsilon for epsilon in found if epsilon is not None]
    return sum(told, Decimal(0)) if len(told) == len(found) else None


def reduced(block: Block, smoothing: int) -> tuple[Decimal, Decimal] | None:
    """(strength, kappa) of the continuous Gaussian mechanism that a Gaussian block is rounded from
    (specs/40-privacy.md §3.4); None where its variance is not above the smoothing's."""
    left = variance(block) - smoothing
    if left <= 0:
        return None
    each = unlikeness(block) / 2 + _unevenness(smoothing)
    return block.squared / left, block.length * each


def renyi(block: Block) -> tuple[Line, Line]:
    """The block's Rényi divergence at integer orders from 2 on is at most either line: the steeper
    first, then the flatter, whose constant is larger or the same (§3.5, §3.6, §10.4)."""
    told = responded(block)
    if told is not None:
        return Line(told * told / 2, Decimal(0)), Line(Decimal(0), told)
    whole, squared = variance(block), Decimal(block.squared)
    absolute = _root(min(block.length, block.squared) * block.squared)  # of the L1 norm
    base = squared / (2 * whole)
    if not block.gaussian:
        steeper = squared / (2 * whole * whole)
        constant = (6 * absolute - squared) / (4 * whole * whole)
        return Line(base + steeper, constant), Line(base, 3 * absolute / (2 * whole))
    tau, length = unlikeness(block), Decimal(block.length)
    one = 2 * base + 2 * absolute / whole.sqrt() * tau + tau * tau * length
    other = ((squared / whole).sqrt() + _root(block.length) * tau) ** 2
    return Line(min(one, other) / 2, Decimal(0)), Line(base, tau * length)


@lru_cache(maxsize=4096)
@precise
def _root(whole: int) -> Decimal:
    """Plans of many fields try some ten scales, and these do not depend on any."""
    return Decimal(whole).sqrt()


@lru_cache(maxsize=256)
@precise
def _decay(variance: int) -> Decimal:
    return (-PI * PI * variance).exp()


@lru_cache(maxsize=8)
@precise
def _unevenness(smoothing: int) -> Decimal:
    """Of the sum of exp(-(x - y)^2 / 2r^2) over integers x, as y moves: its harmonics are at most
    a geometric series."""
    q = (-2 * PI * PI * smoothing).exp()
    eta = 2 * q / (1 - q)
    return 2 * eta / (1 - eta)
