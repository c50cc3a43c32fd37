"""Every public name says what it is: shapes and units, what must hold before, what it raises.

Modules, classes and functions, and what the classes of the three faces have. A method that fulfils
an interface has its words there: the machines' and the Link's calls are described once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import secagg.analytics
import secagg.testing

ROOT = Path(__file__).parent.parent
INHERITED = frozenset(
    """abort acknowledged alive aggregate check_out close close_phase contributors done encode ended
    events finish jobs lost need outgoing owes_input phase quorum receive reconnected restore result
    retire send set_input start waiting_for writes commit rows take""".split()
)
"""Described in `secagg.sansio`, `secagg.transport.base` and `secagg.store.base`, or, as encode is,
the mirror of a decoder whose words they share."""


MEASURES = frozenset("columns parts levels expand read counts clips spans".split())
"""The calls of `secagg.analytics.measures.Measure`, which has the words of all of them."""
FACES = {*secagg.__all__, *secagg.analytics.__all__, *secagg.testing.__all__}


def undocumented() -> Iterator[str]:
    for package in (ROOT / "secagg", ROOT / "protocols" / "secagg_protocols"):
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            tree = ast.parse(path.read_text())
            if ast.get_docstring(tree) is None and not name.endswith("__main__"):
                yield name
            yield from _of(tree, name)


def _of(scope: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        known = MEASURES if ".analytics.m" in name and ".Measure" not in name else INHERITED
        inherited = isinstance(scope, ast.ClassDef) and node.name in known
        if ast.get_docstring(node) is None and not inherited:
            yield f"{name}.{node.name}"
        if isinstance(node, ast.ClassDef) and node.name in FACES:
            yield from _of(node, f"{name}.{node.name}")


def test_every_public_name_says_what_it_is() -> None:
    assert list(undocumented()) == []


def test_a_name_without_words_is_found() -> None:
    source = """
class Aggregate:
    def done(self): ...
    def told(self): ...
    def _own(self): ...
class Inner:
    def of(self): ...
def said():
    'words'
"""
    names = list(_of(ast.parse(source), "m"))
    assert names == ["m.Aggregate", "m.Aggregate.told", "m.Inner"]
