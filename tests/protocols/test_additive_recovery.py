"""Crashes of servers of additive sums, in every step of a batch (threat T16; row 90).

specs/20-additive.md §9. What is acknowledged is not lost, what is summed is summed once, what is
released is released in the same bytes: whichever server dies, and whether before or after its
commit.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import (
    Aborted,
    BelowThreshold,
    InvalidTag,
    LocalProtocolError,
    ParameterError,
    StorageError,
)
from secagg.sansio import Outgoing
from secagg.testing import plain_sum
from secagg.types import PartyId, server_id
from secagg_protocols.reports.messages import Report, Tag
from secagg_protocols.reports.states import ClientState
from tests.deployment import Deployment, Rows
from tests.ensembles import HELPER, LEADER, Setting, between, key_of, other, params_of, parsed
from tests.networks import LAYOUT, inputs_of
from tests.soak import SOAK, examples

RELAY, DIRECT = Setting(params_of(3, clients=4)), Setting(params_of(3, clients=4, direct=True))
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])


@cache
def steps(setting: Setting) -> int:
    return Deployment(setting).run().steps


def check(run: Deployment) -> None:
    """Every client is in the sum, and every server said one total only."""
    total = run.collector.result()
    inputs = inputs_of(4)
    assert [lane.tolist() for lane in total.vector] == plain_sum(LAYOUT, inputs, inputs)
    assert total.reports == 4
    assert {client._state for client in run.clients.values()} == {ClientState.STORED}
    assert not run.drops
    for party, released in run.released.items():
        assert released == {run.collected(party)}


@MODES
def test_a_batch_without_crashes(setting: Setting) -> None:
    run = Deployment(setting).run()
    check(run)
    assert run.restarts == 0
    assert len(run.servers[LEADER].contributors) == 4


@MODES
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "lost"])
def test_a_crash_in_every_step(setting: Setting, committed: bool) -> None:
    """Rule A5. Before the commit the step has not happened; after it, nothing of it was heard.
    Every step is met in one of the two, and in a soak in both."""
    assert steps(setting) > 50
    for step in range(0 if SOAK else committed, steps(setting), 1 if SOAK else 2):
        run = Deployment(setting, {step}, committed=committed).run()
        assert run.restarts == 1, step
        check(run)
        assert len(run.servers[LEADER].contributors) == 4


@MODES
@settings(max_examples=examples(60), deadline=None)
@given(st.sets(st.integers(0, 120), min_size=2, max_size=8), st.booleans())
def test_several_crashes(setting: Setting, crashes: set[int], committed: bool) -> None:
    """Also while a server is made again and while it is told what it missed."""
    check(Deployment(setting, crashes, committed=committed).run())


@MODES
def test_every_server_is_made_again_after_every_step_of_one(setting: Setting) -> None:
    """A power cut: all of them, in the middle of the upload."""
    for step in range(0, steps(setting), 7):
        run = Deployment(setting, {step})
        run.upload()
        for party in run.servers:
            run.replace(party, list(run.stores[party].rows()))
        run._settle()
        run.finish()
        check(run)


# What a driver must not do


@MODES
@pytest.mark.parametrize("party", [LEADER, HELPER], ids=["leader", "helper"])
def test_yesterdays_backup(setting: Setting, party: PartyId) -> None:
    """§9.5: the exact sum of all four, or of nobody, with a server named; never another sum."""
    ends = {"exact": 0, "refused": 0}
    for age in range(len(_after_upload(setting).history[party])):
        run = _after_upload(setting)
        run.replace(party, run.history[party][age])
        run._settle()
        run.finish()
        try:
            total = run.collector.result()
        except Aborted as error:
            ends["refused"] += 1
            assert "server " in str(error)
            continue
        ends["exact"] += 1
        inputs = inputs_of(4)
        assert [lane.tolist() for lane in total.vector] == plain_sum(LAYOUT, inputs, inputs)
        assert total.reports == 4
    assert ends["exact"] >= 1 and ends["refused"] >= 3, ends


def _after_upload(setting: Setting) -> Deployment:
    run = Deployment(setting)
    run.upload()
    return run


def test_a_forgotten_lock() -> None:
    """§9.5: a helper that forgot its lock locks the same set again: another ciphertext, one sum."""
    run = Deployment(RELAY).run()
    (before,) = run.released[HELPER]
    unlocked = next(rows for rows in reversed(run.history[HELPER]) if not _locked(rows))
    run.replace(HELPER, unlocked)
    run._settle()
    again = RELAY.collector()
    again.start()
    for party in run.servers:
        again.receive(party, run.collected(party))
    inputs = inputs_of(4)
    expected = plain_sum(LAYOUT, inputs, inputs)
    assert [lane.tolist() for lane in again.result().vector] == expected
    assert run.collected(HELPER) != before


def _locked(rows: Rows) -> bool:
    return any(key[:1] == b"a" for key, _ in rows)


# Rows that are not of this server


def rows_of(setting: Setting, index: int) -> Rows:
    """Of a server that has accepted one report and decided on none."""
    run = _after_upload(setting)
    pending = (rows for rows in run.history[server_id(index)] if _pending(rows))
    return next(pending)


def _pending(rows: Rows) -> bool:
    return any(key[:1] == b"r" and value[0] == 1 for key, value in rows)


@MODES
def test_rows_of_another_task_or_server(setting: Setting) -> None:
    """Row 97: they do not open, and nothing is skipped."""
    for foreign in (
        rows_of(setting, 2),
        rows_of(setting, 0),
        rows_of(other(setting, epoch=1), 1),
        rows_of(other(setting, payload=bytes(32)), 1),
    ):
        with pytest.raises((StorageError, ParameterError)):
            setting.member(1).restore(foreign)


@MODES
@pytest.mark.parametrize("index", [0, 1])
def test_rows_that_are_damaged(setting: Setting, index: int) -> None:
    """Row 97: cut, extended and flipped rows are refused; nothing of them is used."""
    for key, value in rows_of(setting, index):
        if key[:1] != b"r":
            continue
        for bad in (value[:-1], value + b"\0", value[:36], b"", b"\x09" + value[1:]):
            with pytest.raises(StorageError):
                setting.member(index).restore([(key, bad)])
        with pytest.raises(StorageError):
            setting.member(index).restore([(key[:-1], value)])
        flipped = value[:-1] + bytes([value[-1] ^ 1])
        with pytest.raises(StorageError):
            setting.member(index).restore([(key, flipped)])
    number = bytes(4)
    for key, value in ((b"s" + number, b"\0"), (b"b" + number, b""), (b"b" + number, b"\x63")):
        with pytest.raises(StorageError):
            setting.member(index).restore([(key, value)])


def test_restore_comes_first() -> None:
    member = RELAY.member(1)
    member.start()
    with pytest.raises(LocalProtocolError):
        member.restore([])


def test_an_aborted_batch_stays_aborted_and_its_pending_reports_go_on() -> None:
    """§9.4: the next batch of the epoch sums what this one had not decided on."""
    earlier = rows_of(RELAY, 0)
    reports = [row for row in earlier if row[0][:1] == b"r"]
    ended = RELAY.member(0)
    ended.restore(earlier)
    ended.start()
    ended.lost(HELPER)
    rows = {write.key: write.value for write in ended.writes() if write.value is not None}
    again = RELAY.member(0)
    again.restore(rows.items())
    again.start()
    assert again.done
    with pytest.raises(Aborted):
        again.result()
    following = other(RELAY, batch=1).member(0)
    following.restore([*rows.items(), *reports])
    following.start()
    assert set(following._book.pending) == {key[1:] for key, _ in reports}


def test_a_rejection_that_was_lost_is_said_again_in_the_next_batch() -> None:
    """Else the leader waits for that verdict, and the report has a place, in every later batch."""
    setting = Setting(params_of(2, clients=4))
    lost = between(HELPER, LEADER, Tag.VERDICT, lambda data: ())
    reports = {party: setting.report(party) for party in (1, 2, 3)}
    broken = [Outgoing(LEADER, _unopened_by_the_helper(setting))]
    network = setting.reported({0: broken} | reports, between=lost)
    assert network.run().count == 3
    following = other(setting, batch=1)
    leader, helper = (following.member(index) for index in (0, 1))
    members = network.servers
    for machine, party in ((leader, LEADER), (helper, HELPER)):
        machine.restore([(w.key, w.value) for w in members[party].writes()])
        machine.start()
    leader.reconnected(HELPER)
    for message in leader.outgoing():
        helper.receive(LEADER, message.data)
    for message in helper.outgoing():
        leader.receive(HELPER, message.data)
    assert HELPER not in leader.waiting_for
    assert not leader._book.pending


def _unopened_by_the_helper(setting: Setting) -> bytes:
    shares = parsed(setting, setting.report(0)[0].data).shares
    sealed = (bytes(shares[0].data), bytes(len(shares[1].data)))
    task = setting.context.id
    return Report.of(task, shares[0].head.id, b"", sealed, key_of(0)).encode(task)


def test_a_share_that_is_not_this_servers_does_not_open() -> None:
    """The keys themselves, without the store: row 53."""
    (first, *_) = (m.data for m in RELAY.report(0))
    with pytest.raises(InvalidTag):
        RELAY.keys.servers[1].opening_key().open(first[-80:], b"")


def test_a_batch_that_ended_for_too_few_reports_has_ended_for_that_after_a_restart() -> None:
    """Row 39, and specs/20-additive.md §9.4: the reason is stored with the end."""
    setting = Setting(params_of(2, clients=4))
    leader = setting.member(0)
    leader.start()
    leader.close_phase()
    again = setting.member(0)
    again.restore([(w.key, w.value) for w in leader.writes() if w.value is not None])
    again.start()
    assert again.done
    with pytest.raises(BelowThreshold):
        again.result()
