"""`secagg service audit verify`: is what a service says that it did whole?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from secagg.cli.console import ask
from secagg.cli.output import report, rows
from secagg.errors import InputError, ParameterError, TransportError
from secagg.service.config import Config, read
from secagg.service.desk import TOKEN
from secagg.store.identity import Identity
from secagg.store.sqlite import SqliteStore
from secagg.wire.hello import Service

Head: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="HEX", help="With audit: a digest of it that was kept elsewhere."),
]
BROKEN = 1
"""The exit code where it is not."""


def audit_errand(what: str, config: Path, head: str | None, as_json: bool) -> None:
    """Raises typer.Exit with BROKEN; InputError and StorageError where it cannot be read at all."""
    if what != "verify":
        raise ParameterError("the audit can be verified: secagg service audit verify")
    found = read(config).get()
    answer = _asked(found, config, head) or _of_store(found, head)
    report(answer, as_json, lambda: _show(answer))
    if answer["broken"]:
        raise typer.Exit(BROKEN)


def _asked(found: Config, config: Path, head: str | None) -> dict[str, Any] | None:
    """Of a service that runs. None where it does not, also where it was killed, and left its
    token: the store's lock says for certain."""
    if not (found.state / TOKEN).exists():
        return None
    try:
        return ask(config, {"do": "audit", "head": head})
    except TransportError:
        return None


def _of_store(config: Config, head: str | None) -> dict[str, Any]:
    """Of a service that does not run."""
    from secagg.service import audit, copying
    from secagg.service.serving import COPY, IDENTITY, STORE

    path = config.state / STORE
    if not path.exists():
        raise InputError(f"{path} is not there: the service has never run")
    with Identity.open(config.state / IDENTITY) as identity:
        owner = Service(config.name, identity.public).digest
    with SqliteStore.open(path, owner=owner) as store:
        verdict = copying.verified(store.rows(audit.NAMESPACE), config.state / COPY, head)
    return asdict(verdict) | {"broken": list(verdict.broken)}


def _show(answer: Mapping[str, Any]) -> None:
    rows({"lines": answer["rows"], "of the copy": answer["copied"], "head": answer["head"]})
    for one in answer["broken"]:
        typer.echo(f"broken: {one}", err=True)
