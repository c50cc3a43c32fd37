"""Schemas and plans (02-quantization.md §3-§5, 01-wire.md §4).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from blocks import Cursor, H, Refused, lane_of, u32
from planning import accepted, whole


def step(field: Any) -> float:
    return float(field["clip"] / (2 ** (field["bits"] - 1) - 1))


def spread(field: Any, clients: int, max_weight: int) -> float:
    return float(2 * clients * max_weight * (2 ** (field["bits"] - 1) - 1) * step(field))


@dataclass
class Schema:
    fields: list[tuple[str, Any]]
    clients: int
    max_weight: int

    @property
    def places(self) -> dict[str, tuple[int, int, int]]:
        """name -> (width, start, length), in plan order."""
        used: dict[int, int] = {}
        places = {}
        for name, field in self.fields:
            width = self.width(field)
            places[name] = (width, used.get(width, 0), field["length"])
            used[width] = used.get(width, 0) + field["length"]
        return places

    def width(self, field: Any) -> int:
        each = field.get("max") or (2 ** (field["bits"] - 1) - 1) * self.max_weight
        width = math.ceil(math.log2(2 * self.clients * each + 1) - 1e-9)
        while 2 ** (width - 1) <= self.clients * each:  # math.log2 is not exact
            width += 1
        if width > 64:
            raise Refused("HeadroomError", "02 §3")
        if "clip" in field and spread(field, self.clients, self.max_weight) == math.inf:
            raise Refused("HeadroomError", "02 §3.4")
        return width

    @property
    def segments(self) -> list[tuple[int, int]]:
        widths = sorted({place[0] for place in self.places.values()})
        data = {w: sum(p[2] for p in self.places.values() if p[0] == w) for w in widths}
        data[widths[-1]] += self.max_weight > 1
        return [(w, data[w] + -(-32 // w)) for w in widths]

    def check_counts(self, vector: Sequence[Sequence[int]], contributors: int) -> None:
        for (width, _), lane in zip(self.segments, vector, strict=True):
            counts = math.ceil(32 / width)
            if set(lane[-counts:]) != {contributors}:
                raise Refused("IntegrityError", "§11")


def parse_schema(cursor: Cursor, clients: int) -> Schema:
    max_weight = cursor.int(4)
    fields = []
    for _ in range(cursor.count(1024)):
        name = cursor.prefixed(255)
        kind, length = cursor.int(1), cursor.int(4)
        if kind == 2:
            field: dict[str, Any] = {"length": length, "max": cursor.int(8)}
            if field["max"] >= 2**63:
                raise Refused("HeadroomError")
        elif kind == 1:
            clip = struct.unpack(">d", cursor.take(8))[0]
            field = {"length": length, "clip": clip, "bits": cursor.int(1)}
            field["rounding"], field["excess"] = cursor.int(1), cursor.int(1)
            if max(field["rounding"], field["excess"]) > 1:
                raise Refused("WireError")
            if not (2 <= field["bits"] <= 32 and 0 < clip < math.inf):
                raise Refused("ParameterError")
            if not step(field) > 2.0**-1024:
                raise Refused("ParameterError", "02 §4.1")
            if spread(field, 1, 1) == math.inf:
                raise Refused("HeadroomError", "02 §3.4")
        else:
            raise Refused("WireError")
        if length < 1 or not name or any(not 0x20 <= c <= 0x7E for c in name):
            raise Refused("ParameterError")
        fields.append((name.decode(), field))
    if "clipped" in dict(fields):  # 02 §5.8
        elements = sum(field["length"] for _, field in fields if "clip" in field)
        if elements < 1 or fields[-1] != ("clipped", {"length": 1, "max": elements}):
            raise Refused("ParameterError", "02 §5.8")
    if not fields or len({name for name, _ in fields}) != len(fields) or max_weight < 1:
        raise Refused("ParameterError")
    schema = Schema(fields, clients, max_weight)
    if any(length * lane_of(width) // 8 > 2**36 for width, length in schema.segments):
        raise Refused("ParameterError", "02 §5.9")
    return schema


@dataclass
class Plan:
    protocol: str
    schema: Schema
    params: list[int]
    digest: bytes
    corrupted: int
    structure: list[bytes]


SECTIONS = {1: 17, 2: 16, 3: 2**19, 4: 2**10, 6: 2**17}
"""number -> limit of its body"""


def parse_sections(cursor: Cursor) -> dict[int, bytes]:
    """01-wire.md §4.1 and §4.2: all of them, before any body is read."""
    bodies: dict[int, bytes] = {}
    while cursor.left or 4 not in bodies:
        number = cursor.int(1)
        if number not in SECTIONS:
            raise Refused("BadTag")
        if number <= max(bodies, default=0) or {1, 2, 3, 4} & set(range(number)) - set(bodies):
            raise Refused("WireError")
        bodies[number] = cursor.prefixed(SECTIONS[number])
    return bodies


def parse_threat(body: bytes) -> tuple[int, Fraction, bool, int]:
    cursor = Cursor(body)
    clients, corrupt = cursor.int(4), _fraction(cursor)
    active, roster = cursor.int(1), cursor.int(4)
    cursor.end()
    if active > 1:
        raise Refused("WireError")
    return clients, corrupt, bool(active), roster


def parse_liveness(body: bytes) -> tuple[Fraction, int, int]:
    cursor = Cursor(body)
    parsed = _fraction(cursor), cursor.int(4), cursor.int(4)
    cursor.end()
    return parsed


def parse_structure(body: bytes | None) -> list[bytes]:
    if body is None:
        return []
    if not body:
        raise Refused("WireError")
    cursor, digests = Cursor(body), []
    while cursor.left:
        digests.append(cursor.take(16))
    return digests


def tensor(place: int, field: str, name: str, shape: Sequence[int], dtype: str) -> bytes:
    """01-wire.md §4.9"""
    sizes = b"".join(u32(size) for size in shape)
    return H("tensor", place, field.encode(), name.encode(), sizes, dtype.encode())[:16]


def parse_plan(data: bytes, pinned: bool = False) -> Plan:
    if len(data) > 2**19:
        raise Refused("TooLarge")
    cursor = Cursor(data)
    if (cursor.int(1), cursor.int(1)) != (2, 1):
        raise Refused("UnknownVersion")
    protocol = cursor.prefixed(64).decode("latin-1")
    bodies = parse_sections(cursor)
    clients, corrupt, active, roster = parse_threat(bodies[1])
    dropout, liars, asked = parse_liveness(bodies[2])
    if not 1 <= clients <= 2**20 or max(corrupt, dropout) >= 1 or asked > clients:
        raise Refused("ParameterError")
    if not clients <= roster or liars > clients:
        raise Refused("ParameterError")
    fields = Cursor(bodies[3])
    schema = parse_schema(fields, clients)
    fields.end()
    structure, encoded = parse_structure(bodies.get(6)), bodies[4]
    corrupted, dropped = min(clients, whole(corrupt, roster)), whole(dropout, clients)
    if protocol == "additive":
        params = _integers(encoded, 4, 1, 4, 1)
        if params[3] > 1:
            raise Refused("WireError")
        fewest, smallest = max(3, corrupted + 2), asked or clients - dropped
        safe = params in [[clients, m, smallest, direct] for m in range(2, 17) for direct in (0, 1)]
        safe = safe and fewest <= min(smallest, clients - dropped) and not active and not liars
    elif protocol == "plainsum":
        params = _integers(encoded, 4, 4)
        if not pinned:
            raise Refused("PolicyRefused")
        safe = params == [clients, asked or max(1, clients - dropped)] and not liars
    elif protocol in ("secagg", "secagg+"):
        params = _integers(encoded, 4, 4, 4, 4, 4)
        safe = params[0] == clients and accepted(
            protocol, params, corrupt, dropout, active, asked, roster, liars
        )
    else:
        raise Refused("ParameterError")
    if not safe:
        raise Refused("ParameterError", "§10")
    _ = schema.segments  # head-room
    return Plan(protocol, schema, params, H("plan", data), corrupted, structure)


def _integers(encoded: bytes, *sizes: int) -> list[int]:
    """10-secagg.md §10, 11-plainsum.md §2, 20-additive.md §2"""
    cursor = Cursor(encoded)
    integers = [cursor.int(size) for size in sizes]
    cursor.end()
    return integers


def _fraction(cursor: Cursor) -> Fraction:
    above, below = cursor.int(4), cursor.int(4)
    if below == 0 or math.gcd(above, below) != 1:
        raise Refused("WireError")
    return Fraction(above, below)
