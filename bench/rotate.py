"""How fast does a vector become integers of a bounded norm, with noise?

From d float32 values, longer than the norm, to a lane of 32 bits: clipped, rotated and rounded with
the exact check of the norm (`encode`), then a share of noise of deviation 1000 (`noise`). `rotate`
is the rotation alone and `decode` the way back of a sum, both with their signs from AES-CTR.

The rival is the rotation of TensorFlow Federated's distributed noise, whose Hadamard one pads to a
power of two, in numpy and single precision as there: halves packed as complex numbers, turned by
random phases, and a Fourier transform of half the size (`numpy_rotate`); and the same with clipping
and stochastic rounding, checked in floats, and without noise (`numpy`). Its phases and uniform
numbers are of PCG64, which is no secure generator.

Ratios are of a million values, numpy's over ours, in CPU seconds. bar: 60 ms over encode and noise.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bench.common import Missing, Ratio, Row, Selection, interleaved, main, pick
from secagg.bounded import unrotate
from secagg.fields import Vector
from secagg.noise import Kind, Noise
from secagg.noisy import add_share, encode_units
from secagg.ring import Ring
from secagg.rotate import rotate
from secagg.types import Seed

NAME = "rotate"

D, BITS, NORM, SIGMA = 1_000_000, 16, 1.0, 1000.0
SIZES = (1 << 16, D, 1 << 20, (1 << 20) + 1)
BAR = 0.060
Singles = npt.NDArray[np.float32]


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases([{"d": d} for d in SIZES]):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    row = pick(rows, d=D)
    if row is None:
        return dict.fromkeys(("rotation", "encoding", "bar"), Missing(f"needs the row d={D}"))
    return {
        "rotation": row["numpy_rotate_seconds"] / row["rotate_seconds"],
        "encoding": row["numpy_seconds"] / row["encode_seconds"],
        "bar": BAR / (row["encode_seconds"] + row["noise_seconds"]),
    }


def _row(d: int) -> Row:
    field, ring, noise = Vector(d, NORM, BITS), Ring(32), Noise(Kind.GAUSSIAN, SIGMA**2)
    values = np.random.default_rng(0).normal(size=d).astype(np.float32)
    lane, reals, sums = np.zeros(d, ring.dtype), values.astype(float), np.ones(d, np.int64)
    seed, secret = os.urandom(32), Seed(os.urandom(Seed.SIZE))
    generator = np.random.Generator(np.random.PCG64())
    taken = interleaved(
        {
            "encode": lambda: encode_units(lane, [("", values)], field, ring, seed, os.urandom),
            "noise": lambda: add_share(lane, noise, ring, secret, 0),
            "rotate": lambda: rotate(reals, seed, 1.0),
            "decode": lambda: unrotate(sums, field, seed),
            "numpy_rotate": lambda: _turned(generator, values),
            "numpy": lambda: _rounded(generator, values, field),
        }
    )
    return {"d": d, "bits": BITS} | {f"{k}_seconds": t.cpu for k, t in taken.items()}


def _turned(generator: np.random.Generator, values: Singles) -> Singles:
    half = -(-values.size // 2)
    packed = np.zeros(half, np.complex64)
    packed.real, packed.imag[: values.size - half] = values[:half], values[half:]
    angles = generator.random(half, np.float32) * np.float32(2 * math.pi)
    packed *= np.cos(angles) + np.complex64(1j) * np.sin(angles)
    return np.fft.fft(packed, norm="ortho").view(np.float32)


def _rounded(
    generator: np.random.Generator, values: Singles, field: Vector
) -> npt.NDArray[np.int32]:
    scale = field.levels / max(float(np.linalg.norm(values)), field.norm)
    turned = _turned(generator, values * np.float32(scale))
    while True:
        below = np.floor(turned)
        rounded = below + (generator.random(turned.size, np.float32) < turned - below)
        if np.linalg.norm(rounded) <= math.sqrt(field.norm_squared):
            return rounded.astype(np.int32)


if __name__ == "__main__":
    main(NAME)
