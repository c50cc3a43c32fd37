"""Servers that are killed in every phase and started again by the same command line.

Every moment is one at which the store or the network has just changed, or is about to; the sum must
be that of all acknowledged reports, each once, whichever server dies.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from secagg.drive.reporting import Reporter, openers
from secagg.types import Role
from tests.processes.fleet import LIMIT, Child, Fault, Fleet, Nursery, plain_sum, vector

AT_A_TIME = 2
WHEN = ("before", "after")
PHASES: tuple[Fault, ...] = (
    {"die": "before", "row": "pending", "count": 2},
    {"die": "after", "row": "pending", "count": 3},
    {"die": "before", "row": "included", "count": 2},
    {"die": "after", "row": "agree", "count": 1},
    {"die": "before", "row": "locked", "count": 1},
    {"die": "after", "row": "locked", "count": 1},
    {"die": "before", "message": "total", "count": 1},
)


def moments(leader: bool, direct: bool) -> Iterator[Fault]:
    """By phase: upload after k receipts, between accepted and included, agree, lock, collect."""
    yield from ({"die": when, "row": "pending", "count": k} for when in WHEN for k in (1, 3))
    yield from ({"die": when, "row": "included", "count": k} for when in WHEN for k in (1, 4))
    yield from (
        {"die": when, "row": row, "count": 1} for when in WHEN for row in ("agree", "locked")
    )
    relayed = "receipt" if direct else "report-share"
    said = (relayed, "decision", "statement", "agreement", "receipt")
    if not leader:
        said = ("verdict", "decided", "statement", "locked")
    yield from ({"die": when, "message": tag, "count": 2} for when in WHEN for tag in said[:2])
    yield from ({"die": when, "message": tag, "count": 1} for when in WHEN for tag in said[2:])
    yield from ({"die": when, "message": "total", "count": 1} for when in WHEN)


async def restarted(fleet: Fleet, index: int, child: Child) -> None:
    """Waits for its death, and starts it again."""
    assert await child.ended() == -signal.SIGKILL, child.errors
    await fleet.start(index)


async def survives(nursery: Nursery, folder: Path, index: int, fault: Fault, direct: bool) -> None:
    """One batch in which that server dies at that moment."""
    fleet = Fleet(nursery, folder, direct=direct)
    await fleet.start_all({index: fault})
    restart = asyncio.create_task(restarted(fleet, index, fleet.children[index]))
    await fleet.report_all(range(fleet.clients))
    total = await fleet.collect()
    async with asyncio.timeout(LIMIT):
        await restart  # it has come to its moment: the test does not pass without a death
    assert total.count == fleet.clients
    assert total.levels["update"].tolist() == plain_sum(range(fleet.clients))
    await fleet.stop()
    shutil.rmtree(folder)


def named(fault: Fault) -> str:
    return "-".join(f"{k}-{fault[k]}" for k in ("die", "row", "message", "count") if k in fault)


async def at_each(folder: Path, index: int, faults: Iterable[Fault], *, direct: bool) -> None:
    """Some at a time, as most of each is waiting."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(fault: Fault) -> None:
        async with places:
            try:
                await survives(nursery, folder / named(fault), index, fault, direct=direct)
            except Exception as error:
                error.add_note(f"server {index}, {named(fault)}")
                raise

    async with Nursery.open() as nursery, asyncio.TaskGroup() as group:
        for fault in faults:
            group.create_task(one(fault))


@pytest.mark.parametrize("index", [0, 1], ids=["leader", "helper"])
async def test_a_server_killed_in_every_phase(tmp_path: Path, index: int) -> None:
    """Row 90: after some reports, between accepted and included, at the lock, while collected."""
    await at_each(tmp_path, index, PHASES, direct=False)


async def test_a_repeat_gets_its_receipt_after_the_last_batch_is_locked(tmp_path: Path) -> None:
    """Rule A3: the same report, the same receipt. The leader dies between the commit of the last
    report and its receipt, and the other reports have filled the batch when the client is back."""
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path)
        last = {"die": "after", "row": "pending", "count": 4}
        locked = {"die": "after", "row": "locked", "count": 1}
        await fleet.start_all({0: last, 1: locked})
        await fleet.report_all(range(3))
        reporter = Reporter(fleet.task, {"update": np.array(vector(3))})
        links = openers(fleet.task, fleet.urls[:1], Role.CLIENT)
        trying = asyncio.create_task(reporter.deliver(links))
        assert await fleet.children[0].ended() == -signal.SIGKILL
        trying.cancel()
        await asyncio.wait({trying})
        await fleet.start(0)
        assert await fleet.children[1].ended() == -signal.SIGKILL  # so the batch is agreed on
        assert (await reporter.deliver(links, timeout=LIMIT)).stored


@pytest.mark.soak
@pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")
@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
@pytest.mark.parametrize("index", [0, 1, 2], ids=["leader", "helper", "last"])
async def test_a_server_killed_at_every_persistence_point(
    tmp_path: Path, index: int, direct: bool
) -> None:
    """Row 90: before and after every kind of commit and of message; the sum is exact."""
    await at_each(tmp_path, index, moments(index == 0, direct), direct=direct)
