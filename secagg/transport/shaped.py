"""A link that sends no faster than a given rate: what a slow uplink does to a round.

    link = shaped(await websocket.connect(url), bits_per_second=10e6)

Only what this end sends is held back; to shape a download, wrap the server's end. Messages stay
whole: one leaves when its last byte would have, and so arrives when it would have arrived.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from secagg.errors import LinkClosed, ParameterError
from secagg.transport.base import Link

BURST = 1 << 14
"""Bytes that may leave at once after a silence: some ten packets, as a queue before a modem."""


class TokenBucket:
    """Tokens are bytes; they drip in at the rate, up to `burst`. It has no clock of its own.

    A message larger than the bucket takes it below zero, and whoever takes waits out the debt.
    """

    def __init__(self, bits_per_second: float, burst: int = BURST) -> None:
        """Raises ParameterError for a rate that is not above 0 and finite, or a negative burst."""
        if not (bits_per_second > 0 and math.isfinite(bits_per_second)):
            raise ParameterError(f"a link's rate must be above 0 bits/s, not {bits_per_second!r}")
        if burst < 0:
            raise ParameterError(f"a burst is 0 bytes or more, not {burst!r}")
        self._rate, self._burst = bits_per_second / 8, burst
        self._tokens, self._seen = float(burst), -math.inf

    def take(self, size: int, now: float) -> float:
        """Takes `size` bytes; returns the seconds from now until they may have left.

        now: monotonic seconds.
        """
        if self._seen > -math.inf:
            self._tokens += (now - self._seen) * self._rate
        self._tokens = min(self._tokens, self._burst) - size
        self._seen = now
        return max(0.0, -self._tokens / self._rate)


def shaped(
    link: Link,
    bits_per_second: float,
    *,
    burst: int = BURST,
    clock: Callable[[], float] = time.monotonic,
) -> Link:
    """`link`, with a token bucket before its `send`. ParameterError as of TokenBucket."""
    return _ShapedLink(link, TokenBucket(bits_per_second, burst), clock)


class _ShapedLink:
    def __init__(self, link: Link, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        self._link, self._bucket, self._clock = link, bucket, clock
        self._closed = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Whoever waits here when this end is closed gets LinkClosed; when the other end is, only
        once the message would have left."""
        if self._closed.is_set():
            raise LinkClosed("the link is closed")
        try:
            async with asyncio.timeout(self._bucket.take(len(data), self._clock())):
                await self._closed.wait()
        except TimeoutError:
            await self._link.send(data)
        else:
            raise LinkClosed("the link is closed")

    async def receive(self) -> bytes:
        return await self._link.receive()

    async def close(self) -> None:
        self._closed.set()
        await self._link.close()
