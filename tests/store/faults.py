"""A process whose calls of the system fail, or in which it is killed: by strace, one at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

WATCHED = ("fsync", "fdatasync", "ftruncate", "pwrite64", "rename", "unlink")
"""What changes files, or makes a change durable."""
STRIDES = {} if "SECAGG_SOAK" in os.environ else {"pwrite64": 7, "fdatasync": 3, "unlink": 3}
"""Of these there are many in each transaction, and what lies between two of them is alike."""
ROOT = Path(__file__).parents[2]

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
    """code: what a fresh interpreter runs, with `path` as its first argument."""
    trace = path.with_name("trace")
    watched = ",".join([*WATCHED, "write"])
    # not with --seccomp-bpf, which is faster: with it a signal that is injected never comes
    strace = ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={watched},openat", *arguments]
    command = [*strace, sys.executable, "-c", code, str(path)]
    quiet = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # bytecode is written and renamed too
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=quiet, check=False
    )
    calls = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines()]
    return Traced(done.stdout.split(), done.returncode, calls)


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
