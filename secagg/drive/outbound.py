"""What leaves: rows and claims into safety, and frames through one link."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any, TypeAlias

from secagg.budget import Budget
from secagg.drive import spacing
from secagg.earlier import write
from secagg.effects import Effects, Encodable, Peer, Refusal, Unpaid
from secagg.errors import BudgetSpent, LocalProtocolError, Spent, TransportError
from secagg.store.base import Ledger, Store
from secagg.transport.base import Link
from secagg.transport.opening import Backoff, Opener
from secagg.watch import Event

log = logging.getLogger(__name__)

FLUSH_TIMEOUT = 5.0
"""Seconds that whoever leaves waits for its last frames to go, and whoever is left to read them."""


class Outbound:
    """A link and the frames that wait for it. How many may is for the rounds to say: they hear of
    each that has left. The link's end, or `writer.cancel()`, ends it."""

    def __init__(self, link: Link, flushed: Callable[[int], None]) -> None:
        """flushed: is called with the bytes of each frame that the link has taken."""
        self._link, self._flushed = link, flushed
        self._frames: asyncio.Queue[Encodable | None] = asyncio.Queue()
        self.writer = asyncio.create_task(self._write())

    def post(self, frame: Encodable) -> None:
        self._frames.put_nowait(frame)

    def finish(self) -> asyncio.Task[None]:
        """Ends once all that waits has left."""
        self._frames.put_nowait(None)
        return self.writer

    async def _write(self) -> None:
        # encoded only here, so that a large task is not held once per client that waits for it
        while (frame := await self._frames.get()) is not None:
            raw = frame.encode()
            await self._link.send(raw)
            self._flushed(len(raw))


async def ended(reading: asyncio.Task[None], writing: asyncio.Task[None]) -> None:
    """Until a link has ended, or its writer was told to end.

    Whoever ends a link may have said something first: a server that has the sum, or has given up.
    Where we were still talking, it is our writer that finds the link closed, and what was said
    before is not read yet. So it is read to its end, which is near.
    """
    await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
    if writing.done() and not writing.cancelled() and writing.exception() is not None:
        await asyncio.wait({reading}, timeout=FLUSH_TIMEOUT)


def how_ended(errors: Iterable[BaseException | None]) -> TransportError | None:
    """The network's error among those of a link's tasks; raises any other that is one."""
    gone = None
    for error in errors:
        if isinstance(error, TransportError):
            gone = error
        elif isinstance(error, Exception):
            raise error
    return gone


async def keep_safe(
    effects: Effects, store: Store | None, ledger: Ledger | None, budget: Budget | None
) -> dict[bytes, Refusal]:
    """Commits the rows, then enters the charges, makes the claims, and writes the notes; what was
    refused, by key.

    In a thread, so that links are read meanwhile. Never left half-way: whoever cancels this may
    open the same store next.
    """
    asked = effects.charges or effects.notes or (effects.claims and ledger)
    if not (asked or (effects.writes and store)):
        return {}
    keeping = asyncio.create_task(asyncio.to_thread(_keep, effects, store, ledger, budget))
    try:
        return await asyncio.shield(keeping)
    except asyncio.CancelledError:
        await asyncio.wait({keeping})
        raise


def _keep(
    effects: Effects, store: Store | None, ledger: Ledger | None, budget: Budget | None
) -> dict[bytes, Refusal]:
    if effects.writes and store is not None:
        store.commit(effects.writes)
    refused: dict[bytes, Refusal] = dict(charged(effects, budget))
    if ledger is not None:
        _claim(effects, ledger, refused)
    noted(effects, ledger)
    return refused


def _claim(effects: Effects, ledger: Ledger, refused: dict[bytes, Refusal]) -> None:
    for claim in effects.claims:
        held = (post.needs for post in effects.posts if post.needs & refused.keys())
        if any(claim.key in needs for needs in held):
            continue  # what it is for does not leave
        try:
            ledger.claim(claim.key, claim.digest)
        except Spent:
            refused[claim.key] = claim


def noted(effects: Effects, ledger: Ledger | None) -> None:
    """Writes the notes, in order. Raises StorageError."""
    for note in effects.notes:
        if ledger is None:
            raise LocalProtocolError(
                "these rounds have what is to be noted, and there is no ledger"
            )
        write(ledger, note)


def charged(effects: Effects, budget: Budget | None) -> dict[bytes, Unpaid]:
    """Enters the charges, in order; what the budget refuses, by key. Raises StorageError."""
    refused: dict[bytes, Unpaid] = {}
    for charge in effects.charges:
        if budget is None:
            raise LocalProtocolError("these rounds charge a budget, and their driver has none")
        if charge.key in refused:
            continue
        try:
            budget.enter(charge)
        except BudgetSpent as spent:
            refused[charge.key] = Unpaid(charge.key, str(spent))
    return refused


async def awoken(awake: asyncio.Event, taken: Effects, begun: float) -> bool:
    """Whether the event has come, or only the time at which these effects are due to be followed by
    a tick. begun: when they were taken, in monotonic seconds; large ones are followed later."""
    due = taken.due
    if pause := spacing.left(taken.writes, begun, time.monotonic()):
        await asyncio.sleep(pause)
    try:
        async with asyncio.timeout(None if due == math.inf else due - time.monotonic()):
            return await awake.wait()
    except TimeoutError:
        return False


async def unless_ended(event: Awaitable[Any], tasks: Collection[asyncio.Task[None]]) -> None:
    """Until it has come; raises what has ended any of the tasks meanwhile, or before, and what it
    raises itself."""
    waiting = asyncio.ensure_future(event)
    try:
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        come = not waiting.cancel()
    for task in tasks:
        if task.done():
            task.result()
    if come and not waiting.cancelled():
        waiting.result()


async def cancelled(
    tasks: Collection[asyncio.Task[Any]], timeout: float = 0
) -> list[BaseException | None]:
    """How tasks ended that had so many seconds to end by themselves."""
    if tasks and timeout:
        await asyncio.wait(tasks, timeout=timeout)
    for task in tasks:
        task.cancel()
    ended: list[BaseException | None] = await asyncio.gather(*tasks, return_exceptions=True)
    return ended


Serve: TypeAlias = Callable[[Peer, Link], Coroutine[Any, Any, TransportError | None]]


async def keep(peer: Peer, opener: Opener, serve: Serve, backoff: Backoff) -> None:
    """Serves a link, and another whenever the last one is gone, for ever.

    Between attempts more and more time goes by, less a random part, unless a link has lasted.
    """
    failures = 0
    while True:
        begun = time.monotonic()
        try:
            await serve(peer, await opener())
        except TransportError as error:
            log.debug("no link yet: %s", error, extra=Event.LINK_NOT_OPENED.line)
            begun = time.monotonic()
        failures = failures + 1 if time.monotonic() - begun < backoff.most else 1
        await asyncio.sleep(backoff.delay(failures))
