"""Several servers in one process look like one server, and are the machines of a real deployment.

Rows 39, 48, 65.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from secagg.drive import pump
from secagg.drive.ensemble import Ensemble, Keys, Several
from secagg.errors import Aborted, BelowThreshold, LocalProtocolError, ParameterError
from secagg.mask import add_streams
from secagg.sansio import Aborted as AbortedEvent
from secagg.sansio import Dropped, Finished, Ignored, Outgoing, PhaseEntered
from secagg.testing import counter_randomness
from secagg.types import COLLECTOR, SERVER, AbortReason, Fault, PartyId, server_id
from secagg_protocols.additive import PROTOCOL as ADDITIVE
from secagg_protocols.plainsum import PROTOCOL as PLAIN
from secagg_protocols.reports.messages import Tag
from tests.ensembles import (
    HELPER,
    LEADER,
    Log,
    Setting,
    assert_exact,
    between,
    outcome,
    params_of,
    tag_of,
)
from tests.networks import inputs_of

RELAY, DIRECT = Setting(params_of(3)), Setting(params_of(3, direct=True))
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])


@MODES
def test_the_pump_takes_it_for_a_server(setting: Setting) -> None:
    inputs = inputs_of(4)
    clients = {party: setting.client(party, vector) for party, vector in inputs.items()}
    total = pump.run(setting.ensemble(), clients, gone=lambda party, phase: party == 2)
    assert total.contributors == {0, 1, 3} and total.dropped == {2}
    assert_exact(total, setting)
    assert all(client.done for party, client in clients.items() if party != 2)


@MODES
def test_what_the_servers_say(setting: Setting) -> None:
    """Who says what to whom in an honest batch: 4 reports, 3 servers."""
    log = Log()
    assert outcome(setting.network(between=log), setting).kind == "exact"
    counts = Counter(tag_of(m.data) for _, m in log.said)
    assert counts == {
        **({} if setting.params.direct else {Tag.REPORT_SHARE: 8}),
        Tag.VERDICT: 8,
        Tag.DECISION: 8,
        Tag.DECIDED: 8,
        Tag.STATEMENT: 4,
        Tag.AGREEMENT: 2,
        Tag.LOCKED: 2,
        Tag.COLLECT: 3,
        Tag.TOTAL: 3,
    }
    for who, message in log.said:
        assert message.sender == who
        assert COLLECTOR in (who, message.to) or LEADER in (who, message.to)
        assert message.commit == (who != COLLECTOR)


def test_nothing_but_the_lock_releases_a_total() -> None:
    """Rules A12 and A14: a collector that asks before every message hears before the lock only that
    the batch is open."""
    log = Log()
    network = RELAY.network(between=log)
    network.start()
    collector = RELAY.collector()
    collector.start()
    (first, *_) = collector.outgoing()
    asked = 0

    def asking(sender: PartyId, message: Outgoing) -> Sequence[bytes]:
        nonlocal asked
        machine = network.server.members.get(message.to)  # type: ignore[attr-defined]
        if machine is not None and machine.phase in ("upload", "agree"):
            asked += 1
            before = len(machine._outgoing)
            machine.receive(COLLECTOR, first.data)
            assert {tag_of(m.data) for m in machine._outgoing[before:]} <= {Tag.OPEN}
        return log(sender, message)

    network.server._wire = asking  # type: ignore[attr-defined]
    total = network.run()
    assert_exact(total, RELAY)
    assert asked > 30
    tags = [tag_of(m.data) for _, m in log.said]
    signed = len(tags) - tags[::-1].index(Tag.STATEMENT)
    assert Tag.TOTAL not in tags[:signed]  # and at a helper, not before the agreement
    helpers = [tag_of(m.data) for who, m in log.said if HELPER in (who, m.to)]
    assert helpers.index(Tag.AGREEMENT) < helpers.index(Tag.TOTAL)


def test_events_are_those_of_the_leader_and_the_collectors_end() -> None:
    network = RELAY.network()
    network.run()
    events = [e for who, e in network.events if who == SERVER]
    assert [e.phase for e in events if isinstance(e, PhaseEntered)] == [
        "upload",
        "agree",
        "collect",
    ]
    assert [e for e in events if isinstance(e, Finished)] == [Finished()]


def test_it_waits_for_clients_only() -> None:
    network = RELAY.network(between=between(HELPER, LEADER, Tag.VERDICT, lambda data: ()))
    assert not network.server.waiting_for
    network.start()
    assert network.server.waiting_for == network.server.alive == frozenset(range(4))
    for party in network.clients:
        network.repeat(party)
    assert not network.server.waiting_for  # though the leader waits for a helper
    assert HELPER in network.server.members[LEADER].waiting_for  # type: ignore[attr-defined]


@MODES
def test_too_few_reports(setting: Setting) -> None:
    """Row 39."""
    network = setting.network()
    network.start()
    network.repeat(PartyId(0))
    network.server.close_phase()
    network.drain(SERVER)
    assert network.server.done
    with pytest.raises(BelowThreshold, match="1 report, and the smallest batch has 3"):
        network.server.result()
    ended = [e for who, e in network.events if who == SERVER and isinstance(e, AbortedEvent)]
    assert [e.reason for e in ended] == [AbortReason.BELOW_THRESHOLD]


def test_a_server_that_stops() -> None:
    """Row 65: the batch ends, and the server is named."""
    network = RELAY.network(between=between(HELPER, LEADER, Tag.STATEMENT, lambda data: ()))
    end = outcome(network, RELAY)
    assert end.failure is not None and "server 1" in str(end.failure)


def test_a_message_to_nobody_goes_nowhere() -> None:
    """Row 48: neither to a server that the plan has not, nor to the collector."""
    network = DIRECT.network()
    network.start()
    server: Ensemble = network.server  # type: ignore[assignment]
    for to in (server_id(3), COLLECTOR, PartyId(2)):
        server.deliver(to, PartyId(0), b"garbage")
    network.drain(SERVER)
    assert not [e for _, e in network.events if isinstance(e, Dropped | Ignored)]
    server.deliver(server_id(2), PartyId(0), b"garbage")
    assert outcome(network, DIRECT).kind == "exact"  # a helper's drop is not the leader's


def test_losses_and_aborts_reach_the_leader() -> None:
    network = RELAY.network()
    network.start()
    network.lose(PartyId(3))
    assert network.server.alive == {0, 1, 2}
    network.server.abort(AbortReason.CANCELLED)
    network.drain(SERVER)
    drops = [e for _, e in network.events if isinstance(e, Dropped)]
    assert drops == [Dropped(PartyId(3), Fault.LOST)]
    with pytest.raises(Aborted, match="cancelled"):
        network.server.result()
    members = network.server.members  # type: ignore[attr-defined]
    assert all(member.done for member in members.values())
    with pytest.raises(LocalProtocolError):
        network.server.close_phase()


def test_it_stands_for_several() -> None:
    assert isinstance(RELAY.ensemble(), Several)
    keys = Keys(2, counter_randomness(b"x"))
    session = Setting(params_of(2)).session
    with pytest.raises(ParameterError, match="one server"):
        Ensemble(PLAIN, session, keys, expander=add_streams)
    with pytest.raises(ParameterError, match="3 servers"):
        Ensemble(ADDITIVE, RELAY.session, keys, expander=add_streams)
