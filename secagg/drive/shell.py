"""The asyncio shell: carries out what rounds decide, over links. It decides nothing itself.

One task takes effects and acts on them in their order (`secagg.effects`); links are read meanwhile.
All calls of the rounds come from one event loop: only jobs and what is stored leave it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from secagg.budget import Budget
from secagg.drive import outbound
from secagg.drive.outbound import Outbound, cancelled
from secagg.drive.workshop import Workshop
from secagg.effects import Effects, Peer
from secagg.errors import TransportError
from secagg.rounds.base import Rounds
from secagg.store.base import Ledger, Store
from secagg.transport.base import Link
from secagg.transport.opening import Backoff, Opener


class Shell:
    """Drives one `Rounds`. news: is called after each turn, when all of it is said and stored."""

    def __init__(
        self,
        rounds: Rounds,
        *,
        store: Store | None = None,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        openers: Mapping[Peer, Opener] | None = None,
        backoff: Backoff | None = None,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        """openers: links that this side opens, and opens again, after `backoff`, when they end."""
        self.rounds, self._news, tell = rounds, news, self._told
        self._store, self._ledger, self._budget = store, ledger, budget
        self.workshop = Workshop(partial(tell, rounds.finished), partial(tell, rounds.failed))
        self._openers, self._backoff, self._closing = openers or {}, backoff or Backoff(), False
        self._links: dict[Peer, Outbound] = {}
        self._awake, self._turned, self._restored = (asyncio.Event() for _ in range(3))
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Takes up what the store has, and goes on from there. Harmless when repeated."""
        if self._tasks or self._restored.is_set():
            return
        self._tasks.add(asyncio.create_task(self._turns()))
        for peer, opener in self._openers.items():
            keeping = outbound.keep(peer, opener, self.serve, self._backoff)
            self._tasks.add(asyncio.create_task(keeping))

    def wake(self) -> None:
        """To be called after each call of the rounds that is not the shell's own."""
        self._awake.set()

    async def turn(self) -> None:
        """Until the next turn is over."""
        await self.until(self._turned.wait())

    async def until(self, event: Awaitable[Any]) -> None:
        """Until it has come. Raises what has ended the shell, such as a StorageError."""
        await outbound.unless_ended(event, self._tasks)

    async def serve(self, peer: Peer, link: Link) -> TransportError | None:
        """Until the link is gone, or let go; how it ended. Raises what the rounds raise."""
        self.start()
        if not self._restored.is_set():
            await self.until(self._restored.wait())
        if self._closing:
            await link.close()
            return None
        way = self._links[peer] = Outbound(link, partial(self._told, self.rounds.flushed, peer))
        self._told(self.rounds.joined, peer)
        ends = (asyncio.create_task(self._read(peer, link)), way.writer)
        try:
            await outbound.ended(*ends)
        finally:
            errors = await cancelled(ends)
            del self._links[peer]
            self._told(self.rounds.left, peer)
            await link.close()
        return outbound.how_ended(errors)

    async def close(self, timeout: float = outbound.FLUSH_TIMEOUT) -> None:
        """Lets what is due leave, for at most so many seconds or not at all, then closes links."""
        self._closing = True
        try:
            if timeout:
                await self.settle()
                await cancelled([way.finish() for way in self._links.values()], timeout)
                while self._links and self._tasks:
                    await self.settle()
                await self.settle()
        finally:
            self.workshop.close()
            for way in self._links.values():
                way.writer.cancel()
            await cancelled(self._tasks)
            self._tasks.clear()

    async def settle(self) -> None:
        """Two turns, for one may be under way."""
        for _ in range(2 if self._tasks else 0):
            self.wake()
            await self.turn()

    async def _turns(self) -> None:
        if (store := self._store) is not None:
            rows = await asyncio.to_thread(lambda: list(store.rows()))
            self.rounds.restore(rows, time.monotonic())
        self._restored.set()
        while True:
            self._awake.clear()
            effects, begun = self.rounds.take(), time.monotonic()
            await self._act(effects)
            self._news()
            self._turned.set()
            self._turned = asyncio.Event()
            if not await outbound.awoken(self._awake, effects, begun):
                self.rounds.tick(max(effects.due, time.monotonic()))

    async def _act(self, effects: Effects) -> None:
        refused = await outbound.keep_safe(effects, self._store, self._ledger, self._budget)
        for post in effects.posts:
            if post.peer in self._links and not post.needs & refused.keys():
                self._links[post.peer].post(post.frame)
        for refusal in refused.values():
            self._told(self.rounds.refused, refusal)
        for peer in effects.let_go:
            if peer in self._links:
                self._links[peer].writer.cancel()
        self.workshop.take(effects.work)

    async def _read(self, peer: Peer, link: Link) -> None:
        while True:
            while not self.rounds.ready(peer):
                await self.turn()
            # never a name's: it would keep the frame until the next one has come
            self._told(self.rounds.received, peer, await link.receive())

    def _told(self, call: Callable[..., None], *news: Any) -> None:
        self.wake()
        call(*news, time.monotonic())
