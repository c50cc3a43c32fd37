"""`secagg budget`: what a client's data have told, and whether the file that says so is whole."""

from __future__ import annotations

import enum
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from secagg.budget import Budget, Verified, verify
from secagg.cli import options, private
from secagg.cli.output import handled, report, rows, warn
from secagg.cli.targets import check_target
from secagg.errors import InputError, ParameterError
from secagg.plans.disclosure import Against as Whom
from secagg.privacy import Unit
from secagg.shown import at_most
from secagg.store.ledger import SqliteLedger


class Action(enum.StrEnum):
    """What to do with a budget."""

    NEW = "new"
    SHOW = "show"
    VERIFY = "verify"


class Against(enum.StrEnum):
    """Whom a budget counts what is told to."""

    SERVER = "server"
    READERS = "readers"


def budget(
    action: Annotated[
        Action,
        typer.Argument(help="Make one; say what is spent; or whether every row is as written."),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A client's secagg.Budget.")],
    anchor: Annotated[
        Path | None,
        typer.Option(
            metavar="LEDGER",
            help="The ledger that the budget is kept with: an older copy is refused.",
        ),
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="With new: of all plans together.")] = None,
    delta: Annotated[float | None, typer.Option(help="With new: of all plans together.")] = None,
    unit: Annotated[
        private.Units | None, typer.Option(help="With new: whose data it counts; client.")
    ] = None,
    against: Annotated[
        Against | None,
        typer.Option(
            help="With new: whom it counts what is told to; server. readers also takes plans whose "
            "server adds the noise."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Make a budget, of a client or of a `serve`, show what it has spent, or verify that nobody has
    changed it.

    All read every row: one that was edited, is missing, or is not the one that the --anchor knows
    is named, and the exit code is 2. `show` and `verify` add nothing to either file.
    """
    with handled(as_json):
        if action is Action.NEW:
            _make(file, anchor, epsilon, delta, unit, against)
        elif (epsilon, delta, unit, against) != (None,) * 4:
            raise ParameterError(
                "--epsilon, --delta, --unit and --against are of a new budget, for good"
            )
        found = _verified(file, anchor)
        answer: dict[str, object] = {
            "file": str(file),
            **found.spending.as_dict(),
            "left": max(0.0, 1.0 - found.spending.used),
            "anchored": found.anchored,
            "note": found.note,
        }
        if action is Action.VERIFY and found.note:
            warn(found.note)
        report(answer, as_json, lambda: rows(_lines(action, found)))


def _make(
    file: Path,
    anchor: Path | None,
    epsilon: float | None,
    delta: float | None,
    unit: private.Units | None,
    against: Against | None,
) -> None:
    if epsilon is None or delta is None:
        raise ParameterError("a new budget has an --epsilon and a --delta")
    check_target(file, "FILE")
    if file.exists():
        raise InputError(f"{file} is there already, and what it knows would be lost")
    check_target(anchor, "--anchor")
    with ExitStack() as stack:
        ledger = None if anchor is None else stack.enter_context(SqliteLedger.open(anchor))
        whose: Unit | None = None if unit is None else unit.value
        whom: Whom | None = None if against is None else against.value
        made = Budget(file, epsilon=epsilon, delta=delta, unit=whose, against=whom, anchor=ledger)
        stack.enter_context(made)


def _verified(file: Path, anchor: Path | None) -> Verified:
    with ExitStack() as stack:
        ledger = None
        if anchor is not None:
            if not anchor.exists():  # opening it would make an empty one, which knows nothing
                raise InputError(f"--anchor {anchor}: there is no such ledger")
            ledger = stack.enter_context(SqliteLedger.open(anchor))
        return verify(file, ledger)


def _lines(action: Action, found: Verified) -> dict[str, object]:
    """For people."""
    spending = found.spending
    whole = {"rows": spending.rows, "head": spending.head.hex()}
    if action is Action.VERIFY:
        known = "not given" if found.anchored is None else f"knows {found.anchored} rows"
        return {"every row": "as written", **whole, "anchor": known}
    by = f" ({spending.accounting})" if spending.accounting else ""
    shown: dict[str, object] = {
        "budget": f"epsilon {spending.epsilon:g} at delta {spending.delta:g}",
        "of": f"one {spending.unit}, against {spending.against}",
        "spent": f"epsilon {at_most(spending.spent, 6)}{by}",
        "left": f"{max(0.0, 1 - spending.used):.2%}",
        "rounds": f"{spending.charged} charged, {spending.refunded} given back",
    }
    for plan in spending.plans:
        name = f"plan {plan.plan.hex()[:16]}"
        shown[name] = f"{plan.charged} rounds, {plan.settled} settled, {plan.trust}"
    return shown | whole
