"""A client of several servers: one report, built once, and the same bytes until they are stored.

    outcome = await report(task, {"update": vector}, urls=["wss://leader.example"])

A link that is lost is opened again, and the report sent again: every server stores it once,
however often it comes. What is said when is `secagg.rounds.report`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from secagg.arguments import seconds
from secagg.budget import Budget
from secagg.cut import clipping
from secagg.drive.participant import counting
from secagg.drive.shell import Shell
from secagg.effects import Peer
from secagg.errors import ParameterError
from secagg.plans.task import Task
from secagg.rounds.greeting import Greeted, callees, message_limit
from secagg.rounds.hellos import as_client
from secagg.rounds.report import ReportOutcome, ReportRounds
from secagg.transport import websocket
from secagg.transport.base import Link
from secagg.transport.opening import Backoff, Opener
from secagg.types import PartyId, Randomness, Role, server_id, system_randomness

__all__ = ["ReportOutcome", "Reporter", "message_limit", "openers", "report"]

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds, unless the caller says otherwise: longer than a server takes to restart."""


async def report(
    task: Task,
    fields: Mapping[str, Any],
    *,
    urls: Sequence[str],
    weight: int = 1,
    payload: bytes = b"",
    timeout: float = TIMEOUT,
    randomness: Randomness = system_randomness,
    budget: Budget | None = None,
) -> ReportOutcome:
    """Reports once and waits until every server has signed that it is stored.

    task: from somebody whom the caller trusts not to be all of its servers. fields: as of the plan.
    urls: the leader's alone where it relays, and those of all servers, by index, in direct mode.
    payload: the description of the task as this client has it. budget: what this client's data may
    tell (`secagg.Budget`): the report is charged to it, for good, before it leaves.

    Raises InputError for another payload, and for fields that do not fit, before anything is sent,
    BudgetSpent and PolicyRefused where the budget has no room for it, or does not count its plan;
    ParameterError and PolicyRefused for the urls; LinkTimeout after `timeout` seconds. To try
    again with the same bytes, keep a Reporter instead.
    """
    reporter = Reporter(
        task, fields, weight=weight, payload=payload, randomness=randomness, budget=budget
    )
    return await reporter.deliver(openers(task, urls, Role.CLIENT), timeout=timeout)


def openers(task: Task, urls: Sequence[str], role: Role) -> dict[PartyId, Opener]:
    """For a client or a collector: by server, what opens a link to it."""
    reached = task.plan.params.servers
    if role is Role.CLIENT and not task.plan.params.direct:
        reached = 1
    if len(urls) != reached:
        which = (
            "the leader's alone" if reached == 1 else f"those of all {reached} servers, by index"
        )
        raise ParameterError(f"{len(urls)} URLs, and needed are {which}")
    return {server_id(index): _opener(task, url) for index, url in enumerate(urls)}


def called(task: Task, openers: Mapping[PartyId, Opener]) -> dict[Peer, Opener]:
    """The same under the names that rounds know the servers by."""
    names = {party: peer for peer, party in callees(task).items()}
    return {names[party]: opener for party, opener in openers.items()}


def _opener(task: Task, url: str) -> Opener:
    async def open_link() -> Link:
        return await websocket.connect(url, max_size=message_limit(task))

    return open_link


class Reporter:
    """One report, and its delivery, which may be tried as often as it takes.

    A report that may have been stored must never be replaced by a new one of the same input: both
    would be summed.
    """

    def __init__(
        self,
        task: Task,
        fields: Mapping[str, Any],
        *,
        weight: int = 1,
        payload: bytes = b"",
        randomness: Randomness = system_randomness,
        budget: Budget | None = None,
    ) -> None:
        """Builds the report. Raises InputError, before anything is sealed, and PolicyRefused for a
        plan that the budget does not count."""
        self._task, self._budget = task, budget
        self._rounds = ReportRounds(
            task,
            fields,
            weight=weight,
            payload=payload,
            randomness=randomness,
            counting=counting(budget),
        )
        if note := clipping(task.plan.schema, self._rounds.clipped):
            log.warning("in this report, %s", note)

    async def deliver(
        self,
        openers: Mapping[PartyId, Opener],
        *,
        timeout: float = TIMEOUT,
        backoff: Backoff | None = None,
    ) -> ReportOutcome:
        """openers: by server. Another call, after a LinkTimeout, sends the same bytes."""
        timeout = seconds("timeout", timeout)
        ended = asyncio.Event()
        shell = Shell(
            Greeted(self._rounds, lambda _: as_client(self._task)),
            budget=self._budget,
            openers=called(self._task, openers),
            backoff=backoff,
            news=lambda: ended.set() if self._rounds.over else None,
        )
        self._rounds.attempt(timeout, time.monotonic())
        shell.start()
        try:
            await shell.until(ended.wait())
        finally:
            await shell.close()
        return self._rounds.outcome()
