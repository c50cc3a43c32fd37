"""How long a client of a service waits before it tries again (specs/50-service.md §2.11)."""

from __future__ import annotations

import math

from secagg.types import Randomness, system_randomness

FIRST, MOST = 0.5, 30.0
"""Seconds: of a wait before the next attempt at most, from the first failure on, and ever."""
AWAY = 3600.0
"""Seconds after which one comes back whatever was said: a round may have been put forward."""


class Jitter:
    """Waits between attempts: anything up to a bound that doubles. So the clients of a service that
    was away come back evenly over that time, and not in the second in which it is there again."""

    def __init__(self, randomness: Randomness = system_randomness) -> None:
        self._randomness, self._failures = randomness, 0

    def again(self, left: float = math.inf) -> float:
        """Seconds until the next attempt, after one more failure. left: seconds in which a round
        that runs needs this client: of those no wait takes more than a quarter, or FIRST."""
        bound = min(MOST, FIRST * 2.0**self._failures)
        if left > 0:
            bound = min(bound, max(FIRST, left / 4))
        self._failures = min(self._failures + 1, 16)
        return bound * self._part()

    def after(self, seconds: float) -> float:
        """And where the service has said when: no earlier, but within AWAY, and later by up to a
        tenth of it, and half a second."""
        self._failures, seconds = 0, min(AWAY, seconds)
        return seconds + (FIRST + seconds / 10) * self._part()

    def met(self) -> None:
        """The service was there, for longer than any wait."""
        self._failures = 0

    def _part(self) -> float:
        return int.from_bytes(self._randomness(4)) / (1 << 32)
