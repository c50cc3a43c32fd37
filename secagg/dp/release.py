"""What a plan's rounds tell, and whether they keep what it claims (specs/40-privacy.md §4)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum

from secagg.arguments import integer, real, settle
from secagg.dp import gaussian, rdp
from secagg.dp.exact import precise
from secagg.dp.mechanisms import SMOOTHINGS, Block, pure, reduced
from secagg.errors import ParameterError
from secagg.noise import Kind
from secagg.types import MAX_CLIENTS

MIN_EPSILON, MAX_EPSILON = 2.0**-20, 1024.0
MIN_DELTA = 2.0**-64
MAX_ROUNDS = 1 << 20

_SEARCHED = 64
"""Blocks up to which a refusal looks for what would do: it tries some forty claims, and who sends a
plan of a thousand fields could have its readers spend seconds on each."""


class Accounting(StrEnum):
    """Which bound says it, by the name that labels show."""

    REDUCTION = "gaussian-reduction"
    """All blocks are randomly rounded from one Gaussian mechanism (§3.4)."""
    GAUSSIAN = "discrete-gaussian-rdp"
    """Rényi divergences of sums of discrete Gaussians (§3.5)."""
    SKELLAM = "skellam-rdp"
    """Rényi divergences of Skellam noise (§3.6)."""
    MIXED = "mixed-rdp"
    """Rényi divergences of both, or of either and responses."""
    RESPONSE = "randomised-response"
    """Ratios of probabilities, which add up; without any delta (§10.2)."""
    RESPONSES = "randomised-response-rdp"
    """Rényi divergences of many responses, in several plans (§10.4)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """(epsilon, delta)-differential privacy over so many rounds, in all of which a unit may be.

    epsilon from 2^-20 to 1024, delta from 2^-64 to below 1, rounds from 1 to 2^20; else
    ParameterError.
    """

    epsilon: float
    delta: float
    rounds: int = 1

    def __post_init__(self) -> None:
        settle(
            self,
            epsilon=real("epsilon", self.epsilon),
            delta=checked_delta(self.delta),
            rounds=checked_rounds(self.rounds),
        )
        if not MIN_EPSILON <= self.epsilon <= MAX_EPSILON:
            raise ParameterError(
                f"epsilon must be from {MIN_EPSILON:.3g} to {MAX_EPSILON:g}, not "
                f"{self.epsilon:g}; from 0.1 to 10 it says something that can be had"
            )


@dataclass(frozen=True, slots=True)
class Loss:
    """epsilon: the least number that is accepted as a claim. accounting: by which bound."""

    epsilon: float
    accounting: Accounting


def checked_delta(delta: object) -> float:
    """A delta that noise without bounds can have. Raises ParameterError."""
    number = real("delta", delta)
    if not MIN_DELTA <= number < 1:
        raise ParameterError(
            f"delta must be from {MIN_DELTA:.3g} to below 1, not {number:g}: this noise has none "
            "of 0, and 1 promises nothing; take less than one over the number of people"
        )
    return number


def checked_rounds(rounds: object) -> int:
    """A number of rounds from 1 to 2^20. Raises ParameterError."""
    return integer("rounds", rounds, 1, MAX_ROUNDS)


def accepts(blocks: Sequence[Block], claim: Claim) -> bool:
    """Whether these blocks, released in each round of the claim, keep it (§4.6).

    The same answer of every implementation: all numbers have 60 digits and more.
    """
    return kept_by(blocks, claim) is not None


@precise
def kept_by(blocks: Sequence[Block], claim: Claim) -> Accounting | None:
    """The bound by which they keep it, if they do: the reduction where it shows it."""
    return _kept_by(blocks, Decimal(claim.epsilon), Decimal(claim.delta), claim.rounds)


@precise
def loss(blocks: Sequence[Block], delta: float, rounds: int = 1) -> Loss:
    """The least epsilon of these blocks at that delta after so many rounds, and what shows it.

    A binary64, rounded up so that it is accepted; it may be 0. Raises ParameterError.
    """
    at, rounds = Decimal(checked_delta(delta)), checked_rounds(rounds)
    epsilon = max(0.0, float(min(_epsilons(blocks, at, rounds))))
    while (accounting := _kept_by(blocks, Decimal(epsilon), at, rounds)) is None:
        epsilon = math.nextafter(epsilon, math.inf)
    return Loss(epsilon, accounting)


def require(blocks: Sequence[Block], claim: Claim) -> None:
    """ParameterError, with what would do, unless `accepts`."""
    if not accepts(blocks, claim):
        raise ParameterError(
            f"the noise does not keep epsilon {claim.epsilon:g} at delta {claim.delta:g} over "
            f"{claim.rounds} rounds{remedy(blocks, claim)}"
        )


def remedy(blocks: Sequence[Block], claim: Claim) -> str:
    """What this noise would do for, as the end of a sentence; or nothing."""
    words = {"epsilon": "epsilon={}", "rounds": "rounds={}", "honest": "{} honest clients"}
    found = [words[name].format(number) for name, number in would_do(blocks, claim).items()]
    return f"; {' or '.join(found)} would do" if found else ""


def would_do(blocks: Sequence[Block], claim: Claim) -> dict[str, float]:
    """For which claim this noise is enough, or among how many: each a change of one number alone,
    and each tried. `epsilon`; `rounds`; `honest`, the shares of noise that are surely in a sum, of
    which there may be more where there are several."""
    found: dict[str, float] = {}
    least = loss(blocks, claim.delta, claim.rounds).epsilon
    if least < MAX_EPSILON:
        found["epsilon"] = _up(max(least, MIN_EPSILON))
    if len(blocks) > _SEARCHED:
        return found
    few = bisect_left(range(1, claim.rounds), True, key=lambda r: not _keeps(blocks, claim, r))
    if few:
        found["rounds"] = few
    shares = min(block.shares for block in blocks)
    honest = range(shares, MAX_CLIENTS + 1 if shares > 1 else shares)
    more = bisect_left(honest, True, key=lambda m: accepts(_shared(blocks, m), claim))
    if more < len(honest):
        found["honest"] = honest[more]
    return found


def _keeps(blocks: Sequence[Block], claim: Claim, rounds: int) -> bool:
    return accepts(blocks, replace(claim, rounds=rounds))


def _shared(blocks: Sequence[Block], shares: int) -> list[Block]:
    return [replace(block, shares=shares) for block in blocks]


def _up(number: float) -> float:
    """As few digits as are read, and no less."""
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(number))


def _kept_by(
    blocks: Sequence[Block], epsilon: Decimal, delta: Decimal, rounds: int
) -> Accounting | None:
    for strength, kappa in _gaussians(blocks, rounds):
        left = epsilon - 2 * kappa
        if left >= 0 and gaussian.delta(left, strength) <= delta * (-kappa).exp():
            return Accounting.REDUCTION
    told = pure(blocks)
    if told is not None:
        return Accounting.RESPONSE if rounds * told <= epsilon else None
    if rdp.epsilon(blocks, delta, rounds) <= epsilon:
        return _renyi(blocks)
    return None


def _epsilons(blocks: Sequence[Block], delta: Decimal, rounds: int) -> Iterator[Decimal]:
    told = pure(blocks)
    if told is not None:
        yield rounds * told
        return
    yield rdp.epsilon(blocks, delta, rounds)
    for strength, kappa in _gaussians(blocks, rounds):
        yield gaussian.epsilon(delta * (-kappa).exp(), strength) + 2 * kappa


def _gaussians(blocks: Sequence[Block], rounds: int) -> Iterator[tuple[Decimal, Decimal]]:
    """(strength, kappa) of all rounds, for each smoothing that every block has room for; none
    where there is a Skellam block."""
    if not all(block.gaussian for block in blocks):
        return
    for smoothing in SMOOTHINGS:
        each = [reduced(block, smoothing) for block in blocks]
        found = [pair for pair in each if pair is not None]
        if len(found) == len(each):
            strengths, kappas = zip(*found, strict=True)
            yield rounds * sum(strengths), rounds * sum(kappas)


def _renyi(blocks: Sequence[Block]) -> Accounting:
    return by_divergences({block.noise.kind for block in blocks})


def by_divergences(kinds: set[Kind]) -> Accounting:
    """The name of the bound, for blocks of these kinds."""
    return _DIVERGENCES[kinds.pop()] if len(kinds) == 1 else Accounting.MIXED


_DIVERGENCES = {
    Kind.GAUSSIAN: Accounting.GAUSSIAN,
    Kind.SKELLAM: Accounting.SKELLAM,
    Kind.RESPONSE: Accounting.RESPONSES,
}
