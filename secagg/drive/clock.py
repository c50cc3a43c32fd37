"""How long phases last, and what a round has cost when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from secagg.sansio import Dropped
from secagg.types import Fault, PartyId

FLUSH_TIMEOUT = 5.0
"""Seconds that whoever leaves waits for its last frames to go."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """How one round went, as the side that holds it can know.

    phases: seconds each. bytes_up, bytes_down: protocol messages of a client (at a server: the
    mean over the announced), without frames, announcements and the transport's own framing.
    faults: why each dropped party was dropped; a server's only. disputed: (dealer, holder) of every
    share that was unusable, of whom one lied; a server's only.
    """

    phases: Mapping[str, float]
    bytes_up: float
    bytes_down: float
    faults: Mapping[PartyId, Fault] = field(default_factory=dict)
    disputed: frozenset[tuple[PartyId, PartyId]] = frozenset()


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


def why(event: Dropped) -> str:
    """For a log: the fault, and what else is known of it."""
    more = "" if event.detail == event.fault.value else event.detail
    return f"{event.fault.value}: {more}" if more else event.fault.value
