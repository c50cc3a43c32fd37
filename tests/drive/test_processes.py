"""Clients as operating-system processes that die by SIGKILL in the middle of a phase."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import numpy as np

from secagg.drive.aio import (
    Contribution,
    Offer,
    Outcome,
    connect,
    message_limit,
    participate,
    serve,
)
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.types import Fault

ROOT = Path(__file__).parents[2]
LENGTH = 40
SOON = 60.0
"""Seconds that no phase lasts: a death must be noticed by its broken link, not by a deadline."""

DYING = (
    """
import asyncio, sys
import numpy as np
from secagg.drive.aio import Contribution, connect, participate
from secagg.wire.frame import Message, decode_frame

url, digest, last_round, last_send = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Stopping:
    '''A link that stops for ever before a certain message of a certain round.'''
    def __init__(self, link):
        self.link, self.sent = link, {}
    async def send(self, data):
        nonce = decode_frame(data, limit=len(data)).nonce
        self.sent[nonce] = self.sent.get(nonce, 0) + 1
        if (len(self.sent), self.sent[nonce]) == (last_round, last_send):
            print("now", flush=True)
            await asyncio.Event().wait()
        await self.link.send(data)
    async def receive(self):
        return await self.link.receive()
    async def close(self):
        await self.link.close()

def inputs(offer):
    values = (np.arange(%d) * (offer.party + 2) + offer.round) %% 101 - 50
    return Contribution({"update": values}, name=str(offer.round))

async def main():
    async with connect(url) as link:
        await participate(Stopping(link), inputs, plan_digest=bytes.fromhex(digest))

asyncio.run(main())
"""
    % LENGTH
)  # noqa: UP031


def inputs(offer: Offer) -> Contribution:
    """Named: the rounds have one task, and their inputs are not one input."""
    values = np.array(vector(offer.party, offer.round))
    return Contribution({"update": values}, name=str(offer.round))


def vector(who: int, number: int) -> list[int]:
    return [(i * (who + 2) + number) % 101 - 50 for i in range(LENGTH)]


async def child(url: str, agreed: Plan, number: int, send: int) -> asyncio.subprocess.Process:
    path = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    arguments = [url, agreed.digest().hex(), str(number), str(send)]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DYING, *arguments),
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
    )


async def killed(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == b"now\n"
    process.kill()
    await process.communicate()


async def test_a_client_killed_in_each_phase() -> None:
    """Rows 40 and 91: the sum is exact over those that count, down to exactly t at the end."""
    fields = {"update": Integer(LENGTH, 50)}
    agreed = plan(clients=7, fields=fields, corrupt=0, dropout="3/7", protocol="secagg")
    assert agreed.threshold == 4
    async with serve(max_size=message_limit(agreed)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        # advertise-keys, share-keys, masked-input, unmask: each process dies before one of these
        dying = [await child(url, agreed, number, number + 1) for number in (1, 2, 3)]

        async def stays() -> tuple[Outcome, ...]:
            async with connect(url) as link:
                return await participate(link, inputs, plan=agreed)

        staying = [asyncio.create_task(stays()) for _ in range(4)]
        await service.ready(7, SOON)
        for number, process in enumerate(dying, start=1):
            end = asyncio.create_task(killed(process))
            total = await service.run_round(agreed, b"task", deadlines=SOON)
            await end
            contributors = sorted(total.contributors)
            columns = zip(*(vector(who, number) for who in contributors), strict=True)
            assert total.levels["update"].tolist() == [sum(column) for column in columns]
            # who dies before unmask has been added already, and is in the sum
            assert len(contributors) == {1: 6, 2: 5, 3: 5}[number]
            assert list(total.report.faults.values()) == [Fault.LOST] * number
    for outcomes in await asyncio.gather(*staying):
        assert [(o.reason, o.contributors, o.dropped) for o in outcomes] == [
            (None, 6, 1),
            (None, 5, 2),
            (None, 5, 2),
        ]
