"""Servers of a multi-server sum over links: every sum against plain integers, whatever is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from secagg.drive.collecting import collect, collect_over
from secagg.drive.listening import listen
from secagg.drive.member import RESERVE, MemberService
from secagg.drive.reporting import Reporter, openers, report
from secagg.effects import MACHINE, ROUNDS, Write
from secagg.errors import (
    Aborted,
    InputError,
    LinkClosed,
    LinkTimeout,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    StorageError,
)
from secagg.rounds.base import Outbox
from secagg.rounds.batches import Batches, Epoch
from secagg.rounds.hellos import Greeter
from secagg.rounds.member import CLOSED
from secagg.sansio import Dropped, Event, PhaseEntered
from secagg.store.base import Store
from secagg.store.memory import MemoryStore
from secagg.store.space import Space
from secagg.store.sqlite import SqliteStore
from secagg.testing.network import counter_randomness
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.types import SERVER, AbortReason, PartyId, Role, server_id
from secagg.wire.frame import Message, decode_frame
from secagg.wire.hello import CHALLENGE_SIZE, Hello
from secagg_protocols.reports.messages import Tag
from tests.drive.members import (
    QUICK,
    SOON,
    Cut,
    Flaky,
    Fleet,
    check,
    greet,
)
from tests.rounds.several import LENGTH, vector
from tests.soak import SOAK

SHORT = 0.5
"""Seconds of a deadline that does pass, on the clock of `tests.patience`."""
patient = pytest.mark.usefixtures("patience")


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("servers", [2, 3])
async def test_sums_are_exact(servers: int, direct: bool) -> None:
    async with Fleet(4, servers, direct) as fleet:
        await fleet.report_all(range(4))
        check(await fleet.collect(), range(4))
        reports = await fleet.ends()
    assert [[r.reason for r in own] for own in reports] == [[None]] * servers
    assert [own[0].reports for own in reports] == [4] + [None] * (servers - 1)


@pytest.mark.parametrize("direct", [False, True])
async def test_sums_are_exact_over_websockets_and_files(tmp_path: Path, direct: bool) -> None:
    servers = 3
    stores: list[Store] = [
        SqliteStore.open(tmp_path / f"{j}.sqlite", owner=b"") for j in range(servers)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for store in stores:
            stack.enter_context(store)
        fleet = Fleet(4, servers, direct, stores=stores)
        urls: dict[int, str] = {}
        runs = []
        for j in reversed(range(servers)):
            service = MemberService(
                fleet.task, j, fleet.keys.servers[j], stores[j], peers={} if j else dict(urls)
            )
            bound = await stack.enter_async_context(
                listen(service.on_link, max_size=service.max_size)
            )
            urls[j] = f"ws://127.0.0.1:{bound}"
            runs.append(asyncio.create_task(service.run()))
        where = [urls[j] for j in range(servers)]
        outcomes = await asyncio.gather(
            *(
                report(fleet.task, {"update": vector(who)}, urls=where if direct else where[:1])
                for who in range(4)
            )
        )
        assert all(outcome.stored for outcome in outcomes)
        check(await collect(fleet.task, fleet.keys.collector, where), range(4))
        async with asyncio.timeout(SOON):
            assert [r[0].reason for r in await asyncio.gather(*runs)] == [None] * servers


def said(reporter: Reporter) -> dict[PartyId, bytes]:
    """A report's frames, by the server that each is for."""
    client = reporter._rounds._client
    for index in range(client.plan.params.servers):
        client.reconnected(server_id(index))
    nonce = reporter._rounds._nonce
    return {out.to: Message(nonce, out.data).encode() for out in client.outgoing()}


async def test_clients_may_vanish_right_after_sending() -> None:
    """What is counted is the report, and not whether anybody waits for its receipt."""
    async with Fleet(4) as fleet:
        gone = 0
        for who in range(2):
            link = await fleet.client_link()
            for out in said(fleet.reporter(who)).values():
                await link.send(out)
                gone += 1
            await link.close()
        assert gone == 2
        await fleet.report_all([2, 3])
        check(await fleet.collect(), range(4))


@pytest.mark.parametrize("direct", [False, True])
async def test_a_link_between_servers_is_cut_at_every_message(patience: None, direct: bool) -> None:
    """Rows 70 and 71: whichever message is lost, with its link, the sum is exact."""
    for k in itertools.count(1):
        carried = Cut(k)
        async with Fleet(3, 2, direct, wrap=partial(Flaky, life=carried)) as fleet:
            await fleet.report_all(range(3))
            check(await fleet.collect(), range(3))
            await fleet.ends()
        if carried.carried < k:
            break
    assert k > 15


@pytest.mark.parametrize("direct", [False, True])
async def test_a_clients_link_is_cut_at_every_message(patience: None, direct: bool) -> None:
    """Row 71: the report is stored once, however often it is sent."""
    for k in range(1, 9):
        async with Fleet(3, 2, direct) as fleet:
            first = await fleet.report(0, partial(Flaky, life=Cut(k)))
            assert first.stored
            await fleet.report_all([1, 2])
            check(await fleet.collect(), range(3))


@pytest.mark.parametrize("direct", [False, True])
async def test_the_collectors_link_is_cut_at_every_message(patience: None, direct: bool) -> None:
    for k in range(1, 9):
        async with Fleet(3, 2, direct) as fleet:
            await fleet.report_all(range(3))
            check(await fleet.collect(wrap=partial(Flaky, life=Cut(k))), range(3))
            await fleet.ends()


class Dying(MemoryStore):
    """Its owner is gone at commit number `last`: before it is done, or right after."""

    def __init__(self, last: int, after: bool, die: Callable[[], None]) -> None:
        super().__init__()
        self.last, self.after, self.die, self.commits = last, after, die, 0

    def commit(self, writes: Sequence[Write]) -> None:
        self.commits += 1
        if self.commits != self.last:
            super().commit(writes)
            return
        if self.after:
            super().commit(writes)
        self.die()
        raise StorageError("the process is gone")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("index", [0, 1])
async def test_a_server_dies_at_every_commit(
    patience: None, index: int, direct: bool, after: bool
) -> None:
    """Row 90: killed at every persistence point, before and after, and made again from its rows;
    but for a soak at every fourth, another one for each server, mode and side of the commit."""
    first = 1 + (2 * after + index + direct) % 4
    for last in itertools.count(1) if SOAK else itertools.count(first, 4):
        async with Fleet(3, 2, direct) as fleet:
            await fleet.crash(index)
            loop, died = asyncio.get_running_loop(), asyncio.Event()
            store = Dying(last, after, lambda: loop.call_soon_threadsafe(died.set))  # noqa: B023
            fleet.stores[index] = store
            fleet.start(index)

            async def revive() -> None:
                await died.wait()  # noqa: B023
                with pytest.raises(StorageError):
                    await fleet.running[index]  # noqa: B023
                fleet.start(index)  # noqa: B023

            reviving = asyncio.create_task(revive())
            await fleet.report_all(range(3))
            check(await fleet.collect(), range(3))
            reached = died.is_set()
            reviving.cancel()
        if not reached:
            break
    assert last > 3, "commits are of groups, of which there are some"


async def test_servers_die_at_random_and_lose_no_report(tmp_path: Path) -> None:
    """Rows 71 and 90: what was acknowledged before a crash is in the sum after it."""
    random = counter_randomness(b"crashes")
    stores: list[Store] = [SqliteStore.open(tmp_path / f"{j}", owner=b"") for j in range(3)]
    async with Fleet(12, 3, stores=stores, dropout=0) as fleet:

        async def trouble() -> None:
            for _ in range(12):
                await asyncio.sleep(random(1)[0] / 12800)
                index = random(1)[0] % 3
                await fleet.crash(index)
                stores[index].close()
                stores[index] = fleet.stores[index] = SqliteStore.open(
                    tmp_path / f"{index}", owner=b""
                )
                fleet.start(index)

        making_trouble = asyncio.create_task(trouble())
        await fleet.report_all(range(12))
        check(await fleet.collect(), range(12))
        await making_trouble
    for store in stores:
        store.close()


class Broken(MemoryStore):
    """A disk that is full after some commits."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def commit(self, writes: Sequence[Write]) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageError("the disk is full")
        super().commit(writes)


@patient
async def test_a_store_that_fails_stops_the_server() -> None:
    """Rows 95 and 96: no receipt for what is not stored, and nothing at all from then on."""
    stores: list[Store] = [Broken(1), MemoryStore()]
    async with Fleet(3, stores=stores) as fleet:
        reporter = fleet.reporter(0)
        links = fleet.openers(Role.CLIENT)
        with pytest.raises(LinkTimeout, match="may be stored or not"):
            await reporter.deliver(links, timeout=SHORT, backoff=QUICK)
        with pytest.raises(StorageError, match="disk is full"):
            await fleet.running[0]
        stores[0].left = 1000  # type: ignore[attr-defined]
        fleet.start(0)
        again = await reporter.deliver(fleet.openers(Role.CLIENT), timeout=SOON, backoff=QUICK)
        assert again.stored and again.links > 1
        await fleet.report_all([1, 2])
        check(await fleet.collect(), range(3))


@patient
async def test_a_report_that_reached_nobody_says_so() -> None:
    async def nobody() -> Link:
        raise LinkClosed("refused")

    async with Fleet(3) as fleet:
        unheard = dict.fromkeys(fleet.openers(Role.CLIENT), nobody)
        with pytest.raises(LinkTimeout, match="reached within 0.5 seconds, and nothing was sent"):
            await fleet.reporter(0).deliver(unheard, timeout=SHORT, backoff=QUICK)


@patient
async def test_a_full_batch_leaves_reports_for_the_next() -> None:
    """Seven reports of which a batch takes three: two batches are sums, the third stays open."""
    options = {"deadline": SHORT * 3}
    async with Fleet(3, 3, batches=3, dropout=0, options=options) as fleet:
        await fleet.ready()
        outcomes = [asyncio.create_task(fleet.report(who)) for who in range(7)]
        sums = [await fleet.collect(batch) for batch in range(2)]
        with pytest.raises(Aborted, match="is open: server 0 has 1 report so far"):
            await fleet.collect(2, timeout=SHORT)
        reports = [service.reports for service in fleet.services.values()]
        assert [o.stored for o in await asyncio.gather(*outcomes)] == [True] * 7
    assert [total.count for total in sums] == [3, 3]
    added = sum(total.levels["update"] for total in sums)
    left = [w for w in range(7) if (sum(map(vector, range(7))) - vector(w) == added).all()]
    assert len(left) == 1, "six of the seven, each once"
    assert [[r.reason for r in own] for own in reports] == [[None, None]] * 3


@patient
@pytest.mark.parametrize("direct", [False, True])
async def test_a_report_that_waits_is_in_the_next_batch(direct: bool) -> None:
    """The leader has it, and the helper is away until the first batch is given up. Its client is
    not told that this was the end, and has every receipt in the next."""
    async with Fleet(4, 2, direct, batches=2) as fleet:
        await fleet.ready()
        await fleet.crash(1)
        reporting = asyncio.create_task(fleet.report_all(range(4)))
        leader = fleet.services[0]
        batches = leader._rounds._batches
        while batches.machine is None or batches.machine.pending < 4:
            await asyncio.sleep(0.001)
        now = time.monotonic()
        batches._call(0, batches.machine, now, batches.machine.abort, AbortReason.BELOW_THRESHOLD)
        leader._rounds.tick(now)
        leader._shell.wake()
        while not leader.reports:
            await asyncio.sleep(0.001)
        fleet.start(1)
        await reporting
        check(await fleet.collect(1), range(4))
        (first, second), _ = await fleet.ends()
    assert (first.reason, second.reason) == (AbortReason.BELOW_THRESHOLD, None)
    assert (first.pending, second.pending) == (4, 0)


@pytest.mark.parametrize("direct", [False, True])
async def test_a_report_is_never_summed_in_two_batches(direct: bool) -> None:
    """Row 71: the bytes of a report of the first batch come again in the second."""
    async with Fleet(3, 2, direct, batches=2, dropout=0) as fleet:
        reporter = fleet.reporter(0)
        bytes_of_it = said(reporter)
        links = fleet.openers(Role.CLIENT)
        assert (await reporter.deliver(links, timeout=SOON, backoff=QUICK)).stored
        await fleet.report_all([1, 2])
        check(await fleet.collect(0), range(3))
        for to, data in bytes_of_it.items():
            link = await fleet.client_link(to)
            await link.send(data)
            assert await link.receive(), "a receipt, for a client that missed its own"
            await link.close()
        await fleet.report_all([3, 4, 5])
        check(await fleet.collect(1), [3, 4, 5])


async def test_a_closed_epoch_takes_nothing_and_still_answers() -> None:
    async with Fleet(3) as fleet:
        await fleet.report_all(range(3))
        await fleet.collect()
        await fleet.ends()
        fleet.start(0)
        with pytest.raises(PolicyRefused, match="epoch 0 is closed"):
            await fleet.running[0]
        for index in range(2):
            fleet.start(index, collect_only=True)
        check(await fleet.collect(), range(3))
        await fleet.ends()


async def test_a_closed_epoch_keeps_no_report_that_is_in_no_sum() -> None:
    """specs/20-additive.md §9.7. The helper has one that its leader never decides on."""
    fleet = Fleet(3, batches=2, dropout=0)
    message = decode_frame(said(fleet.reporter(9))[SERVER], limit=10_000)
    assert isinstance(message, Message)
    helper, outbox = _batches(fleet, 1)
    helper.receive(SERVER, 0, _relayed(fleet, message.data)[0], 0.0)
    helper.store()
    fleet.stores[1].commit(outbox.take().writes)
    assert _pending(fleet, 1) == 1
    async with fleet:
        for batch in range(2):
            await fleet.report_all(range(3))
            check(await fleet.collect(batch), range(3))
        await fleet.ends()
    assert [_pending(fleet, index) for index in range(2)] == [0, 0]
    closed = [dict(_rows(fleet, index, ROUNDS).rows()) for index in range(2)]
    assert closed == [{CLOSED: b""}] * 2


def _rows(fleet: Fleet, index: int, owner: bytes = MACHINE) -> Space:
    return Space(fleet.stores[index], fleet.task.nonce(), owner)


def _pending(fleet: Fleet, index: int) -> int:
    rows = _rows(fleet, index).rows()
    return sum(key[:1] == b"r" and value[0] == 1 for key, value in rows)


async def test_batches_that_are_over_keep_their_own_reports_only() -> None:
    """Else the memory of an epoch grows with the square of its batches; also after a restart."""
    async with Fleet(3, batches=3, dropout=0) as fleet:
        for batch in range(3):
            await fleet.report_all(range(3))
            check(await fleet.collect(batch), range(3))
        await fleet.ends()
        for index in range(2):
            fleet.start(index, collect_only=True)
        for batch in range(3):
            check(await fleet.collect(batch), range(3))
        for service in fleet.services.values():
            books = [machine._book for machine in service._rounds._batches._retired.values()]
            maps = [
                (b.included, b.rejected, b.spent, b.refused, b.left, b._receipts) for b in books
            ]
            assert [len(set().union(*kept)) for kept in maps] == [3, 3, 9]
        await fleet.ends()


async def test_a_server_that_is_stopped_goes_on_where_it_was() -> None:
    """Row 92."""
    async with Fleet(4) as fleet:
        await fleet.report_all(range(2))
        for service in fleet.services.values():
            service.stop()
        assert await fleet.ends() == [[], []]
        for index in range(2):
            fleet.start(index)
        await fleet.report_all([2, 3])
        check(await fleet.collect(), range(4))


@patient
async def test_a_batch_that_is_too_small_stays_open_and_spends_no_report() -> None:
    """Rules A7, A14: however many deadlines pass; who collects meanwhile is told how far it is."""
    async with Fleet(4, 3, dropout=0, options={"deadline": SHORT}) as fleet:
        await fleet.report_all([0, 1])
        with pytest.raises(Aborted, match="is open: server 0 has 2 reports so far.* has 4"):
            await fleet.collect(timeout=3 * SHORT)
        await fleet.report_all([2, 3])
        check(await fleet.collect(), range(4))


@patient
async def test_a_server_that_stays_away_is_named_and_the_batch_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 65 and rule A14: no partial sum, and no report is spent; the collector hears how many
    there are. Once the server is back, all are summed."""
    async with Fleet(3, 3, options={"deadline": SHORT, "patience": SHORT}) as fleet:
        await fleet.ready()
        await fleet.crash(2)
        fleet.services[2].on_link = gone  # type: ignore[method-assign]
        reporting = [asyncio.create_task(fleet.report(who)) for who in range(3)]
        with pytest.raises(Aborted, match="is open: server 0 has 0 reports so far.* has 3"):
            await fleet.collect(timeout=4 * SHORT)
        assert not fleet.running[0].done() and not any(task.done() for task in reporting)
        assert "batch 0 stays open: 0 reports so far, and server 2 has not answered" in caplog.text
        fleet.start(2)
        assert all(outcome.stored for outcome in await asyncio.gather(*reporting))
        check(await fleet.collect(), range(3))


async def gone(link: Link) -> None:
    await link.close()


@patient
async def test_the_collector_names_who_does_not_answer() -> None:
    """Row 65."""
    async with Fleet(3, 3) as fleet:
        await fleet.report_all(range(3))
        links = fleet.openers(Role.COLLECTOR)
        links[server_id(1)] = nowhere
        with pytest.raises(Aborted, match="server 1"):
            await collect_over(
                fleet.task, fleet.keys.collector, links, timeout=SHORT, backoff=QUICK
            )


async def nowhere() -> Link:
    raise LinkClosed("nobody listens")


async def test_a_leader_without_its_key_is_refused_and_a_new_one_replaces_the_old() -> None:
    """Row 78: whoever does not prove to be the leader changes nothing."""
    async with Fleet(3) as fleet:
        await fleet.ready()
        thief = Greeter(fleet.task, 0, fleet.keys.servers[1].signing)
        link = await fleet.opener(1)()
        with pytest.raises(LinkClosed):
            await greet(link, thief.call(1))
        true = Greeter(fleet.task, 0, fleet.keys.servers[0].signing)
        link = await fleet.opener(1)()
        await greet(link, true.call(1))  # the leader's own link is dropped, and it comes back
        await fleet.report_all(range(3))
        check(await fleet.collect(), range(3))
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_messages_before_a_hello_are_refused() -> None:
    """Row 78: no credential, no change."""
    async with Fleet(3) as fleet:
        link = await fleet.opener(1)()
        await link.send(Message(fleet.task.nonce(0), b"collect me").encode())
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_clients_are_refused_by_a_helper_that_they_do_not_speak_to() -> None:
    async with Fleet(3) as fleet:
        link = await fleet.opener(1)()
        await link.send(
            Hello(fleet.task.digest(), Role.CLIENT, 0, bytes(CHALLENGE_SIZE)).encode(
                fleet.task.nonce()
            )
        )
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_a_flood_of_links_is_turned_away() -> None:
    """Rows 69 and 79: and a link that says nothing takes no place in the batch."""
    async with Fleet(3, options={"max_links": 4}) as fleet:
        await fleet.ready()
        idle = [await fleet.client_link() for _ in range(3)]
        await fleet.report_all(range(3))
        check(await fleet.collect(), range(3))
        for link in idle:
            await link.close()
    async with Fleet(3, options={"max_links": 1}) as fleet:
        first = await fleet.client_link()
        while not len(fleet.services[0]._rounds._clients):
            await asyncio.sleep(0)
        second = await fleet.client_link()
        with pytest.raises(LinkClosed):
            await second.receive()
        await first.close()


async def test_links_that_have_not_said_hello_are_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 69: the oldest makes room, also in the seconds that it would have had for a hello."""
    async with Fleet(3, options={"max_links": 1}) as fleet:
        await fleet.ready()
        helpers = len(fleet.task.committee.servers) - 1
        silent = [await fleet.opener(0)() for _ in range(1 + RESERVE - helpers)]
        last = await fleet.opener(0)()
        with pytest.raises(LinkClosed):
            await silent[0].receive()
        assert "a newer link needs its room" in caplog.text
        for link in (*silent, last):
            await link.close()


async def test_what_a_member_service_refuses_to_be() -> None:
    fleet = Fleet(3, 3)
    task, keys, store = fleet.task, fleet.keys.servers, MemoryStore()
    with pytest.raises(ParameterError, match="not the secret keys of server 1"):
        MemberService(task, 1, keys[2], store)
    with pytest.raises(ParameterError, match="calls on helpers"):
        MemberService(task, 0, keys[0], store, peers={1: "ws://127.0.0.1:1"})
    with pytest.raises(ParameterError, match="calls on no other"):
        MemberService(task, 1, keys[1], store, peers={0: "ws://127.0.0.1:1"})
    with pytest.raises(ParameterError, match="seconds above 0"):
        MemberService(task, 1, keys[1], store, deadline=math.nan)
    with pytest.raises(ParameterError, match="batches"):
        MemberService(task, 1, keys[1], store, batches=0)
    leader = MemberService(
        task, 0, keys[0], store, peers={1: "ws://192.0.2.1", 2: "ws://192.0.2.2"}
    )
    with pytest.raises(PolicyRefused, match="without TLS"):
        await leader.run()
    with pytest.raises(LocalProtocolError, match="once"):
        await leader.run()


async def test_what_a_client_refuses() -> None:
    direct, relay = Fleet(3, 2, True).task, Fleet(3, 2).task
    url = "ws://127.0.0.1:1"
    with pytest.raises(ParameterError, match="leader's alone"):
        openers(relay, [url] * 2, Role.CLIENT)
    with pytest.raises(ParameterError, match="all 2 servers"):
        openers(direct, [url], Role.CLIENT)
    with pytest.raises(InputError):
        await report(relay, {"update": vector(0)}, urls=[url], payload=b"another task")
    with pytest.raises(InputError):
        Reporter(relay, {"update": vector(0)[: LENGTH - 1]})
    with pytest.raises(PolicyRefused):
        await report(relay, {"update": vector(0)}, urls=["ws://192.0.2.1"])


async def test_a_client_ends_when_a_server_says_nonsense() -> None:
    async with Fleet(3) as fleet:
        ours, theirs = memory.pair()

        async def open_link() -> Link:
            return ours

        await theirs.send(Message(fleet.task.nonce(), b"no message").encode())
        outcome = await fleet.reporter(0).deliver({SERVER: open_link}, timeout=SOON)
    assert outcome.reason is AbortReason.PEER_FAULT and not outcome.stored


async def test_events_are_observed() -> None:
    seen: list[Event] = []
    async with Fleet(3, options={"observer": seen.append}) as fleet:
        await fleet.report_all(range(3))
        await fleet.collect()
        await fleet.ends()
    assert {event.phase for event in seen if isinstance(event, PhaseEntered)} == {
        "upload",
        "agree",
        "collect",
    }
    assert not [event for event in seen if isinstance(event, Dropped)]


async def test_a_batch_that_is_over_writes_no_more() -> None:
    """A leader that brings a share to an old batch would have it forgotten where it was summed."""
    async with Fleet(3, 2, batches=2, dropout=0) as fleet:
        await fleet.report_all(range(3))
        await fleet.collect(0)
        await fleet.crash(0)
        greeter = Greeter(fleet.task, 0, fleet.keys.servers[0].signing)
        link = await fleet.opener(1)()
        await greet(link, greeter.call(1))
        report = decode_frame(said(fleet.reporter(9))[SERVER], limit=10_000)
        assert isinstance(report, Message)
        before = dict(fleet.stores[1].rows())
        (relayed,) = _relayed(fleet, report.data)
        for batch in (1, 0, 1):
            await link.send(Message(fleet.task.nonce(batch), relayed).encode())
        verdicts = [await link.receive() for _ in range(2)]  # of the batch that runs
        assert verdicts[0] == verdicts[1]
        after = dict(fleet.stores[1].rows())
        changed = {key for key in after if before.get(key) != after[key]}
        assert [after[key][1:5] for key in changed] == [(1).to_bytes(4)]
        fleet.start(0)


def _batches(fleet: Fleet, index: int) -> tuple[Batches, Outbox]:
    outbox = Outbox()
    epoch = Epoch(fleet.task, index, fleet.keys.servers[index])
    batches = Batches(epoch, outbox, None)
    batches.open({}, 0.0)
    return batches, outbox


def _relayed(fleet: Fleet, report: bytes) -> list[bytes]:
    """What a leader sends to its helper for a report."""
    batches, _ = _batches(fleet, 0)
    batches.receive(PartyId(0), 0, report, 0.0)
    return [said.message.data for said in batches.said if said.message.to == server_id(1)]


@patient
@pytest.mark.parametrize("direct", [False, True])
async def test_a_report_that_is_summed_gets_its_receipt_after_the_last_batch(direct: bool) -> None:
    """Row 71: a crash may have kept the receipt, and the batch may have ended meanwhile."""
    async with Fleet(3, 2, direct) as fleet:
        reporter = fleet.reporter(0)
        bytes_of_it = said(reporter)
        links = fleet.openers(Role.CLIENT)
        assert (await reporter.deliver(links, timeout=SOON, backoff=QUICK)).stored
        await fleet.report_all([1, 2])
        while not all(service.reports for service in fleet.services.values()):
            await asyncio.sleep(0.001)
        for to, data in bytes_of_it.items():
            link = await fleet.client_link(to)
            await link.send(data)
            async with asyncio.timeout(SOON):
                for _ in range(1 if direct else 2):  # a leader that relays speaks for both
                    frame = decode_frame(await link.receive(), limit=1000)
                    assert isinstance(frame, Message) and frame.data[2] == Tag.RECEIPT
            await link.close()
        with pytest.raises(LinkTimeout):
            late = fleet.reporter(4)
            await late.deliver(fleet.openers(Role.CLIENT), timeout=SHORT, backoff=QUICK)
        check(await fleet.collect(), range(3))
        await fleet.ends()


class Altering:
    """A link on which the last byte of every receipt is another: of its signature."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.send, self.close = link.send, link.close

    async def receive(self) -> bytes:
        data = await self._link.receive()
        frame = decode_frame(data, limit=10_000)
        if isinstance(frame, Message) and frame.data[2] == Tag.RECEIPT:
            return data[:-1] + bytes([data[-1] ^ 1])
        return data


@pytest.mark.parametrize("direct", [False, True])
async def test_a_report_without_its_own_receipts_is_not_stored(direct: bool) -> None:
    """specs/20-additive.md §7.4: whoever asks hears that, and of which server."""
    async with Fleet(3, 2, direct) as fleet:
        outcome = await fleet.report(0, Altering)
        assert not outcome.stored and outcome.reason is AbortReason.PEER_FAULT
        named = "has not signed for this report" if direct else "what server 0 brought"
        assert named in outcome.detail
