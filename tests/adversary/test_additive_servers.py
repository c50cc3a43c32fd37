"""Servers of additive sums that lie: what the honest one among them refuses (threat T13, row 65).

An honest helper faces a leader that says whatever a test wants, with the leader's own keys; an
honest leader faces such a helper. A lie ends the batch by a refusal that names the liar, or one
report is not summed. Nothing but the lock opens a total. Rows 9, 24-26, 32, 64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from secagg.crypto import sign
from secagg.errors import Aborted, BelowThreshold
from secagg.sansio import Dropped, Outgoing
from secagg.types import COLLECTOR, AbortReason, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.messages import (
    Head,
    Included,
    Receipt,
    Report,
    Ruling,
    Sealed,
    Statement,
    Tag,
    Verdict,
)
from tests.ensembles import (
    HELPER,
    LEADER,
    TINY,
    Log,
    Setting,
    between,
    head_of,
    key_of,
    other,
    outcome,
    params_of,
    parsed,
    receipt_of,
    tag_of,
)

SETTING = Setting(params_of(3, clients=4), TINY)
BATCH = SETTING.context.batch(0)
ACCEPTED, REJECTED = Verdict.ACCEPTED, Verdict.REJECTED


MESSAGES = [SETTING.report(party)[0].data for party in range(4)]
REPORTS = [parsed(SETTING, data) for data in MESSAGES]


def set_of(reports: Iterable[Report]) -> Included:
    return Included.of({r.head.id: r.head.digest for r in reports})


def signature(included: Included, signer: int, batch: bytes = BATCH) -> bytes:
    return sign.sign(SETTING.keys.servers[signer].signing, included.to_sign(batch))


def statement(included: Included, signer: int, batch: bytes = BATCH) -> bytes:
    signed = Statement(included, (signature(included, signer, batch),))
    return signed.encode(Tag.STATEMENT, BATCH)


def agreement(included: Included, signatures: Iterable[bytes] | None = None) -> bytes:
    if signatures is None:
        signatures = [signature(included, index) for index in range(3)]
    return Statement(included, tuple(signatures)).encode(Tag.AGREEMENT, BATCH)


def decision(report: Report, verdict: Verdict = ACCEPTED, *, digest: bytes = b"") -> bytes:
    ruling = Ruling(report.head.id, digest or report.head.digest, verdict)
    return ruling.encode(Tag.DECISION, BATCH)


class Helper:
    """An honest helper in the hands of a leader."""

    def __init__(
        self,
        reports: Iterable[Report] = (),
        setting: Setting = SETTING,
        rows: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self.machine = setting.member(1)
        self.rows = dict(rows)
        self.machine.restore(rows)
        self.machine.start()
        self.heard = [self.hear(r.shares[1].encode(SETTING.context.id)) for r in reports]

    def hear(self, data: bytes, sender: PartyId = LEADER) -> list[Tag]:
        """What the helper says to one message."""
        self.machine.receive(sender, data)
        self.said: list[Outgoing] = self.machine.outgoing()
        return [tag_of(m.data) for m in self.said]

    def include(self, reports: Iterable[Report]) -> Helper:
        for report in reports:
            assert self.hear(decision(report)) == [Tag.DECIDED]
        return self

    def refuses(self, data: bytes, fault: Fault) -> None:
        """It ends the batch, names the leader, and gives no total to anybody, ever."""
        assert self.hear(data) == [Tag.ABORT]
        drops = [e for e in self.machine.events() if isinstance(e, Dropped)]
        assert [(e.party, e.fault) for e in drops] == [(LEADER, fault)]
        with pytest.raises(Aborted, match="server 0"):
            self.machine.result()
        assert Tag.TOTAL not in self.hear(messages.bare(Tag.COLLECT, BATCH), COLLECTOR)
        assert self.hear(agreement(set_of(REPORTS))) == []


def agreed() -> Helper:
    """Has included all reports and signed the set."""
    helper = Helper(REPORTS).include(REPORTS)
    assert helper.hear(statement(set_of(REPORTS), 0)) == [Tag.STATEMENT]
    return helper


def test_an_honest_leader_is_followed() -> None:
    """Else every refusal below could be for another reason."""
    helper = agreed()
    assert helper.heard == [[Tag.VERDICT]] * 4
    assert helper.hear(messages.bare(Tag.COLLECT, BATCH), COLLECTOR) == [Tag.OPEN]
    assert helper.hear(agreement(set_of(REPORTS))) == [Tag.TOTAL, Tag.LOCKED]
    assert helper.machine.done


# What a leader may not include


def test_a_report_that_the_helper_never_saw() -> None:
    """Rule A6."""
    Helper(REPORTS[:3]).refuses(decision(REPORTS[3]), Fault.DISAGREEMENT)


def test_a_report_that_the_helper_rejected() -> None:
    helper = Helper()
    broken = REPORTS[0].shares[2]  # sealed to another server
    manifest = (broken.head.manifest[0], broken.head.manifest[2], bytes(32))
    head = Head.sign(SETTING.context.id, broken.head.id, b"", manifest, key_of(0))
    assert helper.hear(Sealed(head, 1, broken.data).encode(SETTING.context.id)) == [Tag.VERDICT]
    assert helper.said[0].data[-1] == REJECTED
    include = Ruling(head.id, head.digest, ACCEPTED).encode(Tag.DECISION, BATCH)
    helper.refuses(include, Fault.DISAGREEMENT)


def test_the_digest_of_another_report() -> None:
    """Two reports whose digests are swapped, and one that is no report's."""
    for digest in (REPORTS[1].head.digest, bytes(32)):
        Helper(REPORTS).refuses(decision(REPORTS[0], digest=digest), Fault.DISAGREEMENT)


def test_the_same_report_twice() -> None:
    """Row 25: it is in the sum once."""
    once, twice = Helper(REPORTS).include(REPORTS), Helper(REPORTS).include(REPORTS + REPORTS)
    for helper in (once, twice):
        assert helper.hear(statement(set_of(REPORTS), 0)) == [Tag.STATEMENT]
    sums = [[lane.tolist() for lane in helper.machine._tally.total] for helper in (once, twice)]
    assert sums[0] == sums[1]


def test_more_reports_than_the_plan_has_clients() -> None:
    """Rule A6: n is the most that the ring has room for."""
    setting = Setting(params_of(3, clients=3), TINY)
    reports = [parsed(setting, setting.report(0, seed=bytes([i]))[0].data) for i in range(4)]
    batch, task = setting.context.batch(0), setting.context.id
    helper = setting.member(1)
    helper.start()
    for report in reports:
        helper.receive(LEADER, report.shares[1].encode(task))
        ruling = Ruling(report.head.id, report.head.digest, ACCEPTED)
        helper.receive(LEADER, ruling.encode(Tag.DECISION, batch))
    tags = [tag_of(m.data) for m in helper.outgoing()]
    assert tags == [Tag.VERDICT, Tag.DECIDED] * 3 + [Tag.VERDICT, Tag.ABORT]
    with pytest.raises(Aborted, match="server 0"):
        helper.result()


def test_a_report_after_the_statement() -> None:
    helper = Helper(REPORTS).include(REPORTS[:3])
    helper.hear(statement(set_of(REPORTS[:3]), 0))
    helper.refuses(decision(REPORTS[3]), Fault.DISAGREEMENT)


def test_a_report_that_is_rejected_after_it_was_included() -> None:
    helper = Helper(REPORTS).include(REPORTS)
    helper.refuses(decision(REPORTS[0], REJECTED), Fault.EQUIVOCATION)


def test_two_reports_of_one_id() -> None:
    """Row 26, by a leader that relays."""
    first = REPORTS[0].shares[1]
    task, manifest = SETTING.context.id, (bytes(32), *first.head.manifest[1:])
    other_head = Head.sign(task, first.head.id, b"", manifest, key_of(0))
    second = Sealed(other_head, 1, first.data).encode(task)
    Helper(REPORTS).refuses(second, Fault.EQUIVOCATION)


def test_shares_that_the_leader_has_put_together() -> None:
    """Rule A2: not signed by the report's key, and so the leader's fault, who should have seen."""
    first, second = REPORTS[0].shares[1], REPORTS[1].shares[1]
    manifest = (first.head.manifest[0], second.head.manifest[1], first.head.manifest[2])
    spliced = replace(first.head, manifest=manifest)
    said = Sealed(spliced, 1, second.data).encode(SETTING.context.id)
    Helper().refuses(said, Fault.INVALID_SIGNATURE)


# What a leader may not decide


def strange(number: int, verdict: Verdict, batch: bytes = BATCH) -> bytes:
    """On a report that nobody has made."""
    return Ruling(number.to_bytes(16), bytes(32), verdict).encode(Tag.DECISION, batch)


def test_rejections_of_reports_that_nobody_made() -> None:
    """Rule A6: answered, and nothing is kept; an honest client's share is then taken as ever."""
    helper = Helper()
    for number in range(3000):
        assert helper.hear(strange(number, REJECTED)) == [Tag.DECIDED]
    assert len(helper.machine._book) == 0
    assert len(helper.machine.writes()) == 1  # of the batch
    assert helper.hear(REPORTS[0].shares[1].encode(SETTING.context.id)) == [Tag.VERDICT]
    assert helper.said[0].data[83] == ACCEPTED


@pytest.mark.parametrize("verdict", [ACCEPTED, REJECTED])
@pytest.mark.parametrize("state", ["pending", "rejected", "included", "spent", "refused"])
def test_a_decision_on_other_bytes_than_the_helper_has(state: str, verdict: Verdict) -> None:
    """Rule A6: in whatever state its report of that id is, the digest is that of its report."""
    helper = helper_in(state)
    batch = SETTING.context.batch(helper.machine._seat.number)
    before = rows_of(helper)
    ruling = Ruling(REPORTS[0].head.id, bytes(32), verdict).encode(Tag.DECISION, batch)
    assert helper.hear(ruling) == [Tag.ABORT]
    drops = [e for e in helper.machine.events() if isinstance(e, Dropped)]
    assert [(e.party, e.fault) for e in drops] == [(LEADER, Fault.DISAGREEMENT)]
    assert rows_of(helper) == before


@pytest.mark.parametrize("state", ["rejected", "included", "spent", "refused"])
def test_what_is_decided_is_final(state: str) -> None:
    """Rule A6: in this batch and in every other; the row of the report stays as it is."""
    for verdict in (ACCEPTED, REJECTED):
        helper = helper_in(state)
        batch = SETTING.context.batch(helper.machine._seat.number)
        before = rows_of(helper)
        helper.hear(decision(REPORTS[0], verdict)[:3] + batch + decision(REPORTS[0], verdict)[35:])
        assert rows_of(helper) == before
        same = verdict is (ACCEPTED if state == "included" else REJECTED)
        assert [tag_of(m.data) for m in helper.said] == [Tag.DECIDED if same else Tag.ABORT]


def helper_in(state: str) -> Helper:
    """That has the first report in that state; the last two are of a batch before its own."""
    helper = Helper(REPORTS[:1])
    if state in ("included", "spent"):
        helper.include(REPORTS[:1])
    if state in ("rejected", "refused"):
        helper.hear(decision(REPORTS[0], REJECTED))
    if state in ("spent", "refused"):
        rows = [(w.key, w.value) for w in helper.machine.writes() if w.key[:1] == b"r"]
        helper = Helper(setting=other(SETTING, batch=1), rows=rows)
    helper.machine.events()
    return helper


def rows_of(helper: Helper) -> dict[bytes, bytes]:
    """Of reports, as the store has them from now on."""
    helper.rows |= {w.key: w.value for w in helper.machine.writes() if w.key[:1] == b"r"}
    return dict(helper.rows)


# What a leader may not state


def test_another_set_or_count() -> None:
    """Rule A8: a helper signs its own set only."""
    own = set_of(REPORTS)
    for included in (
        set_of(REPORTS[:3]),
        Included(own.count - 1, own.digest),
        Included(own.count + 1, own.digest),
        Included(own.count, bytes(32)),
    ):
        helper = Helper(REPORTS).include(REPORTS)
        helper.refuses(statement(included, 0), Fault.DISAGREEMENT)


def test_signatures_of_others() -> None:
    """Row 32: of another server, another batch, another task, or of a total."""
    own = set_of(REPORTS)
    elsewhere = other(SETTING, epoch=1).context.batch(0)
    next_batch = SETTING.context.batch(1)
    for forged in (
        statement(own, 1),
        statement(own, 2),
        statement(own, 0, next_batch),
        statement(own, 0, elsewhere),
    ):
        helper = Helper(REPORTS).include(REPORTS)
        helper.refuses(forged, Fault.INVALID_SIGNATURE)


def test_fewer_reports_than_the_minimum() -> None:
    helper = Helper(REPORTS).include(REPORTS[:2])
    assert helper.hear(statement(set_of(REPORTS[:2]), 0)) == [Tag.ABORT]
    with pytest.raises(BelowThreshold):
        helper.machine.result()
    Helper().refuses(statement(set_of([]), 0)[:-1], Fault.MALFORMED)


def test_two_statements() -> None:
    """The second, of another set, ends the batch; the first stays signed and is never locked."""
    agreed().refuses(statement(set_of(REPORTS[:3]), 0), Fault.DISAGREEMENT)
    helper = agreed()
    first = helper.said[0].data
    assert helper.hear(statement(set_of(REPORTS), 0)) == [Tag.STATEMENT]
    assert helper.said[0].data == first


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_agreement_with_one_bad_signature(index: int) -> None:
    """Rule A9, for every signer, the helper itself among them.

    The leader is to blame, whosever signature it is: it should have checked what it brings.
    """
    own = set_of(REPORTS)
    good = [signature(own, i) for i in range(3)]
    bad = [
        bytes(64),
        good[(index + 1) % 3],
        signature(own, index, SETTING.context.batch(1)),
        signature(set_of(REPORTS[:3]), index),
    ]
    for one in bad:
        signatures = [one if i == index else good[i] for i in range(3)]
        agreed().refuses(agreement(own, signatures), Fault.INVALID_SIGNATURE)


def test_an_agreement_on_another_set() -> None:
    agreed().refuses(agreement(set_of(REPORTS[:3])), Fault.DISAGREEMENT)


def test_an_agreement_before_any_statement() -> None:
    """Row 24, rule A9: a helper that has not signed has not agreed. One that was set back to before
    it signed has its own signature to show for it, which nobody else can make."""
    own = set_of(REPORTS)
    others = [signature(own, 0), signature(own, 0), signature(own, 2)]
    Helper(REPORTS).include(REPORTS).refuses(agreement(own, others), Fault.INVALID_SIGNATURE)
    Helper(REPORTS).include(REPORTS[:3]).refuses(agreement(own), Fault.DISAGREEMENT)
    helper = Helper(REPORTS).include(REPORTS)
    assert helper.hear(agreement(own)) == [Tag.LOCKED]


def test_too_few_reports_are_nobodys_fault() -> None:
    """Rule A7: a helper keeps the reason, unless it has summed enough itself."""
    few = messages.abort(BATCH, AbortReason.BELOW_THRESHOLD)
    helper = Helper(REPORTS).include(REPORTS[:2])
    assert helper.hear(few) == [Tag.ABORT]
    assert not [e for e in helper.machine.events() if isinstance(e, Dropped)]
    with pytest.raises(BelowThreshold):
        helper.machine.result()
    Helper(REPORTS).include(REPORTS).refuses(few, Fault.QUIT)


def test_a_locked_set_stays() -> None:
    """Row 30: whatever comes after the lock, the total is the same and so are its bytes."""
    helper = agreed()
    helper.hear(agreement(set_of(REPORTS)))
    helper.hear(messages.bare(Tag.COLLECT, BATCH), COLLECTOR)
    total = helper.said[0].data
    for data in (
        statement(set_of(REPORTS[:3]), 0),
        agreement(set_of(REPORTS[:3])),
        decision(REPORTS[0], REJECTED),
        decision(parsed(SETTING, SETTING.report(3, seed=b"more")[0].data)),
        messages.abort(BATCH, AbortReason.CANCELLED),
        b"",
    ):
        assert helper.hear(data) == []
    helper.machine.abort(AbortReason.CANCELLED)
    helper.machine.lost(LEADER)
    helper.hear(messages.bare(Tag.COLLECT, BATCH), COLLECTOR)
    assert [m.data for m in helper.said] == [total]


# Spent reports


def rows_after_a_batch(index: int) -> list[tuple[bytes, bytes]]:
    reports = {party: [Outgoing(LEADER, data)] for party, data in enumerate(MESSAGES)}
    network = SETTING.reported(reports)
    assert network.run().count == 4
    writes = network.servers[server_id(index)].writes()
    return [(w.key, w.value) for w in writes if w.value is not None]


def test_a_second_batch_that_overlaps_the_first() -> None:
    """Rule A10: a report of one batch is spent for all others of its epoch, at each server."""
    following = other(SETTING, batch=1)
    helper = following.member(1)
    helper.restore(rows_after_a_batch(1))
    helper.start()
    helper.receive(LEADER, REPORTS[0].shares[1].encode(SETTING.context.id))
    verdict = Ruling(REPORTS[0].head.id, REPORTS[0].head.digest, REJECTED)
    batch = following.context.batch(1)
    assert [m.data for m in helper.outgoing()] == [verdict.encode(Tag.VERDICT, batch)]
    assert not helper._book.pending
    ruling = Ruling(REPORTS[0].head.id, REPORTS[0].head.digest, ACCEPTED)
    helper.receive(LEADER, ruling.encode(Tag.DECISION, batch))
    assert [tag_of(m.data) for m in helper.outgoing()] == [Tag.ABORT]


def test_a_leader_takes_no_spent_report() -> None:
    """Rule A10 at the leader; its client hears that the report is stored, which it is."""
    leader = other(SETTING, batch=1).member(0)
    leader.restore(rows_after_a_batch(0))
    leader.start()
    for party in range(4):
        leader.receive(PartyId(party), MESSAGES[party])
    assert [tag_of(m.data) for m in leader.outgoing()] == [Tag.RECEIPT] * 3 * 4
    assert not leader._book.pending and not leader._book.included
    leader.close_phase()
    with pytest.raises(BelowThreshold):
        leader.result()


def test_a_full_batch_leaves_the_rest_for_the_next() -> None:
    """Rule A4: more than n reports are pending, as when two aborted batches left them."""
    setting = Setting(params_of(2, clients=3), TINY)
    rows = []
    for seed in (b"one", b"two"):
        leader = setting.member(0)
        leader.start()
        for party in range(3):
            leader.receive(PartyId(party), setting.report(party, seed=seed)[0].data)
        rows += [(w.key, w.value) for w in leader.writes() if w.key[:1] in (b"r", b"b")]
    leader = setting.member(0)
    leader.restore(rows)
    leader.start()
    for id, pending in list(leader._book.pending.items()):
        leader.receive(HELPER, accepting(id, pending.digest, 1, setting))
    assert (len(leader._book.included), len(leader._book.pending)) == (3, 3)


# Helpers that lie


def test_a_helper_that_never_answers_for_a_report() -> None:
    """That report is not summed, and all others are."""
    silent = between(HELPER, LEADER, Tag.VERDICT, lambda data: ())
    end = outcome(SETTING.network(between=silent), SETTING)
    assert end.kind == "without" and not end.dropped


@pytest.mark.parametrize("until", [Tag.STATEMENT, Tag.LOCKED])
def test_a_verdict_after_the_close(until: Tag) -> None:
    """Rule A7: a set that is stated grows no more; the report is left for the next batch."""
    held: list[bytes] = []

    def wire(sender: PartyId, message: Outgoing) -> list[bytes]:
        if (sender, message.to) != (HELPER, LEADER):
            return [message.data]
        if tag_of(message.data) is Tag.VERDICT and not held:
            held.append(message.data)
            return []
        return [*held, message.data] if tag_of(message.data) is until else [message.data]

    network = SETTING.network(between=wire)
    assert outcome(network, SETTING).kind == "without"
    members: list[Any] = [network.servers[server_id(i)] for i in range(3)]
    assert [m.pending for m in members] == [1, 1, 1]


def _ruling(data: bytes) -> Ruling:
    reader = Reader(data)
    read_header(reader)
    return Ruling.read(reader, tag_of(data), SETTING.shape)


def accepting(id: bytes, digest: bytes, index: int, setting: Setting = SETTING) -> bytes:
    """The verdict of a helper, with its receipt."""
    signed = Receipt.to_sign(setting.context.id, index, digest)
    receipt = sign.sign(setting.keys.servers[index].signing, signed)
    batch = setting.context.batch(setting.batch)
    return Ruling(id, digest, ACCEPTED, receipt).encode(Tag.VERDICT, batch)


# What helpers may not make a leader keep, or believe


def leader_with(reports: Iterable[bytes] = (), setting: Setting = SETTING) -> Any:
    leader = setting.member(0)
    leader.start()
    for party, data in enumerate(reports):
        leader.receive(PartyId(party), data)
    leader.outgoing(), leader.events()
    return leader


def test_an_acceptance_without_the_helpers_own_receipt() -> None:
    """Rule A4: of another server, report or task: the helper is named, and no client hears it."""
    head = REPORTS[0].head
    good = accepting(head.id, head.digest, 1)
    others = [accepting(head.id, head.digest, 2), accepting(head.id, bytes(32), 1)]
    forged = [receipt_of(SETTING, head, 1, task=bytes(32))[-64:], bytes(64)]
    for signature in [data[-64:] for data in others] + forged:
        leader = leader_with(MESSAGES[:1])
        leader.receive(HELPER, good[:-64] + signature)
        drops = [(e.party, e.fault) for e in leader.events() if isinstance(e, Dropped)]
        assert drops == [(HELPER, Fault.INVALID_SIGNATURE)]
        assert Tag.RECEIPT not in {tag_of(m.data) for m in leader.outgoing()}
    leader = leader_with(MESSAGES[:1])
    leader.receive(HELPER, good)
    (told,) = leader.outgoing()
    assert (told.to, told.data) == (PartyId(0), receipt_of(SETTING, head, 1))


def test_a_verdict_on_another_report_than_was_relayed() -> None:
    """Rule A4: the helper's fault, not that of the client, which has sent one report."""
    leader = leader_with(MESSAGES[:1])
    leader.receive(HELPER, accepting(REPORTS[0].head.id, bytes(32), 1))
    drops = [(e.party, e.fault) for e in leader.events() if isinstance(e, Dropped)]
    assert drops == [(HELPER, Fault.DISAGREEMENT)]


def test_a_helper_fills_no_place_but_its_own() -> None:
    """Rule A4: in direct mode verdicts come before their reports; a flood of one helper's costs
    the other helper's none."""
    setting = Setting(params_of(3, direct=True), TINY)
    leader = leader_with(setting=setting)
    said = setting.report(0)
    head = head_of(setting, said[0].data)
    leader.receive(server_id(2), accepting(head.id, head.digest, 2, setting))
    for number in range(2000):
        leader.receive(HELPER, accepting(number.to_bytes(16), bytes(32), 1, setting))
    assert len(leader._helpers[1].early) == 4 * setting.params.clients
    assert not leader.outgoing() and leader.phase == "upload"
    leader.receive(PartyId(0), said[0].data)
    assert set(leader._book.pending[head.id].accepted) == {2}


def test_a_helper_that_repeats_itself_makes_nothing_grow() -> None:
    """What is decided in other batches is answered, and not waited for."""
    following = other(SETTING, batch=1)
    leader = following.member(0)
    leader.restore(rows_after_a_batch(0))
    leader.start()
    before = set(leader.waiting_for)
    for report in REPORTS * 50:
        verdict = accepting(report.head.id, report.head.digest, 1, following)
        leader.receive(HELPER, verdict)
    told = {(m.to, tag_of(m.data), m.data[83]) for m in leader.outgoing()}
    assert told == {(HELPER, Tag.DECISION, REJECTED)}
    assert all(not one.undone for one in leader._helpers.values()) and leader.waiting_for == before
    assert not leader.writes()[1:]


def test_a_helper_that_says_everything_twice() -> None:
    for tag in (Tag.VERDICT, Tag.DECIDED, Tag.STATEMENT, Tag.LOCKED):
        twice = between(HELPER, LEADER, tag, lambda data: (data, data))
        assert outcome(SETTING.network(between=twice), SETTING).kind == "exact"


def test_verdicts_and_answers_on_what_is_not_known() -> None:
    """Rows 12 and 24: they are about nothing, and change nothing."""
    done = messages.decided(BATCH, bytes(16))
    for extra in (accepting(bytes(16), bytes(32), 1), done):
        wire = between(HELPER, LEADER, Tag.VERDICT, lambda data, e=extra: (e, data, e))  # type: ignore[misc]
        assert outcome(SETTING.network(between=wire), SETTING).kind == "exact"


def test_a_helper_that_rejects_what_is_included() -> None:
    """Rule A4 the other way round: what is decided stays, and the helper is told again."""
    log = Log()
    network = SETTING.network(between=log)
    network.start()
    for party in network.clients:
        network.repeat(party)
    ruling = _ruling(log.of(Tag.VERDICT, HELPER)[0])
    lie = Ruling(ruling.id, ruling.digest, REJECTED).encode(Tag.VERDICT, BATCH)
    network.server.receive(HELPER, lie)
    network.drain(LEADER)
    assert outcome(network, SETTING).kind == "exact"


def test_helpers_statements() -> None:
    """Rows 24 and 32, and rule A9 at the leader: whoever lies in the statement is named."""
    own = set_of(REPORTS)
    for forged, fault in (
        (statement(set_of(REPORTS[:3]), 1), Fault.DISAGREEMENT),
        (statement(Included(3, own.digest), 1), Fault.DISAGREEMENT),
        (statement(own, 2), Fault.INVALID_SIGNATURE),
        (statement(own, 0), Fault.INVALID_SIGNATURE),
        (statement(own, 1, SETTING.context.batch(1)), Fault.INVALID_SIGNATURE),
        (messages.bare(Tag.LOCKED, BATCH), Fault.WRONG_PHASE),
    ):
        leader = SETTING.member(0)
        leader.start()
        for party in range(4):
            leader.receive(PartyId(party), MESSAGES[party])
        leader.outgoing()
        for id in [report.head.id for report in REPORTS]:
            digest = leader._book.pending[id].digest
            for index in (1, 2):
                leader.receive(server_id(index), accepting(id, digest, index))
                leader.receive(server_id(index), messages.decided(BATCH, id))
        leader.close_phase()
        assert leader.phase == "agree"
        leader.events(), leader.outgoing()
        leader.receive(HELPER, forged)
        drops = [e for e in leader.events() if isinstance(e, Dropped)]
        assert [(e.party, e.fault) for e in drops] == [(HELPER, fault)]
        assert Tag.ABORT in {tag_of(m.data) for m in leader.outgoing()}
        assert not leader._progress.total
