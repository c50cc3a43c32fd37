"""What a sum with noise tells about any one unit's data: the label that goes with a result
(specs/40-privacy.md §8)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from secagg.dp.headroom import WRAP
from secagg.dp.mechanisms import Block
from secagg.dp.release import Loss, loss
from secagg.fields import Vector
from secagg.noise import Kind, Response
from secagg.plans.privacy import blocks
from secagg.privacy import PrivacyTerms
from secagg.schema import Schema
from secagg.shown import at_most, short
from secagg.threat import Threat

HIGH_EPSILON = 10.0
"""From here on the promise is a name only: e^10 is 22,000 times as likely."""
SMALL_COHORT = 30
"""Honest shares below which a few more corrupt clients than planned take most of the noise away."""
MOST_INFLATION = 1.25
"""Of the norm by rounding, from which a bit more per element buys back a fifth of the noise."""

WITHIN_95 = 1.959964
"""Deviations of a Gaussian."""

_WHOLE = 0.75
"""Of responses: with it each of epsilon from 0.05 to 10 and of up to 3,000 clients has 95 %."""

_FLOATS = 2.0**-10
"""Of a whole number of units, by which float64 may have it beside itself."""

REPRODUCIBLE = "the noise of this run is reproducible from its seed"

_NAMES = {
    Kind.GAUSSIAN: "discrete Gaussian",
    Kind.SKELLAM: "Skellam",
    Kind.RESPONSE: "randomised response",
}
_ADJACENCY = {
    "client": "all that one client holds, exchanged for zeros; who took part is public",
    "example": "one example, exchanged for zeros; which clients took part is public",
}
_ADDED = {
    "distributed": "every client adds a share of the noise",
    "central": "the server adds the noise after the sum, which it sees without",
    "local": "every client adds noise that is enough by itself",
}


@dataclass(frozen=True, slots=True)
class PrivacyLabel:
    """The promise of one result, to be stored with whatever is made of it.

    epsilon_server: against whoever has the sum, together with the corrupt clients of the plan, over
    all `rounds`; None where it is the server that adds the noise. epsilon_release: against readers
    of the results who know no more than one client's noise, if every contributor has added its own;
    never more than epsilon_server. Both at `delta`, and neither with amplification by sampling:
    who took part is public, and chosen by whoever is not to be trusted. sigma_total: by
    field, the deviation of the noise in an element of the sum, in the units of the input. n_min:
    the shares of noise that the plan counts on. contributors, honest: the inputs of this sum, and
    those of them that are not counted as corrupt; in a plan, the fewest. wrap_log2: log2 of the
    chance that an element wrapped around. rounds_spent: of the plan's rounds, by this result.

    epsilon_local, epsilon_central: of randomised response, else None. The first is epsilon_server
    too: against whoever sees one client's response, and without any delta. The second is against
    who sees nothing but sums, at `delta`, where `honest` clients are in each.
    """

    unit: str
    adjacency: str
    trust: str
    mechanism: Mapping[str, str]
    accounting: str
    epsilon_server: float | None
    epsilon_release: float
    delta: float
    rounds: int
    sigma_total: Mapping[str, float]
    n_min: int
    contributors: int
    honest: int
    wrap_log2: float
    rounds_spent: int
    warnings: tuple[str, ...]
    statement: str
    epsilon_local: float | None = None
    epsilon_central: float | None = None

    __repr__ = short

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def reproducible(self) -> PrivacyLabel:
        """Of a run whose randomness comes from a seed."""
        return dataclasses.replace(
            self,
            warnings=(f"{REPRODUCIBLE}: it is not private", *self.warnings),
            statement=f"Not private: {REPRODUCIBLE}.",
        )


def label_of(threat: Threat, schema: Schema, contributors: int) -> PrivacyLabel | None:
    """Of a sum of so many inputs; None without privacy."""
    terms = schema.privacy
    if terms is None:
        return None
    counted = terms.trust == "distributed" or terms.responds
    honest = contributors - threat.corrupted if counted else 1
    if terms.responds:
        return _of_responses(threat, schema, terms, contributors, max(1, honest))
    return _of_noise(threat, schema, terms, contributors, honest)


def _of_noise(
    threat: Threat, schema: Schema, terms: PrivacyTerms, contributors: int, honest: int
) -> PrivacyLabel:
    found = _loss(tuple(blocks(schema, max(1, honest))), terms.delta, terms.rounds)
    server = None if schema.central_noise else found.epsilon
    unknown = honest if terms.responds else _unknown(threat, terms, contributors)
    release = _loss(tuple(blocks(schema, max(1, unknown))), terms.delta, terms.rounds)
    return PrivacyLabel(
        unit=terms.unit,
        adjacency=_ADJACENCY[terms.unit],
        trust=terms.trust,
        mechanism={name: _NAMES[noise.kind] for name, noise in schema.noises.items()},
        accounting=found.accounting.value,
        epsilon_server=server,
        epsilon_release=release.epsilon,
        delta=terms.delta,
        rounds=terms.rounds,
        sigma_total=deviations(schema, contributors),
        n_min=terms.honest,
        contributors=contributors,
        honest=honest,
        wrap_log2=math.log2(len(schema.fields)) - WRAP,
        rounds_spent=1,
        warnings=tuple(_warnings(threat, schema, terms, found.epsilon, honest)),
        statement=_statement(terms, found.epsilon, release.epsilon, honest),
    )


def _unknown(threat: Threat, terms: PrivacyTerms, contributors: int) -> int:
    """Shares of noise that a reader does not know, who may be one client of those that are not to
    be trusted (§8.1)."""
    return terms.shares(contributors) - (terms.encoded and threat.corrupted > 0)


def _of_responses(
    threat: Threat, schema: Schema, terms: PrivacyTerms, contributors: int, honest: int
) -> PrivacyLabel:
    """Both figures: what each client is promised by itself, and what sums tell."""
    told = _of_noise(threat, schema, terms, contributors, 1)
    local = told.epsilon_release
    central = min(local, _central(terms, honest))
    return dataclasses.replace(
        told,
        honest=honest,
        epsilon_local=local,
        epsilon_central=central,
        statement=_statement_of_responses(schema, told, central, honest),
    )


@lru_cache(maxsize=256)
def _central(terms: PrivacyTerms, honest: int) -> float:
    from secagg.dp.responses import central  # it computes with arrays

    responses = [one for one in terms.noises if isinstance(one, Response)]
    return central(responses, terms.rounds, honest, terms.delta)


def _statement_of_responses(schema: Schema, told: PrivacyLabel, central: float, honest: int) -> str:
    wrongly = ", ".join(
        f"{name} with probability {noise.number:.4g}" for name, noise in schema.noises.items()
    )
    over = f"over {told.rounds} round{'s' * (told.rounds != 1)}"
    return (
        f"{at_most(told.epsilon_release, 4)}-differential privacy of each client against everybody "
        f"{over} and without any delta, whatever others do: every client tells its own bit "
        f"wrongly, {wrongly}. Against who sees nothing but sums in which {honest} honest clients "
        f"are, it is ({at_most(central, 4)}, {told.delta:g})."
    )


def deviations(schema: Schema, contributors: int) -> dict[str, float]:
    """By field, of the whole noise in one element of a sum, in the units of the input."""
    shares = 1 if schema.privacy is None else schema.privacy.shares(contributors)
    fields = dict(schema.fields)
    return {
        name: math.sqrt(shares * noise.variance) * _step(fields[name])
        for name, noise in schema.noises.items()
    }


def intervals(schema: Schema, contributors: int) -> dict[str, float]:
    """By field, how far an element of a sum is from the one without noise in 95 of 100 sums, in the
    units of the input."""
    reals = {name: field for name, field in schema.fields if isinstance(field, Vector)}
    found = {
        name: _of_reals(schema, reals[name], deviation)
        if name in reals
        else float(within(deviation))
        for name, deviation in deviations(schema, contributors).items()
    }
    told = {n: one for n, one in schema.noises.items() if isinstance(one, Response)}
    return found | {name: half_of(one, contributors) for name, one in told.items()}


def _of_reals(schema: Schema, field: Vector, deviation: float) -> float:
    """Of a Vector, an element is integers, added and taken away, times its step over the root of
    how many they are. So of a few, as of an Integer, whole numbers of that come out; and they are
    computed in float64."""
    width = 1 << schema.whole(field).length.bit_length() - 1
    unit = field.step / math.sqrt(width)
    return max(WITHIN_95 * deviation, unit * (within(deviation / unit) + _FLOATS))


def half_of(response: Response, contributors: int) -> float:
    """How far a debiased number of ones is from the true one in 95 of 100 sums or more, whatever
    the bits are. Responses are whole numbers about a mean that need not be one, and few of them are
    no Gaussian: without _WHOLE it would be 90 of 100 at the worst."""
    spread = math.sqrt(contributors * response.flip * (1 - response.flip))
    return (WITHIN_95 * spread + _WHOLE) / (1 - 2 * response.flip)


def within(deviation: float) -> int:
    """How far a sum of integers is from the one without noise, in 95 of 100 sums: of k as it is
    printed, noise from k - 1/2 to k + 1/2 was rounded to it. Where the noise is narrow, 1.96
    deviations are 78 of 100 at the worst."""
    return max(0, math.ceil(WITHIN_95 * deviation - 0.5))


def _step(field: object) -> float:
    return field.step if isinstance(field, Vector) else 1.0


@lru_cache(maxsize=256)
def _loss(found: tuple[Block, ...], delta: float, rounds: int) -> Loss:
    return loss(found, delta, rounds)


def _statement(terms: PrivacyTerms, epsilon: float, release: float, honest: int) -> str:
    whom = "readers" if terms.trust == "central" else "the server and readers"
    return (
        f"({at_most(epsilon, 4)}, {terms.delta:g})-differential privacy of each {terms.unit} "
        f"against {whom} over {terms.rounds} round{'s' * (terms.rounds != 1)}: "
        f"{_ADDED[terms.trust]}"
        + (f", and {honest} honest ones are counted" if terms.trust == "distributed" else "")
        + "."
        + (f" To readers alone it is {at_most(release, 4)}." if release < epsilon else "")
    )


def _warnings(
    threat: Threat, schema: Schema, terms: PrivacyTerms, epsilon: float, honest: int
) -> Iterator[str]:
    if epsilon > HIGH_EPSILON:
        yield f"epsilon is {epsilon:.3g}: above {HIGH_EPSILON:g} it promises next to nothing"
    units = threat.population * terms.examples
    if terms.delta * units >= 1:
        who = f"{units} who" if terms.unit == "client" else f"{units} examples that"
        yield (
            f"delta {terms.delta:g} is not below one over the {who} may take part: it allows that "
            "one of them is shown whole"
        )
    if threat.roster is not None:
        yield (
            "a round's clients are chosen from more, and that is counted for nothing: whoever "
            "chooses knows who they are"
        )
    if terms.trust == "distributed" and honest < SMALL_COHORT:
        yield (
            f"{honest} honest shares of noise: a few more corrupt clients than planned know much "
            "of it"
        )
    for name, field in schema.fields:
        if isinstance(field, Vector):
            whole = schema.whole(field)
            ratio = math.sqrt(whole.norm_squared) / whole.levels
            if ratio > MOST_INFLATION:
                yield (
                    f"field {name!r}: rounding makes the norm {ratio:.3g} times as large, and the "
                    "noise with it; more bits would do"
                )
