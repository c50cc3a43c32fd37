"""`secagg join --task`: one report to a sum over several servers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from secagg import arguments
from secagg.budget import Budget
from secagg.cli import pinned
from secagg.cli.npy import Vector
from secagg.cli.output import warn
from secagg.cli.running import UNKNOWN
from secagg.drive.reporting import ReportOutcome
from secagg.drive.reporting import report as send_report
from secagg.plans.task import Task
from secagg.sim.footprint import peak_rss


@dataclass
class Reporting:
    """payload: the bytes that the task is about. budget: what it is charged to. timeout: seconds
    until it must be stored."""

    task: Task
    urls: list[str]
    vector: npt.NDArray[Any]
    weight: int
    payload: bytes
    budget: Path | None
    timeout: float
    outcome: ReportOutcome | None = None
    seconds: float = 0.0

    async def run(self) -> None:
        if self.budget is None:
            await self._run(None)
            return
        with Budget(self.budget) as budget:
            await self._run(budget)

    async def _run(self, budget: Budget | None) -> None:
        begun = time.monotonic()
        self.outcome = await send_report(
            self.task,
            {pinned.only_field(self.task.plan): self.vector},
            urls=self.urls,
            weight=self.weight,
            payload=self.payload,
            timeout=self.timeout,
            budget=budget,
        )
        self.seconds = time.monotonic() - begun
        if not self.outcome.stored:
            warn(
                f"not every server has stored this report: {self.outcome.detail}. Some may have: "
                "a second report of the same input could be summed beside it"
            )

    def check(self) -> None:
        """What cannot be reported was raised by `run`."""

    left_out = False

    @property
    def failed(self) -> bool:
        return self.outcome is not None and not self.outcome.stored

    def answer(self) -> dict[str, object]:
        """A client hears that its report is stored, and nothing of the sum that it will be in."""
        outcome = self.outcome
        return {
            "task_digest": self.task.digest().hex(),
            "stored": outcome is not None and outcome.stored,
            "error": outcome.reason.value if outcome and outcome.reason else None,
            "detail": outcome.detail if outcome else "",
            **UNKNOWN,
            "contributors": None,
            "dropped": None,
            "clipped": sum(outcome.clipped.values()) if outcome else None,
            "phases": {"upload": self.seconds},
            "bytes_up": outcome.bytes_up if outcome else None,
            "bytes_down": None,
            "client_seconds": time.process_time(),
            "peak_rss": peak_rss(),
        }


def prepare(
    agreed: Task,
    explained: bool,
    urls: list[str],
    vector: Vector,
    weight: int,
    payload: Path | None,
    budget: Path | None,
    timeout: float,
) -> Reporting:
    """Everything is checked before a server hears anything. ParameterError, PolicyRefused.

    agreed: of several servers. explained: what it promises is printed.
    """
    params = agreed.plan.params
    pinned.check_urls(
        urls,
        params.servers if params.direct else 1,
        "this task, whose clients reach every server in its order,"
        if params.direct
        else "this task, whose leader relays to the other servers,",
    )
    arguments.seconds("--timeout", timeout)
    values = pinned.read_vector(vector, agreed.plan)
    data = pinned.read_payload(payload)
    if explained:
        pinned.explain_task(agreed)
    return Reporting(agreed, urls, values, weight, data, budget, timeout)
