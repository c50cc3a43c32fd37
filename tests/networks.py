"""Small SecAgg rounds for tests: parameters, sessions, inputs, and ways to look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from secagg.errors import Aborted
from secagg.layout import Layout, RingVector, Segment
from secagg.mask import add_streams
from secagg.protocol import Params, ProtocolInfo, Session
from secagg.ring import Ring
from secagg.sansio import ClientMachine, Dropped, RingTotal, ServerMachine
from secagg.suite import SUITE_1
from secagg.testing import Carried, Network, Schedule, Wire, counter_randomness, plain_sum
from secagg.types import SERVER, Fault, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import HEADER_SIZE, read_header
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams

COMPLETE = SecAggParams(clients=6, degree=5, threshold=4, min_clients=4, min_survivors=4)
REGULAR = SecAggParams(clients=8, degree=4, threshold=3, min_clients=6, min_survivors=5)
LAYOUT = Layout((Segment(Ring(5), 7), Segment(Ring(32), 3)))
PHASES = tuple(phase.name for phase in SECAGG.phases(COMPLETE, SUITE_1))
PAYLOAD = bytes([9]) * 32


def session_of(params: Params, *, layout: Layout = LAYOUT, payload: bytes = PAYLOAD) -> Session:
    return Session(bytes(16), bytes([1]) * 32, payload, params, layout)


def inputs_of(
    clients: int, layout: Layout = LAYOUT, seed: bytes = b""
) -> dict[PartyId, RingVector]:
    draw = counter_randomness(b"inputs" + seed)
    return {
        PartyId(i): tuple(
            np.frombuffer(draw(s.length * s.group.dtype.itemsize), s.group.dtype)
            & s.group.dtype.type(s.group.mask)
            for s in layout.segments
        )
        for i in range(clients)
    }


def network_of(
    params: SecAggParams = COMPLETE,
    *,
    schedule: Schedule | None = None,
    wire: Wire | None = None,
    seed: bytes = b"",
    payload: bytes = PAYLOAD,
    layout: Layout = LAYOUT,
    info: ProtocolInfo = SECAGG,
    inputs: Mapping[PartyId, RingVector] | None = None,
) -> Network:
    network = Network.of(
        info,
        session_of(params, layout=layout, payload=payload),
        inputs_of(params.clients, layout) if inputs is None else inputs,
        seed=seed,
        schedule=schedule,
    )
    if wire is not None:
        network.wire = wire
    return network


def assert_exact(network: Network, layout: Layout = LAYOUT) -> RingTotal:
    """Runs to the end; the total is the plain sum of the standard inputs of its contributors."""
    total = network.run()
    inputs = inputs_of(len(network.clients), layout)
    assert [lane.tolist() for lane in total.vector] == plain_sum(layout, inputs, total.contributors)
    return total


def faults(network: Network) -> dict[PartyId, Fault]:
    return {
        e.party: e.fault for who, e in network.events if who == SERVER and isinstance(e, Dropped)
    }


def tag_of(data: bytes) -> Tag:
    return Tag(read_header(Reader(data))[0])


def body(data: bytes) -> bytes:
    return data[HEADER_SIZE:]


def replacing(sender: int, tag: Tag, change: Callable[[bytes], bytes]) -> Wire:
    """One client's message of one kind is changed on the way."""

    def wire(message: Carried) -> Sequence[bytes]:
        hit = message.sender == sender and tag_of(message.data) is tag
        return (change(message.data),) if hit else (message.data,)

    return wire


def replacing_to(receiver: int, tag: Tag, change: Callable[[bytes], bytes]) -> Wire:
    """A lying server: what it sends one client is changed."""

    def wire(message: Carried) -> Sequence[bytes]:
        hit = message.to == receiver and tag_of(message.data) is tag
        return (change(message.data),) if hit else (message.data,)

    return wire


def flip(data: bytes, bit: int) -> bytes:
    at, offset = divmod(bit, 8)
    return data[:at] + bytes([data[at] ^ 1 << offset]) + data[at + 1 :]


def sent_by(network: Network, sender: int, tag: Tag) -> list[bytes]:
    return [m.data for m in network.sent if m.sender == sender and tag_of(m.data) is tag]


def sent_to(network: Network, receiver: int, tag: Tag) -> list[bytes]:
    return [m.data for m in network.sent if m.to == receiver and tag_of(m.data) is tag]


def aborts(network: Network) -> Aborted:
    """Runs to an end without a sum."""
    try:
        network.run()
    except Aborted as error:
        return error
    raise AssertionError("the round ended with a sum")


def rebuilt(network: Network) -> ServerMachine:
    """Another server in the state of this network's, which has heard what this one has heard.

    Machines are not copied, and all that decides what a server is are the messages it was handed.
    """
    kept: Any = network.server
    server = SECAGG.family.server(kept._terms.session, expander=add_streams)  # type: ignore[misc]
    server.start()
    for message in network.sent:
        if message.sender == SERVER:
            continue
        while server.phase != message.phase:
            server.close_phase()
        server.receive(message.sender, message.data)
    while server.phase != network.server.phase:
        server.close_phase()
    server.outgoing(), server.events()
    return server


def standing(client: ClientMachine) -> Any:
    """The value that a SecAgg client is at: what it knows, and nothing else."""
    return client._now  # type: ignore[attr-defined]


def sum_of(server: ServerMachine) -> RingVector:
    """The accumulators of a SecAgg server that adds or removes masks."""
    return server._stage._masked.total  # type: ignore[attr-defined,no-any-return]


def dealers_of(server: ServerMachine, holder: int) -> list[int]:
    """Whose shares a client of a SecAgg server answers with, once U3 is fixed."""
    return server._stage._masked.dealers(holder)  # type: ignore[attr-defined,no-any-return]


def secrets_of(client: ClientMachine) -> Iterator[bytes]:
    """Every key, seed and share that it holds, and the lanes of its input."""
    now: Any = standing(client)
    own = getattr(now, "keys", now)
    yield from (pair.secret.expose() for name in "cs" if (pair := getattr(own, name, None)))
    yield from (seed.expose() for seed in getattr(now, "sealing", {}).values())
    if hasattr(now, "b"):
        yield now.b.expose()
    for pair in getattr(now, "held", {}).values():
        yield from (pair.b_share, pair.s_share)
    vector = client._vector  # type: ignore[attr-defined]
    yield from (lane.tobytes() for lane in vector or () if lane.nbytes >= 8)


class Script:
    """What one client was sent in an honest round, to bring fresh copies of it into any state."""

    def __init__(self, params: SecAggParams = COMPLETE, party: int = 0) -> None:
        network = network_of(params)
        network.run()
        self.params, self.party = params, PartyId(party)
        self.inbox = [m.data for m in network.sent if m.to == party]
        self.outbox = [m.data for m in network.sent if m.sender == party]

    def client(self, received: int, *, with_input: bool = True) -> ClientMachine:
        """Started, and after the first `received` messages; its mailbox is empty."""
        client = SECAGG.family.client(
            session_of(self.params),
            self.party,
            randomness=counter_randomness(self.party.to_bytes(4)),
            expander=add_streams,
        )
        if with_input:
            client.set_input(inputs_of(self.params.clients)[self.party], PAYLOAD)
        client.start()
        for message in self.inbox[:received]:
            client.receive(SERVER, message)
        client.outgoing(), client.events()
        return client
