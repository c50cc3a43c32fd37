"""The asyncio service and its clients, on the toy protocol: every sum against plain integers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect as raw_connect
from websockets.exceptions import ConnectionClosed

from secagg import party
from secagg.drive import participant
from secagg.drive.aio import (
    Contribution,
    Inputs,
    Offer,
    Outcome,
    Service,
    connect,
    message_limit,
    participate,
    serve,
)
from secagg.drive.participant import Participant
from secagg.drive.shell import Shell
from secagg.effects import Peer
from secagg.errors import (
    BelowThreshold,
    InputError,
    LinkClosed,
    LinkTimeout,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    RangeError,
    RemoteProtocolError,
    StorageError,
    WireError,
)
from secagg.fields import FixedPoint, Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.quota import Limits
from secagg.rounds.server import ServerRounds
from secagg.sansio import Dropped, Event, Finished, PhaseEntered, QuorumReached
from secagg.store.memory import MemoryLedger, MemoryStore
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.types import AbortReason, Fault, PartyId, Role
from secagg.wire.frame import (
    HEAD_SIZE,
    Announce,
    DigestOnly,
    Message,
    Over,
    decode_frame,
    payload_digest,
)

LENGTH = 5
LIMIT = 1 << 16
SOON = 20.0
"""Seconds that no test waits for: a deadline that only ends a test that hangs."""
SHORT = 0.5
"""Seconds of a deadline that does pass, on the clock of `tests.patience`."""
patient = pytest.mark.usefixtures("patience")
TASK = b"the model of this round"
NONCE = bytes(16)


def nonce(number: int) -> bytes:
    """The service's randomness in these tests is a counter of rounds."""
    return number.to_bytes(16)


def toy(clients: int, dropout: float = 0.5, length: int = LENGTH) -> Plan:
    fields = {"update": Integer(length, 1000)}
    return plan(clients=clients, fields=fields, corrupt=0, dropout=dropout, protocol="plainsum")


def vector(who: int, number: int, length: int = LENGTH) -> list[int]:
    return [(7 * who + 13 * number + 3 * i) % 2001 - 1000 for i in range(length)]


def inputs(offer: Offer) -> Contribution:
    """Another input each round, so with a name: the payload, which would be one, is the same."""
    values = np.array(vector(offer.party, offer.round))
    return Contribution({"update": values}, name=f"of round {offer.round}")


def check(total: party.Aggregate, contributors: Iterable[int], number: int = 1) -> None:
    """The sum over exactly these, in plain integers."""
    columns = zip(*(vector(who, number) for who in contributors), strict=True)
    assert total.contributors == set(contributors)
    assert total.levels["update"].tolist() == [sum(column) for column in columns]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Kernels compile on first use, which may take longer than a short deadline."""
    agreed = toy(1, 0)
    frame = Announce(NONCE, PartyId(0), (1,), b"", TASK)
    server = party.Server(agreed, nonce=NONCE, payload_digest=frame.payload_digest)
    server.start()
    server.receive(PartyId(0), upload(agreed, frame)[HEAD_SIZE:])
    server.close_phase()
    check(server.aggregate(), [0])


@dataclass
class Bench:
    """A service, and clients that join it one after the other, so that their ids are known."""

    service: Service
    tasks: list[asyncio.Task[tuple[Outcome, ...]]]

    async def link(self) -> Link:
        ours, theirs = memory.pair()
        here = self.service.connected
        self.tasks.append(asyncio.create_task(self._serve(theirs)))
        await self.service.ready(here + 1, SOON)
        return ours

    async def _serve(self, link: Link) -> tuple[Outcome, ...]:
        await self.service.on_link(link)
        return ()

    async def join(
        self, agreed: Plan, give: Inputs = inputs, link: Link | None = None
    ) -> asyncio.Task[tuple[Outcome, ...]]:
        link = link or await self.link()
        self.tasks.append(asyncio.create_task(participate(link, give, plan=agreed)))
        return self.tasks[-1]


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    counter = iter(range(1, 100))
    limits = getattr(request, "param", Limits(frame=LIMIT))
    made = Bench(Service(limits=limits, randomness=lambda size: next(counter).to_bytes(size)), [])
    yield made
    await made.service.close()
    async with asyncio.timeout(SOON):
        await asyncio.gather(*made.tasks, return_exceptions=True)


async def announced(link: Link) -> Announce:
    frame = decode_frame(await link.receive(), limit=LIMIT)
    assert isinstance(frame, Announce)
    return frame


async def over(link: Link) -> Over:
    while True:
        frame = decode_frame(await link.receive(), limit=LIMIT)
        if isinstance(frame, Over):
            return frame


def upload(agreed: Plan, frame: Announce, number: int = 1) -> bytes:
    """What an honest client answers to an announcement."""
    client = party.Client(
        agreed, frame.party, nonce=frame.nonce, payload_digest=frame.payload_digest
    )
    client.start()
    values = {"update": np.array(vector(frame.party, number))}
    client.set_input(values, payload_digest=frame.payload_digest)
    (out,) = client.outgoing()
    return Message(frame.nonce, out.data).encode()


async def test_several_rounds_over_one_connection_and_real_sockets() -> None:
    agreed = toy(4)
    async with serve(max_size=message_limit(agreed)) as service:

        async def client() -> tuple[Outcome, ...]:
            async with connect(f"ws://127.0.0.1:{service.port}") as link:
                return await participate(link, inputs, plan_digest=agreed.digest())

        tasks = [asyncio.create_task(client()) for _ in range(4)]
        await service.ready(4, SOON)
        for number in (1, 2, 3):
            total = await service.run_round(agreed, TASK, deadlines=SOON)
            check(total, range(4), number)
            assert total.dropped == set()
    for outcomes in await asyncio.gather(*tasks):
        assert [(o.round, o.reason, o.contributors, o.dropped) for o in outcomes] == [
            (number, None, 4, 0) for number in (1, 2, 3)
        ]
        assert {o.party for o in outcomes} == {outcomes[0].party}


async def test_ids_are_the_order_of_arrival_and_the_task_arrives(bench: Bench) -> None:
    seen: dict[int, Offer] = {}

    def recording(arrived: int) -> Inputs:
        async def give(offer: Offer) -> Contribution:
            seen[arrived] = offer
            return inputs(offer)

        return give

    agreed = toy(3)
    for arrived in range(3):
        await bench.join(agreed, recording(arrived))
    await bench.service.run_round(agreed, TASK, deadlines={"upload": 7.5})
    assert {arrived: offer.party for arrived, offer in seen.items()} == {0: 0, 1: 1, 2: 2}
    for offer in seen.values():
        assert (offer.payload, offer.payload_digest) == (TASK, payload_digest(TASK))
        assert offer.plan == agreed and offer.deadlines == {"upload": 7.5}


async def test_a_late_client_waits_for_the_next_round(bench: Bench) -> None:
    """Ids that nobody takes are lost at once: no deadline passes."""
    agreed = toy(3)
    first = await bench.link()
    await bench.join(agreed)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    frame = await announced(first)
    late = await bench.join(agreed)
    await first.send(upload(agreed, frame))
    total = await running
    check(total, [0, 1])
    assert total.report.faults == {2: Fault.LOST}

    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await over(first)
    await first.send(upload(agreed, await announced(first), 2))
    total = await running
    assert total.contributors == {0, 1, 2}
    await bench.service.close()
    assert [(o.round, o.party) for o in await late] == [(1, 2)]


@patient
async def test_a_client_past_the_deadline_is_dropped_and_stays(bench: Bench) -> None:
    """Row 37: a late upload is not summed."""
    agreed = toy(3)
    release = asyncio.Event()

    async def slowly(offer: Offer) -> Contribution:
        if offer.round == 1:
            await release.wait()
        return inputs(offer)

    slow = await bench.join(agreed, slowly)
    await bench.join(agreed)
    await bench.join(agreed)
    total = await bench.service.run_round(agreed, TASK, deadlines=SHORT)
    check(total, [1, 2])
    assert total.report.faults == {0: Fault.LATE}
    release.set()
    check(await bench.service.run_round(agreed, TASK, deadlines=SOON), range(3), 2)
    await bench.service.close()
    assert [o.reason for o in await slow] == [None, None]


async def test_a_lost_client_does_not_cost_the_deadline(bench: Bench) -> None:
    """Rows 70 and 74, the end of it: the link's end is news to the machine."""
    agreed = toy(3)
    first = await bench.link()
    await bench.join(agreed)
    await bench.join(agreed)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await announced(first)
    await first.close()
    total = await running
    check(total, [1, 2])
    assert total.report.faults == {0: Fault.LOST}


@patient
async def test_too_few_clients_end_the_round_and_not_the_service(bench: Bench) -> None:
    """Row 39: a clean end with its reason, and the next round starts."""
    agreed = toy(3, dropout=0)
    first = await bench.link()
    told = await bench.join(agreed)
    await bench.join(agreed)
    with pytest.raises(BelowThreshold):
        await bench.service.run_round(agreed, TASK, deadlines=SHORT)
    assert await over(first) == Over(nonce(1), AbortReason.BELOW_THRESHOLD, 0, 1, Fault.LATE)
    assert bench.service.report is not None
    assert bench.service.report.faults == {0: Fault.LATE}

    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await first.send(upload(agreed, await announced(first), 2))
    check(await running, range(3), 2)
    assert await over(first) == Over(nonce(2), None, 3, 0)
    await bench.service.close()
    assert [o.reason for o in await told] == [AbortReason.BELOW_THRESHOLD, None]


async def test_a_round_that_is_cancelled_is_over_for_the_clients(bench: Bench) -> None:
    agreed = toy(2)
    first = await bench.link()
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await announced(first)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await over(first) == Over(nonce(1), AbortReason.CANCELLED, 0, 0)


@pytest.mark.parametrize("timeout", [0, 0.01])
async def test_nobody_came(timeout: float) -> None:
    service = Service()
    with pytest.raises(LinkTimeout, match="0 of 2 clients"):
        await service.ready(2, timeout)
    with pytest.raises(BelowThreshold):
        await service.run_round(toy(2), deadlines=SOON)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x02\x02" + NONCE,
        b"\x01\x09" + NONCE,
        b"\x01\x02" + NONCE[1:],
        Over(NONCE, None, 1, 1).encode(),
        Announce(NONCE, PartyId(0), (), b"", b"").encode(),
        bytes(LIMIT + 1),
    ],
    ids=["empty", "version", "kind", "cut", "over", "announce", "oversized"],
)
async def test_a_malformed_frame_costs_its_sender_only(bench: Bench, bad: bytes) -> None:
    """Rows 1, 2, 6, 7, 22, 48: the link is closed, the round goes on without it."""
    agreed = toy(3)
    first = await bench.link()
    await bench.join(agreed)
    await bench.join(agreed)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await announced(first)
    await first.send(bad)
    total = await running
    check(total, [1, 2])
    assert total.report.faults == {0: Fault.LOST}
    with pytest.raises(LinkClosed):
        while True:
            await first.receive()
    assert bench.service.connected == 2


async def test_a_malformed_message_is_the_machines_to_judge(bench: Bench) -> None:
    """The link stays: the next round starts afresh with everybody."""
    agreed = toy(2)
    first = await bench.link()
    await bench.join(agreed)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    frame = await announced(first)
    await first.send(Message(frame.nonce, b"garbage").encode())
    total = await running
    check(total, [1])
    assert total.report.faults == {0: Fault.MALFORMED}
    assert bench.service.connected == 2


async def test_a_text_frame_and_an_oversized_one_over_sockets() -> None:
    """Rows 17 and 22, end to end: both are closed, and the others' sum is exact."""
    agreed = toy(4)
    async with serve(max_size=message_limit(agreed)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        async with raw_connect(url) as text, raw_connect(url) as large:
            await service.ready(2, SOON)
            tasks = [asyncio.create_task(_over_socket(url, agreed)) for _ in range(2)]
            await service.ready(4, SOON)
            running = asyncio.create_task(service.run_round(agreed, TASK, deadlines=SOON))
            assert await text.recv() and await large.recv()  # announced: so they have their seats
            await text.send("hello")
            await large.send(bytes(message_limit(agreed) + 1))
            total = await running
            check(total, [2, 3])
            for peer, code in ((text, 1003), (large, 1009)):
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await peer.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.code == code
    await asyncio.gather(*tasks)


async def _over_socket(url: str, agreed: Plan) -> tuple[Outcome, ...]:
    async with connect(url) as link:
        return await participate(link, inputs, plan=agreed)


async def test_frames_of_other_rounds_are_ignored(bench: Bench) -> None:
    """Row 42: the nonce routes. A message of the last round does not reach this one."""
    agreed = toy(2)
    first = await bench.link()
    await bench.join(agreed)
    check(await _round_with(bench, agreed, first, 1), [0, 1])
    await over(first)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    frame = await announced(first)
    assert frame.nonce == nonce(2)
    await first.send(Message(nonce(1), b"late").encode())
    await first.send(Message(nonce(9), b"strange").encode())
    await first.send(upload(agreed, frame, 2))
    total = await running
    check(total, [0, 1], 2)
    assert total.report.faults == {}


async def _round_with(bench: Bench, agreed: Plan, link: Link, number: int) -> party.Aggregate:
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await link.send(upload(agreed, await announced(link), number))
    return await running


@pytest.mark.parametrize("bench", [Limits(frame=LIMIT, frames=3)], indirect=True)
async def test_a_flood_is_cut_off(bench: Bench) -> None:
    """Row 79 in small: a client has a quota of frames between two announcements."""
    flooder = await bench.link()
    for _ in range(3):
        await flooder.send(Message(nonce(9), b"").encode())
    agreed = toy(2)
    await bench.join(agreed)
    check(await _round_with(bench, agreed, flooder, 1), [0, 1])
    await over(flooder)
    for _ in range(2):
        await flooder.send(Message(nonce(9), b"").encode())
    await asyncio.sleep(0)
    assert bench.service.connected == 2
    await flooder.send(Message(nonce(9), b"").encode())
    with pytest.raises(LinkClosed):
        await flooder.receive()
    assert bench.service.connected == 1


@patient
@pytest.mark.parametrize("bench", [Limits(frame=LIMIT, outbox=3)], indirect=True)
async def test_a_client_that_does_not_read_holds_nobody(bench: Bench) -> None:
    """Row 68: frames for it wait in a bounded queue, and past that it is gone."""
    agreed = toy(2)
    ours, theirs = memory.pair(capacity=1)
    bench.tasks.append(asyncio.create_task(bench._serve(theirs)))
    await bench.service.ready(1, SOON)
    await bench.join(agreed)
    for number in (1, 2):
        total = await bench.service.run_round(agreed, TASK, deadlines=SHORT)
        assert total.report.faults == {0: Fault.LATE}
        check(total, [1], number)
    total = await bench.service.run_round(agreed, TASK, deadlines=SOON)
    assert total.report.faults == {0: Fault.LOST}
    check(total, [1], 3)
    await ours.close()


async def test_at_the_cap_the_oldest_stranger_makes_room() -> None:
    """Row 69."""
    service = Service(max_links=1)
    links = [memory.pair() for _ in range(2)]
    tasks = [asyncio.create_task(service.on_link(theirs)) for _, theirs in links]
    await service.ready(1, SOON)
    await tasks[0]
    assert [one.place for one in service.members] == [1]
    await service.close()
    await tasks[1]


class Keeping:
    """A safe place that takes its time, and may be full."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked, self.go, self._error = asyncio.Event(), asyncio.Event(), error
        self.kept: list[party.Aggregate] = []

    async def __call__(self, total: party.Aggregate) -> None:
        self.asked.set()
        await self.go.wait()
        if self._error is not None:
            raise self._error
        self.kept.append(total)


@pytest.mark.parametrize("error", [None, OSError("no room"), asyncio.CancelledError()])
async def test_a_result_is_kept_before_anybody_hears_of_it(
    bench: Bench, error: Exception | None
) -> None:
    """Where it cannot be, or its keeper is interrupted, there is none for its clients either."""
    link, agreed = await bench.link(), toy(1)
    cancelled = isinstance(error, asyncio.CancelledError)
    keep = Keeping(None if cancelled else error)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON, keep=keep))
    await link.send(upload(agreed, await announced(link)))
    await keep.asked.wait()
    told = asyncio.create_task(over(link))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not told.done()
    if cancelled:
        running.cancel()
    keep.go.set()
    await asyncio.wait({running})
    reason = (await told).reason
    if error is None:
        assert reason is None and keep.kept == [running.result()]
    else:
        assert reason is AbortReason.CANCELLED and keep.kept == []
        assert running.cancelled() if cancelled else running.exception() is error


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("error", [None, OSError("no room")])
async def test_closing_waits_for_a_result_that_is_being_kept(
    stored: bool, error: Exception | None
) -> None:
    """What its clients hear is what has become of it, and no later process tells them otherwise."""
    store, agreed, keep = MemoryStore(), toy(1), Keeping(error)
    bench = Bench(Service(limits=Limits(frame=LIMIT), store=store if stored else None), [])
    link = await bench.link()
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON, keep=keep))
    await link.send(upload(agreed, await announced(link)))
    await keep.asked.wait()
    closing = asyncio.create_task(bench.service.close())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not closing.done()
    keep.go.set()
    async with asyncio.timeout(SOON):
        told = await over(link)
        await asyncio.wait({running, closing})
    assert told.reason is (None if error is None else AbortReason.CANCELLED)
    assert running.exception() is error and closing.exception() is None
    next_one = ServerRounds(durable=True)
    next_one.restore(store.rows(), 0.0)
    assert not next_one.running


async def test_a_keeper_may_close_the_service(bench: Bench) -> None:
    """Which would wait for it."""
    agreed = toy(1)
    await bench.join(agreed)

    async def keep(total: party.Aggregate) -> None:
        await bench.service.close()

    async with asyncio.timeout(SOON):
        total = await bench.service.run_round(agreed, TASK, deadlines=SOON, keep=keep)
    check(total, [0])


async def test_a_round_that_is_about_to_open_does_not_when_the_service_closes(bench: Bench) -> None:
    opening = asyncio.create_task(bench.service.run_round(toy(1), TASK, deadlines=SOON))
    await asyncio.sleep(0)
    await bench.service.close()
    with pytest.raises(LocalProtocolError, match="is closed"):
        async with asyncio.timeout(SOON):
            await opening


async def test_a_keeper_may_be_a_plain_function(bench: Bench) -> None:
    agreed, kept = toy(1), list[party.Aggregate]()
    await bench.join(agreed)
    keeping = lambda total: kept.append(total) or 5  # noqa: E731  as write_bytes gives a number
    total = await bench.service.run_round(agreed, TASK, deadlines=SOON, keep=keeping)
    assert kept == [total]


def raises(error: type[BaseException]) -> Contribution:
    raise error


async def test_a_round_that_was_interrupted_leaves_its_record(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    link, agreed = await bench.link(), toy(1)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    frame = await announced(link)
    running.cancel()
    assert (await over(link)).reason is AbortReason.CANCELLED
    await bench.service.close()
    assert bench.service.report is not None and "upload" in bench.service.report.phases
    number = frame.nonce.hex()[:8]
    assert f"round {number} ended without a result (upload 0.0 s): cancelled" in caplog.text


@patient
async def test_a_plan_that_is_not_the_pinned_one_is_refused(bench: Bench) -> None:
    """Row 35 at the door: the client leaves before it reveals anything."""
    agreed, other = toy(2), toy(2, length=LENGTH + 1)
    asked: list[Offer] = []

    def give(offer: Offer) -> Contribution:
        asked.append(offer)
        return inputs(offer)

    refusing = [
        await bench.join(other, give),
        asyncio.create_task(participate(await bench.link(), give, plan_digest=other.digest())),
    ]
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SHORT))
    for task in refusing:
        with pytest.raises(PolicyRefused, match=f"pinned is {other.digest().hex()}"):
            await asyncio.wait_for(task, SOON)
    with pytest.raises(BelowThreshold):
        await running
    assert asked == []


@patient
async def test_a_plan_that_protects_nobody_must_be_pinned(bench: Bench) -> None:
    task = asyncio.create_task(participate(await bench.link(), inputs))
    running = asyncio.create_task(bench.service.run_round(toy(1, 0), TASK, deadlines=SHORT))
    with pytest.raises(PolicyRefused, match="protects against nobody"):
        await asyncio.wait_for(task, SOON)
    with pytest.raises(BelowThreshold):
        await running


async def test_two_pins_that_disagree() -> None:
    link, _ = memory.pair()
    with pytest.raises(ParameterError, match="not of the same plan"):
        await participate(link, inputs, plan=toy(2), plan_digest=bytes(32))


async def test_another_task_for_one_client_takes_it_out_of_the_sum(bench: Bench) -> None:
    """Row 36 (T7): the digest is computed by the client, so its messages fit no other task."""
    agreed = toy(3)
    tampered, seen_by_server = memory.pair()
    inside = await bench.link()

    async def tamper() -> None:
        frame = await announced(inside)
        await tampered.send(
            Announce(frame.nonce, frame.party, frame.deadlines, frame.plan, b"another").encode()
        )
        await inside.send(await tampered.receive())

    bench.tasks.append(asyncio.create_task(tamper()))
    await bench.join(agreed, link=seen_by_server)
    await bench.join(agreed)
    await bench.join(agreed)
    total = await bench.service.run_round(agreed, TASK, deadlines=SOON)
    check(total, [1, 2])
    assert total.report.faults == {0: Fault.MALFORMED}
    await tampered.close()


async def test_a_task_fetched_elsewhere(bench: Bench) -> None:
    """Only its digest is announced; each client's own digest of what it fetched must fit."""
    agreed = toy(3, dropout=0.3)

    def fetching(task: bytes | None) -> Inputs:
        def give(offer: Offer) -> Contribution:
            assert offer.payload is None
            return Contribution(inputs(offer).fields, payload=task)

        return give

    right = await bench.join(agreed, fetching(TASK))
    wrong = await bench.join(agreed, fetching(b"another"))
    none = await bench.join(agreed, fetching(None))
    running = bench.service.run_round(agreed, TASK, deadlines=SOON, inline=False)
    with pytest.raises(BelowThreshold):
        await running
    await bench.service.close()
    for task, why in ((wrong, "payload"), (none, "only the task's digest")):
        with pytest.raises(InputError, match=why):
            await asyncio.wait_for(task, SOON)
    report = bench.service.report
    assert report is not None and report.faults == {1: Fault.QUIT, 2: Fault.BAD_INPUT}
    assert [o.reason for o in await right] == [AbortReason.BELOW_THRESHOLD]


@pytest.mark.parametrize(
    ("give", "error"),
    [
        (lambda offer: Contribution({"update": np.full(LENGTH, 1001)}), RangeError),
        (lambda offer: Contribution({"other": np.zeros(LENGTH, int)}), InputError),
        (lambda offer: {"update": np.zeros(LENGTH, int)}, InputError),
        (lambda offer: {}["training failed"], KeyError),
        (lambda offer: next(iter(())), RuntimeError),
        (lambda offer: raises(CancelledError), RuntimeError),
        (lambda offer: raises(asyncio.CancelledError), RuntimeError),
    ],
    ids=["range", "field", "type", "own", "exhausted", "cancelled", "cancelled-here"],
)
async def test_a_bad_contribution_is_the_callers_error(
    bench: Bench, give: Callable[[Offer], Any], error: type[Exception]
) -> None:
    """Rows 80 and 85 through the driver: the caller hears of it, the server is not left waiting.
    An input that does not fit costs one round; a client that never had another hears at the end."""
    agreed = toy(2)
    failing = await bench.join(agreed, give)
    await bench.join(agreed)
    total = await bench.service.run_round(agreed, TASK, deadlines=SOON)
    check(total, [1])
    assert total.report.faults == {0: Fault.BAD_INPUT}
    await bench.service.close()
    with pytest.raises(error):
        await asyncio.wait_for(failing, SOON)


async def test_a_server_says_how_many_failed_on_their_own_input(bench: Bench) -> None:
    """specs/10-secagg.md §7: that they said so, and nothing of what was wrong with it."""
    agreed = toy(4, 0.25)

    def unmade(offer: Offer) -> Contribution:
        raise ZeroDivisionError("3.14159 of a patient")

    def unfit(offer: Offer) -> Contribution:
        return Contribution({"update": np.full(LENGTH, 2718)})

    failing = [await bench.join(agreed, give) for give in (unmade, unfit)]
    for _ in range(2):
        await bench.join(agreed)
    with pytest.raises(BelowThreshold) as ended:
        await bench.service.run_round(agreed, TASK, deadlines=SOON)
    assert "dropped: 2 bad-input (a client's own input does not fit the plan" in str(ended.value)
    assert bench.service.report is not None
    assert bench.service.report.faults == {0: Fault.BAD_INPUT, 1: Fault.BAD_INPUT}
    await bench.service.close()
    for client, error in zip(failing, (ZeroDivisionError, RangeError), strict=True):
        with pytest.raises(error):
            await asyncio.wait_for(client, SOON)


async def test_an_outcome_says_what_was_clipped(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 82: to this client alone, and in one warning a round; nothing where nothing was."""

    def give(offer: Offer) -> Contribution:
        values = [9.0, 0.5, -9.0] if offer.round == 2 else [1.0, 0.0, -1.0]
        return Contribution({"u": values}, name=f"of round {offer.round}")

    fields = {"u": FixedPoint(3, 1.0, 16)}
    agreed = plan(clients=1, fields=fields, corrupt=0, dropout=0, protocol="plainsum")
    client = await bench.join(agreed, give)
    totals = [await bench.service.run_round(agreed, TASK, deadlines=SOON) for _ in range(3)]
    assert [total.report.clipped for total in totals] == [None] * 3
    await bench.service.close()
    outcomes = await asyncio.wait_for(client, SOON)
    assert [outcome.clipped for outcome in outcomes] == [{"u": 0}, {"u": 2}, {"u": 0}]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "in round 2, 2 of 3 elements of field 'u' lay beyond ±1.0 and were clipped"
    ]


async def test_an_awaitable_from_a_plain_function(bench: Bench) -> None:
    async def later(offer: Offer) -> Contribution:
        return inputs(offer)

    agreed = toy(1, 0)
    await bench.join(agreed, lambda offer: later(offer))
    check(await bench.service.run_round(agreed, TASK, deadlines=SOON), [0])


class EvilServer:
    """The server's end of one client's link, played by hand."""

    def __init__(self, agreed: Plan, give: Inputs = inputs) -> None:
        self.agreed = agreed
        self.link, theirs = memory.pair()
        self.client = asyncio.create_task(participate(theirs, give, plan=agreed))

    async def announce(self, number: int, who: int = 0, deadlines: Sequence[int] = (1,)) -> None:
        plan_bytes = self.agreed.encode()
        frame = Announce(nonce(number), PartyId(who), tuple(deadlines), plan_bytes, TASK)
        await self.link.send(frame.encode())

    async def message(self) -> Message:
        frame = decode_frame(await self.link.receive(), limit=LIMIT)
        assert isinstance(frame, Message)
        return frame

    async def outcomes(self) -> tuple[Outcome, ...]:
        await self.link.close()
        return await asyncio.wait_for(self.client, SOON)


async def never(offer: Offer) -> Contribution:
    await asyncio.Event().wait()
    raise AssertionError("it never comes")


async def test_a_servers_fault_ends_that_round_only() -> None:
    """Row 49's driver half: what the machine still says is sent, and the next round is joined."""

    async def once(offer: Offer) -> Contribution:
        return await never(offer) if offer.round == 1 else inputs(offer)

    server = EvilServer(toy(2), once)
    await server.announce(1)
    await server.link.send(Message(nonce(1), b"garbage").encode())
    assert (await server.message()).nonce == nonce(1)  # the client's abort
    await server.link.send(Over(nonce(1), None, 2, 0).encode())
    await server.announce(2, who=1)
    assert (await server.message()).nonce == nonce(2)
    await server.link.send(Over(nonce(2), None, 2, 0).encode())
    first, second = await server.outcomes()
    assert (first.round, first.party, first.reason) == (1, 0, AbortReason.PEER_FAULT)
    assert first.detail and first.contributors == 0
    assert (second.round, second.party, second.reason) == (2, 1, None)


async def test_a_link_that_dies_or_a_round_that_is_forgotten_is_an_outcome() -> None:
    server = EvilServer(toy(2), never)
    await server.announce(1)
    await server.announce(2)
    outcomes = await server.outcomes()
    assert [(o.round, o.reason) for o in outcomes] == [
        (1, AbortReason.LOST),
        (2, AbortReason.LOST),
    ]


async def test_rounds_that_are_over_keep_no_thread_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that opens and ends rounds while inputs are computed: what has no thread yet
    ends with its round, and is not kept in an executor's queue with its task."""
    monkeypatch.setattr(participant, "AT_ONCE", 2)
    go, begun = threading.Event(), []

    def slow(offer: Offer) -> None:
        begun.append(offer.round)
        go.wait(SOON)

    server = EvilServer(toy(2), slow)
    for number in range(1, 6):
        await server.announce(number)
        while number <= 2 and len(begun) < number:
            await asyncio.sleep(0)
        await server.link.send(Over(nonce(number), AbortReason.CANCELLED, 0, 0).encode())
    await server.announce(6)
    go.set()
    assert (await server.message()).nonce == nonce(6)
    outcomes = await server.outcomes()
    assert len(outcomes) == 6 and begun == [1, 2, 6]


@pytest.mark.parametrize(
    ("who", "deadlines"), [(2, (1,)), (0, ()), (0, (1, 1))], ids=["party", "none", "two"]
)
async def test_an_announcement_that_does_not_fit_its_plan(who: int, deadlines: list[int]) -> None:
    """Row 12."""
    server = EvilServer(toy(2))
    await server.announce(1, who, deadlines)
    with pytest.raises(RemoteProtocolError, match="clients and 1 phases"):
        await asyncio.wait_for(server.client, SOON)


async def test_a_nonce_is_not_announced_twice() -> None:
    """Row 44."""
    server = EvilServer(toy(2), never)
    await server.announce(1)
    await server.link.send(Over(nonce(1), AbortReason.CANCELLED, 0, 0).encode())
    await server.announce(1)
    with pytest.raises(RemoteProtocolError, match="twice"):
        await asyncio.wait_for(server.client, SOON)


async def test_garbage_from_the_server_ends_the_client() -> None:
    server = EvilServer(toy(2))
    await server.link.send(b"\x07garbage")
    with pytest.raises(WireError):
        await asyncio.wait_for(server.client, SOON)


async def test_a_cancelled_client_says_goodbye(bench: Bench) -> None:
    asked = asyncio.Event()

    async def give(offer: Offer) -> Contribution:
        asked.set()
        return await never(offer)

    agreed = toy(2)
    leaving = await bench.join(agreed, give)
    await bench.join(agreed)
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await asked.wait()
    leaving.cancel()
    total = await running
    check(total, [1])
    assert total.report.faults == {0: Fault.QUIT}


@pytest.mark.parametrize(
    "deadlines", [{}, {"upload": 1.0, "unmask": 1.0}, 0, -1.0, float("nan"), float("inf")]
)
async def test_deadlines_are_one_number_for_each_phase(deadlines: Any) -> None:
    with pytest.raises(ParameterError, match="deadline"):
        await Service().run_round(toy(2), deadlines=deadlines)


async def test_two_rounds_of_two_tasks_at_once_over_the_same_links(bench: Bench) -> None:
    """Neither waits for the other, nor is heard in it."""

    async def give(offer: Offer) -> Contribution:
        length = offer.plan.schema.fields[0][1].length
        return Contribution({"update": np.array(vector(offer.party, length, length))})

    plans = [toy(2), toy(2, length=LENGTH + 1)]
    for _ in range(2):
        link = await bench.link()
        consent = Consent(unprotected=True)
        bench.tasks.append(asyncio.create_task(Participant(ClientRounds(consent), give).over(link)))
    totals = await asyncio.gather(
        *(bench.service.run_round(agreed, TASK, deadlines=SOON) for agreed in plans)
    )
    for result, length in zip(totals, (LENGTH, LENGTH + 1), strict=True):
        columns = zip(*(vector(who, length, length) for who in range(2)), strict=True)
        assert result.levels["update"].tolist() == [sum(column) for column in columns]


@dataclass(frozen=True)
class Square:
    value: int

    def __call__(self) -> int:
        if self.value < 0:
            raise ZeroDivisionError("a bug in a job")
        return self.value**2


class Working(party.Server):
    """A server that has work for an executor before it is done."""

    jobs_left = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    results: list[int] = []

    def jobs(self) -> Sequence[Square]:
        if not self.machine.done:
            return ()
        left, Working.jobs_left = Working.jobs_left, []
        return [Square(value) for value in left]

    def finish(self, job: Any, value: Any, /) -> None:
        assert value == job.value**2
        self.results.append(value)

    @property
    def done(self) -> bool:
        return self.machine.done and len(self.results) == 9


@pytest.mark.parametrize("jobs", [list(range(9)), [1, 2, -1]], ids=["jobs", "bug"])
@pytest.mark.parametrize("own", [False, True], ids=["threads", "executor"])
async def test_jobs_run_on_an_executor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, jobs: list[int], own: bool
) -> None:
    """Row 104: what fails in a job fails the round, and every client is told."""
    monkeypatch.setattr(party, "Server", Working)
    Working.jobs_left, Working.results = list(jobs), []
    agreed = toy(1, 0)
    first = await bench.link()
    with ThreadPoolExecutor(2) as pool:
        running = asyncio.create_task(
            bench.service.run_round(agreed, TASK, deadlines=SOON, executor=pool if own else None)
        )
        await first.send(upload(agreed, await announced(first)))
        if -1 in jobs:
            with pytest.raises(ZeroDivisionError):
                await running
            assert (await over(first)).reason is AbortReason.CANCELLED
        else:
            check(await running, [0])
            assert sorted(Working.results) == [i * i for i in range(9)]


async def test_a_bug_in_the_machine_fails_the_round_and_is_not_hidden(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 103: nothing that a broken machine holds is used."""

    def broken(self: party.Server, sender: PartyId, message: bytes) -> None:
        raise ZeroDivisionError("a bug in receive")

    monkeypatch.setattr(party.Server, "receive", broken)
    agreed = toy(2)
    first = await bench.link()
    running = asyncio.create_task(bench.service.run_round(agreed, TASK, deadlines=SOON))
    await first.send(upload(agreed, await announced(first)))
    with pytest.raises(ZeroDivisionError):
        await running
    with pytest.raises(ZeroDivisionError):
        await bench.tasks[0]


async def test_the_report_counts_phases_and_protocol_bytes(bench: Bench) -> None:
    agreed = toy(2)
    task = await bench.join(agreed)
    await bench.join(agreed)
    await bench.service.run_round(agreed, TASK, deadlines=SOON)
    report = bench.service.report
    assert report is not None and list(report.phases) == ["upload"]
    assert 0 <= report.phases["upload"] < SOON
    assert (report.bytes_up, report.bytes_down) == (agreed.upload_bytes, 0)
    await bench.service.close()
    (outcome,) = await task
    assert outcome.report.bytes_up == agreed.upload_bytes


async def test_an_observer_hears_every_event(bench: Bench) -> None:
    agreed = toy(2)
    heard: list[Event] = []
    await bench.join(agreed)
    await bench.service.run_round(agreed, TASK, deadlines=SOON, observer=heard.append)
    assert heard == [
        PhaseEntered("upload"),
        Dropped(PartyId(1), Fault.LOST),
        QuorumReached("upload"),
        Finished(),
    ]


async def test_a_contribution_never_shows_its_data() -> None:
    assert "123456" not in repr(Contribution({"update": 123456}, payload=b"123456"))


def test_the_limit_of_a_plan_is_its_largest_frame() -> None:
    agreed = toy(2)
    frame = Announce(NONCE, PartyId(0), (1,), agreed.encode(), DigestOnly(payload_digest(TASK)))
    raw = upload(agreed, frame)
    assert len(raw) == message_limit(agreed)


async def test_a_service_that_is_closed_says_so(bench: Bench) -> None:
    """And waits for nobody: no turn of it comes any more."""
    await bench.service.close()
    for waiting in (bench.service.ready(1), bench.service.run_round(toy(1), deadlines=SOON)):
        with pytest.raises(LocalProtocolError, match="the service is closed"):
            async with asyncio.timeout(SOON):
                await waiting


async def test_a_client_whose_ledger_fails_says_so_and_leaves(bench: Bench) -> None:
    """It could say nothing any more, and each of its rounds would wait a deadline for it."""

    class Full(MemoryLedger):
        def claim(self, key: bytes, digest: bytes) -> None:
            raise StorageError("no room is left")

    agreed = secagg_plan(3)
    links = [await bench.link() for _ in range(3)]
    taking = [participate(link, named, plan=agreed, ledger=Full()) for link in links]
    clients = [asyncio.create_task(one) for one in taking]
    async with asyncio.timeout(SOON):
        with pytest.raises(BelowThreshold):
            await bench.service.run_round(agreed, TASK, deadlines=SOON)
        for ended in await asyncio.gather(*clients, return_exceptions=True):
            assert isinstance(ended, StorageError) and "no room is left" in str(ended)


def secagg_plan(clients: int) -> Plan:
    return plan(clients=clients, fields={"update": Integer(LENGTH, 1000)}, corrupt=0, dropout=0)


def named(offer: Offer) -> Contribution:
    return Contribution(inputs(offer).fields, name="of May")


async def test_a_service_with_a_store_tells_of_a_sum_only_when_its_taker_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without `keep` too. Dying before, the next process has nobody to give it to: it must not find
    that clients know of a sum which nobody has."""
    agreed = toy(1)
    made = Bench(Service(limits=Limits(frame=LIMIT), store=MemoryStore()), [])
    link, told = await made.link(), list[Over]()
    running = asyncio.create_task(made.service.run_round(agreed, TASK, deadlines=SOON))
    await link.send(upload(agreed, await announced(link)))
    tell, dies = made.service._rounds.tell, [True]

    def late(nonce: bytes, now: float, *, kept: bool = True) -> None:
        if dies.pop():
            raise OSError("the process ends")
        tell(nonce, now, kept=kept)

    dies.insert(0, False)
    monkeypatch.setattr(made.service._rounds, "tell", late)
    with pytest.raises(OSError, match="the process ends"):
        await running
    told.append(await over(link))
    assert told == [Over(told[0].nonce, AbortReason.CANCELLED, 1, 0)]
    await made.service.close()
    await asyncio.gather(*made.tasks)


async def test_a_round_that_was_killed_goes_on_in_the_next_process_and_nobody_takes_its_sum(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With clients whose links prove who they are. They hear that there is none, and that what they
    gave is spent: it was summed."""
    store, agreed = MemoryStore(), secagg_plan(4)
    clients = [ClientRounds(Consent(), durable=True) for _ in range(4)]
    shells, tasks = list[Shell](), list[asyncio.Task[Any]]()

    def join(service: Service) -> None:
        for i, rounds in enumerate(clients):
            ours, theirs = memory.pair()
            theirs.identity = bytes([i]) * 32  # type: ignore[attr-defined]
            shells.append(Shell(rounds))
            serving = shells[-1].serve(Peer("server", None, Role.SERVER), ours)
            tasks.extend(map(asyncio.ensure_future, (service.on_link(theirs), serving)))

    async with asyncio.timeout(SOON):
        first, second = Service(store=store), Service(store=store)
        join(first)
        await first.ready(4)
        running = asyncio.create_task(first.run_round(agreed, TASK, deadlines=SOON))
        while not all(rounds.owed() for rounds in clients):
            await asyncio.sleep(0.01)
        await first._shell.close(timeout=0)
        running.cancel()
        await asyncio.wait([running, *tasks])

        join(second)
        for rounds, shell in zip(clients, shells[4:], strict=True):
            for offer in rounds.owed():
                rounds.contribute(offer, named(offer), time.monotonic())
                shell.wake()
        while any(rounds.running for rounds in clients):
            await asyncio.sleep(0.01)
        await second.close()
        await asyncio.wait(tasks)
    assert "nobody is left to keep the result of round" in caplog.text
    for rounds in clients:
        (outcome,) = rounds.outcomes()
        assert (outcome.reason, outcome.spent) == (AbortReason.CANCELLED, True)
