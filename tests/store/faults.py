"""A process whose calls of the system fail, or in which it is killed: by strace, one at a time."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

WATCHED = ("fsync", "fdatasync", "ftruncate", "pwrite64", "rename", "unlink")
"""What changes files, or makes a change durable."""
STRIDES = {} if "SECAGG_SOAK" in os.environ else {"pwrite64": 7, "fdatasync": 3, "unlink": 3}
"""Of these there are many in each transaction, and what lies between two of them is alike."""
ROOT = Path(__file__).parents[2]

SEED = """
import ctypes, json, os, sys
import secagg.budget, secagg.store.ledger, secagg.store.sqlite
ALLOW, ANY = 0x59616D61, ctypes.c_ulong(-1)  # where only a parent may trace: whoever asks
library = ctypes.CDLL(None)
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if not pid:
        break
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
    sys.exit()
library.prctl(ALLOW, ANY, 0, 0, 0)
os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
sys.argv = ["-c", order["path"]]
open(order["gate"], "rb").read()
exec(compile(order["code"], "code", "exec"), {"__name__": "__main__"})
"""

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@dataclass(frozen=True)
class Traced:
    """said: words, in order. calls: of `WATCHED` and write, in order, with the files' names."""

    said: list[str]
    code: int
    calls: list[str]

    def count(self, name: str) -> int:
        return sum(call.startswith(name + "(") for call in self.calls)

    def places(self, name: str, *, beside: Path | None = None) -> list[int]:
        """The numbers, from 1, of the calls of this name, but for those on `beside`; by strides."""
        own = [call for call in self.calls if call.startswith(name + "(")]
        numbers = [i for i, call in enumerate(own, start=1) if f"<{beside}>" not in call]
        return numbers[:: STRIDES.get(name, 1)]


def run(code: str, path: Path, *arguments: str) -> Traced:
    """code: what an interpreter runs that has loaded what keeps rows, with `path` as its first
    argument. strace comes before it begins, and sees nothing but the code's own calls."""
    trace, gate, out = (path.with_name(name) for name in ("trace", "gate", "out"))
    gate.unlink(missing_ok=True)
    os.mkfifo(gate)
    out.touch()
    trace.touch()
    told = _seed()
    assert told.stdin is not None and told.stdout is not None
    order = {"code": code, "path": str(path), "gate": str(gate), "out": str(out)}
    print(json.dumps(order), file=told.stdin, flush=True)
    pid = int(told.stdout.readline())
    watched = ",".join([*WATCHED, "write"])
    # not with --seccomp-bpf, which is faster: with it a signal that is injected never comes
    strace = ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={watched},openat", *arguments]
    with subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        if "attached" not in tracer.stderr.readline():
            os.kill(pid, signal.SIGKILL)
        else:
            gate.write_bytes(b"go")
    status = int(told.stdout.readline())
    calls = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines()]
    return Traced(out.read_text().split(), status, calls)


@cache
def _seed() -> subprocess.Popen[str]:
    """Forks an interpreter for each order; to start each takes three times as long as to trace it.
    It ends with this process, as then its standard input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    # a measured process writes what it has measured: calls that are not the code's own
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", SEED],
        cwd=ROOT,
        env=unmeasured,
        text=True,
        **pipes,  # type: ignore[call-overload]
    )
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process


def whole(code: str, path: Path) -> Traced:
    """A run without a fault; skips where strace may not trace."""
    traced = run(code, path)
    if not traced.said or traced.code:
        pytest.skip("strace may not trace here")
    return traced


def in_folders(folder: Path, name: str, numbers: list[int]) -> Iterator[tuple[int, Path]]:
    """A fresh folder, and in it a file to be, for each number."""
    for nth in numbers:
        path = folder / f"{name}-{nth}" / "file.db"
        path.parent.mkdir()
        yield nth, path
