"""The scenarios of what a client refuses and what a server drops a client for."""

from __future__ import annotations

from collections.abc import Iterator

from operations import Data
from scripts import Honest, Round, Script, complete, flipped, regular, ring_input, square

from secagg.plans.plan import Plan

KEYS, KEY_LIST, SHARES, SHARE_LIST, INPUT, REQUEST, ANSWER, ABORT = range(1, 9)


def scenarios(honest: Honest) -> Iterator[tuple[str, Data]]:
    """honest: a round of the square in which all goes well, to be tampered with."""
    yield from refusals_of_client(honest)
    yield from more_of_client(honest)
    yield from refusals_of_server(honest)
    yield from more_of_server(honest)


def refusals_of_client(honest: Honest) -> Iterator[tuple[str, Data]]:
    """Party 0 alone, up to the message that it refuses."""

    def refuse(before: list[int], message: str, about: str, spec: str, expect: str) -> Data:
        script = Script(honest.script.plan, honest.script.family, (0,))
        script.do("start", 0)
        script.do("set_input", 0, vector=ring_input(script.plan, 0))
        for tag in before:
            script.do("receive", 0, sender="server", message=honest.got(0, tag))
        script.do("receive", 0, sender="server", message=message)
        # whatever comes later, an ended session says nothing more
        script.do("receive", 0, sender="server", message=honest.got(0, REQUEST))
        return script.scenario(about, spec, expect)

    keys, shares, request = (honest.got(0, tag) for tag in (KEY_LIST, SHARE_LIST, REQUEST))
    # a key list of the square: header 35, U1 1, root 32, count 4, then 68 bytes a neighbour
    own_c = honest.sent(0, KEYS)[70:134]
    before, later = [KEY_LIST], [KEY_LIST, SHARE_LIST]
    remote = "RemoteProtocolError"
    cases: list[tuple[str, list[int], str, str, str, str]] = [
        ("truncated", [], keys[:-2], "the last byte is missing", "§7", "Truncated"),
        ("trailing", [], keys + "00", "one byte too many", "§7", "TrailingBytes"),
        ("version", [], "02" + keys[2:], "version 2", "§7", "UnknownVersion"),
        ("suite", [], keys[:2] + "02" + keys[4:], "suite 2", "§7", "UnknownVersion"),
        ("tag", [], keys[:4] + "09" + keys[6:], "tag 9", "§7", "BadTag"),
        ("u1-padding", [], put(keys, 35, "1f"), "a bit past n is set in U1", "§7", "WireError"),
        ("too-many-keys", [], put(keys, 68, "00000004"), "more than k keys", "§7", "TooLarge"),
        ("keys-descend", [], swap(keys), "the neighbours descend", "§7", "WireError"),
        ("early", [], shares, "a share list before the key list", "§1", remote),
        ("session-id", [], flipped(3)(keys), "not the session id of U1 and root", "§8 C3", remote),
        ("root", [], flipped(36)(keys), "another root, the same session id", "§8 C3", remote),
        ("u1-omits-me", [], put(keys, 35, "0e"), "U1 without this client", "§8 C3", remote),
        ("u1-too-small", [], put(keys, 35, "01"), "|U1| below min_clients", "§8 C3", remote),
        (
            "neighbours",
            [],
            put(keys, 72, "00000000"),
            "not the graph's neighbours",
            "§8 C3",
            remote,
        ),
        ("low-order", [], put(keys, 76, "01" + "00" * 31), "c_pk = 1", "§8 C4", "InvalidKey"),
        (
            "non-canonical",
            [],
            put(keys, 76, (2**255 - 19 + 9).to_bytes(32, "little").hex()),
            "c_pk = 9 + p",
            "§8 C4",
            "InvalidKey",
        ),
        (
            "reflected",
            [],
            put(keys, 76, own_c),
            "its own key as a neighbour's",
            "§8 C4",
            "InvalidKey",
        ),
        (
            "other-session",
            before,
            flipped(3)(shares),
            "a share list of another session",
            "§3",
            remote,
        ),
        ("u2-omits-me", before, put(shares, 35, "0e"), "U2 without this client", "§8 C5", remote),
        ("u2-too-small", before, put(shares, 35, "01")[:72], "only itself in U2", "§8 C5", remote),
        ("second-keys", before, put(keys, 68, "00000001"), "another key list", "§8 C1", remote),
        ("u3-omits-me", later, put(request, 35, "0e"), "U3 without this client", "§8 C8", remote),
        ("u3-too-small", later, put(request, 35, "01"), "fewer than t survive", "§8 C8", remote),
        (
            "second-survivors",
            [*later, REQUEST],
            put(request, 35, "07"),
            "another U3 after it has answered; nothing more is revealed",
            "§8 C1",
            remote,
        ),
    ]
    for name, so_far, message, about, spec, expect in cases:
        yield f"client-refuses-{name}", refuse(so_far, message, f"client: {about}", spec, expect)


def too_few(honest: Honest) -> Iterator[tuple[str, Data]]:
    """The server aborts at the close of each phase in which two of four are left, t being 3."""
    names = {KEYS: "advertise-keys", SHARES: "share-keys", INPUT: "masked-input", ANSWER: "unmask"}
    for last, name in names.items():
        script = Script(honest.script.plan, "n4", ("server",))
        script.do("start")
        for tag in range(KEYS, last + 1, 2):
            for party in (1, 2) if tag == last else range(4):
                script.do("receive", sender=party, message=honest.sent(party, tag))
            script.do("close_phase")
        rule = "§9 S6" if last == ANSWER else "§9 S5"
        about = f"server: two of at least three are left in {name}"
        yield f"server-aborts-in-{name}", script.scenario(about, rule, "below-threshold")

    script = Script(honest.script.plan, "n4", ("server",))
    script.do("start")
    for tag in (KEYS, SHARES, INPUT):
        for party in range(4):
            script.do("receive", sender=party, message=honest.sent(party, tag))
        if tag == INPUT:
            script.do("lost", who=0)
            script.do("lost", who=2)
        script.do("close_phase")
    about = "server: all inputs came, but two clients are left to answer: U3 is not revealed"
    yield "server-aborts-unrecoverable", script.scenario(about, "§9 S6", "below-threshold")


def failed_outside_u2() -> Iterator[tuple[str, Data]]:
    lossy = Honest(Round(complete(4, "1/4"), "n4", lost=frozenset({(3, "share-keys")})).run())
    script = Script(lossy.script.plan, "n4", ("server",))
    script.do("start")
    for tag, parties in ((KEYS, range(4)), (SHARES, range(3))):
        for party in parties:
            script.do("receive", sender=party, message=lossy.sent(party, tag))
        script.do("close_phase")
    message = put(lossy.sent(0, INPUT), 35, "04")
    script.do("receive", sender=0, message=message)
    about = "server: a dealer reported as failed that is not in U2"
    for name, code in (("bad-input", "07"), ("quit", "05"), ("malformed", "08")):
        left = Script(lossy.script.plan, "n4", ("server",))
        left.do("start")
        left.do("receive", sender=0, message=put(lossy.sent(0, KEYS), 2, "08")[:70] + code)
        rule = "§7" if name == "malformed" else "§9"
        about = f"server: a client says abort with the code {int(code)}"
        yield (
            f"server-drops-abort-{name}",
            left.scenario(about, rule, name if name == "malformed" else "accept"),
        )
    about = "server: a dealer reported as failed that is not in U2"
    yield "server-drops-failed-outside-u2", script.scenario(about, "§9 S3", "malformed")


def another_neighbour(keys: str) -> str:
    """A key list of eight with its first neighbour whose index can grow made another one."""
    at = [2 * (72 + 68 * i) for i in range(4)]
    listed = [int(keys[i : i + 8], 16) for i in at]
    for i, index, following in zip(at, listed, [*listed[1:], 8], strict=True):
        if index + 1 < following:
            return keys[:i] + f"{index + 1:08x}" + keys[i + 8 :]
    raise ValueError("the neighbours are the last four: take another family")


def put(message: str, at: int, new: str) -> str:
    """Bytes from offset `at` on are replaced."""
    return message[: 2 * at] + new + message[2 * at + len(new) :]


def swap(keys: str) -> str:
    """The first two neighbours of a key list of the square, the other way round."""
    first, second = keys[144:280], keys[280:416]
    return keys[:144] + second + first + keys[416:]


def more_of_client(honest: Honest) -> Iterator[tuple[str, Data]]:
    """Refusals that take a round of their own."""
    lossy = Honest(Round(complete(4, "1/4"), "n4", lost=frozenset({(3, "share-keys")})).run())
    outside = Script(lossy.script.plan, "n4", (0,))
    outside.do("start", 0)
    outside.do("set_input", 0, vector=ring_input(outside.plan, 0))
    for tag in (KEY_LIST, SHARE_LIST):
        outside.do("receive", 0, sender="server", message=lossy.got(0, tag))
    message = put(lossy.got(0, REQUEST), 35, "0f")
    outside.do("receive", 0, sender="server", message=message)
    yield (
        "client-refuses-u3-outside-u2",
        outside.scenario("client: U3 holds one that is not in U2", "§8 C8", "RemoteProtocolError"),
    )
    eight = Honest(Round(regular(3, 1), "n8").run())
    graph = Script(eight.script.plan, "n8", (0,))
    graph.do("start", 0)
    graph.do("receive", 0, sender="server", message=another_neighbour(eight.got(0, KEY_LIST)))
    yield (
        "client-refuses-neighbours-regular",
        graph.scenario(
            "client: one of four neighbours is not the graph's", "§8 C3", "RemoteProtocolError"
        ),
    )
    # the pairs of all others are spoilt: only its own is valid, and t is 3
    alone_ = Script(honest.script.plan, "n4", (0,))
    alone_.do("start", 0)
    alone_.do("set_input", 0, vector=ring_input(alone_.plan, 0))
    alone_.do("receive", 0, sender="server", message=honest.got(0, KEY_LIST))
    spoilt = flipped(36)(flipped(36 + 104)(flipped(36 + 208)(honest.got(0, SHARE_LIST))))
    alone_.do("receive", 0, sender="server", message=spoilt)
    yield (
        "client-refuses-all-pairs-spoilt",
        alone_.scenario("client: fewer than t pairs open", "§8 C6", "RemoteProtocolError"),
    )
    other = Script(honest.script.plan, "n4", (0,))
    other.do("start", 0)
    other.do("set_input", 0, vector=ring_input(other.plan, 0), payload=b"another task".hex())
    other.do("receive", 0, sender="server", message=honest.got(0, KEY_LIST))
    yield (
        "client-refuses-payload",
        other.scenario("client: its input is for another task", "§8 C2", "InputError"),
    )


def refusals_of_server(honest: Honest) -> Iterator[tuple[str, Data]]:
    """The server alone, up to the message for which it drops party 0, and how it goes on."""

    def refuse(phase: int, message: str, about: str, spec: str, fault: str) -> Data:
        script = Script(honest.script.plan, honest.script.family, ("server",))
        script.do("start")
        for tag in range(KEYS, phase, 2):
            for party in range(4):
                script.do("receive", sender=party, message=honest.sent(party, tag))
            script.do("close_phase")
        script.do("receive", sender=1, message=honest.sent(1, phase))
        script.do("receive", sender=0, message=message)
        # whoever was dropped is not heard again
        script.do("receive", sender=0, message=honest.sent(0, phase))
        for party in (2, 3):
            script.do("receive", sender=party, message=honest.sent(party, phase))
        script.do("close_phase")
        return script.scenario(about, spec, fault)

    keys, shares, masked, answer = (honest.sent(0, tag) for tag in (KEYS, SHARES, INPUT, ANSWER))
    of_1 = honest.sent(1, KEYS)
    cases = [
        ("truncated", KEYS, keys[:-2], "the last byte is missing", "§7", "malformed"),
        ("trailing", KEYS, keys + "00", "one byte too many", "§7", "malformed"),
        ("version", KEYS, "02" + keys[2:], "version 2", "§7", "malformed"),
        ("suite", KEYS, keys[:2] + "02" + keys[4:], "suite 2", "§7", "malformed"),
        ("offer", KEYS, flipped(3)(keys), "keys for another offer", "§3", "malformed"),
        ("low-order", KEYS, put(keys, 35, "00" * 32), "c_pk = 0", "§9 S4", "invalid-key"),
        (
            "non-canonical",
            KEYS,
            put(keys, 66, f"{bytes.fromhex(keys)[66] | 0x80:02x}"),
            "c_pk with its top bit set",
            "§9 S4",
            "invalid-key",
        ),
        ("equal-keys", KEYS, put(keys, 67, keys[70:134]), "s_pk = c_pk", "§9 S4", "invalid-key"),
        ("key-of-other", KEYS, put(keys, 67, of_1[134:]), "party 1's s_pk", "§9 S4", "invalid-key"),
        ("early", KEYS, shares, "share-keys while keys are advertised", "§1", "wrong-phase"),
        ("session", SHARES, flipped(3)(shares), "share-keys of another session", "§3", "malformed"),
        ("one-pair-less", SHARES, shares[:-208], "a pair too few", "§7", "malformed"),
        ("vector-padding", INPUT, flipped(-1, 0x80)(masked), "a padding bit", "§9 S3", "malformed"),
        ("vector-short", INPUT, masked[:-2], "an incomplete vector", "§9 S3", "malformed"),
        (
            "share-outside-field",
            ANSWER,
            put(answer, 35, "1fffffffffffffff"),
            "a limb of p",
            "§6",
            "invalid-share",
        ),
    ]
    for name, phase, message, about, spec, fault in cases:
        scenario = refuse(phase, message, f"server: {about}", spec, fault)
        yield f"server-drops-{name}", scenario


def more_of_server(honest: Honest) -> Iterator[tuple[str, Data]]:
    plan = honest.script.plan
    twice = Script(plan, "n4", ("server",))
    twice.do("start")
    for tag in (KEYS, SHARES):
        for party in range(4):
            twice.do("receive", sender=party, message=honest.sent(party, tag))
        twice.do("close_phase")
    masked = honest.sent(0, INPUT)
    twice.do("receive", sender=0, message=masked)
    twice.do("receive", sender=0, message=flipped(36)(masked))
    for party in (1, 2, 3):
        twice.do("receive", sender=party, message=honest.sent(party, INPUT))
    twice.do("close_phase")
    about = "server: a second, different vector: dropped, but the first stays in the sum and U3"
    yield "server-drops-equivocation", twice.scenario(about, "§9 S2", "equivocation")

    yield from too_few(honest)
    yield from failed_outside_u2()

    # the first share of an answer, at byte 35, is of party 0's secret; two of four are wrong
    lying = {(party, "server", ANSWER): flipped(35 + 7) for party in (1, 2)}
    script = Script(plan, "n4", ("server",))
    script.do("start")
    for tag in (KEYS, SHARES, INPUT, ANSWER):
        for party in range(4):
            message = honest.sent(party, tag)
            message = lying.get((party, "server", tag), lambda same: same)(message)
            script.do("receive", sender=party, message=message)
        script.do("close_phase")
    script.do("run_jobs")
    script.do("result")
    about = "server: two false shares of four, t = 3: no three give the secret, no sum"
    yield "server-aborts-wrong-share", script.scenario(about, "§9 S7", "share-error")

    # the commitment is at byte 35
    five = Honest(Round(complete(5, "2/5"), "n5").run())
    script = Script(five.script.plan, "n5", ("server",))
    script.do("start")
    for tag in (KEYS, SHARES, INPUT, ANSWER):
        for party in range(5):
            message = five.sent(party, tag)
            if (party, tag) == (4, SHARES):
                message = flipped(35)(message)
            script.do("receive", sender=party, message=message)
        script.do("close_phase")
    script.do("run_jobs")
    about = "server: a commitment to another seed: no sum, and its dealer is named"
    yield "server-aborts-wrong-commitment", script.scenario(about, "§9 S7", "share-error")

    # of a dropped client: the rebuilt scalar does not give its s_pk
    lossy = Honest(Round(square(), "n4", lost=frozenset({(3, "masked-input")})).run())
    script = Script(plan, "n4", ("server",))
    script.do("start")
    for tag in (KEYS, SHARES):
        for party in range(4):
            script.do("receive", sender=party, message=lossy.sent(party, tag))
        script.do("close_phase")
    for tag in (INPUT, ANSWER):
        for party in (0, 1, 2):
            message = lossy.sent(party, tag)
            if (party, tag) == (0, ANSWER):
                message = flipped(len(message) // 2 - 1)(message)
            script.do("receive", sender=party, message=message)
        script.do("close_phase")
    about = "server: a false share of a dropped client's scalar: no sum"
    yield "server-aborts-wrong-scalar", script.scenario(about, "§9 S7", "share-error")

    def false_count(plan: Plan, party: int) -> list[list[int]]:
        lanes = ring_input(plan, party)
        lanes[0][-1] += party == 1
        return lanes

    counted = Round(plan, "n4", inputs=false_count).run()
    about = "party 1 counts itself twice: the sum is withheld by whoever decodes it"
    yield "count-lane-off", counted.scenario(about, "§11", "IntegrityError")
