"""How a member and the server of its roster greet each other, or do not (01-wire.md §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import active_blocks as active
import rfc8032
from active_rounds import SIX
from operations import Data, perform

from secagg.roster import Roster
from secagg.types import Seed
from secagg.wire.hello import MemberHello, encode_greeting, encode_proof, roster_nonce

Shake = Callable[[str, int], bytes]
Steps = list[tuple[str, Data]]

ROSTER = SIX.roster
"""Of eight places in epoch 7; place 3 is excluded."""
NONCE = roster_nonce(ROSTER.digest)


def scenarios(shake: Shake, scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    steps = list(_steps(shake))
    yield "active-greeting", scenario_of("a member's link", "01-wire.md §7", steps)


@dataclass(frozen=True)
class Talk:
    """Both sides of one greeting."""

    place: int
    member: bytes
    server: bytes
    """What each draws."""
    roster: Roster = ROSTER

    def by_member(self, *heard: bytes, seed: Seed | None = None) -> tuple[str, Data]:
        own = (seed or SIX.seed(self.place)).expose().hex()
        given = {"place": self.place, "seed": own, "randomness": self.member.hex()}
        return "member_greets", self._told(given, heard)

    def by_server(self, *heard: bytes) -> tuple[str, Data]:
        given = {"seed": SIX.seed("server").expose().hex(), "randomness": self.server.hex()}
        return "server_greets", self._told(given, heard)

    def _told(self, given: Data, heard: tuple[bytes, ...]) -> Data:
        return {"roster": self.roster.encode().hex()} | given | {"heard": [f.hex() for f in heard]}

    @property
    def frames(self) -> list[bytes]:
        """Member, greeting, proof, proof."""
        (hello,) = said(self.by_member())
        (greeting,) = said(self.by_server(hello))
        _, proof = said(self.by_member(greeting))
        return [hello, greeting, proof, said(self.by_server(hello, proof))[1]]


def said(step: tuple[str, Data]) -> list[bytes]:
    operation, inputs = step
    outputs = perform({"operation": operation, **inputs})
    return [bytes.fromhex(one) for one in outputs["said"]]


def _steps(shake: Shake) -> Iterator[tuple[str, Data]]:
    def talk(place: int, roster: Roster = ROSTER) -> Talk:
        return Talk(place, shake(f"member/{place}", 32), shake(f"server/{place}", 32), roster)

    later = replace(ROSTER, epoch=2**32 - 1, not_after=2**64 - 1)
    for one in (talk(1), talk(7), talk(0), talk(4, later)):
        hello, greeting, proof, back = one.frames
        yield one.by_member()
        yield one.by_member(greeting)
        yield one.by_member(greeting, back)
        yield one.by_server()
        yield one.by_server(hello)
        yield one.by_server(hello, proof)
    one, other = talk(1), talk(2)
    hello, greeting, proof, back = one.frames
    for frame in _spoilt(hello, 84, 90):
        yield one.by_server(frame)
    for frame in _spoilt(greeting, 84, 84):
        yield one.by_member(frame)
    for frame in _spoilt(proof, 84, 84):
        yield one.by_server(hello, frame)
    for frame in _spoilt(back, 84, 84):
        yield one.by_member(greeting, frame)
    yield from _hellos(one, proof)
    yield from _proofs(one, other, shake)


def _spoilt(whole: bytes, most: int, own: int) -> Iterator[bytes]:
    """Of any frame: its size, its head, its body. most: of what is no member. own: its limit."""
    sizes = {len(whole) + 1, own, own + 1, most + 1}
    yield from (whole + bytes(size - len(whole)) for size in sorted(sizes) if size > len(whole))
    yield from (whole[:size] for size in (0, 1, 2, 17, 18, len(whole) - 1))
    yield b"\2" + whole[1:]
    yield b"\0" + whole[1:]
    yield from (
        whole[:1] + bytes([kind]) + whole[2:] for kind in (1, 4, 5, 8, 9, 10) if kind != whole[1]
    )
    yield whole[:2] + bytes(16) + whole[18:]
    yield whole[:17] + bytes([whole[17] ^ 1]) + whole[18:]
    # what is wrong first decides: a version in what is too large, a nonce in what is too short
    yield b"\2" + whole[1:] + bytes(own)
    yield whole[:2] + bytes(16) + whole[18:-1]


def _hellos(one: Talk, proof: bytes) -> Iterator[tuple[str, Data]]:
    """What a member says that it is, and then proves something else or nothing."""
    digest = ROSTER.digest
    other = digest[:16] + bytes(16)
    hello = MemberHello(digest, 7, one.place, one.member)  # type: ignore[arg-type]
    for change in (
        {"epoch": 6}, {"epoch": 8}, {"place": 3}, {"place": 8}, {"place": 2**32 - 1},
        {"roster": other}, {"roster": other, "epoch": 6},
    ):  # fmt: skip
        changes: Any = change
        yield one.by_server(replace(hello, **changes).encode())
    for change in ({"place": 2}, {"challenge": bytes(32)}):
        changes = change
        yield one.by_server(replace(hello, **changes).encode(), proof)


def _proofs(one: Talk, other: Talk, shake: Shake) -> Iterator[tuple[str, Data]]:
    """Signatures of other keys, and of other words."""
    hello, greeting, proof, back = one.frames
    fields = (ROSTER.digest, 7, one.place, one.member, one.server)

    def signed(who: Any, label: str, *values: bytes | int) -> bytes:
        message = active.blocks.E(f"secagg/v1/sign-{label}".encode(), *values)
        return encode_proof(rfc8032.sign(SIX.seed(who).expose(), message), NONCE)

    digest, epoch, place, theirs, ours = fields
    strange: list[tuple[bytes | int, ...]] = [
        (bytes(32), epoch, place, theirs, ours),
        (digest, 8, place, theirs, ours),
        (digest, epoch, 2, theirs, ours),
        (digest, epoch, place, ours, theirs),
        (digest, epoch, place, theirs, theirs),
        (digest, epoch, place, theirs),
    ]
    assert signed(1, "member-link", *fields) == proof
    for values in strange:
        yield one.by_server(hello, signed(1, "member-link", *values))
        yield one.by_member(greeting, signed("server", "server-link", *values))
    yield one.by_server(hello, signed(1, "server-link", *fields))
    yield one.by_server(hello, signed(2, "member-link", *fields))
    yield one.by_server(hello, signed("server", "member-link", *fields))
    yield one.by_member(greeting, signed("server", "member-link", *fields))
    yield one.by_member(greeting, signed(1, "server-link", *fields))
    yield one.by_server(hello, back)
    yield one.by_member(greeting, proof)
    yield one.by_server(hello, other.frames[2])
    yield one.by_member(greeting, other.frames[3])
    # the member has another seed than its place's key: its server is nobody to whom it speaks
    (_, stolen) = said(other.by_member(greeting, seed=SIX.seed(1)))
    yield other.by_server(other.frames[0], stolen)
    # s + L: the signature once more, not canonical
    s = int.from_bytes(proof[-32:], "little") + rfc8032.L
    yield one.by_server(hello, proof[:-32] + s.to_bytes(32, "little"))
    yield one.by_member(encode_greeting(shake("another", 32), NONCE), back)
