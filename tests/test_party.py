"""Records in, Aggregate out: delegation, the report, and what is refused before it is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from secagg.drive import pump
from secagg.errors import (
    BelowThreshold,
    InputError,
    IntegrityError,
    LocalProtocolError,
    ParameterError,
    RangeError,
)
from secagg.fields import FixedPoint, Integer
from secagg.party import Aggregate, Client, Server
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.players import Players
from secagg.sansio import Dropped, PhaseEntered
from secagg.testing import counter_randomness
from secagg.types import SERVER, AbortReason, Fault, PartyId

TASK = bytes([3]) * 32
FIELDS = {"x": FixedPoint(3, clip=2.0, bits=12), "n": Integer(2, max=9)}
PROTOCOLS = pytest.mark.parametrize("protocol", ["plainsum", "secagg", "secagg+"])


def make(protocol: str = "secagg", clients: int = 8, **options: Any) -> Plan:
    return plan(
        clients=clients,
        fields=FIELDS,
        protocol=protocol,
        corrupt=0,
        dropout=options.pop("dropout", 0.125 if protocol == "secagg+" else 0.25),
        **options,
    )


def parties(made: Plan, **weights: int) -> tuple[Server, dict[PartyId, Client]]:
    server = Server(made, nonce=bytes(16), payload_digest=TASK)
    clients = {}
    for i in map(PartyId, range(made.threat.clients)):
        draw = counter_randomness(bytes([i]))
        clients[i] = Client(made, i, nonce=bytes(16), payload_digest=TASK, randomness=draw)
        clients[i].set_input(
            {"x": np.array([i / 4, -1.0, 0.5]), "n": np.array([i, -1])},
            payload_digest=TASK,
            weight=weights.get(f"w{i}", 1),
        )
    return server, clients


@PROTOCOLS
def test_sums_means_and_report(protocol: str) -> None:
    server, clients = parties(make(protocol))
    pump.run({SERVER: server}, clients, gone=lambda who, phase: who == 6 and phase == server.phase)
    aggregate = server.aggregate()
    assert aggregate.contributors == frozenset(range(8)) - {6}
    assert aggregate.dropped == {6}
    assert aggregate.report.faults == {6: Fault.LOST}
    assert aggregate.report.protocol == protocol
    assert aggregate.weight == 7
    step = FIELDS["x"].step  # type: ignore[union-attr]
    levels = [round(i / 4 / step) for i in aggregate.contributors]
    assert aggregate.levels["x"][0] == sum(levels)
    bound = aggregate.report.error_bounds["x"]
    assert abs(aggregate.mean["x"] - [22 / 28, -1.0, 0.5]).max() <= bound
    assert aggregate.sum["n"].tolist() == [sum(range(8)) - 6, -7]
    assert aggregate.sum["n"].dtype == np.int64
    assert set(aggregate.report.error_bounds) == {"x"}


def test_weights() -> None:
    made = make(max_weight=10)
    server, clients = parties(made, w0=10, w1=3)
    pump.run({SERVER: server}, clients)
    aggregate = server.aggregate()
    assert aggregate.weight == 10 + 3 + 6
    exact = sum(w * i / 4 for i, w in enumerate([10, 3, 1, 1, 1, 1, 1, 1])) / 19
    clipped = exact  # every input is within clip
    assert abs(aggregate.mean["x"][0] - clipped) <= aggregate.report.error_bounds["x"]


def test_a_client_without_examples_has_weight_0() -> None:
    """It is among the contributors, and its values in no mean (02-quantization.md §4.6)."""
    server, clients = parties(make(max_weight=10), w0=0, w7=5)
    pump.run({SERVER: server}, clients)
    aggregate = server.aggregate()
    assert (aggregate.weight, aggregate.count) == (6 + 5, 8)
    exact = sum(w * i / 4 for i, w in enumerate([0, 1, 1, 1, 1, 1, 1, 5])) / 11
    assert abs(aggregate.mean["x"][0] - exact) <= aggregate.report.error_bounds["x"]


def test_nobody_had_examples() -> None:
    server, clients = parties(make(max_weight=10), **{f"w{i}": 0 for i in range(8)})
    pump.run({SERVER: server}, clients)
    with pytest.raises(BelowThreshold, match="every weight is 0"):
        server.aggregate()


def test_the_aggregate_shows_no_values_in_its_repr() -> None:
    server, clients = parties(make())
    pump.run({SERVER: server}, clients)
    text = repr(server.aggregate())
    assert "array" not in text
    assert isinstance(server.aggregate(), Aggregate)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"x": [0, 0, np.nan], "n": [0, 0]}, RangeError),
        ({"x": [0, np.inf, 0], "n": [0, 0]}, RangeError),
        ({"x": [0.0, 0.0], "n": [0, 0]}, InputError),
        ({"x": [0.0, 0.0, 0.0]}, InputError),
        ({"x": [0.0, 0.0, 0.0], "n": [0, 10]}, RangeError),
        ({"x": [0.0, 0.0, 0.0], "n": [0.5, 1.0]}, InputError),
    ],
)
def test_rows_80_81_inputs_are_refused_before_masking(values: Any, error: type) -> None:
    made = make()
    client = Client(made, PartyId(0), nonce=bytes(16), payload_digest=TASK)
    values = {name: np.array(value) for name, value in values.items()}
    with pytest.raises(error):
        client.set_input(values, payload_digest=TASK)
    assert not client.outgoing()
    assert not client.done


@pytest.mark.parametrize("weight", [-1, 11, 1.5, True])
def test_row_85_weights_out_of_range(weight: Any) -> None:
    client = Client(make(max_weight=10), PartyId(0), nonce=bytes(16), payload_digest=TASK)
    values = {"x": np.zeros(3), "n": np.zeros(2, np.int64)}
    with pytest.raises(RangeError):
        client.set_input(values, payload_digest=TASK, weight=weight)


def test_row_82_clipped_values_are_counted_and_stay_here() -> None:
    client = Client(make(), PartyId(0), nonce=bytes(16), payload_digest=TASK)
    values = {"x": np.array([5.0, -9.0, 1.0]), "n": np.array([1, 2])}
    client.set_input(values, payload_digest=TASK)
    assert client.clipped == {"x": 2}


def test_row_36_another_task_ends_the_session() -> None:
    client = Client(make(), PartyId(0), nonce=bytes(16), payload_digest=TASK)
    values = {"x": np.zeros(3), "n": np.zeros(2, np.int64)}
    with pytest.raises(InputError, match="task"):
        client.set_input(values, payload_digest=bytes(32))
    assert client.done


def test_where_clients_sign_each_party_has_its_key() -> None:
    """Nothing is made without a roster, its own seed, or for a plan whose clients sign nothing."""
    made = plan(clients=8, fields=FIELDS, adversary="active", protocol="secagg", corrupt=0)
    cast = Players.of(8, counter_randomness(b"cast"))
    rest: dict[str, Any] = {"nonce": bytes(16), "payload_digest": TASK}
    for bad in ({}, {"roster": cast.roster}, {"roster": cast.roster, "signing": cast.members[1]}):
        with pytest.raises(ParameterError):
            Server(made, **rest, **bad)
        with pytest.raises(ParameterError):
            Client(made, PartyId(0), **rest, **bad)
    signed: dict[str, Any] = {"roster": cast.roster, "signing": cast.members[0]}
    for more in ({"signing": cast.members[0]}, signed, {"judge": lambda survivors: None}):
        with pytest.raises(ParameterError):
            Client(make(), PartyId(0), **rest, **more)
    assert Client(made, PartyId(0), **rest, **signed, judge=lambda survivors: None).phase == ""
    Server(made, **rest, roster=cast.roster, signing=cast.server)


def test_a_client_that_signs_asks_its_judge() -> None:
    """Rule V7: whom it is shown, by place; what it refuses ends the session without its word."""
    made = plan(clients=8, fields=FIELDS, adversary="active", protocol="secagg", corrupt=0)
    cast, shown = Players.of(8, counter_randomness(b"cast")), []
    rest: dict[str, Any] = {"nonce": bytes(16), "payload_digest": TASK, "roster": cast.roster}

    def judge(survivors: frozenset[PartyId]) -> None:
        shown.append(survivors)

    clients = {
        me: Client(made, me, **rest, signing=cast.members[me], judge=judge)
        for me in map(PartyId, range(8))
    }
    for me, client in clients.items():
        values = {"x": np.full(3, me / 8), "n": np.array([me, 1])}
        client.set_input(values, payload_digest=TASK)
    server = Server(made, **rest, signing=cast.server)
    pump.run({SERVER: server}, clients)
    assert shown == [frozenset(range(8))] * 8
    assert server.aggregate().sum["n"].tolist() == [28, 8]
    assert b"".join(server.transcript())[:1] == b"\1" and server.evidence() == []


def test_a_driver_cannot_tell_it_from_the_machine() -> None:
    server, clients = parties(make())
    client = clients[PartyId(0)]
    assert (server.phase, server.done, server.quorum) == ("", False, False)
    server.start(), client.start()
    assert server.events() == [PhaseEntered("advertise-keys")]
    assert client.phase == "advertise-keys"
    assert server.alive == server.waiting_for == frozenset(range(8))
    (message,) = client.outgoing()
    server.receive(PartyId(0), message.data)
    assert server.waiting_for == frozenset(range(1, 8))
    server.lost(PartyId(1))
    assert server.events() == [Dropped(PartyId(1), Fault.LOST)]
    assert not server.jobs()
    with pytest.raises(LocalProtocolError):
        server.finish(lambda: 0, 0)
    client.lost(SERVER)
    assert client.done
    with pytest.raises(LocalProtocolError):
        server.aggregate()
    server.abort(AbortReason.CANCELLED)
    assert server.done
    assert server.outgoing()


def test_an_abort_leaves_no_aggregate() -> None:
    server, clients = parties(make())
    with pytest.raises(BelowThreshold):
        pump.run({SERVER: server}, clients, gone=lambda who, phase: who < 5)
    with pytest.raises(BelowThreshold):
        server.aggregate()


@PROTOCOLS
def test_row_59_a_client_that_does_not_count_itself_withholds_the_sum(protocol: str) -> None:
    """For every protocol alike, in `result` as in `aggregate`."""
    made = make(protocol)
    server, clients = parties(made)
    vector = made.layout.zeros()  # its count elements are 0
    fresh = Client(made, PartyId(3), nonce=bytes(16), payload_digest=TASK)
    fresh.machine.set_input(vector, TASK)
    clients[PartyId(3)] = fresh
    with pytest.raises(IntegrityError):
        pump.run({SERVER: server}, clients)
    with pytest.raises(IntegrityError):
        server.aggregate()
