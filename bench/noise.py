"""How fast is noise drawn, and how long is a table made?

A row is d draws added into a lane of 32 bits (of 64 beyond a deviation of 2^24), with a table that
is there already; `build_seconds` is that of making it, once a process. Two limits are beside it in
the same turns. The AES unit's own (bench.aes_limit) for the 16 bytes of each digit of a draw: what
128 bits a draw cost and no table ever could save. And numpy's PCG64, which is no secure generator:
`normal` rounded to integers for a Gaussian, the difference of two `poisson` for Skellam; the
distributions are those of floats, and what it draws is not added to anything.

Ratios are of the worst row. aes_limit: limit / ours, both in CPU seconds. normal, poisson: numpy's
over ours. narrow, wide: draws a second on one core over 50 million, up to a deviation of 4096, and
over 20 million, of any.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from bench import aes_limit
from bench.common import Missing, Ratio, Row, Selection, interleaved, main, timed
from secagg import mask
from secagg.noise import Kind, Noise
from secagg.ring import Ring
from secagg.sampler import add_noise, sampler

NAME = "noise"

D = 1_000_000
NARROW = 4096.0
GAUSSIAN = (4.0, 64.0, 512.0, NARROW, 1e5, 1e7)
SKELLAM = (0.13, 10.0, NARROW)
BARS = {"narrow": 50e6, "wide": 20e6}


def rows(selection: Selection) -> Iterator[Row]:
    both = (("gaussian", GAUSSIAN), ("skellam", SKELLAM))
    grid = [{"kind": kind, "sigma": s, "d": D} for kind, sigmas in both for s in sigmas]
    for case in selection.cases(grid):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    rows = [row for row in rows if row["d"] == D]
    narrow = [row for row in rows if row["sigma"] <= NARROW]
    gaussian = [row for row in rows if row["kind"] == "gaussian"]
    skellam = [row for row in rows if row["kind"] == "skellam"]
    limits = [row["limit_seconds"] for row in rows]
    if None in limits:
        limit: Ratio = Missing("no AES unit of this machine is used: the backend is OpenSSL's")
    else:
        limit = _worst(row["limit_seconds"] / row["cpu_seconds"] for row in rows)
    return {
        "aes_limit": limit,
        "normal": _worst(row["numpy_seconds"] / row["cpu_seconds"] for row in gaussian),
        "poisson": _worst(row["numpy_seconds"] / row["cpu_seconds"] for row in skellam),
        "narrow": _worst(row["draws_per_second"] / BARS["narrow"] for row in narrow),
        "wide": _worst(row["draws_per_second"] / BARS["wide"] for row in rows),
    }


def _worst(figures: Iterable[float]) -> Ratio:
    return min(figures, default=Missing(f"needs rows of d={D}"))


def _row(kind: str, sigma: float, d: int) -> Row:
    noise, key = Noise(Kind[kind.upper()], float(sigma) ** 2), os.urandom(32)
    ring = Ring(32 if sigma < 1 << 24 else 64)
    build = timed(lambda: sampler.__wrapped__(noise))
    draws, out = sampler(noise), np.zeros(d, ring.dtype)
    unit, generator = mask.chosen_backend(), np.random.Generator(np.random.PCG64())
    works = {
        "ours": lambda: add_noise(out, noise, ring, key),
        "numpy": lambda: _numpy(generator, noise, d),
    }
    if unit != "openssl":
        works["limit"] = lambda: aes_limit.spin(unit)
    taken = interleaved(works)
    limit = None
    if "limit" in taken:
        limit = taken["limit"].cpu / aes_limit.spun(unit) * 16 * draws.digits * d
    return {
        "kind": kind,
        "sigma": sigma,
        "d": d,
        "digits": draws.digits,
        "columns": draws.table.size // 2,
        "build_seconds": build.cpu,
        "cpu_seconds": taken["ours"].cpu,
        "draws_per_second": d / taken["ours"].cpu,
        "limit_seconds": limit,
        "numpy_seconds": taken["numpy"].cpu,
    }


def _numpy(generator: np.random.Generator, noise: Noise, d: int) -> np.ndarray:
    if noise.kind is Kind.GAUSSIAN:
        return np.rint(generator.normal(0, np.sqrt(noise.variance), d)).astype(np.int64)
    half = noise.variance / 2
    return generator.poisson(half, d) - generator.poisson(half, d)


if __name__ == "__main__":
    main(NAME)
