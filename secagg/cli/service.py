"""`secagg service`: what an administrator does with a service that is not running in this shell."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options
from secagg.cli.founding import found
from secagg.cli.output import FAILED, handled, report, rows
from secagg.errors import ParameterError
from secagg.service.checking import effective, refusals
from secagg.service.config import read


class Errand(enum.StrEnum):
    """What to do with a service."""

    INIT = "init"
    CHECK = "check"


_OPTIONS = {"name": (Errand.INIT,), "trial_ca": (Errand.INIT,)}


def service(
    ctx: typer.Context,
    errand: Annotated[Errand, typer.Argument(help="What to do.")],
    what: Annotated[
        str, typer.Argument(metavar="DIR|FILE", help="To init a folder; to check a file.")
    ],
    name: Annotated[
        str | None, typer.Option(help="With init: the host's name, as clients will call it.")
    ] = None,
    trial_ca: Annotated[
        bool,
        typer.Option("--trial-ca", help="With init: certificates of an authority of its own."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Set up a service, and see what its configuration means.

    `init` makes a folder with a configuration to edit, the server's identity and, with --trial-ca,
    certificates; what is there stays as it is. `check` prints every value that is in force,
    defaults included, and all for which the service would not start: the exit code is 2 then.
    """
    with handled(as_json):
        for option, errands in _OPTIONS.items():
            if errand not in errands:
                options.refuse_given(ctx, (option,), f"is for {errands[0].value}")
        if errand is Errand.INIT:
            if name is None:
                raise ParameterError("a service has a --name: the host's, as clients will call it")
            made = found(Path(what), name, trial_ca, datetime.now(UTC))
            report(made, as_json, lambda: rows(made))
            return
        _check(Path(what), as_json)


def _check(file: Path, as_json: bool) -> None:
    reading = read(file)
    refused, values = list(reading.refused), dict[str, object]()
    if reading.config is not None:
        values = effective(reading.config)
        refused += refusals(reading.config)
    answer: dict[str, object] = {"refused": refused, "config": values or None}
    report(answer, as_json, lambda: _show(values, refused))
    if refused:
        raise typer.Exit(FAILED)


def _show(values: Mapping[str, object], refused: list[str]) -> None:
    flat: dict[str, object] = {}
    _flatten("", values, flat)
    if flat:
        rows(flat)
    for one in refused:
        typer.echo(f"refused: {one}", err=True)


def _flatten(place: str, values: Mapping[str, object], into: dict[str, object]) -> None:
    for key, value in values.items():
        name = f"{place}.{key}" if place else key
        if isinstance(value, Mapping):
            _flatten(name, value, into)
        else:
            into[name] = "none" if value is None else value
