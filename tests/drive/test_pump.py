"""The tutorial driver runs every protocol, with and without drops, and never hangs."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from secagg.drive import pump
from secagg.errors import Aborted, BelowThreshold
from secagg.mask import add_streams
from secagg.protocol import Params, ProtocolInfo
from secagg.sansio import ClientMachine, Dropped, ServerMachine
from secagg.suite import SUITE_1
from secagg.testing import counter_randomness, plain_sum
from secagg.types import SERVER, AbortReason, Fault, PartyId
from secagg_protocols.plainsum import PROTOCOL, PlainSumParams
from secagg_protocols.secagg import SECAGG, SECAGG_PLUS
from tests.networks import COMPLETE, LAYOUT, PAYLOAD, REGULAR, inputs_of, session_of

EVERY = pytest.mark.parametrize(
    ("info", "params"),
    [(PROTOCOL, PlainSumParams(6, 4)), (SECAGG, COMPLETE), (SECAGG_PLUS, REGULAR)],
    ids=["plainsum", "secagg", "secagg+"],
)


def machines(
    info: ProtocolInfo, params: Params, without_input: Collection[int] = ()
) -> tuple[ServerMachine, dict[PartyId, ClientMachine]]:
    session = session_of(params)
    clients = {}
    for party, vector in inputs_of(params.clients).items():
        draw = counter_randomness(bytes([party]))
        clients[party] = info.family.client(session, party, randomness=draw, expander=add_streams)
        if party not in without_input:
            clients[party].set_input(vector, PAYLOAD)
    return info.family.server(session, expander=add_streams), clients


@EVERY
def test_a_round(info: ProtocolInfo, params: Params) -> None:
    server, clients = machines(info, params)
    total = pump.run({SERVER: server}, clients)
    inputs = inputs_of(params.clients)
    assert total.contributors == set(inputs)
    assert [lane.tolist() for lane in total.vector] == plain_sum(LAYOUT, inputs, inputs)


@EVERY
def test_a_drop_in_every_phase(info: ProtocolInfo, params: Params) -> None:
    for phase in [phase.name for phase in info.phases(params, SUITE_1)]:
        server, clients = machines(info, params)
        leaves = (PartyId(2), phase)
        leaves = (PartyId(2), phase)
        total = pump.run({SERVER: server}, clients, gone=lambda *who, it=leaves: who == it)  # type: ignore[misc]
        inputs = inputs_of(params.clients)
        assert [lane.tolist() for lane in total.vector] == plain_sum(
            LAYOUT, inputs, total.contributors
        )
        assert (2 in total.contributors) == (phase == "unmask")
        assert 2 not in server.alive


@EVERY
def test_a_client_without_input_is_late_and_nobody_waits(
    info: ProtocolInfo, params: Params
) -> None:
    server, clients = machines(info, params, without_input={1})
    total = pump.run({SERVER: server}, clients)
    assert total.dropped == {1}
    faults = [e.fault for e in server.events() if isinstance(e, Dropped)]
    assert faults == [Fault.LATE]


@EVERY
def test_too_few_clients(info: ProtocolInfo, params: Params) -> None:
    server, clients = machines(info, params)
    with pytest.raises(BelowThreshold):
        pump.run({SERVER: server}, clients, gone=lambda who, phase: who >= 3)
    assert server.done


def test_a_client_that_refuses_is_drained_like_any_other() -> None:
    """It says abort, and the server drops it for that."""
    server, clients = machines(SECAGG, COMPLETE)
    clients[PartyId(0)] = SECAGG.family.client(
        session_of(COMPLETE, payload=bytes(32)),
        PartyId(0),
        randomness=counter_randomness(b"stranger"),
        expander=add_streams,
    )
    assert pump.run({SERVER: server}, clients).dropped == {0}
    faults = {e.party: e.fault for e in server.events() if isinstance(e, Dropped)}
    assert faults == {0: Fault.MALFORMED}


def test_an_abort_ends_the_loop() -> None:
    server, clients = machines(SECAGG, COMPLETE)

    def stop(who: PartyId, phase: str) -> bool:
        if phase == "masked-input":
            server.abort(AbortReason.CANCELLED)
        return False

    with pytest.raises(Aborted) as error:
        pump.run({SERVER: server}, clients, gone=stop)
    assert error.value.reason is AbortReason.CANCELLED
