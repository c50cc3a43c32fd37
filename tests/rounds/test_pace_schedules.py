"""Simulated schedules of a service, and bugs that they must find (specs/50-service.md §2).

Of every round: none of its task runs, its cohort is between the least and the target and of those
that were ready in time, no place of it is lost, nobody is sent away out of it, who waits has a
turn, failures and pauses are kept, and a restart changes nobody's place.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from secagg.rounds import course, line, pace, remembered
from tests.rounds.schedules import Broken, World, world
from tests.soak import SOAK

SEEDS = 2000 if SOAK else 50


def play(seed: int) -> World:
    made = world(seed)
    quiet = seed % 3 == 0
    made.run(300, restarts=0 if quiet else 0.3, operator=0 if quiet else 0.3)
    return made


def test_schedules() -> None:
    rounds = failed = 0
    for seed in range(SEEDS):
        made = play(seed)
        rounds += sum(map(len, made.opens.values()))
        failed += sum(made.failures.values())
    assert rounds > 8 * SEEDS and failed > SEEDS / 10, "they are about something"


PLANTED: dict[str, tuple[ModuleType, str, str]] = {
    "two at once": (
        course,
        "elif self.running is None and self.held is None and now >= self.due:",
        "elif self.held is None and now >= self.next:",
    ),
    "below the least": (course, "if size < self.pace.least:", "if not size:"),
    "the silent have places": (
        course,
        "ready = [peer for peer in asking.order if peer in asking.ready]",
        "ready = list(asking.order)",
    ),
    "a place is lost": (
        course,
        "min(len(ready), self.pace.target)",
        "min(len(ready) - 1, self.pace.target)",
    ),
    "too late is ready": (course, "        if now < asking.until:\n", "        if True:\n"),
    "who has left keeps its place": (
        course,
        "            asking.ready.discard(peer)\n",
        "            asking.order[peer] = _identity(peer)\n",
    ),
    "sent away out of a round": (
        course,
        "if until <= now and p.identity not in seated]",
        "if until <= now]",
    ),
    "asked though sent away": (course, "if self._here[peer] <= now and", "if"),
    "failures do not wait": (course, "self.next = now + min(LONGEST_WAIT", "min(LONGEST_WAIT"),
    "five failures go on": (course, "if self.failures >= MOST_FAILURES:", "if False:"),
    "a pause is not kept": (
        course,
        "if self.running is not None or self.held is not None:",
        "if self.running is not None:",
    ),
    "who asks once does not wake": (
        course,
        "        self._wake = now\n        chosen",
        "        chosen",
    ),
    "by lot alone": (line, "return one.misses, one.served", "return 0, 0"),
    "a restart forgets misses": (
        line,
        'made = cls(reader.u8("misses")',
        'made = cls(0 * reader.u8("misses")',
    ),
    "a restart forgets a pause": (
        remembered,
        "held = None if course.held is Why.DRAINING else course.held",
        "held = None",
    ),
    "the next before the last is told": (
        pace,
        "if name in self._tasks and not self._tasks[name].hold:",
        "if True:",
    ),
    "every is nothing": (course, "self.next = now + self.pace.every", "self.next = now"),
}


def plant(monkeypatch: pytest.MonkeyPatch, where: ModuleType, text: str, instead: str) -> None:
    """What is used of it is from a changed source; all else of the module is as it was."""
    source = Path(where.__file__ or "").read_text()
    assert source.count(text) == 1, f"{text!r} occurs {source.count(text)} times"
    changed = ModuleType(where.__name__)
    monkeypatch.setitem(sys.modules, where.__name__, changed)
    exec(compile(source.replace(text, instead), where.__name__, "exec"), changed.__dict__)
    changed.__dict__.update(Pace=course.Pace)
    user, name = {
        line: (course, "Line"),
        course: (pace, "Course"),
        pace: (pace, "Paced"),
        remembered: (remembered, "state_of"),
    }[where]
    monkeypatch.setattr(user, name, getattr(changed, name))
    monkeypatch.setitem(sys.modules, where.__name__, where)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, *PLANTED[name])
    with pytest.raises(Broken):
        for seed in range(SEEDS):
            play(seed)
