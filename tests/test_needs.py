"""What a machine says of itself, and a driver goes by: what it needs next, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secagg import errors
from secagg.errors import LocalProtocolError
from secagg.mask import add_streams
from secagg.sansio import Aborted, Finished, Need
from secagg.testing import counter_randomness
from secagg.types import COLLECTOR, SERVER, AbortReason, PartyId
from secagg_protocols.plainsum import PROTOCOL as PLAINSUM
from secagg_protocols.plainsum import PlainSumParams
from secagg_protocols.ring import RingParams, RingParty
from secagg_protocols.secagg import SECAGG
from tests.ensembles import HELPER, LEADER, Setting, params_of
from tests.networks import COMPLETE, PAYLOAD, inputs_of, network_of, session_of

TINY = PlainSumParams(3, 2)
CLIENTS = [PartyId(i) for i in range(3)]


def plain_server() -> Any:
    return PLAINSUM.family.server(session_of(TINY), expander=None)  # type: ignore[misc, arg-type]


def plain_client(me: int = 0) -> Any:
    return PLAINSUM.family.client(
        session_of(TINY),
        PartyId(me),
        randomness=counter_randomness(b"x"),
        expander=None,  # type: ignore[arg-type]
    )


def secagg_client() -> Any:
    return SECAGG.family.client(
        session_of(COMPLETE),
        PartyId(0),
        randomness=counter_randomness(b"x"),
        expander=add_streams,
    )


def upload(me: int) -> bytes:
    client = plain_client(me)
    client.start()
    client.set_input(inputs_of(3)[PartyId(me)], PAYLOAD)
    (message,) = client.outgoing()
    return bytes(message.data)


def test_one_server_says_when_it_wants_messages_when_its_close_and_when_nothing() -> None:
    server = plain_server()
    assert server.need is Need.NOTHING and server.ended is None
    server.start()
    for me in CLIENTS:
        assert server.need is Need.MESSAGES
        server.receive(me, upload(me))
    assert server.need is Need.CLOSE and server.contributors == frozenset(CLIENTS)
    server.close_phase()
    assert (server.need, server.ended) == (Need.NOTHING, None)


def test_secagg_says_jobs_in_the_phase_whose_messages_have_all_come() -> None:
    network = network_of(COMPLETE)
    server: Any = network.server
    seen = [server.need]
    network.run_until("unmask")
    seen.append(server.need)
    assert server.contributors == frozenset(network.clients)
    while not server.done:
        network.step()
        seen.append(server.need)
    jobs = {Need.JOBS} & set(seen)
    assert seen[:2] == [Need.NOTHING, Need.MESSAGES] and jobs and seen[-1] is Need.NOTHING
    assert server.ended is None


@pytest.mark.parametrize("phase", ["advertise-keys", "share-keys", "masked-input", "unmask"])
def test_secagg_needs_a_close_once_nobody_is_waited_for(phase: str) -> None:
    network = network_of(COMPLETE).run_until(phase)
    for party in network.clients:
        assert network.server.need is Need.MESSAGES
        network.repeat(party)
    assert (network.server.need, network.server.waiting_for) == (Need.CLOSE, frozenset())


def test_a_client_owes_its_input_when_it_can_go_no_further() -> None:
    network = network_of(COMPLETE)
    client = secagg_client()
    network.clients[PartyId(0)] = client
    assert not client.owes_input
    network.run_until("masked-input")
    assert client.owes_input
    client.set_input(inputs_of(COMPLETE.clients)[PartyId(0)], PAYLOAD)
    assert not client.owes_input
    plain = plain_client()
    assert not plain.owes_input
    plain.start()
    assert plain.owes_input
    plain.abort(AbortReason.CANCELLED)
    assert not plain.owes_input
    reporting = Setting(params_of(2)).client(0, inputs_of(4)[PartyId(0)])
    reporting.start()
    assert not reporting.owes_input and not reporting.done


def _party() -> Any:
    return RingParty(session_of(RingParams(3, True)), PartyId(0))


STARTED: dict[str, Callable[[], Any]] = {
    "plainsum server": plain_server,
    "plainsum client": plain_client,
    "secagg server": lambda: network_of(COMPLETE).server,
    "secagg client": lambda: secagg_client(),
    "additive client": lambda: Setting(params_of(2)).client(0, inputs_of(4)[PartyId(0)]),
    "leader": lambda: Setting(params_of(2)).member(0),
    "helper": lambda: Setting(params_of(2)).member(1),
    "collector": lambda: Setting(params_of(2)).collector(),
    "ring party": _party,
}


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("name", STARTED)
def test_every_machine_says_why_it_ended_whether_its_events_were_read_or_not(
    name: str, read: bool
) -> None:
    machine = STARTED[name]()
    machine.start()
    assert machine.ended is None
    if read:
        machine.events()
        assert machine.ended is None
    machine.abort(AbortReason.CANCELLED)
    for _ in range(2):
        assert isinstance(machine.ended, Aborted)
        assert machine.ended.reason is AbortReason.CANCELLED and machine.done
        assert getattr(machine, "need", Need.NOTHING) is Need.NOTHING
        assert not getattr(machine, "owes_input", False)
        if read:
            machine.events()


WITH_ROWS = ("leader", "helper", "additive client", "secagg client")


@pytest.mark.parametrize("name", [name for name in STARTED if name not in WITH_ROWS])
def test_a_machine_without_rows_takes_none_up(name: str) -> None:
    machine = STARTED[name]()
    assert machine.writes() == []
    machine.restore([])
    with pytest.raises(LocalProtocolError):
        machine.restore([(b"key", b"value")])


def test_a_lost_server_is_why_a_client_ended_and_its_own_answer_is_not() -> None:
    client = plain_client()
    client.start()
    client.lost(SERVER)
    assert client.ended == Aborted(AbortReason.LOST)
    client = plain_client()
    client.start()
    client.set_input(inputs_of(3)[PartyId(0)], PAYLOAD)
    assert client.done and client.ended is None


def test_a_client_that_was_done_learns_that_its_round_failed() -> None:
    network = network_of(COMPLETE)
    network.run_until("unmask")
    client: Any = network.clients[PartyId(0)]
    assert client.done and client.ended is None
    network.server.abort(AbortReason.CANCELLED)
    for message in network.server.outgoing():
        if message.to == PartyId(0):
            client.receive(SERVER, message.data)
    assert client.ended is not None and client.ended.reason is AbortReason.CANCELLED


def test_servers_of_a_batch_need_each_others_messages_after_its_close() -> None:
    setting = Setting(params_of(2))
    leader, helper, collector = setting.member(0), setting.member(1), setting.collector()
    assert [m.need for m in (leader, helper, collector)] == [Need.NOTHING] * 3
    leader.start(), helper.start(), collector.start()
    assert [m.need for m in (leader, helper, collector)] == [Need.MESSAGES] * 3
    for me in range(4):
        (report,) = setting.report(me)
        leader.receive(PartyId(me), report.data)
    assert leader.need is Need.MESSAGES, "the helper's verdicts are to come"
    _carry({LEADER: leader, HELPER: helper})
    assert leader.need is Need.CLOSE and helper.need is Need.MESSAGES
    leader.close_phase()
    assert leader.need is Need.MESSAGES
    _carry({LEADER: leader, HELPER: helper})
    assert leader.need is helper.need is Need.NOTHING
    assert leader.ended is helper.ended is None
    assert collector.alive == {LEADER, HELPER} and collector.contributors == frozenset()
    collector.outgoing()
    for me, server in ((LEADER, leader), (HELPER, helper)):
        server.receive(COLLECTOR, setting_ask(setting))
        (total,) = server.outgoing()
        collector.receive(me, total.data)
    assert (collector.need, collector.ended) == (Need.NOTHING, None)


def test_a_restored_server_needs_nothing_before_it_is_started_and_knows_why_it_had_ended() -> None:
    setting = Setting(params_of(2))
    old, ended = setting.member(0), setting.member(0)
    old.start(), ended.start()
    rows = [(write.key, write.value) for write in old.writes()]
    ended.abort(AbortReason.CANCELLED)
    new, over = setting.member(0), setting.member(0)
    new.restore(rows)
    assert (new.need, new.ended) == (Need.NOTHING, None)
    new.start()
    assert new.need is Need.MESSAGES
    over.restore([(w.key, w.value) for w in ended.writes() if w.value is not None])
    assert over.ended is not None and over.ended.reason is AbortReason.CANCELLED
    with pytest.raises(errors.Aborted):
        over.result()


def test_a_client_that_was_over_says_how_when_it_is_taken_up() -> None:
    """Its driver has no other way to know; as a client of one server does."""
    vector = inputs_of(4)[PartyId(0)]
    stored = Setting(params_of(2)).client(0, vector)
    stored.restore([(b"e", b"")])
    stored.start()
    assert stored.events()[1:] == [Finished()] and stored.done and not stored.outgoing()
    old, new = (Setting(params_of(2)).client(0, vector) for _ in range(2))
    old.start()
    old.abort(AbortReason.CANCELLED)
    new.restore([(w.key, w.value) for w in old.writes() if w.value is not None])
    new.start()
    (ended,) = new.events()
    assert isinstance(ended, Aborted) and ended.reason is AbortReason.CANCELLED and new.done


def _carry(servers: dict[PartyId, Any]) -> None:
    quiet = False
    while not quiet:
        quiet = True
        for me, server in servers.items():
            for message in server.outgoing():
                if message.to in servers:
                    quiet = False
                    servers[message.to].receive(me, message.data)


def setting_ask(setting: Setting) -> bytes:
    collector = setting.collector()
    collector.start()
    return bytes(collector.outgoing()[0].data)
