"""The least sum that a server can have, over all views: `python -m specs.models.views [MOST]`.

For n up to MOST clients (7), every A <= n/3 and every threshold, with rule (i): the quorum of the
plan. With rule (ii) besides, no sum has fewer than t - A honest inputs; without it some have one.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Theory of operation.
#
# The complete graph, one session. With 2q > n + A only one (U2, U3) is ever answered to
# (specs/models/lemmas.py proves it), and what more a client answers tells the server more; so all
# who sign it answer, and the other honest clients are anything: shown any U2 with themselves in it,
# or none. Which honest clients are what differs by their numbering alone, so these come in order:
# those who answer, others of U3, others of U2, the rest. All else is tried: how many there are of
# each, how many corrupt clients are in U2 and in U3, and each U2 of each that does not answer. A
# view is judged once for all thresholds that it meets, by the same linear algebra as in game.py,
# written anew for this case: masks that the server lacks connect vectors, or spoil them.


@dataclass(frozen=True, slots=True)
class Least:
    """Of one n and A: the fewest honest inputs of a sum by threshold, and the views judged."""

    by_threshold: dict[int, int]
    views: int


def quorum(clients: int, corrupt: int) -> int:
    return (clients + corrupt) // 2 + 1


def least(clients: int, corrupt: int) -> Least:
    honest = clients - corrupt
    best = dict.fromkeys(range(corrupt + 1, clients + 1), honest + 1)
    views = 0
    for shape in _shapes(clients, corrupt):
        for given in itertools.product(*(_own(i, clients) for i in range(shape.answer, honest))):
            views += 1
            fewest, size = _smallest(shape, honest, given)
            most = min(shape.answer + corrupt, shape.survivors.bit_count(), size)
            for threshold in range(corrupt + 1, most + 1):
                best[threshold] = min(best[threshold], fewest)
    return Least({t: few for t, few in best.items() if few <= honest}, views)


@dataclass(frozen=True, slots=True)
class _Shape:
    """answer: how many do, clients 0 and on. survivors, sharers: U3 and U2 that they answer to."""

    answer: int
    survivors: int
    sharers: int


def _shapes(clients: int, corrupt: int) -> Iterator[_Shape]:
    honest = clients - corrupt
    for answer in range(1, honest + 1):
        for more in range(honest - answer + 1):
            for dropped in range(honest - answer - more + 1):
                for out in range(corrupt + 1):
                    for lost in range(corrupt - out + 1):
                        u3 = (1 << answer + more) - 1 | _liars(clients, corrupt - out - lost)
                        u2 = (1 << answer + more + dropped) - 1 | _liars(clients, corrupt - out)
                        if answer + corrupt - out - lost >= quorum(clients, corrupt):
                            yield _Shape(answer, u3, u2)


def _liars(clients: int, count: int) -> int:
    return (1 << clients) - (1 << clients - count)


def _own(client: int, clients: int) -> list[int]:
    """What a client that does not answer is shown as U2: 0 if nothing, so that it masks nothing."""
    return [0, *(s for s in range(1 << clients) if s >> client & 1)]


def _smallest(shape: _Shape, honest: int, given: Sequence[int]) -> tuple[int, int]:
    """The smallest sum, honest + 1 if there is none, and the smallest U2 that was shown."""
    everybody = (1 << honest) - 1
    shown = [shape.sharers] * shape.answer + list(given)
    # of the honest clients of U2 that are not in U3 the mask keys are out: no mask of theirs hides
    hiding = everybody & ~(shape.sharers & ~shape.survivors)
    linked = [0] * honest
    spoilt = everybody & ~shape.survivors
    for i, own in enumerate(shown):
        if not own:
            spoilt |= 1 << i
        elif hiding >> i & 1:
            for j in range(honest):
                if j != i and own & hiding & 1 << j:
                    if shown[j] >> i & 1:
                        linked[i] |= 1 << j
                    else:
                        spoilt |= 1 << i
    fewest, rest = honest + 1, everybody
    while rest:
        group, grown = 0, rest & -rest
        while grown != group:
            new, group = grown & ~group, grown
            for j in range(honest):
                if new >> j & 1:
                    grown |= linked[j]
        rest &= ~group
        if not group & spoilt:
            fewest = min(fewest, group.bit_count())
    return fewest, min(own.bit_count() for own in shown if own)


def main(arguments: Sequence[str]) -> int:
    most = int(arguments[0]) if arguments else 7
    good, views = True, 0
    for clients in range(3, most + 1):
        for corrupt in range(clients // 3 + 1):
            began = time.monotonic()
            found = least(clients, corrupt)
            views += found.views
            majority = (clients + corrupt) // 2 + 1
            good = good and all(
                few >= t - corrupt for t, few in found.by_threshold.items() if t >= majority
            )
            table = " ".join(f"{t}:{few}" for t, few in found.by_threshold.items())
            seconds = time.monotonic() - began
            print(
                f"n {clients} A {corrupt}: {found.views:>9,} views {seconds:5.1f} s,"
                f" rule (ii) from t = {majority}; least sum by t: {table}",
                flush=True,
            )
    print(f"{views:,} views; {'never below t - A under both rules' if good else 'BROKEN'}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
