"""The row of a task of a service: what of it outlives a process (specs/50-service.md §2.8)."""

from __future__ import annotations

from typing import TypeAlias

from secagg.errors import WireError
from secagg.rounds.course import Course
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import NONCE_SIZE
from secagg.wire.pace import Why

# Theory of operation.
#
# Of a task its process remembers what the next one has to go on with, and no more: how many rounds
# there were, how many have failed one after the other, why it is held, when its next round is, and
# which one runs. Who has missed what is of each identity, in rows of its own
# (`secagg.rounds.line`). An asking is not remembered: it lasts for seconds, and who was asked is
# asked again.
#
# A moment is of the monotonic clock, which no other process has. So what is written is a date of
# the wall clock, and what is read is a moment again, by the `epoch` of whoever reads. A clock on
# the wall that was set in between moves the next round, once, and nothing else; to no later than
# behind a round that begins now.
#
# That a task drains is of the process which ends, and is not written: the one after it begins as if
# it had never been said. That somebody has paused it, or that five failures have, is written, and
# only `resume` takes it back.
#
# Impossible: a round that runs and is not among those of the server. Whoever restores both compares
# them, and forgets one that is gone.

State: TypeAlias = tuple[int, int, Why | None, float, bytes | None]
"""Rounds, failures, why it is held, when the next is by monotonic seconds, and which runs."""


def state_of(course: Course) -> State:
    """A drain is of a process, and no other knows of it."""
    held = None if course.held is Why.DRAINING else course.held
    return course.line.rounds, course.failures, held, course.next, course.running


def encode(state: State, epoch: float) -> bytes:
    """epoch: seconds of the wall clock when monotonic time is 0."""
    rounds, failures, held, due, running = state
    writer = Writer().u64(rounds).u8(failures).u8(held.code if held else 0)
    writer.f64(max(0.0, due + epoch))  # of a task without a round it is long ago
    return writer.raw(running or bytes(NONCE_SIZE)).finish()


def take_up(course: Course, row: bytes, epoch: float) -> None:
    """Raises WireError for what is no such row."""
    reader = Reader(row)
    course.line.rounds, course.failures = reader.u64("rounds"), reader.u8("failures")
    held, wall = reader.u8("held"), reader.f64("the next round")
    running = reader.fixed(NONCE_SIZE, "the round that runs")
    reader.finish()
    if held not in (0, Why.PAUSED.code, Why.FAILED.code):
        raise WireError(f"a task is held for the reason {held}, which is unknown")
    course.held = list(Why)[held - 1] if held else None
    course.next, course.running = wall - epoch, running if any(running) else None
