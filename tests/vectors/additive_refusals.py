"""What each party of additive sums refuses, or rejects: one machine alone, up to the lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import additive_blocks as blocks
import rfc8032
import rfc9180
from additive_scripts import (
    ABORT,
    AGREEMENT,
    COLLECT,
    DECISION,
    LEADER,
    RECEIPT,
    REPORT,
    SHARE,
    STATEMENT,
    TOTAL,
    VERDICT,
    AdditiveScript,
    Batch,
    Honest,
    make_task,
    secrets_of,
    tag_of,
)
from blocks import pack, u32
from operations import OUTPUTS, Data
from scripts import flipped, ring_input, shake

FAMILY = "a3"
HEAD = 35
BODY = HEAD + 16 + 32 + 96 + 64
"""Where the sealed shares of a report to three servers begin."""
Scenarios = Iterator[tuple[str, Data]]


@dataclass
class Liar:
    """Forges what a lying party could: it knows every key."""

    honest: Honest
    task: Any = field(init=False)

    def __post_init__(self) -> None:
        self.task = blocks.parse_task(self.honest.script.task.encode())
        self.batch = self.task.batch_id(self.honest.script.batch)

    def report(self, party: str, change: Callable[[list[bytes]], None], again: bytes = b"") -> str:
        """The honest report of a client with other sealed shares, rightly signed."""
        data = bytes.fromhex(self.honest.sent(party, LEADER, REPORT))
        id, sealed = data[HEAD : HEAD + 16], split(data)
        change(sealed)
        return self.encoded(party, again or id, sealed)

    def encoded(self, party: str, id: bytes, sealed: list[bytes]) -> str:
        secret = bytes.fromhex(self.honest.script.setup["randomness"][party])[16:48]
        head = blocks.signed_head(self.task.id, id, secret, sealed)
        return message(REPORT, self.task.id, head.encoded, *sealed)

    def share(self, report: str, server: int) -> str:
        """What the leader relays of a report."""
        data = bytes.fromhex(report)
        return message(SHARE, self.task.id, data[HEAD:BODY] + split(data)[server])

    def ruling(
        self, tag: int, report: str, verdict: int, flip: int = 0, signer: int | None = None
    ) -> str:
        """A verdict or decision on a report, maybe on another digest. signer: whose receipt."""
        id, digest = self.known(report)
        digest = bytes([digest[0] ^ flip]) + digest[1:]
        receipt = b""
        if signer is not None:
            receipt = self.sign(signer, blocks.receipt_statement(self.task.id, signer, digest))
        return message(tag, self.batch, id, digest, bytes([verdict]), receipt)

    def known(self, report: str) -> tuple[bytes, bytes]:
        head = head_of(report)
        return head.id, head.digest

    def receipt(self, server: int, report: str, *, digest: bytes = b"") -> str:
        head = head_of(report)
        signed = blocks.receipt_statement(self.task.id, server, digest or head.digest)
        return message(RECEIPT, self.task.id, head.id, bytes([server]), self.sign(server, signed))

    def set_of(self, *parties: str) -> tuple[int, bytes]:
        reports = (self.honest.sent(p, LEADER, REPORT) for p in parties)
        return blocks.set_of(dict(map(self.known, reports)))

    def statement(self, server: int, stated: tuple[int, bytes]) -> str:
        signature = self.sign(server, blocks.statement(self.batch, *stated))
        return message(STATEMENT, self.batch, u32(stated[0]), stated[1], signature)

    def total(
        self,
        server: int,
        stated: tuple[int, bytes],
        packed: bytes,
        flip: int = 0,
        signers: tuple[int, ...] = (0, 1, 2),
    ) -> str:
        """signers: whose signatures are in the places of the three servers'."""
        count, digest = stated
        info = blocks.total_info(self.task.id, self.honest.script.batch, digest, count, server)
        key = self.task.committee.collector
        sealed = bytearray(rfc9180.seal(key, info, packed, shake(f"total/{server}", 32)))
        sealed[-1] ^= flip
        signed = blocks.total_statement(self.batch, server, count, digest, bytes(sealed))
        statement = blocks.statement(self.batch, *stated)
        agreed = b"".join(self.sign(signer, statement) for signer in signers)
        body = u32(count) + digest + agreed + bytes(sealed) + self.sign(server, signed)
        return message(TOTAL, self.batch, body)

    def sign(self, server: int, what: bytes) -> bytes:
        return rfc8032.sign(secrets_of(FAMILY, server).signing.expose(), what)

    def alone(self, party: str, sender: str = "", tag: int = 0, number: int = 0) -> AdditiveScript:
        """The machine of one party, after all that it did before it received that message."""
        honest = self.honest.script
        script = AdditiveScript(honest.task, FAMILY, [party], honest.batch)
        for step in honest.steps:
            if step["party"] != party:
                continue
            if step.get("sender") == sender and tag_of(step["message"]) == tag:
                if number == 0:
                    break
                number -= 1
            inputs = {k: v for k, v in step.items() if k not in ("operation", "party", OUTPUTS)}
            script.do(step["operation"], party, **inputs)
        return script


def spoilt_report(honest: Honest) -> str:
    """Party 1's, whose last share does not open at server 2."""
    return Liar(honest).report("1", lambda sealed: _flip_last(sealed, 2))


def split(report: bytes) -> list[bytes]:
    """The three sealed shares."""
    sealed = report[BODY:]
    return [sealed[:-160], sealed[-160:-80], sealed[-80:]]


def head_of(report: str) -> blocks.Head:
    return blocks.Head.read(blocks.Cursor(bytes.fromhex(report)[HEAD:]), 3)


def message(tag: int, bound: bytes, *body: bytes) -> str:
    return (bytes([1, 1, tag]) + bound + b"".join(body)).hex()


def scenarios() -> Scenarios:
    liar = Liar(Honest(Batch(make_task(FAMILY), FAMILY).run()))
    for part in (of_clients, of_leader, of_leader_later, of_helpers, of_helpers_later, of_batches):
        yield from part(liar)
    yield from of_collector(liar)


def of_clients(liar: Liar) -> Scenarios:
    honest, task = liar.honest, liar.task.id
    receipt = honest.sent(LEADER, "0", RECEIPT)
    report = honest.sent("0", LEADER, REPORT)
    remote = "RemoteProtocolError"
    for name, said, about, expect in (
        (
            "other-receipt",
            honest.sent(LEADER, "1", RECEIPT),
            "another report's receipt is not for it",
            "accept",
        ),
        (
            "replaced",
            liar.receipt(0, report, digest=bytes(32)),
            "a receipt for another report of its id",
            remote,
        ),
        (
            "other-signer",
            receipt[:102] + "01" + receipt[104:],
            "server 0's signature as that of server 1",
            remote,
        ),
        ("no-server", receipt[:102] + "03" + receipt[104:], "of server 3 of 0 to 2", remote),
        ("other-task", flipped(3)(receipt), "a receipt of another task", remote),
        ("truncated", receipt[:-2], "the last byte is missing", "Truncated"),
        ("verdict", message(VERDICT, task, bytes(81)), "a message that it never gets", remote),
        ("reason", message(ABORT, task, b"\x09"), "abort for no known reason", "WireError"),
        ("abort", message(ABORT, task, b"\x01"), "the leader ends the batch", "below-threshold"),
    ):
        script = liar.alone("0", LEADER, RECEIPT)
        script.do("receive", "0", sender=LEADER, message=said)
        script.do("reconnected", "0", who=LEADER)
        yield f"additive-client-{name}", script.scenario(f"client: {about}", "§7", expect)
    script = AdditiveScript(honest.script.task, FAMILY, ["0"])
    script.do("start", "0")
    vector = ring_input(script.task.plan, 0)
    script.do("set_input", "0", vector=vector, payload=b"another task".hex())
    about = "client: it saw another payload than the task's"
    yield "additive-client-payload", script.scenario(about, "§7", "InputError")


def _flip_last(sealed: list[bytes], server: int = 0) -> None:
    sealed[server] = sealed[server][:-1] + bytes([sealed[server][-1] ^ 1])


def of_leader(liar: Liar) -> Scenarios:
    """What it drops a client for; party 1 sends its report, and party 0's is in."""
    honest = liar.honest
    first, report = (honest.sent(p, LEADER, REPORT) for p in ("0", "1"))
    id = bytes.fromhex(first)[HEAD : HEAD + 16]
    signed = 2 * (BODY - 64)

    def padded(sealed: list[bytes]) -> None:
        info = blocks.share_info(liar.task.id, head_of(report).id, head_of(report).front, 0)
        plain = b"\xff" * (len(sealed[0]) - 48)
        key = liar.task.committee.servers[0][0]
        sealed[0] = rfc9180.seal(key, info, plain, shake("padded", 32))

    bad, spoilt = "malformed", liar.report("1", _flip_last)
    for name, said, about, spec, expect in (
        ("manifest", flipped(-1)(report), "an altered byte of a sealed share", "§8 A2", bad),
        ("other-task", flipped(3)(report), "a report for another task", "§3", bad),
        ("truncated", report[:-2], "the last byte is missing", "§6", bad),
        (
            "spliced",
            _spliced(report, first),
            "the share of another report, and a manifest that fits",
            "§8 A2",
            "invalid-signature",
        ),
        (
            "unsigned",
            report[:signed] + "00" * 64 + report[signed + 128 :],
            "a signature of zeros",
            "§8 A2",
            "invalid-signature",
        ),
        (
            "other-key",
            report[: 2 * HEAD + 32]
            + first[2 * HEAD + 32 : 2 * HEAD + 96]
            + report[2 * HEAD + 96 :],
            "the key of another report",
            "§8 A2",
            "invalid-signature",
        ),
        ("trailing", report + "00", "one byte too many", "§6", bad),
        ("tag", report[:4] + "0e" + report[6:], "tag 14", "§6", bad),
        ("version", "02" + report[2:], "version 2", "§6", bad),
        ("suite", report[:2] + "02" + report[4:], "suite 2", "§6", bad),
        ("share-for-report", liar.share(report, 0), "a share, in relay mode", "§1", bad),
        ("unopenable", spoilt, "its share does not open", "§8 A4", "rejected"),
        ("padding", liar.report("1", padded), "padding bits are set", "§8 A4", "rejected"),
        (
            "same-id",
            liar.report("1", lambda sealed: None, id),
            "other bytes under an id that is known; the first report stands",
            "§8 A3",
            "equivocation",
        ),
    ):
        script = liar.alone(LEADER, "1", REPORT)
        script.do("receive", LEADER, sender=1, message=said)
        # a fault is the sender's alone
        script.do("receive", LEADER, sender=2, message=honest.sent("2", LEADER, REPORT))
        yield f"additive-leader-{name}", script.scenario(f"leader: {about}", spec, expect)


def _spliced(report: str, other: str) -> str:
    """With the last share of another, under the signature that it has."""
    data, sealed = bytes.fromhex(report), split(bytes.fromhex(report))
    sealed[2] = split(bytes.fromhex(other))[2]
    manifest = b"".join(map(blocks.sha, sealed))
    head = data[: HEAD + 48] + manifest + data[BODY - 64 : BODY]
    return (head + b"".join(sealed)).hex()


def of_leader_later(liar: Liar) -> Scenarios:
    honest = liar.honest
    first, report = (honest.sent(p, LEADER, REPORT) for p in ("0", "1"))
    stated = honest.sent("server-2", LEADER, STATEMENT)
    other, own = liar.set_of("0", "1", "2"), honest.sent(LEADER, "server-1", STATEMENT)
    early = ("server-1", VERDICT, 1)
    late = ("server-2", STATEMENT, 0)
    for name, stop, sender, said, about, spec, expect in (
        (
            "second-report",
            ("1", REPORT, 0),
            "0",
            report,
            "two of one client",
            "§8 A3",
            "equivocation",
        ),
        (
            "verdict",
            early,
            "server-1",
            liar.ruling(VERDICT, report, 1),
            "one server rejects, so all do",
            "§8 A4",
            "rejected",
        ),
        (
            "other-manifest",
            early,
            "server-1",
            liar.ruling(VERDICT, report, 0, flip=1, signer=1),
            "a helper's verdict is on another report than was relayed",
            "§8 A4",
            "integrity",
        ),
        (
            "other-receipt",
            early,
            "server-1",
            liar.ruling(VERDICT, report, 0, signer=2),
            "a helper accepts with the receipt of another server",
            "§8 A4",
            "integrity",
        ),
        ("early-statement", early, "server-2", stated, "before the close", "§1", "peer-fault"),
        (
            "other-set",
            late,
            "server-2",
            liar.statement(2, other),
            "a helper omits one",
            "§8 A9",
            "integrity",
        ),
        (
            "signature",
            late,
            "server-2",
            flipped(-1)(stated),
            "a signature is altered",
            "§8 A9",
            "integrity",
        ),
        (
            "own-signature",
            late,
            "server-2",
            own,
            "a helper returns the leader's",
            "§8 A9",
            "integrity",
        ),
        (
            "quit",
            late,
            "server-2",
            message(ABORT, liar.batch, b"\x05"),
            "a helper aborts",
            "§8",
            "cancelled",
        ),
    ):
        script = liar.alone(LEADER, *stop)
        script.do("receive", LEADER, sender=sender, message=said)
        script.do("receive", LEADER, sender=0, message=first)
        yield f"additive-leader-{name}", script.scenario(f"leader: {about}", spec, expect)
    script = liar.alone(LEADER, "2", REPORT)
    script.do("receive", LEADER, sender="collector", message=message(COLLECT, liar.batch))
    script.do("close_phase", LEADER)
    about = "leader: it closes with two of at least three; a collector that waits is told"
    yield "additive-leader-too-few", script.scenario(about, "§8 A7", "below-threshold")
    for name, operation, inputs in (
        ("late", "close_phase", {}),
        ("lost", "lost", {"who": "server-2"}),
    ):
        script = liar.alone(LEADER, *late)
        script.do(operation, LEADER, **inputs)
        about = f"leader: a helper is {name} with its statement, and named"
        yield f"additive-leader-{name}", script.scenario(about, "§8", "lost")


def of_helpers(liar: Liar) -> Scenarios:
    """What helper 1 says of shares, and what ends the batch while reports come."""
    honest = liar.honest
    report = honest.sent("1", LEADER, REPORT)
    share, first = (honest.sent(LEADER, "server-1", SHARE, i) for i in (1, 0))
    spoilt = liar.report("1", lambda sealed: _flip_last(sealed, 1))
    swapped = liar.report("1", _swapped)
    at_share = (LEADER, SHARE, 1)
    for name, said, about in (
        ("unopenable", liar.share(spoilt, 1), "its share does not open"),
        (
            "swapped",
            liar.share(swapped, 1),
            "it gets the share of server 2, and a fitting manifest",
        ),
    ):
        script = liar.alone("server-1", *at_share)
        script.do("receive", "server-1", sender=LEADER, message=said)
        script.do("receive", "server-1", sender=LEADER, message=said)
        about = f"helper: {about}: it says rejected, and again the same"
        yield f"additive-helper-{name}", script.scenario(about, "§8 A4")
    include = liar.ruling(DECISION, report, 0)
    agreed = honest.sent(LEADER, "server-1", AGREEMENT)
    unsigned = agreed[:270] + "00" * 64 + agreed[398:]
    for name, stop, said, about, spec, expect in (
        ("manifest", at_share, flipped(-1)(share), "an altered byte", "§8 A2", "peer-fault"),
        (
            "same-id",
            at_share,
            _again(liar, report, first),
            "two reports of one id",
            "§8 A3",
            "peer-fault",
        ),
        (
            "spliced",
            at_share,
            liar.share(_spliced_for(liar, report, honest.sent("0", LEADER, REPORT)), 1),
            "the leader relays a share of another report, and a manifest that fits",
            "§8 A2",
            "integrity",
        ),
        (
            "rejects-other",
            (LEADER, DECISION, 1),
            liar.ruling(DECISION, report, 1, flip=1),
            "another report of this id is rejected",
            "§8 A6",
            "integrity",
        ),
        ("unknown", at_share, include, "included before it came", "§8 A6", "integrity"),
        (
            "other-digest",
            (LEADER, DECISION, 1),
            liar.ruling(DECISION, report, 0, flip=1),
            "another report of this id is included",
            "§8 A6",
            "integrity",
        ),
        (
            "rejects-included",
            (LEADER, DECISION, 2),
            liar.ruling(DECISION, report, 1),
            "the leader takes back what it has included",
            "§8 A6",
            "peer-fault",
        ),
        (
            "early-agreement",
            (LEADER, STATEMENT, 0),
            unsigned,
            "an agreement before the statement, without the helper's own signature",
            "§8 A9",
            "integrity",
        ),
        (
            "few",
            (LEADER, SHARE, 2),
            message(ABORT, liar.batch, b"\x01"),
            "the leader has ended the batch with too few reports",
            "§8 A7",
            "below-threshold",
        ),
        (
            "not-few",
            (LEADER, STATEMENT, 0),
            message(ABORT, liar.batch, b"\x01"),
            "the leader says that there are too few reports, and there are enough",
            "§8",
            "cancelled",
        ),
    ):
        script = liar.alone("server-1", *stop)
        script.do("receive", "server-1", sender=LEADER, message=said)
        # an ended batch takes nothing more, and says so when a link is new
        script.do("receive", "server-1", sender=LEADER, message=share)
        script.do("reconnected", "server-1", who=LEADER)
        yield f"additive-helper-{name}", script.scenario(f"helper: {about}", spec, expect)


def _spliced_for(liar: Liar, report: str, other: str) -> str:
    """The share of server 1 is that of another report."""
    data, sealed = bytes.fromhex(report), split(bytes.fromhex(report))
    sealed[1] = split(bytes.fromhex(other))[1]
    manifest = b"".join(map(blocks.sha, sealed))
    head = data[: HEAD + 48] + manifest + data[BODY - 64 : BODY]
    return (head + b"".join(sealed)).hex()


def _swapped(sealed: list[bytes]) -> None:
    sealed[1], sealed[2] = sealed[2], sealed[1]


def _again(liar: Liar, report: str, known: str) -> str:
    """A share of the report under the id of one that is known."""
    id = bytes.fromhex(known)[HEAD : HEAD + 16]
    return liar.share(liar.encoded("1", id, split(bytes.fromhex(report))), 1)


def of_helpers_later(liar: Liar) -> Scenarios:
    """What a helper does not sign, and what it does not lock."""
    honest = liar.honest
    stated, agreed = (honest.sent(LEADER, "server-1", tag) for tag in (STATEMENT, AGREEMENT))
    omitted, everybody = liar.set_of("0", "1", "2"), liar.set_of("0", "1", "2", "3")
    # header 35, count 4, digest 32, then the signatures of servers 0, 1 and 2
    signatures = [agreed[142 + 128 * j : 270 + 128 * j] for j in range(3)]
    exchanged = agreed[:142] + signatures[0] + signatures[2] + signatures[1]
    late = (LEADER, AGREEMENT, 0)
    for name, stop, said, about, spec, expect in (
        (
            "omission",
            (LEADER, STATEMENT, 0),
            liar.statement(0, omitted),
            "the leader's set lacks a report",
            "§8 A8",
            "integrity",
        ),
        (
            "leader-signature",
            (LEADER, STATEMENT, 0),
            liar.statement(2, everybody),
            "signed by another than the leader",
            "§8 A8",
            "integrity",
        ),
        (
            "too-few",
            (LEADER, SHARE, 2),
            liar.statement(0, liar.set_of("0", "1")),
            "a set of two, and the minimum batch is three",
            "§8 A8",
            "below-threshold",
        ),
        ("swapped-signatures", late, exchanged, "of servers 1 and 2", "§8 A9", "integrity"),
        ("altered-signature", late, flipped(-1)(agreed), "of server 2", "§8 A9", "integrity"),
        (
            "other-agreement",
            late,
            agreed[:70] + u32(3).hex() + omitted[1].hex() + agreed[142:],
            "on another set",
            "§8 A9",
            "integrity",
        ),
    ):
        script = liar.alone("server-1", *stop)
        script.do("receive", "server-1", sender=LEADER, message=said)
        script.do("restart", "server-1")
        script.do("receive", "server-1", sender="collector", message=message(COLLECT, liar.batch))
        yield f"additive-helper-{name}", script.scenario(f"helper: {about}", spec, expect)
    script = liar.alone("server-1", *late)
    script.do("lost", "server-1", who=LEADER)
    script.do("close_phase", "server-1")
    for said in (agreed, agreed, exchanged, stated):
        script.do("receive", "server-1", sender=LEADER, message=said)
    for _ in range(2):
        script.do("receive", "server-1", sender="collector", message=message(COLLECT, liar.batch))
    about = "helper: it has signed, so it waits; it locks once; then nothing changes its total"
    yield "additive-helper-locked", script.scenario(about, "§8 A12")
    script = liar.alone("server-1", LEADER, STATEMENT, 0)
    for said in (agreed, honest.sent(LEADER, "server-1", DECISION), stated):
        script.do("receive", "server-1", sender=LEADER, message=said)
    about = "helper: it has forgotten what it signed, and locks it; then its leader has"
    yield "additive-helper-set-back", script.scenario(about, "§9.5")


def of_batches(liar: Liar) -> Scenarios:
    """Replays between batches of one epoch."""
    honest = liar.honest
    rows = {n: honest.script.rows_of(n) for n in (LEADER, "server-1", "server-2")}
    report = honest.sent("1", LEADER, REPORT)
    later = AdditiveScript(honest.script.task, FAMILY, [LEADER], 1, {LEADER: rows[LEADER]})
    later.do("start", LEADER)
    later.do("receive", LEADER, sender=1, message=report)
    about = "leader: a report of batch 0 comes again in batch 1: a receipt, and no more"
    yield "additive-leader-spent", later.scenario(about, "§8 A10")
    one = "server-1"
    script = AdditiveScript(honest.script.task, FAMILY, [one], 1, {one: rows[one]})
    script.do("start", one)
    script.do("receive", one, sender=LEADER, message=honest.sent(LEADER, one, SHARE, 1))
    next_batch = liar.task.batch_id(1)
    include = bytes.fromhex(liar.ruling(DECISION, report, 0))
    script.do("receive", one, sender=LEADER, message=message(DECISION, next_batch, include[HEAD:]))
    about = "helper: the leader includes a report of batch 0 again in batch 1"
    yield "additive-helper-spent", script.scenario(about, "§8 A6", "integrity")
    reject = bytes.fromhex(liar.ruling(DECISION, report, 1))[HEAD:]
    unknown = bytes(48) + b"\1"
    script = AdditiveScript(honest.script.task, FAMILY, [one], 1, {one: rows[one]})
    script.do("start", one)
    for body in (reject, unknown, unknown):
        script.do("receive", one, sender=LEADER, message=message(DECISION, next_batch, body))
    about = "helper: rejections of what it has summed before, and of what nobody has reported: "
    about += "answered, and nothing is written"
    yield "additive-helper-strange-rejections", script.scenario(about, "§8 A6")
    script = liar.alone(one, LEADER, AGREEMENT)
    agreed = bytes.fromhex(honest.sent(LEADER, one, AGREEMENT))
    script.do("receive", one, sender=LEADER, message=message(AGREEMENT, next_batch, agreed[HEAD:]))
    about = "helper: an agreement of another batch"
    yield "additive-helper-other-batch", script.scenario(about, "§3", "peer-fault")


def of_collector(liar: Liar) -> Scenarios:
    honest = liar.honest
    totals = [honest.sent(f"server-{j}", "collector", TOTAL) for j in range(3)]
    everybody, fewer = liar.set_of("0", "1", "2", "3"), liar.set_of("0", "1")
    packed = pack(liar.task.plan.schema.segments, [[7] * 9])
    one = totals[1]
    for name, said, about, spec, expect in (
        ("signature", flipped(-1)(one), "an altered signature", "§8 A11", "integrity"),
        ("swapped", totals[2], "the total of server 2", "§8 A11", "integrity"),
        ("altered", flipped(100)(one), "an altered ciphertext", "§8 A11", "integrity"),
        (
            "other-set",
            liar.total(1, liar.set_of("0", "1", "2"), packed, signers=(1, 1, 2)),
            "a total of another set, which the leader has not signed",
            "§8 A11",
            "integrity",
        ),
        (
            "no-agreement",
            liar.total(1, everybody, packed, signers=(0, 1, 1)),
            "a total of the right set without the signature of server 2",
            "§8 A11",
            "integrity",
        ),
        (
            "two-sets",
            liar.total(1, liar.set_of("0", "1", "2"), packed),
            "a total of another set, which every server has signed too: nobody alone is named",
            "§8 A11",
            "integrity",
        ),
        (
            "unopenable",
            liar.total(1, everybody, packed, flip=1),
            "signed, and does not open",
            "§8 A11",
            "peer-fault",
        ),
        (
            "padding",
            liar.total(1, everybody, b"\xff" * len(packed)),
            "signed, opens, and padding bits are set",
            "§8 A11",
            "peer-fault",
        ),
        (
            "other-batch",
            one[:6] + liar.task.batch_id(1).hex() + one[70:],
            "a total of another batch",
            "§3",
            "peer-fault",
        ),
        ("tag", one[:4] + "09" + one[6:], "another message", "§6", "peer-fault"),
        ("abort", message(ABORT, liar.batch, b"\x01"), "an abort", "§8 A11", "cancelled"),
    ):
        script = liar.alone("collector", "server-1", TOTAL)
        script.do("receive", "collector", sender="server-1", message=said)
        script.do("receive", "collector", sender="server-2", message=totals[2])
        script.do("result", "collector")
        yield f"additive-collector-{name}", script.scenario(f"from server 1: {about}", spec, expect)
    script = liar.alone("collector", LEADER, TOTAL)
    lie = liar.total(1, liar.set_of("0", "1", "2"), packed, signers=(1, 1, 2))
    script.do("receive", "collector", sender="server-1", message=lie)
    script.do("receive", "collector", sender=LEADER, message=totals[0])
    script.do("result", "collector")
    about = "a total of another set comes first: it is its server that is named"
    yield "additive-collector-other-set-first", script.scenario(about, "§8 A11", "integrity")
    script = liar.alone("collector", LEADER, TOTAL)
    for j in range(3):
        said = liar.total(j, fewer, packed)
        script.do("receive", "collector", sender=f"server-{j}", message=said)
    script.do("result", "collector")
    about = "all servers sign a batch of two: three lying servers do not make it enough"
    yield "additive-collector-too-few", script.scenario(about, "§8 A11", "below-threshold")
    for name, operation, inputs in (
        ("late", "close_phase", {}),
        ("lost", "lost", {"who": "server-1"}),
    ):
        script = liar.alone("collector", "server-1", TOTAL)
        script.do("reconnected", "collector", who="server-1")
        script.do(operation, "collector", **inputs)
        script.do("result", "collector")
        about = f"the total of server 1 is {name}: it is named, and there is no result"
        yield f"additive-collector-{name}", script.scenario(about, "§8 A11", "lost")
