"""`secagg protocols`: what is installed."""

from __future__ import annotations

import typer

from secagg import registry
from secagg.cli import options
from secagg.cli.output import handled, report
from secagg.errors import ParameterError


def protocols(as_json: options.Json = False) -> None:
    """List the installed protocols."""
    with handled(as_json):
        found = [_describe(name) for name in registry.available()]
        report({"protocols": found}, as_json, lambda: _render(found))


def _describe(name: str) -> dict[str, object]:
    """One that cannot be loaded is listed as that: it must not hide the others."""
    try:
        info = registry.load(name)
    except ParameterError as error:
        return {"name": name, "spec": "", "threat_models": [], "status": f"broken: {error}"}
    return {
        "name": info.name,
        "spec": info.spec,
        "threat_models": list(info.threat_models),
        "status": info.status,
    }


def _render(found: list[dict[str, object]]) -> None:
    lines = [
        [str(one["name"]), _models(one), str(one["spec"]), str(one["status"])] for one in found
    ]
    lines.insert(0, ["NAME", "THREAT MODELS", "SPEC", "STATUS"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _models(one: dict[str, object]) -> str:
    models = one["threat_models"]
    return ", ".join(models) if isinstance(models, list) and models else "none"
