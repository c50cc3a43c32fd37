"""Noise: what operations on it do to this code, and the scenario."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from secagg.noise import Kind, Noise
from secagg.ring import Ring
from secagg.sampler import MAX_DRAWS, add_noise, field_key, sampler
from secagg.types import Seed

Data = dict[str, Any]
Steps = list[tuple[str, Data]]
Shake = Callable[[str, int], bytes]


def _noise_key(secret: str, field: int) -> Data:
    return {"key": field_key(Seed(bytes.fromhex(secret)), field).hex()}


def _noise_table(kind: int, variance: str) -> Data:
    made = sampler(Noise(Kind(kind), float.fromhex(variance)))
    raw = made.table.astype("<u8").tobytes()
    first = [raw[at : at + 16].hex() for at in range(0, min(64, len(raw)), 16)]
    digest, size = hashlib.sha256(raw).hexdigest(), len(raw) // 16
    factor, digits = made.factor, made.digits
    return {"size": size, "first": first, "digest": digest, "factor": factor, "digits": digits}


def _add_noise(
    kind: int, variance: str, key: str, start: int, width: int, elements: list[int]
) -> Data:
    ring = Ring(width)
    out = np.array(elements, ring.dtype)
    noise = Noise(Kind(kind), float.fromhex(variance))
    add_noise(out, noise, ring, bytes.fromhex(key), start)
    return {"elements": out.tolist()}


ALONE: dict[str, Callable[..., Data]] = {
    "noise_key": _noise_key,
    "noise_table": _noise_table,
    "add_noise": _add_noise,
}

GAUSSIAN, SKELLAM = Kind.GAUSSIAN.value, Kind.SKELLAM.value
NARROW = (2.0**-20, 0.0169, 0.1, 0.25, 1.0, 6.25, 16.0, 4099.7)
NOISES = [
    *((kind, v) for v in NARROW for kind in (GAUSSIAN, SKELLAM)),
    (SKELLAM, 1e6),
    (GAUSSIAN, 2.0**24),
    (GAUSSIAN, 2.0**24 + 4),
    (GAUSSIAN, 1e10),
    (GAUSSIAN, 1e13 / 3),
    (GAUSSIAN, 2.0**60),
]


def steps(shake: Shake) -> Steps:
    secret, key = shake("noise", 32).hex(), shake("noise/key", 32).hex()
    found: Steps = [("noise_key", {"secret": secret, "field": f}) for f in (0, 1, 2**32 - 1)]
    for kind, v in NOISES:
        common = {"kind": kind, "variance": v.hex()}
        found.append(("noise_table", common))
        for start, width in ((0, 64), (3, 20), (MAX_DRAWS - 10, 8)):
            elements = [(i - 3) % 2**width for i in range(10)]
            inputs = {"key": key, "start": start, "width": width, "elements": elements}
            found.append(("add_noise", {**common, **inputs}))
    one = {"kind": SKELLAM, "variance": (1.0).hex(), "width": 16, "elements": [0, 1]}
    found.append(("add_noise", {**one, "key": key, "start": MAX_DRAWS - 1}))
    found.append(("add_noise", {**one, "key": key[2:], "start": 0}))
    wide = {**one, "variance": (2.0**24 + 4).hex()}
    found.append(("add_noise", {**wide, "key": key, "start": 0}))
    return found
