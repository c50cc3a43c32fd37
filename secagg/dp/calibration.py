"""The least noise for a claim (specs/40-privacy.md §5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    if len(shapes) > _FEW:
        few = _Wanted(list(_grouped(shapes)), claim, shares)
        low, high = wanted.around(few.least(low, high), low, high)
    return tuple(map(_added, wanted.blocks(wanted.least(low, high))))


_FEW = 16
"""Blocks up to which each scale is tried on all of them: some forty are."""

_FIRST = 1 << 8
"""How far from what a few blocks say the first scale is tried: what rounding each variance to 24
bits may come to, in numbers of 32."""


def _grouped(shapes: Sequence[Shape]) -> Iterator[Shape]:
    """A few blocks that take nearly the same scale: strengths are as the parts are, so that those
    of a group add up to that of one block with all of their parts."""
    ordered = sorted(shapes, key=lambda shape: (shape.rotated, shape.squared))
    size = -(-len(ordered) // _FEW)
    for at in range(0, len(ordered), size):
        group = ordered[at : at + size]
        yield replace(
            group[len(group) // 2], part=sum((shape.part for shape in group), Fraction(0))
        )


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

    def least(self, low: int, high: int) -> int:
        """The first index that keeps the claim; high, where none before it does."""
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.keeps(middle) else (middle + 1, high)
        return high

    def around(self, guess: int, low: int, high: int) -> tuple[int, int]:
        """Narrower ends about what is looked for, which is near the guess if that is any good; and
        between low and high, as it is."""
        step = _FIRST
        if self.keeps(guess):
            while guess - step > low and self.keeps(guess - step):
                guess, step = guess - step, 16 * step
            return max(low, guess - step), guess
        while guess + step < high and not self.keeps(guess + step):
            guess, step = guess + step, 16 * step
        return guess + 1, min(high, guess + step)

    def blocks(self, index: int) -> list[Block]:
        mantissa, exponent = _scale(index)
        return [
            shape.block(max(MIN_VARIANCE, _rounded_up(weight, mantissa, exponent)), self._shares)
            for shape, weight in zip(self._shapes, self._weights, strict=True)
        ]


def _scale(index: int) -> tuple[int, int]:
    """m and k of the numbers m 2^k of 32 bits, in ascending order; 1 is number 0."""
    exponent, mantissa = divmod(index, 1 << (_FINER - 1))
    return mantissa + (1 << (_FINER - 1)), exponent - _FINER + 1


def _index(number: Fraction) -> int:
    """Of the largest of them that is not above."""
    exponent = _exponent(number)
    mantissa = math.floor(_times_power(number, _FINER - 1 - exponent))
    return (exponent - 1 << (_FINER - 1)) + mantissa


def _rounded_up(number: Fraction, times: int = 1, exponent: int = 0) -> float:
    """number times 2^exponent, to 24 bits, which a binary64 has exactly. In whole numbers, as plans
    of many fields ask for it some ten thousand times."""
    over, under = number.numerator * times, number.denominator
    digits = over.bit_length() - under.bit_length() - DIGITS
    over, under = (over, under << digits) if digits >= 0 else (over << -digits, under)
    if over >= under << DIGITS:  # 24 bits before the point, and not 25
        under, digits = 2 * under, digits + 1
    return math.ldexp(-(-over // under), digits + exponent)


def _exponent(number: Fraction) -> int:
    """e of 2^e <= number < 2^(e + 1)."""
    guess = number.numerator.bit_length() - number.denominator.bit_length()
    return guess if number >= _times_power(Fraction(1), guess) else guess - 1


def _times_power(number: Fraction, exponent: int) -> Fraction:
    return number * (1 << exponent) if exponent >= 0 else number / (1 << -exponent)
