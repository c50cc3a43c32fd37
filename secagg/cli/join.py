"""`secagg join`: one client of a service, with a vector from a file."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from secagg.cli import options
from secagg.cli.output import handled, report, rows, warn
from secagg.cli.pinned import NO_TASK, parse_digest
from secagg.cli.reporting import Reporting, prepare
from secagg.cli.service import FAILED_ROUND, STOPPED, UNKNOWN, run_until_stopped
from secagg.drive.aio import Contribution, Offer, Outcome, connect, participate
from secagg.errors import InputError, ParameterError, PolicyRefused, TransportError
from secagg.footprint import peak_rss
from secagg.planner import Plan


def join(
    urls: Annotated[
        list[str],
        typer.Argument(
            metavar="URL...", help="wss://HOST:PORT, or ws:// on loopback; several for some tasks."
        ),
    ],
    input: Annotated[
        Path, typer.Option("--input", help="The vector, as .npy; the same in every round.")
    ],
    weight: Annotated[int, typer.Option(help="This client's weight in the mean.")] = 1,
    plan: Annotated[
        Path | None, typer.Option(help="Take part in this plan only: `secagg plan --out`.")
    ] = None,
    plan_digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="Take part in the plan of this digest only.")
    ] = None,
    task: options.TaskFile = None,
    task_digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the task must be; else it is explained.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(help="With --task: the bytes that it is about, if any.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="With --task: seconds until the report must be stored.")
    ] = 60.0,
    as_json: options.Json = False,
) -> None:
    """Take part in every round of a service until it closes the connection; or report once.

    With neither --plan nor --plan-digest the server chooses the plan: its parameters are derived
    again and checked, and what they promise is printed on standard error. With --task the vector
    goes to several servers as one report, the same bytes until it is stored; whoever runs the
    command again makes another report, which counts as well. The exit code is 0, 1 when a round
    gave no sum, 2 for an error, 143 when stopped by a signal.
    """
    with handled(as_json):
        running: _Joining | Reporting
        vector = _read_vector(input)
        if task is not None:
            if plan is not None or plan_digest is not None:
                raise ParameterError("a task contains its plan: leave out --plan and --plan-digest")
            pin = None if task_digest is None else parse_digest(task_digest, "task")
            running = prepare(task, pin, urls, vector, weight, payload, timeout)
        else:
            if task_digest is not None or payload is not None or len(urls) > 1:
                raise ParameterError(NO_TASK)
            pinned = _read_plan(plan) if plan is not None else None
            digest = parse_digest(plan_digest, "plan") if plan_digest is not None else None
            running = _Joining(urls[0], vector, weight, pinned, digest)
        stopped = run_until_stopped(running.run())
        if not stopped:
            running.check()
    answer = running.answer()
    report(answer, as_json, lambda: rows(_readable(answer)))
    if stopped or running.failed:
        raise typer.Exit(STOPPED if stopped else FAILED_ROUND)


@dataclass
class _Joining:
    url: str
    vector: npt.NDArray[Any]
    weight: int
    plan: Plan | None
    digest: bytes | None
    outcomes: tuple[Outcome, ...] = ()
    shown: set[bytes] = field(default_factory=set)

    async def run(self) -> None:
        async with connect(self.url) as link:
            typer.echo(f"connected to {self.url}: waiting for a round", err=True)
            self.outcomes = await participate(
                link, self._contribute, plan=self.plan, plan_digest=self.digest
            )

    def check(self) -> None:
        if not self.outcomes:
            raise TransportError(
                "the server closed the link before it announced a round; if it is one of several, "
                "give the --task"
            )

    @property
    def failed(self) -> bool:
        return any(outcome.reason is not None for outcome in self.outcomes)

    def _contribute(self, offer: Offer) -> Contribution:
        if self.plan is None and self.digest is None:
            self._show(offer.plan)
        return Contribution({"update": self.vector}, self.weight)

    def _show(self, plan: Plan) -> None:
        """Nothing that reveals the vector has been sent yet."""
        if plan.digest() not in self.shown:
            self.shown.add(plan.digest())
            typer.echo(plan.explain(), err=True)  # it names the digest
            warn("the server chose this plan; --plan or --plan-digest would pin it")

    def answer(self) -> dict[str, object]:
        """The last round's figures under the names of `simulate`, and every round's.

        client_seconds is the processor time of this whole process, start-up included.
        """
        every = [_figures(outcome) for outcome in self.outcomes]
        nothing = {"contributors": 0, "dropped": 0, "clipped": 0, "phases": {}}
        nothing |= {"bytes_up": 0, "bytes_down": 0}
        used = {"client_seconds": time.process_time(), "peak_rss": peak_rss()}
        return {**UNKNOWN, **(every[-1] if every else nothing), **used, "rounds": every}


def _figures(outcome: Outcome) -> dict[str, object]:
    return {
        "contributors": outcome.contributors,
        "dropped": outcome.dropped,
        "error": outcome.reason.value if outcome.reason else None,
        "clipped": sum(outcome.clipped.values()),
        "phases": dict(outcome.report.phases),
        "bytes_up": outcome.report.bytes_up,
        "bytes_down": outcome.report.bytes_down,
    }


def _readable(answer: dict[str, object]) -> dict[str, object]:
    of_report = ("task_digest", "stored")
    names = (
        *of_report,
        "contributors",
        "dropped",
        "error",
        "clipped",
        "bytes_up",
        "bytes_down",
        "peak_rss",
    )
    return {name: answer[name] for name in names if answer.get(name) is not None}


def _read_plan(path: Path) -> Plan:
    """A plan that the user chose: also one that protects nobody, if that is the choice."""
    plan = Plan.decode(path.read_bytes(), allow_unprotected=True)
    if plan.threat.servers > 1:
        raise PolicyRefused(NO_TASK)
    return plan


def _read_vector(path: Path) -> npt.NDArray[Any]:
    """Mapped, not read: a header that promises more than the file holds costs no memory.

    Its length, type and values are judged against the plan, which only the server announces.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is an archive of arrays; a .npy file holds one")
    return array
