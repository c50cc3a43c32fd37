"""Invariants J1-J6 (specs/invariants.md), held at every step of whole batches of additive sums.

What is stored is read by the independent implementation, as bytes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import additive_blocks as blocks
import pytest
import rfc8032
from additive_refusals import Liar, message, spoilt_report
from additive_scripts import (
    AGREEMENT,
    COLLECT,
    LEADER,
    OPEN,
    RECEIPT,
    REPORT,
    SHARE,
    TOTAL,
    VERDICT,
    AdditiveScript,
    Batch,
    Honest,
    make_task,
    secrets_of,
    tag_of,
)
from blocks import Cursor
from model_additive import Common
from model_additive_server import Helper, Leader

from secagg_protocols.reports import states

TASKS = {
    "a3": make_task("a3"),
    "a2": make_task("a2", 3, 2, dropout="0/1"),
    "d3": make_task("d3", 3, 3, dropout="0/1", direct=True),
}
RESTARTS = {"reports": (LEADER, "server-1"), "agreed": ("server-1",), "locked": (LEADER,)}


@pytest.fixture(scope="module", params=["plain", "twice", "restarts", "direct", "rejected"])
def script(request: pytest.FixtureRequest) -> AdditiveScript:
    """A batch that ends well, in which not all goes well."""
    spoilt = spoilt_report(Honest(Batch(TASKS["a3"], "a3").run()))
    lie = {("1", LEADER, REPORT): lambda _: spoilt}
    runs: dict[str, Any] = {
        "plain": lambda: Batch(TASKS["a3"], "a3", lost=(2,)),
        "twice": lambda: Batch(TASKS["a2"], "a2", repeated=True),
        "restarts": lambda: Batch(TASKS["a2"], "a2", restarts=dict(RESTARTS)),
        "direct": lambda: Batch(TASKS["d3"], "d3", backwards=True, restarts=dict(RESTARTS)),
        "rejected": lambda: Batch(TASKS["a3"], "a3", tampered=lie),
    }
    done: AdditiveScript = runs[request.param]().run()
    return done


def stored(script: AdditiveScript) -> list[tuple[dict[str, Any], dict[str, dict[str, str]]]]:
    """Every step, with the rows of all servers as they are once it is stored."""
    rows: dict[str, dict[str, str]] = {p: {} for p in script.parties if p.startswith("server")}
    history = []
    for step in script.steps:
        rows = {name: dict(kept) for name, kept in rows.items()}
        if step["party"] in rows:
            kept = rows[step["party"]] | dict(step["outputs"].get("writes", []))
            rows[step["party"]] = {k: v for k, v in kept.items() if v is not None}
        history.append((step, rows))
    return history


def sent(script: AdditiveScript, tag: int) -> list[tuple[str, str, dict[str, str]]]:
    """Who says what of that kind, with what it has stored."""
    return [
        (step["party"], said["message"], rows[step["party"]])
        for step, rows in stored(script)
        if step["party"] in rows
        for said in step["outputs"].get("sends", [])
        if tag_of(said["message"]) == tag
    ]


def test_j1_no_total_before_the_lock_is_stored(script: AdditiveScript) -> None:
    totals = sent(script, TOTAL)
    assert {party for party, _, _ in totals} == {
        p for p in script.parties if p in script.stage.rows
    }
    common = Common(script.setup)
    for _, total, rows in totals:
        assert rows["6200000000"] == "03" + total
        assert "7300000000" not in rows
        agreement = bytes.fromhex(rows["6100000000"])
        count, digest = int.from_bytes(agreement[35:39]), agreement[39:71]
        signed = blocks.statement(common.batch, count, digest)
        assert bytes.fromhex(total)[35:71] == agreement[35:71]
        for j, (_, key) in enumerate(common.task.committee.servers):
            assert rfc8032.verify(key, signed, agreement[71 + 64 * j : 135 + 64 * j])


def test_j2_sum_and_set_are_stored_together(script: AdditiveScript) -> None:
    common = Common(script.setup)
    shares: dict[tuple[str, str], list[list[int]]] = {}
    seen = 0
    for step, rows in stored(script):
        name = step["party"]
        if name not in rows or not step["outputs"].get("writes"):
            continue
        if rows[name]["6200000000"][:2] in ("03", "04"):  # the sum is in the total, or of no use
            assert "7300000000" not in rows[name]
            continue
        secret = secrets_of(script.family, int(name[-1])).opening.expose()
        for key, value in rows[name].items():
            if key.startswith("72") and value.startswith("01"):
                shares.setdefault((name, key), _share(common, name, secret, key, value))
        included = [k for k, v in rows[name].items() if k[:2] == "72" and v[:2] == "03"]
        total = common.zeros()
        for key in included:
            total = blocks.combined(total, shares[name, key], 1, common.segments)
        assert _sum(common, rows[name]) == total
        seen += len(included)
    assert seen > common.n


def _share(common: Common, name: str, secret: bytes, key: str, value: str) -> list[list[int]]:
    """Of a pending row: opened from the message in it."""
    index = int(name[-1])
    data = bytes.fromhex(value)[1 + 4 + 32 + 4 :]
    cursor = Cursor(data[35:])
    head = blocks.Head.read(cursor, common.m)
    assert head.id.hex() == key[2:] and head.is_signed(common.id)
    sealed = cursor.take(48 + (32 if index else common.packed))
    opened = blocks.open_share(common.task, secret, head, sealed, index)
    assert opened is not None
    return opened


def _sum(common: Common, rows: dict[str, str]) -> list[list[int]]:
    cursor = Cursor(bytes.fromhex(rows.get("7300000000", "")))
    if not cursor.data:
        return common.zeros()
    assert cursor.int(4) == sum(k[:2] == "72" and v[:2] == "03" for k, v in rows.items())
    return [
        [int.from_bytes(cursor.take(blocks.blocks.lane_of(w) // 8), "little") for _ in range(n)]
        for w, n in common.segments
    ]


def test_j3_a_report_is_summed_once_in_an_epoch(script: AdditiveScript) -> None:
    """All of a batch is said again in the next one, by clients, leader and helpers."""
    rows = {name: script.rows_of(name) for name in script.stage.rows}
    again = AdditiveScript(script.task, script.family, list(rows), 1, rows)
    batches = [Common(s.setup).batch.hex() for s in (script, again)]
    for name in rows:
        again.do("start", name)
    for step in script.steps:
        if step["operation"] == "receive" and step["party"] in rows:
            if tag_of(step["message"]) in (REPORT, SHARE) or step["sender"] in rows:
                moved = step["message"].replace(*batches)
                again.do("receive", step["party"], sender=step["sender"], message=moved)
    writes = [row for s in again.steps for row in s["outputs"].get("writes", [])]
    assert writes
    assert not [
        k for k, v in writes if v is not None and (k.startswith("73") or v.startswith("03"))
    ]


def test_j4_every_total_or_no_result(script: AdditiveScript) -> None:
    """Row 65: a server is missing, whichever; or said to be there twice."""
    totals = {party: total for party, total, _ in sent(script, TOTAL)}
    for missing in totals:
        alone = AdditiveScript(script.task, script.family, ["collector"])
        alone.do("start", "collector")
        for party in totals.keys() - {missing}:
            for _ in range(2):
                alone.do("receive", "collector", sender=party, message=totals[party])
        assert alone.do("result", "collector")["error"] == "LocalProtocolError"
        events = alone.do("close_phase", "collector")["events"]
        assert events == [["dropped", missing, "late"], ["aborted", "lost"]]
        assert alone.do("result", "collector")["error"] == "Aborted"


def test_j5_a_receipt_follows_its_row(script: AdditiveScript) -> None:
    receipts = sent(script, RECEIPT)
    assert receipts
    common = Common(script.setup)
    for _, receipt, rows in receipts:
        row = bytes.fromhex(rows["72" + receipt[70:102]])
        assert row[0] in (1, 3)
        server, signature = int(receipt[102:104], 16), bytes.fromhex(receipt[104:])
        signed = blocks.receipt_statement(common.id, server, row[5:37])
        assert rfc8032.verify(common.task.committee.servers[server][1], signed, signature)
    clients = [step["party"] for step in script.steps if step["party"].isdigit()]
    for client in set(clients):
        heard = [s["message"] for s in script.steps if s["party"] == client and "message" in s]
        servers = {int(said[102:104], 16) for said in heard if tag_of(said) == RECEIPT}
        ended = ["finished"] in [
            e for s in script.steps if s["party"] == client for e in s["outputs"].get("events", [])
        ]
        assert ended == (servers == set(range(common.m)))


def test_j6_a_total_has_one_ciphertext(script: AdditiveScript) -> None:
    """Asked again, at once and after a restart."""
    ask = message(COLLECT, Common(script.setup).batch)
    totals = {party: total for party, total, _ in sent(script, TOTAL)}
    for party, total in totals.items():
        for operation in ("receive", "restart", "receive"):
            inputs = {} if operation == "restart" else {"sender": "collector", "message": ask}
            outputs = script.stage.perform({"operation": operation, "party": party, **inputs})
            if operation == "receive":
                assert [said["message"] for said in outputs["sends"]] == [total]


def test_a_lock_without_every_signature_is_refused() -> None:
    """Row 65: rule A9 at a helper, for each server's signature in turn."""
    honest = Honest(Batch(TASKS["a3"], "a3").run())
    agreed = honest.sent(LEADER, "server-1", AGREEMENT)
    for j in range(3):
        script = Liar(honest).alone("server-1", LEADER, AGREEMENT)
        at = 142 + 128 * j
        spoilt = agreed[:at] + f"{int(agreed[at], 16) ^ 1:x}" + agreed[at + 1 :]
        outputs = script.do("receive", "server-1", sender=LEADER, message=spoilt)
        assert outputs["events"][0] == ["dropped", LEADER, "invalid-signature"]
        assert script.rows_of("server-1")["6200000000"][:2] == "04"


def test_messages_have_the_sizes_of_the_specification(script: AdditiveScript) -> None:
    """specs/20-additive.md §6, last column; m and P are those of the plan."""
    common = Common(script.setup)
    spec = (Path(__file__).parents[2] / "specs" / "20-additive.md").read_text()
    rows = re.findall(r"^\| (\d+) \| [\w-]+ \|.*\| ([^|]+) \|$", spec, re.M)
    sizes = {int(tag): size for tag, size in rows if int(tag) not in (SHARE, VERDICT)}
    assert sizes.keys() | {SHARE, VERDICT} == set(range(REPORT, OPEN + 1))
    said = {
        (tag_of(s["message"]), s["to"], len(s["message"]) // 2)
        for step in script.steps
        for s in step["outputs"].get("sends", [])
    }
    assert len(said) > 9
    for tag, to, size in said:
        if tag == SHARE:
            right = 147 + 32 * common.m + (common.packed + 48 if to == LEADER else 80)
        elif tag == VERDICT:
            assert size in (84, 148)
            continue
        else:
            right = sum(_term(term, common) for term in sizes[tag].split(" + "))
        assert size == right, (tag, to)


def _term(text: str, common: Common) -> int:
    """`71`, `P` or `64 m`"""
    number, *unit = text.split(" ")
    if number == "P":
        return common.packed
    return int(number) * (common.m if unit == ["m"] else 1)


def test_members_of_the_model_hear_what_the_tables_say() -> None:
    """Written from the specification, whose tables are those of states.py."""
    for model, table in ((Leader, states.LEADER), (Helper, states.HELPER)):
        heard = {(stage.code, role.value): set(tags) for (stage, role), tags in table.items()}
        assert heard == model.takes
