"""How fast are elements packed at w bits into a message, and unpacked into a running sum?

GB/s of packed bytes, on one thread: they are what a link carries, so a narrow ring is the harder
case, with more elements to the byte. `pack` and `unpack`: the least of the widths that rounds
really use, 16 to 40 bits (16-bit values of up to 10 million clients, 32-bit ones of 128), over
1 GB/s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench import plot
from bench.common import Missing, Ratio, Row, Selection, interleaved, main
from secagg.kernels.pack import SLACK, pack_into, unpack_add
from secagg.ring import MAX_WIDTH, Ring

NAME = "pack"

D = 1_000_000
PRACTICAL = range(16, 41)


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases({"width": w, "d": D} for w in range(1, MAX_WIDTH + 1)):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    practical = [row for row in rows if row["width"] in PRACTICAL]
    if not practical:
        return dict.fromkeys(("pack", "unpack"), Missing("needs a row of width 16 to 40"))
    return {name: min(row[f"{name}_gbs"] for row in practical) for name in ("pack", "unpack")}


def plots(rows: Sequence[Row], folder: Path) -> None:
    both = [
        {"width": row["width"], "gbs": row[f"{name}_gbs"], "kernel": name}
        for row in rows
        for name in ("pack", "unpack")
    ]
    plot.lines(
        both,
        folder / "pack.png",
        x="width",
        y="gbs",
        by="kernel",
        title="Packing, one thread",
        xlabel="bits of an element",
        ylabel="GB/s of packed bytes",
    )


def _row(width: int, d: int) -> Row:
    ring = Ring(width)
    lane = np.random.default_rng(0).integers(0, ring.mask, d, ring.dtype, endpoint=True)
    size, total = ring.packed_size(d), np.zeros_like(lane)
    out = memoryview(bytearray(size + SLACK))
    pack_into(lane, width, out)
    data = bytes(out[:size])
    taken = interleaved(
        {
            "pack": lambda: pack_into(lane, width, out),
            "unpack": lambda: unpack_add(data, width, total),
        },
        repeats=5,
    )
    return {
        "width": width,
        "d": d,
        "pack_seconds": taken["pack"].cpu,
        "unpack_seconds": taken["unpack"].cpu,
        "pack_gbs": len(data) / taken["pack"].cpu / 1e9,
        "unpack_gbs": len(data) / taken["unpack"].cpu / 1e9,
    }


if __name__ == "__main__":
    main(NAME)
