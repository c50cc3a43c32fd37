"""`secagg demo`: the main job on real data, judged against the plain sum."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer
from rich.console import Console

from secagg.arguments import choice
from secagg.cli import logs, options
from secagg.cli.output import fail, handled, report
from secagg.cli.running import STOPPED, run_until_stopped
from secagg.demo import active, view
from secagg.demo.fleet import ClientFailed
from secagg.demo.result import Progress, Result
from secagg.demo.run import Settings, run
from secagg.errors import ParameterError
from secagg.types import ADVERSARIES

_Adversary = Annotated[
    str,
    typer.Option(
        metavar="WHOM",
        help="semi-honest, or active: clients with keys in a roster, all in this process, who need "
        "not trust their server.",
    ),
]
_Cheat = Annotated[
    str | None,
    typer.Option(
        metavar="LIE",
        help="With --adversary active: one more round, in which the server really lies: split, "
        "swap or lie. What clients do then is shown.",
    ),
]

BROKEN = 1
"""The exit code when a sum was not exact or an error was above its bound."""


def demo(
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds of training.")] = 8,
    clients: Annotated[int, typer.Option(help="Client processes.")] = 16,
    seed: Annotated[
        int, typer.Option(min=0, help="Fixes the split, the training, and who dies when.")
    ] = 1,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="secagg+ or secagg; else the plan chooses.")
    ] = None,
    corrupt: options.Corrupt = "0.2",
    dropout: options.Dropout = "0.25",
    deadline: options.Deadline = 60.0,
    adversary: _Adversary = "semi-honest",
    cheat: _Cheat = None,
    log_level: logs.LogLevel = logs.Level.WARNING,
    log_json: logs.LogJson = False,
    as_json: options.Json = False,
) -> None:
    """Train a classifier of handwritten digits with clients that die on the way.

    Each client is a process of its own on a loopback WebSocket. By a schedule from the seed some
    kill themselves (SIGKILL) in the middle of a round, never more than the plan withstands; a new
    process takes part in the next one. Every round's secure mean is compared with the plain mean
    of the true updates, and its sum with the plain integer sum. The exit code is 0, 1 when a
    comparison fails, 2 for an error, 143 when stopped by a signal.
    """
    logs.configure(log_level, log_json)
    with handled(as_json):
        if choice("--adversary", adversary, ADVERSARIES) == "active":
            _active(clients, rounds, seed, protocol, corrupt, dropout, cheat, as_json)
            return
        if cheat is not None:
            raise ParameterError("--cheat is for --adversary active: only there do clients notice")
    settings = Settings(
        clients=clients,
        rounds=rounds,
        seed=seed,
        protocol=protocol,
        corrupt=corrupt,
        dropout=dropout,
        deadline=deadline,
    )
    progress, console = Progress(), Console()
    with handled(as_json):
        options.deadline(deadline)
        result = _run(settings, progress, None if as_json else console)
        if result is None:
            stopped = {"error": "Stopped", "message": "stopped by a signal; everything is closed"}
            report(stopped, as_json, lambda: None)
            raise typer.Exit(STOPPED)
        report(result.as_json(), as_json, lambda: view.summarize(result, progress, console))
    if broken := result.broken():
        fail("Broken", broken, False)
        raise typer.Exit(BROKEN)


def _active(
    clients: int,
    rounds: int,
    seed: int,
    protocol: str | None,
    corrupt: str,
    dropout: str,
    cheat: str | None,
    as_json: bool,
) -> None:
    settings = active.Settings(
        clients=clients,
        rounds=rounds,
        seed=seed,
        protocol=protocol,
        corrupt=corrupt,
        dropout=dropout,
        cheat=cheat,
    )
    progress, console = Progress(), Console()
    drawn = contextlib.nullcontext() if as_json else view.live(progress, console)
    with drawn:
        result = active.run(settings, progress)
    report(result.as_json(), as_json, lambda: active.summarize(result, progress, console))
    if broken := result.broken():
        fail("Broken", broken, False)
        raise typer.Exit(BROKEN)


def _run(settings: Settings, progress: Progress, console: Console | None) -> Result | None:
    """Drawn on the console, where there is one. None when a signal stopped it."""
    results: list[Result] = []

    async def work() -> None:
        results.append(await run(settings, progress))

    drawn = view.live(progress, console) if console else contextlib.nullcontext()
    try:
        with drawn:
            run_until_stopped(work())
    except ClientFailed as failed:
        typer.echo(failed.log, err=True)
        raise
    return results[0] if results else None
