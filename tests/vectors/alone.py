"""The scenarios that need no session: one building block each."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import accounting
import agreed
import borderline
import drawing
import numpy as np
import private
import rounding
from operations import OUTPUTS, Data, perform

from secagg.fields import Field, FixedPoint, Integer
from secagg.plans.choose import plan
from secagg.schema import Schema
from secagg.structure import Structure
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire import frame
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import write_schema
from secagg_protocols.secagg.params import SecAggParams

Shake = Callable[[str, int], bytes]
Steps = list[tuple[str, Data]]

P = 2**61 - 1
X25519_P = 2**255 - 19
SMALL_ORDER = (
    0,
    1,
    X25519_P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
REJECTING = "graph/rejects/158"
"""A session name whose graph over 20,000 rejects a draw; found by trying names in order."""


def scenarios(shake: Shake) -> Iterator[tuple[str, Data]]:
    yield "hash", scenario_of("E and H", "10-secagg.md §2", _hashes())
    yield "session-id", scenario_of("offer, tree, session id", "10-secagg.md §3", _binding(shake))
    yield "graph", scenario_of("neighbours", "10-secagg.md §3", _graphs(shake))
    yield "decoding", scenario_of("wrong shares", "10-secagg.md §9", _decoding(shake))
    yield "keys", scenario_of("key schedule, sealing", "10-secagg.md §4", _schedule(shake))
    yield "public-keys", scenario_of("keys refused and not", "10-secagg.md §4", _public())
    yield "mask-stream", scenario_of("lanes, signs, seeking", "10-secagg.md §5", _streams(shake))
    yield "shamir", scenario_of("sharing, rebuilding", "10-secagg.md §6", _shamir(shake))
    yield "packing", scenario_of("vectors as bytes", "02-quantization.md §2", _packing(shake))
    yield "quantize", scenario_of("reals to levels", "02-quantization.md §4", _levels(shake))
    yield "noise", scenario_of("tables, draws, keys", "41-noise.md", drawing.steps(shake))
    steps = list(accounting.steps())
    yield "privacy", scenario_of("claims, noise, head-room", "40-privacy.md", steps)
    steps = list(rounding.steps(shake))
    yield "rounding", scenario_of("vectors to integers and back", "40-privacy.md §2", steps)
    yield "records", scenario_of("records and sums", "02-quantization.md §5", _records())
    yield "plan", scenario_of("plans, their digests", "01-wire.md §4", _plans())
    yield "terms", scenario_of("terms, and plans that follow", "50-service.md §1", agreed.good())
    yield "terms-refused", scenario_of("that nobody takes", "50-service.md §1", agreed.bad())
    yield "pace", scenario_of("asked, ready, later", "50-service.md §2", agreed.pace(shake))
    yield "structure", scenario_of("digests of entries", "01-wire.md §4", _tensors())
    steps = list(private.inputs(shake))
    yield "records-noisy", scenario_of("inputs and sums with noise", "40-privacy.md §2", steps)
    steps = list(private.good())
    yield "plan-privacy", scenario_of("plans with privacy", "40-privacy.md §7", steps)
    steps = list(private.bad())
    yield "plan-privacy-refused", scenario_of("that promise too much", "40-privacy.md §7", steps)
    yield "plan-refused", scenario_of("plans that nobody takes", "01-wire.md §4", _bad_plans())
    yield (
        "plan-borderline",
        scenario_of("plans at the edge", "10-secagg.md §10", borderline.steps()),
    )
    yield "frames", scenario_of("frames", "01-wire.md §6", _frames(shake))


def scenario_of(about: str, spec: str, steps: Steps) -> Data:
    done = []
    for operation, inputs in steps:
        step = {"operation": operation, **inputs}
        done.append({**step, OUTPUTS: perform(step)})
    failures = sorted({s[OUTPUTS]["error"] for s in done if not s[OUTPUTS]["success"]})
    expect = " ".join(failures) or "accept"
    return {"about": about, "spec": f"specs/{spec}", "expect": expect, "operations": done}


def _hashes() -> Steps:
    return [
        ("digest", {"label": "secagg/v1/set", "parts": parts})
        for parts in ([], [""], ["", ""], ["00"], [0], [1, "0102", 2**32 - 1], ["ff" * 300])
    ] + [("payload_digest", {"payload": payload}) for payload in ("", b"payload".hex())]


def _binding(shake: Shake) -> Steps:
    plan_digest, payload = shake("plan", 32).hex(), shake("payload", 32).hex()
    steps: Steps = [
        ("offer", {"protocol": name, "plan_digest": plan_digest, "payload_digest": payload})
        for name in ("secagg", "secagg+")
    ]
    for size in (*range(1, 10), 17):
        members = [
            [3 * i + (i > 2), shake(f"c/{i}", 32).hex(), shake(f"s/{i}", 32).hex()]
            for i in range(size)
        ]
        offer = shake("offer", 32).hex()
        steps.append(("session_id", {"offer": offer, "clients": 50, "members": members}))
    return steps


def _graphs(shake: Shake) -> Steps:
    sizes = [(2, 1), (3, 2), (5, 4), (5, 2), (6, 4), (8, 4), (9, 6), (33, 10), (100, 40)]
    steps: Steps = [
        (
            "graph",
            {"session": shake(f"graph/{size}/{degree}", 32).hex(), "size": size, "degree": degree},
        )
        for size, degree in sizes
    ]
    large = {"session": shake(REJECTING, 32).hex(), "size": 20_000, "degree": 4}
    return [*steps, ("graph", {**large, "only": [*range(20), 9_999, 19_999]})]


def _schedule(shake: Shake) -> Steps:
    session, b = shake("session", 32).hex(), shake("b", 32).hex()
    mine, other = shake("scalar/0", 32), shake("scalar/1", 32)
    pairs = [perform({"operation": "key_pair", "random": r.hex()}) for r in (mine, other)]
    steps: Steps = [
        ("key_pair", {"random": r})
        for r in (mine.hex(), other.hex(), "00" * 32, "ff" * 32, bytes(range(32)).hex())
    ]
    for index in (0, 1, 255, 70_000):
        steps.append(("commit", {"b": b, "session": session, "index": index}))
        inputs = {"b": b, "session": session, "index": index, "segments": 3}
        steps.append(("self_keys", inputs))
    ends = {"secret": pairs[0]["secret"], "public": pairs[1]["public"], "session": session}
    for own, peer in ((2, 7), (7, 2)):
        steps.append(("pair_keys", {**ends, "own": own, "peer": peer, "segments": 2}))
    plain = bytes(range(88)).hex()
    steps.append(("seal", {**ends, "dealer": 2, "holder": 7, "plain": plain}))
    steps.append(("seal", {**ends, "dealer": 7, "holder": 2, "plain": plain}))
    sealed = perform({"operation": "seal", **dict(steps[-2][1])})["sealed"]
    back = {"secret": pairs[1]["secret"], "public": pairs[0]["public"], "session": session}
    opening = {**back, "dealer": 2, "holder": 7, "sealed": sealed}
    steps.append(("open", opening))
    for change in (
        {"dealer": 7, "holder": 2},
        {"holder": 8},
        {"session": shake("another session", 32).hex()},
        {"sealed": sealed[:-2] + f"{int(sealed[-2:], 16) ^ 1:02x}"},
        {"sealed": sealed[:-2]},
        {"sealed": ""},
    ):
        steps.append(("open", {**opening, **change}))
    return steps


def _public() -> Steps:
    def key(u: int) -> str:
        return (u % 2**256).to_bytes(32, "little").hex()

    values = [9, 2, X25519_P - 2, *SMALL_ORDER]
    values += [u + X25519_P for u in SMALL_ORDER] + [u | 2**255 for u in (9, *SMALL_ORDER)]
    values += [X25519_P + 9, 2**255 - 1, 2**256 - 1]
    raw = [key(u) for u in values] + ["", "09" * 31, "09" * 33]
    return [("check_public", {"key": one}) for one in raw]


def _streams(shake: Shake) -> Steps:
    key = shake("stream", 32).hex()
    steps: Steps = []
    for lane in (8, 16, 32, 64):
        for sign, first, count in ((1, 0, 0), (1, 0, 37), (-1, 0, 5), (1, 3, 21), (-1, 65_535, 3)):
            start = [int.from_bytes(shake(f"acc/{i}", lane // 8)) for i in range(count)]
            inputs: Data = {"lane_bits": lane, "start": start, "key": key}
            steps.append(("accumulate", {**inputs, "sign": sign, "first": first}))
    ramp: Data = {"lane_bits": 8, "start": [0] * 16, "sign": 1, "first": 0}
    steps.append(("accumulate", {**ramp, "key": bytes(range(32)).hex()}))
    # 2^32 blocks of 16 bytes: the last lane, and one past it
    end = {"lane_bits": 64, "key": key, "sign": 1, "first": 2**33 - 1}
    steps += [("accumulate", {**end, "start": [0] * n}) for n in (1, 2)]
    steps += [("accumulate", {**ramp, "key": key[: 2 * size]}) for size in (0, 16, 31)]
    return steps


def _shamir(shake: Shake) -> Steps:
    secret = shake("secret", 32).hex()

    def split(threshold: int, points: Sequence[int], random: bytes) -> tuple[str, Data]:
        inputs: Data = {"secret": secret, "threshold": threshold, "points": list(points)}
        return "split", {**inputs, "random": random.hex()}

    # two draws of p among 10, in other bits than the top three: refused and redrawn, one twice
    refused = bytearray(shake("coefficients", 80))
    refused[8:16], refused[72:80] = b"\xff" * 8, b"\x1f" + b"\xff" * 7
    redraws = b"\x9f" + b"\xff" * 7 + shake("redraws", 16)
    steps: Steps = [
        split(1, [1, 2], b""),
        split(2, [1, 2, 3], shake("coefficients", 40)),
        split(3, [1, 4, 5, 9, 2**20], shake("coefficients", 80)),
        split(3, [2, 3, 7], bytes(refused) + redraws),
        split(3, [2, 3, P - 1], bytes(80)),
        split(4, [1, 2, 3], bytes(120)),
        split(2, [0, 1], bytes(40)),
        split(2, [1, P], bytes(40)),
        split(2, [3, 3], bytes(40)),
    ]
    shares = perform({"operation": "split", **steps[2][1]})["shares"]
    dealt = dict(zip(("1", "4", "5", "9", str(2**20)), shares, strict=True))
    for chosen in (("1", "4", "5"), ("4", "9", str(2**20)), tuple(dealt)):
        steps.append(("combine", {"shares": {x: dealt[x] for x in chosen}, "threshold": 3}))
    three = {x: dealt[x] for x in ("1", "4", "5")}
    bad: list[dict[str, str]] = [
        {x: dealt[x] for x in ("1", "4")},
        {**three, "4": "1fffffffffffffff" + dealt["4"][16:]},
        {**three, "4": dealt["4"][:-2]},
        {**three, "4": f"{int(dealt['4'][:16], 16) ^ 1:016x}" + dealt["4"][16:]},
        {"0": dealt["1"], "4": dealt["4"], "5": dealt["5"]},
        {"4": dealt["4"], "5": dealt["5"], str(P): dealt["1"]},
    ]
    return steps + [("combine", {"shares": one, "threshold": 3}) for one in bad]


def _decoding(shake: Shake) -> Steps:
    """Nine shares, t = 4: two may be wrong, in any limb, and more are not told apart."""
    points, session = list(range(2, 11)), shake("session", 32).hex()
    inputs = {"secret": shake("secret", 32).hex(), "threshold": 4, "points": points}
    dealt = perform({"operation": "split", **inputs, "random": shake("coefficients", 120).hex()})
    shares = dict(zip(map(str, points), dealt["shares"], strict=True))

    def wrong(x: str, limb: int) -> str:
        at, share = 16 * limb, shares[x]
        return share[:at] + f"{int(share[at : at + 16], 16) ^ 1:016x}" + share[at + 16 :]

    lies: list[dict[str, int]] = [
        {},
        {"2": 0},
        {"2": 4, "10": 1},
        {"3": 2, "5": 2, "6": 3, "7": 3},
        {"2": 0, "4": 0, "9": 0},
    ]
    steps: Steps = [
        ("decode", {"shares": shares | {x: wrong(x, j) for x, j in lie.items()}, "threshold": 4})
        for lie in lies
    ]
    asked = {"session": session, "dealer": 5, "threshold": 4, "attempts": [0, 1, 255]}
    return [*steps, ("subset", {**asked, "points": points})]


def _packing(shake: Shake) -> Steps:
    steps: Steps = []
    for width in (1, 3, 7, 8, 9, 13, 16, 20, 31, 32, 33, 48, 63, 64):
        for length in (1, 9):
            raw = shake(f"pack/{width}", 8 * length)
            elements = [int.from_bytes(raw[8 * i : 8 * i + 8]) % 2**width for i in range(length)]
            steps.append(("pack", {"segments": [[width, length]], "vector": [elements]}))
    steps.append(("pack", {"segments": [[4, 3], [20, 2]], "vector": [[1, 2, 3], [74565, 703710]]}))
    steps.append(("pack", {"segments": [[3, 3]], "vector": [[1, 1, 1]]}))
    for segments, packed in (
        ([[4, 3]], "2103"),
        ([[4, 3], [20, 2]], "210345 23e1cdab".replace(" ", "")),
        ([[4, 3]], "2113"),
        ([[4, 3]], "21"),
        ([[4, 3]], "210300"),
        ([[1, 9]], "ff02"),
    ):
        steps.append(("unpack", {"segments": segments, "packed": packed}))
    return steps


def _levels(shake: Shake) -> Steps:
    reals = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-300, 5e-324, 0.1, -0.1, 1.0000000000000002, 3.5]
    reals += [i / 254 for i in range(-7, 8)]
    values = [x.hex() for x in reals]
    key = shake("rounding", 32).hex()
    steps: Steps = []
    for bits in (2, 8, 16, 32):
        for clip in (1.0, 0.3):
            common = {"values": values, "clip": clip.hex(), "bits": bits}
            steps.append(("quantize", {**common, "rounding": "nearest"}))
            steps.append(("quantize", {**common, "rounding": "stochastic", "random": key}))
    for kind, form in (("f2", "<e"), ("f4", "<f")):  # the bound's own rounding is within it
        for clip in (0.1, 0.3, 0.7):
            raw = int.from_bytes(struct.pack(form, clip), "little")
            size = struct.calcsize(form)
            near = [
                struct.unpack(form, (raw + ulps).to_bytes(size, "little"))[0] for ulps in (-1, 0, 1)
            ]
            values = [x.hex() for x in (*near, *(-x for x in near))]
            common = {"values": values, "clip": clip.hex(), "bits": 32, "type": kind}
            steps.append(("quantize", {**common, "rounding": "nearest"}))
            steps.append(("quantize", {**common, "rounding": "stochastic", "random": key}))
    for bad in ("nan", "inf", "-inf"):
        common = {"values": [bad, "0x0.0p+0"], "clip": (1.0).hex(), "bits": 8}
        steps.append(("quantize", {**common, "rounding": "nearest"}))
    return steps


def _schema_bytes(schema: Schema) -> str:
    return write_schema(Writer(), schema).finish().hex()


_FIELDS: dict[str, Field] = {
    "update": FixedPoint(3, 1.0, 8),
    "histogram": Integer(2, 1),
    "metric": FixedPoint(1, 2.0, 16),
}


def _records() -> Steps:
    schema = Schema.of(_FIELDS, 10, 5)
    base = {"clients": 10, "schema": _schema_bytes(schema)}
    values = {
        "update": [x.hex() for x in (0.5, -1.0, 0.25)],
        "histogram": [0, -1],
        "metric": [(1.5).hex()],
    }
    steps: Steps = [("encode_record", {**base, "values": values, "weight": w}) for w in (1, 5)]
    steps += [("encode_record", {**base, "values": values, "weight": w}) for w in (0, 6)]
    total = perform({"operation": "encode_record", **steps[1][1]})["vector"]
    summed = {**base, "vector": total, "contributors": 1}
    off = [list(lane) for lane in total]
    off[0][-1] += 1
    heavy = [list(lane) for lane in total]
    heavy[-1][-3] = 6
    light = [list(lane) for lane in total]
    light[-1][-3] = 0
    steps.append(("decode_sum", summed))
    steps += [("decode_sum", {**summed, "vector": bad}) for bad in (off, heavy, light)]
    plain = {"clients": 10, "schema": _schema_bytes(Schema.of(_FIELDS, 10)), "values": values}
    steps += [("encode_record", {**plain, "weight": w}) for w in (0, 1)]
    return [*steps, *_clipped_lane(values), *_clips()]


def _clips() -> Steps:
    """02 §3.4, §4.1: the least and the largest clip that a field may have, and their neighbours."""
    steps: Steps = []
    for bits, clients, max_weight in ((2, 1, 1), (16, 10, 5), (32, 3, 1), (24, 1 << 20, 1 << 19)):
        levels = (1 << bits - 1) - 1
        field = FixedPoint(1, 1.0, bits)
        schema = _schema_bytes(Schema.of({"u": field}, clients, max_weight))
        for clip in (*_largest(clients * max_weight * field.levels, levels), *_least(levels)):
            encoded = schema.replace(struct.pack(">d", 1.0).hex(), struct.pack(">d", clip).hex())
            given = {"clients": clients, "schema": encoded, "weight": max_weight}
            steps.append(("encode_record", {**given, "values": {"u": [(-clip).hex()]}}))
    return steps + _beyond_streams()


def _beyond_streams() -> Steps:
    """02 §5.9: one element more than a key masks of a segment, and many more."""
    three = Schema.of({name: Integer(1, 2**40) for name in "abc"}, 3)
    parts = _schema_bytes(three).split("0200000001")  # kind and length
    steps: Steps = []
    for third in (2, 2**32 - 1):
        lengths = [f"02{length:08x}" for length in (2**32 - 1, 2**32 - 1, third)]
        schema = "".join(sum(zip(parts, [*lengths, ""], strict=True), ()))
        steps.append(("encode_record", {"clients": 3, "schema": schema, "weight": 1, "values": {}}))
    return steps


def _largest(bound: int, levels: int) -> tuple[float, ...]:
    """Around the largest clip whose spread is finite, by halving."""
    good, bad = 1.0, sys.float_info.max
    while bad > math.nextafter(good, math.inf):
        middle = max(math.nextafter(good, math.inf), good + (bad - good) / 2)
        if math.isfinite(2 * bound * (middle / levels)):
            good = middle
        else:
            bad = middle
    return good, bad


def _least(levels: int) -> tuple[float, ...]:
    least = math.nextafter(2.0**-1024, 1) * levels
    return least, 2.0**-1024 * levels


def _clipped_lane(values: Data) -> Steps:
    """02 §5.8: what the lane says, and what else has its name."""
    lane = {"clients": 10, "schema": _schema_bytes(Schema.of(_FIELDS, 10, 5, clipped=True))}
    beyond = {**values, "update": [x.hex() for x in (1.5, -1.0, -9.0)]}
    steps: Steps = [("encode_record", {**lane, "values": beyond, "weight": w}) for w in (1, 5)]
    total = perform({"operation": "encode_record", **steps[1][1]})["vector"]
    steps.append(("decode_sum", {**lane, "vector": total, "contributors": 1}))
    fixed, one = FixedPoint(3, 1.0, 8), {"weight": 1, "values": {}}
    for fields in (
        {"clippex": fixed},
        {"clippex": Integer(1, 3), "u": fixed},
        {"u": fixed, "clippex": Integer(1, 4)},
        {"u": fixed, "clippex": Integer(2, 3)},
        {"u": Integer(3, 3), "clippex": Integer(1, 3)},
    ):
        encoded = _schema_bytes(Schema.of(fields, 10)).replace(b"clippex".hex(), b"clipped".hex())
        steps.append(("encode_record", {"clients": 10, "schema": encoded, **one}))
    return steps


def _plans() -> Steps:
    update: dict[str, Field] = {"update": FixedPoint(length=50_890, clip=1.0, bits=16)}
    plans = [
        plan(clients=10, fields=update, protocol="secagg"),
        plan(clients=100, fields=update),
        plan(clients=100, fields=update, corrupt="1/7", dropout=0, min_clients=90),
        plan(clients=5, fields=_FIELDS, max_weight=1000, corrupt=0),
        plan(clients=12, fields=update, adversary="active", protocol="secagg"),
        plan(clients=100, fields=update, corrupt="1/100", roster=1500),
        plan(clients=20, fields=update, liars=2),
        plan(clients=10, fields=update, servers=3, direct=True),
        plan(clients=5, fields={"model": FixedPoint(9, 1.0, 16), **_FIELDS}, structure=_MODEL),
    ]
    steps: Steps = [("decode_plan", {"plan": one.encode().hex()}) for one in plans]
    clear = plan(clients=4, fields=update, protocol="plainsum")
    return [*steps, ("decode_plan", {"plan": clear.encode().hex(), "pinned": True})]


_MODEL = {
    "model": Structure.of({"weight": np.zeros((2, 3, 1), np.float32), "gain": np.zeros(()),
                           "Größe": np.zeros(2, np.float16)}),
    "histogram": Structure.of({"seen": np.zeros(2, np.int64)}, integers=True),
}  # fmt: skip


def _tensors() -> Steps:
    """01-wire.md §4.9: shapes of no, one and several dimensions; sizes of no element."""
    first = {"place": 0, "field": "update", "name": "w", "shape": [2, 3], "dtype": "float32"}
    changes: list[Data] = [
        {}, {"place": 1}, {"place": 8191}, {"field": "updat"}, {"name": "w2"}, {"name": ""},
        {"name": "Größe"}, {"shape": [3, 2]}, {"shape": [6]}, {"shape": []}, {"shape": [0, 7]},
        {"shape": [2**32 - 1, 1]}, {"dtype": "float16"}, {"dtype": "float64"}, {"dtype": "int8"},
        {"dtype": "bfloat16"},
    ]  # fmt: skip
    return [("tensor", {**first, **change}) for change in changes]


def _bad_plans() -> Steps:
    good = plan(clients=10, fields={"u": Integer(3, 9)}, corrupt=0, protocol="secagg")
    if good.params != SecAggParams(10, 9, 6, 6, 6) or good.threat.dropout != Fraction(1, 5):
        raise ValueError("the numbers below are of another plan")
    clear = plan(clients=10, fields={"u": Integer(3, 9)}, corrupt=0, protocol="plainsum")
    data = good.encode()
    bad = [
        data[:-1], data + b"\0", data + b"\6", data + b"\6" + bytes(4), b"\1" + data[1:],
        data[:1] + b"\2" + data[2:], data[:2] + b"\0\0\0\x41" + data[6:],
        data[:6] + b"nosuch" + data[12:], *_out_of_order(data), *_bad_bodies(data), clear.encode(),
    ]  # fmt: skip
    return [("decode_plan", {"plan": one.hex()}) for one in bad]


def _split(data: bytes) -> dict[int, bytes]:
    reader, bodies = Reader(data[12:]), {}
    while reader.remaining:
        number = reader.u8("number")
        bodies[number] = reader.prefixed(1 << 19, "body")
    return bodies


def _joined(data: bytes, sections: list[tuple[int, bytes]]) -> bytes:
    writer = Writer().raw(data[:12])
    for number, body in sections:
        writer.u8(number).prefixed(body)
    return writer.finish()


def _out_of_order(data: bytes) -> Iterator[bytes]:
    """Sections that are missing, strange, repeated, or in another order."""
    bodies = _split(data)
    every = list(bodies.items())
    for left_out in bodies:
        yield _joined(data, [each for each in every if each[0] != left_out])
        yield _joined(data, [each for each in every if each[0] <= left_out])[:-1]
        yield _joined(data, sorted([*every, (left_out, bodies[left_out])]))
    yield _joined(data, every[::-1])
    yield _joined(data, [])
    yield _joined(data, [*every, (6, bytes(16)), (6, bytes(16))])
    for number in (0, 7, 255):
        yield _joined(data, [*every, (number, bytes(16))])
    yield _joined(data, [(6, bytes(16)), *every])


def _bad_bodies(data: bytes) -> Iterator[bytes]:
    """1: clients 4, corrupt 4 + 4, adversary 1, roster 4. 2: dropout 4 + 4, liars 4, min_clients 4.
    3: max_weight 4, number 4, name 4 + 1, kind 1, length 4, max 8. 4: five times 4."""
    bodies = _split(data)

    def put(number: int, at: int, new: bytes) -> bytes:
        body = bodies[number]
        changed = {**bodies, number: body[:at] + new + body[at + len(new) :]}
        return _joined(data, list(changed.items()))

    for number, body in bodies.items():
        yield _joined(data, list({**bodies, number: body[:-1]}.items()))
        yield _joined(data, list({**bodies, number: body + b"\0"}.items()))
    yield put(1, 0, bytes(4))
    yield put(1, 0, b"\0\x10\0\1")
    yield put(1, 4, b"\0\0\0\2\0\0\0\2")
    yield put(1, 4, b"\0\0\0\1\0\0\0\1")
    yield put(1, 12, b"\2")
    yield put(1, 13, b"\0\0\0\x09")
    yield put(2, 0, b"\0\0\0\2\0\0\0\x0a")
    yield put(2, 0, b"\0\0\0\1\0\0\0\0")
    yield put(2, 8, b"\0\0\0\2")
    yield put(2, 8, b"\0\0\0\x0b")
    yield put(2, 12, b"\0\0\0\x0b")
    yield put(3, 12, b"\n")
    yield put(3, 13, b"\5")
    yield put(3, 18, b"\xff" * 8)
    yield put(4, 8, b"\0\0\0\5")
    yield put(4, 4, b"\0\0\0\x0a")
    for size in (0, 15, 17):
        yield _joined(data, [*bodies.items(), (6, bytes(size))])


def _frames(shake: Shake) -> Steps:
    nonce = shake("nonce", 16)
    announced = frame.Announce(nonce, PartyId(7), (1000, 2**32 - 1), b"a plan", b"a task")
    by_digest = frame.Announce(nonce, PartyId(0), (), b"", frame.DigestOnly(shake("task", 32)))
    about = frame.DigestOnly(shake("task", 32), 1 << 40)
    sized = frame.Announce(nonce, PartyId(0), (), b"", about).encode()
    message = frame.Message(nonce, b"\1\1\7 and so on").encode()
    done = frame.Over(nonce, None, 9, 1).encode()
    good = [announced.encode(), by_digest.encode(), message, frame.Message(nonce, b"").encode()]
    good += [sized, done, *(frame.Over(nonce, reason, 0, 10).encode() for reason in AbortReason)]
    good += [frame.Over(nonce, None, 9, 1, fault).encode() for fault in Fault]
    whole = announced.encode()
    bad = [
        b"",
        whole[:17],
        whole[:-1],
        whole + b"\0",
        b"\2" + whole[1:],
        b"\1\4" + whole[2:],
        whole[:18] + b"\xff\xff\xff\0" + whole[22:],
        whole[:31] + b"\xff" * 4 + whole[35:],
        whole[:41] + b"\3" + whole[42:],
        sized[:28] + bytes(8) + sized[36:],
        sized[:28] + b"\x80" + sized[29:],
        sized[:-1],
        done[:18] + bytes([len(AbortReason) + 1]) + done[19:],
        done[:27] + bytes([len(Fault) + 1]),
        done[:27],
        message + bytes(1000),
    ]
    return [("decode_frame", {"frame_bytes": one.hex(), "limit": 500}) for one in good + bad]
