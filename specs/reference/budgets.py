"""A budget's rows, their chain, and what they come to (40-privacy.md §9.9 to §9.16)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from blocks import Cursor, H, Refused, u32

Data = dict[str, Any]
Told = tuple[bytes, int, int, tuple[tuple[int, bytes, int, int, int], ...]]
"""plan digest, trust, T, and per block: kind, v or p as bytes, d, the square, N."""

CHARGED, LEFT, SETTLED = range(3)
ORDERS = {*range(2, 64), *(m << k for k in range(3, 38) for m in range(8, 16))}
MOST_CLIENTS = 1 << 20


def do_read_budget(rows: list[str]) -> Data:
    book: Book | None = None
    before, hashes = bytes(32), []
    for number, content in enumerate(map(bytes.fromhex, rows)):
        before = H("budget-row", before, number, content)
        hashes.append(before)
        try:
            if book is None:
                book = Book(content)
            else:
                book.take(content)
        except Refused:
            raise Refused("StorageError", "40 §9.13") from None
    if book is None:
        return {"hashes": [], "anchors": [], "sums": None}
    anchors = [H("budget", book.opened[:16], number) for number in range(len(rows))]
    sums = None if book.filter is None else (b"\x06" + bytes(8) + book.sums()).hex()
    return {
        "hashes": [one.hex() for one in hashes],
        "anchors": [one.hex() for one in anchors],
        "sums": sums,
    }


def need(fine: bool) -> None:
    if not fine:
        raise Refused("WireError", "40 §9.13")


class Book:
    """opened, filter: the bytes of the rows that hold. standing: by key, a session, a state and
    what is told."""

    def __init__(self, content: bytes) -> None:
        cursor = Cursor(content)
        need(cursor.int(1) == 0)
        cursor.take(8)
        self.opened = opening(cursor)
        cursor.end()
        self.filter: bytes | None = None
        self.standing: dict[bytes, tuple[bytes, int, Told]] = {}
        self.refunds = 0

    def take(self, content: bytes) -> None:
        cursor = Cursor(content)
        kind = cursor.int(1)
        cursor.take(8)
        need(1 <= kind <= 6)
        [self.chosen, self.charged, self.left, self.settled, self.refunded, self.summed][kind - 1](
            cursor
        )
        cursor.end()

    def chosen(self, cursor: Cursor) -> None:
        found = filtering(cursor)
        need(not self.standing)
        self.filter = found

    def charged(self, cursor: Cursor) -> None:
        key, session, disclosure = cursor.take(32), cursor.take(32), told(cursor)
        need(self.filter is not None and key not in self.standing)
        need(session not in {one[0] for one in self.standing.values()})
        self.standing[key] = session, CHARGED, disclosure

    def left(self, cursor: Cursor) -> None:
        self.move(cursor.take(32), CHARGED, LEFT)

    def settled(self, cursor: Cursor) -> None:
        key, honest = cursor.take(32), cursor.int(4)
        self.move(key, LEFT, SETTLED)
        session, state, (plan, trust, rounds, blocks) = self.standing[key]
        if trust == 0 and honest > min(block[4] for block in blocks):
            blocks = tuple((*block[:4], min(honest, MOST_CLIENTS)) for block in blocks)
        self.standing[key] = session, state, (plan, trust, rounds, blocks)

    def refunded(self, cursor: Cursor) -> None:
        key = cursor.take(32)
        self.move(key, CHARGED, CHARGED)
        del self.standing[key]
        self.refunds += 1

    def move(self, key: bytes, before: int, after: int) -> None:
        need(key in self.standing and self.standing[key][1] == before)
        session, _, disclosure = self.standing[key]
        self.standing[key] = session, after, disclosure

    def summed(self, cursor: Cursor) -> None:
        """There is one way to write what the rows before come to."""
        need(self.filter is not None and cursor.take(cursor.left) == self.sums())

    def sums(self) -> bytes:
        assert self.filter is not None
        named: list[Told] = []
        charges = b""
        for key in sorted(self.standing):
            session, state, disclosure = self.standing[key]
            if disclosure not in named:
                named.append(disclosure)
            charges += key + session + bytes([state]) + u32(named.index(disclosure))
        found = self.opened + self.filter + self.refunds.to_bytes(8) + u32(len(named))
        for disclosure in named:
            found += written(disclosure)
        return found + u32(len(self.standing)) + charges


def opening(cursor: Cursor) -> bytes:
    start = cursor.at
    cursor.take(16)
    epsilon, delta = real(cursor.take(8)), real(cursor.take(8))
    need(2**-20 <= epsilon <= 1024 and 2**-64 <= delta < 1)
    need(cursor.int(1) < 2 and cursor.int(1) < 2)
    return cursor.data[start : cursor.at]


def filtering(cursor: Cursor) -> bytes:
    start = cursor.at
    order, smoothing, slack = cursor.int(8), cursor.int(1), cursor.take(8)
    need(order == 0 or order in ORDERS)
    if order or not smoothing:
        need(smoothing == 0 and slack == bytes(8))
    else:
        need(smoothing in (1, 2, 4) and 0 < real(slack) <= 1)
    return cursor.data[start : cursor.at]


def told(cursor: Cursor) -> Told:
    plan, trust, rounds = cursor.take(32), cursor.int(1), cursor.int(4)
    need(trust < 3 and 1 <= rounds <= 1 << 20)
    number = cursor.int(4)
    need(1 <= number <= 1024)
    return plan, trust, rounds, tuple(block(cursor) for _ in range(number))


def block(cursor: Cursor) -> tuple[int, bytes, int, int, int]:
    kind, how, d, square, n = (
        cursor.int(1),
        cursor.take(8),
        cursor.int(4),
        cursor.int(8),
        cursor.int(4),
    )
    need(kind in (1, 2, 3) and d >= 1 and square >= 1 and 1 <= n <= MOST_CLIENTS)
    if kind == 3:
        need(2**-64 <= real(how) < 0.5 and (d, n) == (1, 1))
    else:
        need(2**-20 <= real(how) <= 2**60)
        need(kind == 2 or n == 1 or real(how) >= 6.25)
    return kind, how, d, square, n


def written(disclosure: Told) -> bytes:
    plan, trust, rounds, blocks = disclosure
    found = plan + bytes([trust]) + u32(rounds) + u32(len(blocks))
    for kind, how, d, square, n in blocks:
        found += bytes([kind]) + how + u32(d) + square.to_bytes(8) + u32(n)
    return found


def real(raw: bytes) -> float:
    """NaN compares with nothing."""
    return float(struct.unpack(">d", raw)[0])


ALONE: dict[str, Callable[..., Data]] = {"read_budget": do_read_budget}
