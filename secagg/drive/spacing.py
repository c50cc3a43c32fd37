"""How often a store is written to that holds a sum.

A server keeps its running sum in one row, as long as a vector, and every transaction that adds an
input writes the whole of it anew: a thousand inputs, one by one, are a thousand sums on disk. What
comes while a transaction is under way shares the next one; on a fast disk that is too little. So
after a large one the next waits, and all that came meanwhile goes into it: its rows, and behind
them what may be said once they are safe.
"""

from __future__ import annotations

from collections.abc import Iterable

from secagg.effects import Write

LARGE = 64 << 10
"""Bytes of rows, above which a transaction is followed by a pause. Those of rounds that hold no sum
are below, and wait for nothing."""
PAUSE = 0.05
"""Seconds from the begin of a large transaction to the next one. A client waits for others far
longer, and a sum of 400 KB is written with 8 MB a second then."""


def left(writes: Iterable[Write], begun: float, now: float) -> float:
    """Seconds until the next transaction may begin, after one of these that was begun then."""
    size = sum(len(one.value or b"") for one in writes)
    return max(0.0, begun + PAUSE - now) if size > LARGE else 0.0
