"""A service in this process, and sites that are enrolled at it, over TLS on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import secagg
from secagg.cli.founding import CHAIN, KEY, STATE, found
from secagg.drive.participant import Inputs, Participant
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.rounds.admissions import CONSOLE
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Outcome
from secagg.service.attending import Caller
from secagg.service.config import Asked, Bounds, Config, Listen, Pursued
from secagg.service.serving import Serving
from secagg.service.site import Site
from secagg.service.trial import TRIAL, fingerprint
from secagg.store.memory import MemoryLedger
from secagg.types import Seed

LENGTH, LEAST, MOST = 4, 4, 5
TASK = "mortality"
TERMS = Terms.of({"update": secagg.Integer(LENGTH, max=9)}, (LEAST, MOST), corrupt=0, dropout=0.2)


@dataclass
class Place:
    """The folder of a service."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Place:
        found(folder, "localhost", True, datetime.now(UTC))
        (folder / f"{TASK}.task").write_bytes(TERMS.encode())
        return cls(folder)

    def config(self, clients: int = LEAST, **task: Any) -> Config:
        """Of one task, whose rounds are of exactly so many."""
        state, tls = self.folder / STATE, self.folder / "tls"
        listen = Listen("127.0.0.1", 0, tls / CHAIN, tls / KEY)
        pursued = Pursued(TASK, self.folder / f"{TASK}.task", Asked(clients, clients))
        limits = Bounds(strangers=8, links=16, disk_reserve=1)
        admin = ("127.0.0.1", 0)
        tasks = (replace(pursued, **task),)
        return Config("localhost", state, listen, admin, tasks, limits=limits)


def seed(number: int) -> Seed:
    """Of the site of that number."""
    return Seed(bytes([number]) * 32)


def name(number: int) -> str:
    return f"site-{number}"


async def enrol(serving: Serving, number: int) -> None:
    """As a site's administrator and the service's do."""
    books, now = serving.books, serving.unix
    ca = fingerprint((serving.config.state.parent / "tls" / TRIAL).read_bytes())
    change, invitation = books.admissions.invite(
        name(number), ServiceRole.CLIENT, [TASK], CONSOLE, now, url=serving.url, ca=ca
    )
    await serving.write(books.change(change, now))
    accepted = books.admissions.accept(invitation.accept(seed(number)), now)
    await serving.write(books.change(accepted, now))
    await serving.write(books.change(books.admissions.approve(name(number), CONSOLE), now))


def site(serving: Serving, number: int) -> Site:
    folder = serving.config.state.parent
    return Site(
        serving.url,
        "localhost",
        serving.service.key,
        folder / "tls" / TRIAL,
        name(number),
        TASK,
        folder / f"{name(number)}.key",
        folder / f"{name(number)}.ledger",
        TERMS.digest(),
    )


async def waiting_for(serving: Serving, number: int) -> None:
    """Until so many are there."""
    async with asyncio.timeout(30):
        while serving.rounds.paced.tasks[TASK].candidates != number:
            await asyncio.sleep(0.01)


def given(number: int) -> Contribution:
    """Of a site, whose every value is its number."""
    return Contribution({"update": np.full(LENGTH, number, np.int64)})


async def attend(
    serving: Serving, number: int, *, ledger: MemoryLedger | None = None, timeout: float = 30.0
) -> tuple[Outcome, ...]:
    """One round of one site."""
    return await call(
        site(serving, number), number, lambda offer: given(number), ledger=ledger, timeout=timeout
    )


async def call(
    where: Site,
    number: int,
    inputs: Inputs,
    *,
    ledger: MemoryLedger | None = None,
    timeout: float = 30.0,
    told: Callable[[str], None] = lambda text: None,
    key: Seed | None = None,
) -> tuple[Outcome, ...]:
    """key: where it has another than it was enrolled with."""
    caller = Caller(where, key or seed(number), told)
    participant = Participant(
        ClientRounds(Consent(terms=TERMS), returning=True),
        inputs,
        ledger=ledger or MemoryLedger(),
        most=1,
        **caller.kept,
    )
    return await caller.stay(participant, 1, timeout=timeout)
