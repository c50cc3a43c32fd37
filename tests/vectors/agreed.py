"""Terms of a service, and the plans that follow from them (specs/50-service.md §1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secagg.fields import FixedPoint, Integer
from secagg.plans.terms import Terms
from secagg.wire.pace import Asked, Later, Ready, Why

Steps = list[tuple[str, dict[str, Any]]]

VOTES = {"votes": Integer(3, 7)}
UPDATE = {"update": FixedPoint(1000, 1.0, 16)}
BOTH = {**UPDATE, **VOTES}


def _terms() -> list[tuple[Terms, list[tuple[int, int]]]]:
    """Each with (n, N) that are asked for, allowed or not."""
    return [
        (Terms.of(VOTES, (7, 12)), [(7, 7), (7, 12), (12, 12), (9, 10), (6, 12), (13, 13)]),
        (Terms.of(VOTES, (9, 12), population=40), [(9, 40), (12, 12), (10, 9), (10, 41)]),
        (Terms.of(UPDATE, (5, 5), corrupt="1/3"), [(5, 5)]),
        (
            Terms.of(BOTH, (48, 70), corrupt="1/50", max_weight=100, clipped=True),
            [(48, 70), (50, 50), (51, 60), (63, 64), (66, 66), (70, 70), (65, 70)],
        ),
        (
            Terms.of(VOTES, (5, 9), corrupt=0, dropout="1/3", min_clients=5),
            [(5, 9), (8, 9), (9, 9)],
        ),
        (Terms.of(VOTES, (12, 14), protocol="secagg+"), [(12, 12), (13, 14)]),
        (
            Terms.of(VOTES, (8, 10), adversary="active", protocol="secagg", dropout="1/10"),
            [(8, 10), (10, 10)],
        ),
    ]


def good() -> Steps:
    steps: Steps = []
    for terms, asked in _terms():
        data = terms.encode().hex()
        steps.append(("decode_terms", {"terms": data}))
        for clients, population in asked:
            inputs = {"terms": data, "clients": clients, "population": population}
            steps.append(("plan_of_terms", inputs))
    return steps


def bad() -> Steps:
    """What is changed in good ones, by place: version, planner, each number, the protocol."""
    data = Terms.of(VOTES, (7, 12)).encode()

    def put(at: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + len(new) :]

    def u32(value: int) -> bytes:
        return value.to_bytes(4)

    changed = [
        b"", data[:-1], data + b"\0", put(0, b"\0"), put(0, b"\2"), put(1, b"\0"), put(1, b"\2"),
        put(2, u32(0)), put(2, u32(13)), put(2, u32(6)), put(6, u32(10_001)), put(6, u32(6)),
        put(10, u32(11)), put(10, u32(1000)), put(14, u32(2)), put(18, u32(0)), put(14, u32(10)),
        put(22, u32(5)), put(30, b"\2"), put(31, b"\2"), put(31, b"\1"), put(32, u32(8)),
        put(36, u32(65)), data[:36] + u32(8) + b"additive" + data[40:],
        data[:36] + u32(8) + b"plainsum" + data[40:], data[:36] + u32(4) + b"none" + data[40:],
        put(40, u32(0)), put(40, u32(2)), put(44, u32(0)),
        data.replace(b"\0\0\0\5votes", b"\0\0\0\7clipped"),
    ]  # fmt: skip
    return [("decode_terms", {"terms": one.hex()}) for one in changed]


def pace(shake: Callable[[str, int], bytes]) -> Steps:
    nonce = shake("nonce", 16)
    asked, later = Asked(nonce, 5).encode(), Later(nonce, 10_000, Why.FULL).encode()
    good = [asked, Asked(nonce, 65_535).encode(), Ready(nonce).encode()]
    good += [Later(bytes(16), 2**32 - 1, why).encode() for why in Why]
    bad = [
        b"", asked[:-1], asked + b"\0", asked[:-2] + bytes(2), b"\2" + asked[1:],
        b"\1\x0f" + asked[2:], b"\1\3" + asked[2:], later[:-5] + bytes(4) + b"\1",
        later[:-1] + b"\0", later[:-1] + b"\6", later + b"\0",
    ]  # fmt: skip
    return [("decode_pace", {"pace": one.hex()}) for one in good + bad]
