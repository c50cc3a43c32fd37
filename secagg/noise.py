"""Noise as a value of a plan: which distribution, and how wide one share of it is.

Numbers only. `secagg.dp` says how much is enough and `secagg.sampler` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import TypeAlias

from secagg.arguments import instance, real, settle
from secagg.errors import ParameterError

MIN_VARIANCE, MAX_VARIANCE = 2.0**-20, 2.0**60
"""Of one share. Below, a share is zero but once in a million draws, and a sum of 2^20 of them has
less than one unit; above, a sum of 2^20 shares no longer fits a ring of 64 bits with any signal."""


class Kind(IntEnum):
    """A distribution over the integers, symmetric about 0; its number is what bytes have."""

    GAUSSIAN = 1
    """Discrete Gaussian: P(x) proportional to exp(-x^2 / 2v). Sums of it are nearly of its kind,
    and only where each share is wide (Canonne, Kamath and Steinke 2020; Kairouz et al. 2021)."""
    SKELLAM = 2
    """Poisson(v/2) - Poisson(v/2). Sums of it are exactly of its kind, however narrow a share is
    (Agarwal, Kairouz and Liu 2021)."""
    RESPONSE = 3
    """Randomised response: nothing is added, and a bit is told wrongly with a known probability
    (Warner 1965)."""


@dataclass(frozen=True, slots=True)
class Noise:
    """One share of noise, independent in each element.

    variance: the parameter v of the distribution in units of the integers that it is added to,
    squared; from 2^-20 to 2^60. A share carries its variance and not its deviation, since that is
    what shares add up by, and what Skellam's parameter is. A binary64 is taken for the very
    fraction that it is. Raises ParameterError.
    """

    kind: Kind
    variance: float

    def __post_init__(self) -> None:
        if instance("kind", self.kind, Kind) is Kind.RESPONSE:
            raise ParameterError("a response is no noise that is added: Response(flip) would do")
        variance = real("variance", self.variance)
        if not MIN_VARIANCE <= variance <= MAX_VARIANCE:
            raise ParameterError(
                f"variance must be from {MIN_VARIANCE:g} to {MAX_VARIANCE:g}, not {variance!r}"
            )
        settle(self, variance=variance)

    @property
    def exact(self) -> Fraction:
        """The variance as the fraction that it is."""
        return Fraction(self.variance)

    @property
    def number(self) -> float:
        """What bytes have of it, beside its kind."""
        return self.variance


MIN_FLIP = 2.0**-64
"""So that 128 random bits decide by the very fraction that a binary64 is."""


@dataclass(frozen=True, slots=True)
class Response:
    """One client's bit, told wrongly with probability `flip`, from 2^-64 to below 1/2.

    A binary64 is taken for the very fraction that it is, and the draw decides by that fraction.
    Raises ParameterError.
    """

    flip: float

    def __post_init__(self) -> None:
        flip = real("flip", self.flip)
        if not MIN_FLIP <= flip < 0.5:
            raise ParameterError(f"flip must be from {MIN_FLIP:g} to below 1/2, not {flip!r}")
        settle(self, flip=flip)

    @property
    def kind(self) -> Kind:
        return Kind.RESPONSE

    @property
    def exact(self) -> Fraction:
        """The probability as the fraction that it is."""
        return Fraction(self.flip)

    @property
    def number(self) -> float:
        """What bytes have of it, beside its kind."""
        return self.flip

    @property
    def variance(self) -> float:
        """Of one response after debiasing, (response - p) / (1 - 2p): whatever the bit is."""
        return self.flip * (1 - self.flip) / (1 - 2 * self.flip) ** 2


Share: TypeAlias = Noise | Response
"""What one party does to one field."""


def checked(value: object) -> Share:
    """ParameterError for anything else."""
    return value if isinstance(value, Response) else instance("noise", value, Noise)


def share(kind: Kind, number: float) -> Share:
    """What bytes have, read. Raises ParameterError."""
    return Response(number) if kind is Kind.RESPONSE else Noise(kind, number)
