"""`secagg results`: what the rounds of a service gave."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options
from secagg.cli.console import Console, reached
from secagg.cli.founding import FILE
from secagg.cli.output import handled, report, rows
from secagg.cli.targets import check_target, write_whole
from secagg.errors import ParameterError


class Wish(enum.StrEnum):
    """What to do with results."""

    LIST = "list"
    GET = "get"
    RM = "rm"


def results(
    ctx: typer.Context,
    wish: Annotated[Wish, typer.Argument(help="What to do.")],
    number: Annotated[
        str | None,
        typer.Argument(metavar="NUMBER", help="Of a result, or its first digits; or last."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="With get: where its arrays go.")
    ] = None,
    config: Annotated[Path, typer.Option(metavar="FILE", help="Of the service that runs.")] = Path(
        FILE
    ),
    service: options.Service = None,
    as_json: options.Json = False,
) -> None:
    """List what a service's rounds gave, take a result, or remove one.

    The service's owner has all, on its machine; a collector, with the file that `secagg enrol`
    made, has those of its tasks.

    FILE.npz has `sum.FIELD` and `mean.FIELD` of each field, for `numpy.load`; once it is written,
    the service knows that the result is safe. A result is kept until it is removed, or until
    [retention] says so.
    """
    with handled(as_json):
        if wish is not Wish.GET:
            options.refuse_given(ctx, ("out",), "is for get")
        if (number is None) != (wish is Wish.LIST):
            raise ParameterError("get and rm take the number of a result, and list takes none")
        options.refuse_both(ctx, "service", "config")
        with reached(config, service) as console:
            answer = _done(wish, number or "", out, console)
        report(answer, as_json, lambda: rows(_lines(answer) or {"results": "none yet"}))


def _done(wish: Wish, number: str, out: Path | None, console: Console) -> dict[str, object]:
    if wish is Wish.LIST:
        return console.ask({"do": "results"})
    if wish is Wish.RM:
        return console.ask({"do": "remove", "name": number})
    if out is None:
        raise ParameterError("get needs --out FILE.npz")
    check_target(out, "--out", suffix=".npz")
    data = console.arrays(number)
    write_whole(out, data, force=True)
    console.ask({"do": "acknowledge", "name": number})
    return {"out": str(out), "bytes": len(data)}


def _lines(answer: dict[str, object]) -> dict[str, object]:
    found = answer.get("results")
    if not isinstance(found, list):
        return answer
    return {
        one["number"][:8]: f"{one['at']}  {one['task']}  {one['contributors']} clients, "
        f"{one['dropped']} dropped"
        for one in found
    }
