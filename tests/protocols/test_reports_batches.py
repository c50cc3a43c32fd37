"""Two servers, two batches, and every order of restart: each receipt is in a sum that is collected.

Threats T16, row 90; specs/20-additive.md §9. Whoever dies, after its commit or before, alone or
with the other, in whichever order they come back: no report is lost and none is summed twice, and
each server has released one total of each batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import product

import pytest

from secagg.types import Fault, PartyId
from tests.ensembles import HELPER, LEADER
from tests.epochs import CLIENTS, WAVES, Epoch, setting_of

RELAY, DIRECT = setting_of(direct=False), setting_of(direct=True)
SETTINGS = {"relay": RELAY, "direct": DIRECT}
ORDERS: tuple[tuple[PartyId, ...], ...] = (
    (LEADER,),
    (HELPER,),
    (LEADER, HELPER),
    (HELPER, LEADER),
)
SOAK = "SECAGG_SOAK" in os.environ


@cache
def steps(mode: str) -> int:
    return Epoch(SETTINGS[mode]).run().steps


def check(epoch: Epoch, deaths: object) -> tuple[int, ...]:
    """Every client has its receipts, and is in one sum; how many there are in each."""
    counts = [epoch.counts(number) for number in range(len(WAVES))]
    assert all(machine.done and not machine.ended for machine in epoch.clients.values()), deaths
    assert [sum(column) for column in zip(*counts, strict=True)] == [1] * len(CLIENTS), deaths
    assert {drop.fault for drop in epoch.drops} <= {Fault.LATE}, deaths
    for released in epoch.released.values():
        assert len(released) == 1, deaths
    return tuple(map(sum, counts))


def cases(mode: str) -> Iterator[tuple[int, tuple[PartyId, ...], bool]]:
    """Every step, each order, and both sides of the commit; or of these one after the other, at
    every second step."""
    if SOAK:
        yield from product(range(steps(mode)), ORDERS, (True, False))
    else:
        for number, step in enumerate(range(mode == "relay", steps(mode), 2)):
            yield step, ORDERS[number % len(ORDERS)], number % 8 < 4


@pytest.mark.parametrize("mode", SETTINGS)
def test_no_restart_loses_a_receipt(mode: str) -> None:
    assert check(Epoch(SETTINGS[mode]).run(), "none") == (3, 4), "the fourth came too late"
    sizes = set()
    died = 0
    for step, order, committed in cases(mode):
        epoch = Epoch(SETTINGS[mode], {step: order}, committed=committed).run()
        assert epoch.restarts == list(order), (step, order)
        sizes.add(check(epoch, (step, order, committed)))
        died += 1
    assert died >= steps(mode) // 2 > 30
    assert sizes == {(3, 4), (4, 3)}, "a batch closes before the last report, or after it"


@pytest.mark.skipif(not SOAK, reason="`make soak` runs it")
@pytest.mark.parametrize("mode", SETTINGS)
def test_no_two_restarts_lose_a_receipt(mode: str) -> None:
    """Also of a server that has only just begun again, or is told what it missed."""
    for first in range(0, steps(mode), 2):
        for second, order in product(range(first + 1, first + 40, 3), ORDERS):
            deaths = {first: ORDERS[first % 4], second: order}
            check(Epoch(SETTINGS[mode], deaths).run(), deaths)
