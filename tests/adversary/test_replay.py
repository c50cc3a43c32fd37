"""Threats T6: nothing said in one session is valid in another, nor to or from somebody else."""

from __future__ import annotations

import pytest

from secagg.errors import RemoteProtocolError
from secagg.sansio import Dropped
from secagg.testing import Carried, Network
from secagg.types import SERVER, Fault, PartyId
from secagg_protocols.secagg.messages import Tag
from tests.networks import COMPLETE, PHASES, assert_exact, faults, network_of, rebuilt, sent_by

TASK_1, TASK_2 = bytes([1]) * 32, bytes([2]) * 32


def recorded(payload: bytes, seed: bytes) -> list[Carried]:
    network = network_of(COMPLETE, payload=payload, seed=seed)
    network.run()
    return network.sent


def server_takes(network: Network, message: Carried, replayed_by: PartyId) -> bool:
    """On a server of its own: is anything but a drop or nothing the effect of these bytes?"""
    server = rebuilt(network)
    waited = replayed_by in server.waiting_for
    server.receive(replayed_by, message.data)
    dropped = any(isinstance(e, Dropped) for e in server.events())
    return waited and not dropped and replayed_by not in server.waiting_for


@pytest.mark.parametrize("phase", PHASES)
def test_cross_product_at_the_server(phase: str) -> None:
    """Same cohort, same plan, the next round's task: 0 accepted."""
    network = network_of(COMPLETE, payload=TASK_2, seed=b"2").run_until(phase)
    messages = recorded(TASK_1, b"1")
    assert len(messages) == 6 * 7
    accepted = [
        m
        for m in messages
        for sender in {PartyId(0), m.sender} - {SERVER}
        if server_takes(network, m, sender)
    ]
    assert not accepted
    own = Carried(phase, PartyId(0), SERVER, network.queued(PartyId(0))[0])
    assert server_takes(network, own, PartyId(0))  # the probe can tell


@pytest.mark.parametrize("phase", PHASES[:3])
def test_cross_product_at_the_clients(phase: str) -> None:
    for message in recorded(TASK_1, b"1"):
        network = network_of(COMPLETE, payload=TASK_2, seed=b"2").run_until(phase)
        client = network.clients[PartyId(0)]
        with pytest.raises(RemoteProtocolError):
            client.receive(SERVER, message.data)
        assert client.done
        assert [Tag(m.data[2]) for m in client.outgoing()] == [Tag.ABORT]


@pytest.mark.parametrize("phase", PHASES[1:])
def test_even_for_the_same_task_nothing_bound_to_a_session_is_taken(phase: str) -> None:
    """Keys are bound to the offer, and may be said again; all that follows is bound to the keys."""
    network = network_of(COMPLETE, payload=TASK_1, seed=b"2").run_until(phase)
    accepted = [
        m
        for m in recorded(TASK_1, b"1")
        if m.sender != SERVER and server_takes(network, m, m.sender)
    ]
    assert not accepted


@pytest.mark.parametrize("phase", PHASES)
def test_what_another_client_of_this_session_said(phase: str) -> None:
    """Taken from 1 and said by 0: nothing that 1 dealt, masked or revealed counts as 0's."""
    network = network_of(COMPLETE).run_until(phase)
    stolen = network.queued(PartyId(1))[0]
    network.server.receive(PartyId(1), stolen)
    network.server.receive(PartyId(0), stolen)
    if phase == "advertise-keys":
        assert 0 not in network.server.alive  # the keys are 1's
    network.drain(SERVER)


def test_a_round_goes_on_after_a_replay_of_every_earlier_round() -> None:
    old = recorded(TASK_1, b"1")
    network = network_of(COMPLETE, payload=TASK_2, seed=b"2")
    for phase in PHASES:
        network.run_until(phase)
        for message in old:
            if message.sender == 5:
                network.server.receive(PartyId(5), message.data)
    assert 5 not in assert_exact(network).contributors


def test_a_seal_is_of_one_direction_and_one_session() -> None:
    first, second = network_of(COMPLETE, seed=b"1"), network_of(COMPLETE, seed=b"2")
    first.run(), second.run()
    said = [
        m
        for network in (first, second)
        for party in range(6)
        for m in sent_by(network, party, Tag.SHARE_KEYS)
    ]
    assert len(set(said)) == 12


def test_an_old_key_list_of_the_same_task_leads_nowhere() -> None:
    """Semi-honest clients take the root from the server, so an old list with the same offer passes.

    It is harmless because its c keys are gone: what is sealed to them nobody opens, and the
    session that follows from it is not the one the server has.
    """
    old = recorded(TASK_1, b"1")
    listed = next(m.data for m in old if m.to == 0 and m.data[2] == Tag.KEY_LIST)

    def wire(message: Carried) -> list[bytes]:
        fooled = message.to == 0 and message.data[2] == Tag.KEY_LIST
        return [listed if fooled else message.data]

    network = network_of(COMPLETE, payload=TASK_1, seed=b"2", wire=wire)
    assert assert_exact(network).dropped == {0}
    assert faults(network) == {0: Fault.MALFORMED}
