"""What a command reads of its context is what its arguments are, whichever typer there is."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import secagg.cli
from secagg.cli import options, private
from secagg.privacy import Privacy

CLI = Path(secagg.cli.__file__).parent


def context(**given: Any) -> Any:
    """As typer 0.20 has it: what was typed, as texts."""
    paths = ("plan", "peer", "out")
    kinds = {name: SimpleNamespace(resolve_path=False) for name in paths}
    params = [SimpleNamespace(name=name, type=kinds.get(name)) for name in given]
    return SimpleNamespace(params=given, command=SimpleNamespace(params=params))


def test_paths_are_paths() -> None:
    read = options.values(context(plan="a", peer=("b", "c"), out=None, clients=3, name="d"))
    assert read == {
        "plan": Path("a"),
        "peer": [Path("b"), Path("c")],
        "out": None,
        "clients": 3,
        "name": "d",
    }


def test_a_typed_path_is_found_to_be_one() -> None:
    """By what typer itself makes of an annotation."""
    app, seen = typer.Typer(), {}

    @app.command()
    def command(ctx: typer.Context, out: Path, several: list[Path] = [], name: str = "") -> None:  # noqa: B006
        seen.update(options.values(ctx))

    app(["o", "--several", "p", "--several", "q", "--name", "n"], standalone_mode=False)
    assert seen == {"out": Path("o"), "several": [Path("p"), Path("q")], "name": "n"}


def test_members_are_read_from_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "refuse_given", lambda *given: None)
    texts = {"epsilon": 2.0, "delta": 1e-4, "norm": 1.0, "rounds": 3, "examples": 5}
    ctx = context(**texts, unit="example", trust="local", length=4, bits=16)
    assert private.asked(ctx)["privacy"] == Privacy(2.0, 1e-4, 3, "example", "local", 5)


def test_nobody_reads_a_context_otherwise() -> None:
    read = [
        f"{path.name}:{node.lineno}"
        for path in sorted(CLI.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "params"
        if isinstance(node.value, ast.Name) and node.value.id == "ctx"
    ]
    assert len(read) == 1 and read[0].startswith("options.py")
