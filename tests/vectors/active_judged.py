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
from operations import Data, perform
from scripts import Honest, flipped

FIVE = Cast("active5", (5, 4, 4, 5, 5, 5, 4), dropped=0)
"""More are asked for than there have to be shares."""

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
    yield from (step(one, SIX) for one in _stretched())
    four_of_five = ActiveRound(FIVE).run()
    yield step(pieces(four_of_five), FIVE)
    for tag, end in ((SHARES, 4), (INPUT, 5)):
        heard = everything(Honest(four_of_five), range(5))
        heard[tag] = {p: heard[tag][p] for p in range(4)}
        yield step(_by_liar(heard, None, FIVE)[:end], FIVE)


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


def _stretched() -> Iterator[list[str]]:
    """Sets that hold index 5, which is not in the set around them; its signatures are zeros."""
    last = SIX.invited[-1]

    def put(all_of_it: list[str], kind: int, at: int, new: bytes) -> list[str]:
        """A bit of the set more, and bytes at this place of the body."""
        body = bytearray.fromhex(all_of_it[kind])[5:]
        body[0] |= 32
        place = at if at >= 0 else len(body) + 1 + at
        changed = bytes(body[:place]) + new + bytes(body[place:])
        return [*all_of_it[:kind], active.record(kind, changed).hex()]

    early = pieces(ActiveRound(SIX, lost=frozenset({(last, "share-keys")})).run())
    yield put(early, 4, -65, bytes(1 + 32 + 64))
    body = bytearray.fromhex(early[4])[5:]
    session, told = _session_of(early), bytes.fromhex(early[3])[5:]
    # a record of U2: bitmap 1, five times 96, a signature; then five times 96
    of_u2, failed = active.set_of({0, 1, 2, 3, 4}, 6), bytes([1 << 4])
    fields = (of_u2, told[1 + 5 * 96 + 64 :][:32], active.H("set", failed), bytes(body[2:34]))
    body[1:2] = failed
    body[34:98] = active.signed(SIX.seed(SIX.invited[0]).expose(), "input", session, 0, *fields)
    yield [*early[:4], active.record(4, bytes(body)).hex()]
    late = pieces(ActiveRound(SIX, lost=frozenset({(last, "masked-input")})).run())
    yield put(late, 6, -1, bytes(96))
    quorum = bytearray.fromhex(late[5])[5:]
    quorum[0] ^= 8 | 32
    yield [*late[:5], active.record(5, bytes(quorum[:-64]) + bytes(64)).hex()]


def _session_of(transcript: list[str]) -> bytes:
    roster = SIX.roster.encode().hex()
    given = {"roster": roster, "transcript": "".join(transcript)}
    return bytes.fromhex(perform({"operation": "verify_transcript", **given})["session"])


def _by_liar(said: Said, quorum: int | None, cast: Cast = FOUR) -> list[str]:
    """Until it cannot go on: what its clients say is of other sets then."""
    liar = Liar(cast, quorum)
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
    both = respoken(lambda listed: flipped(36)(flipped(36 + 136)(listed)))
    yield b"\5" + frame + body(0) + delivery(2, both)
    yield b"\5" + frame + body(2) + delivery(2)
    yield b"\5" + frame + body(1) + delivery(2, respoken(flipped(36)))
    yield b"\5" + frame + active.u32(4) + bodies[0] + delivery(2)

    answer = answers[2]
    given = digests(2, answer[35:-64])
    rest = complaints(2) + b"\x0f" + given + answer[-64:]
    for dealer in (0, 2):
        yield b"\2" + frame + body(dealer) + delivery(2) + rest

    def complaining(holder: int, dealer: int | None, listed: bytes | None = None) -> bytes:
        """What a holder signs that reports this dealer, or nobody."""
        data, near = inputs[holder], [v for v in range(4) if v != holder]
        failed = bytes([0 if dealer is None else 1 << near.index(dealer)])
        told = active.H("delivery", (listed or lists[holder])[35:-64])
        masked = active.H("masked", data[36:52], data[52:-64])
        everyone, seed = active.set_of({0, 1, 2, 3}, 4), FOUR.seed(holder).expose()
        fields = (session, holder, everyone, told, active.H("set", failed), masked)
        return failed + masked + active.signed(seed, "input", *fields)

    def answering(given: bytes, u3: set[int]) -> bytes:
        fields = (session, 2, active.set_of(u3, 4), active.H("answer", given))
        said = active.signed(FOUR.seed(2).expose(), "answer", *fields)
        return bytes([sum(1 << i for i in u3)]) + given + said

    wrong, everybody = bytes(32) + given[32:], {0, 1, 2, 3}
    other = respoken(flipped(36))
    unsigned = bytes.fromhex(flipped(-1)(body(0).hex()))
    for dealt, listed, told, u3 in (
        (body(0), None, wrong, everybody),
        (unsigned, None, wrong, everybody),
        (body(0), None, wrong, {0, 1, 3}),
        (body(0), other, wrong, everybody),
    ):
        said = delivery(2, listed) + complaining(2, None, listed) + answering(told, u3)
        yield b"\2" + frame + dealt + said
    said = delivery(2) + complaining(2, 0) + answering(given[32:], everybody)
    yield b"\2" + frame + body(0) + said
    for holders in ((2, 3), (3, 2), (2, 2), (2,), (1, 2)):
        said = b"".join(delivery(h) + complaining(h, 1 if h != 1 else 0) for h in holders)
        yield b"\4" + frame + body(1) + said
    said = b"".join(delivery(h, o) + complaining(h, 0, o) for h, o in ((2, other), (3, None)))
    yield b"\4" + frame + body(0) + said

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
