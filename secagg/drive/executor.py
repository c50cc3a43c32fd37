"""Jobs on executors: which executors may have them, and a few of them at a time.

A job holds keys that the protocol has opened to the server and to nobody else, so it goes to the
server's own machines only, and never in clear over a network (specs/decisions/006-executors.md).
There is no scheduler here: an executor has its own.
"""

from __future__ import annotations

import asyncio
import operator
import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent import futures
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, Generic, TypeAlias, TypeVar

from secagg.errors import Aborted, PolicyRefused
from secagg.sansio import Job
from secagg.types import AbortReason

Finish: TypeAlias = Callable[[Job, Any], None]
"""A server machine's `finish`, called for one job at a time, in the order in which they end."""

_Future = TypeVar("_Future", futures.Future[Any], asyncio.Future[Any])
_Submit: TypeAlias = Callable[[Job], _Future]


def check_executor(executor: Executor | None, *, insecure_executor: bool = False) -> None:
    """PolicyRefused for an executor that could carry keys in clear to another machine.

    None, and the thread and process pools of the standard library, stay on this machine. An
    executor of a `distributed.Client` passes if its scheduler and all its present workers have
    addresses that are `tls://`, in this process, or on loopback. Nothing is known of any other
    class, an MPI pool for one, so it is refused; insecure_executor=True is the operator's word
    that nobody else reads its network.

    Asks a Dask scheduler, so it may block for a moment.
    """
    _size(executor, insecure_executor)


def run_jobs(
    jobs: Iterable[Job],
    finish: Finish,
    executor: Executor | None = None,
    *,
    insecure_executor: bool = False,
) -> None:
    """Runs every job and hands each result to `finish`; without an executor, in this thread.

    Two jobs a worker are under way at most, because a result may be as large as a block of the
    vector. Whatever ends this early, an exception of a job or of `finish` or an interrupt: jobs
    that have not begun are cancelled, and what the others still return is ignored.

    Raises PolicyRefused as check_executor does, before any job has left, and Aborted when the
    executor cancels a job on its own: it was shut down, or has lost its workers.
    """
    if executor is None:
        for job in jobs:
            finish(job, job())
        return

    def submit(job: Job) -> futures.Future[Any]:
        return executor.submit(operator.call, job)

    window = _Window(jobs, 2 * _size(executor, insecure_executor), submit)
    try:
        while running := window.fill():
            window.take(futures.wait(running, return_when=futures.FIRST_COMPLETED).done, finish)
    finally:
        window.abandon()


async def run_jobs_async(
    jobs: Iterable[Job],
    finish: Finish,
    executor: Executor | None = None,
    *,
    insecure_executor: bool = False,
) -> None:
    """run_jobs for asyncio: without an executor, in the running loop's threads.

    `finish` is called in the loop. Cancelling this does not wait for the jobs that have begun.
    """
    loop = asyncio.get_running_loop()
    # in a thread: a cluster that does not answer must not hold up the loop
    size = await asyncio.to_thread(_size, executor, insecure_executor)

    def submit(job: Job) -> asyncio.Future[Any]:
        return loop.run_in_executor(executor, operator.call, job)

    window = _Window(jobs, 2 * size, submit)
    try:
        while running := window.fill():
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            window.take(done, finish)
    finally:
        window.abandon()


class _Window(Generic[_Future]):
    """The jobs that wait, and a bounded number of those that are under way.

    What is submitted is operator.call with the job, not the job itself: Dask names a task after
    its function, and keeps statistics by name for as long as its scheduler lives.
    """

    def __init__(self, jobs: Iterable[Job], in_flight: int, submit: _Submit[_Future]) -> None:
        self._waiting = deque(jobs)
        self._in_flight = in_flight
        self._submit: _Submit[_Future] = submit
        self._running: dict[_Future, Job] = {}

    def fill(self) -> Collection[_Future]:
        """What is under way; empty once every job is finished."""
        while self._waiting and len(self._running) < self._in_flight:
            job = self._waiting.popleft()
            self._running[self._submit(job)] = job
        return self._running.keys()

    def take(self, done: Iterable[_Future], finish: Finish) -> None:
        for future in done:
            if future.cancelled():  # by the executor: whoever else cancels does not come here
                raise Aborted(
                    AbortReason.LOST,
                    "the executor cancelled a job: it was shut down, or has lost its workers",
                )
            job = self._running.pop(future)
            finish(job, future.result())

    def abandon(self) -> None:
        for future in self._running:
            future.cancel()  # those that are done too: asyncio then reports no unread exception


def _size(executor: Executor | None, insecure: bool) -> int:
    """How many jobs the executor can run at once, or PolicyRefused.

    At least one for each CPU here: a cluster that grows on demand may begin with no worker, and
    more work than a pool has workers only waits.
    """
    here = os.cpu_count() or 1
    if executor is None or isinstance(executor, ThreadPoolExecutor | ProcessPoolExecutor):
        return here
    if (client := _dask_client(executor)) is not None:
        threads = _nthreads(client)
        if not insecure:
            _check_addresses(client, threads)
        return max(here, sum(threads.values()))
    if not insecure:
        raise PolicyRefused(
            f"whether {type(executor).__qualname__} encrypts what it sends is not known, and jobs "
            "hold keys: use threads, processes or a Dask cluster with TLS, or state with "
            "insecure_executor=True that nobody else reads its network"
        )
    return max(here, getattr(executor, "num_workers", 0))  # mpi4py 4 tells; others may not


def _dask_client(executor: Any) -> Any:
    """The client of a Dask executor, or None. Whoever holds one has imported its module."""
    module = sys.modules.get("distributed.cfexecutor")
    if module is None or not isinstance(executor, module.ClientExecutor):
        return None
    return executor._client  # there is no public name for it


def _nthreads(client: Any) -> dict[str, int]:
    """Threads by worker address."""
    if client._asynchronous:  # `asynchronous` says only whether this thread is its loop's
        raise PolicyRefused(
            "the executor of an asynchronous Dask client cannot be asked where its workers are, "
            "nor cancel a job: make the client with asynchronous=False, also under asyncio"
        )
    threads: dict[str, int] = client.nthreads()
    return threads


def _check_addresses(client: Any, workers: Iterable[str]) -> None:
    """The scheduler's address also as itself knows it: one that this machine reaches by loopback
    may listen to the network as well, or be at the far end of a tunnel."""
    schedulers: Sequence[str] = (client.scheduler.address, client.scheduler_info()["address"])
    for address in (*schedulers, *workers):
        if not _is_private(address):
            raise PolicyRefused(
                f"the Dask cluster uses {address}, which is neither TLS nor this machine, and jobs "
                "hold keys: give the cluster TLS (docs/executors.md), or state with "
                "insecure_executor=True that nobody else reads its network"
            )


def _is_private(address: str) -> bool:
    """What cannot be parsed is not."""
    if address.startswith(("tls://", "inproc://")):
        return True
    host = address.partition("://")[2].rpartition(":")[0]
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost"
