"""Work of rounds on its way through executors, a round's at a time for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Any

from secagg.drive.executor import run_jobs_async
from secagg.effects import Work


class Workshop:
    """executors: by the first part of a work's ticket, whose it is, and whether it may be one that
    does not encrypt what it sends; without an entry, the loop's threads."""

    def __init__(
        self, finished: Callable[[Work, Any], None], failed: Callable[[Work, Exception], None]
    ) -> None:
        self.executors: dict[Hashable, tuple[Executor | None, bool]] = {}
        self._finished, self._failed = finished, failed
        self._tasks: dict[asyncio.Task[None], Hashable] = {}

    def take(self, works: Sequence[Work]) -> None:
        """Begins all of it; what one ticket's executor cannot do fails that ticket's."""
        for ticket in dict.fromkeys(map(_of, works)):
            self._begin(ticket, [work for work in works if _of(work) == ticket])

    def stop(self, ticket: Hashable) -> None:
        """Begins nothing more of it: its round has ended, or is given up. What is under way ends by
        itself, and is not heard of."""
        for task, whose in self._tasks.items():
            if whose == ticket:
                task.cancel()

    def close(self) -> None:
        """Stops all of it, and waits for nothing."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, ticket: Hashable, works: Sequence[Work]) -> None:
        task = asyncio.create_task(self._run(works, *self.executors.get(ticket, (None, False))))
        self._tasks[task] = ticket

        def done(task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                self._failed(works[0], error)

        task.add_done_callback(done)

    async def _run(self, works: Sequence[Work], executor: Executor | None, insecure: bool) -> None:
        by_job = {id(work.job): work for work in works}

        def finish(job: Any, value: Any) -> None:
            self._finished(by_job[id(job)], value)

        jobs = [work.job for work in works]
        await run_jobs_async(jobs, finish, executor, insecure_executor=insecure)


def _of(work: Work) -> Hashable:
    return work.ticket[0] if isinstance(work.ticket, tuple) else work.ticket
