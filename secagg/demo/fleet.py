"""The client processes: started, watched, replaced, and never left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, TypeVar

from secagg.demo.client import DIED, Orders
from secagg.errors import TransportError

GRACE = 5.0
"""Seconds that a client has to end by itself once its link is closed."""

_SHOWN = 4000
"""Characters of a failed client's log that its error keeps: the end of a traceback."""

_T = TypeVar("_T")


class ClientFailed(TransportError):
    """A client process ended before its time. log: the end of what it wrote."""

    def __init__(self, client: int, code: int, log: str) -> None:
        super().__init__(f"client {client} ended with exit code {code} before the demo was over")
        self.log = log


class Fleet:
    """A process per client. On leaving, those still running after GRACE seconds are killed.

    A process that SIGKILL ended is a client that died, which is what a demo of dropouts is about.
    One that ends in any other way before its time is an error, and stops whatever `guard` runs.
    """

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._failed.cancel():
            self._failed.exception()  # raised by now, or an end that nobody waited for
        watchers = list(self._watchers.values())
        try:
            if watchers:
                await asyncio.wait(watchers, timeout=GRACE)
        finally:
            for process in self._processes.values():
                if process.returncode is None:
                    process.kill()
            await asyncio.gather(*watchers)

    async def start(self, everybody: Iterable[Orders]) -> None:
        """Starts a process for each client that has none running."""
        for orders in everybody:
            watcher = self._watchers.get(orders.client)
            if watcher is None or watcher.done():
                process = self._processes[orders.client] = await _spawn(orders)
                self._watchers[orders.client] = asyncio.create_task(self._watch(orders, process))

    async def buried(self, clients: Iterable[int]) -> None:
        """Until the processes of these have ended and are reaped."""
        await asyncio.gather(*(asyncio.shield(self._watchers[client]) for client in clients))

    async def guard(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`; ClientFailed as soon as a client process fails."""
        task = asyncio.create_task(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._failed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, orders: Orders, process: Process) -> None:
        code = await process.wait()
        if code != DIED and not self._failed.done():
            self._failed.set_exception(_failure(orders, code))


async def _spawn(orders: Orders) -> Process:
    # A group of its own: Ctrl-C is for the parent, which then ends its clients in good order.
    with orders.folder.log(orders.client).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "secagg.demo.client", *orders.arguments()),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    """The parent's modules, from an install or a bare clone; one thread each for their algebra:
    many processes share few cores."""
    paths = os.pathsep.join(path for path in sys.path if path)
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": paths}


def _failure(orders: Orders, code: int) -> ClientFailed:
    log = orders.folder.log(orders.client).read_text(errors="replace")
    return ClientFailed(orders.client, code, log[-_SHOWN:].strip())
