"""What another platform lacks is missed where it is used, or not at all: Windows, simulated.

A fresh interpreter without the modules and functions that Windows lacks imports every module and
runs the commands. It shows that nothing of ours needs them; it is no run on Windows.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from secagg.cli import keyfile
from secagg.committee import ServerSecrets
from secagg.effects import Write
from secagg.errors import StorageError
from secagg.store import files
from secagg.store.sqlite import SqliteStore
from secagg.transport import door
from secagg.types import Seed
from tests import modules

ROOT = Path(__file__).parent.parent
MODULES = modules.names()
WITHOUT = """
import asyncio, multiprocessing, os, signal, socket, sys, tempfile, warnings
# of typer before 0.21, on the click of today
warnings.filterwarnings("ignore", "'click.utils", DeprecationWarning)
import cryptography, nacl.signing, numba, numpy, rich.console, typer, uvicorn, websockets
# others have their own ways on Windows, and keep those of this system
for name in ("flwr.serverapp", "nvflare"):
    try:
        __import__(name)
    except ImportError:
        pass
for name in ("fcntl", "resource", "grp", "pwd", "termios", "tty", "pty", "readline", "syslog"):
    sys.modules[name] = None
for module, names in (
    (os, "fork geteuid getuid getegid getgid fchmod fchown chown getpgid killpg setsid O_DIRECTORY "
         "O_NOFOLLOW sched_getaffinity uname nice"),
    (signal, "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM pause setitimer"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def refuse(*args):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = refuse
"""


def windows(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protocols'}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_loads() -> None:
    assert len(MODULES) > 140
    code = "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint('all')"
    assert windows(code, *MODULES) == "all\n"


SIZES = ("--clients", "9", "--length", "9", "--bits", "9")
COMMANDS = (
    ("protocols", "--json"),
    ("plan", *SIZES, "--json"),
    ("simulate", *SIZES, "--json"),
    ("simulate", *SIZES, "--servers", "2", "--json"),
    ("keys", "--out", "a.key", "--json"),
)
RUN = """
import json
from secagg.cli import app
here = os.getcwd()
os.chdir(sys.argv[1])
for arguments in json.loads(sys.argv[2]):
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, arguments
os.chdir(here)
"""


def test_the_commands_run(tmp_path: Path) -> None:
    said = windows(RUN, str(tmp_path), json.dumps([["--help"], *COMMANDS]))
    usage, _, answers = said.rpartition('\n{"protocols"')
    assert "Usage: " in usage
    lines = [json.loads(line) for line in ('{"protocols"' + answers).splitlines()]
    assert len(lines) == len(COMMANDS)
    assert [line["exact"] for line in lines if "exact" in line] == [True, True]
    assert (tmp_path / "a.key").is_file()


SERVICE = """
import secagg
from secagg.cli.running import run_until_stopped

plan = secagg.plan(clients=3, fields={"u": secagg.Integer(2, 9)}, corrupt=0, dropout=0)

async def client(url):
    async with secagg.connect(url) as link:
        await secagg.participate(link, lambda offer: secagg.Contribution({"u": [1, -2]}), plan=plan)

async def both():
    async with asyncio.TaskGroup() as group, secagg.serve() as service:
        for _ in range(3):
            group.create_task(client(f"ws://127.0.0.1:{service.port}"))
        await service.ready(clients=3, timeout=60)
        total = await service.run_round(plan, deadlines=60)
        print(total.sum["u"].tolist(), flush=True)

print(run_until_stopped(both()))
"""


def test_a_service_and_its_clients_run() -> None:
    """Without signal handlers too, which the loop of Windows does not take."""
    assert windows(SERVICE).splitlines() == ["[3, -6]", "False"]


STOPPED = """
from secagg.cli.running import run_until_stopped

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for its background

async def work():
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        print("closed in order", flush=True)

print(run_until_stopped(work()))
"""


def test_an_interrupt_ends_the_work_in_order() -> None:
    assert windows(STOPPED).splitlines() == ["closed in order", "True"]


class Msvcrt(ModuleType):
    """Locks of one byte that belong to an open file, as Windows has them."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.held: dict[int, tuple[int, int]] = {}

    def locking(self, descriptor: int, mode: int, size: int) -> None:
        assert (mode, size) == (self.LK_NBLCK, 1)
        status = os.fstat(descriptor)
        file = (status.st_dev, status.st_ino)
        if file in self.held.values():
            raise PermissionError(errno.EACCES, "Permission denied")
        self.held[descriptor] = file


@pytest.fixture
def no_unix(monkeypatch: pytest.MonkeyPatch) -> Msvcrt:
    locks = Msvcrt()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", locks)
    for name in ("geteuid", "fchmod", "O_DIRECTORY"):
        monkeypatch.delattr(os, name)
    return locks


def test_a_store_has_one_owner_there_too(no_unix: Msvcrt, tmp_path: Path) -> None:
    """Row 94, by the first byte of the lock file."""
    path = tmp_path / "store.db"
    with SqliteStore.open(path, owner=b"me") as store:
        store.commit([Write(bytes(17) + b"key", b"value")])
        path.chmod(0o666)  # what every file there looks like
        with pytest.raises(StorageError, match="in use by another"):
            SqliteStore.open(path, owner=b"me")
    no_unix.held.clear()  # closing a file ends its locks
    with SqliteStore.open(path, owner=b"me") as store:
        assert dict(store.rows()) == {bytes(17) + b"key": b"value"}


def test_without_any_lock_there_is_no_store(
    no_unix: Msvcrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    with pytest.raises(StorageError, match="no file locks"):
        SqliteStore.open(tmp_path / "store.db", owner=b"me")


def test_a_key_file_is_read_there_too(no_unix: Msvcrt, tmp_path: Path) -> None:
    """Modes say nothing on Windows; every file looks open to others."""
    path = tmp_path / "server.key"
    secrets = ServerSecrets(Seed(bytes(range(32))), Seed(bytes(32)))
    keyfile.write_server(path, secrets, force=False)
    path.chmod(0o666)
    assert keyfile.read_server(path).opening == secrets.opening


def test_an_owner_is_told_from_others_here(monkeypatch: pytest.MonkeyPatch) -> None:
    private = os.stat_result((0o100600, 0, 0, 1, 1000, 0, 0, 0, 0, 0))
    assert not files.open_to_others(private)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert not files.of_another(private)
    monkeypatch.setattr(os, "geteuid", lambda: 1001, raising=False)
    assert files.of_another(private)


def test_a_port_in_use_is_not_taken_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There SO_REUSEADDR takes over somebody else's port, and another option forbids that."""
    options: list[int] = []

    class Listener:
        def setsockopt(self, level: int, option: int, value: int) -> None:
            options.append(option)

        def bind(self, address: object) -> None:
            pass

    monkeypatch.setattr(socket, "socket", lambda *args: Listener())
    door._bind("127.0.0.1", 0)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    door._bind("127.0.0.1", 0)
    assert options == [socket.SO_REUSEADDR, -5]
