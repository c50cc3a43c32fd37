"""A norm that follows what clients have (specs/40-privacy.md §12): clip by clip, within the budget.

Nobody knows beforehand how long updates are. Each client says, beside its update, whether that was
within the norm: a number of a field of its own, with its own noise and its own part of the budget.
From the noisy fraction follows the norm of the next round, and so the next plan. Nothing here talks
to anybody: a server's loop gives the results in and takes the plans out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from secagg.arguments import instance, integer, real, settle
from secagg.errors import InputError, ParameterError
from secagg.fields import MAX_NORM, MIN_NORM, Integer, Vector
from secagg.plans.plan import Plan
from secagg.privacy import PrivacyTerms
from secagg.shown import short

if TYPE_CHECKING:
    from secagg.party import Aggregate

NAME = "within"
SCALE = 3
"""What a client says: 3 or -3. Noise is of integers, and a share of it for a 1 would have a
deviation near 1 among 100 clients: too narrow for any noise but Skellam, which is what counts have,
and for that a little dearer than at 3, by 0.05 % of the variance."""


@dataclass(frozen=True)
class AdaptiveNorm:
    """The norm of one round, and how the next follows from its result.

        fields = {"update": secagg.Vector(1970, norm=10.0, bits=16), "within": AdaptiveNorm.BIT}
        norm = AdaptiveNorm(secagg.plan(clients=100, fields=fields, privacy=privacy))
        total = ...                     # of norm.plan, clients giving norm.answer({"update": x})
        norm = norm.after(total)        # its plan is the next round's

    plan: of this round: with privacy of clients, a field `within` that is BIT, and one Vector, or
    several that are joint. quantile: the fraction of clients whose update is to be within the norm,
    above 0 and below 1. rate: of a step, above 0 and at most 4: a norm changes by a factor of
    e^(rate * (quantile - fraction)). done: of the plan's rounds, how many results were given. All
    plans have the same noise in integers, so that the claim of the first is that of all its rounds
    together, whatever the norms were. Source: Andrew et al. 2021; specs/40-privacy.md §12. Raises
    ParameterError.
    """

    plan: Plan
    quantile: float = 0.5
    rate: float = 0.5
    done: int = 0

    BIT: ClassVar[Integer] = Integer(1, max=SCALE, sensitivity=SCALE)

    __repr__ = short

    def __post_init__(self) -> None:
        instance("plan", self.plan, Plan)
        settle(
            self,
            quantile=real("quantile", self.quantile),
            rate=real("rate", self.rate),
            done=integer("done", self.done, 0, self._terms.rounds),
        )
        if not 0 < self.quantile < 1:
            raise ParameterError(f"quantile must be above 0 and below 1, not {self.quantile!r}")
        if not 0 < self.rate <= 4:
            raise ParameterError(f"rate must be above 0 and at most 4, not {self.rate!r}")
        if self._terms.unit != "client":
            raise ParameterError(
                "the norm of an example cannot follow: how many examples are in a sum is not "
                "known; unit='client' would do"
            )
        if dict(self.plan.schema.fields).get(NAME) != self.BIT:
            raise ParameterError(
                f"the plan needs a field {NAME!r} that is AdaptiveNorm.BIT, in which clients say "
                "whether their update was within the norm"
            )
        if len(self._vectors) != 1 and not self.plan.schema.joint:
            raise ParameterError(
                f"the plan has {len(self._vectors)} Vectors, and one norm follows: one Vector "
                "would do, or Privacy(..., joint=True)"
            )

    @property
    def _terms(self) -> PrivacyTerms:
        if self.plan.privacy is None:
            raise ParameterError("the plan has no privacy=, and so no norm")
        return self.plan.privacy

    @property
    def _vectors(self) -> dict[str, Vector]:
        fields = self.plan.schema.fields
        return {name: field for name, field in fields if isinstance(field, Vector)}

    @property
    def norms(self) -> dict[str, float]:
        """Of each Vector, in this round."""
        return {name: field.norm for name, field in self._vectors.items()}

    @property
    def blur(self) -> float:
        """The deviation of the noisy fraction in the smallest sum: how far a norm wanders by noise.
        Near 0.05 a step is as good as without; a larger part of the budget for `within`, or more
        clients, make it less."""
        fewest = self.plan.params.min_survivors
        noise = self.plan.schema.noises[NAME]
        return math.sqrt(self._terms.shares(fewest) * noise.variance) / (2 * SCALE * fewest)

    def answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A client's input with what it says of the norm; nothing is encoded yet.

        values: its other fields, as it gives them to a round. Raises InputError where a Vector's
        field is missing, or is not what it takes, or where `within` is there already.
        """
        if NAME in values:
            raise InputError(f"leave out {NAME!r}: whether an update is within is found here")
        from secagg.cut import within  # it reads arrays, and so loads the compiler
        from secagg.structure import check_same

        said = {**values, NAME: [SCALE]}
        check_same("fields", [name for name, _ in self.plan.schema.given], said)
        if not within(self.plan.schema, said, self.plan.structure):
            said[NAME] = [-SCALE]
        return said

    def fraction(self, total: Aggregate) -> float:
        """Of a round's clients, how many were within, as the noisy result says: from 0 to 1."""
        if set(total.sum) != {name for name, _ in self.plan.schema.fields}:
            raise InputError("the result is of another plan than this norm's")
        said = float(total.sum[NAME][0]) / (SCALE * total.count)
        return min(1.0, max(0.0, (1 + said) / 2))

    def after(self, total: Aggregate) -> AdaptiveNorm:
        """The next round's. Raises InputError for a result of another plan, ParameterError for one
        more than the plan has rounds."""
        if self.done == self._terms.rounds:
            raise ParameterError(
                f"the {self.done} rounds that the plan promises for are over: make a plan of more"
            )
        factor = math.exp(self.rate * (self.quantile - self.fraction(total)))
        schema = self.plan.schema
        fields = tuple((name, _times(field, factor)) for name, field in schema.fields)
        plan = replace(self.plan, schema=replace(schema, fields=fields))
        return replace(self, plan=plan, done=self.done + 1)


def _times(field: Any, factor: float) -> Any:
    if not isinstance(field, Vector):
        return field
    return replace(field, norm=min(MAX_NORM, max(MIN_NORM, field.norm * factor)))
