"""Files of what clients were told, and what two files show side by side (12-active.md §8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import active_blocks as active
import rfc8032
from active_judged import FIVE, pieces
from active_rounds import FOUR, SIX
from active_scripts import ActiveRound, Cast
from operations import Data
from scripts import flipped

TOLD = b"\1\6"


def scenarios(scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    steps = [*_files(), *_many(), *_compared()]
    yield "active-told", scenario_of("what clients were told", "12-active.md §8", steps)


def step(cast: Cast, *files: bytes) -> tuple[str, Data]:
    roster = cast.roster.encode().hex()
    return "equivocations", {"roster": roster, "files": [one.hex() for one in files]}


def said(who: Any, name: str, *fields: Any, cast: Cast = FOUR) -> bytes:
    """A statement with its signature."""
    written = active.u32(len(name)) + name.encode()
    written += b"".join(active.u32(f) if isinstance(f, int) else f for f in fields)
    return written + active.signed(cast.seed(who).expose(), name, *fields)


def file(*statements: bytes) -> bytes:
    return TOLD + b"".join(sorted(statements))


def of(number: int) -> bytes:
    """32 bytes that stand for a digest, a session or an offer."""
    return bytes([number]) * 32


COHORT = said("server", "cohort", of(1), of(2), 4, of(3), of(4))
SHARERS = said("server", "sharers", of(2), of(5), 4)
DELIVERY = said("server", "delivery", of(2), 1, of(6))
SURVIVORS = said("server", "survivors", of(2), of(5), of(7), 3)
RESULT = said("server", "result", of(2), of(7), of(7), of(8), of(9))
ALL = (COHORT, SHARERS, DELIVERY, SURVIVORS)


def _files() -> Iterator[tuple[str, Data]]:
    """One file by itself."""
    good = file(*ALL)
    for one in (TOLD, file(COHORT), good, file(*ALL, RESULT)):
        yield step(FOUR, one)
    yield step(FOUR)
    first, second, *_ = sorted(ALL)
    # an order that is none, and a piece twice
    yield step(FOUR, TOLD + second + first)
    yield step(FOUR, TOLD + first + first)
    for other in (b"", b"\1", b"\1\1", b"\1\5", b"\1\7", b"\2\6", b"\0\6"):
        yield step(FOUR, other + good[2:] if other else b"")
        yield step(FOUR, other)
    yield from (step(FOUR, good[:end]) for end in (3, 6, 12, len(good) - 64, len(good) - 1))
    yield step(FOUR, good + b"\0")
    # of one statement: the length of its name, its name, a field, its signature
    for at in (5, 2 + 4, 2 + 4 + 6 + 3, -1, -33):
        yield step(FOUR, bytes.fromhex(flipped(at)(file(COHORT).hex())))
    yield step(FOUR, TOLD + active.u32(17) + b"cohort-of-clients" + COHORT[10:])
    yield step(FOUR, TOLD + active.u32(2**32 - 1) + COHORT[4:])
    yield step(FOUR, file(said("server", "cohorts", of(1), of(2), 4, of(3), of(4))))
    # who signs what: a member's words in the server's mouth, the server's in a member's
    yield step(FOUR, file(said("server", "agree", of(2), 1, of(5), of(7), 3)))
    yield step(FOUR, file(said("server", "keys", of(1), 2, of(5), of(7))))
    yield step(FOUR, file(said(1, "agree", of(2), 1, of(5), of(7), 3)))
    yield step(FOUR, file(said(1, "sharers", of(2), of(5), 4)))
    yield step(SIX, good)
    # another signature of the same: not canonical, and none
    s = int.from_bytes(SHARERS[-32:], "little") + rfc8032.L
    yield step(FOUR, file(SHARERS, SHARERS[:-32] + s.to_bytes(32, "little")))
    # what is wrong first decides: the order before who may say it, and that before the signature
    agree = said("server", "agree", of(2), 1, of(5), of(7), 3)
    yield step(FOUR, TOLD + DELIVERY + agree)
    yield step(FOUR, TOLD + agree[:-1] + b"\0" + agree)
    yield step(FOUR, TOLD + SURVIVORS + DELIVERY[:-1] + b"\0")


def _many() -> Iterator[tuple[str, Data]]:
    """Several files, of which one is none."""
    good = file(*ALL)
    yield step(FOUR, good, good)
    yield step(FOUR, good, good + b"\0")
    yield step(FOUR, TOLD + b"\0", b"\2")
    yield step(FOUR, b"\2", TOLD + b"\0")


def _compared() -> Iterator[tuple[str, Data]]:
    """What is told to two, or to one twice."""
    for one, other in (
        (COHORT, said("server", "cohort", of(1), of(9), 4, of(3), of(4))),
        (SHARERS, said("server", "sharers", of(2), of(5), 3)),
        (DELIVERY, said("server", "delivery", of(2), 1, of(9))),
        (SURVIVORS, said("server", "survivors", of(2), of(9), of(7), 3)),
        (RESULT, said("server", "result", of(2), of(7), of(7), of(8), of(1))),
    ):
        yield step(FOUR, file(one), file(other))
        yield step(FOUR, file(other), file(one))
        yield step(FOUR, file(one, other))
    # another context: another offer, session or holder
    for one, other in (
        (COHORT, said("server", "cohort", of(9), of(2), 4, of(3), of(9))),
        (SHARERS, said("server", "sharers", of(9), of(5), 3)),
        (DELIVERY, said("server", "delivery", of(2), 2, of(9))),
        (DELIVERY, said("server", "delivery", of(9), 1, of(9))),
        (SURVIVORS, said("server", "survivors", of(9), of(9), of(7), 3)),
    ):
        yield step(FOUR, file(one), file(other))
    third = [said("server", "survivors", of(2), of(5), of(number), 3) for number in (8, 9)]
    yield step(FOUR, file(SURVIVORS), file(*third))
    yield step(FOUR, file(third[1]), file(SURVIVORS), file(third[0], COHORT))
    # two contexts at once: in the order in which the second ones are met
    others = [
        said("server", "sharers", of(2), of(9), 4),
        said("server", "delivery", of(2), 1, of(9)),
    ]
    yield step(FOUR, file(*ALL), file(*others))
    yield step(FOUR, file(*ALL), file(others[0]), file(others[1]))
    yield from _transcripts()


def _transcripts() -> Iterator[tuple[str, Data]]:
    """And transcripts, of sessions that some have said other things in."""

    def whole(cast: Cast, **more: Any) -> Sequence[str]:
        return pieces(ActiveRound(cast, **more).run())

    def joined(records: Sequence[str]) -> bytes:
        return bytes.fromhex("".join(records))

    one, late = whole(FOUR), whole(FOUR, lost=frozenset({(3, "masked-input")}))
    for files in ((one,), (one, one), (one, late), (one[:3], late), (one, late[:5])):
        yield step(FOUR, *map(joined, files))
    yield step(FOUR, joined(one), joined(whole(FOUR, nonce=bytes(16))))
    session, told = _session_of(one)
    for name, fields in (
        ("survivors", (session, active.set_of({0, 1, 2, 3}, 4), of(7), 3)),
        ("survivors", (session, *[active.set_of({0, 1, 2, 3}, 4)] * 2, 4)),
        ("sharers", (session, active.set_of({0, 1, 2}, 4), 3)),
        ("delivery", (session, 2, of(6))),
        ("cohort", (told, of(2), 4, of(3), of(4))),
    ):
        mine = file(said("server", name, *fields))
        yield step(FOUR, joined(one), mine)
        yield step(FOUR, mine, joined(one))
    yield step(FIVE, joined(whole(FIVE)), joined(one))


def _session_of(transcript: Sequence[str]) -> tuple[bytes, bytes]:
    """Session and offer, by the second implementation."""
    from active_judging import Transcript, read_transcript

    reading = Transcript(active.parse_roster(FOUR.roster.encode()))
    read_transcript(reading, bytes.fromhex("".join(transcript)))
    return reading.session, reading.offer
