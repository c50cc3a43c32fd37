"""Searches the game of game.py whole, in Python alone: `python -m specs.models.explore [NAME ..]`.

The second opinion to Spin, which has the game anew in active.pml: both must find the same number of
states, and it runs where there is no Spin.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from specs.models.game import QUORUM, U2, Rules, State, Step, broken, start, steps
from specs.models.variants import SOUND


@dataclass(frozen=True, slots=True)
class Found:
    """states: seen. claim: the first that is broken, with the steps to it."""

    states: int
    claim: str | None
    steps: tuple[Step, ...] = ()


def explore(rules: Rules) -> Found:
    """Breadth first, so that what is found is as short as can be."""
    first = start(rules)
    before: dict[State, tuple[State, Step] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for one, after in steps(rules, state):
            if after in before:
                continue
            before[after] = state, one
            # only a vector and an answer tell the server anything
            claim = broken(rules, after) if one.kind in (U2, QUORUM) else None
            if claim is not None:
                return Found(len(before), claim, _path(before, after))
            queue.append(after)
    return Found(len(before), None)


def _path(before: dict[State, tuple[State, Step] | None], at: State) -> tuple[Step, ...]:
    path = []
    while (last := before[at]) is not None:
        at, one = last
        path.append(one)
    return tuple(reversed(path))


def main(names: Sequence[str]) -> int:
    good = True
    for name in names or SOUND:
        began = time.monotonic()
        found = explore(SOUND[name])
        verdict = "no error" if found.claim is None else f"BROKEN: {found.claim}"
        seconds = time.monotonic() - began
        print(f"{name:14} {found.states:>9,} states {seconds:6.1f} s  {verdict}", flush=True)
        good = good and found.claim is None
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
