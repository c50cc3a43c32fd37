"""Jobs on executors: the same sum everywhere, keys in clear nowhere, and a prompt end."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import multiprocessing
import os
import pickle  # noqa: TID251  # what process pools do to a job; nothing here comes from a peer
import pickletools
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from secagg import party
from secagg.drive.aio import Contribution, Offer, Service, participate
from secagg.drive.executor import check_executor, run_jobs, run_jobs_async
from secagg.errors import Aborted, InvalidKey, PolicyRefused
from secagg.fields import Integer
from secagg.layout import Layout, RingVector, Segment
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.ring import Ring
from secagg.sansio import Event, Job, PhaseEntered
from secagg.testing import Act, Carried, Network, Schedule
from secagg.transport import memory
from secagg.transport.base import Link
from secagg.types import AbortReason, Buffer, PartyId, Seed, SessionId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.jobs import AgreeJob
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.rebuilding import DecodeJob, SubsetJob
from tests.networks import COMPLETE, inputs_of, network_of, secrets_of, standing

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
from distributed import Client, LocalCluster  # noqa: E402
from distributed.cfexecutor import ClientExecutor  # noqa: E402
from distributed.security import Security  # noqa: E402

SOON = 30.0
"""Seconds that no test waits for: a deadline that only ends a test that hangs."""
NO_PAGE = "127.0.0.1:0"
"""Where Dask shows its state: on a free port of loopback, or else it is one port for every run."""
BLOCK = 1 << 16
LONG = Layout((Segment(Ring(20), 40_000), Segment(Ring(64), 20_001)))
LENGTH = 40_000
LOST = PartyId(1)
KINDS = ["inline", "threads", "processes", "dask"]


@contextmanager
def dask(**options: Any) -> Iterator[Client]:
    with (
        LocalCluster(threads_per_worker=1, dashboard_address=NO_PAGE, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    """A worker process on loopback: that jobs end in any order is for threads and the pool."""
    with dask(n_workers=1, processes=True) as client:
        yield client


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as made:
        yield made


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param == "dask":
        yield request.getfixturevalue("cluster").get_executor(pure=False)
    elif request.param == "processes":
        yield request.getfixturevalue("pool")
    elif request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        yield None


@pytest.fixture
def _blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of the smallest block, so that there are several in a short vector."""
    monkeypatch.setattr("secagg_protocols.secagg.jobs._LARGEST_BLOCK", BLOCK)


def at_jobs(layout: Layout = LONG) -> Network:
    """One client was lost after share-keys; the server is about to unmask."""
    schedule = Schedule({("masked-input", LOST): Act.GONE})
    network = network_of(COMPLETE, schedule=schedule, layout=layout).run_until("unmask")
    network.step()
    return network


def plain(layout: Layout, without: PartyId) -> RingVector:
    inputs = inputs_of(COMPLETE.clients, layout)
    total = layout.zeros()
    for who, vector in inputs.items():
        for lane, one in zip(total, vector, strict=True):
            lane += one * (who != without)
    return tuple(
        lane & segment.group.dtype.type(segment.group.mask)
        for lane, segment in zip(total, layout.segments, strict=True)
    )


# The same sum everywhere


@pytest.mark.parametrize("executor", KINDS, indirect=True)
@pytest.mark.usefixtures("_blocks")
def test_every_executor_gives_the_same_bits(executor: Executor | None) -> None:
    """Against plain sums, so each is bit-identical to all others."""
    network = at_jobs()
    kinds: list[str] = []

    def finish(job: Job, value: Any) -> None:
        kinds.append(type(job).__name__)
        network.server.finish(job, value)

    while not network.server.done:
        run_jobs(network.server.jobs(), finish, executor)
    assert kinds == ["AgreeJob"] + ["MaskJob"] * 6
    expected = plain(LONG, LOST)
    assert all(map(np.array_equal, network.server.result().vector, expected))


@pytest.mark.parametrize("executor", KINDS, indirect=True)
@pytest.mark.usefixtures("_blocks")
async def test_a_whole_round_of_the_service(executor: Executor | None) -> None:
    agreed = plan(
        clients=5,
        fields={"update": Integer(LENGTH, 1000)},
        corrupt=0,
        dropout=0.4,
        protocol="secagg",
    )
    async with _service(agreed) as (service, links):

        def observer(event: Event) -> None:
            if event == PhaseEntered("masked-input"):  # all have shared keys
                links[LOST].close_nowait()

        total = await service.run_round(
            agreed, deadlines=SOON, executor=executor, observer=observer
        )
    assert (total.contributors, total.dropped) == ({0, 2, 3, 4}, {LOST})
    assert np.array_equal(total.levels["update"], sum(_levels(i) for i in (0, 2, 3, 4)))


def _levels(who: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return (np.arange(LENGTH) * (2 * who + 3)) % 2001 - 1000


def _inputs(offer: Offer) -> Contribution:
    return Contribution({"update": _levels(offer.party)})


class Cut:
    """A link that can be closed from within an observer."""

    def __init__(self, link: Link) -> None:
        self._link, self._closing = link, asyncio.Event()
        self.send, self.close = link.send, link.close

    def close_nowait(self) -> None:
        self._closing.set()

    async def receive(self) -> bytes:
        receiving = asyncio.ensure_future(self._link.receive())
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait({receiving, closing}, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if self._closing.is_set():
            receiving.cancel()
            await self._link.close()
        return await self._link.receive() if receiving.cancelled() else await receiving


@asynccontextmanager
async def _service(agreed: Plan) -> AsyncIterator[tuple[Service, list[Cut]]]:
    service, links = Service(), []
    tasks: list[asyncio.Task[Any]] = []
    for i in range(agreed.threat.clients):
        ours, theirs = memory.pair()
        links.append(Cut(ours))
        tasks.append(asyncio.create_task(service.on_link(theirs)))
        await service.ready(i + 1, SOON)
        tasks.append(asyncio.create_task(participate(links[-1], _inputs, plan=agreed)))
    try:
        yield service, links
    finally:
        await service.close()
        async with asyncio.timeout(SOON):
            await asyncio.gather(*tasks, return_exceptions=True)


# What a job carries


@dataclass
class Known:
    """All that clients kept to themselves, at any time up to now: they forget as they go on."""

    seeds: dict[PartyId, Seed] = field(default_factory=dict)
    scalars: dict[PartyId, Seed] = field(default_factory=dict)
    others: set[bytes] = field(default_factory=set)

    def look(self, network: Network) -> None:
        for who, client in network.clients.items():
            now, own = standing(client), getattr(standing(client), "keys", standing(client))
            if hasattr(own, "s"):
                self.scalars[who] = own.s.secret
            if hasattr(now, "b"):
                self.seeds[who] = now.b
            known = {self.scalars[who].expose(), *(s.expose() for s in self.seeds.values())}
            self.others |= set(secrets_of(client)) - known

    def closed(self, opened: Seed) -> set[bytes]:
        own = {one.expose() for one in (*self.seeds.values(), *self.scalars.values())}
        return (own | self.others) - {opened.expose()}


def _byte_strings(job: Job) -> set[bytes]:
    operations = list(pickletools.genops(pickle.dumps(job)))
    return {value for _, value, _ in operations if isinstance(value, bytes | bytearray)}


def test_a_pickled_job_holds_keys_that_were_opened_and_nothing_else() -> None:
    """Every byte string in the pickle is accounted for: what is public, s of the one that was
    lost, the masks of the sum; and no global of it leads out of a short list."""
    layout = Layout((Segment(Ring(5), 7), Segment(Ring(32), 3)))
    schedule = Schedule({("masked-input", LOST): Act.GONE})
    network, known = network_of(COMPLETE, schedule=schedule, layout=layout), Known()
    network.start()
    while not (jobs := network.server.jobs()):
        known.look(network)
        network.step()
    assert len(known.seeds) == len(known.scalars) == 6 and len(known.others) >= 60
    opened = known.scalars[LOST]

    (agree,) = jobs
    assert isinstance(agree, AgreeJob)
    public = {agree.session, agree.dropped.public, *(peer.public for peer in agree.peers)}
    assert _byte_strings(agree) == public | {opened.expose()}
    assert {peer.index for peer in agree.peers} == {0, 2, 3, 4, 5}
    network.server.finish(agree, agree())

    masks = network.server.jobs()
    for number, job in enumerate(masks):
        expected = {
            keys.self_keys(known.seeds[PartyId(i)], agree.session, i, 2)[number]
            for i in (0, 2, 3, 4, 5)
        } | {
            keys.pair_keys(opened, agree.dropped, peer, agree.session, 2)[number]
            for peer in agree.peers
        }
        cut = {job.keys[at : at + 32] for at in range(0, len(job.keys), 32)}
        assert cut == expected and len(job.signs) == 10
        assert _byte_strings(job) == {job.keys, job.signs}

    for job in (agree, *masks):
        pickled = pickle.dumps(job)
        assert not any(one in pickled for one in known.closed(opened))
        assert (opened.expose() in pickled) == (job is agree)
        texts = {v for _, v, _ in pickletools.genops(pickled) if isinstance(v, str)}
        assert {t.split(".")[0] for t in texts if "secagg" in t} <= {"secagg", "secagg_protocols"}
        assert not {t for t in texts if "numpy" in t}
        again = pickle.loads(pickled)
        assert again == job and np.array_equal(again(), job())


def test_a_pickled_search_holds_the_answers_about_one_dealer_and_nothing_else() -> None:
    """Shares of the very secret that is to be rebuilt; nothing of others, and not its fellow."""

    def wire(message: Carried) -> Sequence[bytes]:
        lies = message.sender in (0, 4) and message.data[2] == Tag.UNMASK_ANSWER
        at = HEADER_SIZE + 40 * 2 + 7  # of dealer 2
        data = message.data
        return (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if lies else data,)

    network, known = network_of(COMPLETE, wire=wire), Known()
    network.start()
    while not (jobs := network.server.jobs()):
        known.look(network)
        network.step()
    seen = []
    while isinstance(jobs[0], DecodeJob | SubsetJob):
        (job,) = jobs
        seen.append(type(job))
        wanted = job.wanted
        held = {wanted.session, wanted.bound, wanted.answers.data}
        if isinstance(job, DecodeJob):
            held.add(job.asked)  # a digest of all that was answered
        assert _byte_strings(job) == held and wanted.dealer == 2
        secret = known.seeds[PartyId(2)]
        shares = {wanted.answers.data[i : i + 40] for i in range(0, 240, 40)}
        pickled = pickle.dumps(job)
        assert not any(one in pickled for one in known.closed(Seed(bytes(32))) - shares)
        assert secret.expose() not in pickled
        assert pickle.loads(pickled) == job and pickle.loads(pickled)() == job()
        network.server.finish(job, pickle.loads(pickle.dumps(job())))
        jobs = network.server.jobs()
    assert seen == [DecodeJob, SubsetJob]


def test_a_job_that_fails_on_a_worker_does_not_log_its_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Dask logs the task that failed, and at times with its arguments."""
    secret = b"a secret of thirty-two bytes, 32"
    bad = AgreeJob(
        SessionId(bytes(32)), Endpoint(0, b"d" * 32), secret, (Endpoint(1, bytes(32)),), 1
    )
    with (
        caplog.at_level(logging.DEBUG),
        dask(n_workers=1, processes=False) as client,
        pytest.raises(InvalidKey, match="small order"),
    ):
        run_jobs([bad], lambda job, value: None, client.get_executor(pure=False))
    assert "Compute Failed" in caplog.text
    assert "thirty-two" not in caplog.text and secret.hex() not in caplog.text


# Who may have jobs


class Cluster:
    """What a Dask client says of its cluster."""

    def __init__(
        self, connected: str, *workers: str, itself: str | None = None, asynchronous: bool = False
    ) -> None:
        self.scheduler, self._asynchronous = self, asynchronous
        self.address = connected
        self._itself, self._workers = itself or connected, workers

    def scheduler_info(self) -> dict[str, Any]:
        return {"address": self._itself, "workers": {}}

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self._workers, 3)

    @property
    def executor(self) -> Executor:
        return ClientExecutor(self, pure=False)  # type: ignore[no-any-return]


HERE = "tcp://127.0.0.1:8786"
PRIVATE = [
    Cluster(HERE),
    Cluster(HERE, "tcp://127.0.0.1:1", "tcp://127.8.9.1:2", "tcp://[::1]:3", "tcp://localhost:4"),
    Cluster("inproc://10.0.0.1/1/2", "inproc://10.0.0.1/1/3"),
    Cluster("tls://10.0.0.1:8786", "tls://10.0.0.2:1", "tls://worker.example:2"),
    Cluster(HERE, "tls://10.0.0.2:1"),
]
OPEN = {
    "tcp://10.0.0.1:8786": Cluster("tcp://10.0.0.1:8786", "tcp://127.0.0.1:1"),
    "tcp://10.0.0.2:2": Cluster(HERE, "tcp://127.0.0.1:1", "tcp://10.0.0.2:2"),
    "tcp://10.0.0.3:3": Cluster("tls://10.0.0.1:8786", "tls://10.0.0.2:2", "tcp://10.0.0.3:3"),
    "tcp://192.168.1.5:8786": Cluster(HERE, itself="tcp://192.168.1.5:8786"),
    "tcp://0.0.0.0:8786": Cluster(HERE, itself="tcp://0.0.0.0:8786"),
    "tcp://[fe80::1]:7": Cluster(HERE, "tcp://[fe80::1]:7"),
    "tcp://localhost.example:7": Cluster(HERE, "tcp://localhost.example:7"),
    "tcp://127.0.0.1.example:7": Cluster(HERE, "tcp://127.0.0.1.example:7"),
    "tcp://127.0.0.1:1@10.0.0.1:7": Cluster(HERE, "tcp://127.0.0.1:1@10.0.0.1:7"),
    "ucx://10.0.0.1:7": Cluster(HERE, "ucx://10.0.0.1:7"),
    "ws://10.0.0.1:7": Cluster(HERE, "ws://10.0.0.1:7"),
    "tlsx://10.0.0.1:7": Cluster(HERE, "tlsx://10.0.0.1:7"),
    "10.0.0.1:7": Cluster(HERE, "10.0.0.1:7"),
    "tls": Cluster(HERE, "tls"),
}


@pytest.mark.parametrize("cluster", PRIVATE)
def test_a_cluster_that_nobody_else_reads(cluster: Cluster) -> None:
    check_executor(cluster.executor)


@pytest.mark.parametrize("address", OPEN)
def test_a_cluster_in_clear_is_refused_by_address(address: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        check_executor(OPEN[address].executor)
    assert f" {address}," in str(refused.value)
    check_executor(OPEN[address].executor, insecure_executor=True)


@pytest.mark.parametrize("insecure", [False, True])
def test_an_asynchronous_client_is_refused(insecure: bool) -> None:
    with pytest.raises(PolicyRefused, match="asynchronous=False"):
        check_executor(Cluster(HERE, asynchronous=True).executor, insecure_executor=insecure)


async def test_a_real_asynchronous_client_is_refused() -> None:
    options = {"n_workers": 1, "processes": False, "dashboard_address": NO_PAGE}
    async with (
        LocalCluster(asynchronous=True, **options) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        with pytest.raises(PolicyRefused, match="asynchronous=False"):
            await run_jobs_async([Answer(1)], lambda job, value: None, client.get_executor())


class Strange(Executor):
    """Of a class that nobody here knows; jobs travel in pickles, and end when they are told to."""

    def __init__(self, num_workers: int = 1) -> None:
        self.num_workers = num_workers
        self.held: list[tuple[Future[Any], bytes]] = []
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.held.append((future, pickle.dumps((fn, args))))
        self.most = max(self.most, len(self.held))
        return future

    def wait(self, running: Collection[Future[Any]], **options: Any) -> Any:
        """In place of concurrent.futures.wait: whoever waits has submitted what it will."""
        future, pickled = self.held.pop(0)
        fn, args = pickle.loads(pickled)
        future.set_result(fn(*args))
        return wait(running, **options)


def test_local_pools_pass_and_an_unknown_class_does_not() -> None:
    check_executor(None)
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1) as processes:
        check_executor(threads)
        check_executor(processes)
    with pytest.raises(PolicyRefused, match="Strange"):
        check_executor(Strange())
    check_executor(Strange(), insecure_executor=True)


@pytest.mark.parametrize("refused", [Strange(), OPEN["tcp://10.0.0.2:2"].executor])
async def test_no_job_reaches_an_executor_that_is_refused(refused: Executor) -> None:
    """Nor is a round announced for it."""

    def submit(*args: object) -> None:
        raise AssertionError("a job has left")

    refused.submit = submit  # type: ignore[assignment, method-assign]
    with pytest.raises(PolicyRefused):
        run_jobs([Answer(1)], lambda job, value: None, refused)
    with pytest.raises(PolicyRefused):
        await run_jobs_async([Answer(1)], lambda job, value: None, refused)
    service, draws = Service(randomness=lambda size: pytest.fail("announced")), toy()
    with pytest.raises(PolicyRefused):
        await service.run_round(draws, deadlines=SOON, executor=refused)


def toy() -> Plan:
    return plan(clients=1, fields={"u": Integer(3, 9)}, corrupt=0, dropout=0, protocol="plainsum")


def test_a_cluster_with_tls_on_loopback() -> None:
    """Certificates made for the occasion; the addresses say tls, and the sum is the same."""
    options = {"protocol": "tls", "security": Security.temporary()}
    network = at_jobs(Layout((Segment(Ring(16), 50),)))
    with dask(n_workers=1, processes=False, **options) as client:
        assert client.scheduler.address.startswith("tls://")
        while not network.server.done:
            run_jobs(network.server.jobs(), network.server.finish, client.get_executor(pure=False))
    expected = plain(Layout((Segment(Ring(16), 50),)), LOST)
    assert all(map(np.array_equal, network.server.result().vector, expected))


# What threads are worth


@contextmanager
def _no_forced_switches() -> Iterator[None]:
    """A thread has the GIL for as long as it does not give it up by itself."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def _lets_others_run(call: Callable[[], object], times: int) -> bool:
    """Whether another thread came to run during some of so many calls, one after the other."""
    turns, stop, page = 0, threading.Event(), bytes(1 << 16)

    def other() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            hashlib.sha256(page).digest()  # gives up the GIL

    thread = threading.Thread(target=other)
    with _no_forced_switches():
        thread.start()
        while not turns:
            hashlib.sha256(page).digest()
        before = turns
        for _ in range(times):
            call()
            if turns > before:
                break
        found = turns > before
        stop.set()
        thread.join(SOON)
    return found


def test_both_kinds_of_jobs_let_other_threads_run() -> None:
    """No clock is asked: a job that held the GIL throughout would leave another thread no turn,
    however often it is run."""
    assert not _lets_others_run(lambda: sum(range(10_000)), 1000)
    network = at_jobs()
    while jobs := network.server.jobs():
        for job in jobs:
            network.server.finish(job, job())  # compiled by now
            assert _lets_others_run(job, 100_000)


# A few at a time, and a prompt end


@dataclass(frozen=True)
class Answer:
    value: int

    def __call__(self) -> int:
        if self.value < 0:
            raise ZeroDivisionError("a bug in a job")
        return self.value**2


@dataclass(frozen=True)
class Gated:
    """Notes that it began, and goes on when it may."""

    began: list[int]
    gate: threading.Event = field(repr=False)

    def __call__(self) -> None:
        self.began.append(1)
        assert self.gate.wait(SOON)


@pytest.mark.parametrize(("workers", "expected"), [(1, 4), (5, 10)])
def test_two_jobs_a_worker_are_under_way(
    monkeypatch: pytest.MonkeyPatch, workers: int, expected: int
) -> None:
    """Results wait for no more than that many blocks, however long the vector is; and a worker
    that is done finds its next job waiting. There are two CPUs here, whatever the executor says."""
    held, results = Strange(workers), []
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("concurrent.futures.wait", held.wait)
    jobs = [Answer(i) for i in range(50)]
    run_jobs(jobs, lambda job, value: results.append(value), held, insecure_executor=True)
    assert (held.most, held.held) == (expected, [])
    assert results == [i**2 for i in range(50)]


@pytest.mark.parametrize(
    ("workers", "expected"), [((), 4), ((HERE,), 6), ((HERE, "inproc://1"), 12)]
)
def test_a_cluster_has_as_many_as_it_has_threads(
    monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...], expected: int
) -> None:
    """Three a worker here. One without workers may grow on demand, and is given some too: to hand
    out nothing would be to finish nothing."""
    held, results = Strange(), []
    executor = Cluster(HERE, *workers).executor
    executor.submit = held.submit  # type: ignore[method-assign]
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("concurrent.futures.wait", held.wait)
    run_jobs([Answer(i) for i in range(50)], lambda job, value: results.append(value), executor)
    assert held.most == expected and len(results) == 50


@pytest.mark.usefixtures("_blocks")
def test_a_result_is_as_large_as_its_block() -> None:
    network = at_jobs()
    (agree,) = network.server.jobs()
    network.server.finish(agree, agree())
    sizes = [job().nbytes for job in network.server.jobs()]
    assert max(sizes) <= BLOCK
    assert sum(sizes) == 4 * 40_000 + 8 * 20_001


def test_an_exception_of_finish_ends_the_work() -> None:
    """With one thread, what was not begun when it was raised never is."""
    executed: list[int] = []

    @dataclass(frozen=True)
    class Counted:
        number: int

        def __call__(self) -> None:
            executed.append(self.number)

    def finish(job: Job, value: object) -> None:
        raise ZeroDivisionError("a bug in the machine")

    with ThreadPoolExecutor(1) as one:
        with pytest.raises(ZeroDivisionError):
            run_jobs([Counted(i) for i in range(1000)], finish, one)
        one.shutdown()
    assert 1 <= len(executed) < 100


async def test_a_failing_job_ends_the_work() -> None:
    jobs = [Answer(1), Answer(-1), Answer(2)]
    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs, lambda job, value: None)
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(ZeroDivisionError):
            run_jobs(jobs, lambda job, value: None, threads)
        for executor in (threads, None):
            with pytest.raises(ZeroDivisionError):
                await run_jobs_async(jobs, lambda job, value: None, executor)


async def test_when_many_jobs_fail_at_once_no_exception_is_left_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio complains of those that nobody looked at, once they are collected."""

    class Fails(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(ZeroDivisionError("a bug in a job"))
            return future

    with Fails(1) as executor, pytest.raises(ZeroDivisionError):
        await run_jobs_async([Answer(1)] * 9, lambda job, value: None, executor)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_cancelling_does_not_wait_for_jobs_that_have_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            self.submitted += 1
            return super().submit(*args, **kwargs)

    monkeypatch.setattr("os.cpu_count", lambda: 3)
    began: list[int] = []
    gate, finished = threading.Event(), []
    jobs = [Gated(began, gate) for _ in range(100)]
    with Counting(2) as threads:
        working = asyncio.create_task(
            run_jobs_async(jobs, lambda job, value: finished.append(job), threads)
        )
        while len(began) < 2:
            await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working  # while both wait at the gate
        gate.set()
    assert (len(began), threads.submitted, finished) == (2, 6, [])


class Unmasking(party.Server):
    """Whose work is at hand from the start, and that notes why it was aborted."""

    work: Sequence[Job] = ()
    aborted: list[AbortReason] = []
    broken = False

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if self.broken:
            raise ZeroDivisionError("a bug in the machine")
        super().receive(sender, message)

    def jobs(self) -> Sequence[Job]:
        work, Unmasking.work = Unmasking.work, ()
        return work

    def abort(self, why: AbortReason, /) -> None:
        self.aborted.append(why)
        super().abort(why)


async def test_cancelling_a_round_amid_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is aborted and the clients are told while two jobs are still at work."""
    began: list[int] = []
    gate = threading.Event()
    monkeypatch.setattr(party, "Server", Unmasking)
    Unmasking.work, Unmasking.aborted = [Gated(began, gate) for _ in range(100)], []
    agreed = plan(
        clients=2, fields={"update": Integer(LENGTH, 1000)}, corrupt=0, protocol="plainsum"
    )
    with ThreadPoolExecutor(2) as threads:
        async with _service(agreed) as (service, _):
            running = asyncio.create_task(
                service.run_round(agreed, deadlines=SOON, executor=threads)
            )
            while len(began) < 2:
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert Unmasking.aborted == [AbortReason.CANCELLED]
        gate.set()
    assert len(began) == 2


async def test_a_bug_amid_the_jobs_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 103: nothing more is computed for a machine that is broken."""
    began: list[int] = []
    gate = threading.Event()
    monkeypatch.setattr(party, "Server", Unmasking)
    monkeypatch.setattr(Unmasking, "broken", True)
    Unmasking.work, Unmasking.aborted = [Gated(began, gate) for _ in range(100)], []
    agreed = plan(
        clients=2, fields={"update": Integer(LENGTH, 1000)}, corrupt=0, protocol="plainsum"
    )
    with ThreadPoolExecutor(2) as threads:
        async with _service(agreed) as (service, _):
            running = asyncio.create_task(
                service.run_round(agreed, deadlines=SOON, executor=threads)
            )
            with pytest.raises(ZeroDivisionError):
                await running
            gate.set()  # what had begun ends now, and makes no room for more
            for _ in range(20):  # of those that would come next, each waits behind one of these
                await asyncio.get_running_loop().run_in_executor(threads, int)
    assert 0 < len(began) <= 2 * (os.cpu_count() or 1)


async def test_cancelling_on_a_cluster(cluster: Client) -> None:
    """The jobs not begun are taken back, and the cluster serves the next round."""
    executor = cluster.get_executor(pure=False)
    first = asyncio.Event()
    finished: list[Any] = []

    def finish(job: Job, value: Any) -> None:
        finished.append(value)
        first.set()

    working = asyncio.create_task(
        run_jobs_async([Answer(i) for i in range(5000)], finish, executor)
    )
    await first.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert len(finished) < 5000
    again: list[int] = []
    await run_jobs_async([Answer(7)], lambda job, value: again.append(value), executor)
    assert again == [49]


async def test_an_executor_that_gives_up_is_an_abort_and_no_cancellation() -> None:
    """A CancelledError that nobody asked for would end whatever waits for the round."""

    class Quits(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Quits(1) as executor:
        for run in (
            lambda: run_jobs_async([Answer(1)], lambda job, value: None, executor),
            lambda: asyncio.to_thread(run_jobs, [Answer(1)], lambda job, value: None, executor),
        ):
            with pytest.raises(Aborted, match="the executor cancelled a job") as aborted:
                await run()
            assert aborted.value.reason is AbortReason.LOST
