"""A process that forks commands: real ones, each with its own life and death, but started at once.

Importing the compiler and loading the kernels takes two seconds of a processor, and the tests start
some two hundred commands. The nursery does both once; each child then runs the program's command
line, as typed. Whoever connects to its socket, whose path it prints, is given a process of its own
to talk to, by lines of JSON: {"argv", "out", "err", "faults", "cwd", "env"} starts a child and is
answered by {"pid"}, and {"ended", "status"} follows when that one ends. Children end with their
link, and all of it when standard input does. faults: see `mortal`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

POLL = 0.01
"""Seconds between two looks for children that ended."""

LOADED = (
    "secagg.cli.collect",
    "secagg.cli.join",
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
    """What it leaves is removed by itself alone: a child that exits unwinds through here too."""
    prepare()
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(folder / "door"))
    door.listen(64)
    print(door.getsockname(), flush=True)
    while True:
        readable, _, _ = select.select([0, door], [], [], 1)
        if 0 in readable:  # it says nothing: it has ended
            break
        if door in readable:
            link, _ = door.accept()
            if not os.fork():
                door.close()
                serve(link)
                raise SystemExit
            link.close()
        while has_ended():
            pass
    shutil.rmtree(folder)


def has_ended() -> bool:
    try:
        return bool(os.waitpid(-1, os.WNOHANG)[0])
    except ChildProcessError:
        return False


def serve(link: socket.socket) -> None:
    children: set[int] = set()
    buffered = b""
    while True:
        readable, _, _ = select.select([link], [], [], POLL if children else None)
        if readable:
            data = link.recv(1 << 16)
            if not data:
                break
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                children.add(start(link, json.loads(line)))
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                tell(link, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})
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
    from secagg.drive import warm
    from secagg.fields import FixedPoint, Integer
    from secagg.plans import choose

    CliRunner().invoke(app, ["serve", "--role", "helper"])  # it is refused, and all is imported
    # loads the kernels
    several = choose.plan(clients=3, fields={"update": Integer(1, 5)}, dropout=0, servers=2)
    sim.simulate(several, lambda me: {"update": [me]})
    one = choose.plan(
        clients=3, fields={"update": FixedPoint(1000, 1.0, 16)}, dropout=0, protocol="secagg"
    )
    sim.simulate(one, lambda me: {"update": [0.5] * 1000})
    if threading.active_count() > 1:
        raise SystemExit("the nursery may fork no threads")
    warm.up = lambda plan=None: None  # type: ignore[assignment]  # a child has all that it would load
    gc.collect()
    gc.freeze()  # no child goes through what is shared and so copies it


def start(link: socket.socket, order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        tell(link, {"pid": pid})
        return pid
    link.close()
    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    run(order)
    raise SystemExit  # not reached: the program exits


def run(order: dict[str, Any]) -> None:
    from secagg.cli import app
    from tests.processes import mortal

    for fault in order["faults"]:
        mortal.arm(fault)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    tempfile.tempdir = None
    sys.argv = ["secagg", *order["argv"]]
    app()


def tell(link: socket.socket, what: dict[str, Any]) -> None:
    link.sendall(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
