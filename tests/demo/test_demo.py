"""The whole demo, small: real processes, real sockets, real deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secagg.cli import app
from secagg.cli import demo as command
from secagg.demo import run as run_module
from secagg.demo.fleet import ClientFailed
from secagg.demo.result import Progress, Result
from secagg.demo.run import Settings, run
from tests.cli import contract
from tests.demo.test_view import RESULT, ROW

SMALL = ["--clients", "6", "--rounds", "2", "--seed", "3", "--protocol", "secagg"]
SMALL += ["--corrupt", "0.1", "--dropout", "0.2"]
FEW = ["--clients", "4", "--protocol", "secagg", "--corrupt", "0", "--dropout", "0.25"]
"""Where nothing depends on how many there are: each is a process."""


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its directory, so that a test sees what is left of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


MAIN = "from secagg.cli import main; main()"


def test_two_rounds_with_a_death_in_each(private: Path) -> None:
    """Row 91, over real links: SIGKILL in the middle of a round costs only that client."""
    done = CliRunner().invoke(app, ["demo", "--json", *SMALL])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    contract.check("demo", figures)
    assert figures["exact"] is True and figures["clipped"] == 0
    assert 0 < figures["max_abs_error"] <= figures["error_bound"]
    assert (figures["clients"], figures["rounds"], figures["dropped"]) == (6, 2, 3)
    assert (figures["protocol"], figures["degree"]) == ("secagg", 5)
    assert abs(figures["accuracy"] - figures["plain_accuracy"]) <= 0.01
    assert figures["accuracy"] > 0.8
    rows = figures["per_round"]
    assert [list(row["dropped"].values()) for row in rows] == [
        ["advertise-keys"],
        ["share-keys", "masked-input"],
    ]
    assert [row["contributors"] for row in rows] == [5, 4]
    masked = figures["masked_upload"]
    assert len(masked["true"]) == len(masked["received"]) == 8
    assert masked["unchanged"] < 5 and masked["true"][0] != 0
    assert list(private.iterdir()) == []


async def test_the_private_directory_is_private_and_goes_with_a_failure(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    put = run_module.Folder.put_samples

    def put_and_spoil(folder: run_module.Folder, client: int, samples: object) -> None:
        seen.append(folder.path.stat().st_mode & 0o777)
        if client != 1:
            put(folder, client, samples)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module.Folder, "put_samples", put_and_spoil)
    few = Settings(clients=4, rounds=1, protocol="secagg", corrupt="0")
    with pytest.raises(ClientFailed, match="client 1 ended"):
        await run(few, Progress())
    assert set(seen) == {0o700}
    assert list(private.iterdir()) == []


def test_ctrl_c_leaves_no_process_and_no_file(private: Path) -> None:
    """Row 92, for the demo: stopped in the middle, it closes everything before it ends."""
    paths = os.pathsep.join(path for path in sys.path if path)
    parent = subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", "--json", *FEW, "--rounds", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(private)},
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not list(private.glob("secagg-demo-*/client-3-update-*.npy")):
        assert parent.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the whole group
    stdout, stderr = parent.communicate(timeout=60)
    assert parent.returncode == 143
    assert json.loads(stdout)["error"] == "Stopped"
    said = stderr.decode().splitlines()  # of a round that was under way, if there was one
    stopped = [line for line in said if line == "stopped by a signal before it was done"]
    others = [line for line in said if line not in stopped]
    assert len(stopped) == 1, said
    assert all("ended without a result" in line and "cancelled" in line for line in others), said
    assert list(private.iterdir()) == []
    # every client names the directory in its arguments
    left = [command for command in commands() if str(private).encode() in command]
    assert left == []


def commands() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes()
        except OSError:
            continue  # it ended meanwhile


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clients", "400"], "fewer clients"),
        (["--clients", "5"], "secagg+"),
        (["--protocol", "plainsum", "--clients", "6"], "masks nothing"),
        (["--dropout", "2"], "dropout"),
    ],
)
def test_a_demo_that_cannot_be_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def finishing(result: Result) -> object:
    async def ran(settings: Settings, progress: Progress) -> Result:
        progress.clients = settings.clients
        progress.rows += result.rows
        return result

    return ran


@pytest.mark.parametrize("how", [["--json"], []])
def test_a_broken_promise_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, how: list[str]) -> None:
    bad = replace(RESULT, rows=(replace(ROW, exact=False),))
    monkeypatch.setattr(command, "run", finishing(bad))
    done = CliRunner().invoke(app, ["demo", *how])
    assert done.exit_code == 1
    assert "not the plain integer sum" in done.stderr
    if how:
        assert json.loads(done.stdout)["exact"] is False
    else:
        assert "THE CHECK FAILED" in done.stdout


def test_a_good_run_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", finishing(RESULT))
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 0
    assert "bit for bit" in done.stdout and done.stderr == ""
