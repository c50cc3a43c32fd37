"""A link inside one event loop: for tests, simulations, and a server that is its own client."""

from __future__ import annotations

import asyncio
from collections import deque

from secagg.errors import LinkClosed
from secagg.transport.base import Link

CAPACITY = 16
"""Messages under way in one direction before `send` waits, as a socket's buffer would make it."""


def pair(capacity: int = CAPACITY) -> tuple[Link, Link]:
    """Two ends of one link. capacity: messages in each direction, at least 1."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    return _End(there, back), _End(back, there)


class _Pipe:
    """One direction: a bounded queue that can be closed while others wait on it."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[bytes] = deque()
        self._capacity = capacity
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise _closed()
            self._items.append(data)
            self._changed.notify_all()

    async def take(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or bool(self._items))
            if not self._items:
                raise _closed()
            self._changed.notify_all()
            return self._items.popleft()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


def _closed() -> LinkClosed:
    closed = LinkClosed("the link is closed")
    closed.orderly = True  # nothing else ends a link inside one loop
    return closed


class _End:
    def __init__(self, outward: _Pipe, inward: _Pipe) -> None:
        self._outward = outward
        self._inward = inward

    async def send(self, data: bytes) -> None:
        await self._outward.put(bytes(data))

    async def receive(self) -> bytes:
        return await self._inward.take()

    async def close(self) -> None:
        await self._outward.close()
        await self._inward.close()
