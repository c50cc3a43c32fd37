"""What pyproject.toml promises to those who install."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet

from tests import alone

ROOT = Path(__file__).parent.parent

FLOWER = {
    "cryptography": ">=50,<51",
    "numpy": ">=1.26,<3",
    "rich": ">=14,<15",
    "typer": ">=0.13,<0.21",
    "uvicorn": ">=0.49,<0.50",
}
"""What flwr 1.42 pins of what we need too. Both must go into one environment."""


def floors() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci" / "lowest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, str] = module.floors()
    return found


def test_every_dependency_has_a_lowest_release() -> None:
    assert set(FLOWER) < set(floors())


@pytest.mark.parametrize("package", FLOWER)
def test_flower_installs_beside(package: str) -> None:
    """The lowest release of ours is one that it admits."""
    assert SpecifierSet(FLOWER[package]).contains(floors()[package])


def test_keys_outside_the_subgroup_are_refused_from_the_lowest_release_on() -> None:
    """PyNaCl 1.6.1 took them; the self-test refuses to start on it."""
    assert SpecifierSet(">=1.6.2").contains(floors()["pynacl"])


def test_the_constraints_are_lines_for_pip() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "lowest.py")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.splitlines() == [f"{name}=={version}" for name, version in sorted(floors().items())]


@pytest.mark.parametrize(
    ("target", "needs", "not_needed"), [("demo", "[demo]", "[test]"), ("check", "[test]", "[demo]")]
)
def test_make_installs_what_a_target_needs(
    target: str, needs: str, not_needed: str, tmp_path: Path
) -> None:
    """Two stamps: the demo does not wait for the tools of the tests."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    planned = subprocess.run(
        ["make", "--dry-run", target], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert f"--editable '.{needs}'" in planned and not_needed not in planned
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for done in ("bin/python", ".demo", ".test"):
        (tmp_path / ".venv" / done).touch()
    planned = subprocess.run(
        ["make", "--dry-run", target], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert "pip install" not in planned


SEVERAL = """
import json, sys
from secagg.cli import main

for words in json.loads(sys.stdin.read()):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        print(json.dumps({"status": ended.code}), flush=True)
"""


def commands(folder: Path, *lines: str, extras: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What each prints as JSON and how it ends, in one interpreter with these extras."""
    given = json.dumps([[*line.split(), "--json"] for line in lines])
    done = alone.run(SEVERAL, *extras, cwd=folder, given=given)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    answers = list(map(json.loads, done.stdout.splitlines()))
    return [said | ended for said, ended in zip(answers[::2], answers[1::2], strict=True)]


TASK = (
    "keys --out a.key",
    "keys --out b.key",
    "keys --out c.key --collector",
)


def test_an_interpreter_alone_lacks_what_the_tests_bring() -> None:
    """Else the next tests could not fail."""
    for module, extra in (("hypothesis", "all"), ("uvicorn", ""), ("sklearn", "server")):
        assert module in alone.absent(extra) and module not in alone.absent("test")
    lacking = alone.run("import uvicorn")
    assert lacking.returncode == 1 and "No module named 'uvicorn'" in lacking.stderr


def test_an_installation_without_extras_has_every_command_that_needs_no_link(
    tmp_path: Path,
) -> None:
    """And the others say at once which extra they lack: no link that fails is tried again."""
    np.save(tmp_path / "some.npy", np.zeros(4))
    small = "--clients 10 --length 4 --bits 16"
    *done, a, b, c = commands(
        tmp_path,
        f"plan {small} --out ten.plan",
        f"simulate {small}",
        "inspect ten.plan",
        "protocols",
        *TASK,
    )
    assert [one["status"] for one in (*done, a, b, c)] == [0] * 7
    servers = f"--server {a['public']} --server {b['public']} --collector {c['public']}"
    url = "ws://127.0.0.1:9"
    task, *refused, demo = commands(
        tmp_path,
        f"task {small} --epoch 1 --out some.task {servers}",
        f"serve {small}",
        f"serve --role leader --task some.task --key a.key --store a.sqlite --peer {url}",
        f"join {url} --input some.npy",
        f"join {url} --input some.npy --task some.task",
        f"collect {url} {url} --task some.task --key c.key --out sum.npy",
        "demo",
    )
    assert task["status"] == 0
    for one in refused:
        assert one["status"] == 2 and one["error"] == "MissingExtra", one
        assert "pip install 'secagg[server]'" in one["message"]
    assert demo["status"] == 2 and "pip install 'secagg[demo]'" in demo["message"]


def test_the_extra_for_links_is_enough_for_them(tmp_path: Path) -> None:
    """A server that nobody joins has met all that it imports before it waits, and so has a client
    that finds no server."""
    np.save(tmp_path / "some.npy", np.zeros(4))
    served, joined = commands(
        tmp_path,
        "serve --clients 10 --length 4 --bits 16 --wait 1",
        "join ws://127.0.0.1:9 --input some.npy --timeout 1",
        extras=("server",),
    )
    assert served["error"] == "below-threshold" and joined["error"] == "TransportError"
