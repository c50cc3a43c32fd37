"""Building blocks of suite 2 that need no session (12-active.md, 14-roster.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import borderline
from active_rounds import COMMITTEE, FOUR, SIX
from active_scripts import ActiveRound
from operations import Data, perform

from secagg.crypto import labels, sign
from secagg.roster import Enrolment
from secagg.types import Seed
from secagg_protocols.secagg.active.statements import FORMS

Shake = Callable[[str, int], bytes]
Steps = list[tuple[str, Data]]


def scenarios(shake: Shake, scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    yield "active-statements", scenario_of("what is signed", "12-active.md §3", _says(shake))
    yield "active-paths", scenario_of("paths in the tree", "12-active.md §2", _paths(shake))
    yield "active-signers", scenario_of("who may sign", "12-active.md §2", _signers(shake))
    steps = borderline.active_steps()
    yield "active-plans", scenario_of("plans at the edge", "13-active-parameters.md", steps)
    yield "active-identity", scenario_of("whose key", "12-active.md §5 V1", _identities())
    yield "active-roster", scenario_of("rosters, requests", "14-roster.md §1", _rosters(shake))
    yield "active-transcript", scenario_of("transcripts", "12-active.md §7", _transcripts())


def _says(shake: Shake) -> Steps:
    steps: Steps = []
    for name, form in FORMS.items():
        fields = [
            shake(f"{name}/{what}", size).hex() if size else 7 + place
            for place, (what, size) in enumerate(form.fields)
        ]
        seed = shake(f"{name}/seed", 32).hex()
        steps.append(("statement", {"seed": seed, "name": name, "fields": fields}))
    pair = [b"\0".join([shake(f"pair/{kind}", 39), b""]).hex() for kind in "bs"]
    ends = {"session": shake("session", 32).hex(), "dealer": 258, "holder": 3}
    steps.append(("share_digests", {**ends, "pair": pair}))
    offered = {"plan_digest": shake("plan", 32).hex(), "payload_digest": shake("task", 32).hex()}
    for protocol in ("secagg", "secagg+"):
        for nonce in (bytes(16), shake("nonce", 16)):
            more = {"roster": SIX.roster.encode().hex(), "nonce": nonce.hex()}
            steps.append(("active_offer", {"protocol": protocol, **offered, **more}))
    return steps


def _paths(shake: Shake) -> Steps:
    steps: Steps = []
    leaves = [shake(f"leaf/{i}", 32).hex() for i in range(11)]
    for size in (1, 2, 3, 6, 11):
        for index in sorted({0, size // 2, size - 1}):
            steps.append(("tree_path", {"leaves": leaves[:size], "index": index}))
    whole = {"operation": "tree_path", "leaves": leaves, "index": 10}
    good = perform(whole)["path"]  # 11 -> 6 -> 3 -> 2: alone twice
    one = {"leaf": leaves[10], "index": 10, "size": 11}
    steps.append(("path_root", {**one, "path": good}))
    for at in (0, 2):
        strange = [leaves[0] if i == at else step for i, step in enumerate(good)]
        steps.append(("path_root", {**one, "path": strange}))
    return steps


def _signers(shake: Shake) -> Steps:
    session = shake("session", 32).hex()
    cases = [
        (FOUR.params, 1, (3, 4)),
        (COMMITTEE.params, 1, (5, 6)),
        ((2000, 306, 243, 1800, 1800, 247, 199), 500, (1800,)),
    ]
    return [
        ("signers", {"session": session, "size": n, "params": list(params), "corrupted": corrupted})
        for params, corrupted, sizes in cases
        for n in sizes
    ]


def _identities() -> Steps:
    roster = SIX.roster.encode().hex()
    cases: list[tuple[Any, Any]] = [
        (1, 1), (7, 7), ("server", "server"), (1, 2), (3, 3), (8, 7), (1, "server"), ("server", 1)
    ]  # fmt: skip
    return [
        ("identity", {"roster": roster, "place": p, "seed": SIX.seed(whose).expose().hex()})
        for p, whose in cases
    ]


def _rosters(shake: Shake) -> Steps:
    data, admin = SIX.roster.encode(), Seed(shake("admin", 32))
    key = sign.public_key(admin)

    def put(at: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + len(new) :]

    # version 1, epoch 4, not after 8, the server's key, N: the members' keys begin at 49
    weak, other = b"\1" + bytes(31), (2**255 - 18).to_bytes(32, "little")
    bad = [
        data[:-1], data + b"\0", put(0, b"\2"), put(45, b"\0\x10\0\1"), data[:45] + bytes(4),
        put(49, weak), put(49, other), put(13, weak), put(49, data[81:113]), put(49, data[13:45]),
        put(13, bytes(32)),
    ]  # fmt: skip
    steps: Steps = [("roster", {"roster": one.hex()}) for one in [data, *bad]]

    def file(roster: bytes, seed: Seed = admin) -> bytes:
        epoch = int.from_bytes(roster[1:5])
        said = labels.encode(b"secagg/v1/sign-roster", labels.digest(labels.ROSTER, roster), epoch)
        return roster + sign.public_key(seed) + sign.sign(seed, said)

    good, member = file(data), SIX.seed(1)
    forged = bytearray(good)
    forged[4] ^= 1
    opened: list[tuple[bytes, bytes, int, int]] = [
        (good, key, 0, 0), (good, key, 7, 1 << 33), (good, key, 8, 0),
        (good, key, 0, 1 + (1 << 33)), (good, sign.public_key(member), 0, 0),
        (bytes(forged), key, 0, 0), (good + b"\0", key, 0, 0), (file(put(49, weak)), key, 0, 0),
        (file(put(49, data[81:113])), key, 0, 0), (good[:20] + good[-96:], key, 0, 0),
        (file(data, member), sign.public_key(member), 0, 0),
    ]  # fmt: skip
    steps += [
        ("open_roster", {"file": one.hex(), "admin": pinned.hex(), "epoch": epoch, "now": now})
        for one, pinned, epoch, now in opened
    ]
    request = Enrolment.make("Ada Lovelace", member).encode()
    longest = Enrolment.make("~" * 64, member).encode()
    requests = [
        request, longest, request[:-1], request + b"\0", b"\2" + request[1:],
        request.replace(b"Ada", b"Eve"), request.replace(b"Ada", b" da"),
        request.replace(b"Ada", b"\nda"),
        longest.replace(b"\0\0\0@", b"\0\0\0A"), request[:17] + weak + request[49:],
        request[:1] + bytes(4) + request[17:],
    ]  # fmt: skip
    return steps + [("enrolment", {"request": one.hex()}) for one in requests]


def _transcripts() -> Steps:
    """Of a session with a result, and of one that ends before."""
    script = ActiveRound(COMMITTEE, lost=frozenset({(2, "consistency")})).run()
    pieces = [piece for step in script.steps for piece in step["outputs"].get("records", [])]
    return [("heads", {"transcript": "".join(pieces[:end])}) for end in (1, 4, len(pieces))]
