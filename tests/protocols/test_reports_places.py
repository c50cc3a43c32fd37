"""Places of a batch, and what holds them (20-additive.md A3, A7, A14)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secagg.errors import Aborted, BelowThreshold, LocalProtocolError, StorageError
from secagg.sansio import Dropped
from secagg.types import COLLECTOR, AbortReason, Fault, PartyId
from secagg_protocols.reports import messages
from secagg_protocols.reports.making import make_report
from secagg_protocols.reports.messages import Ruling, Tag, Verdict
from tests.ensembles import HELPER, LEADER, Setting, params_of
from tests.networks import LAYOUT, inputs_of

DIRECT = Setting(params_of(2, direct=True))
N = DIRECT.params.clients


def report(setting: Setting = DIRECT) -> Any:
    """One of a client that nobody knows: fresh keys, a fresh id."""
    vector = tuple(lane.copy() for lane in inputs_of(N, LAYOUT)[PartyId(0)])
    return make_report(setting.context, vector, os.urandom)


class Pair:
    """A leader and a helper of one batch after another, each with its rows."""

    def __init__(self, setting: Setting = DIRECT) -> None:
        self.setting = setting
        self.lost: list[bytes] = []  # ids of reports whose relayed shares reach nobody
        self.rows: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
        self.begin()

    def begin(self) -> None:
        self.machines = [self.setting.member(index) for index in (0, 1)]
        for machine, rows in zip(self.machines, self.rows, strict=True):
            machine.restore(rows.items())
            machine.start()
        self.machines[0].reconnected(HELPER)
        self.machines[1].reconnected(LEADER)
        self.settle()

    def next(self) -> None:
        self.setting = replace(self.setting, batch=self.setting.batch + 1)
        for machine in self.machines:
            machine.abort(AbortReason.CANCELLED)
        self.settle()
        self.begin()

    def say(self, made: Any, party: int, *servers: int) -> None:
        for index in servers:
            data = made.shares[index].encode(self.setting.context.id)
            self.machines[index].receive(PartyId(party), data)
        self.settle()

    def settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for index, party in enumerate((LEADER, HELPER)):
                machine, rows = self.machines[index], self.rows[index]
                for write in machine.writes():
                    rows.pop(write.key, None)
                    if write.value is not None:
                        rows[write.key] = write.value
                for message in machine.outgoing():
                    share = message.data[2] == Tag.REPORT_SHARE
                    if share and any(id in message.data for id in self.lost):
                        continue
                    if message.to in (LEADER, HELPER):
                        moved = True
                        self.machines[1 - index].receive(party, message.data)


def test_a_batch_that_stays_open_has_its_places_again() -> None:
    """Row 79, rule A14: n clients that reach the leader only take no place beyond the deadline."""
    pair = Pair()
    for party in range(N):
        pair.say(report(), party, 0)
    assert not pair.machines[0].waiting_for and not pair.machines[0].quorum
    pair.machines[0].extend()
    assert pair.machines[0].waiting_for == set(map(PartyId, range(N)))
    for party in range(N):
        pair.say(report(), party, 0, 1)
    assert pair.machines[0].included == N and pair.machines[0].pending == N
    pair.machines[0].close_phase()
    pair.settle()
    assert [machine.phase for machine in pair.machines] == ["collect", "collect"]


def test_what_gave_up_its_place_is_included_when_the_last_share_comes() -> None:
    pair, late = Pair(), report()
    pair.say(late, 0, 0)
    pair.machines[0].extend()
    pair.say(report(), 0, 0, 1)  # its party number is another's now
    pair.say(late, 7, 1)
    assert pair.machines[0].included == pair.machines[1].included == 2
    assert pair.machines[0].contributors == {PartyId(0)}
    assert not [e for e in pair.machines[0].events() if isinstance(e, Dropped)]


def test_half_delivered_reports_have_no_place_in_the_next_batch() -> None:
    """Row 79. At the leader n, at the helper 2 n: what is all that it keeps of a batch."""
    pair = Pair()
    for party in range(N):
        pair.say(report(), party, 0)
    for party in range(2 * N):
        pair.say(report(), 100 + party, 1)
    assert [machine.pending for machine in pair.machines] == [N, 2 * N]
    pair.next()
    for party in range(N):
        pair.say(report(), party, 0, 1)
    assert [machine.included for machine in pair.machines] == [N, N]


def test_the_oldest_are_given_up_first() -> None:
    """A leader carries n of them, a helper 2 n, batch after batch."""
    pair, first = Pair(), report()
    pair.say(first, 0, 0)
    for batch in range(4):
        for party in range(1, N):
            pair.say(report(), party, 0)
            pair.say(report(), 50 * batch + 10 + party, 1)
        pair.machines[0].extend()
        pair.next()
        assert pair.machines[0].pending <= 2 * N and pair.machines[1].pending <= 3 * N
    pair.machines[0].extend()
    assert pair.machines[0].pending <= N
    pair.say(first, 300, 1)
    assert pair.machines[0].included == 0  # it was the oldest


def test_a_helper_carries_a_bounded_number_from_batch_to_batch() -> None:
    """However many come to it alone: of those of earlier batches 2 n, and the newest."""
    pair = Pair()
    for batch in range(3):
        for party in range(2 * N):
            pair.say(report(), 100 * batch + party, 1)
        assert pair.machines[1].pending <= 4 * N
        pair.next()
        assert pair.machines[1].pending == 2 * N


def test_a_helpers_half_reports_are_rejected_after_two_deadlines() -> None:
    """And make room there, in a batch that stays open; one deadline spares what is on its way."""
    pair, slow = Pair(), report()
    for party in range(2 * N - 1):
        pair.say(report(), 100 + party, 1)
    pair.say(slow, 0, 1)
    pair.machines[0].extend()
    pair.settle()
    pair.say(slow, 0, 0)
    assert pair.machines[0].included == 1
    pair.say(report(), 1, 0, 1)
    assert pair.machines[0].included == 1  # the helper is full
    pair.machines[0].extend()
    pair.settle()
    assert pair.machines[1].pending == 0
    pair.say(report(), 2, 0, 1)
    assert pair.machines[0].included == 2


def test_relayed_reports_keep_their_places() -> None:
    """Each is whole: it is the helper that is waited for."""
    setting = Setting(params_of(2))
    leader = setting.member(0)
    leader.start()
    leader.receive(PartyId(0), report(setting).encode(setting.context.id))
    leader.extend()
    assert PartyId(0) not in leader.waiting_for and leader.pending == 1
    leader.abort(AbortReason.CANCELLED)
    with pytest.raises(LocalProtocolError):
        leader.extend()


def test_a_leader_that_relays_carries_a_bounded_number_too() -> None:
    """Rule A14: a helper that never answers for some reports costs no more than n of them, and
    those of two batches until their deadline, whether one stays open or is locked without them."""
    pair = Pair(Setting(params_of(2)))
    leader = pair.machines[0]
    for _ in range(3 * N):
        for party in range(N):
            made = report(pair.setting)
            if party == N - 1:
                pair.lost.append(made.shares[1].head.id)
            leader.receive(PartyId(party), made.encode(pair.setting.context.id))
            pair.settle()
        assert leader.included == N - 1 and leader.pending <= N + 2
        leader.extend()
        assert leader.pending <= N + 1  # its own has its place until it is over
        leader.close_phase()
        pair.settle()
        assert leader.done and leader.ended is None
        pair.next()
        leader = pair.machines[0]
    assert leader.pending == N + 1 and len(pair.lost) == 3 * N


def end_by_quorum(pair: Pair) -> None:
    """The deadline of somebody who wants an end without a sum."""
    pair.machines[0].close_phase()


def end_by_helper(pair: Pair) -> None:
    batch = pair.setting.context.batch(pair.setting.batch)
    pair.machines[0].receive(HELPER, messages.abort(batch, AbortReason.CANCELLED))


def end_by_operator(pair: Pair) -> None:
    pair.machines[0].abort(AbortReason.CANCELLED)


@pytest.mark.parametrize("setting", [DIRECT, Setting(params_of(2))], ids=["direct", "relays"])
@pytest.mark.parametrize("end", [end_by_quorum, end_by_helper, end_by_operator])
def test_batches_without_a_sum_leave_no_more_than_the_others(
    setting: Setting, end: Callable[[Pair], None]
) -> None:
    """Rule A14, T13c: however a batch ends, and at whoever's word: of what some server has not
    accepted n are carried, and those of the batch that is over."""
    pair = Pair(setting)
    carried = []
    for batch in range(5):
        for party in range(N):
            made = report(pair.setting)
            pair.lost += [made.shares[1].head.id]
            if setting is DIRECT:
                pair.say(made, party, 0)
            else:
                data = made.encode(pair.setting.context.id)
                pair.machines[0].receive(PartyId(party), data)
                pair.settle()
        assert pair.machines[0].included == 0 and pair.machines[0].pending == N * min(batch + 1, 3)
        end(pair)
        assert pair.machines[0].ended is not None
        pair.next()
        carried.append(pair.machines[0].pending)
    assert carried == [N, 2 * N, 2 * N, 2 * N, 2 * N]


def test_too_few_reports_are_counted_wherever_they_are_named() -> None:
    """Rule A7, at each of the three: how many, and how many are needed."""
    pair = Pair()
    pair.say(report(), 0, 0, 1)
    pair.machines[0].close_phase()
    pair.settle()
    texts = []
    for machine in pair.machines:
        with pytest.raises(BelowThreshold) as caught:
            machine.result()
        texts.append(str(caught.value))
    collector = pair.setting.collector()
    collector.start()
    reason = messages.abort(pair.setting.context.batch(0), AbortReason.BELOW_THRESHOLD)
    collector.receive(LEADER, reason)
    with pytest.raises(Aborted, match="fewer than 3 reports"):
        collector.result()
    assert all("1 report" in text and "3" in text for text in texts), texts


def test_only_a_batch_that_was_collected_from_is_answered() -> None:
    pair = Pair()
    collect = messages.bare(Tag.COLLECT, pair.setting.context.batch(0))
    for party in range(N):
        pair.say(report(), party, 0, 1)
    assert not any(machine.answered for machine in pair.machines)
    pair.machines[0].close_phase()
    pair.settle()
    assert not any(machine.answered for machine in pair.machines)
    pair.machines[1].receive(COLLECTOR, collect)
    assert [machine.answered for machine in pair.machines] == [False, True]


def test_a_closed_epoch_keeps_included_reports_only() -> None:
    """§9.7: a rejected one's digest has served its purpose too."""
    pair, spoilt = Pair(), report()
    pair.say(report(), 0, 0, 1)
    pair.say(report(), 1, 0)
    pair.say(spoilt, 2, 0)
    other = Ruling(spoilt.head.id, spoilt.head.digest, Verdict.REJECTED)
    pair.machines[0].receive(HELPER, other.encode(Tag.VERDICT, pair.setting.context.batch(0)))
    drops = [e for e in pair.machines[0].events() if isinstance(e, Dropped)]
    assert [e.fault for e in drops] == [Fault.REJECTED]
    pair.settle()
    assert len([key for key in pair.rows[0] if key[:1] == b"r"]) == 3
    for write in pair.machines[0].closing():
        pair.rows[0].pop(write.key, None)
    kept = [key for key in pair.rows[0] if key[:1] in (b"r", b"x")]
    assert len(kept) == 1 and pair.machines[0].included == 1


CLIENT = Setting(params_of(2, direct=True))


def test_a_client_from_its_rows_says_the_same_report() -> None:
    """§9.8: and nothing once it has ended; what a server has acknowledged is not said again."""
    client = CLIENT.client(0, inputs_of(N, LAYOUT)[PartyId(0)])
    client.start()
    said = client.outgoing()
    rows = {write.key: write.value for write in client.writes()}
    again = CLIENT.client_of_rows(rows)
    assert again.outgoing() == said and not again.owes_input
    leader = CLIENT.member(0)
    leader.start()
    leader.receive(PartyId(0), said[0].data)
    (receipt, *_) = [m for m in leader.outgoing() if m.to == PartyId(0)]
    again.receive(LEADER, receipt.data)
    for write in again.writes():
        rows.pop(write.key) if write.value is None else rows.update({write.key: write.value})
    third = CLIENT.client_of_rows(rows)
    assert [m.to for m in third.outgoing()] == [HELPER]
    third.abort(AbortReason.CANCELLED)
    for write in third.writes():
        rows.pop(write.key, None)
        if write.value is not None:
            rows[write.key] = write.value
    assert list(rows) == [b"e"]
    last = CLIENT.client_of_rows(rows)
    assert last.done and last.ended.reason is AbortReason.CANCELLED and not last.outgoing()
    with pytest.raises(LocalProtocolError):
        last.set_input(inputs_of(N, LAYOUT)[PartyId(0)], CLIENT.payload)


def test_rows_that_a_client_refuses_leave_it_as_it_was() -> None:
    """Nothing of them is said, or is in the way of another attempt to begin."""
    client = CLIENT.client(0, inputs_of(N, LAYOUT)[PartyId(0)])
    client.start()
    rows = {write.key: write.value for write in client.writes() if write.value is not None}
    messages_ = [key for key in rows if key[:1] == b"m"]
    assert len(messages_) == 2
    for key, value in rows.items():
        for bad in (
            b"",
            value[:-1],
            value + b"\0",
            value[:40] + bytes([value[40] ^ 1]) + value[41:],
        ):
            new = CLIENT.client(0, inputs_of(N, LAYOUT)[PartyId(0)])
            before = repr(new), new.phase, new.ended, new.done
            with pytest.raises(StorageError):
                new.restore({**rows, key: bad}.items())
            assert (repr(new), new.phase, new.ended, new.done) == before
            assert new.outgoing() == [] == new.events()
            new.start()
            assert {m.data for m in new.outgoing()}.isdisjoint(rows.values())
