"""How fast is a secret of 32 bytes split among n holders, and rebuilt by t of them?

`combine` starts from a set of holders that was not seen before, so it pays for the weights, which
cost t^2 multiplications; `combine_again` is the same set once more, as a server mostly has it. The
ratios compare `combine`, with Flower's combination of t shares: it interpolates anew every time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from bench import flower
from bench.common import Missing, Ratio, Row, Selection, interleaved, main, pick
from secagg import shamir
from secagg.types import Seed

NAME = "shamir"

CASE = {"n": 100, "t": 51}
"""What the ratios are of."""


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases([CASE, {"n": 1000, "t": 667}]):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    row = pick(rows, **CASE) or {"flower_split": None, "flower_reason": "needs the row n=100,t=51"}
    if row["flower_split"] is None:
        return dict.fromkeys(("split", "combine"), Missing(row["flower_reason"]))
    return {name: row[f"flower_{name}"] / row[f"{name}_seconds"] for name in ("split", "combine")}


def _row(n: int, t: int) -> Row:
    secret, holders = Seed(os.urandom(32)), range(1, n + 1)
    shares = dict(zip(holders, shamir.split(secret, t, holders, os.urandom), strict=True))
    some = {x: shares[x] for x in range(n - t + 1, n + 1)}
    if shamir.combine(some, t).expose() != secret.expose():
        raise ArithmeticError("the shares do not give the secret back")

    def anew() -> None:
        shamir.weights.cache_clear()
        shamir.combine(some, t)

    works = {
        "split": lambda: shamir.split(secret, t, holders, os.urandom),
        "combine": anew,
        "combine_again": lambda: shamir.combine(some, t),
    }
    if {"n": n, "t": t} == CASE:
        taken, theirs = flower.in_turns(works, "shamir", "split", "combine", n=n, t=t)
    else:  # Flower would take minutes
        taken, theirs = interleaved(works), {}
    return {
        "n": n,
        "t": t,
        **{f"{name}_seconds": time.cpu for name, time in taken.items()},
        **theirs,
    }


if __name__ == "__main__":
    main(NAME)
