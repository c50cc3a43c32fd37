"""An event loop in a thread of its own, for callers that have none, and calls in their thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_TURN = 0.5
"""Seconds. Where a wait without a limit does not hear Ctrl-C, as on Windows, it hears it then."""


def raises_well(call: Callable[..., _T]) -> Callable[..., _T]:
    """The same call for a thread. StopIteration, as of an iterator that is exhausted, never comes
    out of a future of asyncio, and whoever waits for it waits for ever; a CancelledError looks as
    if the waiting had been cancelled. Both become the cause of a RuntimeError (as in PEP 479)."""

    def called(*words: Any, **named: Any) -> _T:
        try:
            return call(*words, **named)
        except (StopIteration, CancelledError, asyncio.CancelledError) as error:
            raise RuntimeError(f"{type(error).__name__} was raised in a thread") from error

    return called


def first(*futures: Future[Any]) -> None:
    """Waits until one of them has come."""
    while not wait(futures, _TURN, FIRST_COMPLETED).done:
        pass


class Here(Executor):
    """Runs what it is given in the thread that calls `run`, which waits there for it."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, call: Callable[..., _T], /, *words: Any, **named: Any) -> Future[_T]:
        promised: Future[_T] = Future()

        def keep() -> None:
            if not promised.set_running_or_notify_cancel():
                return  # the round has ended meanwhile
            try:
                promised.set_result(call(*words, **named))
            except Exception as error:  # noqa: BLE001 - the caller's own, and goes back to it
                promised.set_exception(error)

        self._calls.put(keep)
        return promised

    def run(self, *, until: Future[Any]) -> None:
        until.add_done_callback(lambda over: self._calls.put(None))
        while True:
            with suppress(Empty):
                if (call := self._calls.get(timeout=_TURN)) is None:
                    return
                call()


class Beside(Generic[_T]):
    """A coroutine in an event loop and a thread of its own. ended: how it has."""

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self._work = work
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[_T]]] = Future()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="secagg")
        self.ended: Future[_T] = self._pool.submit(asyncio.run, self._main())

    async def _main(self) -> _T:
        task = asyncio.create_task(self._work)
        self._begun.set_result((asyncio.get_running_loop(), task))
        return await task

    def tell(self, call: Callable[[], Any]) -> None:
        """Has the loop call it, unless that is closed already."""
        first(self._begun, self.ended)
        if self._begun.done():  # else there was never a loop
            with suppress(RuntimeError):
                self._begun.result()[0].call_soon_threadsafe(call)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What another coroutine returns, in the same loop; CancelledError where that has ended.
        Whatever ends the waiting, as Ctrl-C does, cancels the coroutine."""
        try:
            doing = asyncio.run_coroutine_threadsafe(work, self._begun.result()[0])
        except RuntimeError as closed:
            work.close()
            raise CancelledError from closed
        try:
            first(doing, self.ended)
            if not doing.done():  # the loop was closed before it came to it
                raise CancelledError
            return doing.result()
        finally:
            doing.cancel()

    def close(self) -> None:
        """Cancels the coroutine, unless it has ended, and waits until the thread is gone."""
        self.tell(lambda: self._begun.result()[1].cancel())
        self._pool.shutdown()


@contextmanager
def beside(work: Coroutine[Any, Any, _T]) -> Iterator[Beside[_T]]:
    """For a block, after which coroutine, loop and thread are gone, whatever the block raises."""
    beside = Beside(work)
    try:
        yield beside
    finally:
        beside.close()
