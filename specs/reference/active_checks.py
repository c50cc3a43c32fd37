"""What the operations without a session must give, of 12-active.md, 13 and 14: see checks.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import active_blocks as active
import blocks
import rfc8032
from blocks import Cursor, H, Refused, u32

Data = dict[str, Any]


def raw(fields: list[Any]) -> list[Any]:
    return [one if isinstance(one, int) else bytes.fromhex(one) for one in fields]


def do_statement(seed: str, name: str, fields: list[Any]) -> Data:
    message = active.statement(name, *raw(fields))
    signature = rfc8032.sign(bytes.fromhex(seed), message)
    return {"message": message.hex(), "signature": signature.hex()}


def do_share_digests(session: str, dealer: int, holder: int, pair: list[str]) -> Data:
    b, s = map(bytes.fromhex, pair)
    two = active.digests_of(bytes.fromhex(session), dealer, holder, (b, s))
    return {"digests": [one.hex() for one in two], "told": H("digests", *two).hex()}


def do_tree_path(leaves: list[str], index: int) -> Data:
    nodes = raw(leaves)
    steps = active.path(nodes, index)
    top = active.climbed(nodes[index], index, len(nodes), steps)
    if top != blocks.root(nodes) or len(steps) != active.depth(len(nodes)):
        raise AssertionError("the path leads elsewhere")
    return {"root": top.hex(), "path": [step.hex() for step in steps]}


def do_path_root(leaf: str, index: int, size: int, path: list[str]) -> Data:
    if len(path) != active.depth(size):
        raise Refused("WireError", "V3")
    return {"root": active.climbed(bytes.fromhex(leaf), index, size, raw(path)).hex()}


def do_signers(session: str, size: int, params: list[int], corrupted: int) -> Data:
    """13-active-parameters.md P9"""
    n, *_, m, q = params
    found, quorum = active.signers(bytes.fromhex(session), size, n, m, q, corrupted)
    return {"signers": found, "quorum": quorum}


def do_active_offer(protocol: str, roster: str, **values: str) -> Data:
    v = {name: bytes.fromhex(value) for name, value in values.items()}
    members = active.parse_roster(bytes.fromhex(roster))
    made = active.offer(
        protocol, v["plan_digest"], v["payload_digest"], members.digest, members.epoch, v["nonce"]
    )
    return {"offer": made.hex()}


def do_identity(roster: str, place: Any, seed: str) -> Data:
    """V1"""
    members = active.parse_roster(bytes.fromhex(roster))
    if place != "server" and place not in members.members:
        raise Refused("ParameterError", "V1")
    key = members.server if place == "server" else members.keys[place]
    if rfc8032.public(bytes.fromhex(seed)) != key:
        raise Refused("ParameterError", "V1")
    return {}


def do_roster(roster: str) -> Data:
    members = active.parse_roster(bytes.fromhex(roster))
    return {"digest": members.digest.hex(), "members": sorted(members.members)}


def do_open_roster(file: str, admin: str, epoch: int, now: int) -> Data:
    """14-roster.md §1, §4"""
    data, pinned = bytes.fromhex(file), bytes.fromhex(admin)
    if data[-96:-64] != pinned:
        raise Refused("PolicyRefused", "14 §1")
    cursor = Cursor(data)
    body = active.roster_of(cursor)
    key, signature = cursor.take(32), cursor.take(64)
    digest = H("roster", body)
    message = blocks.E(b"secagg/v1/sign-roster", digest, int.from_bytes(body[1:5], "big"))
    if not rfc8032.verify(key, message, signature):
        raise Refused("InvalidSignature", "14 §1")
    members = active.parse_roster(body)
    if not rfc8032.is_key(key):
        raise Refused("InvalidKey", "14 §1")
    if key in (members.server, *members.keys):
        raise Refused("ParameterError", "14 §1")
    cursor.end()
    if members.epoch < epoch or now > members.not_after:
        raise Refused("PolicyRefused", "14 §1")
    return {"digest": digest.hex(), "epoch": members.epoch}


def do_enrolment(request: str) -> Data:
    """14-roster.md §2"""
    cursor = Cursor(bytes.fromhex(request))
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "14 §2")
    name, key, signature = cursor.prefixed(64), cursor.take(32), cursor.take(64)
    if not name or name.strip(b" ") != name or any(not 0x20 <= c <= 0x7E for c in name):
        raise Refused("ParameterError", "14 §2")
    if not rfc8032.is_key(key):
        raise Refused("InvalidKey", "14 §2")
    if not rfc8032.verify(key, blocks.E(b"secagg/v1/sign-enrol", key, name), signature):
        raise Refused("InvalidSignature", "14 §2")
    cursor.end()
    return {"name": name.decode(), "key": key.hex()}


def do_heads(transcript: str) -> Data:
    """12-active.md §7.1: of each record its kind, and the head behind it."""
    cursor = Cursor(bytes.fromhex(transcript))
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "§7")
    head, found = active.FIRST_HEAD, []
    while cursor.left:
        said = cursor.prefixed(cursor.left)
        head = active.chained(head, u32(len(said)) + said)
        found.append([said[0], head.hex()])
    return {"heads": found}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
