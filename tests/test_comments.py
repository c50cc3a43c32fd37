"""Where the thinking is, it is written down: comments are 8 to 20 % of the lines.

They say why, which precedent there is, and what is impossible, never what the next line says; and
above each kernel file, each table of a machine and each class of rounds stands how it works.
"""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"secagg/kernels": 0.08, "secagg/rounds": 0.08, "protocols": 0.08}
MOST = 0.20
THEORY = "# Theory of operation."
UNEXPLAINED = {"secagg/kernels/__init__.py", "secagg/kernels/reference.py"}
"""The reference is what the others are judged by: each of its functions is its own explanation."""


def share(folder: Path) -> float:
    """Lines with a comment of those that are not empty."""
    comments = lines = 0
    for path in folder.rglob("*.py"):
        source = path.read_text()
        lines += sum(bool(line.strip()) for line in source.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        said = {one.start[0] for one in tokens if one.type == tokenize.COMMENT and _says(one)}
        comments += len(said)
    return comments / lines


def _says(token: tokenize.TokenInfo) -> bool:
    """A word to a checker is none to a reader."""
    return not token.string.startswith(("# type:", "# noqa", "# fmt:")) and token.string != "#"


@pytest.mark.parametrize("folder", FLOORS)
def test_comments_have_their_share(folder: str) -> None:
    assert FLOORS[folder] <= share(ROOT / folder) <= MOST


def test_each_kernel_file_says_how_it_works() -> None:
    for path in sorted((ROOT / "secagg" / "kernels").glob("*.py")):
        if str(path.relative_to(ROOT)) in UNEXPLAINED:
            continue
        lines = path.read_text().splitlines()
        assert THEORY in lines, path.name
        block = lines[lines.index(THEORY) :]
        length = next(i for i, line in enumerate(block) if not line.startswith("#"))
        assert 15 <= length <= 40, f"{path.name}: {length} lines"


MACHINES = (
    "plainsum/client",
    "plainsum/server",
    "reports/batch",
    "reports/book",
    "reports/client",
    "reports/collector",
    "reports/deciding",
    "reports/helper",
    "reports/leader",
    "reports/member",
    "reports/scheme",
    "reports/states",
    "ring/machine",
    "rows",
    "secagg/answering",
    "secagg/client",
    "secagg/rebuilding",
    "secagg/server",
    "secagg/staged",
    "secagg/stages/base",
    "secagg/states",
)
ROUNDS = (
    *("pace", "course", "line", "asked"),
    "admission",
    "admissions",
    "attempts",
    "base",
    "batches",
    "claims",
    "client",
    "clients",
    "clock",
    "collect",
    "cohort",
    "collectors",
    "crowd",
    "doors",
    "enrolled",
    "epochs",
    "farewell",
    "filing",
    "greeting",
    "hellos",
    "hosting",
    "lingering",
    "links",
    "member",
    "membership",
    "offer",
    "opening",
    "paid",
    "part",
    "places",
    "present",
    "progress",
    "quota",
    "reception",
    "remembered",
    "report",
    "round",
    "seen",
    "selection",
    "server",
    "upload",
    "visitors",
)


@pytest.mark.parametrize(
    "path",
    [f"protocols/secagg_protocols/{name}.py" for name in MACHINES]
    + [f"secagg/rounds/{name}.py" for name in ROUNDS],
)
def test_each_machine_and_each_round_says_how_it_works(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    assert THEORY in lines
    for at in (i for i, line in enumerate(lines) if line == THEORY):
        length = next(i for i, line in enumerate(lines[at:]) if not line.startswith("#"))
        assert 15 <= length <= 40, f"{length} lines"


def test_every_module_of_rounds_is_among_them() -> None:
    found = {path.stem for path in (ROOT / "secagg" / "rounds").glob("*.py")}
    assert found - {"__init__"} == {*ROUNDS}
