"""The collector of several servers: asks all of them for one batch's totals, and adds them.

When it asks, and when it tells the servers that they may go, is `secagg.rounds.collect`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from secagg.arguments import seconds
from secagg.drive.reporting import called, openers
from secagg.drive.shell import Shell
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.rounds.collect import CollectRounds
from secagg.rounds.greeting import Greeted, callees
from secagg.rounds.hellos import as_collector
from secagg.transport.opening import Backoff, Opener
from secagg.types import PartyId, Role, Seed

TIMEOUT = 60.0

Keep: TypeAlias = Callable[[Aggregate], None]
"""Puts a sum where it will not be lost. It is called in the loop, and may raise."""


async def collect(
    task: Task,
    secret: Seed,
    urls: Sequence[str],
    *,
    batch: int = 0,
    timeout: float = TIMEOUT,
    keep: Keep | None = None,
) -> Aggregate:
    """The sum of one batch.

    secret: of the committee's collector key (ParameterError for another one). urls: of all servers,
    by index. Raises errors.Aborted, which names a server that did not answer within `timeout`
    seconds or that lies, and IntegrityError where the count lane disagrees; there is no partial
    sum. Collecting again gives the same sum, until the servers close the epoch: a server that has
    been told that a sum was taken may go. keep: is called with the sum before they are told, so
    that it is theirs to give again until it is kept.
    """
    links = openers(task, urls, Role.COLLECTOR)
    return await collect_over(task, secret, links, batch=batch, timeout=timeout, keep=keep)


async def collect_over(
    task: Task,
    secret: Seed,
    openers: Mapping[PartyId, Opener],
    *,
    batch: int = 0,
    timeout: float = TIMEOUT,
    keep: Keep | None = None,
    backoff: Backoff | None = None,
) -> Aggregate:
    """As `collect`, over other links."""
    timeout, servers = seconds("timeout", timeout), callees(task)
    rounds = CollectRounds(task, secret, batch=batch, seconds=timeout, now=time.monotonic())
    done, parted = asyncio.Event(), asyncio.Event()

    def news() -> None:
        for event, so in ((done, rounds.done), (parted, rounds.parted)):
            if so:
                event.set()

    shell = Shell(
        Greeted(rounds, lambda peer: as_collector(task, secret, servers[peer])),
        openers=called(task, openers),
        backoff=backoff,
        news=news,
    )
    shell.start()
    try:
        await shell.until(done.wait())
        total = rounds.aggregate()
        if keep is not None:
            keep(total)
        rounds.thank(total, time.monotonic())
        shell.wake()
        await shell.until(parted.wait())
    finally:
        await shell.close()
    return total
