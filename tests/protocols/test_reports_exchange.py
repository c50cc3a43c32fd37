"""A scheme whose reports are checked, over the machines as they are (20-additive.md §5.3, A15).

The toy: a number of one byte and a proof that it is even, both split modulo 256 between servers. A
server's part of the check is its share of the number's last bit's proof; together they say whether
the client has told the truth. It hides nothing and needs no edit outside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from secagg.committee import ServerSecrets
from secagg.errors import Aborted, BelowThreshold, StorageError, WireError
from secagg.layout import Layout, RingVector, Segment
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.sansio import Dropped, Need, Outgoing
from secagg.testing import counter_randomness
from secagg.types import COLLECTOR, AbortReason, Fault, PartyId, Randomness, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.reports import messages
from secagg_protocols.reports.book import CHECKED
from secagg_protocols.reports.client import ReportClient
from secagg_protocols.reports.collector import Collector
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.helper import Helper
from secagg_protocols.reports.leader import Leader
from secagg_protocols.reports.messages import Ruling, Tag, Verdict
from secagg_protocols.reports.shape import Shape
from tests.ensembles import keys_of

LAYOUT = Layout((Segment(Ring(8), 1),))
PLAN, PAYLOAD = bytes([7]) * 32, bytes([8]) * 32
LEADER = server_id(0)


@dataclass(frozen=True)
class Even:
    """Counts even numbers only. Share: (value, claim) modulo 256, where claims of a valid report
    sum to half of what its values sum to."""

    servers: int
    jobs: bool = False

    @property
    def shape(self) -> Shape:
        return Shape.of((2,) * self.servers, 1, public=1, part=2, message=2)

    def split(
        self, vector: RingVector, id: bytes, randomness: Randomness, /
    ) -> tuple[bytes, Sequence[bytes]]:
        value = int(vector[0][0])
        rest = [randomness(2) for _ in range(1, self.servers)]
        own = (
            (value - sum(r[0] for r in rest)) % 256,
            (value // 2 - sum(r[1] for r in rest)) % 256,
        )
        return id[:1], [bytes(own), *rest]

    def open(self, index: int, id: bytes, public: bytes, plaintext: bytes, /) -> tuple[int, int]:
        if len(plaintext) != 2 or public != id[:1]:
            raise WireError("two bytes, under the public share of this report")
        return plaintext[0], plaintext[1]

    def begin(self, share: tuple[int, int], /) -> tuple[tuple[int, int], bytes]:
        return share, bytes(share)

    def combine(self, parts: Sequence[bytes], /) -> bytes:
        value, claim = (sum(part[i] for part in parts) % 256 for i in (0, 1))
        if value != 2 * claim % 256:
            raise WireError("an odd number")
        return bytes((value, claim))

    def end(self, checking: tuple[int, int], message: bytes, /) -> int:
        if message[0] != 2 * message[1] % 256:
            raise WireError("an odd number")
        return checking[0]

    def zeros(self) -> np.ndarray[Any, Any]:
        return np.zeros(1, np.uint8)

    def add(self, total: np.ndarray[Any, Any], share: int, /) -> None:
        total += np.uint8(share)

    def write(self, total: np.ndarray[Any, Any], /) -> bytes:
        return total.tobytes()

    def read(self, data: bytes, /) -> int:
        if len(data) != 1:
            raise WireError("one byte")
        return data[0]

    store = write

    def restore(self, row: bytes, /) -> np.ndarray[Any, Any]:
        return np.frombuffer(row, np.uint8).copy()

    def vector(self, total: np.ndarray[Any, Any], /) -> RingVector:
        return (total,)


@dataclass(frozen=True)
class Toy:
    """What a batch is made from."""

    servers: int = 2
    direct: bool = False
    jobs: bool = False
    batch: int = 0

    @property
    def context(self) -> Context:
        params = AdditiveParams(4, self.servers, 3, self.direct)
        committee = keys_of(self.servers).committee
        session = Session(bytes(16), PLAN, PAYLOAD, params, LAYOUT, committee)
        return Context.of(session, "even", Even(self.servers, self.jobs))

    def server(self, index: int) -> Any:
        secrets: ServerSecrets = keys_of(self.servers).servers[index]
        if index == 0:
            return Leader(self.context, self.batch, secrets)
        return Helper(self.context, self.batch, index, secrets)

    def client(self, number: int, value: int) -> Any:
        randomness = counter_randomness(bytes([number]))
        client = ReportClient(self.context, PAYLOAD, randomness=randomness)
        client.set_input((np.array([value], np.uint8),), PAYLOAD)
        return client


MODES = [Toy(m, direct, jobs) for m in (2, 3) for direct in (False, True) for jobs in (False, True)]
EVERY_MODE = pytest.mark.parametrize("toy", MODES, ids=str)
VALUES = (2, 40, 200, 6)

Crash = Callable[["Net", PartyId], bool]
"""Whether this server dies after what it has just written."""


class Net:
    """Servers with stores, clients that never go, and whatever is on its way between them."""

    def __init__(
        self, toy: Toy, values: Sequence[int] = VALUES, crash: Crash | None = None
    ) -> None:
        self.toy, self.crash = toy, crash
        self.servers = {server_id(j): toy.server(j) for j in range(toy.servers)}
        self.rows: dict[PartyId, dict[bytes, bytes]] = {party: {} for party in self.servers}
        self.clients = {PartyId(i): toy.client(i, value) for i, value in enumerate(values)}
        self.collector = Collector(toy.context, toy.batch, keys_of(toy.servers).collector)
        self.queue: list[tuple[PartyId, Outgoing]] = []
        self.events: list[Any] = []
        self.writes = 0
        for machine in (*self.servers.values(), *self.clients.values()):
            machine.start()
        self.settle()

    def settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for party in list(self.servers):
                moved |= self.step(party)
            for who, client in self.clients.items():
                self.queue += [(who, message) for message in client.outgoing()]
            self.queue += [(COLLECTOR, m) for m in self.collector.outgoing()]
            moved |= bool(self.queue)
            queue, self.queue = self.queue, []
            for sender, message in queue:
                self.carry(sender, message)

    def step(self, party: PartyId) -> bool:
        machine = self.servers[party]
        jobs = list(machine.jobs())
        assert bool(jobs) == (machine.need is Need.JOBS)
        for job in jobs:
            machine.finish(job, job())
        writes = machine.writes()
        if writes and self.crash and self.crash(self, party):
            self.again(party)
            return True
        for write in writes:
            self.writes += 1
            self.rows[party].pop(write.key, None)
            if write.value is not None:
                self.rows[party][write.key] = write.value
        self.events += machine.events()
        if writes and self.crash and self.crash(self, party):
            self.again(party)
            return True
        self.queue += [(party, message) for message in machine.outgoing()]
        return bool(jobs)

    def again(self, party: PartyId) -> None:
        """It dies, with what it had said and not sent, and every link of it is new."""
        machine = self.toy.server(server_id(0) - party)
        machine.restore(reversed(self.rows[party].items()))
        machine.start()
        self.servers[party] = machine
        for other in self.servers.keys() - {party}:
            machine.reconnected(other)
            self.servers[other].reconnected(party)
        for client in self.clients.values():
            client.reconnected(party)
        self.collector.reconnected(party)

    def carry(self, sender: PartyId, message: Outgoing) -> None:
        if message.to in self.servers:
            self.servers[message.to].receive(sender, message.data)
        elif message.to == COLLECTOR:
            self.collector.receive(sender, message.data)
        elif message.to in self.clients:
            self.clients[message.to].receive(sender, message.data)

    def total(self) -> int:
        while self.servers[LEADER].phase == "upload":  # again, where it has died of it
            self.servers[LEADER].close_phase()
            self.settle()
        self.collector.start()
        self.settle()
        return int(self.collector.result().vector[0][0])

    def faults(self) -> Mapping[PartyId, Fault]:
        return {e.party: e.fault for e in self.events if isinstance(e, Dropped)}


@EVERY_MODE
def test_a_scheme_with_an_exchange_sums_exactly(toy: Toy) -> None:
    """Rule A15. Every client has its receipts, and nothing of a check is stored any more."""
    net = Net(toy)
    assert all(client.done and client.ended is None for client in net.clients.values())
    assert net.total() == sum(VALUES) % 256
    assert net.collector.result().count == 4
    assert not [key for rows in net.rows.values() for key in rows if key[:1] == CHECKED]


@EVERY_MODE
def test_a_report_that_fails_its_check_is_dropped_and_named(toy: Toy) -> None:
    """Row 64, rule A15: the others are summed."""
    net = Net(toy, (2, 41, 200, 6))
    assert net.faults() == {PartyId(1): Fault.REJECTED}
    details = [e.detail for e in net.events if isinstance(e, Dropped)]
    assert details == ["its check failed: it is not a valid report"]
    assert net.total() == 208
    assert net.collector.result().count == 3


def counting(toy: Toy) -> int:
    """How often a server may die in a batch."""
    seen = 0

    def count(net: Net, party: PartyId) -> bool:
        nonlocal seen
        seen += 1
        return False

    assert Net(toy, crash=count).total() == sum(VALUES) % 256
    return seen


@cache
def dying(toy: Toy, at: int) -> Net:
    seen = 0

    def crash(net: Net, party: PartyId) -> bool:
        nonlocal seen
        seen += 1
        return seen == at

    return Net(toy, crash=crash)


@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
def test_a_server_may_die_before_and_after_every_write(direct: bool) -> None:
    """Once in a batch, at each moment: the sum is exact, and every receipt is in it."""
    toy = Toy(2, direct)
    moments = counting(toy)
    assert moments > 20
    for at in range(1, moments + 1):
        net = dying(toy, at)
        assert net.total() == sum(VALUES) % 256, at
        assert all(client.done and client.ended is None for client in net.clients.values()), at


def checked(direct: bool = False) -> tuple[Any, Any, bytes]:
    """A helper that has ended the check of a report, its id, and what it ended on."""
    net = Net(Toy(2, direct))
    helper = net.toy.server(1)
    helper.start()
    report = next(iter(net.toy.client(0, 2)._kept.messages), None)
    assert report is None  # it has not begun
    client = net.toy.client(0, 2)
    client.start()
    leader = net.toy.server(0)
    leader.start()
    for message in client.outgoing():
        leader.receive(PartyId(0), message.data)
    for message in leader.outgoing():
        if message.to == server_id(1):
            helper.receive(LEADER, message.data)
    (part,) = helper.outgoing()
    leader.receive(server_id(1), part.data)
    (combined,) = leader.outgoing()
    helper.receive(LEADER, combined.data)
    return helper, leader, combined.data


def test_a_check_ends_once_and_on_one_message() -> None:
    """Rule A15: the same message again has the same answer, another is equivocation."""
    helper, _, combined = checked()
    (verdict,) = helper.outgoing()
    helper.receive(LEADER, combined)
    assert helper.outgoing() == [verdict]
    helper.events()
    helper.receive(LEADER, combined[:-2] + bytes((4, 2)))
    assert {e.fault for e in helper.events() if isinstance(e, Dropped)} == {Fault.EQUIVOCATION}


def test_a_message_that_does_not_end_a_check_rejects_the_report() -> None:
    """Row 64, rule A15."""
    net = Toy(2)
    helper, leader = net.server(1), net.server(0)
    client = net.client(0, 2)
    for machine in (helper, leader, client):
        machine.start()
    leader.receive(PartyId(0), client.outgoing()[0].data)
    share = next(m for m in leader.outgoing() if m.to == server_id(1))
    helper.receive(LEADER, share.data)
    part = ruling_of(helper.outgoing()[0].data, Tag.VERDICT)
    assert part.verdict is Verdict.CHECKING and helper.pending == 1
    wrong = Ruling(part.id, part.digest, Verdict.CHECKING, bytes((5, 2)))
    helper.receive(LEADER, wrong.encode(Tag.DECISION, net.context.batch(0)))
    assert ruling_of(helper.outgoing()[0].data, Tag.VERDICT).verdict is Verdict.REJECTED
    assert helper.pending == 0 and not helper.done


def ruling_of(data: bytes, tag: Tag) -> Ruling:
    reader = Reader(data)
    assert read_header(reader)[0] == tag
    return Ruling.read(reader, tag, Even(2).shape)


def test_what_is_not_checked_yet_is_not_included() -> None:
    """Rule A6: a leader that skips the check disagrees with whoever has not ended it."""
    toy = Toy(2)
    helper, leader, client = toy.server(1), toy.server(0), toy.client(0, 2)
    for machine in (helper, leader, client):
        machine.start()
    leader.receive(PartyId(0), client.outgoing()[0].data)
    helper.receive(LEADER, next(m for m in leader.outgoing() if m.to == server_id(1)).data)
    part = ruling_of(helper.outgoing()[0].data, Tag.VERDICT)
    hasty = Ruling(part.id, part.digest, Verdict.ACCEPTED).encode(
        Tag.DECISION, toy.context.batch(0)
    )
    helper.receive(LEADER, hasty)
    assert [e.fault for e in helper.events() if isinstance(e, Dropped)] == [Fault.DISAGREEMENT]


def test_without_an_exchange_there_is_no_such_verdict() -> None:
    """The bytes of a scheme without one are what they were."""
    reader = Reader(Ruling(bytes(16), bytes(32), Verdict.CHECKING).encode(Tag.VERDICT, bytes(32)))
    read_header(reader)
    with pytest.raises(WireError, match="unknown"):
        Ruling.read(reader, Tag.VERDICT, Shape.of((1, 1), 1))


def test_what_a_check_ended_on_is_stored_and_taken_up() -> None:
    helper, leader, _ = checked()
    rows = {w.key: w.value for w in helper.writes() if w.value is not None}
    assert [key[:1] for key in rows].count(CHECKED) == 1
    again = Toy(2).server(1)
    again.restore(rows.items())
    again.start()
    assert [p.share for p in again._book.pending.values()] == [
        p.share for p in helper._book.pending.values()
    ]
    torn = {key: (b"\1\1" if key[:1] == CHECKED else value) for key, value in rows.items()}
    with pytest.raises(StorageError, match="does not open"):
        Toy(2).server(1).restore(torn.items())


def test_jobs_of_a_batch_that_is_over_have_no_effect() -> None:
    toy = Toy(2, jobs=True)
    leader, client = toy.server(0), toy.client(0, 2)
    leader.start(), client.start()
    (report,) = client.outgoing()
    leader.receive(PartyId(0), report.data)
    leader.receive(PartyId(5), report.data)  # a repeat meanwhile gets no receipt
    (job,) = leader.jobs()
    assert leader.need is Need.JOBS and not leader.jobs() and not leader.outgoing()
    leader.abort(AbortReason.CANCELLED)
    leader.outgoing(), leader.writes()
    leader.finish(job, job())
    assert not leader.outgoing() and not leader.writes() and leader.need is Need.NOTHING


def test_too_few_valid_reports_give_no_sum() -> None:
    net = Net(Toy(2), (2, 41, 43, 6))
    with pytest.raises(BelowThreshold, match="2 reports, and the smallest batch has 3"):
        net.servers[LEADER].close_phase()
        net.servers[LEADER].result()
    with pytest.raises(Aborted):
        replace(net.toy).server(0)
        net.collector.start()
        net.settle()
        net.collector.result()


def test_an_open_batch_is_said_with_its_number() -> None:
    net = Net(Toy(2))
    net.servers[LEADER].receive(COLLECTOR, messages.bare(Tag.COLLECT, net.toy.context.batch(0)))
    (message,) = net.servers[LEADER].outgoing()
    assert message.data == messages.open_batch(net.toy.context.batch(0), 4)
