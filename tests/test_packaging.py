"""What pyproject.toml promises to those who install."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

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
