"""A budget's rows: what this code makes of them, and the scenarios (40 §9.13, §9.14, §9.16)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from secagg.budget.accounts import Accounts, taken
from secagg.budget.entries import ORIGIN, Opened, anchor_key, encode, linked
from secagg.dp import Claim
from secagg.dp.mechanisms import Block
from secagg.effects import Charge, Step
from secagg.errors import StorageError
from secagg.noise import Kind, Noise, Response
from secagg.plans.disclosure import Counting, Disclosure

Data = dict[str, Any]
Steps = list[tuple[str, Data]]
Shake = Callable[[str, int], bytes]


def _read_budget(rows: list[str]) -> Data:
    """The chain, its anchors, and the row of sums that it comes to, at the time 0."""
    accounts: Accounts | None = None
    before, hashes = ORIGIN, []
    for number, content in enumerate(rows):
        row = linked(before, number, bytes.fromhex(content))
        accounts, before = taken(accounts, row), row.hash
        hashes.append(row.hash.hex())
    if accounts is None:
        return {"hashes": [], "anchors": [], "sums": None}
    anchors = [anchor_key(accounts.opened.id, number).hex() for number in range(len(rows))]
    sums = accounts.sums()
    return {
        "hashes": hashes,
        "anchors": anchors,
        "sums": None if sums is None else encode(sums, 0).hex(),
    }


ALONE: dict[str, Callable[..., Data]] = {"read_budget": _read_budget}


def scenarios(
    shake: Shake, scenario_of: Callable[[str, str, Steps], Data]
) -> Iterator[tuple[str, Data]]:
    yield "budget", scenario_of("a budget's rows", "40-privacy.md §9.13", _accepted(shake))
    yield "budget-refused", scenario_of("rows of no budget", "40-privacy.md §9.13", _bad(shake))


def _short(shake: Shake) -> list[bytes]:
    """Two charges, of which one has left, their sums, and a refund."""
    rows = _history(shake)
    keys = [row[9:41] for row in rows if row[0] == 2][:2]
    of = {2: keys, 3: keys[:1]}
    few = [row for row in rows if row[0] < 2 or row[9:41] in of.get(row[0], ())]
    sums = _read_budget([row.hex() for row in few])["sums"]
    return [*few, bytes.fromhex(sums), b"\5" + few[3][1:9] + keys[1]]


def _history(shake: Shake) -> list[bytes]:
    """Plans of every kind of noise, every step, and sums in the middle."""
    claim, counting = Claim(8.0, 2.0**-14), Counting("example", "readers")
    accounts = Accounts(Opened(shake("budget", 16), claim, counting))
    rows = [encode(accounts.opened, 1_700_000_000)]
    wide = Block(Noise(Kind.GAUSSIAN, 2.0**30), 1970, 2**30 + 12345, 18)
    narrow = Block(Noise(Kind.SKELLAM, 40.5), 8, 25, 18)
    told = [
        Disclosure(shake("plan a", 32), "distributed", 10, (wide,)),
        Disclosure(shake("plan b", 32), "distributed", 1, (wide, narrow)),
        Disclosure(shake("plan c", 32), "local", 3, (Block(narrow.noise, 3, 1, 1),)),
        Disclosure(shake("plan d", 32), "local", 1, (Block(Response(0.25), 1, 1, 1),)),
    ]
    keys = [shake(f"charge {number}", 32) for number in range(6)]
    steps = [
        *((key, Step.CHARGE, told[n % 4], 0) for n, key in enumerate(keys)),
        *((key, Step.LEAVE, None, 0) for key in keys[:4]),
        *((key, Step.SETTLE, None, 30) for key in keys[:2]),
        (keys[4], Step.REFUND, None, 0),
        (keys[4], Step.CHARGE, told[1], 0),
        (keys[5], Step.REFUND, None, 0),
    ]
    for time, (key, step, disclosure, honest) in enumerate(steps):
        session = shake("session" + key.hex(), 32)
        for entry in accounts.entries(Charge(key, step, disclosure, honest, session)):
            accounts.take(entry)
            rows.append(encode(entry, 1_700_000_001 + time))
        if time == 11:
            sums = accounts.sums()
            assert sums is not None
            accounts.take(sums)
            rows.append(encode(sums, 1_700_000_100))
    return rows


def _accepted(shake: Shake) -> Steps:
    rows = _history(shake)
    lengths = (0, 1, len(rows))
    return [("read_budget", {"rows": [row.hex() for row in rows[:length]]}) for length in lengths]


def _bad(shake: Shake) -> Steps:
    rows = _short(shake)
    sums = next(at for at, row in enumerate(rows) if row[0] == 6)
    opened, chosen, charged = rows[:3]
    double = struct.Struct(">d")
    filters = [
        (65, 0, 0.0),
        (0, 3, 2.0**-40),
        (0, 4, 0.0),
        (0, 4, float("nan")),
        (0, 4, 1.5),
        (20, 1, 0.0),
        (20, 0, 2.0**-40),
        (0, 0, 1.0),
        (0, 0, -0.0),
    ]
    blocks = len(charged) - (1 + 8 + 4 + 8 + 4)
    trust = blocks - 9
    changed = [
        [b"", *rows[1:]],
        [rows[1]],
        [rows[sums]],
        [opened, opened],
        [opened, charged],
        [opened[:-2] + b"\2\0"],
        [opened[:-1] + b"\2"],
        [opened[:25] + double.pack(0.0) + opened[33:]],
        [opened[:25] + double.pack(float("nan")) + opened[33:]],
        [opened[:33] + double.pack(1.0) + opened[41:]],
        [opened + b"\0"],
        [opened[:-1]],
        [opened, b"\7" + chosen[1:]],
        *(
            [opened, chosen[:9] + order.to_bytes(8) + bytes([smoothing]) + double.pack(slack)]
            for order, smoothing, slack in filters
        ),
        [opened, chosen, charged, chosen],
        [opened, chosen, charged, charged],
        [opened, chosen, charged[:trust] + b"\3" + charged[trust + 1 :]],
        [opened, chosen, charged[: trust + 1] + bytes(4) + charged[trust + 5 :]],
        [opened, chosen, charged[: blocks - 4] + bytes(4)],
        [opened, chosen, charged[:blocks] + b"\0" + charged[blocks + 1 :]],
        [opened, chosen, charged[: blocks + 1] + double.pack(0.0) + charged[blocks + 9 :]],
        [opened, chosen, charged[: blocks + 1] + double.pack(6.0) + charged[blocks + 9 :]],
        [opened, chosen, charged[: blocks + 9] + bytes(4) + charged[blocks + 13 :]],
        [opened, chosen, charged[: blocks + 13] + bytes(8) + charged[blocks + 21 :]],
        [opened, chosen, charged[: blocks + 21] + bytes(4)],
        *(rows[:sums] + [wrong, *rows[sums + 1 :]] for wrong in _other_sums(rows[sums])),
        *(rows[:at] + rows[at + 1 :] for at in range(sums)),
        [*rows, rows[sums]],
    ]
    return [("read_budget", {"rows": _up_to_the_first_refused(some)}) for some in changed]


def _up_to_the_first_refused(rows: list[bytes]) -> list[str]:
    """What follows is never read."""
    texts = [row.hex() for row in rows]
    for length in range(1, len(texts)):
        try:
            _read_budget(texts[:length])
        except StorageError:
            return texts[:length]
    return texts


def _other_sums(row: bytes) -> list[bytes]:
    """In another order, with another number, with a charge less."""
    one = 32 + 32 + 1 + 4
    first, second = row[-2 * one : -one], row[-one:]
    head, refunded = row[: -2 * one], 1 + 8 + 34 + 17
    return [
        head + second + first,
        head + first + first,
        head[:-4] + (1).to_bytes(4) + second,
        row[: refunded + 7] + bytes([row[refunded + 7] ^ 1]) + row[refunded + 8 :],
        row[:-5] + b"\3" + row[-4:],
        row[:-4] + (9).to_bytes(4),
        row[:-1],
        row + b"\0",
    ]
