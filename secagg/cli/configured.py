"""`secagg serve --config`: a service of tasks, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from secagg import __version__
from secagg.cli import options
from secagg.cli.output import notice, report, rows
from secagg.errors import ParameterError
from secagg.service.checking import refusals
from secagg.service.config import Config, read
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
    with _reloads_kept() as early:
        return _run(path, early)


@contextmanager
def _reloads_kept() -> Iterator[list[int]]:
    """SIGHUP before there is anything to reload, which would end the process: it is kept until
    there is. A start takes seconds, in which a certificate may be renewed."""
    early: list[int] = []
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield early
        return

    def keep(number: int, frame: FrameType | None) -> None:
        early.append(number)

    before = signal.signal(signal.SIGHUP, keep)
    try:
        yield early
    finally:
        signal.signal(signal.SIGHUP, before)


def _run(path: Path, early: list[int]) -> dict[str, object]:
    config = read(path).get()
    if refused := refusals(config):
        raise ParameterError("; ".join(refused))
    found: list[Serving] = []

    def started(serving: Serving) -> None:
        found.append(serving)
        where, (port, behind) = config.listen, serving.ports
        notice(f"serving {serving.url} on port {port} of {where.host}", port=port)
        notice(f"its console is on port {behind} of {config.admin[0]}", admin_port=behind)
        if where.port == 0:
            notice("[listen] has port 0: who enrols now looks for this port after the next start")
        for name, terms in serving.terms.items():
            notice(f"task {name}: terms {terms.digest().hex()}", task=name)
        if early:
            serving.reload(again)

    def again() -> Config:
        return read(path).get()

    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(serve(config, started, __version__, again))
    ended = found[0]
    return {
        "name": config.name,
        "port": ended.ports[0],
        "admin_port": ended.ports[1],
        "results": len(ended.books.results.all()),
        "audit_head": ended.books.audit.head.hex(),
    }
