"""What the operations without a session must give, from the specification: see verify.py."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import active_checks
import active_comparing
import active_judging
import additive_blocks as add
import blocks
import budgets
import greeting
import model_rebuilding
import noise_tables
import noisy_records
import planning
import plans
import privacy
import rfc8032
import rfc9180
import rotation
import service
import service_checks
import storage
from blocks import FAULTS, REASONS, Cursor, Refused

Data = dict[str, Any]


def unhex(**values: Any) -> Data:
    return {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in values.items()}


def do_digest(label: str, parts: list[Any]) -> Data:
    raw = [label.encode(), *(p if isinstance(p, int) else bytes.fromhex(p) for p in parts)]
    encoded = blocks.E(*raw)
    return {"encoded": encoded.hex(), "digest": hashlib.sha256(encoded).hexdigest()}


def do_payload_digest(payload: str) -> Data:
    return {"digest": blocks.H("payload", bytes.fromhex(payload)).hex()}


def do_key_pair(random: str) -> Data:
    secret = blocks.clamp(bytes.fromhex(random))
    return {"secret": secret.hex(), "public": blocks.public(secret).hex()}


def do_check_public(key: str) -> Data:
    blocks.check_public(bytes.fromhex(key), "§4")
    return {}


def do_commit(b: str, session: str, index: int) -> Data:
    made = blocks.commitment(bytes.fromhex(b), bytes.fromhex(session), index)
    return {"commitment": made.hex()}


def do_self_keys(segments: int, index: int, **values: str) -> Data:
    v = unhex(**values)
    made = [blocks.self_key(v["b"], v["session"], index, g) for g in range(segments)]
    return {"keys": [key.hex() for key in made]}


def do_pair_keys(own: int, peer: int, segments: int, **values: str) -> Data:
    v = unhex(**values)
    made = [
        blocks.pair_key(v["secret"], own, peer, v["public"], v["session"], g)
        for g in range(segments)
    ]
    return {"keys": [key.hex() for key in made], "sign": blocks.sign(own, peer)}


def do_seal(dealer: int, holder: int, **values: str) -> Data:
    v = unhex(**values)
    sealed = blocks.seal(v["secret"], dealer, holder, v["public"], v["session"], v["plain"])
    return {"sealed": sealed.hex()}


def do_open(dealer: int, holder: int, **values: str) -> Data:
    v = unhex(**values)
    plain = blocks.unseal(v["secret"], dealer, holder, v["public"], v["session"], v["sealed"])
    return {"plain": plain.hex()}


def do_offer(protocol: str, **values: str) -> Data:
    v = unhex(**values)
    return {"offer": blocks.offer(protocol, v["plan_digest"], v["payload_digest"]).hex()}


def do_session_id(offer: str, clients: int, members: list[list[Any]]) -> Data:
    offered = bytes.fromhex(offer)
    leaves = [
        blocks.leaf(offered, i, party, bytes.fromhex(c_pk), bytes.fromhex(s_pk))
        for i, (party, c_pk, s_pk) in enumerate(members)
    ]
    top = blocks.root(leaves)
    session = blocks.session_id(offered, clients, [m[0] for m in members], top)
    return {"leaves": [one.hex() for one in leaves], "root": top.hex(), "session": session.hex()}


def do_graph(session: str, size: int, degree: int, only: list[int] | None = None) -> Data:
    sid = bytes.fromhex(session)
    near = blocks.graph(sid, size, degree)
    if only is not None and blocks.ring(sid, size)[1] == 0:
        raise AssertionError("the large graph is there for its refused draw")
    return {"neighbours": near if only is None else [near[i] for i in only]}


def do_split(secret: str, threshold: int, points: list[int], random: str) -> Data:
    raw, drawn = bytes.fromhex(random), [0]

    def draw(size: int) -> bytes:
        drawn[0] += size
        return raw[drawn[0] - size : drawn[0]]

    shares = blocks.split(bytes.fromhex(secret), threshold, points, draw)
    return {"shares": [share.hex() for share in shares], "drawn": drawn[0]}


def do_combine(shares: dict[str, str], threshold: int) -> Data:
    given = {int(x): bytes.fromhex(share) for x, share in shares.items()}
    return {"secret": blocks.combine(given, threshold).hex()}


def do_accumulate(lane_bits: int, start: list[int], key: str, sign: int, first: int) -> Data:
    numbers = blocks.stream(bytes.fromhex(key), lane_bits, first, len(start))
    return {"lane": blocks.add(start, numbers, sign, 2**lane_bits)}


def do_pack(segments: blocks.Segments, vector: list[list[int]]) -> Data:
    return {"packed": blocks.pack(segments, vector).hex()}


FORMATS = {"f2": "<e", "f4": "<f", "f8": "<d"}


def do_unpack(segments: blocks.Segments, packed: str) -> Data:
    cursor = Cursor(bytes.fromhex(packed))
    vector = blocks.unpack(cursor, segments)
    cursor.end()
    return {"vector": vector}


def do_quantize(
    values: list[str], clip: str, bits: int, rounding: str, random: str = "", type: str = "f8"
) -> Data:
    reals, c, top = [float.fromhex(v) for v in values], float.fromhex(clip), 2 ** (bits - 1) - 1
    limit = max(c, struct.unpack(FORMATS[type], struct.pack(FORMATS[type], c))[0])  # 02 §4.3
    if not all(map(math.isfinite, reals)):
        raise Refused("RangeError")
    step, draws = c / top, [0] * len(reals)
    if rounding == "stochastic":
        draws = blocks.stream(bytes.fromhex(random), 32, 0, len(reals))
    levels = []
    for x, u in zip(reals, draws, strict=True):
        y = max(-top, min(top, x / step))
        if abs(x) >= c:
            levels.append(top if x > 0 else -top)
        elif rounding == "nearest":
            levels.append(round(y))
        else:
            below = math.floor(y)
            levels.append(below + (u < math.floor((Fraction(y) - below) * 2**32)))
    return {"levels": levels, "clipped": sum(abs(x) > limit for x in reals)}


def _schema(clients: int, schema: str) -> plans.Schema:
    return plans.parse_schema(Cursor(bytes.fromhex(schema)), clients)


def do_encode_record(clients: int, schema: str, values: Data, weight: int) -> Data:
    parsed = _schema(clients, schema)
    if not 0 <= weight <= parsed.max_weight or weight == 0 and parsed.max_weight == 1:
        raise Refused("RangeError")
    vector = {width: [1] * length for width, length in parsed.segments}
    clipped = 0
    for name, field in parsed.fields:
        width, start, length = parsed.places[name]
        numbers = [clipped] if name == "clipped" else values[name]  # 02 §5.8
        if "clip" in field:
            clip = field["clip"].hex()
            made = do_quantize(numbers, clip, field["bits"], "nearest")
            clipped += made["clipped"]
            numbers = [q * weight for q in made["levels"]]
        vector[width][start : start + length] = [q % 2**width for q in numbers]
    if parsed.max_weight > 1:
        widest, _ = parsed.segments[-1]
        vector[widest][-1 - -(-32 // widest)] = weight
    return {"vector": list(vector.values())}


def do_decode_sum(clients: int, schema: str, vector: Any, contributors: int) -> Data:
    parsed = _schema(clients, schema)
    parsed.check_counts(vector, contributors)
    lanes = {width: lane for (width, _), lane in zip(parsed.segments, vector, strict=True)}
    widest, _ = parsed.segments[-1]
    weight = contributors
    if parsed.max_weight > 1:
        weight = lanes[widest][-1 - -(-32 // widest)]
        if weight > contributors * parsed.max_weight:
            raise Refused("IntegrityError")
        if weight == 0:
            raise Refused("BelowThreshold")
    levels = {}
    for name, _ in parsed.fields:
        width, start, length = parsed.places[name]
        part = lanes[width][start : start + length]
        levels[name] = [r - 2**width if r >= 2 ** (width - 1) else r for r in part]
    return {"levels": levels, "weight": weight}


def do_decode_plan(plan: str, pinned: bool = False) -> Data:
    parsed = plans.parse_plan(bytes.fromhex(plan), pinned)
    return {
        "protocol": parsed.protocol,
        "digest": parsed.digest.hex(),
        "segments": [list(segment) for segment in parsed.schema.segments],
        "structure": [digest.hex() for digest in parsed.structure],
        "encoded": plan,
    }


def do_decode_terms(terms: str) -> Data:
    parsed = service.parse_terms(bytes.fromhex(terms))
    return {"encoded": terms, "digest": parsed.digest.hex(), "sizes": parsed.sizes}


def do_plan_of_terms(terms: str, clients: int, population: int) -> Data:
    made = service.parse_terms(bytes.fromhex(terms)).plan(clients, population)
    return {"plan": made.hex()}


def do_decode_pace(pace: str) -> Data:
    return service.parse_pace(bytes.fromhex(pace))


def do_tensor(place: int, field: str, name: str, shape: list[int], dtype: str) -> Data:
    return {"digest": plans.tensor(place, field, name, shape, dtype).hex()}


def do_judge_plan(protocol: str, parameters: list[int], **threat: Any) -> Data:
    same_n = threat["clients"] == parameters[0]
    corrupt, dropout = Fraction(*threat["corrupt"]), Fraction(*threat["dropout"])
    rest = threat["min_clients"], threat.get("roster", threat["clients"]), threat.get("liars", 0)
    judged = planning.accepted_active if threat.get("active") else planning.accepted
    verdict = judged(protocol, parameters, corrupt, dropout, *rest)
    return {"accepted": same_n and verdict}


def do_choose_plan(**threat: Any) -> Data:
    corrupt, dropout = Fraction(*threat["corrupt"]), Fraction(*threat["dropout"])
    rest = threat["min_clients"], threat.get("roster", threat["clients"]), threat.get("liars", 0)
    found = planning.chosen(threat["clients"], corrupt, dropout, *rest)
    if found is None:
        return {"feasible": False}
    return {"feasible": True, "protocol": found[0], "parameters": found[1]}


def do_choose_active_plan(protocol: str, **threat: Any) -> Data:
    corrupt, dropout = Fraction(*threat["corrupt"]), Fraction(*threat["dropout"])
    rest = threat["min_clients"], threat.get("roster", threat["clients"]), threat.get("liars", 0)
    found = planning.chosen_active(protocol, threat["clients"], corrupt, dropout, *rest)
    return {"feasible": found is not None} | ({"parameters": found} if found else {})


def do_decode_frame(frame_bytes: str, limit: int) -> Data:
    data = bytes.fromhex(frame_bytes)
    if len(data) > limit:
        raise Refused("TooLarge")
    cursor = Cursor(data)
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion")
    kind = cursor.int(1)
    if kind not in (1, 2, 3):
        raise Refused("BadTag")
    outputs = {"nonce": cursor.take(16).hex()}
    outputs |= (_announce, _message, _over)[kind - 1](cursor)
    cursor.end()
    return outputs


def _announce(cursor: Cursor) -> Data:
    party = cursor.int(4)
    if party >= 0xFFFFFF00:
        raise Refused("WireError")
    deadlines = [cursor.int(4) for _ in range(cursor.int(1))]
    plan, mode = cursor.prefixed(_rest(cursor)), cursor.int(1)
    if mode > 2:
        raise Refused("WireError")
    payload = cursor.prefixed(_rest(cursor)) if mode == 0 else None
    size = cursor.int(8) if mode == 2 else 0
    if mode == 2 and not 0 < size < 1 << 63:
        raise Refused("WireError")
    digest = cursor.take(32) if payload is None else blocks.H("payload", payload)
    return {
        "kind": "announce",
        "party": party,
        "deadlines": deadlines,
        "plan": plan.hex(),
        "payload": None if payload is None else payload.hex(),
        "payload_digest": digest.hex(),
        "inline": mode == 0,
        "payload_size": size,
    }


def _rest(cursor: Cursor) -> int:
    return len(cursor.data) - cursor.at


def _message(cursor: Cursor) -> Data:
    return {"kind": "message", "data": cursor.take(_rest(cursor)).hex()}


def _over(cursor: Cursor) -> Data:
    code = cursor.int(1)
    if code > len(REASONS):
        raise Refused("WireError")
    reason = REASONS[code - 1] if code else None
    counts = {"contributors": cursor.int(4), "dropped": cursor.int(4)}
    fault = cursor.int(1)
    if fault > len(FAULTS):
        raise Refused("WireError")
    standing = FAULTS[fault - 1] if fault else None
    return {"kind": "over", "reason": reason, **counts, "standing": standing}


# 20-additive.md


def do_task(task: str) -> Data:
    parsed = add.parse_task(bytes.fromhex(task))
    if isinstance(parsed, add.TaskOfOne):
        plan = parsed.plan
        offer = blocks.offer(plan.protocol, plan.digest, parsed.payload)
        return {"encoded": task, "digest": parsed.digest.hex(), "offer": offer.hex()}
    return {
        "encoded": task,
        "digest": parsed.digest.hex(),
        "committee_digest": parsed.committee.digest.hex(),
        "servers": [[one.hex(), two.hex()] for one, two in parsed.committee.servers],
        "collector": parsed.committee.collector.hex(),
        "epoch": parsed.committee.epoch,
        "params": [*parsed.plan.params[:3], bool(parsed.plan.params[3])],
        "id": parsed.id.hex(),
        "batches": [parsed.batch_id(number).hex() for number in (0, 1)],
        "nonces": [parsed.nonce(number).hex() for number in (None, 0, 1)],
    }


def do_server_party(server: int) -> Data:
    return {"party": 0xFFFFFFFF - server}


def do_share_info(server: int, **values: str) -> Data:
    v = unhex(**values)
    front = add.front_of(v["key"], v["public"])
    return {"info": add.share_info(v["task"], v["report"], front, server).hex()}


def do_total_info(task: str, number: int, digest: str, count: int, server: int) -> Data:
    v = unhex(task=task, digest=digest)
    return {"info": add.total_info(v["task"], number, v["digest"], count, server).hex()}


def do_stream_keys(server: int, segments: int, **values: str) -> Data:
    v = unhex(**values)
    made = [add.stream_key(v["seed"], v["task"], v["report"], server, g) for g in range(segments)]
    return {"keys": [key.hex() for key in made]}


def do_hpke_open(**values: str) -> Data:
    v = unhex(**values)
    return {"plain": rfc9180.unseal(v["secret"], v["info"], v["sealed"]).hex()}


def do_report_digest(report: str, key: str, public: str, manifest: list[str]) -> Data:
    v = unhex(report=report, key=key, public=public)
    digests = map(bytes.fromhex, manifest)
    return {"digest": add.digest_of(v["report"], v["key"], v["public"], digests).hex()}


def do_sign_report(manifest: list[str], **values: str) -> Data:
    v = unhex(**values)
    front = add.front_of(rfc8032.public(v["seed"]), v["public"])
    digests = map(bytes.fromhex, manifest)
    return _signed(v["seed"], add.report_statement(v["task"], v["report"], front, digests))


def do_sign_receipt(server: int, **values: str) -> Data:
    v = unhex(**values)
    return _signed(v["seed"], add.receipt_statement(v["task"], server, v["digest"]))


def do_set_digest(reports: list[list[str]]) -> Data:
    count, digest = add.set_of({bytes.fromhex(a): bytes.fromhex(b) for a, b in reports})
    return {"count": count, "digest": digest.hex()}


def do_sign_statement(count: int, **values: str) -> Data:
    v = unhex(**values)
    return _signed(v["seed"], add.statement(v["batch"], count, v["digest"]))


def do_sign_total(count: int, server: int, **values: str) -> Data:
    v = unhex(**values)
    message = add.total_statement(v["batch"], server, count, v["digest"], v["sealed"])
    return _signed(v["seed"], message)


def _signed(seed: bytes, message: bytes) -> Data:
    return {"message": message.hex(), "signature": rfc8032.sign(seed, message).hex()}


def do_sign(**values: str) -> Data:
    v = unhex(**values)
    signature = rfc8032.sign(v["seed"], v["message"])
    return {"key": rfc8032.public(v["seed"]).hex(), "signature": signature.hex()}


def do_verify(**values: str) -> Data:
    v = unhex(**values)
    if not rfc8032.verify(v["key"], v["message"], v["signature"]):
        raise Refused("InvalidSignature")
    return {}


def do_check_signing_key(key: str) -> Data:
    if not rfc8032.is_key(bytes.fromhex(key)):
        raise Refused("InvalidKey")
    return {}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
} | {"decode": model_rebuilding.do_decode, "subset": model_rebuilding.do_subset, **storage.ALONE}
ALONE |= active_checks.ALONE | active_judging.ALONE | service_checks.ALONE
ALONE |= active_comparing.ALONE | greeting.ALONE
ALONE |= budgets.ALONE | noise_tables.ALONE | noisy_records.ALONE | privacy.ALONE | rotation.ALONE
