"""Links that this side opens: what opens one, and how long to wait before it is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.errors import ParameterError
from secagg.transport.base import Link
from secagg.types import Randomness, system_randomness

Opener: TypeAlias = Callable[[], Awaitable[Link]]
"""Opens a link. TransportError: try again."""


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


class Attempts:
    """Whether a server that is not there, or is lost, is tried again, and in how many seconds.

    timeout: seconds that it may be away, from the beginning or since a link to it was there. A link
    that ends sooner than `backoff.most` is one more failure, as a server that takes links and drops
    them is not to be asked ten times a second; and where it ends sooner than `timeout` as well, it
    was none: what stands before a server that is away does so for ever. Time is an argument:
    monotonic seconds.
    """

    def __init__(self, timeout: float, now: float, backoff: Backoff | None = None) -> None:
        self._timeout, self._until, self._backoff = timeout, now + timeout, backoff or Backoff()
        self._failures = 0
        self._opened: float | None = None

    def opened(self, now: float) -> None:
        """A link leads there."""
        self._opened = now

    def failed(self, now: float) -> float | None:
        """There is no link, or no longer. Seconds until the next attempt; None to give up."""
        if self._opened is not None:
            lasted = now - self._opened
            if lasted >= min(self._backoff.most, self._timeout):
                self._until = now + self._timeout
            if lasted >= self._backoff.most:
                self._failures = 0
            self._opened = None
        self._failures += 1
        delay = self._backoff.delay(self._failures)
        return delay if now + delay <= self._until else None
