"""A service tells its observer everything that happens in a round, in order."""

from __future__ import annotations

import asyncio

import numpy as np

from secagg.drive.aio import Contribution, Offer, Service, participate
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.sansio import Dropped, Event, Finished, PhaseEntered, QuorumReached
from secagg.transport import memory
from secagg.types import Fault

AGREED = plan(
    clients=3, fields={"update": Integer(1, 9)}, corrupt=0, dropout=0.4, protocol="plainsum"
)


async def test_every_event_of_the_machine_in_order() -> None:
    service = Service()
    tasks = []
    for _ in range(2):
        ours, theirs = memory.pair()
        tasks.append(asyncio.create_task(service.on_link(ours)))
        tasks.append(asyncio.create_task(participate(theirs, one, plan=AGREED)))
    await service.ready(2, 20)
    seen: list[Event] = []
    await service.run_round(AGREED, deadlines=20, observer=seen.append)
    assert seen[:2] == [PhaseEntered("upload"), Dropped(2, Fault.LOST)]
    assert QuorumReached("upload") in seen and Finished() in seen
    before = len(seen)
    await service.run_round(AGREED, deadlines=20)
    assert len(seen) == before, "an observer is of one round"
    await service.close()
    await asyncio.gather(*tasks)


def one(offer: Offer) -> Contribution:
    return Contribution({"update": np.array([1])})
