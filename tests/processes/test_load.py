"""Many reports at once, and servers that are killed while they come."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.processes.fleet import Fleet, Nursery, plain_sum

CLIENTS, LENGTH = 400, 20_000
AT_ONCE = 50
VICTIMS = (0, 1, 2, 0)
PAUSE = 0.5


@pytest.mark.soak
@pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="`make soak` runs it")
@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
async def test_servers_are_killed_under_load(tmp_path: Path, direct: bool) -> None:
    """Rows 76 and 90: every report is stored and summed once, whoever was killed meanwhile."""
    async with Nursery.open() as nursery:
        fleet = Fleet(nursery, tmp_path, clients=CLIENTS, length=LENGTH, direct=direct)
        await fleet.start_all()
        reporting = asyncio.create_task(report_some_at_a_time(fleet))
        for index in VICTIMS:
            await asyncio.sleep(PAUSE)
            fleet.children[index].kill()
            assert await fleet.children[index].ended() == -signal.SIGKILL
            await fleet.start(index)
        await reporting
        total = await fleet.collect()
        assert total.count == CLIENTS
        assert total.levels["update"].tolist() == plain_sum(range(CLIENTS), LENGTH)
        await fleet.stop()


async def report_some_at_a_time(fleet: Fleet) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(who: int) -> None:
        async with places:
            assert (await fleet.report(who)).stored

    async with asyncio.TaskGroup() as group:
        for who in range(fleet.clients):
            group.create_task(one(who))
