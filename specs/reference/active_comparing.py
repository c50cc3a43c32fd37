"""What clients were told, and what two files show side by side (12-active.md §8).

Part of the second implementation: it imports nothing of the packages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import active_blocks as active
from active_judging import FORMS, OF_SERVER, Statement, Transcript, check, read_transcript
from blocks import Cursor, u32

Data = dict[str, Any]
TOLD = bytes([1, 6])
MOST = 2**16

Said = tuple[Any, str, tuple[Any, ...], bytes]
"""Signer, name, values, signature."""


def told(data: bytes, roster: active.Roster) -> Iterator[Said]:
    cursor = Cursor(data)
    check(cursor.take(2) == TOLD, "the first two bytes", "WireError")
    last, number = b"", 0
    while cursor.left:
        number += 1
        check(number <= MOST, "too many", "WireError")
        said = Statement(cursor)
        piece = said.data
        check(number == 1 or piece > last, "the order", "WireError")
        check(said.name in OF_SERVER, "not of a server", "WireError")
        said.checked(roster.server)
        last = piece
        yield "server", said.name, tuple(said.values), said.signature


class Kept(Transcript):
    """A transcript, and all that is signed in it but `keys`, in the order of the signatures."""

    def __init__(self, roster: active.Roster) -> None:
        super().__init__(roster)
        self.kept: list[Said] = []

    def server(self, signature: bytes, name: str, *fields: bytes | int) -> None:
        super().server(signature, name, *fields)
        self.kept.append(("server", name, fields, signature))

    def member(self, index: int, signature: bytes, name: str, *fields: bytes | int) -> None:
        super().member(index, signature, name, *fields)
        self.kept.append((self.ids[index], name, (self.session, index, *fields), signature))


def of_file(data: bytes, roster: active.Roster) -> list[Said]:
    if data[:2] == TOLD:
        return list(told(data, roster))
    reading = Kept(roster)
    read_transcript(reading, data)
    return reading.kept


def context_of(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values[: len(FORMS[name][0].split())]


def written(said: Said) -> bytes:
    _, name, values, signature = said
    fields = (u32(one) if isinstance(one, int) else one for one in values)
    return u32(len(name)) + name.encode() + b"".join(fields) + signature


def evidence(one: Said, other: Said) -> bytes:
    """Kind 1."""
    signer = bytes(5) if one[0] == "server" else b"\1" + u32(one[0])
    return b"\1\1" + signer + b"".join(sorted((written(one), written(other))))


def do_equivocations(roster: str, files: list[str]) -> Data:
    members = active.parse_roster(bytes.fromhex(roster))
    everything = [said for file in files for said in of_file(bytes.fromhex(file), members)]
    first: dict[Any, Said] = {}
    found: dict[Any, bytes] = {}
    for said in everything:
        signer, name, values, _ = said
        place = (signer, name, context_of(name, values))
        before = first.setdefault(place, said)
        if before[2] != values and place not in found:
            found[place] = evidence(before, said)
    return {"evidence": [one.hex() for one in found.values()]}


ALONE = {"equivocations": do_equivocations}
