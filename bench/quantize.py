"""How fast are floats rounded to levels, and levels turned back into floats?

From d float32 values to int64 levels and back to float64, checks for NaN and the count of clipped
values included. Stochastic rounding draws from a CSPRNG here, from numpy's global Mersenne Twister
at Flower; `bits` is such that both have the same step. Ratios: Flower's quantize / ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench import flower
from bench.common import Missing, Ratio, Row, Selection, main, pick
from secagg.fields import ROUNDINGS, FixedPoint
from secagg.quantize import dequantize, quantize

NAME = "quantize"

D, CLIP, BITS = 1_000_000, 8.0, 22
CASE = {"d": D, "bits": BITS}
"""What the ratios are of. Flower has 2^22 levels from -clip to clip, as has a field of 22 bits."""


def rows(selection: Selection) -> Iterator[Row]:
    cases = selection.cases([CASE | {"rounding": rounding} for rounding in ROUNDINGS])
    for case in cases:
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    return {rounding: _ratio(pick(rows, **CASE, rounding=rounding)) for rounding in ROUNDINGS}


def _ratio(row: Row | None) -> Ratio:
    if row is None:
        return Missing(f"needs the row d={D},bits={BITS}")
    if row["flower_quantize"] is None:
        return Missing(row["flower_reason"])
    return float(row["flower_quantize"] / row["quantize_seconds"])


def _row(d: int, bits: int, rounding: str) -> Row:
    field = FixedPoint(d, CLIP, bits, next(r for r in ROUNDINGS if r == rounding))
    values = np.random.default_rng(0).uniform(-CLIP, CLIP, d).astype(np.float32)
    levels, _ = quantize(values, field, os.urandom)
    back = dequantize(levels, field.step)
    works = {
        "quantize": lambda: quantize(values, field, os.urandom),
        "dequantize": lambda: dequantize(levels, field.step),
    }
    taken, theirs = flower.in_turns(
        works, "quantize", "quantize", "dequantize", d=d, clip=CLIP, levels=1 << BITS
    )
    return {
        "d": d,
        "bits": bits,
        "rounding": rounding,
        "quantize_seconds": taken["quantize"].cpu,
        "dequantize_seconds": taken["dequantize"].cpu,
        "max_abs_error": float(np.abs(back - values).max()),
        "error_bound": field.max_error,
        **theirs,
    }


if __name__ == "__main__":
    main(NAME)
