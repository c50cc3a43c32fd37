"""A service under test: its folder, who is enrolled there, and its process as the system sees it.

The server is what an administrator starts, `secagg serve --config`, with TLS and on uvloop where
that is installed, in a process with a limit of open files of its own. Who takes part is written
into its store before it starts: enrolment by invitation is a conversation for each, and is not what
is measured here.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import secagg
from bench.common import ROOT, Row
from secagg.cli.console import ask
from secagg.cli.founding import IDENTITY, STATE, found
from secagg.crypto import sign
from secagg.effects import ROUNDS, Write
from secagg.errors import InputError, LinkTimeout
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.rounds.admission import Admission, State
from secagg.rounds.admissions import NAMESPACE
from secagg.service.askers import METRICS
from secagg.service.desk import TOKEN, find_token
from secagg.service.serving import STORE
from secagg.service.trial import TRIAL
from secagg.store.identity import Identity
from secagg.store.sqlite import SqliteStore
from secagg.types import Seed
from secagg.wire.hello import Service

HOST = "localhost"
FILES = 16_384
"""Descriptors of a server that is to have enough of them."""
START = 60.0
"""Seconds until a server listens."""
ENROLLED = "in the store, before the server started"
LARGEST = (1 << 16) - 1
"""Of a payload's integers."""


def seed(member: int) -> Seed:
    """Of the key of a member."""
    return Seed(hashlib.sha256(b"a member of a benchmark %d" % member).digest())


@dataclass(frozen=True)
class Tasked:
    """A task of the service. members: who is enrolled for it. clients: of each of its rounds. d:
    elements, of which the first are a slot for each member. dropout: the fraction that a round
    outlives. more: further lines of its table."""

    name: str
    members: range
    clients: int
    d: int = 0
    least: int = 0
    dropout: float = 0.1
    spare: float = 0.0
    corrupt: float = 0.1
    more: tuple[str, ...] = ()

    @property
    def terms(self) -> Terms:
        slots, payload = len(self.members), max(1, self.d - len(self.members))
        fields = {
            "slot": secagg.Integer(slots, max=1),
            "payload": secagg.Integer(payload, max=LARGEST),
        }
        sizes = (self.least or self.clients, self.clients)
        among = max(len(self.members), self.clients)
        return Terms.of(fields, sizes, population=among, corrupt=self.corrupt, dropout=self.dropout)

    def table(self) -> str:
        least = self.least or self.clients
        lines = [
            f"[tasks.{self.name}]",
            f'plan = "{self.name}.task"',
            f"clients = {{ min = {least}, target = {self.clients}, spare = {self.spare} }}",
            f'out = "{OUT}"',
            *self.more,
        ]
        return "\n".join(lines) + "\n"


OUT = "results"


@dataclass
class Ground:
    """A folder with everything of one service. port: where clients come in, also of its next life.
    files: descriptors that its process may open."""

    folder: Path
    tasks: tuple[Tasked, ...]
    port: int
    key: bytes
    files: int = FILES
    server: Server | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        return self.folder / "service.toml"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def results(self) -> Path:
        return self.folder / OUT

    @property
    def store(self) -> Path:
        return self.folder / STATE / STORE

    def site(self, task: Tasked, port: int = 0) -> Row:
        """What its clients are told; port: of what stands before it."""
        return {
            "url": f"https://{HOST}:{port or self.port}",
            "key": self.key.hex(),
            "authority": str(self.folder / "tls" / TRIAL),
            "task": task.name,
            "terms": task.terms.encode().hex(),
            "first": task.members.start,
            "slots": len(task.members),
            "payload": max(1, task.d - len(task.members)),
        }

    def start(self) -> Server:
        """Until it listens."""
        (self.folder / STATE / TOKEN).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "secagg.cli", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env=environment(),
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_NOFILE, (self.files, self.files)
                ),
            )
        self.server = Server(process, self)
        self.server.wait()
        return self.server

    def stop_at_once(self) -> None:
        """As a loss of power would."""
        if self.server is not None:
            self.server.kill()

    def numbers(self, name: str) -> dict[str, float]:
        """Of its metrics those that begin so, by the rest of their lines."""
        port, _ = find_token(self.folder / STATE)
        with urlopen(f"http://127.0.0.1:{port}{METRICS}", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        words = (line.rpartition(" ") for line in lines if line.startswith(name))
        return {what.removeprefix(name): float(number) for what, _, number in words}

    def phases(self) -> dict[str, float]:
        """Seconds of each phase, of all rounds."""
        found = self.numbers("secagg_phase_seconds_sum")
        return {what.partition('phase="')[2].partition('"')[0]: s for what, s in found.items()}

    def ask(self, **asked: Any) -> Row:
        """Of its console."""
        return ask(self.config, asked or None)


@dataclass
class Server:
    """A process that runs. What it takes is read from /proc."""

    process: subprocess.Popen[bytes]
    ground: Ground

    def wait(self) -> None:
        until = time.monotonic() + START
        token = self.ground.folder / STATE / TOKEN
        while not (token.is_file() and token.stat().st_size):
            if self.process.poll() is not None:
                raise InputError(f"the server did not start: {self.ground.log.read_text()[-2000:]}")
            if time.monotonic() > until:
                raise LinkTimeout(f"the server does not listen after {START:g} seconds")
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """In order."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def cpu(self) -> float:
        """Seconds, of all its threads."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss(self) -> int:
        """Bytes that are resident now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The most that ever were, or since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(one for one in text.splitlines() if one.startswith(f"{name}:"))
        return int(line.split()[1]) << 10


def environment() -> dict[str, str]:
    """Of child processes: this checkout, and no more threads than it asks for."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    return os.environ | {"PYTHONPATH": path}


def loop_name() -> str:
    return "asyncio" if find_spec("uvloop") is None else "uvloop"


@contextmanager
def ground(
    *tasks: Tasked, files: int = FILES, limits: Mapping[str, str] | None = None, more: str = ""
) -> Iterator[Ground]:
    """A new one, and its server, if one was started, ends with it. limits: of its [limits], as TOML
    has them. more: further tables."""
    with TemporaryDirectory(prefix="secagg-bench-") as name:
        folder = Path(name) / "service"
        port = free_port()
        found(folder, HOST, True, datetime.now(UTC), f"127.0.0.1:{port}")
        (folder / OUT).mkdir()
        for task in tasks:
            (folder / f"{task.name}.task").write_bytes(task.terms.encode())
        made = Ground(folder, tasks, port, _enrol(folder, tasks), files)
        text = made.config.read_text().partition("[retention]")[0]
        bounds = {"disk_reserve": '"1 MiB"', **(limits or {})}
        lines = ["[limits]", *(f"{key} = {value}" for key, value in bounds.items())]
        tables = [text, *(one.table() for one in tasks), "\n".join(lines) + "\n", more]
        made.config.write_text("\n".join(tables))
        try:
            yield made
        finally:
            if made.server is not None:
                made.server.stop()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _enrol(folder: Path, tasks: Iterable[Tasked]) -> bytes:
    """Approved, as after `invite`, `enrol` and `approve`; signatures are not looked at again. The
    service's key."""
    writes = []
    for task in tasks:
        for member in task.members:
            name, key = f"member-{member}", sign.public_key(seed(member))
            ticket = hashlib.sha256(b"a ticket of %d" % member).digest()
            entry = Admission(
                name,
                ServiceRole.CLIENT,
                (task.name,),
                State.APPROVED,
                ticket,
                key=key,
                signature=bytes(sign.SIGNATURE_SIZE),
            )
            writes.append(Write(NAMESPACE + ROUNDS + name.encode(), entry.encode()))
    with Identity.open(folder / STATE / IDENTITY) as identity:
        owner = Service(HOST, identity.public).digest
        with SqliteStore.open(folder / STATE / STORE, owner=owner) as store:
            store.commit(writes)
        return identity.public


def until(done: Any, seconds: float, what: str) -> None:
    """Raises LinkTimeout where it is not so in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise LinkTimeout(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.02)
