"""One party, several peers: a queue before every link, and links that are opened again when gone.

It carries bytes and knows no protocol. A peer that is gone is news, and no other peer's link ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from secagg.errors import LinkClosed, ParameterError, SecAggError, TransportError
from secagg.transport.base import Link
from secagg.types import PartyId, Randomness, system_randomness

log = logging.getLogger(__name__)

Opener: TypeAlias = Callable[[], Awaitable[Link]]
"""Opens a link, and greets whoever answers if that is the custom. TransportError: try again."""

CAPACITY = 16
"""Messages that wait for whoever calls `receive`, before the links are read no further."""


@dataclass(frozen=True)
class Backoff:
    """Seconds between attempts: doubling from `first` to `most`, less a random part of one half.

    The random part keeps the clients of a server that restarts from coming back all at once.
    """

    first: float = 0.1
    most: float = 30.0
    randomness: Randomness = field(default=system_randomness, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.most:
            raise ParameterError(f"0 < {self.first} <= {self.most} seconds does not hold")

    def delay(self, failures: int) -> float:
        """failures: in a row, at least 1."""
        ceiling = min(self.most, self.first * 2.0 ** min(failures - 1, 64))
        return ceiling * (1 - self.randomness(1)[0] / 512)


class Channel:
    """A link with a queue before it: whoever posts never waits, and all leaves in its order.

    most: frames that may wait before the peer counts as gone; None has no limit, for a caller that
    watches `queued`, the bytes that wait.
    """

    def __init__(self, link: Link, *, most: int | None = None) -> None:
        self.queued = 0
        self._link = link
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue(most or 0)
        self._writer = asyncio.create_task(self._write())

    def post(self, data: bytes) -> None:
        """What is posted after the link has ended goes nowhere, as what was under way did."""
        if self._writer.done():
            return
        try:
            self._outbox.put_nowait(data)
            self.queued += len(data)
        except asyncio.QueueFull:
            log.warning("a peer that does not read is let go")
            self.end()

    def end(self) -> None:
        """The link is closed soon, whatever is queued; its reader then gets LinkClosed."""
        self._writer.cancel()

    async def receive(self) -> bytes:
        return await self._link.receive()

    def finish(self) -> None:
        """The link is closed once what is queued has left."""
        try:
            self._outbox.put_nowait(None)
        except asyncio.QueueFull:
            self.end()

    async def flush(self, timeout: float) -> None:
        """Lets what is queued leave, for at most `timeout` seconds, then closes."""
        self.finish()
        await asyncio.wait({self._writer}, timeout=timeout)
        await self.close()

    async def close(self) -> None:
        self._writer.cancel()
        await asyncio.wait({self._writer})
        await self._link.close()
        if not self._writer.cancelled():
            self._writer.result()  # an error that is ours is not hidden

    async def _write(self) -> None:
        try:
            while (data := await self._outbox.get()) is not None:
                await self._link.send(data)
                self.queued -= len(data)
        except TransportError:
            return  # whoever reads the link finds out
        finally:
            await self._link.close()


@dataclass(frozen=True, slots=True)
class Connected:
    """A new link leads to the party. What is posted to its channel takes this link, or none."""

    party: PartyId
    channel: Channel


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of the party, whole as it sent them."""

    party: PartyId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The link is gone; another is being opened."""

    party: PartyId


News: TypeAlias = Connected | Received | Disconnected


class Router:
    """Links to several parties, each opened again with backoff until the router is closed.

    openers: by party. retried: what an opener may raise for a peer that may do better next time;
    anything else leaves `receive`. News of one party come in order: Connected, Received...,
    Disconnected.
    """

    def __init__(
        self,
        openers: Mapping[PartyId, Opener],
        *,
        backoff: Backoff | None = None,
        retried: tuple[type[SecAggError], ...] = (TransportError,),
    ) -> None:
        self._openers = dict(openers)
        self._backoff = backoff or Backoff()
        self._retried = retried
        self._news: asyncio.Queue[News | BaseException] = asyncio.Queue()
        self._room = asyncio.Semaphore(CAPACITY)
        self._channels: dict[PartyId, Channel] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for party, opener in self._openers.items():
            keeper = asyncio.create_task(self._keep(party, opener))
            keeper.add_done_callback(self._ended)
            self._keepers.append(keeper)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def receive(self) -> News:
        """The next news of any party; raises what an opener raised, unless it is retried."""
        news = await self._news.get()
        if isinstance(news, BaseException):
            raise news
        if isinstance(news, Received):
            self._room.release()
        elif isinstance(news, Connected):
            self._channels[news.party] = news.channel
        elif isinstance(news, Disconnected):
            self._channels.pop(news.party, None)
        return news

    def reaches(self, party: PartyId) -> bool:
        return party in self._channels

    def send(self, to: PartyId, data: bytes) -> None:
        """Over the link that `receive` last told of; LinkClosed where there is none."""
        if to not in self._channels:
            raise LinkClosed(f"no link to party {to}: it is being opened")
        self._channels[to].post(data)

    def renew(self, party: PartyId) -> None:
        """Gives up the link to a peer, if there is one; another is opened."""
        if party in self._channels:
            self._channels[party].end()

    async def flush(self, timeout: float) -> None:
        """Lets what was sent leave, for at most `timeout` seconds; the links are closed then."""
        await asyncio.gather(*(channel.flush(timeout) for channel in self._channels.values()))

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self, party: PartyId, opener: Opener) -> None:
        failures = 0
        while True:
            try:
                link = await opener()
            except self._retried as error:
                log.info("no link to party %d: %s", party, error)
            else:
                failures = 0 if await self._read(party, Channel(link)) else failures
            failures += 1
            await asyncio.sleep(self._backoff.delay(failures))

    async def _read(self, party: PartyId, channel: Channel) -> bool:
        """Until the link is gone; whether anything came over it.

        A peer that accepts links and drops them at once is not called on ever faster.
        """
        heard = False
        try:
            self._news.put_nowait(Connected(party, channel))
            while True:
                data = await channel.receive()
                heard = True
                await self._room.acquire()
                self._news.put_nowait(Received(party, data))
        except TransportError:
            self._news.put_nowait(Disconnected(party))
        finally:
            await channel.close()
        return heard

    def _ended(self, keeper: asyncio.Task[None]) -> None:
        """A keeper ends only when it is cancelled, or by an error for whoever receives."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._news.put_nowait(error)
