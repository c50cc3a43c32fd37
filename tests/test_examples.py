"""The examples run, and say so themselves: each exits with 1 where it finds its claims broken."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parent.parent


def program(*arguments: str) -> tuple[int, str]:
    """As a user starts it: its exit code, and what it says."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT / "examples",
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same in this process, which has imported what takes the longest."""

    def run(file: str, *options: str) -> tuple[int, str]:
        monkeypatch.chdir(ROOT / "examples")
        monkeypatch.syspath_prepend(str(ROOT / "examples"))
        monkeypatch.setattr(sys, "argv", [file, *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(file, run_name="__main__")
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run


def check(done: tuple[int, str], options: tuple[str, ...]) -> None:
    code, said = done
    assert code == 0, said
    assert "BEYOND" not in said
    patients = [line for line in said.splitlines() if line.startswith("all ")][0]
    assert int(patients.split()[-1]) == 569 or "--drop" in options
    assert said.count("standard deviations") == (
        int(options[1]) + 1 if "--servers" in options else 0
    )


def test_hospitals_as_a_program() -> None:
    pytest.importorskip("sklearn", reason="the demo extra has the data")
    check(program("hospitals.py"), ())


@pytest.mark.parametrize(
    "options",
    [("--drop", "1", "--seed", "3"), ("--servers", "3"), ("--servers", "2", "--drop", "1")],
    ids=" ".join,
)
def test_hospitals(options: tuple[str, ...], here: Run) -> None:
    pytest.importorskip("sklearn", reason="the demo extra has the data")
    check(here("hospitals.py", *options), options)


def test_served() -> None:
    """Server and clients by asyncio, as the README sends people to."""
    code, said = program("served.py")
    lines = [line for line in said.splitlines() if "round 2" not in line]
    assert code == 0 and len(lines) == 8, said
    assert [line.rpartition(",")[0] for line in lines[:2]] == [
        "6 clients, weight 21",
        "5 clients, weight 15",
    ]
    assert lines[2:] == ["[True, True]"] * 5 + ["[True, False]"]


def test_long_poll() -> None:
    """Another driver of the same rounds is short, and one client late and told so."""
    code, output = program("long_poll.py")
    assert code == 0, output
    said = sorted(output.splitlines())
    assert said[0] == "client 0: left out of the sum: late"
    assert said[1:6] == [f"client {i}: in the sum" for i in range(1, 6)]
    assert said[6] == "the mean of 1 to 5: [0.3 0.3 0.3]"
    assert len((ROOT / "examples" / "long_poll.py").read_text().splitlines()) < 90
