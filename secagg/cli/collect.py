"""`secagg collect`: the sum of one batch, from the totals of all of its servers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import keyfile, options, pinned
from secagg.cli.output import handled, report, rows, save_array
from secagg.cli.service import STOPPED, UNKNOWN, revealed, run_until_stopped
from secagg.drive.collecting import Keep
from secagg.drive.collecting import collect as collect_totals
from secagg.footprint import peak_rss
from secagg.party import Aggregate
from secagg.task import Task
from secagg.types import Seed


def collect(
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="Every server's, in the task's order.")
    ],
    task: Annotated[Path, typer.Option(metavar="FILE", help="The task: `secagg task`.")],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="The collector's key: `secagg keys --collector`.")
    ],
    batch: Annotated[int, typer.Option(min=0, help="Which sum of the epoch.")] = 0,
    timeout: Annotated[
        float, typer.Option(help="Seconds until every server's total must be here.")
    ] = 60.0,
    out: Annotated[Path | None, typer.Option(help="Write the mean here, as .npy.")] = None,
    sum_out: Annotated[
        Path | None, typer.Option("--sum", help="Write the sum here, as .npy.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Collect the sum of a batch. It waits for servers that have not locked it yet.

    There is a sum of all servers' totals or none: what one server holds is noise without the
    others. The same batch can be collected again. The exit code is 0, 2 for an error, 143 when
    stopped by a signal.
    """
    with handled(as_json):
        agreed = pinned.read_task(task)
        field = pinned.only_field(agreed.plan)
        pinned.check_urls(urls, agreed.plan.params.servers, "the collector of this task")

        def keep(total: Aggregate) -> None:
            if out is not None:
                save_array(out, total.mean[field])
            if sum_out is not None:
                save_array(sum_out, total.sum[field])

        collecting = _Collecting(agreed, keyfile.read_collector(key), batch, timeout, keep)
        stopped = run_until_stopped(collecting.run(urls))
    answer = collecting.answer()
    report(answer, as_json, lambda: rows(_readable(answer)))
    if stopped:
        raise typer.Exit(STOPPED)


@dataclass
class _Collecting:
    task: Task
    secret: Seed
    batch: int
    timeout: float
    keep: Keep
    total: Aggregate | None = None
    seconds: float = 0.0

    async def run(self, urls: list[str]) -> None:
        begun = time.monotonic()
        try:
            self.total = await collect_totals(
                self.task, self.secret, urls, batch=self.batch, timeout=self.timeout, keep=self.keep
            )
        finally:
            self.seconds = time.monotonic() - begun

    def answer(self) -> dict[str, object]:
        """dropped is unknown: reports that no batch has included may still be in a later one."""
        total = self.total
        return {
            "task_digest": self.task.digest().hex(),
            "batch": self.batch,
            **UNKNOWN,
            "contributors": total.count if total else 0,
            "dropped": None,
            "weight": total.weight if total else 0,
            "clipped": revealed(total),
            "error_bounds": dict(total.report.error_bounds) if total else {},
            "phases": {"collect": self.seconds},
            "bytes_up": None,
            "bytes_down": None,
            "peak_rss": peak_rss(),
        }


def _readable(answer: dict[str, object]) -> dict[str, object]:
    names = ("task_digest", "batch", "contributors", "weight", "clipped", "error_bounds", "phases")
    return {name: answer[name] for name in names if answer[name] is not None}
