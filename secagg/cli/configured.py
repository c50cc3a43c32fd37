"""`secagg serve --config`: a service of tasks, until it is told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from secagg import __version__
from secagg.cli import options
from secagg.cli.output import notice, report, rows
from secagg.errors import ParameterError
from secagg.service.checking import refusals
from secagg.service.config import read
from secagg.service.serving import Serving, serve
from secagg.transport.door import fastest_loop


def configured(ctx: typer.Context, config: Path, as_json: bool) -> None:
    """To be stopped is what it waits for, and no failure."""
    kept = ("config", "log_level", "log_json", "as_json")
    others = tuple(name for name in options.values(ctx) if name not in kept)
    options.refuse_given(ctx, others, "is said by the --config: leave it out")
    answer = run(config)
    report(answer, as_json, lambda: rows(answer))


def run(path: Path) -> dict[str, object]:
    """Raises ParameterError with everything for which it does not start."""
    config = read(path).get()
    if refused := refusals(config):
        raise ParameterError("; ".join(refused))
    found: list[Serving] = []

    def started(serving: Serving) -> None:
        found.append(serving)
        where, (port, behind) = config.listen, serving.ports
        notice(f"serving {serving.url} on port {port} of {where.host}", port=port)
        notice(f"its console is on port {behind} of {config.admin[0]}", admin_port=behind)
        for name, terms in serving.terms.items():
            notice(f"task {name}: terms {terms.digest().hex()}", task=name)

    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(serve(config, started, __version__, lambda: read(path).get()))
    ended = found[0]
    return {
        "name": config.name,
        "port": ended.ports[0],
        "admin_port": ended.ports[1],
        "results": len(ended.books.results.all()),
        "audit_head": ended.books.audit.head.hex(),
    }
