"""What a round of `secagg join` has come to, as JSON and as a line."""

from __future__ import annotations

from secagg.rounds.offer import Outcome
from secagg.rounds.part import SPENT


def figures(outcome: Outcome) -> dict[str, object]:
    """For the answer of the command."""
    return {
        "contributors": outcome.contributors,
        "dropped": outcome.dropped,
        "error": outcome.reason.value if outcome.reason else None,
        "clipped": sum(outcome.clipped.values()),
        "included": outcome.included,
        "why": outcome.why,
        "detail": outcome.detail,
        "spent": outcome.spent,
        "phases": dict(outcome.report.phases),
        "bytes_up": outcome.report.bytes_up,
        "bytes_down": outcome.report.bytes_down,
    }


def line(outcome: Outcome) -> str:
    """For people."""
    number, clipped = outcome.contributors, sum(outcome.clipped.values())
    if outcome.included:
        text = f"in the sum of {number} clients, without {outcome.dropped}"
    elif outcome.reason is None:
        text = f"not in the sum of {number} clients: {outcome.why}"
    else:
        text = f"no sum: {outcome.reason.value}"
    text += f", {clipped} elements clipped" if clipped else ""
    spent = outcome.spent and not outcome.included and outcome.why != SPENT
    return text + (", this input is spent" if spent else "")
