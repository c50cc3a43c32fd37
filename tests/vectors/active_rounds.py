"""Whole sessions of suite 2 (specs/12-active.md), in each of which there is a sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import active_blocks as active
import blocks
from active_scripts import NONCE, ActiveRound, Cast
from model_active import ActiveClient, Common
from operations import Data
from scripts import MIXED, Tamper, flipped, shake

KEYS, KEY_LIST, SHARES, SHARE_LIST, INPUT, REQUEST, ANSWER, ABORT, SURVIVORS, AGREE = range(1, 11)

FOUR = Cast("active4", (4, 3, 3, 3, 3, 4, 3))
"""The smallest session that one may leave."""
SIX = Cast("active6", (6, 5, 4, 4, 4, 6, 4), dropped=2, places=8, first=1, excluded=(3,))
"""A place is no index here, and one is excluded."""
REGULAR = Cast("active-r", (7, 4, 4, 6, 6, 7, 5), places=8, first=1)
NEARLY = Cast("active-k", (7, 4, 4, 5, 5, 7, 4), judged=False)
"""Where five come the graph is complete, and its plan is not."""
COMMITTEE = Cast("active-m", (6, 4, 3, 5, 5, 4, 3), judged=False)


def scenarios() -> Iterator[tuple[str, Data]]:
    def lost(*pairs: tuple[int, str]) -> frozenset[tuple[int, str]]:
        return frozenset(pairs)

    cases: list[tuple[str, Cast, str, str, Any]] = [
        ("complete", FOUR, "four clients, nobody drops", "§4", {}),
        (
            "early-drops",
            SIX,
            "place 2 never advertises, place 7 never shares",
            "§1",
            {"lost": lost((2, "advertise-keys"), (7, "share-keys"))},
        ),
        (
            "late-drops",
            SIX,
            "place 4 is late with its input, place 5 gone before it signs and so before it answers",
            "§6",
            {"late": lost((4, "masked-input")), "lost": lost((5, "consistency"))},
        ),
        (
            "regular",
            REGULAR,
            "a 4-regular graph of seven, with paths; one drops before its input",
            "§2",
            {"lost": lost((6, "masked-input"))},
        ),
        (
            "regular-nearly-complete",
            NEARLY,
            "five of seven come: all are neighbours, and there are paths all the same; one of them "
            "is gone before it answers",
            "§2",
            {"lost": lost((0, "advertise-keys"), (3, "advertise-keys"), (4, "unmask"))},
        ),
        (
            "committee",
            COMMITTEE,
            "four of six may sign, three are enough, one of them never does",
            "§2",
            {"lost": lost((2, "consistency"))},
        ),
        (
            "everything-twice",
            FOUR,
            "every message comes twice, and the input last: the same bytes, the same reply",
            "§5",
            {"repeated": True, "input_last": True},
        ),
        (
            "mixed-segments",
            Cast("active-x", FOUR.params, fields=MIXED),
            "segments of several widths: the vector, the lanes of the result",
            "§7",
            {"lost": lost((2, "masked-input"))},
        ),
        (
            "complaint",
            FOUR,
            "place 1 seals garbage to place 3, which says so: the round goes on",
            "§5 V5",
            {"tampered": {(1, "server", SHARES): garbage(FOUR, 1, 2)}},
        ),
        (
            "complaints",
            SIX,
            "place 1 seals garbage to two of its holders, more than may lie: it is its fault",
            "§6 R7",
            {"tampered": {(1, "server", SHARES): garbage(SIX, 1, 0, 2)}},
        ),
    ]
    for name, cast, about, spec, how in cases:
        script = ActiveRound(cast, cast.family, **how).run()
        yield f"active-{name}", script.scenario(about, spec)


def garbage(cast: Cast, dealer: int, *places: int) -> Tamper:
    """A dealer that is honest but for pairs that do not open, by places among its neighbours."""
    return resigned(cast, dealer, *(flipped(67 + 168 * place) for place in places))


def resigned(cast: Cast, dealer: int, *changes: Tamper) -> Tamper:
    """share-keys with changes of its body, signed again. On the complete graph of all invited."""

    def change(message: str) -> str:
        for one in changes:
            message = one(message)
        data = bytes.fromhex(message)
        index = cast.invited.index(dealer)
        fields = (data[3:35], index, leaf(cast, dealer), active.H("body", data[35:-64]))
        return (data[:-64] + active.signed(cast.seed(dealer).expose(), "shares", *fields)).hex()

    return change


def leaf(cast: Cast, party: int) -> bytes:
    """Where all invited are in U1."""
    common = Common({**cast.setup, "nonce": NONCE.hex()})
    random = shake(f"{cast.family}/{party}", 64).hex()
    seed = cast.seed(party).expose().hex()
    client = ActiveClient(common, party, {"randomness": random, "seed": seed, "refuses": False})
    client.perform({"operation": "start"})
    index = cast.invited.index(party)
    return blocks.leaf(common.offer, index, party, *client.own, client.signature)
