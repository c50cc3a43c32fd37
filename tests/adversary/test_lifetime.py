"""Secrets end with their purpose: what is reachable from a machine, in every state.

The walk follows every reference that the machine has, through attributes, slots, containers and
closures, and looks for the very bytes of secrets that were seen in it before.
"""

from __future__ import annotations

import gc
import json
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from secagg.errors import Aborted, LocalProtocolError, RemoteProtocolError
from secagg.protocol import Session
from secagg.testing import Act, Carried, Network, Schedule, counter_randomness
from secagg.types import SERVER, AbortReason, PartyId, Seed
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.plainsum import PROTOCOL as PLAIN
from secagg_protocols.plainsum import PlainSumParams
from secagg_protocols.ring import RingParams, RingParty
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.messages import Abort, Tag
from tests.networks import (
    COMPLETE,
    LAYOUT,
    PAYLOAD,
    PHASES,
    flip,
    inputs_of,
    network_of,
    session_of,
    standing,
    sum_of,
)

APART = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)


def reachable(root: object) -> Iterator[object]:
    """Everything that hangs on `root`, itself included; code, classes and modules are not its."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, APART):
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, types.FrameType):  # of a traceback; the callers are not the machine's
            waiting += () if one.f_code.co_filename == __file__ else one.f_locals.values()
        elif isinstance(one, types.FunctionType):
            waiting += [one.__closure__, one.__defaults__, one.__kwdefaults__]
        else:
            waiting += gc.get_referents(one)


def bytes_of(root: object) -> list[bytes]:
    """The contents of whatever holds bytes."""
    found = []
    for one in reachable(root):
        if isinstance(one, bytes | bytearray | memoryview):
            found.append(bytes(one))
        elif isinstance(one, np.ndarray):
            found.append(one.tobytes())
    return found


def holds(root: object, secret: bytes) -> bool:
    assert len(secret) >= 8, "anything shorter is found by chance"
    return any(secret in one for one in bytes_of(root))


def lanes(vector: Any) -> set[bytes]:
    """The lanes of a vector that are long enough to be told from others."""
    return {lane.tobytes() for lane in vector if lane.nbytes >= 8}


@dataclass
class Seen:
    """The secrets of all parties of a network, gathered step by step as they come to be."""

    keys: set[bytes] = field(default_factory=set)
    seeds: set[bytes] = field(default_factory=set)
    shares: set[bytes] = field(default_factory=set)
    inputs: set[bytes] = field(default_factory=set)
    sums: set[bytes] = field(default_factory=set)
    masks: set[bytes] = field(default_factory=set)

    def look(self, network: Network) -> None:
        for client in network.clients.values():
            now, own = standing(client), getattr(standing(client), "keys", standing(client))
            self.keys |= {p.secret.expose() for n in "cs" if (p := getattr(own, n, None))}
            if hasattr(now, "b"):
                self.seeds.add(now.b.expose())
                where, segments = now.place, len(LAYOUT.segments)
                self.masks |= {*keys.self_keys(now.b, where.session, where.index, segments)}
            self.keys |= {seed.expose() for seed in getattr(now, "sealing", {}).values()}
            for pair in getattr(now, "held", {}).values():
                self.shares |= {bytes(pair.b_share), bytes(pair.s_share)}
            self.inputs |= lanes(client._vector or ())  # type: ignore[attr-defined]
        if network.server.contributors and not network.server.done:
            self.sums |= lanes(sum_of(network.server))

    @property
    def all(self) -> set[bytes]:
        return self.keys | self.seeds | self.shares | self.inputs | self.sums | self.masks


def found(root: object, secrets: set[bytes]) -> set[bytes]:
    assert secrets, "nothing was planted"
    contents = bytes_of(root)
    return {secret for secret in secrets if any(secret in one for one in contents)}


def run_to(network: Network, phase: str) -> Seen:
    seen = Seen()
    network.start()
    seen.look(network)
    while network.server.phase != phase:
        network.step()
        seen.look(network)
    return seen


def drained(network: Network) -> None:
    for machine in (network.server, *network.clients.values()):
        machine.outgoing(), machine.events()


# The walk itself


def test_the_walk_finds_what_is_hidden_well() -> None:
    class Slotted:
        __slots__ = ("inner",)

        def __init__(self, inner: object) -> None:
            self.inner = inner

    secret = bytes(range(40, 72))
    closed: Callable[[], Seed] = (lambda kept: lambda: kept)(Seed(secret))
    lane = np.frombuffer(b"pad" + secret + b"pads!", np.uint8)
    for hidden in (
        secret,
        [{1: (secret,)}],
        Slotted(Slotted(Seed(secret))),
        closed,
        lane,
        keeping(secret),
    ):
        assert holds(Slotted(hidden), secret)
    assert not holds(Slotted(Seed(bytes(32))), secret)


def keeping(secret: bytes) -> BaseException:
    """Raised where the secret was known; json's frame is not of this file."""
    with pytest.raises(TypeError) as caught:
        json.dumps([object(), secret])
    return caught.value


# SecAgg


def test_a_client_holds_in_each_state_what_it_still_needs() -> None:
    network = network_of(COMPLETE)
    client = network.clients[PartyId(0)]
    seen = run_to(network, "share-keys")
    state: Any = client
    now = standing(client)
    mine = {now.keys.c.secret.expose(), now.keys.s.secret.expose(), now.b.expose()}
    assert found(client, mine) == mine and found(client, seen.inputs)
    network.step()  # opened and masked
    seen.look(network)
    assert network.server.phase == "masked-input"
    assert not found(client, seen.keys | seen.seeds | seen.inputs)
    assert found(client, seen.shares)
    network.step()  # answered
    assert client.done
    drained(network)
    reply = state._memo[state._asked].data
    answered = {reply[HEADER_SIZE + 40 * i :][:40] for i in range(6)}
    assert found(client, seen.all) == answered & seen.all
    client.acknowledged()
    assert not found(client, seen.all)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("end", ["abort", "lost", "refusal", "server"])
def test_a_client_that_ended_holds_nothing(phase: str, end: str) -> None:
    network = network_of(COMPLETE)
    seen = run_to(network, phase)
    client = network.clients[PartyId(0)]
    if client.done:
        client.receive(SERVER, network_abort(network))
    elif end == "abort":
        client.abort(AbortReason.CANCELLED)
    elif end == "lost":
        client.lost(SERVER)
    elif end == "server":
        client.receive(SERVER, network_abort(network))
    else:
        network.call(PartyId(0), lambda: client.receive(SERVER, b"garbage"))
    client.outgoing(), client.events()
    assert not found(client, seen.all)


@pytest.mark.parametrize("tag", [Tag.KEY_LIST, Tag.SHARE_LIST, Tag.UNMASK_REQUEST])
def test_what_a_client_refuses_with_holds_nothing(tag: Tag) -> None:
    """Neither the error nor what it came from keeps a frame that knew a secret."""
    network, seen = network_of(COMPLETE), Seen()
    client: Any = network.clients[PartyId(0)]
    refused: list[RemoteProtocolError] = []
    receive = client.receive

    def received(sender: PartyId, message: bytes) -> None:
        seen.look(network)
        if message[2] == tag:
            message = message[:HEADER_SIZE] + bytes(len(message) - HEADER_SIZE)
        try:
            receive(sender, message)
        except RemoteProtocolError as error:
            refused.append(error)

    client.receive = received
    network.start()
    while not network.server.done and not refused:
        network.step()
    assert len(refused) == 1 and refused[0].__traceback__
    client.outgoing(), client.events()
    del client.receive
    assert not found(refused, seen.all)


def network_abort(network: Network) -> bytes:
    server: Any = network.server
    return Abort(AbortReason.CANCELLED).encode(server._terms.offer)


@pytest.mark.parametrize("phase", PHASES)
def test_a_server_that_aborts_holds_nothing(phase: str) -> None:
    network = network_of(COMPLETE)
    seen = run_to(network, phase)
    for party in range(4):
        network.repeat(PartyId(party))  # amid the phase: some have answered
        seen.look(network)
    network.server.abort(AbortReason.CANCELLED)
    drained(network)
    assert not found(network.server, seen.all)


def test_a_server_holds_sum_and_answers_until_then() -> None:
    """Else the tests around this one would find nothing in any server."""
    network = network_of(COMPLETE)
    seen = run_to(network, "unmask")
    network.repeat(PartyId(0))
    drained(network)
    assert found(network.server, seen.sums) and found(network.server, seen.shares)


@pytest.mark.parametrize("lost", [(), (4,)], ids=["all", "one-lost"])
def test_a_server_that_finished_holds_the_sum_alone(lost: tuple[int, ...]) -> None:
    acts = {("masked-input", PartyId(party)): Act.GONE for party in lost}
    network = network_of(COMPLETE, schedule=Schedule(acts))
    seen = run_to(network, "unmask")
    while not network.server.done:
        network.step()
    drained(network)
    total = network.server.result()
    assert found(network.server, lanes(total.vector)) == lanes(total.vector)
    assert not found(network.server, seen.all - lanes(total.vector))


@pytest.mark.parametrize("gone", [(4, 5), (3, 4, 5)], ids=["share-error", "below-threshold"])
def test_a_server_whose_unmasking_failed_holds_nothing(gone: tuple[int, ...]) -> None:
    def wire(message: Carried) -> list[bytes]:
        lie = message.sender == 0 and message.data[2] == Tag.UNMASK_ANSWER
        return [flip(message.data, 8 * (HEADER_SIZE + 7)) if lie else message.data]

    acts = {("unmask", PartyId(party)): Act.GONE for party in gone}
    network = network_of(COMPLETE, schedule=Schedule(acts), wire=wire)
    seen = run_to(network, "unmask")
    with pytest.raises(Aborted):
        network.run()
    drained(network)
    assert not found(network.server, seen.all)


def test_a_server_amid_its_jobs_lets_go_of_what_is_derived() -> None:
    """Seeds end with the keys made of them, and those with the masks."""
    network = network_of(COMPLETE)
    seen = run_to(network, "unmask")
    network.step()
    drained(network)
    assert network.server.jobs() and found(network.server, seen.masks)
    assert not found(network.server, seen.seeds | seen.shares)
    network.server.abort(AbortReason.CANCELLED)
    drained(network)
    assert not found(network.server, seen.all)


# The sum in the clear, and the ring


def test_the_sum_in_the_clear_ends_too() -> None:
    session = session_of(PlainSumParams(3, 2))
    for ending in ("finish", "abort"):
        network = Network.of(PLAIN, session, inputs_of(3))
        secrets = set().union(*(lanes(vector) for vector in inputs_of(3).values()))
        assert found(network.clients[PartyId(0)], secrets)
        network.start()
        for party in range(3):
            network.repeat(PartyId(party))
        sums = lanes(network.server._sum)  # type: ignore[attr-defined]
        assert found(network.server, sums)
        if ending == "abort":
            network.server.abort(AbortReason.CANCELLED)
        else:
            network.server.close_phase()
            sums -= lanes(network.server.result().vector)
        drained(network)
        assert not sums or not found(network.server, sums)
        assert not found(network.server, secrets)
        for client in network.clients.values():
            assert client.done and not found(client, secrets)


@pytest.mark.parametrize("ending", ["done", "abort", "lost"])
def test_a_ring_party_that_ended_holds_the_total_alone(ending: str) -> None:
    made = session_of(RingParams(4, True), layout=LAYOUT)
    parties = [ring_party(made, i) for i in range(4)]
    secrets = set().union(*(lanes(vector) for vector in inputs_of(4).values()))
    initiator: Any = parties[0]
    secrets |= lanes(initiator._offset)
    assert found(initiator, secrets)
    for party in parties:
        party.start()
    carried = {i: list(party.outgoing()) for i, party in enumerate(parties)}
    secrets |= {m.data[HEADER_SIZE:] for m in carried[0]}
    if ending == "done":
        while any(carried.values()):
            for sender, messages in carried.items():
                for message in messages:
                    parties[message.to].receive(PartyId(sender), message.data)
            carried = {i: list(party.outgoing()) for i, party in enumerate(parties)}
        secrets -= lanes(parties[0].result().vector)
    for party in parties:
        if ending == "abort":
            party.abort(AbortReason.CANCELLED)
        elif ending == "lost":
            party.lost(PartyId(1))
            party.lost(PartyId(2))
        party.outgoing(), party.events()
        assert party.done and not found(party, secrets)


def ring_party(session: Session, me: int) -> RingParty:
    party = RingParty(session, PartyId(me), randomness=counter_randomness(bytes([me])))
    party.set_input(inputs_of(4)[PartyId(me)], PAYLOAD)
    return party


def test_a_ring_party_takes_one_input() -> None:
    """Also once it has passed the first one on, and keeps nothing of a second."""
    party = ring_party(session_of(RingParams(4, True), layout=LAYOUT), 0)
    party.start()
    with pytest.raises(LocalProtocolError, match="called once"):
        party.set_input(inputs_of(4)[PartyId(1)], PAYLOAD)
    assert not found(party, lanes(inputs_of(4)[PartyId(1)]))
