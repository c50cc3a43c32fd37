"""How long phases may last, how long they did, and what a round has cost when it is over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.arguments import seconds
from secagg.effects import Peer
from secagg.errors import ParameterError
from secagg.sansio import Dropped
from secagg.shown import short
from secagg.types import Fault, PartyId

# Theory of operation.
#
# Time is an argument everywhere: monotonic seconds, of which only differences mean anything. On the
# wire there are durations and no moments, so a clock that is wrong, or is set while a round runs,
# changes nothing for anybody. They are announced in milliseconds and rounded up: no client takes a
# server for late before it is.
#
# A phase is over at its deadline or when nobody is waited for, and of these a clock knows the first
# only. It counts from when the phase was entered, and entering a phase that runs already is no new
# beginning, so nothing that a client repeats gives it more time. A round that is restored has a new
# clock: for as long as no server was there, nobody could be late.
#
# What a report measures and what closes a phase begin at the same mark. A phase without a name is
# not measured, and one without a limit has no deadline: that of a server that computes, which is
# late for nobody but itself.

MAX_DEADLINE = (1 << 32) // 1000
"""Seconds. An announcement has milliseconds in 32 bits."""

Deadlines: TypeAlias = Mapping[str, float] | float
"""Seconds that a phase lasts at most: one number for all, or one for each of the protocol's."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """How one round went, as the side that holds it can know.

    phases: seconds each. bytes_up, bytes_down: protocol messages of a client (at a server: the
    mean over the announced), without frames, announcements and the transport's own framing: what
    was handed to a link, or came over one, repeats included, since the last start of this process.
    What is said while there is no link, or held back by its claim, is not sent, and not counted.
    A server's only: faults: why each dropped party was dropped; dropped_in: in which phase.
    disputed: (dealer, holder) of every
    share that was unusable, of whom one lied. members: of everybody who was announced to, and whose
    link proved it, the identity. peers: who that was, as this process has known them. Where clients
    sign: transcript: what the server has written down (specs/12-active.md §7), also of a round
    without a sum, as far as it came; evidence: what convicts somebody (§8), each whole in itself.
    """

    phases: Mapping[str, float]
    bytes_up: float
    bytes_down: float
    faults: Mapping[PartyId, Fault] = field(default_factory=dict)
    dropped_in: Mapping[PartyId, str] = field(default_factory=dict)
    disputed: frozenset[tuple[PartyId, PartyId]] = frozenset()
    members: Mapping[PartyId, bytes] = field(default_factory=dict)
    peers: Mapping[PartyId, Peer] = field(default_factory=dict)
    transcript: bytes = field(default=b"", repr=False)
    evidence: tuple[bytes, ...] = field(default=(), repr=False)

    __repr__ = short


class PhaseClock:
    """How long each phase lasted, and when the running one must end.

    limits: seconds by phase. A phase's name may be empty, or one without a limit, as that of a
    server which computes: nobody can be late for it.
    """

    def __init__(self, now: float, limits: Mapping[str, float] | None = None) -> None:
        self.begun = self.entered = now
        self._limits = limits or {}
        self._phase = ""
        self._seconds: dict[str, float] = {}

    @property
    def phase(self) -> str:
        """The running one, until `enter` says that another is; empty where none is."""
        return self._phase

    @property
    def due(self) -> float:
        """When the running phase is over."""
        return self.entered + self._limits.get(self._phase, math.inf)

    def enter(self, phase: str, now: float) -> None:
        """Does nothing in the phase itself: each has its time once."""
        if phase != self._phase:
            self.stop(now)
            self._phase = phase

    def stop(self, now: float) -> Mapping[str, float]:
        """Seconds by phase so far; no phase runs afterwards."""
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self.entered
        self.entered, self._phase = now, ""
        return dict(self._seconds)


def phase_limits(phases: Sequence[str], deadlines: Deadlines) -> dict[str, float]:
    """Seconds by phase, in the protocol's order; ParameterError unless each has exactly one."""
    if not isinstance(deadlines, Mapping):
        deadlines = dict.fromkeys(phases, deadlines)
    if deadlines.keys() != set(phases):
        raise ParameterError(
            f"deadlines are needed for the phases {', '.join(phases)}, and for no others"
        )
    limits = {phase: seconds(f"the deadline of {phase}", deadlines[phase]) for phase in phases}
    for phase, limit in limits.items():
        if limit >= MAX_DEADLINE:
            raise ParameterError(f"the deadline of {phase} must be below {MAX_DEADLINE} seconds")
    return limits


def why(event: Dropped) -> str:
    """For a log: the fault, and what else is known of it."""
    more = "" if event.detail == event.fault.value else event.detail
    return f"{event.fault.value}: {more}" if more else event.fault.value
