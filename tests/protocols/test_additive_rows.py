"""A store that lacks a row (specs/20-additive.md §9.6): no wrong total comes of it, in any stage.

Row 97. A server is made again without one of its rows; then every client says its report again, and
the batch goes on. What may come of it is the exact sum of some of the reports, each once, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import pytest

from secagg.errors import Aborted, StorageError
from secagg.sansio import Aborted as AbortEvent
from secagg.testing import plain_sum
from secagg.types import COLLECTOR, AbortReason, PartyId, server_id
from secagg_protocols.reports.states import Stage
from tests.ensembles import LEADER, Setting, params_of
from tests.networks import LAYOUT, inputs_of

RELAY, DIRECT = Setting(params_of(2, clients=4)), Setting(params_of(2, clients=4, direct=True))
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])


@cache
def said(setting: Setting, client: int) -> list[Any]:
    """The same bytes whenever asked: sealing is randomised."""
    return setting.report(client)


class Pair:
    """A leader and a helper with their rows. deaf: the helper hears nothing of the leader."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.deaf = setting, False
        self.servers: dict[PartyId, Any] = {server_id(i): setting.member(i) for i in (0, 1)}
        self.rows: dict[PartyId, dict[bytes, bytes]] = {party: {} for party in self.servers}
        for machine in self.servers.values():
            machine.start()
        self.settle()

    def report(self, *clients: int) -> Pair:
        for client in clients:
            for message in said(self.setting, client):
                if not (self.deaf and message.to != LEADER):
                    self.servers[message.to].receive(PartyId(client), message.data)
            self.settle()
        return self

    def settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for party, machine in self.servers.items():
                for write in machine.writes():
                    self.rows[party].pop(write.key, None)
                    if write.value is not None:
                        self.rows[party][write.key] = write.value
                for message in machine.outgoing():
                    if message.to in self.servers and not self.deaf:
                        moved = True
                        self.servers[message.to].receive(party, message.data)

    def again(self, party: PartyId, rows: dict[bytes, bytes]) -> None:
        """The server is made again from these rows, and every link anew."""
        machine = self.setting.member(server_id(0) - party)
        machine.restore(rows.items())
        self.servers[party], self.rows[party], self.deaf = machine, dict(rows), False
        machine.start()
        for one, other in ((LEADER, server_id(1)), (server_id(1), LEADER)):
            self.servers[one].reconnected(other)
        self.settle()

    def total(self) -> Any:
        """Closes what is open, and collects; raises Aborted."""
        if self.servers[LEADER]._stage in (Stage.UPLOAD, Stage.AGREE):
            self.servers[LEADER].close_phase()
            self.settle()
        collector = self.setting.collector()
        collector.start()
        for message in collector.outgoing():
            self.servers[message.to].receive(COLLECTOR, message.data)
            for answer in self.servers[message.to].outgoing():
                if answer.to == COLLECTOR:
                    collector.receive(message.to, answer.data)
        if not collector.done:
            collector.close_phase()
        return collector.result()


def uploading(setting: Setting) -> Pair:
    return Pair(setting).report(0, 1, 2)


def waiting(setting: Setting) -> Pair:
    """One report is pending at the leader only."""
    pair = Pair(setting).report(0, 1, 2)
    pair.deaf = True
    return pair.report(3)


def agreeing(setting: Setting) -> Pair:
    """The leader has closed, and the helper has not heard of it."""
    pair = Pair(setting).report(0, 1, 2)
    pair.deaf = True
    pair.servers[LEADER].close_phase()
    pair.settle()
    return pair


def signed(setting: Setting) -> Pair:
    """The helper has signed, and the leader has not heard of it."""
    pair = agreeing(setting)
    leader, helper = pair.servers.values()
    leader.reconnected(server_id(1))
    for message in leader.outgoing():
        helper.receive(LEADER, message.data)
    helper.outgoing()
    pair.settle()
    return pair


def locked(setting: Setting) -> Pair:
    pair = Pair(setting).report(0, 1, 2)
    pair.servers[LEADER].close_phase()
    pair.settle()
    assert all(machine._stage is Stage.LOCKED for machine in pair.servers.values())
    return pair


def aborted(setting: Setting) -> Pair:
    pair = Pair(setting).report(0, 1, 2)
    pair.servers[LEADER].abort(AbortReason.CANCELLED)
    pair.settle()
    return pair


STAGES = [uploading, waiting, agreeing, signed, locked, aborted]


def right(total: Any) -> bool:
    inputs = inputs_of(4)
    lanes = [lane.tolist() for lane in total.vector]
    some = combinations(sorted(inputs), total.reports)
    return any(lanes == plain_sum(LAYOUT, inputs, who) for who in some)


@MODES
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("index", [0, 1], ids=["leader", "helper"])
def test_without_any_one_row(setting: Setting, stage: Callable[..., Pair], index: int) -> None:
    party, ends = server_id(index), []
    for key in (None, *stage(setting).rows[party]):
        pair = stage(setting)
        rows = {k: v for k, v in pair.rows[party].items() if k != key}
        try:
            pair.again(party, rows)
        except StorageError as error:
            assert key is not None and "row" in str(error)
            ends.append("refused")
            continue
        for client in range(4):
            for message in said(setting, client):
                pair.servers[message.to].receive(PartyId(client), message.data)
            pair.settle()
        try:
            assert right(pair.total()), (key, pair.servers)
            ends.append("summed")
        except Aborted:
            ends.append("aborted")
        assert key is None or key[:1] not in b"sa", "a server without its sum goes on"
    assert ends[0] == ("aborted" if stage is aborted else "summed")
    if stage is not aborted:
        assert "refused" in ends


@MODES
@pytest.mark.parametrize("index", [0, 1], ids=["leader", "helper"])
def test_rows_that_cannot_stand_together(setting: Setting, index: int) -> None:
    """Of one stage among those of another, and of a batch that goes on after it has ended."""
    party, number = server_id(index), bytes(4)
    before, after = uploading(setting).rows[party], locked(setting).rows[party]
    ended = aborted(setting).rows[party]
    for rows in (
        after | {b"s" + number: before[b"s" + number]},
        before | {b"a" + number: after[b"a" + number]},
        ended | {b"s" + number: before[b"s" + number]},
        before | {b"b" + bytes([0, 0, 0, 1]): b"\x01"},
        after | {b"a" + number: after[b"a" + number][:-1] + b"\0\0"},
        after | {b"b" + number: after[b"b" + number][:-1]},
        after | {b"b" + number: after[b"b" + number][:1]},
        before | {b"b" + number: b"\x01\x01"},
        before | {b"b" + number: b"\x00"},
        ended | {b"b" + number: b"\x04\xff"},
    ):
        with pytest.raises(StorageError):
            setting.member(index).restore(rows.items())


# A store that is set back


@MODES
@pytest.mark.parametrize("index", [0, 1], ids=["leader", "helper"])
@pytest.mark.parametrize("back", [uploading, agreeing, signed])
def test_a_lock_that_is_forgotten(setting: Setting, index: int, back: Callable[..., Pair]) -> None:
    """§9.5: with every inclusion, the same set is locked again, whatever else was forgotten."""
    party, pair = server_id(index), Pair(setting)
    pair = back(setting)
    older = dict(pair.rows[party])
    pair.deaf = False
    for one, other in ((LEADER, server_id(1)), (server_id(1), LEADER)):
        pair.servers[one].reconnected(other)
    pair.settle()
    first = pair.total()
    pair.again(party, older)
    second = pair.total()
    assert right(second) and (first.reports, second.reports) == (3, 3)
    assert all(machine._stage is Stage.LOCKED for machine in pair.servers.values())
    assert not any(
        isinstance(event, AbortEvent) for m in pair.servers.values() for event in m.events()
    )
