"""`secagg task --clients 5..12`: terms of a task, whose clients a service counts each time."""

from __future__ import annotations

import re
from typing import Any

import typer

from secagg.cli import options, private
from secagg.errors import ParameterError
from secagg.plans.terms import Terms

_NUMBER = re.compile(r"[0-9]{1,9}")
_NOT_OF_TERMS = (
    *("server", "collector", "epoch", "direct", "plan", "members", "payload"),
    *(*private.NAMES, "rounds"),
)
_WHY = (
    "is not of a range of --clients: terms say neither keys, payload nor noise (a payload goes "
    "into the task's table of service.toml)"
)


def parse(clients: str | None) -> int | tuple[int, int] | None:
    """One number, or the ends of a range; None where it was not given. ParameterError."""
    if clients is None:
        return None
    numbers = [part.strip() for part in clients.split("..")]
    if len(numbers) > 2 or not all(_NUMBER.fullmatch(part) for part in numbers):
        raise ParameterError("--clients is a number, or two as in 5..12")
    first, *last = map(int, numbers)
    return (first, last[0]) if last else first


def terms(ctx: typer.Context, clients: tuple[int, int]) -> Terms:
    """Of the options of `secagg task`. Raises ParameterError for those that terms do not have."""
    options.refuse_given(ctx, _NOT_OF_TERMS, _WHY)
    given = options.values(ctx)
    if given["length"] is None:
        raise ParameterError("terms need --length, the elements of a client's vector")
    more: dict[str, Any] = {
        name: given[name] for name in ("corrupt", "dropout", "max_weight", "clipped", "min_clients")
    }
    fields = private.asked(ctx, "rounds")["fields"]
    adversary = options.Threats(given["adversary"]).adversary
    return Terms.of(fields, clients, population=given["roster"], adversary=adversary, **more)


def agreed(made: Terms) -> dict[str, object]:
    """The JSON of `secagg task` of a range, and part of that of `secagg inspect`: the least and the
    most of what its rounds have, with as many chosen from as may be."""
    ends = [made.plan(n, made.population) for n in (made.least, made.most)]
    return {
        "digest": made.digest().hex(),
        "planner": made.planner,
        "clients": {"least": made.least, "most": made.most},
        "population": made.population,
        "corrupt": str(made.corrupt),
        "dropout": str(made.dropout),
        "adversary": made.adversary,
        "thresholds": [one.threshold for one in ends],
        "min_survivors": [one.params.min_survivors for one in ends],
        "upload_bytes": [one.upload_bytes for one in ends],
    }
