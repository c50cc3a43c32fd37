"""Phases and their ends, on a clock that is a number (secagg/rounds/clock.py)."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest

from secagg.errors import ParameterError
from secagg.rounds.clock import MAX_DEADLINE, PhaseClock, phase_limits, why
from secagg.sansio import Dropped
from secagg.types import Fault, PartyId

ROOT = Path(__file__).parents[2]
CLOCKS = {"time", "datetime", "date"}


def test_each_phase_has_its_time_once() -> None:
    clock = PhaseClock(100.0, {"a": 5.0, "b": 7.0})
    assert clock.due == math.inf
    clock.enter("a", 101.0)
    assert clock.due == 106.0
    clock.enter("a", 103.0)
    assert clock.due == 106.0
    clock.enter("b", 104.0)
    assert (clock.due, clock.entered) == (111.0, 104.0)
    clock.enter("computing", 105.0)
    assert clock.due == math.inf
    clock.enter("a", 108.0)
    assert clock.stop(110.0) == {"a": 5.0, "b": 1.0, "computing": 3.0}
    assert clock.stop(200.0) == {"a": 5.0, "b": 1.0, "computing": 3.0}


def test_a_clock_without_limits_is_never_due() -> None:
    clock = PhaseClock(0.0)
    clock.enter("a", 1.0)
    assert clock.due == math.inf


def test_deadlines_are_one_number_for_each_phase() -> None:
    assert phase_limits(("a", "b"), 3) == {"a": 3.0, "b": 3.0}
    assert phase_limits(("a", "b"), {"b": 2, "a": 1.5}) == {"a": 1.5, "b": 2.0}
    assert list(phase_limits(("a", "b"), {"b": 2, "a": 1})) == ["a", "b"]
    last = math.nextafter(MAX_DEADLINE, 0)
    assert phase_limits(("a",), last) == {"a": last}
    bad: list[Any] = [{}, {"a": 1.0}, {"a": 1, "b": 1, "c": 1}, 0, -1.0, math.nan, math.inf]
    for deadlines in [*bad, MAX_DEADLINE]:
        with pytest.raises(ParameterError, match="deadline"):
            phase_limits(("a", "b"), deadlines)


def test_a_log_says_the_fault_once() -> None:
    who = PartyId(1)
    assert why(Dropped(who, Fault.LATE)) == "late"
    assert why(Dropped(who, Fault.LATE, "late")) == "late"
    assert why(Dropped(who, Fault.MALFORMED, "no such tag")) == "malformed: no such tag"


SETTABLE = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "today"}
"""What of `time` and `datetime` follows a clock that somebody may set."""


def test_no_deadline_follows_a_clock_that_can_be_set() -> None:
    """Row 77: neither by a call nor by a reference; `now` of our own is an argument. A budget's
    rows have a time for people, on which nothing depends (row 117). A roster ends by the clock on
    the wall, and no deadline does (specs/14-roster.md §1)."""
    found = set()
    for path in (*(ROOT / "secagg").rglob("*.py"), *(ROOT / "protocols").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                found |= {(path.name, alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute) and node.attr in SETTABLE:
                if isinstance(node.value, ast.Name) and node.value.id in CLOCKS:
                    found.add((path.name, node.attr))
    rosters = {(name, "time") for name in ("roster.py", "enrolled.py", "hosting.py", "active.py")}
    # a task is refused of a roster that is over; certificates begin and end by that clock; and the
    # date of a task's next round outlives a process, whose own clock does not
    dates = {(name, "time") for name in ("task.py", "tls.py", "clerk.py", "serving.py", "gate.py")}
    # and numbers of what one process says are never another's
    rosters |= {("placing.py", "time"), ("events.py", "time")}
    assert found == {("book.py", "time"), ("service.py", "now"), *rosters, *dates}
