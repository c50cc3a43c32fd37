"""What a client of a plan with privacy contributes, and what a sum says (40-privacy.md §2, §7).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import noise_tables
import plans
import rotation
from blocks import EXPAND, H, Refused

Data = dict[str, Any]
Rows = list[list[Any]]


class Tape:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def draw(self) -> bytes:
        key, self.data = self.data[:32], self.data[32:]
        return key


def do_rotation_seed(plan: str, payload_digest: str, nonce: str) -> Data:
    """§2.9"""
    parsed = plans.parse_plan(bytes.fromhex(plan))
    own = b"" if parsed.protocol == "additive" else bytes.fromhex(nonce)
    return {"seed": H("rotation", parsed.digest, bytes.fromhex(payload_digest), own).hex()}


def do_encode_noisy(plan: str, seed: str, values: dict[str, Rows], randomness: str) -> Data:
    """§2.11; rows: of each unit. Of the randomness, what is not drawn is left."""
    schema, terms = _parts(plan)
    tape, sums = Tape(bytes.fromhex(randomness)), {}
    examples = {len(rows) for rows in values.values()}
    if len(examples) > 1 or max(examples) > terms.examples:
        raise Refused("InputError", "40 §7.7")
    for name, field in schema.fields:
        if name in sums:
            continue
        if schema.joint and "norm" in field:
            sums |= _joint(schema, values, bytes.fromhex(seed), tape)
            continue
        units = [_unit(row, field, bytes.fromhex(seed), tape) for row in values[name]]
        sums[name] = [sum(column) for column in zip(*units, strict=True)] or [0] * field["length"]
    secret = b"" if terms.trust == plans.CENTRAL else tape.draw()
    vector = {width: [1] * length for width, length in schema.segments}
    for number, (name, _) in enumerate(schema.fields):
        width, start, length = schema.places[name]
        numbers = [q % 2**width for q in sums[name]]
        if secret:
            kind, v = schema.noise(name)
            key = EXPAND(secret, "noise", number).hex()
            if kind == noise_tables.RESPONSE:
                vector[width][start] = noise_tables.told(numbers[0], v, key)
                continue
            noisy = noise_tables.do_add_noise(kind, float(v).hex(), key, 0, width, numbers)
            numbers = noisy["elements"]
        vector[width][start : start + length] = numbers
    return {"vector": list(vector.values()), "left": len(tape.data)}


def do_decode_noisy(plan: str, seed: str, vector: list[list[int]], contributors: int) -> Data:
    """§2.7"""
    schema, _ = _parts(plan)
    schema.check_counts(vector, contributors)
    lanes = {width: lane for (width, _), lane in zip(schema.segments, vector, strict=True)}
    levels, sums = {}, {}
    for name, field in schema.fields:
        width, start, length = schema.places[name]
        part = lanes[width][start : start + length]
        levels[name] = [r - 2**width if r >= 2 ** (width - 1) else r for r in part]
        if "norm" in field and not schema.joint:
            step = field["norm"] / rotation.C(field["bits"])
            reals = rotation.rotated_back(
                [float(q) for q in levels[name]], bytes.fromhex(seed), step
            )
            sums[name] = [x.hex() for x in reals]
    if schema.joint:  # §11.3
        whole = [float(q) for name in schema.vectors for q in levels[name]]
        step = 1.0 / rotation.C(schema.joint["bits"])
        reals = rotation.rotated_back(whole, bytes.fromhex(seed), step)
        for name in schema.vectors:
            norm, length = dict(schema.fields)[name]["norm"], len(levels[name])
            sums[name] = [(x * norm).hex() for x in reals[:length]]
            reals = reals[length:]
    for name, _ in schema.fields:
        kind, p = schema.noise(name)
        if kind == noise_tables.RESPONSE:  # §10.3
            less = levels[name][0] - contributors * float(p)
            sums[name] = [(less / (1 - 2 * float(p))).hex()]
    return {"levels": levels, "sums": sums}


def _joint(schema: plans.Schema, values: dict[str, Rows], seed: bytes, tape: Tape) -> Data:
    """§11.2: of each Vector the integers of all units."""
    fields = dict(schema.fields)
    units = []
    for rows in zip(*(values[name] for name in schema.vectors), strict=True):
        whole = [
            float.fromhex(x) / fields[name]["norm"]
            for name, row in zip(schema.vectors, rows, strict=True)
            for x in row
        ]
        if not all(math.isfinite(x) for x in whole):
            raise Refused("RangeError", "40 §11.2")
        units.append(_unit([x.hex() for x in whole], schema.joint, seed, tape))
    sums = [sum(column) for column in zip(*units, strict=True)] or [0] * schema.joint["length"]
    found = {}
    for name in schema.vectors:
        found[name], sums = sums[: fields[name]["length"]], sums[fields[name]["length"] :]
    return found


def _parts(plan: str) -> tuple[plans.Schema, plans.Terms]:
    schema = plans.parse_plan(bytes.fromhex(plan)).schema
    if schema.terms is None:
        raise Refused("ParameterError", "40 §7")
    return schema, schema.terms


def _unit(row: list[Any], field: Any, seed: bytes, tape: Tape) -> list[int]:
    if "norm" in field:
        reals = [float.fromhex(x) for x in row]
        y, _ = rotation.scaled(reals, field["bits"], field["norm"], seed)
        return rotation.rounded(y, plans.square(field), tape.draw)
    if any(abs(x) > field["max"] for x in row):
        raise Refused("RangeError", "02 §4")
    if sum(x * x for x in row) > plans.square(field):
        raise Refused("RangeError", "40 §7.3")
    return row


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
