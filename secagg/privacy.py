"""Differential privacy as values: what is asked for, and what the parties of a plan agree on.

Numbers only: `secagg.dp` says whether they are true, and `secagg.plans.privacy` makes the second
out of the first (specs/40-privacy.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from secagg.arguments import choice, flag, fraction, instance, integer, kind_of, real, settle
from secagg.errors import ParameterError
from secagg.noise import Response, Share, checked
from secagg.shown import short
from secagg.types import MAX_CLIENTS

Trust = Literal["distributed", "central", "local"]
Unit = Literal["client", "example"]
Mechanism = Literal["noise", "response"]

TRUSTS: tuple[Trust, ...] = ("distributed", "central", "local")
"""Who adds the noise, and so whom it protects from: every client a share, enough in the sum (from
the server and all readers); the server, after the sum (from readers only); every client enough by
itself (from everybody, whatever the others do)."""
UNITS: tuple[Unit, ...] = ("client", "example")
"""Whose data may be exchanged for zeros: all that a client holds, or one of its examples."""
MECHANISMS: tuple[Mechanism, ...] = ("noise", "response")
"""How data are hidden: noise is added to them, or each client tells its one bit wrongly with a
known probability. That is asked for and never chosen for a caller: its promise is of another kind,
which has no delta, and what comes out is no whole number."""

MAX_ROUNDS = 10**6
MAX_EXAMPLES = 1 << 20
"""Of one client."""
_NEAR_ONE = Fraction(1, 10**9)
"""How far parts may be from adding up to 1, as those do that were computed as floats."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """What a plan is asked to promise: (epsilon, delta)-differential privacy.

    epsilon: above 0, over all `rounds` together, for whoever takes part in every one. delta: in
    (0, 1); below one over the number of people. rounds: how many sums are released, 1 to 10^6.
    unit: whose data is protected; of `example`, examples is the most that one client has, and an
    input has a row for each. trust: who adds the noise: `distributed`, `central` or `local`. split:
    which part of the budget each field gets, by its name; equal parts where it is not given. A part
    is of the sum of squared signal-to-noise ratios, of which epsilon is a function, and all parts
    add up to 1, within 10^-9. mechanism: `noise`, or `response`, with trust="local" and fields of
    one bit, `Integer(1, max=1, sensitivity=1)`: each client tells its bit, 0 or 1, wrongly with a
    probability for which epsilon holds without any delta, whatever others do; parts are of epsilon
    itself then, and delta is of the second figure, for who sees the sum only. joint: all Vectors
    of the plan are one, each in units of its norm: together their norm is at most 1, and they have
    one part of the budget, that of all of them; else each is bounded by itself, with its own part.

    Neighbours are data sets of which one unit is exchanged for zeros; how many clients took part
    is public. Source: specs/40-privacy.md. Raises ParameterError.
    """

    epsilon: float
    delta: float
    rounds: int = 1
    unit: Unit = "client"
    trust: Trust = "distributed"
    examples: int | None = None
    split: Mapping[str, Fraction] | None = field(default=None, hash=False)
    mechanism: Mechanism = "noise"
    joint: bool = False

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            **_promised(self.epsilon, self.delta, self.rounds),
            unit=choice("unit", self.unit, UNITS),
            trust=choice("trust", self.trust, TRUSTS),
            mechanism=choice("mechanism", self.mechanism, MECHANISMS),
            joint=flag("joint", self.joint),
        )
        if self.mechanism == "response":
            check_response(self.trust, self.unit)
        if self.unit == "example" and self.examples is None:
            raise ParameterError(
                "unit='example' needs examples=: the most that one client may have"
            )
        if self.unit != "example" and self.examples is not None:
            raise ParameterError(
                f"examples= is of unit='example', and the unit is {self.unit!r}: leave one out"
            )
        if self.examples is not None:
            settle(self, examples=integer("examples", self.examples, 1, MAX_EXAMPLES))
        if self.split is not None:
            settle(self, split=_parts(self.split))

    def parts(self, names: tuple[str, ...]) -> tuple[Fraction, ...]:
        """Of the fields in order, adding up to 1. Raises ParameterError for other fields."""
        if self.split is None:
            return (Fraction(1, len(names)),) * len(names)
        if set(self.split) != set(names):
            raise ParameterError(
                f"split is of other fields than the plan's {', '.join(names)}: name each of these"
            )
        total = sum(self.split.values())  # thirds as floats are a little less than 1
        return tuple(self.split[name] / total for name in names)


@dataclass(frozen=True, slots=True)
class PrivacyTerms:
    """What the parties of a plan agree on: section 5 of its bytes (specs/01-wire.md §4).

    honest: how many shares of noise are in every sum that are known to nobody else: n_min. noises:
    one share of each field in plan order, and where all Vectors are one, of the first of them for
    all; of the central mode the whole; of randomised response
    each field's probability. examples: 1 where the unit is a client. The rest as `Privacy` has it.
    Raises ParameterError.
    """

    trust: Trust
    unit: Unit
    examples: int
    epsilon: float
    delta: float
    rounds: int
    honest: int
    noises: tuple[Share, ...]

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            **_promised(self.epsilon, self.delta, self.rounds),
            unit=choice("unit", self.unit, UNITS),
            trust=choice("trust", self.trust, TRUSTS),
            examples=integer("examples", self.examples, 1, MAX_EXAMPLES),
            honest=integer("honest", self.honest, 1, MAX_CLIENTS),
        )
        if self.unit == "client" and self.examples != 1:
            raise ParameterError("examples is 1 where the unit is a client")
        if self.trust != "distributed" and self.honest != 1:
            raise ParameterError(f"honest is 1 with {self.trust} trust: one share is enough")
        for noise in instance("noises", self.noises, tuple):
            checked(noise)
        if self.responds:
            check_response(self.trust, self.unit)

    @property
    def encoded(self) -> bool:
        """Whether clients add the noise, and not whoever has the sum."""
        return self.trust != "central"

    @property
    def responds(self) -> bool:
        """Whether clients tell bits, some of them wrongly, and add no noise."""
        return any(isinstance(noise, Response) for noise in self.noises)

    def shares(self, clients: int) -> int:
        """How many shares of noise are in a sum of so many inputs."""
        return clients if self.encoded else 1


def check_response(trust: str, unit: str) -> None:
    """specs/40-privacy.md §10.1. Raises ParameterError."""
    if trust != "local":
        raise ParameterError(
            f"mechanism='response' with trust={trust!r}: what a client tells is enough by itself; "
            "trust='local' would do, or mechanism='noise'"
        )
    if unit != "client":
        raise ParameterError(
            "mechanism='response' with unit='example': a response is one bit of a client; "
            "unit='client' would do, or mechanism='noise'"
        )


def _promised(epsilon: float, delta: float, rounds: int) -> dict[str, object]:
    epsilon, delta = real("epsilon", epsilon), real("delta", delta)
    if not epsilon > 0:
        raise ParameterError(f"epsilon must be above 0, not {epsilon!r}")
    if not 0 < delta < 1:
        raise ParameterError(
            f"delta must be between 0 and 1, not {delta!r}: below one over the number of people"
        )
    rounds = integer("rounds", rounds, 1, MAX_ROUNDS)
    return {"epsilon": epsilon, "delta": delta, "rounds": rounds}


def _parts(split: Any) -> dict[str, Fraction]:
    if not isinstance(split, Mapping):
        raise ParameterError(
            f"split maps the name of a field to its part of the budget, and is not {kind_of(split)}"
        )
    # whose parts they are is not said: names are not known to be a plan's yet
    parts = {name: fraction("each part of split", part) for name, part in split.items()}
    if not all(parts.values()):
        raise ParameterError("each part of split must be above 0: without noise is no promise")
    whole = sum(parts.values(), Fraction(0))
    if abs(whole - 1) > _NEAR_ONE:
        raise ParameterError(
            f"the parts of split add up to {float(whole):.10g}, and those of one budget to 1; each "
            f"divided by {float(whole):.10g} has the same ratios"
        )
    return parts
