"""The building blocks of specs/12-active.md and 14-roster.md once more, in plain Python.

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import blocks
import rfc8032
from blocks import Cursor, H, Refused, T, bitmap, u32

ZERO = bytes(32)

# 14-roster.md §1


@dataclass
class Roster:
    epoch: int
    not_after: int
    server: bytes
    keys: list[bytes]
    digest: bytes

    @property
    def size(self) -> int:
        return len(self.keys)

    @property
    def members(self) -> set[int]:
        return {place for place, key in enumerate(self.keys) if key != ZERO}


def roster_of(cursor: Cursor) -> bytes:
    """The bytes of a roster, the keys in it not looked at."""
    start = cursor.at
    if cursor.int(1) != 1:
        raise Refused("UnknownVersion", "14 §1")
    cursor.take(4 + 8 + 32)
    cursor.take(32 * cursor.count(2**20))
    return cursor.data[start : cursor.at]


def parse_roster(data: bytes) -> Roster:
    roster_of(whole := Cursor(data))
    whole.end()
    cursor = Cursor(data[1:])
    epoch, not_after, server = cursor.int(4), cursor.int(8), cursor.take(32)
    keys = [cursor.take(32) for _ in range(cursor.int(4))]
    used = [server, *(key for key in keys if key != ZERO)]
    if not keys:
        raise Refused("ParameterError", "14 §1")
    if not all(map(rfc8032.is_key, used)):
        raise Refused("InvalidKey", "14 §1")
    if len(set(used)) != len(used):
        raise Refused("ParameterError", "14 §1")
    return Roster(epoch, not_after, server, keys, H("roster", data))


# 12-active.md §2


def offer(
    protocol: str, plan: bytes, payload: bytes, roster: bytes, epoch: int, nonce: bytes
) -> bytes:
    """Of digests."""
    return H("offer", protocol.encode(), 1, 2, plan, payload, roster, epoch, nonce)


def path(leaves: Sequence[bytes], at: int) -> list[bytes]:
    """§2.3"""
    level, found = list(leaves), []
    while len(level) > 1:
        found.append(level[at ^ 1] if at ^ 1 < len(level) else ZERO)
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [T(1, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        at //= 2
    return found


def climbed(leaf: bytes, at: int, size: int, steps: Sequence[bytes]) -> bytes:
    """The root that a path leads to."""
    for step in steps:
        if at ^ 1 < size:
            leaf = T(1, step, leaf) if at % 2 else T(1, leaf, step)
        elif step != ZERO:
            raise Refused("WireError", "V3")
        at, size = at // 2, (size + 1) // 2
    return leaf


def depth(size: int) -> int:
    """ceil(log2 size)"""
    return (max(size, 1) - 1).bit_length()


def signers(
    session: bytes, size: int, n: int, m: int, q: int, corrupted: int
) -> tuple[list[int], int]:
    """§2.5: indices, and how many of them are a quorum."""
    if m == n:
        return list(range(size)), (size + corrupted) // 2 + 1
    order, _ = blocks.ring(session, size, "signers")
    return sorted(order[:m]), q


# 12-active.md §3


def statement(name: str, *fields: bytes | int) -> bytes:
    return blocks.E(b"secagg/v1/sign-" + name.encode(), *fields)


def signed(seed: bytes, name: str, *fields: bytes | int) -> bytes:
    return rfc8032.sign(seed, statement(name, *fields))


def check(
    key: bytes, signature: bytes, rule: str, layer: str, name: str, *fields: bytes | int
) -> None:
    if not rfc8032.verify(key, statement(name, *fields), signature):
        raise Refused(layer, rule)


def set_of(members: set[int], size: int) -> bytes:
    return H("set", bitmap(members, size))


def share_digest(session: bytes, dealer: int, holder: int, letter: bytes, share: bytes) -> bytes:
    return H("share-digest", session, dealer, holder, letter, share)


def digests_of(session: bytes, dealer: int, holder: int, pair: tuple[bytes, bytes]) -> list[bytes]:
    """Of a share of b, and of one of s."""
    two = zip((b"b", b"s"), pair, strict=True)
    return [share_digest(session, dealer, holder, letter, share) for letter, share in two]


# 12-active.md §7


def record(kind: int, *parts: bytes) -> bytes:
    said = bytes([kind]) + b"".join(parts)
    return u32(len(said)) + said


def chained(head: bytes, one: bytes) -> bytes:
    return H("transcript", head, one[4:])


FIRST_HEAD = H("transcript")


def lanes(segments: blocks.Segments, vector: Sequence[Sequence[int]]) -> bytes:
    return b"".join(
        element.to_bytes(blocks.lane_of(width) // 8, "little")
        for (width, _), lane in zip(segments, vector, strict=True)
        for element in lane
    )
