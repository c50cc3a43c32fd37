"""What the README shows must run as it stands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from secagg import cli
from tests import alone
from tests.processes.shell import follow

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
[COMMANDS] = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_blocks_of_the_readme_run_on_an_installation_without_extras() -> None:
    """One after the other, in one interpreter."""
    done = alone.run("\n".join(BLOCKS))
    assert done.returncode == 0, done.stderr
    assert len(BLOCKS) == 2 and "of at most 1.52" in done.stdout and "smoker" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are written for a POSIX shell")
def test_the_commands_of_the_readme_can_be_followed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By somebody who has just installed: an empty folder, and nothing but these lines."""
    said = follow(COMMANDS, tmp_path, tmp_path_factory.mktemp("bin"))
    assert len(re.findall(r"^stored +True$", said, re.MULTILINE)) == 8, said
    joined = r"^round 1 +in the sum of 8 clients, without 0$"
    assert len(re.findall(joined, said, re.MULTILINE)) == 8, said
    assert len(re.findall(r"^contributors +8$", said, re.MULTILINE)) == 3, said
    for name in ("mean.npy", "mean-of-two.npy"):
        mean = np.load(tmp_path / name, allow_pickle=False)
        assert mean.shape == (1000,) and abs(mean - 3.5 / 8).max() < 1e-4


def _invocations() -> list[list[str]]:
    """Every line of the documents that begins with secagg, as words."""
    texts = [file.read_text() for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]]
    text = "\n".join(texts).replace("\\\n", " ")
    lines = re.findall(r"^(?: {4})?(?:\w+=\$\()?(secagg [a-z].*)$", text, re.MULTILINE)
    return [shlex.split(line.partition("#")[0].rstrip(") &"), posix=False) for line in lines]


def test_every_option_in_the_documents_exists() -> None:
    group: Any = typer.main.get_command(cli.app)
    seen = set()
    for _, command, *words in _invocations():
        single = group.get_command(typer.Context(group), command)
        assert single is not None, command
        known = {option for parameter in single.params for option in parameter.opts}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, (command, asked - known)
        seen.add(command)
    assert seen >= {"plan", "simulate", "serve", "join", "keys", "task", "collect", "inspect"}
