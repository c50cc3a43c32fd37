"""What would do, where a protocol has no parameters for a threat.

A refusal names the next numbers that are not refused, each a change of one of the caller's
arguments alone where one is enough, and each tried before it is named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from secagg.threat import Threat
from secagg.types import MAX_CLIENTS

_MORE_CLIENTS = 200
"""How far to look, or twice as many clients where that is more: a cohort much larger than the one
that was asked about is no help, and each one is tried."""


def remedy(threat: Threat, fits: Callable[[Threat], bool]) -> str:
    """Sentence of what would do, or the empty string where nothing of it does.

    fits: whether a protocol has parameters. It holds for every smaller dropout or corrupt where it
    holds for one, and is cheap.
    """
    first = ""
    found = list(_changes(threat, fits))
    for name in ("dropout", "liars", "corrupt"):  # what costs the least to give up comes first
        if not found and _planned(threat)[name]:
            threat = _with(threat, name, 0)
            first += f"{name}=0 with "
            found = list(_changes(threat, fits))
    if not found:
        return ""
    *most, last = found
    return f"{first}{', '.join(most)} or {last} would do" if most else f"{first}{last} would do"


def _planned(threat: Threat) -> dict[str, int]:
    return {"dropout": threat.dropped, "corrupt": threat.corrupted, "liars": threat.liars}


def _changes(threat: Threat, fits: Callable[[Threat], bool]) -> Iterator[str]:
    n = threat.clients
    for name, count in _planned(threat).items():
        refused = partial(_refused, threat, fits, name)
        fitting = bisect_left(range(count), True, key=refused)
        if fitting:
            yield f"{name}={_said(threat, name, fitting - 1)}"
    most = min(n + max(n, _MORE_CLIENTS), threat.roster or MAX_CLIENTS, MAX_CLIENTS)
    larger = range(n + 1, most + 1)
    clients = next((c for c in larger if fits(replace(threat, clients=c))), None)
    if clients is not None:
        yield f"clients={clients}"


def _refused(threat: Threat, fits: Callable[[Threat], bool], name: str, count: int) -> bool:
    return not fits(_with(threat, name, count))


def _with(threat: Threat, name: str, count: int) -> Threat:
    said: Any = {name: _said(threat, name, count)}
    return replace(threat, **said)


def _said(threat: Threat, name: str, count: int) -> Fraction | int:
    """So many clients, as the argument of that name says it."""
    if name == "liars":
        return count
    return Fraction(count, threat.population if name == "corrupt" else threat.clients)
