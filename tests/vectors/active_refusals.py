"""What a client of suite 2 refuses, and what its server drops a client for (12-active.md §5, §6).

A server that lies in signed words is the second implementation's, with no scruples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import active_blocks as active
import blocks
from active_rounds import (
    AGREE,
    ANSWER,
    COMMITTEE,
    FOUR,
    INPUT,
    KEY_LIST,
    KEYS,
    REGULAR,
    REQUEST,
    SHARE_LIST,
    SHARES,
    SIX,
    SURVIVORS,
    leaf,
    resigned,
)
from active_scripts import NONCE, ActiveRound, ActiveScript, Cast
from model_active import Common
from model_active_server import ActiveServer
from operations import Data
from refusals import put
from scripts import Honest, Tamper, flipped

REMOTE, INVALID = "RemoteProtocolError", "InvalidSignature"
FLOW = {KEYS: KEY_LIST, SHARES: SHARE_LIST, INPUT: SURVIVORS, AGREE: REQUEST}
SAID = (KEYS, SHARES, INPUT, AGREE, ANSWER)
Scenarios = Iterator[tuple[str, Data]]


class Liar(ActiveServer):
    """It believes everybody and needs nobody, and what it says is signed. quorum: how many
    signatures it shows."""

    def __init__(self, cast: Cast, quorum: int | None = None) -> None:
        common = Common({**cast.setup, "nonce": NONCE.hex()})
        common.min_clients = common.min_survivors = common.t = 1
        super().__init__(common, cast.seed("server").expose(), cast.invited)
        self.shown = quorum

    def checked(self, sender: int, signature: bytes, *_: Any) -> bytes:
        return signature

    def close_agreed(self, events: list[Any]) -> list[Data]:
        self.q = self.shown or self.q
        return super().close_agreed(events)


def told(
    cast: Cast,
    tag: int,
    party: int,
    said: Mapping[int, Mapping[int, str]],
    quorum: int | None = None,
) -> str:
    """What a liar that heard this says to a party under this tag. said: by tag, then by sender."""
    liar = Liar(cast, quorum)
    liar.perform({"operation": "start"})
    for heard, answered in FLOW.items():
        for sender, message in said[heard].items():
            data = bytes.fromhex(message)
            if heard == KEYS:  # believed before it is looked at
                liar.got[sender] = [data[35:67], data[67:99], data[99:]]
                liar.seen.setdefault(sender, {})[heard] = data
                continue
            liar.perform({"operation": "receive", "sender": sender, "message": message})
        outputs = liar.perform({"operation": "close_phase"})
        if answered == tag:
            return str(next(s["message"] for s in outputs["sends"] if s["to"] == party))
    raise ValueError("nobody is told")


def everything(honest: Honest, parties: Iterable[int]) -> dict[int, dict[int, str]]:
    everyone = list(parties)
    return {tag: {p: honest.sent(p, tag) for p in everyone} for tag in SAID}


def signed(cast: Cast, party: Any, message: bytes, name: str, *fields: Any) -> str:
    """The message with another signature in the place of its last 64 bytes."""
    return (message[:-64] + active.signed(cast.seed(party).expose(), name, *fields)).hex()


def scenarios() -> Scenarios:
    honest = Honest(ActiveRound(FOUR).run())
    yield from of_key_list(honest)
    yield from of_keys(honest)
    yield from of_paths()
    yield from of_share_list(honest)
    yield from of_survivors(honest)
    yield from of_requests(honest)
    yield from of_oneself(honest)
    yield from of_committee()
    yield from by_server(honest)
    yield from of_answers(honest)
    yield from of_dealers()
    yield from too_few(honest)


def client(
    cast: Cast,
    party: int,
    messages: Iterable[str],
    about: str,
    spec: str,
    expect: str,
    refusing: bool = False,
) -> Data:
    """A client alone, up to the last of these messages, which it refuses or not."""
    script = ActiveScript(cast, (party,), (party,) if refusing else ())
    script.do("start", party)
    script.do("set_input", party, vector=cast.input(party))
    for message in messages:
        script.do("receive", party, sender="server", message=message)
    return script.scenario(f"client: {about}", spec, expect)


def of_key_list(honest: Honest) -> Scenarios:
    """Header 35, U1 1, count 4, then 132 bytes a neighbour, then the signature of `cohort`."""
    keys = honest.got(0, KEY_LIST)
    said = everything(honest, range(4))
    two = {**said, KEYS: {p: said[KEYS][p] for p in (0, 1)}}
    forged = {**said, KEYS: {**said[KEYS], 1: flipped(-1)(said[KEYS][1])}}
    others = put(keys, 3, bytes(32).hex())
    cases = [
        ("truncated", keys[:-2], "the last byte is missing", "§4 §7", "Truncated"),
        ("trailing", keys + "00", "one byte too many", "§4 §7", "TrailingBytes"),
        ("suite", put(keys, 1, "01"), "suite 1", "§4 §7", "UnknownVersion"),
        ("tag", put(keys, 2, "0b"), "tag 11", "§4 §7", "BadTag"),
        ("u1-padding", put(keys, 35, "1f"), "a bit past N is set in U1", "§4 §7", "WireError"),
        ("too-many-keys", put(keys, 36, "00000004"), "more than k keys", "§4 §7", "TooLarge"),
        ("early", honest.got(0, SHARE_LIST), "a share list before the key list", "§1", REMOTE),
        ("session-id", others, "not the session id of U1 and the root", "§5 C3", REMOTE),
        ("u1-omits-me", put(keys, 35, "0e"), "U1 without this client", "§5 C3", REMOTE),
        ("u1-too-small", told(FOUR, KEY_LIST, 0, two), "|U1| of two, signed", "§5 V2", REMOTE),
        ("cohort", flipped(-1)(keys), "the server did not sign this cohort", "§5 V2", INVALID),
        ("root", flipped(40 + 4)(keys), "a neighbour's keys are others", "§5 C3", REMOTE),
        ("keys", told(FOUR, KEY_LIST, 0, forged), "others than it signed", "§5 V3", REMOTE),
    ]
    for name, message, about, spec, expect in cases:
        yield f"active-client-{name}", client(FOUR, 0, [message], about, spec, expect)
    excluded = Honest(ActiveRound(SIX).run())
    heard = {p: excluded.sent(p, KEYS) for p in (1, 4, 5, 6, 7)}
    heard[3] = flipped(40)(flipped(70)(excluded.sent(2, KEYS)))
    with_three = told(SIX, KEY_LIST, 1, {KEYS: heard})
    about = "U1 holds the place that the roster excludes"
    yield "active-client-u1-excluded", client(SIX, 1, [with_three], about, "§5 V2", REMOTE)
    about = "another key list, after the first"
    again = client(FOUR, 0, [keys, flipped(-1)(keys)], about, "§5 C1", REMOTE)
    yield "active-client-second-keys", again


def of_keys(honest: Honest) -> Scenarios:
    """Keys that their owner has signed, and the server its cohort."""
    own = bytes.fromhex(honest.sent(0, KEYS))
    common = Common({**FOUR.setup, "nonce": NONCE.hex()})

    def shown(c_pk: bytes, s_pk: bytes) -> str:
        message = own[:35] + c_pk + s_pk + bytes(64)
        made = signed(FOUR, 1, message, "keys", common.offer, 1, c_pk, s_pk)
        said = everything(honest, range(4))
        return told(FOUR, KEY_LIST, 0, {**said, KEYS: {**said[KEYS], 1: made}})

    theirs = bytes.fromhex(honest.sent(1, KEYS))[35:99]
    cases = [
        ("low-order", shown(b"\1" + bytes(31), theirs[32:]), "c_pk = 1, signed"),
        ("reflected", shown(theirs[:32], own[67:99]), "its own s_pk, signed by another"),
    ]
    for name, message, about in cases:
        scenario = client(FOUR, 0, [message], about, "§5 C4", "InvalidKey")
        yield f"active-client-{name}", scenario


def of_paths() -> Scenarios:
    """A 4-regular graph of seven: header 35, U1 1, count 4, four times 132, three steps."""
    honest = Honest(ActiveRound(REGULAR).run())
    last = REGULAR.invited[-1]  # index 6 of seven moves up unchanged
    at = 40 + 4 * 132
    steps = [
        ("path", 1, flipped(at)(honest.got(1, KEY_LIST)), "another step of its path", "C3", REMOTE),
        (
            "path-zeros",
            last,
            flipped(at)(honest.got(last, KEY_LIST)),
            "a step of zeros that is none",
            "V3",
            "WireError",
        ),
    ]
    for name, party, message, about, rule, expect in steps:
        scenario = client(REGULAR, party, [message], about, f"§5 {rule}", expect)
        yield f"active-client-{name}", scenario


def of_share_list(honest: Honest) -> Scenarios:
    """Header 35, U2 1, then 232 bytes a dealer: sealed pair 104, digest 32, H(BODY) 32, signature;
    then the signatures of `sharers` and `delivery`."""
    keys, shares = honest.got(0, KEY_LIST), honest.got(0, SHARE_LIST)
    said = everything(honest, range(4))

    def with_shares(of: Mapping[int, str]) -> str:
        return told(FOUR, SHARE_LIST, 0, {**said, SHARES: of})

    def delivered(change: Tamper) -> str:
        """The list changed, and signed by the server as it is then."""
        data = bytes.fromhex(change(shares))
        return signed(FOUR, "server", data, "delivery", data[3:35], 0, told_of(data))

    def told_of(data: bytes) -> bytes:
        return active.H("delivery", data[35:-64])

    def omitted() -> str:
        data, server = bytes.fromhex(shares), FOUR.seed("server").expose()
        of_u2 = active.set_of({1, 2, 3}, 4)
        sharers = active.signed(server, "sharers", data[3:35], of_u2, 3)
        data = data[:35] + b"\x0e" + data[36:-128] + sharers + bytes(64)
        return signed(FOUR, "server", data, "delivery", data[3:35], 0, told_of(data))

    body = bytes.fromhex(said[SHARES][1])
    another = active.H("body", b"another leaf")
    fields = (body[3:35], 1, another, active.H("body", body[35:-64]))
    two_faced = {**said[SHARES], 1: signed(FOUR, 1, body, "shares", *fields)}
    few = {p: said[SHARES][p] for p in (0, 1)}
    spoilt = delivered(lambda m: flipped(36)(flipped(36 + 232)(flipped(36 + 464)(m))))
    cases = [
        ("other-session", flipped(3)(shares), "a share list of another session", "§3", REMOTE),
        ("sharers", flipped(36 + 696)(shares), "`sharers` is not signed", "§5 V4", INVALID),
        ("delivery", flipped(-1)(shares), "`delivery` is not signed", "§5 V4", INVALID),
        (
            "delivery-of-other",
            honest.got(1, SHARE_LIST),
            "what was delivered to another, true in every word",
            "§5 V4",
            INVALID,
        ),
        (
            "dealt",
            delivered(flipped(36 + 168)),
            "a dealer's signature is not of the body that the server delivers",
            "§5 V4",
            REMOTE,
        ),
        (
            "dealt-by-leaf",
            with_shares(two_faced),
            "a dealer shared for another leaf than its own",
            "§5 V4",
            REMOTE,
        ),
        ("u2-omits-me", omitted(), "U2 without it, signed", "§5 C5", REMOTE),
        ("u2-too-small", with_shares(few), "two of three holders, signed", "§5 C5", REMOTE),
        ("all-pairs-spoilt", spoilt, "fewer than t pairs open", "§5 C6", REMOTE),
    ]
    for name, message, about, spec, expect in cases:
        yield f"active-client-{name}", client(FOUR, 0, [keys, message], about, spec, expect)
    changed = delivered(flipped(36 + 104))
    about = "a pair opens to other shares than the entry says: reported, and the session goes on"
    yield "active-client-digests", client(FOUR, 0, [keys, changed], about, "§5 V5", "accept")


def of_survivors(honest: Honest) -> Scenarios:
    so_far = [honest.got(0, tag) for tag in (KEY_LIST, SHARE_LIST)]
    shown = honest.got(0, SURVIVORS)
    said = everything(honest, range(4))

    def survivors(u2: set[int], u3: set[int]) -> str:
        data = bytes.fromhex(shown)
        data = data[:35] + blocks.bitmap(u3, 4) + bytes(64)
        fields = (data[3:35], active.set_of(u2, 4), active.set_of(u3, 4), len(u3))
        return signed(FOUR, "server", data, "survivors", *fields)

    everyone = {0, 1, 2, 3}
    lossy = {**said, SHARES: {p: said[SHARES][p] for p in (0, 1, 2)}}
    less = [so_far[0], told(FOUR, SHARE_LIST, 0, lossy)]
    cases = [
        ("survivors", so_far, flipped(-1)(shown), "U3 is not signed", "V7", INVALID),
        (
            "survivors-of-other",
            so_far,
            survivors({0, 1, 2}, {0, 1, 2}),
            "U3 signed over another U2",
            "V7",
            INVALID,
        ),
        ("u3-omits-me", so_far, survivors(everyone, {1, 2, 3}), "U3 without it", "C8", REMOTE),
        ("u3-too-small", so_far, survivors(everyone, {0, 1}), "U3 of two", "C8", REMOTE),
        (
            "u3-outside-u2",
            less,
            survivors({0, 1, 2}, everyone),
            "U3 holds one that is not in U2",
            "C8",
            REMOTE,
        ),
        (
            "second-survivors",
            [*so_far, shown],
            survivors(everyone, {0, 1, 2}),
            "another U3 after it has signed one, signed by the server like the first",
            "C1",
            REMOTE,
        ),
        (
            "request-first",
            so_far,
            honest.got(0, REQUEST),
            "a quorum before it has been shown U3",
            "§1",
            REMOTE,
        ),
    ]
    for name, before, message, about, rule, expect in cases:
        spec = "§1" if rule == "§1" else f"§5 {rule}"
        yield f"active-client-{name}", client(FOUR, 0, [*before, message], about, spec, expect)
    about = "its policy refuses U3"
    refused = client(FOUR, 0, [*so_far, shown], about, "§5 V7", "PolicyRefused", refusing=True)
    yield "active-client-policy", refused


def of_requests(honest: Honest) -> Scenarios:
    """Header 35, signers 1, three signatures."""
    so_far = [honest.got(0, tag) for tag in (KEY_LIST, SHARE_LIST, SURVIVORS)]
    request = honest.got(0, REQUEST)
    said = everything(honest, range(4))
    session = bytes.fromhex(request)[3:35]
    everyone = active.set_of({0, 1, 2, 3}, 4)
    of_three = (everyone, active.set_of({0, 1, 2}, 4), 3)
    other = active.signed(FOUR.seed(2).expose(), "agree", session, 2, *of_three)
    without = {**said, INPUT: {p: said[INPUT][p] for p in (0, 1, 2)}}
    three = told(FOUR, SURVIVORS, 0, without)

    def agreed(party: int) -> bytes:
        return active.signed(FOUR.seed(party).expose(), "agree", session, party, *of_three)

    outsider = bytes.fromhex(request)[:35] + b"\x0b" + agreed(0) + agreed(1) + agreed(3)
    cases = [
        (
            "quorum-short",
            so_far,
            told(FOUR, REQUEST, 0, said, 2),
            "two signers of three",
            "WireError",
        ),
        (
            "quorum-long",
            so_far,
            told(FOUR, REQUEST, 0, said, 4),
            "four signers of three",
            "WireError",
        ),
        (
            "quorum-outside",
            [*so_far[:2], three],
            outsider.hex(),
            "a signer that is not in U3, whose signature is one",
            REMOTE,
        ),
    ]
    for name, before, message, about, expect in cases:
        scenario = client(FOUR, 0, [*before, message], about, "§5 V8", expect)
        yield f"active-client-{name}", scenario
    forged = [
        ("quorum-signature", flipped(-1)(request), "a signature that is none"),
        ("quorum-of-other", put(request, 36 + 128, other.hex()), "a signer agreed to another U3"),
        (
            "quorum-twice",
            put(request, 36 + 64, request[72 : 72 + 128]),
            "one signer's signature in another's place",
        ),
    ]
    for name, message, about in forged:
        scenario = client(FOUR, 0, [*so_far, message], about, "§5 V8", REMOTE)
        yield f"active-client-{name}", scenario
    about = "another quorum after it has answered; nothing more is revealed"
    rest = told(FOUR, REQUEST, 0, {**said, AGREE: {p: said[AGREE][p] for p in (0, 2, 3)}})
    twice = client(FOUR, 0, [*so_far, request, rest], about, "§5 C1", REMOTE)
    yield "active-client-second-quorum", twice


def of_oneself(honest: Honest) -> Scenarios:
    script = ActiveScript(FOUR, (0,))
    script.do("start", 0)
    script.do("set_input", 0, vector=FOUR.input(0), payload=b"another task".hex())
    script.do("receive", 0, sender="server", message=honest.got(0, KEY_LIST))
    about = "client: its input is for another task"
    yield "active-client-payload", script.scenario(about, "§5 C2", "InputError")
    script = ActiveScript(FOUR, (0,))
    script.do("start", 0)
    script.do("set_input", 0, vector=FOUR.input(0))
    script.do("set_input", 0, vector=FOUR.input(1))
    about = "client: a second input"
    yield "active-client-second-input", script.scenario(about, "§5 V6", "LocalProtocolError")
    script = ActiveScript(FOUR, (0, "server"))
    script.do("restore", 0)
    script.do("restore")
    about = "nothing is taken up again, by a client or by a server"
    yield "active-no-rows", script.scenario(about, "§5 V9", "LocalProtocolError")


def of_committee() -> Scenarios:
    """Four of six may sign, three have to."""
    honest = Honest(ActiveRound(COMMITTEE).run())
    senders = {s["sender"] for s in honest.script.steps if _is(s, AGREE)}
    strange = next(p for p in COMMITTEE.invited if p not in senders)
    so_far = [honest.got(0, tag) for tag in (KEY_LIST, SHARE_LIST, SURVIVORS)]
    padded = put(honest.got(0, REQUEST), 35, "17")
    about = "client: a signer past the last of the committee"
    yield (
        "active-client-quorum-padding",
        client(COMMITTEE, 0, [*so_far, padded], about[8:], "§4 §7", "WireError"),
    )
    message = bytes.fromhex(honest.sent(sorted(senders)[0], AGREE))
    index = COMMITTEE.invited.index(strange)
    everyone = active.set_of(set(range(6)), 6)
    own = signed(COMMITTEE, strange, message, "agree", message[3:35], index, everyone, everyone, 6)
    script = server_until(COMMITTEE, honest, AGREE)
    script.do("receive", sender=strange, message=own)
    about = "server: whoever is no signer has nothing to say in this phase"
    yield "active-server-no-signer", script.scenario(about, "§6 R4", "malformed")


def _is(step: Data, tag: int) -> bool:
    heard = step["operation"] == "receive" and step["party"] == "server"
    return heard and bytes.fromhex(step["message"])[2] == tag


def server_until(cast: Cast, honest: Honest, phase: int, nonce: bytes = NONCE) -> ActiveScript:
    """The server alone, when it waits for messages of this tag."""
    script = ActiveScript(cast, ("server",), nonce=nonce)
    script.do("start")
    for tag in SAID[: SAID.index(phase)]:
        hear(script, honest, tag)
        script.do("close_phase")
    return script


def hear(script: ActiveScript, honest: Honest, tag: int, *but: int) -> None:
    """Everybody's message, as it came in a round in which all went well."""
    for step in honest.script.steps:
        if _is(step, tag) and step["sender"] not in but:
            script.do("receive", sender=step["sender"], message=step["message"])


def by_server(honest: Honest) -> Scenarios:
    """The server alone, up to the message for which it drops party 0."""
    keys, shares, masked, agree, answer = (honest.sent(0, tag) for tag in SAID)
    common = Common({**FOUR.setup, "nonce": NONCE.hex()})
    data = bytes.fromhex(keys)
    theirs = bytes.fromhex(honest.sent(1, KEYS))
    weak = data[:35] + bytes(32) + data[67:]
    taken = data[:67] + theirs[67:99] + data[99:]

    def own(message: bytes) -> str:
        fields = (common.offer, 0, message[35:67], message[67:99])
        return signed(FOUR, 0, message, "keys", *fields)

    fields = (common.offer, 0, data[35:67], data[67:99])
    by_other = signed(FOUR, 1, data, "keys", *fields)

    def of_input(name: str, *fields: Any) -> str:
        return signed(FOUR, 0, bytes.fromhex(masked), name, *fields)

    dealt = bytes.fromhex(shares)
    of_other = signed(
        FOUR, 0, dealt, "shares", dealt[3:35], 0, leaf(FOUR, 1), active.H("body", dealt[35:-64])
    )
    given = bytes.fromhex(masked)
    told_one = active.H("delivery", bytes.fromhex(honest.got(1, SHARE_LIST))[35:-64])
    packed = active.H("masked", given[36:52], given[52:-64])
    everyone = active.set_of({0, 1, 2, 3}, 4)
    other_list = of_input(
        "input", given[3:35], 0, everyone, told_one, active.H("set", b"\0"), packed
    )
    said = bytes.fromhex(agree)
    three = active.set_of({0, 1, 2}, 4)
    other_u3 = signed(FOUR, 0, said, "agree", said[3:35], 0, everyone, three, 3)
    wrong = "invalid-signature"
    cases = [
        ("truncated", KEYS, keys[:-2], "the last byte is missing", "§4 §7", "malformed"),
        ("suite", KEYS, put(keys, 1, "01"), "suite 1", "§4 §7", "malformed"),
        ("offer", KEYS, flipped(3)(keys), "keys for another offer", "§3", "malformed"),
        ("low-order", KEYS, own(weak), "c_pk = 0, signed", "§6 S4", "invalid-key"),
        ("key-of-other", KEYS, own(taken), "party 1's s_pk, signed", "§6 S4", "invalid-key"),
        ("keys", KEYS, flipped(-1)(keys), "keys that it did not sign", "§6 R1", wrong),
        ("keys-of-other", KEYS, by_other, "its keys, signed by party 1", "§6 R1", wrong),
        ("early", KEYS, shares, "share-keys while keys are advertised", "§1", "wrong-phase"),
        ("shares", SHARES, flipped(36)(shares), "a body that it did not sign", "§6 R3", wrong),
        ("leaf-of-other", SHARES, of_other, "shares signed over another leaf", "§6 R3", wrong),
        ("one-pair-less", SHARES, shares[:-2], "a byte too few", "§4 §7", "malformed"),
        ("vector", INPUT, flipped(53)(masked), "a vector that it did not sign", "§6 R3", wrong),
        ("salt", INPUT, flipped(36)(masked), "another salt than it signed", "§6 R3", wrong),
        ("failed", INPUT, flipped(35)(masked), "a complaint that it did not sign", "§6 R3", wrong),
        ("delivery-of-other", INPUT, other_list, "an input for another delivery", "§6 R3", wrong),
        ("agree", AGREE, flipped(-1)(agree), "no signature of U3", "§6 R4", wrong),
        ("agree-other", AGREE, other_u3, "it signed another U3", "§6 R4", wrong),
    ]
    for name, phase, message, about, spec, fault in cases:
        script = server_until(FOUR, honest, phase)
        script.do("receive", sender=1, message=honest.sent(1, phase))
        script.do("receive", sender=0, message=message)
        # whoever was dropped is not heard again
        script.do("receive", sender=0, message=honest.sent(0, phase))
        yield f"active-server-{name}", script.scenario(f"server: {about}", spec, fault)
    yield from of_members(honest)


def of_members(honest: Honest) -> Scenarios:
    script = ActiveScript(SIX, ("server",))
    script.do("start")
    for sender in (0, 3, 8):
        script.do("receive", sender=sender, message=honest.sent(0, KEYS))
    about = "server: one that was not asked, one that is excluded, one past the roster: not heard"
    yield "active-server-strangers", script.scenario(about, "§6 R1", "accept")
    script = server_until(FOUR, honest, KEYS)
    script.do("receive", sender=0, message=honest.sent(0, KEYS))
    script.do("receive", sender=0, message=flipped(-1)(honest.sent(0, KEYS)))
    about = "server: other keys, after the first"
    yield "active-server-equivocation", script.scenario(about, "§6 S2", "equivocation")
    script = ActiveScript(FOUR, ("server",))
    script.do("start")
    for tag in SAID:
        hear(script, honest, tag)
        script.do("reconnected", who=1)
        script.do("close_phase")
        script.do("reconnected", who=1)
    script.do("run_jobs")
    about = "server: told again is what was told, in the same bytes"
    yield "active-server-tells-again", script.scenario(about, "§6 R2", "accept")
    goodbye = put(honest.sent(0, KEYS), 2, "08")[:70] + "05"
    script = server_until(FOUR, honest, KEYS)
    script.do("receive", sender=0, message=goodbye)
    about = "server: a client says abort, unsigned"
    yield "active-server-quit", script.scenario(about, "§4", "accept")
    script = ActiveScript(FOUR, (0,))
    script.do("start", 0)
    script.do("receive", 0, sender="server", message=goodbye)
    about = "client: the server says abort, unsigned"
    yield "active-client-abort", script.scenario(about, "§4", "cancelled")


def of_answers(honest: Honest) -> Scenarios:
    """Header 35, a share of 40 bytes a dealer, the signature."""
    answer = bytes.fromhex(honest.sent(0, ANSWER))
    session, everyone = answer[3:35], active.set_of({0, 1, 2, 3}, 4)

    def answered(change: Tamper) -> str:
        data = bytes.fromhex(change(answer.hex()))
        shares = [data[35 + 40 * v : 75 + 40 * v] for v in range(4)]
        told = b"".join(
            active.share_digest(session, v, 0, b"b", share) for v, share in enumerate(shares)
        )
        return signed(FOUR, 0, data, "answer", session, 0, everyone, active.H("answer", told))

    limb = put(answer.hex(), 35, "1fffffffffffffff")
    cases = [
        ("answer", flipped(-1)(answer.hex()), "an answer that it did not sign", "R5", None),
        ("share-unsigned", flipped(42)(answer.hex()), "another share than it signed", "R5", None),
        ("share", answered(flipped(42)), "a share that is not what was dealt", "R5", 1),
        ("limb", answered(lambda _: limb), "a limb of p", "§6", 1),
    ]
    for name, message, about, rule, share in cases:
        script = server_until(FOUR, honest, ANSWER)
        script.do("receive", sender=0, message=message)
        for party in (1, 2, 3):
            script.do("receive", sender=party, message=honest.sent(party, ANSWER))
        if rule == "R5":
            script.do("close_phase")
            script.do("run_jobs")
            script.do("result")
        fault = "invalid-share" if share else "invalid-signature"
        spec = f"§6 {rule}" if rule == "R5" else "§6"
        yield f"active-server-{name}", script.scenario(f"server: {about}", spec, fault)


def of_dealers() -> Scenarios:
    """They sign what they deal, and it is wrong."""

    def round_of(change: Tamper, lost: frozenset[tuple[int, str]] = frozenset()) -> ActiveScript:
        tampered = {(1, "server", SHARES): change}
        return ActiveRound(FOUR, FOUR.family, lost=lost, tampered=tampered).run()

    about = "a commitment to another seed, signed: no sum, and its dealer is named"
    false_seed = round_of(resigned(FOUR, 1, flipped(35)))
    yield "active-server-commitment", false_seed.scenario(about, "§6 R6", "share-error")


def too_few(honest: Honest) -> Scenarios:
    """Two of four are left, t and q being 3."""
    names = {KEYS: "keys", SHARES: "share", INPUT: "input", AGREE: "sign", ANSWER: "answer"}
    rules = {AGREE: "R4", ANSWER: "S6"}
    for last, name in names.items():
        script = server_until(FOUR, honest, last)
        hear(script, honest, last, 0, 3)
        script.do("close_phase")
        about = f"server: two of at least three {name}"
        spec = f"§6 {rules.get(last, 'S5')}"
        yield f"active-server-few-{name}", script.scenario(about, spec, "below-threshold")
    script = server_until(FOUR, honest, INPUT)
    hear(script, honest, INPUT)
    script.do("lost", who=0)
    script.do("lost", who=2)
    script.do("close_phase")
    about = "server: all inputs came, but two clients are left to answer: U3 is not shown"
    yield "active-server-unrecoverable", script.scenario(about, "§6 S6", "below-threshold")
    script = server_until(FOUR, honest, AGREE)
    hear(script, honest, AGREE)
    script.do("lost", who=0)
    script.do("lost", who=2)
    script.do("close_phase")
    about = "server: all have signed, but two are left to answer: nothing is asked for"
    yield "active-server-unanswerable", script.scenario(about, "§6 S6", "below-threshold")
