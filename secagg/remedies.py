"""What would do, where a protocol has no parameters for a threat.

A refusal names the next numbers that are not refused, each a change of one of the caller's
arguments alone, and each tried before it is named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

from secagg.types import MAX_CLIENTS, Threat

_MORE_CLIENTS = 1000
"""How far to look: a cohort much larger than the one that was asked about is no help."""


def remedy(threat: Threat, fits: Callable[[Threat], bool]) -> str:
    """Sentence of what would do, or the empty string where nothing of it does.

    fits: whether a protocol has parameters. It holds for every smaller dropout or corrupt where it
    holds for one, and is cheap.
    """
    found = list(_changes(threat, fits))
    if not found:
        return ""
    *most, last = found
    return f"{', '.join(most)} or {last} would do" if most else f"{last} would do"


def _changes(threat: Threat, fits: Callable[[Threat], bool]) -> Iterator[str]:
    n = threat.clients
    for name, planned in (("dropout", threat.dropped), ("corrupt", threat.corrupted)):
        refused = partial(_refused, threat, fits, name)
        fitting = bisect_left(range(planned), True, key=refused)
        if fitting:
            yield f"{name}={Fraction(fitting - 1, n)}"
    larger = range(n + 1, min(n + _MORE_CLIENTS, MAX_CLIENTS) + 1)
    clients = next((c for c in larger if fits(replace(threat, clients=c))), None)
    if clients is not None:
        yield f"clients={clients}"


def _refused(threat: Threat, fits: Callable[[Threat], bool], name: str, count: int) -> bool:
    return not fits(_with(threat, name, count))


def _with(threat: Threat, name: str, count: int) -> Threat:
    fraction = Fraction(count, threat.clients)
    if name == "dropout":
        return replace(threat, dropout=fraction)
    return replace(threat, corrupt=fraction)
