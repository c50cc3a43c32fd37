"""`secagg bench`: one of the benchmarks of a checkout, its rows written as they come."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import secagg
from secagg.cli import options
from secagg.cli.output import handled, report
from secagg.cli.output import rows as aligned
from secagg.cli.targets import check_target
from secagg.errors import ParameterError, PolicyRefused

SERVICE = "service"
"""The benchmark that is several runs."""


def bench(
    name: Annotated[str, typer.Argument(help="Which: a module of bench/, such as mask.")],
    run: Annotated[
        str, typer.Argument(help="With service: which of its runs, such as crash.")
    ] = "",
    rows: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Only these rows, such as n=20,drop=0.1; a name given twice has two values. A "
            "value that is in no row replaces that of all.",
        ),
    ] = "",
    plugin: Annotated[
        bool,
        typer.Option(
            "--plugin",
            help="With peer: both as plug-ins of Flower, through one grid. Needs secagg[flower].",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Default: bench/results/NAME.json, or with --rows no file."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run a benchmark of this checkout; bench/README.md says how to read it.

    Every row appears when it is measured: as a line of text or, with --json, as a line of JSON on
    standard error, the whole then following on standard output.
    """
    with handled(as_json):
        root = _checkout()
        benchmark = _plugged(root, name) if plugin else _load(root, name, run)
        common = import_module("bench.common")
        selection = common.Selection.parse(rows)
        if out is None and not rows:
            out = root / "bench" / "results" / f"{benchmark.NAME}.json"
            out.parent.mkdir(parents=True, exist_ok=True)
        check_target(out, "--out", suffix=".json")
        result = common.run(
            benchmark, selection, out=out, on_row=_told_as_json if as_json else _told
        )
        report(result, as_json, lambda: _render(result, out))


def _checkout() -> Path:
    """The root of the repository that this package is imported from."""
    root = Path(secagg.__file__).resolve().parent.parent
    if not (root / "bench" / "common.py").is_file():
        raise PolicyRefused(
            "benchmarks run in a checkout only, and this is an installed package: clone the "
            "repository, and there run `make bench` or `secagg bench NAME`"
        )
    return root


def _load(root: Path, name: str, run: str = "") -> Any:
    files = sorted((root / "bench").glob("*.py"))
    known = [file.stem for file in files if f'\nNAME = "{file.stem}"\n' in file.read_text("utf-8")]
    if name not in (*known, SERVICE):
        names = ", ".join((*known, SERVICE))
        raise ParameterError(f"no benchmark is named {name!r}; there are {names}")
    if str(root) not in sys.path:  # `bench` is not among the packages that are installed
        sys.path.insert(0, str(root))
    module = import_module(f"bench.{name}")
    if name == SERVICE:
        return module.run(run)
    if run:
        raise ParameterError(f"only {SERVICE} has runs, and {name} has none that is {run!r}")
    return module


def _plugged(root: Path, name: str) -> Any:
    _load(root, name)
    if name != "peer":
        raise ParameterError(f"--plugin is of the benchmark peer, and {name} has no such form")
    return import_module("bench.plugin")


def _told_as_json(row: dict[str, Any]) -> None:
    typer.echo(json.dumps(row, allow_nan=False), err=True)


def _told(row: dict[str, Any]) -> None:
    typer.echo("  ".join(f"{name}={_short(value)}" for name, value in row.items()))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _render(result: dict[str, Any], out: Path | None) -> None:
    reasons = result.get("reasons", {})
    ratios = {
        name: f"none: {reasons.get(name)}" if value is None else f"{value:.3g}"
        for name, value in result["ratios"].items()
    }
    where = result["machine"]
    aligned(
        {
            **{f"ratio {name}": text for name, text in ratios.items()},
            "machine": f"{where['cpu']}, {where['cores']} cores, load {where['load']}",
            "commit": result["commit"],
            "saved": out or "no: give --out FILE",
        }
    )
