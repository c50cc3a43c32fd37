"""Several servers in one process: the pump carries what they say, and closes what nobody ends.

Rows 39, 48, 65.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from secagg.committee import Keys
from secagg.drive import pump
from secagg.errors import Aborted, BelowThreshold, LocalProtocolError, ParameterError
from secagg.mask import add_streams
from secagg.sansio import Aborted as AbortedEvent
from secagg.sansio import Dropped, Finished, Ignored, Outgoing, PhaseEntered
from secagg.testing import counter_randomness
from secagg.types import COLLECTOR, SERVER, AbortReason, Fault, PartyId, server_id
from secagg_protocols.additive import PROTOCOL as ADDITIVE
from secagg_protocols.plainsum import PROTOCOL as PLAIN
from secagg_protocols.plainsum import PlainSumParams
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
from tests.networks import inputs_of, session_of

RELAY, DIRECT = Setting(params_of(3)), Setting(params_of(3, direct=True))
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])


@MODES
def test_a_round(setting: Setting) -> None:
    inputs = inputs_of(4)
    clients = {party: setting.client(party, vector) for party, vector in inputs.items()}
    total = pump.run(setting.servers(), clients, gone=lambda party, phase: party == 2)
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
        machine: Any = network.servers[message.to]
        if message.to != COLLECTOR and machine.phase in ("upload", "agree"):
            asked += 1
            before = len(machine._outgoing)
            machine.receive(COLLECTOR, first.data)
            assert {tag_of(m.data) for m in machine._outgoing[before:]} <= {Tag.OPEN}
        return log(sender, message)

    network.between = asking
    total = network.run()
    assert_exact(total, RELAY)
    assert asked > 30
    tags = [tag_of(m.data) for _, m in log.said]
    signed = len(tags) - tags[::-1].index(Tag.STATEMENT)
    assert Tag.TOTAL not in tags[:signed]  # and at a helper, not before the agreement
    helpers = [tag_of(m.data) for who, m in log.said if HELPER in (who, m.to)]
    assert helpers.index(Tag.AGREEMENT) < helpers.index(Tag.TOTAL)


def test_each_has_its_own_events_and_one_end() -> None:
    network = RELAY.network()
    network.run()
    stages = {
        server_id(0): ["upload", "agree", "collect"],
        server_id(1): ["upload", "agree", "collect"],
        server_id(2): ["upload", "agree", "collect"],
        COLLECTOR: ["collect"],
    }
    for party, expected in stages.items():
        events = [e for who, e in network.events if who == party]
        assert [e.phase for e in events if isinstance(e, PhaseEntered)] == expected
        assert [e for e in events if isinstance(e, Finished)] == [Finished()]


def test_a_verdict_that_never_comes_holds_up_nobody_but_its_report() -> None:
    network = RELAY.network(between=between(HELPER, LEADER, Tag.VERDICT, lambda data: ()))
    assert not network.server.waiting_for
    network.start()
    assert network.server.waiting_for == network.server.alive == frozenset(range(4))
    for party in network.clients:
        network.repeat(party)
    assert network.server.waiting_for == {HELPER}
    assert network.run().count == 3


@MODES
def test_too_few_reports(setting: Setting) -> None:
    """Row 39."""
    network = setting.network()
    network.start()
    network.repeat(PartyId(0))
    network.call(SERVER, network.server.close_phase)
    assert pump.over(network.servers)
    with pytest.raises(BelowThreshold, match="1 report, and the smallest batch has 3"):
        network.result()
    ended = [e for who, e in network.events if who == SERVER and isinstance(e, AbortedEvent)]
    assert [e.reason for e in ended] == [AbortReason.BELOW_THRESHOLD]


def test_a_server_that_stops() -> None:
    """Row 65: the batch ends, and the server is named."""
    network = RELAY.network(between=between(HELPER, LEADER, Tag.STATEMENT, lambda data: ()))
    end = outcome(network, RELAY)
    assert end.failure is not None and "server 1" in str(end.failure)


def test_a_server_that_releases_nothing() -> None:
    """Row 65: the set is locked, and there is no sum without its total."""
    network = RELAY.network(between=between(HELPER, COLLECTOR, Tag.TOTAL, lambda data: ()))
    end = outcome(network, RELAY)
    assert end.failure is not None and "server 1: late" in str(end.failure)
    assert network.server.ended is None


def test_a_message_to_nobody_goes_nowhere() -> None:
    """Row 48: neither to a server that the plan has not, nor to the collector."""
    network = DIRECT.network()
    network.start()
    for to in (server_id(3), COLLECTOR, PartyId(2)):
        network.hand_over(PartyId(0), Outgoing(to, b"garbage"))
    assert not [e for _, e in network.events if isinstance(e, Dropped | Ignored)]
    network.hand_over(PartyId(0), Outgoing(server_id(2), b"garbage"))
    assert outcome(network, DIRECT).kind == "exact"  # a helper's drop is not the leader's


def test_losses_and_aborts_reach_the_leader() -> None:
    network = RELAY.network()
    network.start()
    network.lose(PartyId(3))
    assert network.server.alive == {0, 1, 2}
    network.call(SERVER, lambda: network.server.abort(AbortReason.CANCELLED))
    drops = [e for who, e in network.events if isinstance(e, Dropped) and who == SERVER]
    assert drops == [Dropped(PartyId(3), Fault.LOST)]
    with pytest.raises(Aborted, match="cancelled"):
        network.result()
    members = [machine for party, machine in network.servers.items() if party != COLLECTOR]
    assert all(member.done for member in members)
    with pytest.raises(LocalProtocolError):
        network.server.close_phase()


def test_the_machines_of_a_session_are_those_of_its_keys() -> None:
    keys = Keys(2, counter_randomness(b"x"))
    for given in (keys, None):
        with pytest.raises(ParameterError, match="the session's committee"):
            ADDITIVE.family.machines(RELAY.session, given, expander=add_streams)
    assert [*RELAY.servers()] == [server_id(0), server_id(1), server_id(2), COLLECTOR]
    session = session_of(PlainSumParams(3, 2))
    assert [*PLAIN.family.machines(session, None, expander=add_streams)] == [SERVER]
