"""Differential privacy on the command line: of what a plan's one field is then, and what is shown
of a plan and of a sum."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from secagg.cli import options
from secagg.errors import ParameterError
from secagg.fields import Field, FixedPoint, Vector
from secagg.plans.label import label_of
from secagg.plans.plan import Plan
from secagg.privacy import MAX_ROUNDS, Privacy
from secagg.rounds.offer import MAX_DELTA

if TYPE_CHECKING:
    from secagg.party import Aggregate  # which loads the compiler

Found = dict[str, object]


class Units(enum.StrEnum):
    """Whose data may be exchanged for zeros."""

    CLIENT = "client"
    EXAMPLE = "example"


class Trusts(enum.StrEnum):
    """Who adds the noise."""

    DISTRIBUTED = "distributed"
    CENTRAL = "central"
    LOCAL = "local"


Epsilon: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Differential privacy, of all rounds together; with --delta and --norm."),
]
Delta: TypeAlias = Annotated[
    float | None,
    typer.Option(help="With --epsilon: below one over the number of clients, or of examples."),
]
Norm: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="With --epsilon, in the place of --clip: the largest Euclidean norm of a vector; a "
        "longer one is made as short."
    ),
]
Unit: TypeAlias = Annotated[
    Units, typer.Option(help="Whose data is protected: all of a client, or each row of its vector.")
]
Examples: TypeAlias = Annotated[
    int | None, typer.Option(help="With --unit example: the most rows of one client.")
]
Trust: TypeAlias = Annotated[
    Trusts,
    typer.Option(help="Who adds the noise: all clients together, the server, or each by itself."),
]
Rounds: TypeAlias = Annotated[
    int,
    typer.Option(min=1, max=MAX_ROUNDS, help="With --epsilon: how many sums the noise is for."),
]
MaxEpsilon: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Take part in no plan without noise, or whose sums tell the server more than this."
    ),
]
MaxDelta: TypeAlias = Annotated[
    float | None,
    typer.Option(help=f"With --max-epsilon: the largest delta, {MAX_DELTA:g} if not given."),
]
AgreedUnit: TypeAlias = Annotated[
    Units | None,
    typer.Option(
        help="With --max-epsilon: `example` also agrees to plans that promise each example by "
        "itself, and not all of a client."
    ),
]

NAMES = ("epsilon", "delta", "norm", "unit", "examples", "trust")
"""Parameters of every command that makes a plan."""
_ONLY_WITH = "is of a plan with privacy: give --epsilon, --delta and --norm together"


def asked(ctx: typer.Context, rounds: str = "") -> dict[str, Any]:
    """What secagg.plan takes for the one field and its privacy, from the options of a command.

    rounds: the parameter that is of privacy alone, if there is one; else its rounds are the
    command's. Raises ParameterError for options that would change nothing, or lack another.
    """
    given = options.values(ctx)
    if given["epsilon"] is None:
        others = (*NAMES[1:], *([rounds] if rounds else []))
        options.refuse_given(ctx, others, _ONLY_WITH)
        field: Field = FixedPoint(given["length"], given["clip"], given["bits"])
        return {"fields": {"update": field}}
    options.refuse_given(ctx, ("clip",), "bounds elements and no norm: with --epsilon give --norm")
    for name in ("delta", "norm"):
        if given[name] is None:
            raise ParameterError(f"--epsilon needs --{name}: {_MEANT[name]}")
    privacy = Privacy(
        given["epsilon"],
        given["delta"],
        given["rounds"],
        Units(given["unit"]).value,
        Trusts(given["trust"]).value,
        given["examples"],
    )
    field = Vector(given["length"], given["norm"], given["bits"])
    return {"fields": {"update": field}, "privacy": privacy}


_MEANT = {
    "delta": "the chance that the promise fails, below one over the number of clients",
    "norm": "the largest Euclidean norm of a client's vector",
}


def of_plan(plan: Plan) -> Found | None:
    """What its smallest sum tells of one unit, with what the plan claims; None without privacy."""
    terms, label = plan.privacy, label_of(plan.threat, plan.schema, plan.params.min_survivors)
    if terms is None or label is None:
        return None
    return {"epsilon": terms.epsilon, "examples": terms.examples, **label.as_dict()}


def of_sum(total: Aggregate | None) -> Found | None:
    """The label of a sum; None where there is none, and without privacy."""
    return None if total is None or total.privacy is None else total.privacy.as_dict()


def check_rounds(plan: Plan, rounds: int) -> None:
    """ParameterError for more rounds of a command than the noise is for."""
    terms = plan.privacy
    if terms is not None and rounds > terms.rounds:
        raise ParameterError(
            f"--rounds {rounds} are more than the {terms.rounds} that the plan's noise is for: "
            f"plan for {rounds}"
        )


def lines(privacy: object) -> dict[str, object]:
    """For a person: the statement, and each warning; nothing without privacy."""
    if not isinstance(privacy, dict):
        return {}
    mind = {"mind": "; ".join(privacy["warnings"])} if privacy["warnings"] else {}
    return {"privacy": privacy["statement"], **mind}
