"""Which test names which row: fills the table of specs/validation.md.

`python tests/vectors/validation.py [--write]`. A test names a row in its name (`test_row_24_..`,
or of links, processes and stores `test_94_..`),
in its docstring ("Row 24", "Rows 24-26 and 39") or in a comment ("# threats 24"). Where no test
names a row itself, a file that does so in its docstring is listed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "specs" / "validation.md"
EXCUSED = ("not in this version", "not detected in plain mode", "the grammar has no recursion")
"""How the third column begins where a row needs no test."""

_MOST = 3
"""Tests a row, those named after it first: the table shows where to look, not every place."""
_NUMBERS = r"\d+(?:-\d+)?"
_CITATION = re.compile(rf"\b(?:rows?|threats) ((?:{_NUMBERS}(?:, | and |, and )?)+)", re.IGNORECASE)
_B4_B6 = r"(?:6[6-9]|7\d|9\d|10[0-7])"
_NAMED = re.compile(rf"test(?:_rows?((?:_\d+)+)|((?:_{_B4_B6})+))_")
_ROW = re.compile(r"^\| (\d+) \| (.*) \| (.*) \| ?(.*?) ?\|$")


def cited(text: str) -> set[int]:
    """The rows that a text names."""
    rows: set[int] = set()
    for citation in _CITATION.findall(text):
        for numbers in re.findall(_NUMBERS, citation):
            first, _, last = numbers.partition("-")
            rows |= set(range(int(first), int(last or first) + 1))
    return rows


@cache
def parsed() -> tuple[tuple[str, str, ast.Module], ...]:
    """(path, source, tree) of each file of tests: once, for all who look at them."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    sources = ((str(path.relative_to(ROOT / "tests")), path.read_text()) for path in files)
    return tuple((place, source, ast.parse(source)) for place, source in sources)


def functions(
    inside: ast.Module | ast.ClassDef,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Of a module and of its classes: a test is nowhere else."""
    for node in inside.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node)


def tests() -> Iterator[tuple[str, str | None, set[int]]]:
    """(path, name of a test or None for the file, the rows it names)."""
    for place, source, tree in parsed():
        yield place, None, cited(" ".join((ast.get_docstring(tree) or "").split()))
        lines = source.splitlines()
        for node in functions(tree):
            if node.name.startswith("test_"):
                own = lines[node.lineno - 1 : node.end_lineno]
                yield place, node.name, _rows_of(node, "\n".join(own))


def _rows_of(node: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> set[int]:
    """source: its own lines."""
    text = " ".join((ast.get_docstring(node) or "").split())
    text += " ".join(re.findall(r"#.*", source))
    named = _NAMED.match(node.name)
    return cited(text) | (
        {int(n) for n in (named[1] or named[2]).split("_") if n} if named else set()
    )


def index() -> dict[int, list[str]]:
    """Row -> the entries to list: a file and its tests, or a file alone."""
    found: dict[int, list[tuple[bool, str, str]]] = defaultdict(list)
    files: dict[int, list[str]] = defaultdict(list)
    for place, name, rows in tests():
        for row in rows:
            if name is None:
                files[row].append(f"`{place}`")
            else:
                found[row].append((_NAMED.match(name) is None, place, name))
    entries = {row: _entries(sorted(some)[:_MOST]) for row, some in found.items()}
    return files | entries


def _entries(chosen: list[tuple[bool, str, str]]) -> list[str]:
    by_file: dict[str, list[str]] = defaultdict(list)
    for _, place, name in chosen:
        by_file[place].append(name)
    return [f"`{place}` {', '.join(names)}" for place, names in by_file.items()]


def table(spec: str) -> Iterator[tuple[int, str, list[str]]]:
    """(row, where it is met, tests) of each line of the document that is a row."""
    for line in spec.splitlines():
        if found := _ROW.match(line):
            number, _, where, listed = found.groups()
            yield int(number), where, [entry for entry in listed.split("; ") if entry]


def filled(spec: str) -> str:
    known = index()
    lines = []
    for line in spec.splitlines():
        if found := _ROW.match(line):
            number, case, where, _ = found.groups()
            line = f"| {number} | {case} | {where} | {'; '.join(known.get(int(number), []))} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        SPEC.write_text(filled(SPEC.read_text()))
    else:
        print(filled(SPEC.read_text()))
