"""What the sums of a `serve` have told, in a file of its operator (40-privacy.md §9.17)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from secagg.budget import Budget, Spending
from secagg.cli import private
from secagg.cli.output import warn
from secagg.errors import ParameterError
from secagg.plans.plan import Plan

if TYPE_CHECKING:
    from secagg.party import Aggregate  # which loads the compiler


class Told:
    """Made by `checked`, and entered before the first round; without a file it keeps nothing."""

    def __init__(self, file: Path | None, plan: Plan) -> None:
        self._file, self._plan = file, plan
        self._files = ExitStack()
        self._budget: Budget | None = None
        self._spent: Spending | None = None
        self._rounds = 0

    @classmethod
    def checked(cls, file: Path | None, plan: Plan) -> Told:
        """Raises ParameterError where there is no such budget, and PolicyRefused or ParameterError
        for a plan of which it cannot count what is told."""
        if file is None:
            return cls(None, plan)
        if plan.privacy is None:
            raise ParameterError(
                "--budget is of what noise leaves to be told, and this plan has none: its sums are "
                "exact; --epsilon, --delta and --norm give it noise"
            )
        with Budget(file) as budget:
            budget.counting.disclosure(plan)
        return cls(file, plan)

    def __enter__(self) -> Self:
        if self._file is not None:
            self._budget = self._files.enter_context(Budget(self._file))
            self._spent = self._budget.spending()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def record(self, total: Aggregate) -> None:
        """Before anybody is told. Raises StorageError: then nothing may be."""
        if self._budget is None:
            return
        self._spent = self._budget.record(self._plan, total.count)
        self._rounds = self._budget.charged(self._plan)
        if self._spent.spent > self._spent.epsilon:
            warn(
                f"what was told has an epsilon of {self._spent.spent:.4g} by now, and its budget "
                f"is {self._spent.epsilon:g}: nothing is refused here"
            )

    def label(self, total: Aggregate | None) -> dict[str, object] | None:
        """The sum's, with how many of the plan's rounds are spent."""
        found = private.of_sum(total)
        if found is None or self._budget is None or self._plan.privacy is None:
            return found
        planned, warnings = self._plan.privacy.rounds, found["warnings"]
        if self._rounds > planned and isinstance(warnings, tuple):
            more = f"{self._rounds} rounds of this plan were told, and its noise is for {planned}"
            found["warnings"] = (more, *warnings)
        return {**found, "rounds_spent": self._rounds}

    def figures(self) -> dict[str, Any] | None:
        """Of all sums that were ever recorded there; None without a file."""
        return None if self._spent is None else self._spent.as_dict()


def lines(figures: object) -> dict[str, object]:
    """The figures for a person."""
    if not isinstance(figures, dict):
        return {}
    sums = figures["charged"]
    by = f"{sums} sum{'s' * (sums != 1)}, at delta {figures['delta']:g}"
    return {"told": f"epsilon {figures['spent']:.4g} of {figures['epsilon']:g} by {by}"}
