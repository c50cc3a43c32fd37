"""How long phases last, and what a round has cost when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping

from secagg.rounds.clock import RoundReport as RoundReport
from secagg.rounds.clock import why as why

FLUSH_TIMEOUT = 5.0
"""Seconds that whoever leaves waits for its last frames to go."""


class PhaseClock:
    """How long each phase lasted, by the monotonic clock; a phase's name may be empty or new."""

    def __init__(self) -> None:
        self.entered = time.monotonic()
        self._phase = ""
        self._seconds: dict[str, float] = {}

    def enter(self, phase: str) -> None:
        if phase != self._phase:
            self.stop()
            self._phase = phase

    def stop(self) -> Mapping[str, float]:
        now = time.monotonic()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self.entered
        self.entered, self._phase = now, ""
        return dict(self._seconds)
