"""The examples run, and say so themselves: each exits with 1 where it finds its claims broken."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parent.parent


def program(*arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
    """As a user starts it: its exit code, and what it says. before: what starts the interpreter."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
    done = subprocess.run(
        [*before, sys.executable, *arguments],
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


BOUND = 90
"""Lines that an example of a driver must stay below."""
OTHERS = ("fastapi_poll", "grpc_rounds", "long_poll", "mpi_sum", "shared_folder")
IN_THE_SUM = [f"client {number}: in the sum" for number in range(5)]


def test_a_sum_over_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, which has imported what takes the longest."""
    runpy.run_path(str(ROOT / "examples" / "shared_folder.py"))
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == [*IN_THE_SUM, "the sum of 0 to 4, of 5 clients: [10 10 10]"]


TRICKS: dict[str, Callable[[Path, Path], object]] = {
    "a folder as frame": lambda said, heard: (said / "000000000000").mkdir(),
    "a pipe as frame": lambda said, heard: os.mkfifo(said / "000000000000"),
    "a link as frame": lambda said, heard: (said / "000000000000").symlink_to("/dev/zero"),
    "nowhere to write": lambda said, heard: heard.rmdir(),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_client_that_puts_there_what_is_no_frame_is_lost_alone(
    trick: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "examples" / "shared_folder.py").read_text()
    begin = "    rounds.joined(server, now())\n"
    assert text.count(begin) == 1 and "deadlines=60" in text
    text = text.replace(begin, "    if number == 3:\n        return trick(said, heard)\n" + begin)
    exec(
        compile(text.replace("deadlines=60", "deadlines=1"), "shared_folder.py", "exec"),
        {"__name__": "shared_folder", "trick": TRICKS[trick]},
    )
    assert "the sum of 0 to 4, of 4 clients: [7 7 7]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "needs", "says"),
    [
        ("fastapi_poll", ("fastapi", "httpx"), "the sum of 0 to 4: [10, 10, 10]"),
        ("grpc_rounds", ("grpc",), "the sum of 0 to 4: [10 10 10]"),
    ],
)
def test_a_sum_inside_another_server(name: str, needs: tuple[str, ...], says: str) -> None:
    for module in needs:
        pytest.importorskip(module, reason="the extra `examples` has it")
    code, output = program(f"{name}.py")
    assert code == 0, output
    assert sorted(output.splitlines()) == [*IN_THE_SUM, says]


def test_a_sum_over_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py", reason="the extra `examples` has it")
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    launcher = shutil.which("mpiexec", path=beside)
    if launcher is None:
        pytest.skip("there is no mpiexec: an MPI is not installed")
    for name in ("ALLOW_RUN_AS_ROOT", "ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(f"OMPI_{name}", "1")  # Open MPI alone knows these two
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    code, output = program("mpi_sum.py", before=(launcher, "-n", "4"))
    assert code == 0, output
    assert output.splitlines() == ["the sum of 1 to 3, of 3 clients: [6 6 6]"]


@pytest.mark.parametrize("name", OTHERS)
def test_another_driver_is_short_and_stands_on_what_is_public(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.py").read_text()
    assert len(text.splitlines()) < BOUND
    ours = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    modules = {str(node.module) for node in ours if str(node.module).startswith("secagg")}
    assert {"secagg.rounds.client", "secagg.rounds.server", "secagg.effects"} <= modules
    private = [node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    assert [attr for attr in private if attr.startswith("_")] == []
    assert {module.split(".")[1] for module in modules} <= {
        "drive",
        "effects",
        "plans",
        "rounds",
        "wire",
    }


DEMONSTRATIONS = {
    "image_from_update": "a sum of 50 with noise",
    "membership": "epsilon 2: ",
    "floating_point": "0.0% are wrong",
    "survey": "says nothing",
}


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_a_demonstration_of_privacy(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each exits with a message unless the attack works without noise, and fails with it."""
    pytest.importorskip("sklearn", reason="the demo extra has the images")
    path = ROOT / "examples" / "privacy" / f"{name}.py"
    assert len(path.read_text().splitlines()) < BOUND
    runpy.run_path(str(path))
    assert DEMONSTRATIONS[name] in capsys.readouterr().out


def test_every_demonstration_is_run() -> None:
    folder = ROOT / "examples" / "privacy"
    assert {path.stem for path in folder.glob("*.py")} == set(DEMONSTRATIONS)


def test_every_example_is_in_the_index() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    folder = ROOT / "examples"
    files = {path.name for path in (*folder.glob("*.py"), *folder.glob("privacy/*.py"))}
    assert {name for name in files if f"`{name}`" not in page} == set()
    assert set(re.findall(r"`(\w+\.py)`", page)) == files
