"""The names that others write in their code: none goes, none changes its arguments unseen.

names.json holds them. A name or an argument with a default may be added, and is then written down
with `python -m tests.test_names`, which takes nothing away. What is meant to go or to change is
named there, as in `python -m tests.test_names secagg.testing.Network`, and in CHANGELOG.md.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from enum import Enum
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).parent / "names.json"
FACES = ("secagg", "secagg.analytics", "secagg.testing", "secagg_protocols.ring")
"""Packages whose __all__ is a promise."""
FUNCTIONS = {
    "secagg_protocols.secagg.params": ("ccs17_expansion", "find_parameters"),
    "secagg.registry": ("available", "load"),
}
"""What a reader of the papers, and who writes a protocol, looks for."""
KEPT: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
_NONE = inspect.Parameter.empty


def found() -> dict[str, dict[str, Any]]:
    named = {face: _face(import_module(face)) for face in FACES}
    for name, functions in FUNCTIONS.items():
        named[name] = {word: _arguments(getattr(import_module(name), word)) for word in functions}
    from secagg_protocols import PROTOCOLS

    named["secagg_protocols.PROTOCOLS"] = {name: [] for name in sorted(PROTOCOLS)}
    return named


def _face(module: ModuleType) -> dict[str, Any]:
    return {name: _described(getattr(module, name)) for name in sorted(module.__all__)}


def _described(value: Any) -> Any:
    """Of a function its arguments; of a class those of its making and of its methods."""
    if not inspect.isclass(value):
        return _arguments(value) if inspect.isfunction(value) else []
    if issubclass(value, Enum):
        return {member.name: [] for member in value}
    made = [] if issubclass(value, Exception) else _arguments(value)
    return {"": made} | {name: given for name, given in sorted(_members(value))}


def _members(kind: type) -> Iterator[tuple[str, list[str]]]:
    for name in dir(kind):
        if name.startswith("_") or (issubclass(kind, Exception) and hasattr(Exception, name)):
            continue
        value = inspect.getattr_static(kind, name)
        value = getattr(value, "__func__", value)
        yield name, _arguments(value) if inspect.isfunction(value) else []
    for name in getattr(kind, "__annotations__", {}):
        if not name.startswith("_") and not hasattr(kind, name):
            yield name, []


def _arguments(value: Any) -> list[str]:
    """`name` of one that must be given, `name=` of one that has a default, `*` before keywords."""
    lines: list[str] = []
    for one in inspect.signature(value).parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not any(line.startswith("*") for line in lines):
            lines.append("*")
        stars = 2 if one.kind is one.VAR_KEYWORD else 1 if one.kind is one.VAR_POSITIONAL else 0
        lines.append("*" * stars + one.name + ("" if one.default is _NONE else "="))
    return lines


def merged(kept: Any, new: Any) -> Any:
    """What was promised, and what came besides: of the arguments of one call, those of today."""
    if isinstance(kept, dict) and isinstance(new, dict):
        return {
            name: merged(kept.get(name, {}), new.get(name, kept.get(name)))
            for name in sorted(kept.keys() | new.keys())
        }
    return new


def _missing(kept: Any, new: Any, path: str = "") -> Iterator[str]:
    """What a caller of the promised face would trip over."""
    if isinstance(kept, dict):
        if not isinstance(new, dict):
            yield path
            return
        for name, inner in kept.items():
            if name not in new:
                yield f"{path}.{name}"
            else:
                yield from _missing(inner, new[name], f"{path}.{name}")
    elif not _callable_as(kept, new):
        yield f"{path}({', '.join(new)})"


def _callable_as(kept: list[str], new: list[str]) -> bool:
    """Every call that was right still is: the promised arguments come first, at their places, and
    what is new has a default."""
    if not isinstance(new, list):
        return False
    places, words = _split(kept)
    now, more = _split(new)
    same = all(
        there.rstrip("=") == name.rstrip("=") and (there.endswith("=") or not name.endswith("="))
        for name, there in zip(places, now, strict=False)
    )
    known = {name.rstrip("=") for name in words} <= {n.rstrip("=") for n in (*more, *now)}
    added = [*now[len(places) :], *(n for n in more if n.rstrip("=") not in _bare(words))]
    given = all(name.endswith("=") or name.rstrip("=") in _bare(words) for name in added)
    return same and len(now) >= len(places) and known and given


def _bare(names: list[str]) -> set[str]:
    return {name.rstrip("=") for name in names}


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Those that may be given by place, and those by name only."""
    at = arguments.index("*") if "*" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def test_no_public_name_goes_and_none_is_called_otherwise() -> None:
    assert list(_missing(KEPT, found())) == []


def test_every_public_name_is_written_down() -> None:
    assert merged(KEPT, found()) == KEPT, "python -m tests.test_names"


def test_the_comparison_sees_what_breaks_a_caller() -> None:
    kept: dict[str, Any] = {"f": ["a", "b=", "*", "c="], "C": {"": ["x"], "m": []}}
    for new, expected in (
        ({**kept, "g": []}, []),
        ({**kept, "f": ["a", "b=", "d=", "*", "c=", "e="]}, []),
        ({**kept, "f": ["a=", "b=", "c="]}, []),  # by name or by place
        ({"f": kept["f"]}, [".C"]),
        ({**kept, "f": ["b=", "a", "*", "c="]}, [".f(b=, a, *, c=)"]),
        ({**kept, "f": ["a", "*", "b=", "c="]}, [".f(a, *, b=, c=)"]),
        ({**kept, "f": ["a", "b", "*", "c="]}, [".f(a, b, *, c=)"]),
        ({**kept, "f": ["a", "b="]}, [".f(a, b=)"]),
        ({**kept, "f": ["a", "b=", "*", "c=", "e"]}, [".f(a, b=, *, c=, e)"]),
        ({**kept, "C": {"": ["x", "y"], "m": []}}, [".C.(x, y)"]),
        ({**kept, "C": {"": ["x"]}}, [".C.m"]),
    ):
        assert list(_missing(kept, new)) == expected


def _without(kept: dict[str, Any], path: str) -> dict[str, Any]:
    """Without one name of a module, that is then as it is found."""
    module, _, name = path.rpartition(".")
    return kept | {module: {word: kept[module][word] for word in kept[module] if word != name}}


if __name__ == "__main__":
    KEPT = reduce(_without, sys.argv[1:], KEPT)
    FILE.write_text(json.dumps(merged(KEPT, found()), indent=1) + "\n")
