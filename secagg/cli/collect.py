"""`secagg collect`: the sum of one batch, from the totals of all of its servers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from secagg import arguments
from secagg.cli import keyfile, logs, options, pinned, private
from secagg.cli.output import handled, report, rows, warn
from secagg.cli.running import UNKNOWN, leave, revealed, run_until_stopped
from secagg.cli.targets import ARRAY, array_bytes, check_distinct, check_target, save_somewhere
from secagg.drive.collecting import collect as collect_totals
from secagg.errors import SecAggError
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.sim.footprint import peak_rss
from secagg.types import Seed


def collect(
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="Every server's, in the task's order.")
    ],
    task: Annotated[Path, typer.Option(metavar="FILE", help="The task: `secagg task`.")],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="The collector's key: `secagg keys --collector`.")
    ],
    batch: Annotated[
        int, typer.Option(min=0, max=options.MAX_BATCHES - 1, help="Which sum of the epoch.")
    ] = 0,
    timeout: Annotated[
        float, typer.Option(help="Seconds until every server's total must be here.")
    ] = 60.0,
    out: Annotated[
        Path | None, typer.Option(metavar="NAME.npy", help="Write the mean here.")
    ] = None,
    sum_out: Annotated[
        Path | None, typer.Option("--sum", metavar="NAME.npy", help="Write the sum here.")
    ] = None,
    log_level: logs.LogLevel = logs.Level.WARNING,
    log_json: logs.LogJson = False,
    as_json: options.Json = False,
) -> None:
    """Collect the sum of a batch. It waits for servers that have not locked it yet.

    There is a sum of all servers' totals or none: what one server holds is noise without the
    others. The same batch can be collected again. What would keep the files from being written is
    refused before a server is asked; where one cannot be written all the same, it goes to a
    temporary folder, and the servers are not told that the sum was taken. The exit code is 0, 1
    when there is no sum or a file is not where it should be, 2 for an error, 143 when stopped by a
    signal.
    """
    logs.configure(log_level, log_json)
    with handled(as_json):
        arguments.seconds("--timeout", timeout)
        agreed = pinned.read_task(task)
        name = pinned.only_field(agreed.plan)
        pinned.check_urls(urls, agreed.plan.params.servers, "the collector of this task")

        size = array_bytes(dict(agreed.plan.schema.fields)[name].length)
        files = {"--out": out, "--sum": sum_out}
        check_distinct(files)
        for option, file in files.items():
            check_target(file, option, suffix=ARRAY, size=size * len(files))
        collecting = _Collecting(agreed, keyfile.read_collector(key), batch, timeout, out, sum_out)
        stopped = run_until_stopped(collecting.run(urls))
        answer = collecting.answer()
        report(answer, as_json, lambda: rows(_readable(answer)))
    leave(stopped, collecting.not_saved)


class _NotSaved(SecAggError):
    """Stops the collection before the servers hear that the sum is kept: they give it again."""


@dataclass
class _Collecting:
    task: Task
    secret: Seed
    batch: int
    timeout: float
    out: Path | None
    sum_out: Path | None
    total: Aggregate | None = None
    not_saved: bool = False
    places: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0

    async def run(self, urls: list[str]) -> None:
        begun = time.monotonic()
        try:
            await collect_totals(
                *(self.task, self.secret, urls),
                batch=self.batch,
                timeout=self.timeout,
                keep=self._keep,
            )
        except _NotSaved as failed:
            warn(str(failed))
        finally:
            self.seconds = time.monotonic() - begun

    def _keep(self, total: Aggregate) -> None:
        """Both files, the second also where the first has failed."""
        name = pinned.only_field(self.task.plan)
        wanted = (("out", self.out, total.mean[name]), ("sum", self.sum_out, total.sum[name]))
        self.total, failed = total, []
        for key, file, array in wanted:
            if file is not None:
                saved = save_somewhere(file, array)
                self.places |= saved.figures(key, array)
                failed += [saved.failed] if saved.failed else []
        if failed:
            self.not_saved = True
            raise _NotSaved("; ".join(failed))

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
            "privacy": private.of_sum(total),
            "error_bounds": dict(total.report.error_bounds) if total else {},
            "phases": {"collect": self.seconds},
            "bytes_up": None,
            "bytes_down": None,
            "peak_rss": peak_rss(),
            **self.places,
        }


def _readable(answer: dict[str, object]) -> dict[str, object]:
    names = ("task_digest", "batch", "contributors", "weight", "clipped", "error_bounds", "phases")
    places = ("out", "sum", "out_values", "sum_values")
    shown = {name: answer[name] for name in (*names, *places) if answer.get(name) is not None}
    return {**shown, **private.lines(answer["privacy"])}
