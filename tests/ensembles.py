"""Small batches of additive sums for tests: parameters, sessions, servers, and ways to look in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from secagg import sansio
from secagg.committee import Committee, Keys
from secagg.crypto import sign
from secagg.drive.pump import Wire
from secagg.errors import Aborted
from secagg.layout import Expander, Layout, RingVector, Segment
from secagg.mask import add_streams
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.sansio import Outgoing, RingTotal
from secagg.testing import Carried, Network, Schedule, counter_randomness, plain_sum
from secagg.testing import Wire as ClientWire
from secagg.types import COLLECTOR, PartyId, Seed, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive import PROTOCOL
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.additive.sharing import context_of, shape_of
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.messages import Head, Receipt, Report, Tag, read_head
from secagg_protocols.reports.shape import Shape
from tests.networks import LAYOUT, PAYLOAD, inputs_of

TINY = Layout((Segment(Ring(3), 1),))
"""One element: its messages are short enough to break every byte of each."""

LEADER, HELPER = server_id(0), server_id(1)


def params_of(
    servers: int = 2, *, direct: bool = False, clients: int = 4, smallest: int = 3
) -> AdditiveParams:
    return AdditiveParams(clients, servers, smallest, direct)


@cache
def keys_of(servers: int, *, seed: bytes = b"keys", epoch: int = 0) -> Keys:
    return Keys(servers, counter_randomness(seed), epoch=epoch)


@dataclass(frozen=True)
class Setting:
    """Everything that the machines of one batch are made from."""

    params: AdditiveParams
    layout: Layout = LAYOUT
    payload: bytes = PAYLOAD
    batch: int = 0
    epoch: int = 0
    plan: bytes = bytes([1]) * 32

    @property
    def keys(self) -> Keys:
        return keys_of(self.params.servers, epoch=self.epoch)

    @property
    def committee(self) -> Committee:
        return self.keys.committee

    @property
    def session(self) -> Session:
        return Session(
            bytes(16),
            self.plan,
            self.payload,
            self.params,
            self.layout,
            self.committee,
            self.batch,
        )

    @property
    def context(self) -> Context:
        return self.context_over(add_streams)

    def context_over(self, expander: Expander) -> Context:
        """With other streams."""
        return context_of(self.session, expander)

    @property
    def shape(self) -> Shape:
        return shape_of(self.layout, self.params.servers)

    def servers(self, expander: Expander = add_streams) -> dict[PartyId, Any]:
        return dict(PROTOCOL.family.machines(self.session, self.keys, expander=expander))

    def client(self, party: int, vector: RingVector, *, seed: bytes = b"") -> Any:
        """With its input, and not yet started."""
        one = PROTOCOL.family.client(
            self.session,
            PartyId(party),
            randomness=counter_randomness(seed + party.to_bytes(4)),
            expander=add_streams,
        )
        one.set_input(vector, self.payload)
        return one

    def client_of_rows(self, rows: Mapping[bytes, bytes]) -> Any:
        """Made again, and started."""
        one = PROTOCOL.family.client(
            self.session, PartyId(0), randomness=counter_randomness(b""), expander=add_streams
        )
        one.restore(rows.items())
        one.start()
        return one

    def member(self, index: int) -> Any:
        return PROTOCOL.family.member(
            self.session, index, self.keys.servers[index], expander=add_streams
        )

    def collector(self) -> Any:
        return PROTOCOL.family.collector(self.session, self.keys.collector)

    def report(self, party: int, *, seed: bytes = b"") -> list[Outgoing]:
        """What a client says: one message to the leader, or one to each server."""
        inputs = inputs_of(self.params.clients, self.layout)
        client = self.client(party, inputs[PartyId(party)], seed=seed)
        client.start()
        return list(client.outgoing())

    def network(
        self,
        schedule: Schedule | None = None,
        *,
        wire: ClientWire | None = None,
        between: Wire | None = None,
        inputs: Mapping[PartyId, RingVector] | None = None,
        expander: Expander = add_streams,
    ) -> Network:
        inputs = inputs_of(self.params.clients, self.layout) if inputs is None else inputs
        clients = {party: self.client(party, vector) for party, vector in inputs.items()}
        network = Network(self.servers(expander), clients, schedule)
        if wire is not None:
            network.wire = wire
        if between is not None:
            network.between = between
        return network

    def reported(self, reports: Mapping[int, Sequence[Outgoing]], **options: Any) -> Network:
        """Started servers that have been handed these reports, and no clients."""
        network = self.network(inputs={}, **options)
        network.start()
        for party, messages in reports.items():
            for message in messages:
                network.hand_over(PartyId(party), message)
        return network


@dataclass(frozen=True)
class Outcome:
    """How a batch ended. failure: None if there is a total."""

    total: RingTotal | None
    failure: Aborted | None
    dropped: frozenset[PartyId]

    @property
    def kind(self) -> str:
        """exact: all clients are in the total; without: some are not; abort: there is none."""
        if self.total is None:
            return "abort"
        return "without" if self.total.dropped else "exact"


def outcome(network: Network, setting: Setting) -> Outcome:
    """Runs to an end, whatever it is. A total must be the plain sum of its contributors."""
    network.start()
    for _ in range(8):
        if not network.over:
            network.step()
    drops = frozenset(
        e.party
        for who, e in network.events
        if who in (LEADER, COLLECTOR) and isinstance(e, sansio.Dropped)
    )
    try:
        total = network.result()
    except Aborted as error:
        return Outcome(None, error, drops)
    assert_exact(total, setting)
    return Outcome(total, None, drops)


def assert_exact(total: RingTotal, setting: Setting, seed: bytes = b"") -> None:
    inputs = inputs_of(setting.params.clients, setting.layout, seed)
    expected = plain_sum(setting.layout, inputs, total.contributors)
    assert [lane.tolist() for lane in total.vector] == expected
    assert total.count == len(total.contributors)
    assert setting.params.min_survivors <= total.count <= setting.params.clients


def tag_of(data: bytes) -> Tag:
    return Tag(data[2])


def between(
    sender: PartyId, to: PartyId, tag: Tag, change: Callable[[bytes], Sequence[bytes]]
) -> Wire:
    """The first message of this kind between two servers, or to the collector, is changed."""
    done = False

    def wire(who: PartyId, message: Outgoing) -> Sequence[bytes]:
        nonlocal done
        if done or (who, message.to, tag_of(message.data)) != (sender, to, tag):
            return (message.data,)
        done = True
        return change(message.data)

    return wire


def carried(
    sender: PartyId, to: PartyId, tag: Tag, change: Callable[[bytes], Sequence[bytes]]
) -> ClientWire:
    """The same of a message between a client and a server."""

    def wire(message: Carried) -> Sequence[bytes]:
        hit = (message.sender, message.to, tag_of(message.data)) == (sender, to, tag)
        return change(message.data) if hit else (message.data,)

    return wire


class Log:
    """An honest wire between servers that keeps what it carries: (sender, message)."""

    def __init__(self) -> None:
        self.said: list[tuple[PartyId, Outgoing]] = []

    def __call__(self, sender: PartyId, message: Outgoing) -> Sequence[bytes]:
        self.said.append((sender, message))
        return (message.data,)

    def of(self, tag: Tag, sender: PartyId | None = None) -> list[bytes]:
        return [
            m.data
            for who, m in self.said
            if tag_of(m.data) is tag and (sender is None or who == sender)
        ]


def told(setting: Setting) -> Log:
    """Everything that servers say to each other and the collector in an honest batch."""
    log = Log()
    network = setting.network(between=log)
    assert outcome(network, setting).kind == "exact"
    return log


def head_of(setting: Setting, data: bytes) -> Head:
    """Of a report, or of a share of one."""
    head = read_head(Reader(data), setting.context.id, setting.shape)
    assert head is not None
    return head


def receipt_of(
    setting: Setting, head: Head, index: int, *, digest: bytes = b"", task: bytes = b""
) -> bytes:
    """Server `index` says that it has stored the report: of this digest and task, if not of its
    own."""
    task = task or setting.context.id
    signed = Receipt.to_sign(task, index, digest or head.digest)
    signature = sign.sign(setting.keys.servers[index].signing, signed)
    return Receipt(head.id, index, signature).encode(setting.context.id)


def parsed(setting: Setting, data: bytes) -> Report:
    """What a client says to a leader that relays."""
    reader = Reader(data)
    read_header(reader)
    return Report.read(reader, setting.shape)


def key_of(party: int, *, seed: bytes = b"") -> Seed:
    """The secret of the key of that client's report, as Setting.report makes it."""
    draw = counter_randomness(seed + party.to_bytes(4))
    draw(16)
    return Seed(draw(32))


def other(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, **changes)
