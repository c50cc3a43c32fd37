"""Randomised response: how often a bit is told wrongly, and what the sum of such bits tells
(specs/40-privacy.md §10).

Each response keeps its epsilon by itself, exactly and without a delta: that is what a plan claims
and its readers decide by. Who sees nothing but the sum of many learns less, since the others'
responses are noise on it. That second figure decides nothing. It is computed in float64 and rounded
up by more than float64 can be wrong, from the very probabilities of sums, for every number of ones
that the others may have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from secagg.dp.exact import precise
from secagg.dp.release import Claim
from secagg.errors import ParameterError
from secagg.noise import MIN_FLIP, Response

Reals = npt.NDArray[np.float64]

MOST_OTHERS = 1 << 14
"""Other honest clients that are counted; more of them only add to what hides a bit."""
_EVERY = 1 << 8
"""Others up to which every number of ones is tried; of more, of as many."""
_TRIED = 1 << 9
"""Numbers of ones that are tried for all probabilities together, or nearly twice as many."""
_KINDS = 1 << 4
"""Probabilities that are told apart."""
_CUT, _LOST = 2.0**-120, 2.0**-104
"""Probabilities that are left out: of one value, and of all together. They are in delta."""
_CARE = 1e-9
"""Of a probability, by which float64 is never wrong here: its errors are below 10^-11, as nothing
is subtracted, and no 1 - p divided by."""
_ORDERS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)


@precise
def flips(parts: Sequence[Fraction], claim: Claim) -> tuple[Response, ...]:
    """Of each field the least binary64 probability with which it takes its part of epsilon at most,
    over all rounds. parts: positive, together 1. Raises ParameterError."""
    found = []
    for part in parts:
        each = Decimal(claim.epsilon) * part.numerator / part.denominator / claim.rounds
        exact = 1 / (1 + each.exp())
        flip = float(exact)
        flip = flip if Decimal(flip) >= exact else math.nextafter(flip, 1)
        if flip >= 0.5:
            raise ParameterError(
                f"epsilon {claim.epsilon:g} in {claim.rounds} rounds and {len(parts)} fields "
                "leaves nothing of a bit: a larger epsilon or fewer rounds would do"
            )
        found.append(Response(max(flip, MIN_FLIP)))
    return tuple(found)


def central(responses: Sequence[Response], rounds: int, honest: int, delta: float) -> float:
    """The epsilon, at that delta, of all sums of all fields together, for who sees no response by
    itself: an upper bound, and of one field in one round the very number to nine digits (§10.5).

    honest: clients in every sum whose responses nobody who looks knows, the one that is protected
    among them. Never above what the responses keep by themselves.
    """
    alone = rounds * math.fsum(map(_epsilon, responses)) * (1 + _CARE)
    others = min(honest - 1, MOST_OTHERS)
    if others < 1:
        return alone
    number = rounds * len(responses)
    delta, each = delta * (1 - _CARE), delta * (1 - _CARE) / number
    responses = _few(responses)
    kinds = set(responses)
    every = min(_EVERY, _TRIED // len(kinds))
    cases = {one: list(_cases(one.flip, others, every)) for one in kinds}
    tight = {one: max(_of_one(case, one.flip, each) for case in cases[one]) for one in kinds}
    found = rounds * math.fsum(tight[one] for one in responses)
    if number > 1:
        found = min(found, _by_divergences(responses, cases, rounds, delta))
    found = max(0.0, found * (1 + _CARE))
    # what is left out, number (1 + e^found) _LOST of delta, is less than care was taken of
    if found >= alone or found + math.log(2 * number) > math.log(_CARE * delta / _LOST):
        return alone
    return found


def _epsilon(response: Response) -> float:
    return math.log((1 - response.flip) / response.flip)


def _few(responses: Sequence[Response]) -> list[Response]:
    """Of no more than _KINDS probabilities: in the place of each the least of its group, of which
    sums tell more, as those of a larger one are made of them (§10.5)."""
    kinds = sorted({one.flip for one in responses})
    if len(kinds) <= _KINDS:
        return list(responses)
    group = {flip: place * _KINDS // len(kinds) for place, flip in enumerate(kinds)}
    least: dict[int, float] = {}
    for flip in kinds:
        least.setdefault(group[flip], flip)
    return [Response(least[group[one.flip]]) for one in responses]


def _cases(flip: float, others: int, every: int) -> Iterator[Reals]:
    """The probabilities of the others' sum, for numbers of ones of which one is at least as bad as
    each that they may have.

    Where not every number is tried, `spare` of the others are left out, so that any number of ones
    contains a number that is tried, and any rest is noise on top (§10.5).
    """
    spare = others // every if others > every else 0
    counted = others - spare
    for ones in sorted({*range(0, counted, max(1, spare)), counted}):
        yield np.convolve(_binomial(ones, flip)[::-1], _binomial(counted - ones, flip))


def _binomial(trials: int, chance: float) -> Reals:
    """P(k) for k from the first to the last that is not cut off: ratios of neighbours, from the
    largest on either way. Where the first stands is left out: it moves all sums alike.

    chance: below 1/2. Backwards it is that of the complement, which float64 may not tell from 1.
    """
    mode = min(trials, int((trials + 1) * chance))
    up = np.arange(mode, trials)
    down = np.arange(mode, 0, -1)
    odds = chance / (1 - chance)
    rising = np.cumprod(np.concatenate([[1.0], (trials - up) / (up + 1) * odds]))
    falling = np.cumprod(down / (trials - down + 1) / odds)
    falling, rising = falling[falling > _CUT], rising[rising > _CUT]
    whole: Reals = np.concatenate([falling[::-1], rising])
    whole /= whole.sum()
    return whole


def _of_one(others: Reals, flip: float, delta: float) -> float:
    """The least epsilon with P(E) <= e^epsilon Q(E) + delta for all sets E, P and Q being the sums
    with a 1 and with a 0, either way round.

    The ratio of P and Q rises with the sum, as that of log-concave neighbours does. So the worst
    sets are all sums from one on, or up to one.
    """
    found = 0.0
    for side in (others, others[::-1]):
        beyond = np.append(np.cumsum(side[:0:-1])[::-1], 0.0)
        true, told = beyond + (1 - flip) * side, beyond + flip * side
        ratio = (true * (1 + _CARE) - delta) / (told * (1 - _CARE))
        found = max(found, math.log(max(1.0, float(ratio.max()))))
    return found


def _by_divergences(
    responses: Sequence[Response],
    cases: dict[Response, list[Reals]],
    rounds: int,
    delta: float,
) -> float:
    """Rényi divergences add up over rounds and fields, as §4.4 has it."""
    worst = {
        one: np.max([_divergences(case, one.flip) for case in found], axis=0)
        for one, found in cases.items()
    }
    total = rounds * sum(worst[one] for one in responses)
    orders = np.array(_ORDERS)
    price = np.log((orders - 1) / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return float((total + price).min())


def _divergences(others: Reals, flip: float) -> Reals:
    padded = np.concatenate([[0.0], others, [0.0]])
    zero = (1 - flip) * padded[1:] + flip * padded[:-1]
    one = flip * padded[1:] + (1 - flip) * padded[:-1]
    ratio = np.log(one / zero)
    found = [
        max(_moment(one, ratio, order), _moment(zero, -ratio, order)) / (order - 1)
        for order in _ORDERS
    ]
    return np.array(found)


def _moment(weights: Reals, ratio: Reals, order: float) -> float:
    """ln of the mean of (P / Q)^(order - 1) under P."""
    powers = (order - 1) * ratio
    top = float(powers.max())
    return top + math.log(float((weights * np.exp(powers - top)).sum()) * (1 + _CARE))
