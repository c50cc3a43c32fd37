"""The house rules that a machine can check: layers, circles, forbidden imports, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

LAYERS = """errors types shown effects arguments threat rights remedies watch repeats suite noise
privacy | layout | ring | dp | fields | kinds | schema |
kernels | crypto shamir decoding | mask quantize rotate bounded sampler noisy tensors npy |
structure | like | records cut | wire | committee roster players invitation |
sansio delegate promise proved protocol |
registry | plans | transport store budget | selftest party adaptive policy earlier verify | rounds |
drive | service | sim testing | analytics integrations | demo frontier | cli""".split("|")
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
PICKLES = {"pickle", "dill", "marshal", "shelve", "random"}
IMPURE = {"socket", "asyncio", "threading", "time", "os", "pathlib", "io", "subprocess"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    root = Path(__file__).parent.parent
    for package in (root / "secagg", root / "protocols" / "secagg_protocols"):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            yield ".".join(p for p in parts if p != "__init__"), ast.parse(path.read_text())


@cache
def modules() -> dict[str, ast.Module]:
    """Not when pytest collects: that every worker does."""
    return dict(_modules())


def _imports(tree: ast.Module) -> Iterator[str]:
    """Imported modules: `from a import b` is a.b where that is a module of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules() else str(node.module) for name in inner)


def _layer(module: str) -> int:
    """`import secagg` itself reaches everything below the demo."""
    return RANK["demo"] if module == "secagg" else RANK[module.split(".")[1]]


@cache
def edges() -> frozenset[tuple[str, str]]:
    return frozenset((name, to) for name, tree in modules().items() for to in _imports(tree))


def test_imports_go_down() -> None:
    inside = {(a, b) for a, b in edges() if a.startswith("secagg.") and b.split(".")[0] == "secagg"}
    assert {(a, b) for a, b in inside if _layer(b) > _layer(a)} == set()
    assert {a for a, b in inside if b == "secagg" and _layer(a) < RANK["demo"]} == set()
    assert len(inside) > 100, "the walk finds what it should judge"


def test_protocols_are_pure_and_never_imported_by_name() -> None:
    theirs = {(a, b) for a, b in edges() if a.startswith("secagg_protocols")}
    up = {(a, b) for a, b in theirs if b[:7] == "secagg." and _layer(b) >= RANK["registry"]}
    assert up | {(a, b) for a, b in theirs if b.split(".")[0] in IMPURE} == set()
    assert {(a, b) for a, b in edges() - theirs if b.startswith("secagg_protocols")} == set()


def test_rounds_decide_and_do_nothing() -> None:
    """Policy knows no clock, socket, thread, file or loop, and neither store nor transport."""
    theirs = {(a, b) for a, b in edges() if a.startswith("secagg.rounds")}
    doing = {f"secagg.{name}" for name in ("transport", "store", "drive")}
    assert {(a, b) for a, b in theirs if b.split(".")[0] in IMPURE} == set()
    assert {(a, b) for a, b in theirs if ".".join(b.split(".")[:2]) in doing} == set()


def test_numba_is_imported_in_kernels_only_and_pickle_nowhere() -> None:
    numba = {a for a, b in edges() if b.split(".")[0] in ("numba", "llvmlite")}
    assert numba and all(name.startswith("secagg.kernels.") for name in numba)
    assert {(a, b) for a, b in edges() if b.split(".")[0] in PICKLES} == set()


def test_no_framework_is_imported_for_its_tensors() -> None:
    """Their users have imported it, and only they."""
    theirs = {"torch", "jax", "tensorflow", "pandas", "polars", "ml_dtypes"}
    assert {(a, b) for a, b in edges() if b.split(".")[0] in theirs} == set()


def test_there_are_no_circles() -> None:
    """Also through imports inside functions: they hide a circle, and do not open it."""
    graph = {
        name: {to for to in _imports(tree) if to in modules() and to != name}
        for name, tree in modules().items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_sizes_and_asserts() -> None:
    """An assert is gone under -O."""
    long = {name for name, tree in modules().items() if (tree.body[-1].end_lineno or 0) > 400}
    wide = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (node.end_lineno or 0) - node.lineno >= 60:
                    wide.add(f"{name}.{node.name}")
            elif isinstance(node, ast.Assert):
                wide.add(f"{name}:{node.lineno} assert")
    assert (long, wide) == (set(), set())


def _reached(*roots: str) -> set[str]:
    """All modules of ours that are loaded with these."""
    imported: dict[str, set[str]] = {}
    for one, to in edges():
        imported.setdefault(one, set()).add(to)
    found, todo = set[str](), [*roots]
    while todo:
        if (one := todo.pop()) not in found and one in modules() and one != "secagg":
            found.add(one)
            todo += imported.get(one, ())
    return found


def _lines() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a service's process that writes a line of its log, with its place."""
    calls = {"debug", "info", "warning", "error", "exception", "critical"}
    found = _reached("secagg.service.serving", "secagg.cli.configured") - {"secagg.repeats"}
    for module in sorted(found):
        for node in ast.walk(modules()[module]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                whose, name = ast.unparse(node.func.value), node.func.attr
                counted = name in ("warn", "refused") and whose.endswith("repeats")
                if counted or (name in calls and whose in ("log", "_log")):
                    yield f"{module}:{node.lineno}", node


def test_every_line_of_a_service_is_of_an_event() -> None:
    """Of a closed list (`secagg.watch.Event`), by its name: lines are found and counted by that."""
    found = dict(_lines())
    assert len(found) > 12, "the walk finds what it should judge"
    for where, call in found.items():
        said = [ast.unparse(one) for one in (*call.args, *(one.value for one in call.keywords))]
        assert any("Event." in one or one == "extra" for one in said), where


def test_the_shell_decides_nothing_and_stays_short() -> None:
    """One for all roles: what it would have to know more belongs into rounds."""
    assert (modules()["secagg.drive.shell"].body[-1].end_lineno or 0) <= 150


def test_the_family_is_asked_by_match_alone() -> None:
    """Whoever counts servers, or looks whether there is a collector, asks it in a way of its own,
    and is forgotten when there is a third family. Protocols know their own parameters."""
    own = {"secagg.threat", "secagg_protocols.plainsum", "secagg_protocols.secagg.params"}
    own |= {"secagg_protocols.additive.params", "secagg_protocols.additive.guarantee"}
    asked = {
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if _asks_for_the_family(node) and not (name in own and isinstance(node, ast.Compare))
    }
    assert asked == set()
    for question in ("threat.servers > 1", "task.members is None", "2 == len(task.servers)"):
        assert _asks_for_the_family(ast.parse(question, mode="eval").body), question
    assert _asks_for_the_family(ast.parse("isinstance(x, OneServer | None)", mode="eval").body)


def _asks_for_the_family(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        sides = node.left, *node.comparators
        words = {name for side in sides for name in _named(side)}
        constant = any(isinstance(side, ast.Constant) for side in sides)
        return constant and not words.isdisjoint({"servers", *_MACHINES})
    called = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
    return called and any(
        isinstance(part, ast.Name) and part.id in ("OneServer", "SeveralServers")
        for part in ast.walk(node)
    )


_MACHINES = {"server", "member", "members", "collector"}
"""What a family has one way or the other, as attributes."""


def _named(side: ast.expr) -> Iterator[str]:
    """What is counted or looked for: x.servers, servers, len(x.servers)."""
    if isinstance(side, ast.Call) and getattr(side.func, "id", "") == "len":
        yield from (name for arg in side.args for name in _named(arg))
    elif isinstance(side, ast.Attribute):
        yield side.attr
    elif isinstance(side, ast.Name) and side.id == "servers":
        yield side.id


WIDE = {
    "secagg_protocols.ring.machine.RingParty",
    "secagg.testing.members.FrailServers",
    "secagg.testing.restarts.Frail",
}
"""The ring's party is all of its stages at once, in a lesson. The last two are a whole Network of
machines each, and what dies in it."""


def test_no_class_stores_more_than_fourteen_fields() -> None:
    """With what it inherits. Plain data is excepted, which is read and not kept in step."""
    found = {f"{name}.{c.name}" for name, c in _classes() if len(_fields(c)) > 14}
    assert found == WIDE
    assert len(_fields(classes()["ServerRounds"])) > 5, "the walk finds what it should judge"


def _classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not any(
                "dataclass" in ast.unparse(one) for one in node.decorator_list
            ):
                yield name, node


@cache
def classes() -> dict[str, ast.ClassDef]:
    return {node.name: node for _, node in _classes()}


def _fields(made: ast.ClassDef) -> set[str]:
    bases = (ast.unparse(base).split("[")[0].split(".")[-1] for base in made.bases)
    ours = (classes()[base] for base in bases if base in classes() and base != made.name)
    inherited = {field for base in ours for field in _fields(base)}
    return inherited | {
        node.attr
        for node in ast.walk(made)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def test_no_two_test_modules_share_a_name() -> None:
    """pytest imports those of folders that are no packages by their name alone: the second of two
    is an error, in a run of all of them only."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) > 50 and {name for name in names if names.count(name) > 1} == set()
