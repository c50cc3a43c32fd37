"""Terms of a service, and the plans that follow from them (50-service.md §1).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import planning
import plans
from blocks import Cursor, H, Refused, u32

NAMES = ("secagg", "secagg+")


@dataclass
class Terms:
    data: bytes
    least: int
    most: int
    population: int
    corrupt: Fraction
    dropout: Fraction
    active: bool
    clipped: bool
    asked: int
    protocol: str
    schema: bytes

    @property
    def digest(self) -> bytes:
        return H("terms", self.data)

    @property
    def sizes(self) -> list[int]:
        """Rule 2, by trying each."""
        ends = (self.least, self.most)
        found = range(self.least, self.most + 1)
        return [n for n in found if n in ends or n % 2 ** max(0, n.bit_length() - 6) == 0]

    def parameters(self, n: int, N: int, asked: int = 0) -> tuple[str, list[int]] | None:
        """Rule 5. Of active plans the vectors have those whose protocol is named."""
        lost = (self.corrupt, self.dropout, asked, N, 0)
        if self.active:
            found = planning.chosen_active(self.protocol, n, *lost)
            return None if found is None else (self.protocol, found)
        if not self.protocol:
            return planning.chosen(n, *lost)
        graph = planning.complete if self.protocol == "secagg" else planning.regular
        corrupt = min(Fraction(1), self.corrupt * N / n)
        found = graph(n, corrupt, self.dropout, asked, 0)
        return None if found is None else (self.protocol, found)

    def plan(self, n: int, N: int) -> bytes:
        """Rule 4."""
        if n not in self.sizes or not n <= N <= self.population:
            raise Refused("ParameterError", "50 §1.4")
        found, asked = self.parameters(n, N), 0
        if found is not None and found[1][3] < self.asked:
            asked = self.asked
            found = self.parameters(n, N, asked)
        if found is None:
            raise Refused("ParameterError", "50 §1.3")
        protocol, params = found
        threat = u32(n) + fraction(self.corrupt) + bytes([self.active]) + u32(N)
        liveness = fraction(self.dropout) + u32(0) + u32(asked)
        bodies = (threat, liveness, self.fields(), b"".join(map(u32, params)))
        sections = (bytes([i]) + prefixed(body) for i, body in enumerate(bodies, 1))
        head = bytes([2, 1 + self.active]) + prefixed(protocol.encode())
        return head + b"".join(sections)

    def fields(self) -> bytes:
        """With the lane, 02-quantization.md §5.8."""
        if not self.clipped:
            return self.schema
        number = int.from_bytes(self.schema[4:8])
        _, parsed = plans.parse_fields(Cursor(self.schema))
        elements = sum(field["length"] for _, field in parsed if "clip" in field)
        lane = prefixed(b"clipped") + b"\2" + u32(1) + elements.to_bytes(8)
        return self.schema[:4] + u32(number + 1) + self.schema[8:] + lane


def parse_terms(data: bytes) -> Terms:
    if len(data) > 2**19 + 128:
        raise Refused("TooLarge")
    cursor = Cursor(data)
    if cursor.int(1) != 1 or cursor.int(1) != 1:
        raise Refused("UnknownVersion")
    least, most, population = (cursor.int(4) for _ in range(3))
    corrupt, dropout = plans._fraction(cursor), plans._fraction(cursor)
    active, clipped = cursor.int(1), cursor.int(1)
    if active > 1 or clipped > 1:
        raise Refused("WireError")
    asked, protocol = cursor.int(4), cursor.prefixed(64).decode("latin-1")
    schema = cursor.take(cursor.left)
    max_weight, fields = plans.parse_fields(Cursor(schema))
    if not 1 <= least <= most <= 10_000 or population < most or asked > least:
        raise Refused("ParameterError")
    if max(corrupt, dropout) >= 1 or protocol not in ("", *NAMES):
        raise Refused("ParameterError")
    if "clipped" in dict(fields) or sum(field["length"] for _, field in fields) > 2**32:
        raise Refused("ParameterError")
    terms = Terms(data, least, most, population, corrupt, dropout, bool(active), bool(clipped),
                  asked, protocol, schema)  # fmt: skip
    plans.checked(plans.parse_fields(Cursor(terms.fields())), most)
    if any(terms.parameters(n, population) is None for n in terms.sizes):
        raise Refused("ParameterError", "50 §1.3")
    return terms


def parse_pace(data: bytes) -> dict[str, object]:
    """§2"""
    if len(data) > 23:
        raise Refused("TooLarge")
    cursor = Cursor(data)
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion")
    kind = cursor.int(1)
    if kind not in (12, 13, 14):
        raise Refused("BadTag")
    found: dict[str, object] = {"nonce": cursor.take(16).hex(), "kind": kind}
    if kind == 12:
        found["seconds"] = cursor.int(2)
    if kind == 14:
        found |= {"milliseconds": cursor.int(4), "why": cursor.int(1)}
    if 0 in (found.get("seconds"), found.get("milliseconds")) or found.get("why") in (
        0,
        *range(6, 256),
    ):
        raise Refused("WireError")
    cursor.end()
    return found


def fraction(value: Fraction) -> bytes:
    return u32(value.numerator) + u32(value.denominator)


def prefixed(data: bytes) -> bytes:
    return u32(len(data)) + data
