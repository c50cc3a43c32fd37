"""`secagg identity`: the key that a member, or the server, signs with, and its request."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options
from secagg.cli.enrolling import Whose, new_seed, read_seed, write_seed
from secagg.cli.output import handled, report, rows
from secagg.cli.targets import check_target, write_whole
from secagg.crypto import sign
from secagg.errors import ParameterError
from secagg.roster import Enrolment
from secagg.types import Seed


class Act(enum.StrEnum):
    """What to do with an identity."""

    NEW = "new"
    SHOW = "show"


def identity(
    action: Annotated[Act, typer.Argument(help="Make one, or show the public key of one.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The secret: for its owner only.")],
    name: Annotated[
        str | None, typer.Option(help="With new: what people call its owner, 1 to 64 characters.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Make the identity of a client that signs, or of the server, on the machine that will use it.

    FILE never leaves that machine, is never replaced, and is used by one process at a time.
    FILE.enrol is the request to be enrolled: it is public, and goes to the roster's administrator
    by a way on which nobody can replace it, or its public key is compared by telephone.
    """
    with handled(as_json):
        request = file.with_name(file.name + ".enrol") if file.name else file
        if action is Act.NEW:
            seed = _make(file, request, name)
        elif name is not None:
            raise ParameterError("--name is of a new identity: its request says it")
        else:
            seed = read_seed(file, Whose.IDENTITY)
        found: dict[str, object] = {"file": str(file), "public": sign.public_key(seed).hex()}
        if action is Act.NEW:
            found["request"] = str(request)
        report(found, as_json, lambda: rows(found))


def _make(file: Path, request: Path, name: str | None) -> Seed:
    if name is None:
        raise ParameterError("a new identity has a --name, which the administrator sees")
    for target in (file, request):
        check_target(target, "FILE", force=False)
    seed = new_seed()
    made = Enrolment.make(name, seed)  # which refuses names, before anything is written
    write_seed(file, Whose.IDENTITY, seed)
    write_whole(request, made.encode(), force=False)
    return seed
