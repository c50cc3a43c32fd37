"""Clients of the tax benchmark: asyncio tasks in a process of their own, over real WebSockets.

    python -m bench.fleet '{"members": [...], "n": 10, "d": 1000, "services": [{"url": ...}, ...]}'

Every member joins every service, with its plan pinned and its uplink shaped to `rate` bits a second
where one is given. Inputs are made before the links, so that no round waits for them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.drive import aio
from secagg.drive.participant import Contribution
from secagg.plans.plan import Plan
from secagg.transport.shaped import shaped

CLIP = 1.0


def values(member: int, d: int) -> npt.NDArray[np.float32]:
    """What a member adds, in any round of any service."""
    return np.random.default_rng([1, member]).uniform(-CLIP, CLIP, d).astype(np.float32)


async def run(members: list[int], d: int, rate: float | None, services: list[Any]) -> None:
    given = {member: Contribution({"update": values(member, d)}) for member in members}
    joined = [
        _member(service["url"], bytes.fromhex(service["plan"]), given[member], rate)
        for service in services
        for member in members
    ]
    await asyncio.gather(*joined)


async def _member(url: str, encoded: bytes, given: Contribution, rate: float | None) -> None:
    plan = Plan.decode(encoded, allow_unprotected=True)  # ours, from the parent process
    async with aio.connect(url, timeout=60) as link:
        uplink = link if rate is None else shaped(link, rate)
        await aio.participate(uplink, lambda offer: given, plan=plan)


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
