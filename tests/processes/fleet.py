"""Several servers as processes that can be killed, started again and made to lie."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from secagg.cli import keyfile
from secagg.cli.running import STOPPED
from secagg.committee import Committee, ServerSecrets, opening_secret
from secagg.drive import collecting, reporting
from secagg.drive.reporting import ReportOutcome
from secagg.fields import Integer
from secagg.party import Aggregate
from secagg.plans.choose import plan
from secagg.plans.task import Task
from secagg.types import Seed

ROOT = Path(__file__).parents[2]
LENGTH = 24
"""Elements of a vector, unless a fleet has another length."""
LIMIT = 60.0
"""Seconds that nothing takes, unless it hangs."""
MOST_KEPT = 60
"""Ports held at a time; no test has as many."""

Fault = dict[str, Any]


def vector(who: int, length: int = LENGTH) -> list[int]:
    return [(i * (who + 2) + who) % 101 - 50 for i in range(length)]


def plain_sum(whose: Sequence[int], length: int = LENGTH) -> list[int]:
    return [sum(column) for column in zip(*(vector(who, length) for who in whose), strict=True)]


@dataclass(frozen=True)
class Child:
    """status: its exit code, or the negated signal."""

    pid: int
    out: Path
    err: Path
    status: asyncio.Future[int]

    async def ended(self) -> int:
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self.status)

    async def answer(self) -> dict[str, Any]:
        """Its one JSON object, once it has ended."""
        await self.ended()
        (line,) = self.out.read_text().splitlines()
        data = json.loads(line)
        assert isinstance(data, dict)
        return data

    @property
    def errors(self) -> str:
        return self.err.read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """One that has just ended by itself may not have been reported yet."""
        if not self.status.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@cache
def door() -> str:
    """Where the nursery of this process is spoken to. It starts when first asked for, and ends when
    this process does, as then its standard input ends."""
    modules = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.nursery"],
        env={**os.environ, "PYTHONPATH": modules, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    atexit.register(process.wait, LIMIT)
    atexit.register(process.stdin.close)
    path = process.stdout.readline().rstrip("\n")
    assert path, "the nursery did not start"
    return path


def order(argv: Sequence[str], out: Path, err: Path, faults: Sequence[Fault] = ()) -> bytes:
    """To start a child as if from here; its files are there at once, and it opens them later."""
    for file in (out, err):
        file.write_bytes(b"")
    what = {"argv": list(argv), "out": str(out), "err": str(err), "faults": list(faults)}
    return json.dumps({**what, "cwd": os.getcwd(), "env": dict(os.environ)}).encode() + b"\n"


class Command:
    """One command of the nursery for a test that awaits nothing: what it needs of a Popen."""

    def __init__(self, out: Path, err: Path, *argv: object) -> None:
        self.out, self.err = out, err
        self.returncode: int | None = None
        self._link = socket.socket(socket.AF_UNIX)
        self._link.settimeout(LIMIT)
        self._link.connect(door())
        self._link.sendall(order([str(word) for word in argv], out, err))
        self._told = self._link.makefile("rb")
        self.pid: int = json.loads(self._told.readline())["pid"]

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(json.loads(self._told.readline())["status"])
        return self.returncode

    def answer(self, code: int = 0) -> tuple[dict[str, Any], str]:
        """Its one JSON object, once it has ended as expected, and standard error."""
        assert self.wait() == code, self.err.read_text()
        (line,) = self.out.read_text().splitlines()
        data = json.loads(line)
        assert isinstance(data, dict)
        return data, self.err.read_text()

    def until(self, said: str) -> None:
        """Until that stands in its standard error."""
        deadline = time.monotonic() + LIMIT
        while said not in self.err.read_text():
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        """It is killed, if it has not ended."""
        self._told.close()
        self._link.close()


class Commands:
    """Those of one test, which end with it. files: where what they say is kept."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self._started: list[Command] = []

    def __call__(self, *argv: object) -> Command:
        stem = self._files / f"said-{len(self._started)}"
        one = Command(stem.with_suffix(".out"), stem.with_suffix(".err"), *argv)
        self._started.append(one)
        return one

    def close(self) -> None:
        for one in self._started:
            one.close()


class Nursery:
    """A process of this process's nursery, see tests/processes/nursery.py."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._status: dict[int, asyncio.Future[int]] = {}
        self._reader = asyncio.create_task(self._read(reader))

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Nursery]:
        nursery = cls(*await asyncio.open_unix_connection(door()))
        try:
            yield nursery
        finally:
            nursery._writer.write_eof()  # it kills what is left
            await nursery._reader
            nursery._writer.close()
            await nursery._writer.wait_closed()

    async def start(
        self, argv: Sequence[str], out: Path, err: Path, faults: Sequence[Fault]
    ) -> Child:
        async with self._turn:  # whoever asks gets its own child
            self._writer.write(order(argv, out, err, faults))
            pid = await self._born.get()
        return Child(pid, out, err, self._future(pid))

    def _future(self, pid: int) -> asyncio.Future[int]:
        return self._status.setdefault(pid, asyncio.get_running_loop().create_future())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            told = json.loads(line)
            if "pid" in told:
                self._born.put_nowait(told["pid"])
            else:
                self._future(told["ended"]).set_result(told["status"])


@dataclass
class Fleet:
    """The servers of one task, their files in `folder`, each on a port of its own for good."""

    nursery: Nursery
    folder: Path
    servers: int = 3
    clients: int = 4
    length: int = LENGTH
    dropout: str = "0"
    direct: bool = False
    batches: int = 1
    deadline: float = LIMIT
    patience: float = LIMIT
    linger: float = LIMIT
    children: dict[int, Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        secrets = [ServerSecrets.generate() for _ in range(self.servers)]
        self.collector: Seed = opening_secret()
        made = plan(
            clients=self.clients,
            fields={"update": Integer(self.length, 50)},
            dropout=self.dropout,
            servers=self.servers,
            direct=self.direct,
        )
        public = tuple(one.public for one in secrets)
        self.task = Task(made, Committee(public, keyfile.public(self.collector), 1))
        for index, one in enumerate(secrets):
            keyfile.write_server(self.folder / f"{index}.key", one, force=False)
        keyfile.write_collector(self.folder / "collector.key", self.collector, force=False)
        (self.folder / "task").write_bytes(self.task.encode())
        self.ports = free_ports(self.servers)

    @property
    def urls(self) -> list[str]:
        return [f"ws://127.0.0.1:{port}" for port in self.ports]

    def store(self, index: int) -> Path:
        return self.folder / f"{index}.sqlite"

    def command(self, index: int) -> list[str]:
        """The same whenever it starts again."""
        peers = [word for url in self.urls[1:] for word in ("--peer", url)]
        return [
            *("serve", "--role", "helper" if index else "leader"),
            *("--task", str(self.folder / "task"), "--key", str(self.folder / f"{index}.key")),
            *("--store", str(self.store(index)), "--port", str(self.ports[index])),
            *("--batches", str(self.batches), "--deadline", str(self.deadline)),
            *("--patience", str(self.patience), "--linger", str(self.linger), "--json"),
            *(() if index else peers),
        ]

    async def start(self, index: int, *faults: Fault) -> Child:
        out, err = self.folder / f"{index}.out", self.folder / f"{index}.err"
        self.children[index] = await self.nursery.start(self.command(index), out, err, faults)
        return self.children[index]

    async def start_all(self, faults: dict[int, Fault] | None = None) -> None:
        for index in range(self.servers):
            armed = (faults or {}).get(index)
            await self.start(index, *([armed] if armed else []))

    async def report(self, who: int, timeout: float = LIMIT) -> ReportOutcome:
        urls = self.urls if self.direct else self.urls[:1]
        values = {"update": np.array(vector(who, self.length))}
        return await reporting.report(self.task, values, urls=urls, timeout=timeout)

    async def report_all(self, whose: Sequence[int]) -> None:
        outcomes = await asyncio.gather(*map(self.report, whose))
        assert all(outcome.stored for outcome in outcomes), outcomes

    async def collect(self, batch: int = 0, timeout: float = LIMIT) -> Aggregate:
        return await collecting.collect(
            self.task, self.collector, self.urls, batch=batch, timeout=timeout
        )

    async def stop(self) -> None:
        """Whoever the collector has not thanked would wait for it; nobody has failed.

        A signal that comes before the program can take it, or after, ends the process.
        """
        for child in self.children.values():
            child.kill(signal.SIGTERM)
        for index, child in self.children.items():
            status = await child.ended()
            assert status in (0, STOPPED, -signal.SIGTERM), (index, status, child.errors)
            if status >= 0:
                assert all(one["error"] is None for one in (await child.answer())["batches"])


_kept: deque[socket.socket] = deque()


def free_ports(number: int) -> list[int]:
    """Ports that nobody else gets: a server that starts again needs the one that its peers know.

    Each is held by a socket that is bound and does not listen. A server, which sets SO_REUSEADDR
    too, can listen beside it, and the system gives the port to nobody who asks for any. The
    sockets outlive a test, but not MOST_KEPT others.
    """
    found = []
    for _ in range(number):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        found.append(held.getsockname()[1])
        _kept.append(held)
    while len(_kept) > MOST_KEPT:
        _kept.popleft().close()
    return found
