"""Flower and we in turns: what a busy machine does to one, it does to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench import rivals
from bench.common import Row, Timing, interleaved

TURNS = 3


def in_turns(
    works: Mapping[str, Callable[[], object]], task: str, *names: str, **parameters: Any
) -> tuple[dict[str, Timing], Row]:
    """The best of ours, and columns for a row: `flower_NAME`, its least CPU seconds.

    task, names, parameters: of bench/rivals/flower/driver.py, and the figures of it wanted. Where
    Flower cannot be run the columns are None, and `flower_reason` says why.
    """
    ours: list[dict[str, Timing]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(TURNS):
        ours.append(interleaved(works, repeats=4))
        outcome = rivals.flower(task, **parameters)
        if outcome.figures is None:
            absent: Row = {f"flower_{name}": None for name in names}
            return interleaved(works), absent | {"flower_reason": outcome.reason}
        theirs.append(outcome.figures)
    best = {
        name: Timing(min(turn[name].cpu for turn in ours), min(turn[name].wall for turn in ours))
        for name in works
    }
    return best, {f"flower_{name}": min(turn[name]["cpu"] for turn in theirs) for name in names}
