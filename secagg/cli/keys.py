"""`secagg keys`: the secret key of one server, or of the collector, of a multi-server sum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import keyfile, options
from secagg.cli.output import handled, report
from secagg.cli.targets import check_target
from secagg.committee import ServerSecrets, opening_secret


def keys(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The secret key: for its owner only.")],
    collector: Annotated[
        bool, typer.Option("--collector", help="The collector's key, and not a server's.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a file: what was sealed to its key never opens again."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make the key of a server, or of the collector, on the machine that will use it.

    The file never leaves that machine. What is printed is public: it goes to whoever makes the
    task, by a way on which nobody can replace it.
    """
    with handled(as_json):
        check_target(out, "--out", force=force)
        made = opening_secret() if collector else ServerSecrets.generate()
        if isinstance(made, ServerSecrets):
            keyfile.write_server(out, made, force=force)
        else:
            keyfile.write_collector(out, made, force=force)
        public = keyfile.public(made).hex()
        report({"public": public}, as_json, lambda: typer.echo(public))
