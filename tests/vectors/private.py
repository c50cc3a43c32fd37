"""Plans with privacy: those that are read, and those that nobody takes (40-privacy.md §7)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from secagg import records
from secagg.fields import Field, FixedPoint, Integer, Vector
from secagg.noise import Response
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.privacy import Privacy
from secagg.schema import Schema
from secagg.wire.codec import Reader, Writer

Data = dict[str, Any]
Steps = Iterator[tuple[str, Data]]
Shake = Callable[[str, int], bytes]
Fields = Mapping[str, Field]


def _rotation_seed(plan: str, payload_digest: str, nonce: str) -> Data:
    decoded = Plan.decode(bytes.fromhex(plan))
    return {"seed": decoded.rotation(bytes.fromhex(nonce), bytes.fromhex(payload_digest)).hex()}


def _encode_noisy(
    plan: str, seed: str, values: dict[str, list[list[Any]]], randomness: str
) -> Data:
    schema, data = Plan.decode(bytes.fromhex(plan)).schema, bytearray.fromhex(randomness)

    def draw(size: int) -> bytes:
        drawn = bytes(data[:size])
        del data[:size]
        return drawn

    given = {name: _rows(schema, field, values[name]) for name, field in schema.fields}
    encoded = records.encode(schema, given, 1, draw, (), bytes.fromhex(seed))
    return {"vector": [lane.tolist() for lane in encoded.vector], "left": len(data)}


def _rows(schema: Schema, field: Field, rows: list[list[Any]]) -> Any:
    reals = isinstance(field, Vector)
    numbers = [[float.fromhex(x) if reals else x for x in row] for row in rows]
    array = np.array(numbers, float if reals else np.int64)
    examples = schema.privacy is not None and schema.privacy.unit == "example"
    return array.reshape(-1, field.length) if examples else array[0]


def _decode_noisy(plan: str, seed: str, vector: list[list[int]], contributors: int) -> Data:
    schema = Plan.decode(bytes.fromhex(plan)).schema
    lanes = tuple(
        np.array(lane, segment.group.dtype)
        for lane, segment in zip(vector, schema.layout.segments, strict=True)
    )
    records.check_counts(schema, lanes, contributors)
    found = records.decode(schema, lanes, contributors, bytes.fromhex(seed))
    sums = {
        name: [x.hex() for x in found.sum[name].tolist()]
        for name, field in schema.fields
        if isinstance(field, Vector) or isinstance(schema.noises[name], Response)
    }
    return {"levels": {k: v.tolist() for k, v in found.levels.items()}, "sums": sums}


OPERATIONS: dict[str, Callable[..., Data]] = {
    "rotation_seed": _rotation_seed,
    "encode_noisy": _encode_noisy,
    "decode_noisy": _decode_noisy,
}

UPDATE: Fields = {"update": Vector(1970, norm=1.0, bits=16)}
BARS: Fields = {"bars": Integer(10, 1, sensitivity=1)}
LAYERS: Fields = {
    "narrow": Vector(65, norm=0.1, bits=4),
    "sum": Integer(3, 1 << 40, sensitivity=2.0**30),
    "wide": Vector(64, norm=2.0**-500, bits=30),
}
SPLIT = {"narrow": Fraction(1, 2), "sum": Fraction(1, 5), "wide": Fraction(3, 10)}
UPDATES = Vector(3, 0.1, 30)
JOINT: Fields = {
    "conv": Vector(65, norm=0.1, bits=12),
    "sum": Integer(3, 1 << 40, sensitivity=2.0**20),
    "dense": Vector(30, norm=3.0, bits=12),
    "bias": Vector(1, norm=2.0**-200, bits=12),
}
TOGETHER = Privacy(8, 1e-9, 3, joint=True)
ALONE = Privacy(1, 1e-5, trust="local")
BITS: Fields = {"yes": Integer(1, 1, sensitivity=1), "no": Integer(1, 1, sensitivity=1)}
TOLD = Privacy(2, 1e-6, 3, trust="local", mechanism="response")


def made(
    fields: Fields = UPDATE, asked: Privacy | None = None, clients: int = 100, **threat: Any
) -> Plan:
    return plan(clients=clients, fields=fields, privacy=asked or Privacy(2, 1e-4, 10), **threat)


def good() -> Steps:
    """Of every trust, unit, kind of field and of noise, protocol, and number of survivors; and with
    noise off the grid of those who make plans."""
    both, sampled = {**UPDATE, **BARS}, Privacy(2, 1e-4, 10, unit="example", examples=60)
    plans = [
        made(),
        made(both, sampled),
        made(BARS, ALONE),
        made(both, Privacy(1, 1e-5, trust="central")),
        made(LAYERS, Privacy(8, 1e-9, 3, split=SPLIT), clients=1000),
        made(servers=2, corrupt=0, dropout=0, clients=1000),
        made(clients=40),
        made(clients=40, corrupt="1/10", dropout="1/5", min_clients=30),
        made(clients=100, corrupt="1/20", dropout="1/10", roster=400),
        made({"coarse": Vector(5, 1.0, 2)}, Privacy(1, 0.25)),
        made(JOINT, TOGETHER, clients=1000),
        made(JOINT, replace(TOGETHER, trust="central")),
        made(BITS, TOLD),
        made(BITS, TOLD, servers=2, corrupt=0, dropout=0),
    ]
    for one in plans:
        yield "decode_plan", {"plan": one.encode().hex()}
    clear = made(BARS, ALONE, protocol="plainsum")
    yield "decode_plan", {"plan": clear.encode().hex(), "pinned": True}
    for variance in _more_or_less(plans[0]):
        encoded = _put(plans[0].encode(), 5, 31, double(variance))
        yield "decode_plan", {"plan": encoded.hex()}


def bad() -> Steps:
    one = made()
    for changed in (
        *_terms(one.encode()),
        *_fields(),
        *_threats(),
        *_misplaced(),
        *_told(),
        *_joint(),
    ):
        yield "decode_plan", {"plan": changed.hex()}
    clear = made(BARS, ALONE, protocol="plainsum").encode()
    shared = _put(_put(clear, 5, 0, b"\1"), 5, 26, (1).to_bytes(4))
    yield "decode_plan", {"plan": shared.hex(), "pinned": True}


def _told() -> Iterator[bytes]:
    """Responses: as _terms has them, 9 bytes for each field from 30 on."""
    data = made(BITS, TOLD).encode()
    for at, value in (
        (0, b"\1"), (0, b"\2"), (1, b"\2"), (26, (2).to_bytes(4)), (30, b"\2"), (39, b"\1"),
        *((31, double(x)) for x in (0.5, 0.0, -0.25, math.nan, 1.0, 2.0**-65, 0.25)),
    ):  # fmt: skip
        yield _put(data, 5, at, value)
    yield _joined(data, {**_bodies(data), 5: _bodies(data)[5][:39]})
    body = _bodies(data)[5]
    for fields in (BARS, {"u": Integer(1, 2, sensitivity=1)}, {"u": Vector(1, 1.0, 16)}):
        wider = made(fields, ALONE).encode()
        yield _joined(wider, {**_bodies(wider), 5: body[:39]})


def _joint() -> Iterator[bytes]:
    """Of joint vectors: one noise too many or too few, other bits, and a claim that is not kept."""
    data = made(JOINT, TOGETHER, clients=1000).encode()
    body = _bodies(data)[5]
    for other in (body[:39], body + body[30:39], body + body[30:48]):
        yield _joined(data, {**_bodies(data), 5: other})
    yield _put(data, 5, 6, double(7.5))
    yield data.replace(double(3.0) + bytes([12]), double(3.0) + bytes([13]))


def _joint_inputs(shake: Shake) -> Steps:
    fields: Fields = {
        "u": Vector(3, 0.5, 12),
        "k": Integer(2, 4, sensitivity=4),
        "v": Vector(6, 4.0, 12),
    }
    for unit in ("client", "example"):
        most = 3 if unit == "example" else None
        asked = Privacy(4, 1e-3, unit=unit, examples=most, joint=True)  # type: ignore[arg-type]
        common = {
            "plan": made(fields, asked, clients=20).encode().hex(),
            "seed": shake(f"joint/{unit}", 32).hex(),
        }
        rows = {
            "u": [[0.25, -0.1, 0.0], [0.125, 0.0, 0.0], [1e300, 0.0, 1.0]],
            "k": [[0, -4], [2, 2], [1, 1]],
            "v": [[1.0] * 6, [3.0, -0.5, 0.0, 0.0, 0.25, 1e-9], [0.0] * 6],
        }
        for picked in ([0], [1], [2], [1, 0], []) if most else ([0], [1], [2]):
            values = {
                name: [
                    [x.hex() if isinstance(x, float) else x for x in rows[name][i]] for i in picked
                ]
                for name in rows
            }
            random = shake(f"joint/{unit}/{picked}", 32 * 5).hex()
            yield "encode_noisy", {**common, "values": values, "randomness": random}
        values = {"u": [["nan"] * 3], "k": [[0, 0]], "v": [[(0.0).hex()] * 6]}
        yield "encode_noisy", {**common, "values": values, "randomness": random}
        values["u"] = [[(1.7e308).hex()] * 3]
        yield "encode_noisy", {**common, "values": values, "randomness": random}
        yield from _sums(shake, common)


def _answers(shake: Shake) -> Steps:
    data = made(BITS, TOLD, clients=20).encode().hex()
    common = {"plan": data, "seed": bytes(32).hex()}
    for i, bits in enumerate([(0, 0), (1, 0), (0, 1), (1, 1), (1, 1), (0, 0), (-1, 0), (2, 0)]):
        values = {"yes": [[bits[0]]], "no": [[bits[1]]]}
        random = shake(f"answers/{i}", 32).hex()
        yield "encode_noisy", {**common, "values": values, "randomness": random}
    yield from _sums(shake, common)


def inputs(shake: Shake) -> Steps:
    """What clients contribute, whoever adds the noise; the sum of two; seeds of rotations."""
    fields: Fields = {"u": Vector(5, 1.0, 12), "k": Integer(3, 4, sensitivity=4), "v": UPDATES}
    digest, nonce = shake("payload", 32).hex(), shake("nonce", 16).hex()
    for trust, unit in (("distributed", "client"), ("central", "example"), ("local", "example")):
        most = 3 if unit == "example" else None
        asked = Privacy(4, 1e-3, unit=unit, trust=trust, examples=most)  # type: ignore[arg-type]
        data = made(fields, asked, clients=20).encode().hex()
        common = {"plan": data, "seed": shake(f"inputs/{trust}", 32).hex()}
        rows = {
            "u": [[0.25, -1.5, 0.0, 1e-9, 0.125], [3.0, 0.0, 0.0, 0.0, 0.0]],
            "k": [[0, -4, 0], [2, 2, 2]],
            "v": [[0.3, -0.3, 0.001], [0.0, 0.0, 0.0]],
        }
        shown = {
            name: [[x.hex() if isinstance(x, float) else x for x in row] for row in rows[name]]
            for name in rows
        }
        for count in (2, 1, 0) if most else (1,):
            values = {name: row[:count] for name, row in shown.items()}
            random = shake(f"inputs/{trust}/{count}", 32 * 5).hex()
            yield "encode_noisy", {**common, "values": values, "randomness": random}
        yield "rotation_seed", {"plan": data, "payload_digest": digest, "nonce": nonce}
        for bad in ({"k": [[0, 5, 0]]}, {"k": [[4, 1, 0]]}, {"u": [["nan"] * 5]}):
            values = {name: row[:1] for name, row in shown.items()} | bad
            yield "encode_noisy", {**common, "values": values, "randomness": random}
        if most:
            uneven = {**shown, "k": shown["k"][:1]}
            yield "encode_noisy", {**common, "values": uneven, "randomness": random}
            many = {name: row * 2 for name, row in shown.items()}
            yield "encode_noisy", {**common, "values": many, "randomness": random}
        yield from _sums(shake, common)
    several = made(servers=2, corrupt=0, dropout=0, asked=Privacy(500, 1e-5)).encode().hex()
    yield "rotation_seed", {"plan": several, "payload_digest": digest, "nonce": nonce}
    yield from _answers(shake)
    yield from _joint_inputs(shake)


def _sums(shake: Shake, common: Data) -> Steps:
    schema = Plan.decode(bytes.fromhex(common["plan"])).schema
    lanes = []
    for place, segment in enumerate(schema.layout.segments):
        raw = shake(f"inputs/sum/{place}", 8 * segment.length)
        width = segment.group.width
        lane = [int.from_bytes(raw[8 * i : 8 * i + 8]) % 2**width for i in range(segment.length)]
        counts = schema.count_slots[place].length
        lanes.append([*lane[:-counts], *[17] * counts])
    for contributors in (17, 16):
        yield "decode_noisy", {**common, "vector": lanes, "contributors": contributors}


def _terms(data: bytes) -> Iterator[bytes]:
    """5: trust, unit 1 each, examples 4, epsilon, delta 8, rounds, honest 4, kind 1, variance 8."""
    body = _bodies(data)[5]
    variance, honest = struct.unpack(">d", body[31:])[0], int.from_bytes(body[26:30])
    for at, value in (
        (0, b"\0"), (0, b"\4"), (1, b"\0"), (1, b"\3"),
        (2, bytes(4)), (2, (2).to_bytes(4)), (2, (1 + 2**20).to_bytes(4)),
        *((6, double(x)) for x in (1.0, 0.0, -1.0, math.nan, math.inf, 2.0**-21, 1025.0)),
        *((14, double(x)) for x in (1e-6, 0.0, 1.0, math.nan, 2.0**-65)),
        (22, bytes(4)), (22, (11).to_bytes(4)), (22, (10**6 + 1).to_bytes(4)),
        (26, bytes(4)), (26, (honest + 1).to_bytes(4)), (0, b"\3"), (0, b"\2"),
        (30, b"\0"), (30, b"\2"), (30, b"\3"),
        *((31, double(x)) for x in (math.nan, math.inf, 0.0, 5e-324, -1.0, 2.0**61)),
        (31, double(variance / 4)), (31, double(6.0)),
    ):  # fmt: skip
        yield _put(data, 5, at, value)
    yield _put(_put(data, 5, 0, b"\3"), 5, 26, (1).to_bytes(4))  # as if one share were enough
    for other in (b"", body[:-1], body[:30], body + body[30:], body[:30] + bytes(9 * 1025)):
        yield _joined(data, {**_bodies(data), 5: other})
    yield _put(data, 5, 31, double(variance - math.ulp(variance) * 2**29))


def _fields() -> Iterator[bytes]:
    """3: max_weight 4, number 4, name 4 + 1, kind 1, length 4; norm 8, bits 1 or max 8, norm 8."""
    data = made({"u": Vector(1970, 1.0, 16)}).encode()
    for norm in (0.0, -1.0, math.nan, math.inf, math.nextafter(2.0**500, math.inf), 2.0**-501):
        yield _put(data, 3, 18, double(norm))
    for at, value in ((26, b"\1"), (26, b"\x1f"), (14, bytes(4)), (14, (2**30).to_bytes(4))):
        yield _put(data, 3, at, value)
    yield _put(data, 3, 26, b"\x11")  # twice as many levels, and the noise of half as many
    counts = made({"u": Integer(10, 3, sensitivity=4)}).encode()
    for bound in (0.0, 0.5, 5.0, 9.5, math.nan, math.inf):
        yield _put(counts, 3, 26, double(bound))
    yield _put(counts, 3, 14, (2**30).to_bytes(4))
    yield _put(counts, 3, 18, bytes(8))
    yield _put(_put(counts, 3, 18, (2**63 - 1).to_bytes(8)), 3, 26, double(2.0**32))
    yield _put(counts, 3, 18, (2**63 - 1).to_bytes(8))  # no head-room
    yield _put(counts, 3, 0, (2).to_bytes(4))
    yield _put(counts, 3, 13, b"\5")


def _threats() -> Iterator[bytes]:
    """1: clients 4, corrupt 4 + 4, adversary 1, roster 4."""
    whole = made(clients=12, corrupt=0, protocol="secagg").encode()
    yield _put(whole, 1, 12, b"\1")
    yield _put(whole, 1, 4, (1).to_bytes(4) + (12).to_bytes(4))
    yield _put(whole, 1, 13, (1 << 20).to_bytes(4))[:-1]
    several = made(servers=2, corrupt=0, dropout=0, asked=Privacy(500, 1e-5)).encode()
    yield _put(_put(several, 5, 0, b"\2"), 5, 26, (1).to_bytes(4))


def _misplaced() -> Iterator[bytes]:
    """Privacy without its fields, or they without it."""
    data = made().encode()
    bodies = _bodies(data)
    yield _joined(data, {k: v for k, v in bodies.items() if k != 5})
    exact: list[Fields] = [{"u": FixedPoint(3, 1.0, 8)}, {"u": Integer(3, 9)}]
    for fields in exact:
        plain = plan(clients=100, fields=fields).encode()
        yield _joined(plain, {**_bodies(plain), 5: bodies[5]})
    bars = made(BARS).encode()
    yield _joined(bars, {k: v for k, v in _bodies(bars).items() if k != 5})
    mixed = plan(clients=100, fields={"u": FixedPoint(3, 1.0, 8), "clippex": Integer(1, 3)})
    lane = mixed.encode().replace(b"clippex", b"clipped")
    yield _joined(lane, {**_bodies(lane), 5: bodies[5] + bodies[5][30:]})


def double(value: float) -> bytes:
    return struct.pack(">d", value)


def _more_or_less(one: Plan) -> Iterator[float]:
    """The largest noise; and a little less than the least of 24 bits, which is still enough."""
    terms = one.privacy
    if terms is None:
        raise ValueError("a plan without privacy")
    yield 2.0**60
    yield math.nextafter(terms.noises[0].variance, 0)


def _bodies(data: bytes) -> dict[int, bytes]:
    reader, bodies = Reader(data), {}
    reader.fixed(2, "version and suite")
    reader.prefixed(64, "protocol")
    while reader.remaining:
        number = reader.u8("number")
        bodies[number] = reader.prefixed(1 << 19, "body")
    return bodies


def _joined(data: bytes, bodies: Mapping[int, bytes]) -> bytes:
    writer = Writer().raw(data[: 6 + int.from_bytes(data[2:6])])
    for number, body in sorted(bodies.items()):
        writer.u8(number).prefixed(body)
    return writer.finish()


def _put(data: bytes, number: int, at: int, new: bytes) -> bytes:
    """That body of that plan, with other bytes at a place."""
    bodies = _bodies(data)
    body = bodies[number]
    return _joined(data, {**bodies, number: body[:at] + new + body[at + len(new) :]})
