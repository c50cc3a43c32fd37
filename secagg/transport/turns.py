"""Handshakes, one at a time, and addresses in turn.

A handshake of TLS is the dearest thing that somebody can ask for without saying who it is: a
millisecond of the one thread that all links share, for a packet. Of a hundred that came together
the loop would do one after the other before it reads from anybody else. Here they wait: the loop
does one of them each time that it goes round, so whoever has a link is read from in between, and of
two addresses neither waits for more than one of the other's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Of one listener. How long anybody may wait here is timed by whoever times its handshake."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Callable[[], None]]] = {}  # by address, whose turn is first

    def add(self, address: str, step: Callable[[], None]) -> None:
        """step: is called when it is its turn, never at once; it must not raise."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.setdefault(address, deque()).append(step)

    def _next(self) -> None:
        address = next(iter(self._waiting))
        steps = self._waiting.pop(address)
        step = steps.popleft()
        if steps:
            self._waiting[address] = steps  # behind all others
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        step()
