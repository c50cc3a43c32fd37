"""Pictures of a table: each measure against epsilon, a line for everybody who may add noise."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from secagg.errors import MissingExtra
from secagg.frontier.table import points
from secagg.frontier.training import Row

MEASURES = {
    "accuracy": "accuracy on test images",
    "worst_class": "accuracy of the worst class",
    "worst_subgroup": "accuracy of the worse subgroup",
    "bytes_up": "bytes that a client sends in a round",
    "seconds": "seconds of a training",
}
_COLOURS = {"none": "0.35", "central": "C1", "distributed": "C0", "local": "C3"}
_STYLES = ("-", "--", ":", "-.")
_LOGARITHMIC = ("bytes_up", "seconds")


def plots(rows: Sequence[Row]) -> dict[str, bytes]:
    """By name of a file, PNG pictures, of each measure that the rows have; bars are one deviation
    of the seeds. Raises MissingExtra without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise MissingExtra(
            "plots are drawn with matplotlib, which is not installed: pip install 'secagg[bench]'"
        ) from missing
    drawn = {}
    for measure, words in MEASURES.items():
        if any(row[measure] is not None for row in rows):
            figure = Figure(figsize=(6, 4), layout="constrained")  # not pyplot: no display
            _draw(figure.subplots(), points(rows), measure, words)
            written = io.BytesIO()
            figure.savefig(written, dpi=100, format="png", metadata={"Software": None})
            drawn[f"{measure}.png"] = written.getvalue()
    return drawn


def _draw(axes: Any, found: Sequence[dict[str, Any]], measure: str, words: str) -> None:
    widths = sorted({point["bits"] for point in found})
    for trust in dict.fromkeys(point["trust"] for point in found):
        for width, style in zip(widths, _STYLES * len(widths), strict=False):
            mine = [one for one in found if one["trust"] == trust and one["bits"] == width]
            look = {"color": _COLOURS[trust], "linestyle": style}
            label = trust if len(widths) == 1 else f"{trust}, {width} bits"
            if trust == "none":
                for one in mine:
                    axes.axhline(one[measure], label=label, **look)
            elif mine:
                bars = [one["spread"] for one in mine] if measure == "accuracy" else None
                xs, ys = [one["epsilon"] for one in mine], [one[measure] for one in mine]
                axes.errorbar(xs, ys, bars, marker="o", capsize=3, label=label, **look)
    axes.set(xscale="log", xlabel="epsilon, over all rounds", ylabel=words)
    if measure in _LOGARITHMIC:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1)
    ticks = sorted({point["epsilon"] for point in found} - {None})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
