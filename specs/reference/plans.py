"""Schemas and plans (02-quantization.md §3-§5, 01-wire.md §4, 40-privacy.md §7).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import privacy
import rotation
from blocks import Cursor, H, Refused, lane_of, u32
from planning import accepted, accepted_active, whole
from privacy import Block

DISTRIBUTED, CENTRAL, LOCAL = 1, 2, 3
CLIENT, EXAMPLE = 1, 2


def step(field: Any) -> float:
    return float(field["clip"] / (2 ** (field["bits"] - 1) - 1))


def spread(field: Any, clients: int, max_weight: int) -> float:
    return float(2 * clients * max_weight * (2 ** (field["bits"] - 1) - 1) * step(field))


@dataclass
class Terms:
    """Section 5. noises: kind and variance of a share, by field, or group of them (40 §11)."""

    trust: int
    unit: int
    examples: int
    epsilon: float
    delta: float
    rounds: int
    honest: int
    noises: list[tuple[int, Fraction]]

    def check(self) -> None:
        fine = (self.unit == EXAMPLE or self.examples == 1) and 1 <= self.examples <= 2**20
        fine = fine and 0 < self.epsilon < math.inf and 0 < self.delta < 1
        fine = fine and 1 <= self.rounds <= 10**6 and self.honest >= 1
        fine = fine and (self.trust == DISTRIBUTED or self.honest == 1)
        for kind, v in self.noises:
            response = kind == privacy.RESPONSE
            fine = fine and (2.0**-64 <= v < 0.5 if response else 2.0**-20 <= v <= 2.0**60)
        if self.responds:  # 40 §10.1
            fine = fine and (self.trust, self.unit) == (LOCAL, CLIENT)
        privacy.check(fine, "01 §4")

    @property
    def responds(self) -> bool:
        return any(kind == privacy.RESPONSE for kind, _ in self.noises)


@dataclass
class Schema:
    fields: list[tuple[str, Any]]
    clients: int
    max_weight: int
    terms: Terms | None = None

    @property
    def places(self) -> dict[str, tuple[int, int, int]]:
        """name -> (width, start, length), in plan order."""
        used: dict[int, int] = {}
        places = {}
        for name, field in self.fields:
            width = self.width(name, field)
            places[name] = (width, used.get(width, 0), field["length"])
            used[width] = used.get(width, 0) + field["length"]
        return places

    def width(self, name: str, field: Any) -> int:
        width, most = 1, self.most(name, field)
        while 2 ** (width - 1) <= most:
            width += 1
        if width > 64:
            raise Refused("HeadroomError", "02 §3")
        if "clip" in field and spread(field, self.clients, self.max_weight) == math.inf:
            raise Refused("HeadroomError", "02 §3.4")
        return width

    def most(self, name: str, field: Any) -> int:
        """M of 02 §3, and of 40 §6."""
        if self.terms is None:
            each = field.get("max") or (2 ** (field["bits"] - 1) - 1) * self.max_weight
            return int(self.clients * each)
        kind, v = self.noise(name)
        field = self.joint if "norm" in field and self.joint else field
        if kind == privacy.RESPONSE:
            return self.clients
        units = self.clients * self.terms.examples
        shares = 1 if self.terms.trust == CENTRAL else self.clients
        noise = (units, kind, float(v).hex(), shares)
        if "norm" in field:
            return int(privacy.do_vector_bound(field["length"], square(field), *noise)["bound"])
        return int(privacy.do_integer_bound(field["length"], field["max"], *noise)["bound"])

    @property
    def vectors(self) -> list[str]:
        return [name for name, field in self.fields if "norm" in field]

    @property
    def joint(self) -> Any:
        """40 §11.1: all Vectors as one, or nothing."""
        fewer = self.terms is not None and len(self.terms.noises) < len(self.fields)
        if not fewer or len(self.vectors) < 2:
            return None
        fields = [dict(self.fields)[name] for name in self.vectors]
        length = sum(field["length"] for field in fields)
        return {"length": length, "norm": 1.0, "bits": fields[0]["bits"]}

    @property
    def groups(self) -> list[str]:
        """What has a noise of its own: each field; or of all Vectors the first."""
        rest = self.vectors[1:] if self.joint else []
        return [name for name, _ in self.fields if name not in rest]

    def noise(self, name: str) -> tuple[int, Fraction]:
        if self.terms is None:
            raise Refused("ParameterError", "40 §7")
        first = self.vectors[0] if self.joint and name in self.vectors else name
        return self.terms.noises[self.groups.index(first)]

    @property
    def blocks(self) -> list[Block]:
        """40 §7.5"""
        if self.terms is None:
            return []
        found = []
        for name in self.groups:
            field = dict(self.fields)[name]
            field = self.joint if "norm" in field and self.joint else field
            found.append((*self.noise(name), field["length"], square(field), self.terms.honest))
        return found

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


def square(field: Any) -> int:
    """Of the sensitivity: 40 §2.3, §7.3."""
    if "norm" in field:
        return rotation.B(rotation.C(field["bits"]), field["length"])
    exact = Fraction(field["sensitivity"])
    return int(min(math.floor(exact**2 * UP), field["length"] * field["max"] ** 2))


UP = 1 + Fraction(1, 2**50)


Fields = list[tuple[str, Any]]


def parse_schema(cursor: Cursor, clients: int) -> Schema:
    return checked(parse_fields(cursor), clients)


def parse_fields(cursor: Cursor) -> tuple[int, Fields]:
    max_weight = cursor.int(4)
    fields = [_parse_field(cursor) for _ in range(cursor.count(1024))]
    cursor.end()
    return max_weight, fields


def checked(parsed: tuple[int, Fields], clients: int, terms: Terms | None = None) -> Schema:
    max_weight, fields = parsed
    if "clipped" in dict(fields):  # 02 §5.8
        elements = sum(field["length"] for _, field in fields if "clip" in field)
        if elements < 1 or fields[-1] != ("clipped", {"length": 1, "max": elements}):
            raise Refused("ParameterError", "02 §5.8")
    if not fields or len({name for name, _ in fields}) != len(fields) or max_weight < 1:
        raise Refused("ParameterError")
    _check_privacy(fields, max_weight, terms)
    schema = Schema(fields, clients, max_weight, terms)
    if any(length * lane_of(width) // 8 > 2**36 for width, length in schema.segments):
        raise Refused("ParameterError", "02 §5.9")
    return schema


def _parse_field(cursor: Cursor) -> tuple[str, Any]:
    name = cursor.prefixed(255)
    kind, length = cursor.int(1), cursor.int(4)
    if kind not in KINDS:
        raise Refused("WireError")
    field: dict[str, Any] = {"length": length}
    KINDS[kind](cursor, field)
    if length < 1 or not name or any(not 0x20 <= c <= 0x7E for c in name):
        raise Refused("ParameterError")
    return name.decode(), field


def _fixed(cursor: Cursor, field: dict[str, Any]) -> None:
    field["clip"], field["bits"] = double(cursor), cursor.int(1)
    field["rounding"], field["excess"] = cursor.int(1), cursor.int(1)
    if max(field["rounding"], field["excess"]) > 1:
        raise Refused("WireError")
    if not (2 <= field["bits"] <= 32 and 0 < field["clip"] < math.inf):
        raise Refused("ParameterError")
    if not step(field) > 2.0**-1024:
        raise Refused("ParameterError", "02 §4.1")
    if spread(field, 1, 1) == math.inf:
        raise Refused("HeadroomError", "02 §3.4")


def _integer(cursor: Cursor, field: dict[str, Any]) -> None:
    field["max"] = cursor.int(8)
    if field["max"] < 1:
        raise Refused("ParameterError")
    if field["max"] >= 2**63:
        raise Refused("HeadroomError")


def _vector(cursor: Cursor, field: dict[str, Any]) -> None:
    field["norm"], field["bits"] = double(cursor), cursor.int(1)
    fine = 2.0**-500 <= field["norm"] <= 2.0**500 and 2 <= field["bits"] <= 30
    privacy.check(fine and 1 <= field["length"] < 2**30, "40 §2")


def _bounded(cursor: Cursor, field: dict[str, Any]) -> None:
    _integer(cursor, field)
    field["sensitivity"] = sigma = double(cursor)
    privacy.check(field["length"] >= 1 and 1 <= sigma < math.inf, "40 §7.3")
    if square(field) >= 2**64:
        raise Refused("HeadroomError", "40 §7.3")
    privacy.check(Fraction(sigma) ** 2 <= field["length"] * field["max"] ** 2 * UP, "40 §7.3")


KINDS = {1: _fixed, 2: _integer, 3: _vector, 4: _bounded}


def _check_privacy(fields: Fields, max_weight: int, terms: Terms | None) -> None:
    """40 §7, §7.1, §7.5"""
    bounded = ["norm" in field or "sensitivity" in field for _, field in fields]
    if terms is None:
        privacy.check(not any(bounded), "40 §7")
        fixed = any("clip" in field for _, field in fields)
        privacy.check(max_weight == 1 or fixed, "02 §5")
        return
    privacy.check(all(bounded) and max_weight == 1, "40 §7.1")
    privacy.check(all(field["length"] < 2**30 for _, field in fields), "40 §7.1")
    schema = Schema(fields, 1, 1, terms)
    if schema.joint:  # 40 §11.1
        alike = {dict(fields)[name]["bits"] for name in schema.vectors}
        privacy.check(len(alike) == 1 and schema.joint["length"] < 2**30, "40 §11.1")
    privacy.check(len(terms.noises) == len(schema.groups), "40 §7.5")
    for name in schema.groups:
        field, (kind, v) = dict(fields)[name], schema.noise(name)
        if terms.responds:
            bit = (field["length"], field.get("max")) == (1, 1)
            privacy.check(bit and kind == privacy.RESPONSE, "40 §10.1")
            continue
        privacy.check(kind == privacy.kind_of("norm" in field, v), "40 §3.1")


@dataclass
class Plan:
    protocol: str
    schema: Schema
    params: list[int]
    digest: bytes
    corrupted: int
    structure: list[bytes]
    roster: int


SECTIONS = {1: 17, 2: 16, 3: 2**19, 4: 2**10, 5: 9246, 6: 2**17}
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


def parse_privacy(body: bytes | None) -> Terms | None:
    if body is None:
        return None
    cursor = Cursor(body)
    trust, unit = cursor.int(1), cursor.int(1)
    if trust not in (DISTRIBUTED, CENTRAL, LOCAL) or unit not in (CLIENT, EXAMPLE):
        raise Refused("WireError")
    numbers = (cursor.int(4), double(cursor), double(cursor), cursor.int(4), cursor.int(4))
    noises = []
    while cursor.left:
        kind, v = cursor.int(1), double(cursor)
        if kind not in (privacy.GAUSSIAN, privacy.SKELLAM, privacy.RESPONSE):
            raise Refused("WireError")
        noises.append((kind, Fraction(v) if math.isfinite(v) else Fraction(0)))
    terms = Terms(trust, unit, *numbers, noises)
    terms.check()
    return terms


def judge(plan: Plan, active: bool) -> None:
    """40 §7.2, §7.4, §7.5"""
    terms = plan.schema.terms
    if terms is None:
        return
    privacy.check(not active, "40 §7.2")
    several, clear = plan.protocol == "additive", plan.protocol == "plainsum"
    privacy.check(not (terms.trust == CENTRAL and several), "40 §7.4")
    if terms.trust == DISTRIBUTED:
        survivors = plan.params[2 if several else -1]
        privacy.check(not clear and terms.honest <= survivors - plan.corrupted, "40 §7.4")
    privacy.check_claim(terms.epsilon, terms.delta, terms.rounds)
    kept = privacy.accepted(plan.schema.blocks, terms.epsilon, terms.delta, terms.rounds)
    privacy.check(kept != "", "40 §7.5")


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
    version, suite = cursor.int(1), cursor.int(1)
    if version != 2 or suite not in (1, 2):
        raise Refused("UnknownVersion")
    protocol = cursor.prefixed(64).decode("latin-1")
    bodies = parse_sections(cursor)
    clients, corrupt, active, roster = parse_threat(bodies[1])
    dropout, liars, asked = parse_liveness(bodies[2])
    if not 1 <= clients <= 2**20 or max(corrupt, dropout) >= 1 or asked > clients:
        raise Refused("ParameterError")
    if not clients <= roster or liars > clients:
        raise Refused("ParameterError")
    fields = parse_fields(Cursor(bodies[3]))
    schema = checked(fields, clients, parse_privacy(bodies.get(5)))
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
        safe = safe and not active
    elif protocol in ("secagg", "secagg+"):
        signed = len(encoded) == 28  # 13-active-parameters.md P1
        params = _integers(encoded, *[4] * (7 if signed else 5))
        judged = accepted_active if active else accepted
        safe = params[0] == clients and signed == active
        safe = safe and judged(protocol, params, corrupt, dropout, asked, roster, liars)
    else:
        raise Refused("ParameterError")
    if not safe or (suite == 2) != active:
        raise Refused("ParameterError", "§10")
    _ = schema.segments  # head-room
    plan = Plan(protocol, schema, params, H("plan", data), corrupted, structure, roster)
    judge(plan, active)
    return plan


def _integers(encoded: bytes, *sizes: int) -> list[int]:
    """10-secagg.md §10, 11-plainsum.md §2, 20-additive.md §2"""
    cursor = Cursor(encoded)
    integers = [cursor.int(size) for size in sizes]
    cursor.end()
    return integers


def double(cursor: Cursor) -> float:
    return float(struct.unpack(">d", cursor.take(8))[0])


def _fraction(cursor: Cursor) -> Fraction:
    above, below = cursor.int(4), cursor.int(4)
    if below == 0 or math.gcd(above, below) != 1:
        raise Refused("WireError")
    return Fraction(above, below)
