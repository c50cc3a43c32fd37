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
