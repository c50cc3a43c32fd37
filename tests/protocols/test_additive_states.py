"""Every stage meets every message of everybody: handled as the tables say, or the documented end.

specs/20-additive.md §1, §7, §8. Rows 1-8, 24, 26 and 49: no peer's bytes make a server or a
collector raise, and a client raises RemoteProtocolError only. The other way round, every entry of
the tables is used by some run.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secagg.drive.pump import Wire
from secagg.errors import Aborted, LocalProtocolError, RemoteProtocolError
from secagg.sansio import Dropped, Ignored, Outgoing
from secagg.types import COLLECTOR, AbortReason, Fault, PartyId, server_id
from secagg.wire.header import write_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.helper import Helper
from secagg_protocols.reports.leader import Leader
from secagg_protocols.reports.messages import NAMES, Head, Tag
from secagg_protocols.reports.states import HELPER as HELPER_TABLE
from secagg_protocols.reports.states import LEADER as LEADER_TABLE
from secagg_protocols.reports.states import ClientState, Role, Stage
from tests.deployment import Deployment
from tests.ensembles import (
    HELPER,
    LEADER,
    TINY,
    Setting,
    between,
    head_of,
    other,
    params_of,
    receipt_of,
)
from tests.ensembles import outcome as run_out
from tests.networks import PAYLOAD, inputs_of

RELAY = Setting(params_of(2), TINY)
DIRECT = Setting(params_of(2, direct=True), TINY)
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])
TABLES = {LEADER: LEADER_TABLE, HELPER: HELPER_TABLE}
SENDERS = {
    Role.CLIENT: PartyId(1),
    Role.LEADER: LEADER,
    Role.HELPER: HELPER,
    Role.COLLECTOR: COLLECTOR,
}
STRANGERS = (server_id(2), server_id(15), PartyId(0xFFFF_FF01))


def member_in(setting: Setting, party: PartyId, stage: Stage) -> Any:
    """That server in that stage, with three reports of four; its mailbox is empty."""
    if stage is Stage.IDLE:
        return setting.servers()[party]
    network = setting.reported({client: setting.report(client) for client in (0, 2, 3)})
    machine: Any = network.servers[party]
    if stage is Stage.AGREE:
        network.between = between(HELPER, LEADER, Tag.STATEMENT, lambda data: ())
    if stage in (Stage.AGREE, Stage.LOCKED):
        network.call(LEADER, network.server.close_phase)
    if stage is Stage.ABORTED:
        machine.abort(AbortReason.CANCELLED)
    machine.outgoing(), machine.events(), machine.writes()
    assert machine._stage is stage
    return machine


def bodies(setting: Setting, tag: Tag, role: Role) -> list[bytes]:
    """Messages of that kind that are bound as they should be: with nothing in them, and zeros."""
    task = role is Role.CLIENT or tag is Tag.REPORT_SHARE
    binding = setting.context.id if task else setting.context.batch(0)
    return [write_header(tag, binding).raw(bytes(size)).finish() for size in (0, 1, 16, 49, 100)]


def check(machine: Any, party: PartyId, stage: Stage, role: Role, tag: Tag, data: bytes) -> None:
    sender = SENDERS[role]
    machine.receive(sender, data)  # never raises
    allowed = TABLES[party].get((stage, role))
    said, events = machine.outgoing(), machine.events()
    drops = [(e.party, e.fault) for e in events if isinstance(e, Dropped)]
    if allowed is None:
        assert isinstance(events[0], Ignored) and not said
        assert machine._stage is stage
    elif tag in allowed:
        assert (sender, Fault.WRONG_PHASE) not in drops
    elif role is Role.CLIENT:
        assert drops == [(sender, Fault.WRONG_PHASE)] and not said
        assert machine._stage is stage
    elif stage is Stage.LOCKED or role is Role.COLLECTOR:
        assert isinstance(events[0], Ignored) and not said
        assert machine._stage is stage
    else:
        assert drops == [(sender, Fault.WRONG_PHASE)]
        assert machine._stage is Stage.ABORTED
        with pytest.raises(Aborted, match=f"server {server_id(0) - sender}"):
            machine.result()


@MODES
@pytest.mark.parametrize("party", [LEADER, HELPER], ids=["leader", "helper"])
@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.name.lower())
def test_stages_and_messages(setting: Setting, party: PartyId, stage: Stage) -> None:
    for role, sender in SENDERS.items():
        if sender == party:
            continue
        for tag in Tag:
            check(
                member_in(setting, party, stage),
                party,
                stage,
                role,
                tag,
                bodies(setting, tag, role)[tag % 5],
            )


@MODES
@pytest.mark.parametrize("party", [LEADER, HELPER], ids=["leader", "helper"])
@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.name.lower())
def test_garbage_of_everybody(setting: Setting, party: PartyId, stage: Stage) -> None:
    """Rows 1-8: empty, cut, unknown tag, version and suite, another binding, all ones."""
    task, batch = setting.context.id, setting.context.batch(0)
    elsewhere = other(setting, epoch=1).context.batch(0)
    bad = [b"", b"\x01", b"\xff" * 400, bytes(400)]
    bad += [write_header(0, batch).finish(), write_header(13, batch).finish()]
    bad += [b"\x02" + bytes(34), b"\x01\x02" + bytes(33), write_header(5, elsewhere).finish()]
    bad += [body for tag in Tag for body in (messages.bare(tag, task), messages.bare(tag, batch))]
    for sender in (*SENDERS.values(), *STRANGERS, PartyId(4), PartyId(1 << 31)):
        machine = member_in(setting, party, stage)
        for data in bad:
            machine.receive(sender, data)
        machine.receive(sender, bytearray(50))
        machine.receive(sender, memoryview(bytes(50)))
        if sender in STRANGERS or sender == party:
            assert machine._stage is stage and not machine.outgoing()


@MODES
@pytest.mark.parametrize("party", [LEADER, HELPER], ids=["leader", "helper"])
@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.name.lower())
def test_stages_and_calls(setting: Setting, party: PartyId, stage: Stage) -> None:
    """A call out of order is the caller's fault; an abort ends everything but a locked set."""
    if stage is not Stage.IDLE:
        with pytest.raises(LocalProtocolError):
            member_in(setting, party, stage).start()
    for call in ("result", "finish"):
        machine = member_in(setting, party, stage)
        kinds = (LocalProtocolError, Aborted)
        with pytest.raises(kinds):
            machine.result() if call == "result" else machine.finish(None, None)
    machine = member_in(setting, party, stage)
    for reason in (AbortReason.CANCELLED, AbortReason.LOST):
        machine.abort(reason)
    assert machine.done
    ended = stage is Stage.LOCKED
    assert machine._stage is (Stage.LOCKED if ended else Stage.ABORTED)
    if not ended:
        with pytest.raises(Aborted, match="cancelled"):
            machine.result()
    assert bool(machine._progress.total) == ended


@MODES
@pytest.mark.parametrize("party", [LEADER, HELPER], ids=["leader", "helper"])
@pytest.mark.parametrize("stage", list(Stage), ids=lambda s: s.name.lower())
def test_a_new_link_of_anybody_else(setting: Setting, party: PartyId, stage: Stage) -> None:
    """What servers repeat is for servers of this committee."""
    machine = member_in(setting, party, stage)
    for other_party in (PartyId(0), PartyId(9), COLLECTOR, party, *STRANGERS):
        machine.reconnected(other_party)
        assert not machine.outgoing()


@pytest.mark.parametrize("tag", list(Tag), ids=NAMES.get)
@MODES
def test_a_client_that_waits_for_receipts(setting: Setting, tag: Tag) -> None:
    """Rows 24 and 49: a receipt of its report and an abort are all that it hears."""
    client, head = waiting(setting)
    bound = write_header(tag, setting.context.id)
    if tag is Tag.RECEIPT:
        client.receive(LEADER, receipt_of(setting, head, 0))
        assert client._state is ClientState.WANT_RECEIPTS
        client.receive(bearer(setting, 1), receipt_of(setting, head, 1))
        assert client._state is ClientState.STORED
        client.receive(LEADER, b"")  # nothing more is expected of this server
        return
    if tag is Tag.ABORT:
        client.receive(LEADER, bound.u8(AbortReason.LOST.code).finish())
    else:
        with pytest.raises(RemoteProtocolError):
            client.receive(LEADER, bound.raw(bytes(16)).finish())
        assert {m.data[2] for m in client.outgoing()} == {Tag.ABORT}
    assert client._state is ClientState.ENDED
    client.receive(LEADER, b"")
    client.reconnected(LEADER)
    assert not client.outgoing()


def waiting(setting: Setting) -> tuple[Any, Head]:
    """A client that has said its report, and the head of that."""
    client = setting.client(0, inputs_of(4, TINY)[PartyId(0)])
    client.start()
    (first, *_) = client.outgoing()
    return client, head_of(setting, first.data)


def bearer(setting: Setting, index: int) -> PartyId:
    """Over whose link the receipt of a server comes."""
    return server_id(index) if setting.params.direct else LEADER


def test_a_client_speaks_once() -> None:
    """The same bytes to a new link, until they are acknowledged; nothing for strangers."""
    client = RELAY.client(0, inputs_of(4, TINY)[PartyId(0)])
    with pytest.raises(LocalProtocolError):
        client.set_input(inputs_of(4, TINY)[PartyId(0)], PAYLOAD)
    assert not client.outgoing()
    client.start()
    with pytest.raises(LocalProtocolError):
        client.start()
    (said,) = client.outgoing()
    client.reconnected(LEADER)
    client.reconnected(HELPER)
    assert [m.data for m in client.outgoing()] == [said.data]
    client.receive(HELPER, b"garbage")
    client.lost(HELPER)
    assert not client.done
    client.lost(LEADER)
    assert client.done
    client.reconnected(LEADER)
    assert not client.outgoing()


def test_a_client_repeats_to_those_that_have_not_answered() -> None:
    """§7.3: its share for the others, in the same bytes, and nothing to who has sent a receipt."""
    client = DIRECT.client(0, inputs_of(4, TINY)[PartyId(0)])
    client.start()
    said = {m.to: m.data for m in client.outgoing()}
    client.receive(LEADER, receipt_of(DIRECT, head_of(DIRECT, said[LEADER]), 0))
    client.reconnected(LEADER)
    assert not client.outgoing()
    client.reconnected(HELPER)
    assert [(m.to, m.data) for m in client.outgoing()] == [(HELPER, said[HELPER])]
    client.acknowledged()
    client.reconnected(HELPER)
    assert not client.outgoing()


def test_a_client_of_a_relay_repeats_until_every_server_has_answered() -> None:
    """§7.3: its leader speaks for the helpers, and can only tell who asks."""
    client, head = waiting(RELAY)
    client.receive(LEADER, receipt_of(RELAY, head, 0))
    client.receive(LEADER, receipt_of(RELAY, head, 0))  # it comes again with every repeat
    client.reconnected(LEADER)
    (again,) = client.outgoing()
    assert again.data == RELAY.report(0)[0].data[:35] + again.data[35:]
    assert head_of(RELAY, again.data) == head and not client.done
    client.receive(LEADER, receipt_of(RELAY, head, 1))
    assert client.done


FALSE_RECEIPTS: dict[str, Callable[[Setting, Head], bytes]] = {
    "another digest": lambda s, h: receipt_of(s, h, 0, digest=bytes(32)),
    "a report with another share": lambda s, h: receipt_of(s, replace(h, manifest=(b"", b"")), 0),
    "another task": lambda s, h: receipt_of(s, h, 0, task=bytes(32)),
    "another signer": lambda s, h: _from(0, receipt_of(s, h, 1)),
    "another place": lambda s, h: _from(1, receipt_of(s, h, 0)),
    "no server": lambda s, h: _from(2, receipt_of(s, h, 0)),
    "no signature": lambda s, h: receipt_of(s, h, 0)[:-64] + bytes(64),
}


def _from(index: int, receipt: bytes) -> bytes:
    return receipt[:51] + bytes([index]) + receipt[52:]


@pytest.mark.parametrize("what", FALSE_RECEIPTS)
@MODES
def test_a_receipt_that_is_not_of_this_report(setting: Setting, what: str) -> None:
    """§7.3, §7.4: who hears of another report than its own is not told that it is stored; every
    server that has not answered is told."""
    client, head = waiting(setting)
    with pytest.raises(RemoteProtocolError):
        client.receive(LEADER, FALSE_RECEIPTS[what](setting, head))
    assert client._state is ClientState.ENDED
    heard_by = [LEADER, HELPER] if setting.params.direct else [LEADER]
    assert [(m.to, m.data[2]) for m in client.outgoing()] == [(p, Tag.ABORT) for p in heard_by]


@MODES
def test_a_receipt_for_another_client_is_not_heard(setting: Setting) -> None:
    """§7.4: it may have gone to the client that had this one's id before; nobody is at fault."""
    client, head = waiting(setting)
    for index in (0, 1):
        bad = receipt_of(setting, replace(head, id=bytes(16)), index, digest=head.digest)
        client.receive(bearer(setting, index), bad)
    assert client._state is ClientState.WANT_RECEIPTS and not client.outgoing()
    assert len([e for e in client.events() if isinstance(e, Ignored)]) == 2
    for index in (0, 1):
        client.receive(bearer(setting, index), receipt_of(setting, head, index))
    assert client._state is ClientState.STORED


@pytest.mark.parametrize("what", ["another digest", "no signature", "a flipped bit"])
def test_a_client_of_a_relay_names_no_helper(what: str) -> None:
    """§7.4: who brought a receipt can have changed it: the helper that signed it may be honest."""
    client, head = waiting(RELAY)
    good = receipt_of(RELAY, head, 1)
    bad = {
        "another digest": receipt_of(RELAY, head, 1, digest=bytes(32)),
        "no signature": good[:-64] + bytes(64),
        "a flipped bit": good[:-30] + bytes([good[-30] ^ 1]) + good[-29:],
    }[what]
    with pytest.raises(RemoteProtocolError, match="^what server 0 brought") as caught:
        client.receive(LEADER, bad)
    assert "server 1 has" not in str(caught.value)


def test_a_server_brings_only_its_own_receipt_in_direct_mode() -> None:
    client, head = waiting(DIRECT)
    with pytest.raises(RemoteProtocolError, match="over this link"):
        client.receive(LEADER, receipt_of(DIRECT, head, 1))


def test_large_counts_allocate_nothing() -> None:
    """Row 5: a set of 2^32 - 1 reports is a number, in a statement, an agreement and a total."""
    machine = member_in(RELAY, HELPER, Stage.UPLOAD)
    batch = RELAY.context.batch(0)
    tracemalloc.start()
    try:
        for tag in (Tag.STATEMENT, Tag.AGREEMENT):
            body = write_header(tag, batch).u32(0xFFFF_FFFF).raw(bytes(32 + 128)).finish()
            machine.receive(LEADER, body)
        collector = RELAY.collector()
        collector.start()
        total = (
            write_header(Tag.TOTAL, batch).u32(0xFFFF_FFFF).raw(bytes(32 + 128 + 49 + 64)).finish()
        )
        collector.receive(LEADER, total)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert collector.done and machine.done


# The other way round


class Recording(dict):  # type: ignore[type-arg]
    """A table whose sets note what is looked for in them, and found."""

    def __init__(self, table: dict[Any, frozenset[Tag]]) -> None:
        super().__init__(table)
        self.used: set[Any] = set()

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key)
        return default if found is None else _Noting(self.used, key, found)


class _Noting(frozenset):  # type: ignore[type-arg]
    used: set[Any]
    key: Any

    def __new__(cls, used: set[Any], key: Any, tags: frozenset[Tag]) -> Any:
        one = super().__new__(cls, tags)
        one.used, one.key = used, key
        return one

    def __contains__(self, tag: object) -> bool:
        found = super().__contains__(tag)
        if found:
            self.used.add((*self.key, tag))
        return found


def _repeating() -> Wire:
    """Servers whose every signature and lock comes with all that they said before, once more."""
    before: dict[PartyId, list[bytes]] = {LEADER: [], HELPER: []}
    marks = (Tag.STATEMENT, Tag.AGREEMENT, Tag.LOCKED)

    def wire(sender: PartyId, message: Outgoing) -> list[bytes]:
        if COLLECTOR in (sender, message.to):
            return [message.data]
        said = before[sender]
        said.append(message.data)
        return list(said) if message.data[2] in marks and len(said) < 40 else [message.data]

    return wire


def _set_back(run: Deployment, party: PartyId, stage: Stage) -> None:
    """A server goes on from what it last stored in that stage (§9.5)."""
    states = [dict(rows) for rows in run.history[party]]
    key = b"b" + bytes(4)
    run.replace(party, list([s for s in states if s[key][0] == stage.code][-1].items()))
    run._settle()
    assert run.servers[party]._stage is Stage.LOCKED


def test_every_entry_of_both_tables_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """By batches with restarts, repeats and backups, early collectors, and aborts."""
    leader, helper = Recording(LEADER_TABLE), Recording(HELPER_TABLE)
    monkeypatch.setattr(Leader, "table", leader)
    monkeypatch.setattr(Helper, "table", helper)
    for setting in (RELAY, DIRECT):
        assert run_out(setting.network(between=_repeating()), setting).kind == "exact"
        for step in range(60):
            Deployment(setting, {step}).run()
        for party, stage in ((LEADER, Stage.AGREE), (HELPER, Stage.UPLOAD)):
            _set_back(Deployment(setting).run(), party, stage)
        for party, table in TABLES.items():
            for stage, role in table:
                machine = member_in(setting, party, stage)
                for tag in (Tag.ABORT, Tag.COLLECT):
                    data = bodies(setting, tag, role)[0]
                    machine.receive(SENDERS[role], data)
    for recorded, table in ((leader, LEADER_TABLE), (helper, HELPER_TABLE)):
        entries = {(*key, tag) for key, tags in table.items() for tag in tags}
        assert recorded.used == entries
