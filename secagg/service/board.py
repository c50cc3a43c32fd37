"""How a service is, as its page shows it: one value, of plain words and numbers.

Names are in it for whoever may see them, and nothing else that is not a count. Times are of the
process's monotonic clock until `told` makes them seconds from now, so that two states are equal
where nothing has happened in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secagg.plans.terms import Terms
from secagg.rounds.course import Course
from secagg.rounds.progress import Progress
from secagg.rounds.round import End
from secagg.service.books import Books, outcome
from secagg.service.results import Result
from secagg.shown import short
from secagg.types import PartyId
from secagg.wire.pace import Why

MOST_RESULTS = 100
"""That are shown, of all tasks together: the newest. `secagg results list` has all."""
_WHY: Mapping[str, tuple[str, str]] = {
    "below-threshold": (
        "fewer clients stayed than its plan asks for",
        "see which were lost, and in which phase; the next round comes by itself",
    ),
    "integrity": (
        "the sum did not fit its own check, and is not given out",
        "nothing was disclosed by it; where it happens again, compare the clients' versions",
    ),
    "cancelled": ("it was cancelled", "the next round comes when it is due"),
    "lost": (
        "the service was started again, and its clients could not come back",
        "the next round comes by itself; inputs that had left are spent",
    ),
    "failed": ("it could not be carried out", "the service's log says what has failed"),
}
"""What a round without a sum means, and what to do, by its outcome."""
_HELD: Mapping[Why, str] = {
    Why.PAUSED: "paused by an operator: resume has its rounds go on",
    Why.FAILED: "paused after five rounds in a row that failed: see why, then resume",
    Why.DRAINING: "draining: no further round begins in this life of the process, or until resume",
}


@dataclass(frozen=True, slots=True)
class Last:
    """How the last round of a task ended. at: unix seconds."""

    nonce: bytes
    at: int
    outcome: str
    contributors: int

    __repr__ = short

    @classmethod
    def of(cls, end: End, at: int) -> Last:
        count = 0 if end.result is None else end.result.count
        return cls(end.nonce, at, outcome(end), count)

    @classmethod
    def kept(cls, result: Result) -> Last:
        return cls(result.nonce, result.at, "done", result.contributors)

    def told(self) -> dict[str, Any]:
        done = self.outcome == "done"
        why, do = (None, None) if done else _WHY[self.outcome]
        said = {"round": self.nonce.hex()[:8], "at": self.at, "why": why, "do": do}
        return said | {"outcome": "done" if done else "failed", "contributors": self.contributors}


@dataclass
class Board:
    """Of one service. tasks: as they are now. looked: how far a round has come."""

    books: Books
    tasks: Callable[[], Mapping[str, Course]] = field(repr=False)
    looked: Callable[[bytes], Progress | None] = field(repr=False)
    last: dict[str, Last] = field(default_factory=dict)
    _words: dict[bytes, list[str]] = field(default_factory=dict, repr=False)

    __repr__ = short

    def ended(self, task: str, end: End, at: int) -> None:
        self.last[task] = Last.of(end, at)

    def tasks_now(self, names: bool, unix: int) -> list[dict[str, Any]]:
        """names: whether who takes part in a round may be told. unix: seconds."""
        return [self._task(name, course, names, unix) for name, course in self.tasks().items()]

    def results(self) -> list[dict[str, Any]]:
        """The newest first."""
        kept = self.books.results.all()[: -MOST_RESULTS - 1 : -1]
        return [_result(one) for one in kept]

    # Inside

    def _task(self, name: str, course: Course, names: bool, unix: int) -> dict[str, Any]:
        progress = None if course.running is None else self.looked(course.running)
        enrolled = self.books.enrolled(name, unix)
        last = self.last.get(name) or self._kept(name)
        return {
            "name": name,
            "state": _state(course, progress, enrolled),
            "guarantee": self._guarantee(course.terms),
            "min": course.pace.least,
            "target": course.pace.target,
            "candidates": course.candidates,
            "enrolled": enrolled,
            "next": course.next,
            "failures": course.failures,
            "held": None if course.held is None else _HELD[course.held],
            "round": None if progress is None else self._round(course, progress, names),
            "last": None if last is None else last.told(),
        }

    def _round(self, course: Course, progress: Progress, names: bool) -> dict[str, Any]:
        number, gone, owe = len(progress.cohort), len(progress.gone), len(progress.owe)
        said = {
            "round": (course.running or b"").hex()[:8],
            "phase": progress.phase,
            "phases": _phases(progress),
            "left": progress.due,
            "bytes_in": progress.up,
            "bytes_out": progress.down,
            "asked": number,
            "sent": number - owe - gone,
            "owe": owe,
            "dropped": gone,
        }
        return said | ({"clients": self._clients(progress)} if names else {})

    def _clients(self, progress: Progress) -> list[dict[str, Any]]:
        found = []
        for i, key in enumerate(progress.cohort):
            seat, state, why = PartyId(i), "sent", None
            if seat in progress.gone:
                fault = progress.gone[seat]
                state, why = "dropped", None if fault is None else fault.value
            elif seat in progress.owe:
                state = "owes"
            name = None if key is None else self.books.admissions.name_of(key)
            found.append({"name": name or f"party {i}", "state": state, "why": why})
        return found

    def _kept(self, task: str) -> Last | None:
        """Of a life of the process before this one, as far as there is a result."""
        kept = self.books.results.all(lambda one: one == task)
        return Last.kept(kept[-1]) if kept else None

    def _guarantee(self, terms: Terms) -> list[str]:
        """Made once: a task may get other terms, and terms never change."""
        digest = terms.digest()
        if digest not in self._words:
            self._words[digest] = terms.explain().splitlines()[:-1]
        return self._words[digest]


def told(tasks: list[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """Its times as seconds from now: of what has none, null."""
    return [
        one
        | {"next": _left(one["next"], now)}
        | {"round": one["round"] and one["round"] | {"left": _left(one["round"]["left"], now)}}
        for one in tasks
    ]


def _left(moment: float, now: float) -> float | None:
    if moment == math.inf:
        return None
    return round(max(0.0, moment - now), 1) if moment > -math.inf else 0.0


def _state(course: Course, progress: Progress | None, enrolled: int) -> str:
    if progress is not None:
        return "unmasking" if progress.last else "running"
    if course.held is not None:
        return "draining" if course.held is Why.DRAINING else "paused"
    if not enrolled:
        return "empty"
    return "ready" if course.candidates >= course.pace.least else "waiting"


def _phases(progress: Progress) -> list[dict[str, str]]:
    names = list(progress.phases)
    at = names.index(progress.phase) if progress.phase in names else len(names)
    return [
        {"name": name, "state": "done" if i < at else "running" if i == at else "waiting"}
        for i, name in enumerate(names)
    ]


def _result(one: Result) -> dict[str, Any]:
    return {
        "task": one.task,
        "round": one.nonce.hex()[:8],
        "nonce": one.nonce.hex(),
        "at": one.at,
        "contributors": one.contributors,
        "error": max(one.errors.values(), default=0.0),
        "waiting": not one.taken,
    }
