"""Plots of sweeps: one line for each value of a column. Without matplotlib there is no plot."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.common import Row


def lines(
    rows: Sequence[Row],
    path: Path,
    *,
    x: str,
    y: str,
    by: str,
    title: str,
    xlabel: str = "",
    ylabel: str = "",
    log: bool = False,
) -> Path | None:
    """Draws y over x, a line for each value of `by`, into a PNG file; None if it cannot.

    Rows without one of the three columns, or with None there, are left out. log: both axes.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install 'secagg[bench]' brings matplotlib", file=sys.stderr)
        return None
    full = [row for row in rows if None not in (row.get(x), row.get(y), row.get(by))]
    figure = Figure(figsize=(6, 4), layout="constrained")  # not pyplot: no display, no globals
    axes = figure.subplots()
    for value in sorted({row[by] for row in full}):
        points = sorted((row[x], row[y]) for row in full if row[by] == value)
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{by} = {value}")
    if log:
        axes.set(xscale="log", yscale="log")
    axes.set(title=title, xlabel=xlabel or x, ylabel=ylabel or y)
    axes.grid(True, alpha=0.3)
    if full:
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path
