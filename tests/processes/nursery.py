"""A process that forks servers: real ones, each with its own life and death, but started at once.

Importing the compiler takes a second, and the tests here start more than a hundred servers. The
nursery imports it once; each child then runs the program's command line, as typed. It is driven by
lines of JSON: {"argv", "out", "err", "faults"} starts a child and is answered by {"pid"}, and
{"ended", "status"} follows when that one ends. faults: see `mortal`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from importlib import import_module
from typing import Any

POLL = 0.01
"""Seconds between two looks for children that ended."""

LOADED = (
    "secagg.cli.serve",
    "secagg_protocols.reports.leader",
    "secagg_protocols.reports.helper",
    "tests.processes.mortal",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "websockets.asyncio.client",
)


def main() -> None:
    prepare()
    children: set[int] = set()
    tell({"ready": True})
    buffered = b""
    while True:
        readable, _, _ = select.select([0], [], [], POLL)
        if readable:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                children.add(start(json.loads(line)))
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def prepare() -> None:
    """Everything that is slow, and starts no thread: a fork copies one thread only."""
    for name in LOADED:
        import_module(name)
    from typer.testing import CliRunner

    from secagg import sim
    from secagg.cli import app
    from secagg.fields import Integer
    from secagg.plans import choose

    CliRunner().invoke(app, ["serve", "--role", "helper"])  # it is refused, and all is imported

    plan = choose.plan(clients=3, fields={"update": Integer(1, 5)}, dropout=0, servers=2)
    sim.simulate(plan, lambda me: {"update": [me]})  # loads the kernels


def start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        tell({"pid": pid})
        return pid
    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
    os.close(0)
    run(order)
    raise SystemExit  # not reached: the program exits


def run(order: dict[str, Any]) -> None:
    from secagg.cli import app
    from tests.processes import mortal

    for fault in order["faults"]:
        mortal.arm(fault)
    sys.argv = ["secagg", *order["argv"]]
    app()


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
