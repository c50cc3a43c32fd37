"""The collector of several servers: asks all of them for one batch's totals, and adds them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from secagg import party
from secagg.arguments import seconds
from secagg.drive.outbound import FLUSH_TIMEOUT
from secagg.drive.reporting import message_limit, message_of, openers
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.transport.router import Backoff, Connected, News, Opener, Received, Router
from secagg.types import PartyId, Role, Seed
from secagg.wire.frame import Message, Over

log = logging.getLogger(__name__)

TIMEOUT = 60.0
FIRST_POLL, LAST_POLL = 0.25, 5.0
"""Seconds between two questions to a server that has not locked the batch; doubling."""


Keep: TypeAlias = Callable[[Aggregate], None]
"""Puts a sum where it will not be lost. It is called in the loop, and may raise."""


async def collect(
    task: Task,
    secret: Seed,
    urls: Sequence[str],
    *,
    batch: int = 0,
    timeout: float = TIMEOUT,
    keep: Keep | None = None,
) -> Aggregate:
    """The sum of one batch.

    secret: of the committee's collector key (ParameterError for another one). urls: of all servers,
    by index. Raises errors.Aborted, which names a server that did not answer within `timeout`
    seconds or that lies, and IntegrityError where the count lane disagrees; there is no partial
    sum. Collecting again gives the same sum, until the servers close the epoch: a server that has
    been told that a sum was taken may go. keep: is called with the sum before they are told, so
    that it is theirs to give again until it is kept.
    """
    links = openers(task, urls, Role.COLLECTOR)
    return await collect_over(task, secret, links, batch=batch, timeout=timeout, keep=keep)


async def collect_over(
    task: Task,
    secret: Seed,
    openers: Mapping[PartyId, Opener],
    *,
    batch: int = 0,
    timeout: float = TIMEOUT,
    keep: Keep | None = None,
    backoff: Backoff | None = None,
) -> Aggregate:
    """As `collect`, over links that say hello themselves."""
    timeout = seconds("timeout", timeout)
    collector = party.Collector(
        task.plan,
        payload_digest=task.payload_digest,
        committee=task.committee,
        secret=secret,
        batch=batch,
    )
    return await _Collecting(task, batch, collector, keep).run(openers, timeout, backoff)


class _Collecting:
    def __init__(
        self, task: Task, batch: int, collector: party.Collector, keep: Keep | None
    ) -> None:
        self._keep = keep
        self._nonce, self._limit = task.nonce(batch), message_limit(task)
        self._collector = collector

    async def run(
        self, openers: Mapping[PartyId, Opener], timeout: float, backoff: Backoff | None
    ) -> Aggregate:
        end = time.monotonic() + timeout
        self._collector.start()
        self._collector.outgoing()  # asked over every new link
        async with Router(openers, backoff=backoff) as router:
            await self._ask_until(router, end)
            total = self._collector.aggregate()
            if self._keep is not None:
                self._keep(total)
            await self._thank(router, set(openers), total)
        return total

    async def _ask_until(self, router: Router, end: float) -> None:
        """A server that has not locked the batch gives no answer, so it is asked again."""
        poll = FIRST_POLL
        while not self._collector.done:
            await self._listen(router, min(end, time.monotonic() + poll))
            poll = min(2 * poll, LAST_POLL)
            if self._collector.done:
                return
            if time.monotonic() >= end:
                self._collector.close_phase()
            for server in self._collector.waiting_for:
                self._collector.reconnected(server)
            self._send(router)

    async def _listen(self, router: Router, until: float) -> None:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                while not self._collector.done:
                    self._take(router, await router.receive())
        except TimeoutError:
            return

    def _take(self, router: Router, news: News) -> None:
        if isinstance(news, Connected):
            self._collector.reconnected(news.party)
        elif isinstance(news, Received):
            data = message_of(router, news, self._nonce, self._limit)
            if data is not None:
                self._collector.receive(news.party, data)
        self._send(router)

    def _send(self, router: Router) -> None:
        self._collector.events()
        for out in self._collector.outgoing():
            if router.reaches(out.to):
                router.send(out.to, Message(self._nonce, out.data).encode())

    async def _thank(self, router: Router, untold: set[PartyId], total: Aggregate) -> None:
        """Tells every server that the sum is here, so that it may go, until it says the same; one
        that is away for longer than FLUSH_TIMEOUT stays up for another collection."""
        thanks = Over(self._nonce, None, total.count, 0).encode()
        for server in filter(router.reaches, untold):
            router.send(server, thanks)
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT):
                while untold:
                    news = await router.receive()
                    if isinstance(news, Connected):
                        router.send(news.party, thanks)
                    elif isinstance(news, Received) and news.data == thanks:
                        untold.discard(news.party)
        except TimeoutError:
            log.warning("%d servers may not know that the sum was collected", len(untold))
