"""The least noise for a claim (specs/40-privacy.md §5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from secagg.arguments import flag, instance, integer, settle
from secagg.dp.mechanisms import MAX_DIMENSIONS, MAX_SQUARED, NARROWEST, Block
from secagg.dp.release import Claim, accepts, remedy
from secagg.errors import ParameterError
from secagg.noise import MAX_VARIANCE, MIN_VARIANCE, Kind, Noise

DIGITS = 24
"""Bits of a calibrated variance: it is short of the least one by at most one part in 2^23."""

_FINER = 32
"""Bits of the scale that all variances have in common."""

WIDEST_SKELLAM = 2.0**24
"""The largest variance for which there is a table of Skellam noise."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A block without its noise.

    length and squared are a Block's. rotated: of a `Vector`, whose elements hold their noise
    together; else of counts and sums of integers. part: of the budget, which is what strengths add
    up to: positive; what counts is the ratio of the parts. Raises ParameterError.
    """

    length: int
    squared: int
    rotated: bool
    part: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        settle(
            self,
            length=integer("length", self.length, 1, MAX_DIMENSIONS),
            squared=integer("squared", self.squared, 1, MAX_SQUARED),
            rotated=flag("rotated", self.rotated),
        )
        if not isinstance(self.part, Fraction) or self.part <= 0:
            raise ParameterError("part must be a Fraction above 0")

    def block(self, variance: float, shares: int) -> Block:
        return Block(
            Noise(kind(self.rotated, variance), variance), self.length, self.squared, shares
        )


def kind(rotated: bool, variance: float) -> Kind:
    """Which noise a share of that variance is (§3.1).

    Of a Vector discrete Gaussian from 6.25 on, where it sums to itself and costs less. Integers may
    have shares far below, and have Skellam noise up to where there is no table of it.
    """
    gaussian = variance >= NARROWEST if rotated else variance > WIDEST_SKELLAM
    return Kind.GAUSSIAN if gaussian else Kind.SKELLAM


def noises(shapes: Sequence[Shape], claim: Claim, shares: int) -> tuple[Noise, ...]:
    """The noise of one share in each block, the least on the grid of §5.2 that keeps the claim.

    shares: how many of them are surely in a sum, and not known to whoever is not to learn the data.
    Raises ParameterError, with what would do, where that takes a variance above 2^60.
    """
    wanted = _Wanted(shapes, claim, shares)
    low, high = wanted.ends()
    if not wanted.keeps(high):
        raise ParameterError(
            f"epsilon {claim.epsilon:g} at delta {claim.delta:g} over {claim.rounds} rounds takes "
            f"more noise than the largest there is{remedy(wanted.blocks(high), claim)}"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wanted.keeps(middle) else (middle + 1, high)
    return tuple(map(_added, wanted.blocks(high)))


def _added(block: Block) -> Noise:
    """A block's noise, which is no response."""
    return instance("noise", block.noise, Noise)


def possible(shapes: Sequence[Shape], claim: Claim, shares: int) -> bool:
    """Whether there is noise enough for the claim."""
    wanted = _Wanted(shapes, claim, shares)
    return wanted.keeps(wanted.ends()[1])


class _Wanted:
    """Variances by one number: the index of the scale that they have in common."""

    def __init__(self, shapes: Sequence[Shape], claim: Claim, shares: int) -> None:
        if not shapes:
            raise ParameterError("there is no block to give noise to")
        whole = sum(shape.part for shape in shapes)
        # equal strengths at equal parts: the variance goes by sensitivity squared over part
        self._weights = [shape.squared * whole / shape.part for shape in shapes]
        self._shapes, self._claim, self._shares = shapes, claim, shares

    def ends(self) -> tuple[int, int]:
        """Where all have the least variance, and where one has the largest."""
        most = max(self._weights)
        return _index(Fraction(MIN_VARIANCE) / most), _index(Fraction(MAX_VARIANCE) / most)

    def keeps(self, index: int) -> bool:
        return accepts(self.blocks(index), self._claim)

    def blocks(self, index: int) -> list[Block]:
        scale = _scale(index)
        return [
            shape.block(max(MIN_VARIANCE, _rounded_up(scale * weight)), self._shares)
            for shape, weight in zip(self._shapes, self._weights, strict=True)
        ]


def _scale(index: int) -> Fraction:
    """The numbers of 32 bits in ascending order; 1 is number 0."""
    exponent, mantissa = divmod(index, 1 << (_FINER - 1))
    return _times_power(Fraction(mantissa + (1 << (_FINER - 1))), exponent - _FINER + 1)


def _index(number: Fraction) -> int:
    """Of the largest of them that is not above."""
    exponent = _exponent(number)
    mantissa = math.floor(_times_power(number, _FINER - 1 - exponent))
    return (exponent - 1 << (_FINER - 1)) + mantissa


def _rounded_up(number: Fraction) -> float:
    """To 24 bits, which a binary64 has exactly."""
    exponent = _exponent(number) - DIGITS + 1
    return math.ldexp(math.ceil(_times_power(number, -exponent)), exponent)


def _exponent(number: Fraction) -> int:
    """e of 2^e <= number < 2^(e + 1)."""
    guess = number.numerator.bit_length() - number.denominator.bit_length()
    return guess if number >= _times_power(Fraction(1), guess) else guess - 1


def _times_power(number: Fraction, exponent: int) -> Fraction:
    return number * (1 << exponent) if exponent >= 0 else number / (1 << -exponent)
