"""Transcripts that are verified or not, and evidence that convicts or does not (12-active.md §7,
§8): put together from what machines have said, and from what a liar signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import active_blocks as active
from active_refusals import SAID, Liar, everything, server_until, signed
from active_rounds import (
    AGREE,
    ANSWER,
    FOUR,
    INPUT,
    KEYS,
    REGULAR,
    SHARE_LIST,
    SHARES,
    SIX,
    garbage,
    resigned,
)
from active_scripts import ActiveRound, Cast
from operations import Data
from scripts import Honest, flipped

Steps = list[tuple[str, Data]]
Said = Mapping[int, Mapping[int, str]]


def scenarios(scenario_of: Callable[..., Data]) -> Iterator[tuple[str, Data]]:
    steps = list(_transcripts())
    yield "active-transcripts", scenario_of("verified or not", "12-active.md §7 Q1", steps)
    yield "active-evidence", scenario_of("who is convicted", "12-active.md §8", list(_evidence()))


# §7


def pieces(script: Any) -> list[str]:
    """The version, then the records."""
    return [one for step in script.steps for one in step["outputs"].get("records", [])]


def record(kind: int, body: str) -> str:
    return active.record(kind, bytes.fromhex(body)).hex()


def _transcripts() -> Iterator[tuple[str, Data]]:
    def step(transcript: list[str], cast: Cast = FOUR) -> tuple[str, Data]:
        roster = cast.roster.encode().hex()
        return "verify_transcript", {"roster": roster, "transcript": "".join(transcript)}

    regular = ActiveRound(REGULAR, lost=frozenset({(6, "masked-input"), (2, "unmask")})).run()
    yield step(pieces(regular), REGULAR)
    tampered = {(1, "server", SHARES): garbage(SIX, 1, 0, 2)}
    yield step(pieces(ActiveRound(SIX, tampered=tampered).run()), SIX)
    script = ActiveRound(FOUR).run()
    good = pieces(script)
    for end in range(1, 9):
        yield step(good[:end])
    yield step(good, REGULAR)
    yield step([*good, record(8, "00")])
    yield step(["02", *good[1:]])
    yield step([*good[:3], *good[4:]])
    for at in range(1, 8):
        # a length, a signature, a byte too few and one too many in a record
        yield step([*good[:at], flipped(3)(good[at]), *good[at + 1 :]])
        yield step([*good[:at], flipped(-1)(good[at]), *good[at + 1 :]])
        for body in (good[at][10:-2], good[at][10:] + "00"):
            yield step([*good[:at], record(at, body), *good[at + 1 :]])
    for at in (3, 4, 5, 6):  # a set with one bit less, and one of padding
        for bit in (1, 16):
            yield step([*good[:at], flipped(5, bit)(good[at]), *good[at + 1 :]])
    yield from (step(lied) for lied in _lied(Honest(script)))


def _lied(honest: Honest) -> Iterator[list[str]]:
    """Whole transcripts in which every signature is one."""
    said = everything(honest, range(4))

    def but(tag: int, *parties: int) -> Said:
        return {**said, tag: {p: said[tag][p] for p in parties}}

    for heard, quorum, end in (
        (but(KEYS, 0, 1), None, 3),
        (but(SHARES, 0, 1), None, 4),
        (but(INPUT, 0, 1), None, 5),
        (said, 2, 6),
        (said, 4, 6),
        (but(ANSWER, 0, 1), None, 7),
        (said, None, 8),
    ):
        yield _by_liar(heard, quorum)[:end]


def _by_liar(said: Said, quorum: int | None) -> list[str]:
    """Until it cannot go on: what its clients say is of other sets then."""
    liar = Liar(FOUR, quorum)
    written = list(liar.perform({"operation": "start"})["records"])
    for tag in SAID:
        for sender, message in said[tag].items():
            data = bytes.fromhex(message)
            if tag == KEYS:
                liar.got[sender] = [data[35:67], data[67:99], data[99:]]
                continue
            liar.perform({"operation": "receive", "sender": sender, "message": message})
        outputs = liar.perform({"operation": "close_phase"})
        written += outputs.get("records", [])
        if not outputs["success"]:
            return written
    return written + liar.perform({"operation": "run_jobs"}).get("records", [])


# §8


def _evidence() -> Iterator[tuple[str, Data]]:
    def step(cast: Cast, evidence: bytes) -> tuple[str, Data]:
        roster = cast.roster.encode().hex()
        return "judge_evidence", {"roster": roster, "evidence": evidence.hex()}

    def spoilt(cast: Cast, evidence: bytes) -> Iterator[tuple[str, Data]]:
        yield step(cast, evidence)
        yield step(cast, evidence[:-1])
        yield step(cast, evidence + b"\0")
        yield step(cast, bytes.fromhex(flipped(-1)(evidence.hex())))
        yield step(cast, b"\1\3" + evidence[2:] if evidence[1] == 2 else b"\1\2" + evidence[2:])

    script = ActiveRound(FOUR).run()
    honest = Honest(script)
    yield from (step(FOUR, one) for one in _statements(honest))
    frame = b"".join(bytes.fromhex(one)[5:] for one in pieces(script)[1:3])
    yield step(FOUR, b"\2\1" + frame)
    yield step(FOUR, b"\1\7" + frame)
    yield from spoilt(FOUR, _wrong_share(honest))
    false_seed = ActiveRound(FOUR, tampered={(1, "server", SHARES): resigned(FOUR, 1, flipped(35))})
    yield from spoilt(FOUR, _of(false_seed.run()))
    two = {(1, "server", SHARES): garbage(SIX, 1, 0, 2)}
    yield from spoilt(SIX, _of(ActiveRound(SIX, tampered=two).run()))
    yield from (step(FOUR, b"\1" + one) for one in _made(honest, frame))


def _of(script: Any) -> bytes:
    """All that its server has made evidence of."""
    (found,) = script.stage.machine("server").evidence()
    return bytes(found)


def _wrong_share(honest: Honest) -> bytes:
    """Party 0 answers another share of party 0's, and of party 0 again."""
    data = bytearray.fromhex(honest.sent(0, ANSWER))
    data[42] ^= 1
    session, everyone = bytes(data[3:35]), active.set_of({0, 1, 2, 3}, 4)
    shares = [bytes(data[35 + 40 * v : 75 + 40 * v]) for v in range(4)]
    told = b"".join(active.share_digest(session, v, 0, b"b", s) for v, s in enumerate(shares))
    fields = (session, 0, everyone, active.H("answer", told))
    script = server_until(FOUR, honest, ANSWER)
    message = signed(FOUR, 0, bytes(data), "answer", *fields)
    script.do("receive", sender=0, message=message)
    return _of(script)


def _statements(honest: Honest) -> Iterator[bytes]:
    """Kind 1."""
    session = bytes.fromhex(honest.sent(0, AGREE))[3:35]
    sets = [active.set_of({0, 1, 2, 3}, 4), active.set_of({0, 1, 2}, 4)]
    client, server = b"\1" + active.u32(2), bytes(5)

    def said(who: Any, name: str, *fields: Any) -> bytes:
        written = active.u32(len(name)) + name.encode()
        written += b"".join(active.u32(f) if isinstance(f, int) else f for f in fields)
        return written + active.signed(FOUR.seed(who).expose(), name, *fields)

    def two(signer: bytes, *statements: bytes) -> bytes:
        return b"\1\1" + signer + b"".join(sorted(statements))

    both = [(sets[0], sets[0], 4), (*sets, 3)]
    agree = [said(2, "agree", session, 2, *one) for one in both]
    shown = [said("server", "survivors", session, *one) for one in both]
    yield two(client, *agree)
    yield two(server, *shown)
    yield b"\1\1" + client + max(agree) + min(agree)
    yield two(client, agree[0], agree[0])
    yield two(client, agree[0], said(2, "agree", session, 3, *sets, 3))
    yield two(client, agree[0], said(2, "answer", session, 2, *sets))
    yield two(client, agree[0], said(1, "agree", session, 2, *sets, 3))
    yield two(b"\1" + active.u32(1), *agree)
    yield two(b"\1" + active.u32(9), *agree)
    yield two(b"\0" + active.u32(2), *shown)
    yield two(b"\2" + active.u32(2), *agree)
    yield two(client, *(said(2, "survivors", session, sets[0], one, 4) for one in sets))
    yield two(client, *(said(2, "keys", session, 2, sets[0], one) for one in sets))
    yield two(client, *(said(2, "agrees", session, 2, sets[0], one, 4) for one in sets))
    yield two(client, *agree) + b"\0"
    for name in ("shares", "input", "answer", "delivery", "cohort", "sharers", "result"):
        of_client = name in ("shares", "input", "answer")
        numbers = [2] if of_client or name == "delivery" else []
        rest = {"shares": 1, "input": 3, "answer": 1, "delivery": 0, "sharers": 0, "result": 3}
        more: list[Any] = [session] * rest.get(name, 0)
        last: list[Any] = [4] if name == "sharers" else []
        if name == "cohort":
            more, last = [session, 4, session], []
        made = [
            said(2 if of_client else "server", name, session, *numbers, *more, one, *last)
            for one in sets
        ]
        yield two(client if of_client else server, *made)


def _made(honest: Honest, frame: bytes) -> Iterator[bytes]:
    """Kinds 2 to 5 from an honest session: of a server that delivered something else, and of
    honest parties, who are not convicted."""
    bodies = {p: bytes.fromhex(honest.sent(p, SHARES))[35:] for p in range(4)}
    lists = {p: bytes.fromhex(honest.got(p, SHARE_LIST)) for p in range(4)}
    inputs = {p: bytes.fromhex(honest.sent(p, INPUT)) for p in range(4)}
    answers = {p: bytes.fromhex(honest.sent(p, ANSWER)) for p in range(4)}
    session = answers[0][3:35]

    def body(dealer: int) -> bytes:
        return active.u32(dealer) + bodies[dealer]

    def delivery(holder: int, listed: bytes | None = None) -> bytes:
        return active.u32(holder) + (listed or lists[holder])[35:]

    def complaints(holder: int) -> bytes:
        data = inputs[holder]
        return data[35:36] + active.H("masked", data[36:52], data[52:-64]) + data[-64:]

    def digests(holder: int, shares: bytes) -> bytes:
        return b"".join(
            active.share_digest(session, v, holder, b"b", shares[40 * v : 40 * v + 40])
            for v in range(4)
        )

    def respoken(change: Callable[[str], str]) -> bytes:
        data = bytes.fromhex(change(lists[2].hex()))
        told = active.H("delivery", data[35:-64])
        return bytes.fromhex(signed(FOUR, "server", data, "delivery", session, 2, told))

    # byte 36 is the first of the first entry's pair, byte 36 + 104 of what it says of its digests
    for at in (36, 36 + 104):
        yield b"\5" + frame + body(0) + delivery(2, respoken(flipped(at)))
    yield b"\5" + frame + body(0) + delivery(2)
    yield b"\5" + frame + body(0) + delivery(2, respoken(flipped(36 + 136)))
    yield b"\5" + frame + body(2) + delivery(2)
    yield b"\5" + frame + body(1) + delivery(2, respoken(flipped(36)))
    yield b"\5" + frame + active.u32(4) + bodies[0] + delivery(2)

    answer = answers[2]
    given = digests(2, answer[35:-64])
    rest = complaints(2) + b"\x0f" + given + answer[-64:]
    for dealer in (0, 2):
        yield b"\2" + frame + body(dealer) + delivery(2) + rest
    shares = {h: answers[h][35 + 40 : 35 + 80] for h in range(4)}
    for letter, holders in (
        (0, (0, 1, 2)),
        (0, (1, 0, 2)),
        (0, (0, 1, 1)),
        (1, (0, 1, 2)),
        (2, (0, 1, 2)),
    ):
        told = b"".join(active.u32(h) + shares[h] for h in holders)
        yield b"\3" + frame + body(1) + bytes([letter]) + told
    said = b"".join(delivery(h) + complaints(h) for h in (2, 3))
    yield b"\4" + frame + body(1) + said
