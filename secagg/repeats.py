"""Which of many like things is worth a line of a log: repeats are counted, not repeated.

What a stranger can bring about, it can bring about a thousand times a second, and a log that grows
with it fills a disk. So the first few of a kind are written, and then one line a minute that says
how many were not.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from secagg.watch import Event, Refused, Watch

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

    def __init__(
        self, most: int = MOST, window: float = WINDOW, watch: Watch | None = None
    ) -> None:
        """watch: hears of everything that is refused, written or not."""
        self._most, self._window = most, window
        self.watch = watch or Watch()
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
        """A warning, unless it is only counted. kind: what all of them have in common: an event, or
        words."""
        self._warn(log, kind, now, text, args)

    def refused(
        self,
        why: Refused,
        log: logging.Logger,
        event: Event,
        now: float,
        text: str,
        *args: object,
    ) -> None:
        """As `warn`, of what was refused: those of one event, for one reason, are alike."""
        self.watch.refused(why)
        self._warn(log, (event, why), now, text, args)

    def close(self, log: logging.Logger) -> None:
        """Says what was counted and not written yet; then all begins anew."""
        for kind, seen in self._kinds.items():
            if seen.left_out:
                extra = _extra(kind)
                words = ", ".join(kind) if isinstance(kind, tuple) else kind
                log.warning(
                    "%d more lines like this were left out: %s", seen.left_out, words, extra=extra
                )
        self._kinds.clear()

    def _warn(
        self,
        log: logging.Logger,
        kind: Hashable,
        now: float,
        text: str,
        args: tuple[object, ...],
    ) -> None:
        left_out = self.count(kind, now)
        if left_out is None:
            return
        if left_out:
            text, args = f"{text} (and %d more like it)", (*args, left_out)
        log.warning(text, *args, extra=_extra(kind))


def _extra(kind: Hashable) -> Mapping[str, str] | None:
    event = kind[0] if isinstance(kind, tuple) else kind
    return event.line if isinstance(event, Event) else None
