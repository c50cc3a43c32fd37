"""One client of the demo, a process of its own: `python -m secagg.demo.client ...`.

An ordinary client of the service, with one habit of its own. Its parent tells it when to die: with
`--die 3:masked-input` it sends itself SIGKILL in round 3, right before its masked-input message
would leave. No handler runs and no goodbye is sent, as when the power fails, and still a run with
the same seed loses the same clients at the same points.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secagg.demo import model
from secagg.demo.folder import Folder
from secagg.demo.task import Task
from secagg.drive.aio import Contribution, Offer, connect, participate
from secagg.plans.plan import Plan
from secagg.transport.base import Link
from secagg.wire.frame import Announce, Message, decode_frame

FIELD = "update"

DEADLY = getattr(signal, "SIGKILL", signal.SIGTERM)
"""What no handler sees; on Windows os.kill ends the process by either, at once."""
DIED = -DEADLY if hasattr(signal, "SIGKILL") else DEADLY
"""The exit code after it."""


@dataclass(frozen=True)
class Orders:
    """What the parent tells a client. deaths: (round, phase) before whose message it dies."""

    client: int
    url: str
    plan_digest: bytes
    folder: Folder
    seed: int
    deaths: frozenset[tuple[int, str]]

    def arguments(self) -> list[str]:
        return [
            *("--client", str(self.client)),
            *("--url", self.url),
            *("--plan-digest", self.plan_digest.hex()),
            *("--folder", str(self.folder.path)),
            *("--seed", str(self.seed)),
            *(f"--die={round}:{phase}" for round, phase in sorted(self.deaths)),
        ]

    @classmethod
    def parse(cls, arguments: list[str] | None = None) -> Orders:
        """From the command line; SystemExit with usage where it is another."""
        parser = argparse.ArgumentParser("secagg.demo.client", description=__doc__)
        parser.add_argument("--client", type=int, required=True)
        parser.add_argument("--url", required=True)
        parser.add_argument("--plan-digest", type=bytes.fromhex, required=True)
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--seed", type=int, required=True)
        parser.add_argument("--die", type=_death, action="append", default=[])
        given = parser.parse_args(arguments)
        return cls(
            client=given.client,
            url=given.url,
            plan_digest=given.plan_digest,
            folder=Folder(given.folder),
            seed=given.seed,
            deaths=frozenset(given.die),
        )


async def join(orders: Orders) -> None:
    """Takes part until the server closes the link, or until its orders end this process."""
    samples = orders.folder.samples(orders.client)

    def train(offer: Offer) -> Contribution:
        task = Task.decode(offer.payload)
        generator = training_generator(orders.seed, task.round, orders.client)
        update = model.update(task.model, samples, model.Training(), generator)
        orders.folder.put_update(task.round, orders.client, update)
        return Contribution({FIELD: update}, weight=len(samples))

    async with connect(orders.url) as link:
        await participate(MortalLink(link, orders), train, plan_digest=orders.plan_digest)


def training_generator(seed: int, round: int, client: int) -> np.random.Generator:
    """Shuffles a client's batches: the same for the client and for the run that checks it."""
    return np.random.default_rng((seed, round, client))


class MortalLink:
    """A link that notes which party this client is, and dies where its orders say so.

    A client sends one message a phase, in the protocol's order, so counting tells the phase.
    """

    def __init__(self, link: Link, orders: Orders) -> None:
        self._link = link
        self._orders = orders
        self._round = 0
        self._phases: list[str] = []  # whose message is still to be sent

    async def receive(self) -> bytes:
        data = await self._link.receive()
        frame = decode_frame(data, limit=len(data))
        if isinstance(frame, Announce):
            self._round = Task.decode(frame.payload).round
            self._phases = list(Plan.decode(frame.plan).phase_names)
            self._orders.folder.put_party(self._round, self._orders.client, frame.party)
        return data

    async def send(self, data: bytes) -> None:
        frame = decode_frame(data, limit=len(data))
        if isinstance(frame, Message) and self._phases:
            phase = self._phases.pop(0)
            if (self._round, phase) in self._orders.deaths:
                os.kill(os.getpid(), DEADLY)
        await self._link.send(data)

    async def close(self) -> None:
        await self._link.close()


def _death(text: str) -> tuple[int, str]:
    round, _, phase = text.partition(":")
    return int(round), phase


if __name__ == "__main__":
    asyncio.run(join(Orders.parse()))
