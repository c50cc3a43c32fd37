"""Every state meets every input: legal as the table says, or the documented error or fault.

specs/10-secagg.md §8, §9. The other way round, every entry of the tables is used by some run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.mask import add_streams
from secagg.sansio import Aborted, ClientMachine, Dropped, Ignored
from secagg.testing import Network, counter_randomness
from secagg.types import SERVER, AbortReason, Fault, PartyId
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.client import SecAggClient
from secagg_protocols.secagg.messages import NAMES, Abort, Tag
from secagg_protocols.secagg.server import SecAggServer
from secagg_protocols.secagg.states import CLIENT, ClientState, Input, ServerState
from secagg_protocols.secagg.states import SERVER as TABLE
from tests.networks import (
    COMPLETE,
    PAYLOAD,
    PHASES,
    Script,
    inputs_of,
    network_of,
    rebuilt,
    session_of,
)

SCRIPT = Script()
OFFER = session_of(COMPLETE).offer("secagg")
FROM_SERVER = dict(
    zip((Tag.KEY_LIST, Tag.SHARE_LIST, Tag.UNMASK_REQUEST), SCRIPT.inbox, strict=True)
)
FROM_CLIENT = dict(
    zip(
        (Tag.ADVERTISE_KEYS, Tag.SHARE_KEYS, Tag.MASKED_INPUT, Tag.UNMASK_ANSWER),
        Script(COMPLETE, party=1).outbox,
        strict=True,
    )
)
ABORT = Abort(AbortReason.CANCELLED).encode(OFFER)
MESSAGES = {**FROM_SERVER, **FROM_CLIENT, Tag.ABORT: ABORT}
VECTOR = inputs_of(6)[PartyId(0)]

CLIENT_STATES = [state for state in ClientState if state is not ClientState.WANT_QUORUM]
SERVER_STATES = [state for state in ServerState if state is not ServerState.CONSISTENCY]
"""Those of suite 1."""

RECEIVED = {
    ClientState.WANT_KEYS: 0,
    ClientState.WANT_SHARES: 1,
    ClientState.WANT_INPUT: 2,
    ClientState.WANT_SURVIVORS: 2,
    ClientState.ANSWERED: 3,
}


def client_in(state: ClientState) -> ClientMachine:
    if state in RECEIVED:
        return SCRIPT.client(RECEIVED[state], with_input=state is not ClientState.WANT_INPUT)
    client = SECAGG.family.client(
        session_of(COMPLETE),
        PartyId(0),
        randomness=counter_randomness(bytes(4)),
        expander=add_streams,
    )
    if state is ClientState.ENDED:
        client.start()
        client.lost(SERVER)
        client.outgoing(), client.events()
    return client


def state_of(machine: Any) -> Any:
    return machine._state


def other_bytes(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("tag", list(Tag), ids=NAMES.get)
@pytest.mark.parametrize("state", CLIENT_STATES, ids=lambda s: s.value[0])
def test_client_states_and_messages(state: ClientState, tag: Tag) -> None:
    client = client_in(state)
    assert state_of(client) is state
    legal = (state, tag) in CLIENT
    data = MESSAGES[tag] if legal else other_bytes(MESSAGES[tag])
    if state is ClientState.ENDED:
        client.receive(SERVER, data)
        assert isinstance(client.events()[-1], Ignored)
        assert not client.outgoing()
    elif legal:
        client.receive(SERVER, data)
        after = CLIENT[state, tag]
        if after is ClientState.WANT_INPUT:  # left at once: this client has its input
            after = ClientState.WANT_SURVIVORS
        assert state_of(client) is after
    else:
        with pytest.raises(RemoteProtocolError):
            client.receive(SERVER, data)
        assert state_of(client) is ClientState.ENDED
        said = [Tag(m.data[2]) for m in client.outgoing()]
        assert said == ([] if state is ClientState.ANSWERED else [Tag.ABORT])


@pytest.mark.parametrize("state", CLIENT_STATES, ids=lambda s: s.value[0])
def test_client_states_and_calls(state: ClientState) -> None:
    client = client_in(state)
    if (state, Input.START) in CLIENT:
        client.start()
        assert state_of(client) is CLIENT[state, Input.START]
    else:
        with pytest.raises(LocalProtocolError):
            client.start()
        assert state_of(client) is state

    client = client_in(state)
    late = state in (ClientState.ANSWERED, ClientState.ENDED)
    given = late or (state in RECEIVED and state is not ClientState.WANT_INPUT)
    if given:
        with pytest.raises(LocalProtocolError):
            client.set_input(VECTOR, PAYLOAD)
        assert state_of(client) is state
    else:
        client.set_input(VECTOR, PAYLOAD)
        assert state_of(client) is CLIENT.get((state, Input.INPUT), state)


@pytest.mark.parametrize("state", CLIENT_STATES, ids=lambda s: s.value[0])
@pytest.mark.parametrize("how", ["lost", "abort"])
def test_client_states_end(state: ClientState, how: str) -> None:
    client = client_in(state)
    client.lost(PartyId(3))  # another client's link is nothing to this one
    assert state_of(client) is state
    for _ in range(2):
        if how == "lost":
            client.lost(SERVER)
        else:
            client.abort(AbortReason.CANCELLED)
    ended = state in (ClientState.ANSWERED, ClientState.ENDED)
    assert state_of(client) is (state if ended else ClientState.ENDED)
    assert len([e for e in client.events() if isinstance(e, Aborted)]) == (not ended)
    assert len(client.outgoing()) == (how == "abort" and not ended)


def test_a_stranger_moves_no_client() -> None:
    for state in CLIENT_STATES:
        client = client_in(state)
        for data in MESSAGES.values():
            client.receive(PartyId(3), data)
        assert state_of(client) is state
        assert not client.outgoing()


# Server

PHASE_OF = {
    ServerState.ADVERTISE_KEYS: "advertise-keys",
    ServerState.SHARE_KEYS: "share-keys",
    ServerState.MASKED_INPUT: "masked-input",
    ServerState.UNMASK: "unmask",
}


def network_in(state: ServerState) -> Network:
    network = network_of(COMPLETE)
    if state is ServerState.IDLE:
        return network
    if state in PHASE_OF:
        return network.run_until(PHASE_OF[state])
    if state is ServerState.ABORTED:
        network.start()
        network.server.abort(AbortReason.CANCELLED)
        network.drain(SERVER)
        return network
    network.run_until("unmask").step()
    while state is ServerState.FINISHED and not network.server.done:
        network.step()
    return network


@pytest.mark.parametrize("tag", list(Tag), ids=NAMES.get)
@pytest.mark.parametrize("state", SERVER_STATES, ids=lambda s: s.value[0])
def test_server_states_and_messages(state: ServerState, tag: Tag) -> None:
    """Other bytes than those said already, for kinds that were; taken is what the table lists."""
    server = network_in(state).server
    assert state_of(server) is state
    server.events()
    seen = tag in list(FROM_CLIENT)[: list(PHASE_OF).index(state)] if state in PHASE_OF else False
    data = other_bytes(MESSAGES[tag]) if seen else MESSAGES[tag]
    server.receive(PartyId(1), data)
    taken = (state, tag) in TABLE and tag is not Tag.ABORT
    events = server.events()
    assert len(events) == (not taken)
    event = events[0] if events else None
    if taken:
        assert 1 not in server.waiting_for
    elif state not in PHASE_OF:
        assert isinstance(event, Ignored)
    elif tag is Tag.ABORT:
        assert event == Dropped(PartyId(1), Fault.QUIT, "cancelled")
    elif seen:
        assert isinstance(event, Dropped) and event.fault is Fault.EQUIVOCATION
    else:
        assert isinstance(event, Dropped) and event.fault is Fault.WRONG_PHASE
    assert state_of(server) is TABLE.get((state, tag), state)
    assert not server.outgoing()


@pytest.mark.parametrize("state", list(PHASE_OF), ids=lambda s: s.value[0])
def test_server_takes_what_the_table_lists(state: ServerState) -> None:
    server = network_in(state).server
    (tag,) = (t for s, t in TABLE if s is state and isinstance(t, Tag) and t is not Tag.ABORT)
    server.events()
    server.receive(PartyId(1), FROM_CLIENT[tag])
    assert not [e for e in server.events() if isinstance(e, Dropped | Ignored)]
    assert server.waiting_for == server.alive - {1}
    server.receive(PartyId(1), FROM_CLIENT[tag])
    assert server.events() == [Ignored(PartyId(1), "duplicate")]


@pytest.mark.parametrize("state", SERVER_STATES, ids=lambda s: s.value[0])
def test_server_states_and_calls(state: ServerState) -> None:
    calls: dict[Input, Callable[[Any], Any]] = {
        Input.START: lambda server: server.start(),
        Input.CLOSE: lambda server: server.close_phase(),
    }
    for cause, call in calls.items():
        network = network_in(state)
        for party in network.clients:
            for data in network.queued(party):
                network.server.receive(party, data)
        if (state, cause) in TABLE:
            call(network.server)
            assert state_of(network.server) is TABLE[state, cause]
        else:
            with pytest.raises(LocalProtocolError):
                call(network.server)
            assert state_of(network.server) is state


@pytest.mark.parametrize("state", SERVER_STATES, ids=lambda s: s.value[0])
def test_server_states_abort_once(state: ServerState) -> None:
    server = network_in(state).server
    ended = state in (ServerState.FINISHED, ServerState.ABORTED)
    server.events()
    for reason in (AbortReason.INTEGRITY, AbortReason.LOST):
        server.abort(reason)
    assert state_of(server) is (state if ended else ServerState.ABORTED)
    reasons = [e.reason for e in server.events() if isinstance(e, Aborted)]
    assert reasons == ([] if ended else [AbortReason.INTEGRITY])
    assert {m.to for m in server.outgoing()} == (set() if ended else set(range(6)))
    assert not server.jobs()


# The other way round


class Recording(dict):  # type: ignore[type-arg]
    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self.used: set[Any] = set()

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if found:
            self.used.add(key)
        return found

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.used.add(key)
        return value


def test_every_entry_of_both_tables_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    client_table, server_table = Recording(CLIENT), Recording(TABLE)
    monkeypatch.setattr(SecAggClient, "table", client_table)
    monkeypatch.setattr(SecAggServer, "table", server_table)
    network_of(COMPLETE).run()
    for state in RECEIVED:
        client_in(state).receive(SERVER, ABORT)
    client_in(ClientState.WANT_INPUT).set_input(VECTOR, PAYLOAD)
    for phase in PHASES:
        network = network_of(COMPLETE).run_until(phase)
        rebuilt(network).receive(PartyId(1), ABORT)
    assert client_table.used == set(CLIENT)
    assert server_table.used == set(TABLE)
