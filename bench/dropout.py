"""What do dropouts cost: whoever drops, at every phase, at several rates and numbers of clients?

Plans for 10 % corrupt and 30 % dropped. A client that never shares keys costs nothing; one that
drops before its masked input costs the server an agreement and a mask for each neighbour that
survived; one that drops after it is part of the sum, and its answer is missed by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from bench import plot, rounds
from bench.common import Missing, Ratio, Row, Selection, main
from secagg.fields import FixedPoint
from secagg.plans import choose

NAME = "dropout"

D, BITS = 10_000, 16
PHASES = ("advertise-keys", "share-keys", "masked-input", "unmask")
GRID = [
    {"protocol": protocol, "n": n, "d": D, "phase": phase, "drop": drop}
    for protocol, n, phase, drop in product(
        ("secagg", "secagg+"), (100, 200, 300), PHASES, (0, 0.1, 0.2, 0.3)
    )
]
"""At 0 the phases do not differ: one row for each is the noise of the others."""


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        plan = choose.plan(
            clients=case["n"],
            fields={"update": FixedPoint(case["d"], 1.0, BITS)},
            corrupt=0.1,
            dropout=0.3,
            protocol=case["protocol"],
        )
        what = f"{case['protocol']}, n = {case['n']}, {case['drop']:.0%} at {case['phase']}"
        yield case | rounds.measure(plan, what, drop=case["drop"], phase=case["phase"])


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    """masked_input: the server's time with most dropped there over its time with nobody dropped,
    in the largest rows of each protocol."""
    return {name: _factor(rows, name) for name in sorted({row["protocol"] for row in rows})}


def _factor(rows: Sequence[Row], protocol: str) -> Ratio:
    ours = [r for r in rows if r["protocol"] == protocol and r["phase"] == "masked-input"]
    largest = max((row["n"] for row in ours), default=0)
    by_drop = {row["drop"]: row["server_ms"] for row in ours if row["n"] == largest}
    if 0 not in by_drop or len(by_drop) < 2:
        return Missing(f"needs rows of {protocol} with phase=masked-input, drop=0 and another")
    return float(by_drop[max(by_drop)] / by_drop[0])


def plots(rows: Sequence[Row], folder: Path) -> None:
    """A picture for each protocol and n: the server's time by rate, a line for each phase."""
    for protocol, n in sorted({(row["protocol"], row["n"]) for row in rows}):
        some = [row for row in rows if (row["protocol"], row["n"]) == (protocol, n)]
        plot.lines(
            some,
            folder / f"dropout-{protocol.replace('+', '-plus')}-{n}.png",
            x="drop",
            y="server_ms",
            by="phase",
            title=f"{protocol}, {n} clients",
            xlabel="share of clients that drop",
            ylabel="server, milliseconds",
        )


if __name__ == "__main__":
    main(NAME)
