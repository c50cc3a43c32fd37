"""A clock for tests of deadlines: it stands still while anybody has something to do.

When nobody has, it jumps to the next deadline. So a deadline passes after all that could happen
before it, on however slow a machine, and no test sleeps. For tests whose links are in memory: what
another process or the network has to do, the clock does not know.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

LIMIT = 60.0
"""Real seconds that no thread takes, unless it hangs."""


def stop_the_clock(loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
    """time.monotonic, and so the timers of a loop that runs, are on the new clock from now on."""
    clock = _Clock(loop)
    patch.setattr("time.monotonic", clock.time)
    patch.setattr(loop, "run_in_executor", clock.run_in_executor)
    patch.setattr(loop._selector, "select", clock.select)  # type: ignore[attr-defined]


class _Clock:
    def __init__(self, loop: Any) -> None:
        self._now, self._threads = loop.time(), 0
        self._run, self._select = loop.run_in_executor, loop._selector.select

    def time(self) -> float:
        return self._now

    def run_in_executor(self, *args: Any) -> asyncio.Future[Any]:
        self._threads += 1
        done: asyncio.Future[Any] = self._run(*args)
        done.add_done_callback(self._returned)
        return done

    def _returned(self, done: asyncio.Future[Any]) -> None:
        self._threads -= 1

    def select(self, timeout: float | None = None) -> Any:
        """What the loop calls when it has nothing to run before `timeout` is over."""
        if timeout is None or timeout <= 0:
            return self._select(timeout)
        events = self._select(LIMIT if self._threads else 0)
        if self._threads and not events:
            raise TimeoutError("a thread of this test hangs")
        if not events:
            self._now += timeout
        return events
