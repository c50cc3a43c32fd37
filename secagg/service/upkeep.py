"""What a service that runs does by the clock: who may not stay goes, and what is kept no longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from secagg.effects import Write
from secagg.rights import ServiceRole
from secagg.rounds.course import Course
from secagg.rounds.pace import Paced
from secagg.service.books import Books
from secagg.service.config import Config
from secagg.service.metrics import Metrics
from secagg.service.public import Payloads
from secagg.wire.frame import payload_digest

SWEEP = 60.0
"""Seconds between two looks for what is over."""


class Kept(Protocol):
    """A service that runs, as far as it is looked after (`secagg.service.serving.Serving`)."""

    config: Config
    metrics: Metrics
    books: Books
    payloads: Payloads

    @property
    def paced(self) -> Paced: ...
    @property
    def unix(self) -> int: ...
    async def write(self, writes: Sequence[Write]) -> None: ...
    def dismiss(self) -> None: ...


async def watch(serving: Kept) -> None:
    """Once a second: how late the loop turns, and whether an approval has ended, which ends links.
    For ever."""
    seen = serving.unix
    while True:
        due = time.monotonic() + 1.0
        await asyncio.sleep(1.0)
        serving.metrics.saw("loop_lag_seconds", max(0.0, time.monotonic() - due))
        before, seen = seen, serving.unix
        if serving.books.admissions.ended(before, seen):
            serving.dismiss()


async def sweep(serving: Kept) -> None:
    """Every SWEEP seconds, and in steps, between which rounds go on. For ever."""
    while True:
        if gone := expired(serving):
            await serving.write(gone)
            continue
        tidy(serving)
        await serving.write([])
        await asyncio.sleep(SWEEP)


def expired(serving: Kept) -> list[Write]:
    """What retention says is over, one step of it; empty where nothing is."""
    now, kept = serving.unix, serving.config.retention
    return serving.books.expire(int(now - kept.results), int(now - kept.audit), now)


def tidy(serving: Kept) -> None:
    """Standings of those who may come no more, and copies of payloads that no round has."""
    paced = serving.paced
    if paced.idle:
        about = {one.payload for one in paced.scheduled.values()}
        serving.payloads.drop(frozenset(map(payload_digest, about)))
    forget(serving.books, paced.tasks, serving.unix)


def forget(books: Books, tasks: Mapping[str, Course], now: int) -> None:
    """Of whoever is revoked, or has ended, or is not of the task any more, nothing is remembered:
    when it comes again it is new."""
    for name, course in tasks.items():
        for key in tuple(course.line):
            if books.admissions.why_not(key, ServiceRole.CLIENT, name, now) is not None:
                course.line.forget(key)
