"""What the documents say runs, leads somewhere, and leaves no error out."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import secagg
import secagg.testing
from secagg import analytics, errors

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "specs").rglob("*.md")]
    + [ROOT / "protocols" / "README.md"]
)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", path.read_text()))


def anchors(path: Path) -> set[str]:
    """Of its headings, as they are written in links."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead(path: Path) -> Iterator[str]:
    for target, anchor in LINK.findall(prose(path)):
        if ":" in target:
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            yield f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    assert list(dead(path)) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here it is\n[a](none.md) [b](#here-it-is) [c](page.md#no) [d](page.md)\n")
    assert list(dead(page)) == ["none.md#", "page.md#no"]


@pytest.mark.parametrize(
    ("name", "fewest"),
    [
        ("tutorial", 4),
        ("choosing", 4),
        ("embedding", 4),
        ("privacy", 3),
        ("active", 3),
        ("reference/analytics", 1),
    ],
)
def test_the_blocks_of_a_page_run_one_after_the_other(
    name: str, fewest: int, tmp_path: Path
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{name}.md").read_text(), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(blocks) >= fewest


def test_every_error_has_its_place_in_the_page_of_troubles() -> None:
    tree = {
        name
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, secagg.SecAggError)
    }
    page = (DOCS / "troubleshooting.md").read_text()
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == tree - {"SecAggError"}


def referred() -> set[str]:
    pages = (DOCS / "reference").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)}


def source(name: str) -> Path | None:
    """Of a module."""
    place = ROOT / Path(*name.split("."))
    found = [place.with_suffix(".py"), place / "__init__.py"]
    return next(filter(Path.exists, found), None)


def defined(path: Path) -> Iterator[str]:
    """Not what a module only imports: the reference does not show that."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


@pytest.mark.parametrize(
    "face", [secagg, analytics, secagg.testing], ids=lambda face: face.__name__
)
def test_every_public_name_is_in_the_reference(face: ModuleType) -> None:
    """By itself or with its module."""
    shown = set(referred())
    for module in referred():
        path = source(module)
        if path is not None and module.startswith(face.__name__):
            shown |= {f"{face.__name__}.{name}" for name in defined(path)}
    assert {f"{face.__name__}.{name}" for name in face.__all__} - shown <= {"secagg.__version__"}


def test_what_the_reference_names_exists() -> None:
    """A module, or a name of the package's face."""
    for name in referred():
        assert source(name) or name.removeprefix("secagg.") in secagg.__all__, name
