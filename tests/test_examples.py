"""The examples run, and say so themselves: each exits with 1 where it finds its claims broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT / "examples",
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "options",
    [(), ("--drop", "1", "--seed", "3"), ("--servers", "3"), ("--servers", "2", "--drop", "1")],
    ids=" ".join,
)
def test_hospitals(options: tuple[str, ...]) -> None:
    pytest.importorskip("sklearn", reason="the demo extra has the data")
    done = run("hospitals.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BEYOND" not in done.stdout
    patients = [line for line in done.stdout.splitlines() if line.startswith("all ")][0]
    assert int(patients.split()[-1]) == 569 or "--drop" in options
    assert done.stdout.count("standard deviations") == (
        int(options[1]) + 1 if "--servers" in options else 0
    )


def test_long_poll() -> None:
    """Another driver of the same rounds is short, and one client late and told so."""
    done = run("long_poll.py")
    assert done.returncode == 0, done.stdout + done.stderr
    said = sorted(done.stdout.splitlines())
    assert said[0] == "client 0: left out of the sum: late"
    assert said[1:6] == [f"client {i}: in the sum" for i in range(1, 6)]
    assert said[6] == "the mean of 1 to 5: [0.3 0.3 0.3]"
    assert len((ROOT / "examples" / "long_poll.py").read_text().splitlines()) < 90
