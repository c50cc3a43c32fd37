"""A server's rounds on a clock that is a number (secagg/rounds/server.py, round.py)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from secagg.plans.plan import Plan
from tests.rounds.world import World, levels, real, total, toy

NAMES = ["a", "b", "c", "d"]


@pytest.mark.parametrize("make", [toy, real])
def test_a_round_is_the_sum_of_everybody(make: Callable[[int], Plan]) -> None:
    world = World()
    for name in NAMES:
        world.client(name)
    opened = world.open(make(4), b"task")
    assert levels(world.result(opened)) == total(NAMES)
    for client in world.clients.values():
        (outcome,) = client.told
        assert (outcome.included, outcome.why, outcome.reason, outcome.spent) == (
            True,
            "",
            None,
            True,
        )
