"""`secagg login`: a link with which a browser sees a service's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options
from secagg.cli.console import Console, reached
from secagg.cli.output import handled, report


def login(
    service: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Of a viewer or operator, as `secagg enrol` made it."),
    ],
    as_json: options.Json = False,
) -> None:
    """Print a link that logs a browser in, once, within 10 minutes, in the role of the file.

    The browser reaches the console as the file says. On the service's machine its owner has
    `secagg service login`.
    """
    with handled(as_json):
        with reached(Path(), service) as console:
            answer = logged_in(console, None)
        report(answer, as_json, lambda: typer.echo(answer["link"]))


def logged_in(console: Console, role: str | None) -> dict[str, object]:
    """role: where the owner asks, who has any of the page."""
    answer = console.ask({"do": "login"} | ({} if role is None else {"role": role}))
    # the way to it is the one that was just gone: a tunnel's near end, say
    _, path, token = str(answer["link"]).partition("/login#")
    return answer | {"link": console.url + path + token}
