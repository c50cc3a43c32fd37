"""The greeting of a member's link (01-wire.md §7.9, §7.13), either side of it, in plain Python.

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

from typing import Any

import active_blocks as active
import blocks
import rfc8032
from blocks import Cursor, Refused, u32

Data = dict[str, Any]
MEMBER, GREETING, PROOF = 8, 9, 5
LARGEST = {MEMBER: 90, GREETING: 84, PROOF: 84}


def frame(kind: int, roster: active.Roster, *body: bytes) -> bytes:
    """§6: version, kind, nonce; then the body."""
    return bytes([1, kind]) + roster.digest[:16] + b"".join(body)


def opened(data: bytes, kind: int, roster: active.Roster) -> Cursor:
    """§7.13, up to the nonce."""
    if len(data) > LARGEST[kind]:
        raise Refused("TooLarge", "§7.13")
    cursor = Cursor(data)
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "§7.13")
    if cursor.int(1) != kind:
        raise Refused("BadTag", "§7.13")
    if cursor.take(16) != roster.digest[:16]:
        raise Refused("RemoteProtocolError", "§7.13")
    return cursor


def only(data: bytes, kind: int, roster: active.Roster, size: int) -> bytes:
    """A body of one field."""
    cursor = opened(data, kind, roster)
    field = cursor.take(size)
    cursor.end()
    return field


def to_sign(who: str, roster: active.Roster, place: int, client: bytes, server: bytes) -> bytes:
    label = f"secagg/v1/sign-{who}-link".encode()
    return blocks.E(label, roster.digest, roster.epoch, place, client, server)


def verified(key: bytes, data: bytes, roster: active.Roster, message: bytes) -> None:
    """A proof."""
    if not rfc8032.verify(key, message, only(data, PROOF, roster, 64)):
        raise Refused("InvalidSignature", "§7.13")


def outcome(said: list[bytes], **more: Any) -> Data:
    return {"said": [one.hex() for one in said], **more}


def do_member_greets(roster: str, place: int, seed: str, randomness: str, heard: list[str]) -> Data:
    """heard: what came of the server, as far as it came."""
    members, own = active.parse_roster(bytes.fromhex(roster)), bytes.fromhex(randomness)
    key, frames = bytes.fromhex(seed), [bytes.fromhex(one) for one in heard]
    said = [frame(MEMBER, members, members.digest, u32(members.epoch), u32(place), own)]
    if not frames:
        return outcome(said)
    theirs = only(frames[0], GREETING, members, 32)
    proof = rfc8032.sign(key, to_sign("member", members, place, own, theirs))
    said.append(frame(PROOF, members, proof))
    if len(frames) == 1:
        return outcome(said)
    verified(members.server, frames[1], members, to_sign("server", members, place, own, theirs))
    return outcome(said, met=members.server.hex())


def do_server_greets(roster: str, seed: str, randomness: str, heard: list[str]) -> Data:
    """heard: what came of the member, as far as it came."""
    members, own = active.parse_roster(bytes.fromhex(roster)), bytes.fromhex(randomness)
    frames = [bytes.fromhex(one) for one in heard]
    if not frames:
        return outcome([])
    cursor = opened(frames[0], MEMBER, members)
    digest, epoch, place, theirs = cursor.take(32), cursor.int(4), cursor.int(4), cursor.take(32)
    cursor.end()
    if (digest, epoch) != (members.digest, members.epoch) or place not in members.members:
        raise Refused("RemoteProtocolError", "§7.13")
    said = [frame(GREETING, members, own)]
    if len(frames) == 1:
        return outcome(said)
    message = to_sign("member", members, place, theirs, own)
    verified(members.keys[place], frames[1], members, message)
    proof = rfc8032.sign(bytes.fromhex(seed), to_sign("server", members, place, theirs, own))
    return outcome([*said, frame(PROOF, members, proof)], met=members.keys[place].hex())


ALONE = {"member_greets": do_member_greets, "server_greets": do_server_greets}
