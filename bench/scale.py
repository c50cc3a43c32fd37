"""How far does one process go: up to 10,000 clients, and up to 10 million elements?

SecAgg+ with 10 % corrupt and 10 % dropped after share-keys, all clients and the server in this
process; the server's jobs have two threads, the clients compute one after the other. Inputs are
made when a client masks them, and never in memory together. Every row runs in a process of its
own, so that peak_rss is that of its round; the rates for the prediction are measured after it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import plot, rounds
from bench.ccs17 import worst_prediction
from bench.common import Missing, Ratio, Row, Selection, main, pick
from secagg.fields import FixedPoint
from secagg.plans import choose

NAME = "scale"

BITS = 16
SIZES = [(n, 100_000) for n in (100, 300, 1000, 3000, 10_000)]
LENGTHS = [(100, d) for d in (1_000_000, 10_000_000)]
GRID = [{"protocol": "secagg+", "n": n, "d": d, "drop": 0.1} for n, d in SIZES + LENGTHS]
LARGEST = {"n": 10_000, "d": 100_000}

SECONDS, BYTES = 360, 4 << 30
"""The bars for the largest row."""


def rows(selection: Selection) -> Iterator[Row]:
    context = multiprocessing.get_context("spawn")
    for case in selection.cases(GRID):
        with ProcessPoolExecutor(1, mp_context=context) as process:
            yield case | process.submit(_row, case).result()


def _row(case: Row) -> Row:
    plan = choose.plan(
        clients=case["n"],
        fields={"update": FixedPoint(case["d"], 1.0, BITS)},
        corrupt=0.1,
        dropout=0.1,
        protocol=case["protocol"],
    )
    what = f"n = {case['n']}, d = {case['d']:,}"
    measured = rounds.measure(plan, what, drop=case["drop"])
    return measured | rounds.predicted(plan, rounds.rates_of(plan), measured)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    """seconds, memory: of the largest row, ours / the bar; prediction: the largest error."""
    largest = pick(rows, **LARGEST)
    if largest is None:
        absent = Missing("needs the row " + ",".join(f"{k}={v}" for k, v in LARGEST.items()))
        return {"seconds": absent, "memory": absent, "prediction": worst_prediction(rows)}
    peak = largest["peak_rss"]
    return {
        "seconds": largest["seconds"] / SECONDS,
        "memory": peak / BYTES if peak else Missing("the system does not say"),
        "prediction": worst_prediction(rows),
    }


def plots(rows: Sequence[Row], folder: Path) -> None:
    for y, what in (("seconds", "all together, seconds"), ("client_ms", "client, milliseconds")):
        plot.lines(
            rows,
            folder / f"scale-{y.removesuffix('_ms')}.png",
            x="n",
            y=y,
            by="d",
            title="SecAgg+, 10 % dropped",
            xlabel="clients",
            ylabel=what,
            log=True,
        )


if __name__ == "__main__":
    main(NAME)
