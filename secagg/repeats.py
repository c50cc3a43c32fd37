"""Which of many like things is worth a line of a log: repeats are counted, not repeated.

What a stranger can bring about, it can bring about a thousand times a second, and a log that grows
with it fills a disk. So the first few of a kind are written, and then one line a minute that says
how many were not.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass

MOST = 10
"""Lines of one kind within a window."""
WINDOW = 60.0
"""Seconds."""


@dataclass(slots=True)
class _Kind:
    since: float
    written: int = 0
    left_out: int = 0


class Repeats:
    """Counts by kind. Kinds are the program's own words, so there are few of them."""

    def __init__(self, most: int = MOST, window: float = WINDOW) -> None:
        self._most, self._window = most, window
        self._kinds: dict[Hashable, _Kind] = {}

    def count(self, kind: Hashable, now: float) -> int | None:
        """None where this one is only counted; else how many were, since the last that is written.

        now: seconds of any clock that does not go back.
        """
        seen = self._kinds.setdefault(kind, _Kind(now))
        if now - seen.since >= self._window:
            seen.since, seen.written = now, 0
        if seen.written >= self._most:
            seen.left_out += 1
            return None
        seen.written += 1
        left_out, seen.left_out = seen.left_out, 0
        return left_out

    def warn(
        self, log: logging.Logger, kind: Hashable, now: float, text: str, *args: object
    ) -> None:
        """A warning, unless it is only counted. kind: what all of them have in common, in words."""
        left_out = self.count(kind, now)
        if left_out is None:
            return
        if left_out:
            text, args = f"{text} (and %d more like it)", (*args, left_out)
        log.warning(text, *args)

    def close(self, log: logging.Logger) -> None:
        """Says what was counted and not written yet; then all begins anew."""
        for kind, seen in self._kinds.items():
            if seen.left_out:
                log.warning("%d more lines like this were left out: %s", seen.left_out, kind)
        self._kinds.clear()
