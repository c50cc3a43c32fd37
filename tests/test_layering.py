"""The house rules that a machine can check: layers, circles, forbidden imports, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

LAYERS = """errors types effects arguments threat remedies repeats suite | layout | ring | fields |
kernels | crypto shamir decoding | mask quantize | structure | records | wire | committee |
sansio delegate promise protocol | registry | plans | transport store | selftest party | rounds |
drive | sim testing | analytics | demo | cli""".split("|")
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
PICKLES = {"pickle", "dill", "marshal", "shelve", "random"}
IMPURE = {"socket", "asyncio", "threading", "time", "os", "pathlib", "io", "subprocess"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    root = Path(__file__).parent.parent
    for package in (root / "secagg", root / "protocols" / "secagg_protocols"):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            yield ".".join(p for p in parts if p != "__init__"), ast.parse(path.read_text())


MODULES = dict(_modules())


def _imports(tree: ast.Module) -> Iterator[str]:
    """Imported modules: `from a import b` is a.b where that is a module of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else str(node.module) for name in inner)


def _layer(module: str) -> int:
    """`import secagg` itself reaches everything below the demo."""
    return RANK["demo"] if module == "secagg" else RANK[module.split(".")[1]]


EDGES = {(name, to) for name, tree in MODULES.items() for to in _imports(tree)}


def test_imports_go_down() -> None:
    inside = {(a, b) for a, b in EDGES if a.startswith("secagg.") and b.split(".")[0] == "secagg"}
    assert {(a, b) for a, b in inside if _layer(b) > _layer(a)} == set()
    assert {a for a, b in inside if b == "secagg" and _layer(a) < RANK["demo"]} == set()
    assert len(inside) > 100, "the walk finds what it should judge"


def test_protocols_are_pure_and_never_imported_by_name() -> None:
    theirs = {(a, b) for a, b in EDGES if a.startswith("secagg_protocols")}
    up = {(a, b) for a, b in theirs if b[:7] == "secagg." and _layer(b) >= RANK["registry"]}
    assert up | {(a, b) for a, b in theirs if b.split(".")[0] in IMPURE} == set()
    assert {(a, b) for a, b in EDGES - theirs if b.startswith("secagg_protocols")} == set()


def test_rounds_decide_and_do_nothing() -> None:
    """Policy knows no clock, socket, thread, file or loop, and neither store nor transport."""
    theirs = {(a, b) for a, b in EDGES if a.startswith("secagg.rounds")}
    doing = {f"secagg.{name}" for name in ("transport", "store", "drive")}
    assert {(a, b) for a, b in theirs if b.split(".")[0] in IMPURE} == set()
    assert {(a, b) for a, b in theirs if ".".join(b.split(".")[:2]) in doing} == set()


def test_numba_is_imported_in_kernels_only_and_pickle_nowhere() -> None:
    numba = {a for a, b in EDGES if b.split(".")[0] in ("numba", "llvmlite")}
    assert numba and all(name.startswith("secagg.kernels.") for name in numba)
    assert {(a, b) for a, b in EDGES if b.split(".")[0] in PICKLES} == set()


def test_there_are_no_circles() -> None:
    """Also through imports inside functions: they hide a circle, and do not open it."""
    graph = {
        name: {to for to in _imports(tree) if to in MODULES and to != name}
        for name, tree in MODULES.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_sizes_and_asserts() -> None:
    """An assert is gone under -O."""
    long = {name for name, tree in MODULES.items() if (tree.body[-1].end_lineno or 0) > 400}
    wide = set()
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (node.end_lineno or 0) - node.lineno >= 60:
                    wide.add(f"{name}.{node.name}")
            elif isinstance(node, ast.Assert):
                wide.add(f"{name}:{node.lineno} assert")
    assert (long, wide) == (set(), set())


def test_the_shell_decides_nothing_and_stays_short() -> None:
    """One for all roles: what it would have to know more belongs into rounds."""
    assert (MODULES["secagg.drive.shell"].body[-1].end_lineno or 0) <= 150


def test_no_two_test_modules_share_a_name() -> None:
    """pytest imports those of folders that are no packages by their name alone: the second of two
    is an error, in a run of all of them only."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) > 50 and {name for name in names if names.count(name) > 1} == set()
