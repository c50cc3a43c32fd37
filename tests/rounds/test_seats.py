"""A client keeps its seat (specs/50-service.md §2.10): 2,000 schedules, of which CI has some.

Of each: the sum is exact over those that hear they are in it, or there is none; there is one; no
message has two wordings; everybody hears the end; and where links and server were back before a
phase could close, the sum is over all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from secagg.rounds.client import ClientRounds
from secagg.rounds.course import Course
from secagg.rounds.server import ServerRounds
from secagg.service.jitter import AWAY, FIRST, MOST, Jitter
from tests.rounds import seats
from tests.rounds.schedules import Broken
from tests.rounds.seats import world
from tests.soak import SOAK

SEEDS = 2000 if SOAK else 200
"""A schedule takes 12 ms, most of it the real protocol's keys and shares."""


def test_rows_70_71_75_76_90_links_and_servers_that_come_back() -> None:
    sums = lost = killed = 0
    for seed in range(SEEDS):
        played = world(seed).run()
        sums += any(end.result is not None for end in played.ends)
        lost, killed = lost + played.lost, killed + played.killed
    assert 0.9 * SEEDS < sums < SEEDS and lost > SEEDS and killed > SEEDS / 4, "about something"


def nothing(*_: Any, **__: Any) -> None:
    """In the place of what a planted bug forgets."""


def forgets(rounds: ClientRounds, peer: Any, now: float) -> None:
    rounds._server = None
    rounds.give_up(now)


PLANTED: dict[str, tuple[type | Any, str, Callable[..., Any]]] = {
    "a round goes with its link": (ClientRounds, "left", forgets),
    "a seat is not given again": (ServerRounds, "_returned", nothing),
    "after a restart all are sent away": (
        Course,
        "taken_up",
        lambda course, nonce, cohort: setattr(course, "running", nonce),
    ),
    "rows are not kept": (seats, "commit", nothing),
    "nothing is said again": (
        ClientRounds,
        "joined",
        lambda rounds, peer, now: setattr(rounds, "_server", peer),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[name])
    with pytest.raises(Broken):
        for seed in range(100):
            world(seed).run()


def test_row_76_waits_are_jittered_bounded_and_never_later_than_a_phase_lets() -> None:
    late = Jitter(lambda size: b"\xff" * size)
    waits = [late.again() for _ in range(20)]
    assert waits[0] < FIRST and waits[-1] < MOST and waits[-1] > MOST - 1
    assert [round(wait, 1) for wait in waits[:4]] == [0.5, 1.0, 2.0, 4.0]
    assert late.again(8.0) < 2.0, "a quarter of what is left"
    assert late.again(0.1) < FIRST
    assert late.again(-1.0) > MOST - 1, "too late for the phase: nothing presses"
    assert late.after(10.0) < 11.5 and late.after(1e6) < 1.1 * AWAY + FIRST
    late.met()
    assert late.again(math.inf) < FIRST
    assert Jitter(bytes).again() == 0.0
