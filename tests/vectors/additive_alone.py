"""The building blocks of additive sums, one scenario each (specs/20-additive.md §3-§6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import rfc8032
import rfc9180
from additive_scripts import make_task, secrets_of
from alone import Steps, scenario_of
from operations import Data
from scripts import MIXED, PAYLOAD

from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.wire.frame import payload_digest

Shake = Callable[[str, int], bytes]

ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point of order 8; its multiples are all points of small order."""


def scenarios(shake: Shake) -> Iterator[tuple[str, Data]]:
    spec = "20-additive.md"
    yield (
        "additive-task",
        scenario_of("tasks, committees, ids", f"01-wire.md §4, {spec} §3", _tasks()),
    )
    yield (
        "additive-task-refused",
        scenario_of("that nobody takes", f"01-wire.md §4, {spec} §3", _bad_tasks()),
    )
    yield "additive-sealing", scenario_of("infos, HPKE, keys", f"{spec} §4", _sealing(shake))
    yield "additive-reports", scenario_of("digests, statements", f"{spec} §5", _digests(shake))
    yield "signatures", scenario_of("Ed25519, strictly", f"{spec} §6", _signatures(shake))


def _good() -> list[Task]:
    return [
        make_task("a3"),
        make_task("d2", 3, 2, direct=True, dropout="0/1", fields=MIXED, weight=100, epoch=0),
        make_task("m16", 100, 16, dropout="3/10", epoch=2**32 - 1),
    ]


def _tasks() -> Steps:
    steps: Steps = [("task", {"task": task.encode().hex()}) for task in _good()]
    of_one = [Task(one, payload_digest=payload_digest(PAYLOAD)) for one in _of_one()]
    steps += [("task", {"task": task.encode().hex()}) for task in of_one]
    steps += [("server_party", {"server": index}) for index in (0, 1, 15)]
    return steps


def _of_one() -> list[Plan]:
    return [
        plan(clients=clients, fields=MIXED, max_weight=100, dropout=0, protocol=protocol)
        for clients, protocol in ((4, "secagg"), (7, "secagg+"))
    ]


def _bad_tasks() -> Steps:
    good = _good()[0]
    data, committee = good.encode(), good.committee.encode()
    at = data.index(committee)  # just before it lies the kind
    one, two = committee[1:65], committee[65:129]
    collector = committee[-36:-4]

    def with_committee(other: bytes) -> bytes:
        return data[:at] + other + data[at + len(committee) :]

    def keys(*pairs: bytes, collected: bytes = collector) -> bytes:
        return with_committee(bytes([len(pairs)]) + b"".join(pairs) + collected + bytes(4))

    third, small = committee[129:193], bytes([1]) + bytes(31)
    clear = plan(clients=4, fields=dict(good.plan.schema.fields), protocol="plainsum").encode()
    one_server = _of_one()[0].encode()
    params = data.index(good.plan.params.encode())
    bad = [
        data[:-1],
        data + b"\0",
        b"\2" + data[1:],
        data[:1] + b"\3" + data[2:],
        data[:2] + b"\xff" * 4 + data[6:],
        keys(one, two),
        keys(one, two, third, one[:32] + rfc8032.public(bytes(32))),
        keys(one, two, two[:32] + third[32:]),
        keys(one, two, third[:32] + one[32:]),
        keys(one, two, third, collected=one[:32]),
        keys(small + one[32:], two, third),
        keys(one[:32] + ORDER_8, two, third),
        keys(one[:32] + bytes([2]) + bytes(31), two, third),
        keys(one, two, third, collected=small),
        with_committee(b"\1" + one + collector + bytes(4)),
        data[:2] + len(clear).to_bytes(4, "big") + clear + data[at - 1 :],
        data[:2] + len(clear).to_bytes(4, "big") + clear + b"\0" + data[-32:],
        data[:2] + len(one_server).to_bytes(4, "big") + one_server + data[at - 1 :],
        data[: at - 1] + b"\0" + data[-32:],
        data[: at - 1] + b"\3" + data[at:],
        data[: at - 1] + b"\0" + data[at:],
        data[: params + 4] + b"\1" + data[params + 5 :],
        data[: params + 8] + b"\4" + data[params + 9 :],
        data[: params + 9] + b"\2" + data[params + 10 :],
    ]
    return [("task", {"task": one.hex()}) for one in bad]


def _sealing(shake: Shake) -> Steps:
    task, report = shake("task-id", 32), shake("report-id", 16)
    common = {"task": task.hex(), "report": report.hex()}
    steps: Steps = []
    keys = [rfc8032.public(shake(f"report-key/{i}", 32)).hex() for i in range(2)]
    for key, public, server in (
        (keys[0], "", 0),
        (keys[0], "", 1),
        (keys[1], "", 1),
        (keys[0], "0a0b", 1),
        (keys[0], "", 15),
    ):
        inputs = {**common, "key": key, "public": public, "server": server}
        steps.append(("share_info", inputs))
    digest = shake("set", 32).hex()
    for number, count, server in ((0, 3, 0), (7, 1000, 2), (2**32 - 1, 2**20, 15)):
        inputs = {"task": task.hex(), "number": number, "digest": digest}
        steps.append(("total_info", {**inputs, "count": count, "server": server}))
    for server in (1, 2):
        inputs = {"seed": shake(f"seed/{server}", 32).hex(), **common, "server": server}
        steps.append(("stream_keys", {**inputs, "segments": 3}))
    return steps + _openings(shake)


def _openings(shake: Shake) -> Steps:
    """HPKE is randomised: what is fixed is that these bytes open, and that no others do."""
    secret = secrets_of("hpke", 0)
    key, info = secret.public.sealing, shake("info", 40)
    steps: Steps = []
    for size in (0, 1, 32, 100):
        sealed = rfc9180.seal(key, info, shake("plain", size), shake(f"e/{size}", 32))
        steps.append(("hpke_open", {"info": info.hex(), "sealed": sealed.hex()}))
    short = rfc9180.seal(key, info, b"plain", shake("e", 32))
    for sealed, said in (
        (short[:-1], info),
        (short + b"\0", info),
        (short[:-1] + bytes([short[-1] ^ 1]), info),
        (bytes([short[0] ^ 1]) + short[1:], info),
        (short, info[:-1]),
        (short, b""),
        (short[:47], info),
        (b"", info),
        (bytes(32) + short[32:], info),
        (b"\1" + bytes(31) + short[32:], info),
    ):
        steps.append(("hpke_open", {"info": said.hex(), "sealed": sealed.hex()}))
    opening = secret.opening.expose().hex()
    return [(name, {"secret": opening, **inputs}) for name, inputs in steps]


def _digests(shake: Shake) -> Steps:
    ids = [shake(f"id/{i}", 16).hex() for i in range(5)]
    digests = [shake(f"digest/{i}", 32).hex() for i in range(5)]
    batch = shake("batch", 32).hex()
    seed, one_time = shake("signing", 32).hex(), shake("one-time", 32)
    key, task = rfc8032.public(one_time).hex(), shake("task", 32).hex()
    steps: Steps = []
    for public, m in (("", 2), ("", 5), ("00", 2)):
        report = {"report": ids[0], "public": public, "manifest": digests[:m]}
        steps.append(("report_digest", {**report, "key": key}))
        steps.append(("sign_report", {**report, "seed": one_time.hex(), "task": task}))
    for server in (0, 2, 15):
        receipt = {"seed": seed, "task": task, "digest": digests[0], "server": server}
        steps.append(("sign_receipt", receipt))
    pairs = [list(pair) for pair in zip(ids, digests, strict=True)]
    steps += [("set_digest", {"reports": some}) for some in ([], pairs[:1], pairs, pairs[::-1])]
    stated = {"seed": seed, "batch": batch, "count": 5, "digest": digests[0]}
    steps.append(("sign_statement", stated))
    steps.append(("sign_total", {**stated, "server": 2, "sealed": shake("sealed", 60).hex()}))
    return steps


def _signatures(shake: Shake) -> Steps:
    # RFC 8032 §7.1, tests 1 to 3
    known = (
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", ""),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82"),
    )
    steps: Steps = [("sign", {"seed": seed, "message": message}) for seed, message in known]
    seed, message = shake("signer", 32), b"message"
    key, signature = rfc8032.public(seed), rfc8032.sign(seed, message)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    more = (s + rfc8032.L).to_bytes(32, "little")
    bad = [signature, r + more, signature[:-1], signature + b"\0", b"", bytes(64), r + bytes(32)]
    bad += [bytes([r[0] ^ 1]) + signature[1:], signature[:-1] + bytes([signature[-1] ^ 0x80])]
    bad += [point + signature[32:] for point in small_orders()]
    steps += [_verify(key, message, one) for one in bad]
    steps.append(_verify(rfc8032.public(shake("other", 32)), message, signature))
    steps.append(_verify(key, b"another message", signature))
    steps += [_verify(point, message, point + bytes(32)) for point in small_orders()]
    canonical = [key, rfc8032.public(seed[::-1]), *small_orders()]
    canonical += [bytes(31), key + b"\0", bytes([2]) + bytes(31), b"\xff" * 32, mixed_order(key)]
    steps += [("check_signing_key", {"key": one.hex()}) for one in canonical]
    return steps


def _verify(key: bytes, message: bytes, signature: bytes) -> tuple[str, Data]:
    inputs = {"key": key, "message": message, "signature": signature}
    return "verify", {name: value.hex() for name, value in inputs.items()}


def small_orders() -> list[bytes]:
    """The eight points of small order, and every encoding of them that is not canonical."""
    torsion = rfc8032.decode(ORDER_8) or rfc8032.IDENTITY
    points = [rfc8032.multiply(k, torsion) for k in range(8)]
    encoded = []
    for x, y in points:
        for number in (y, y + rfc8032.P):
            for odd in {x & 1, 1} if x == 0 else {x & 1}:
                if number < 2**255:
                    encoded.append((number | odd << 255).to_bytes(32, "little"))
    return encoded


def mixed_order(key: bytes) -> bytes:
    """A key plus a point of order 8: on the curve, canonical, and outside the subgroup."""
    point, torsion = rfc8032.decode(key), rfc8032.decode(ORDER_8)
    if point is None or torsion is None:
        raise ValueError("neither of these is malformed")
    return rfc8032.encode(rfc8032.add(point, torsion))
