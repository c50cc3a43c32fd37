"""`secagg service`: what an administrator does with a service, on the machine where it runs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from secagg.cli import epochs, options
from secagg.cli.auditing import Head, audit_errand
from secagg.cli.console import Console, reached
from secagg.cli.founding import FILE, found
from secagg.cli.login import logged_in
from secagg.cli.output import FAILED, handled, report, rows
from secagg.errors import ParameterError
from secagg.rights import ServiceRole
from secagg.service.checking import effective, refusals
from secagg.service.config import read


class Errand(enum.StrEnum):
    """What to do with a service."""

    INIT = "init"
    CHECK = "check"
    INVITE = "invite"
    APPROVE = "approve"
    APPOINT = "appoint"
    REVOKE = "revoke"
    LIST = "list"
    STATUS = "status"
    LOGIN = "login"
    OPEN = "open"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    DRAIN = "drain"
    AUDIT = "audit"
    ROSTER = "roster"


_ASKED = frozenset(Errand) - {Errand.INIT, Errand.CHECK, Errand.AUDIT}
"""Of a service that runs."""
_OPTIONS = {
    "name": (Errand.INIT,),
    "address": (Errand.INIT,),
    "trial_ca": (Errand.INIT,),
    "role": (Errand.INVITE, Errand.APPOINT, Errand.LOGIN),
    "task": (Errand.INVITE, Errand.APPOINT, Errand.ROSTER),
    "out": (Errand.ROSTER,),
    "config": (*sorted(_ASKED), Errand.AUDIT),
    "service": (*sorted(_ASKED - {Errand.ROSTER}),),
    "head": (Errand.AUDIT,),
}
_ALONE = (Errand.LIST, Errand.STATUS, Errand.LOGIN, Errand.DRAIN)
"""Which are about nothing in particular."""
_What: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="DIR|FILE|NAME|TASK|verify|export|import",
        help="To init a folder; to check a file, or one of that name in a folder, or here; to "
        "invite, approve, appoint or revoke a name; to open, pause, resume or cancel a task; of "
        "the audit, to verify it; of rosters, what to do.",
    ),
]
_Name: TypeAlias = Annotated[
    str | None, typer.Option(help="With init: the host's name, as clients will call it.")
]
_Role: TypeAlias = Annotated[
    str,
    typer.Option(
        help="With invite and appoint: what somebody will be; with login: operator, or else viewer."
    ),
]
_Roster: TypeAlias = Annotated[
    Path | None, typer.Argument(metavar="ROSTER", help="To import: the signed roster.")
]
_Task: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="With invite and appoint: of which task; several for some roles. With roster export: "
        "of whose roster, where there are several."
    ),
]
_Out: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="With roster export: for the requests.")
]


def service(
    ctx: typer.Context,
    errand: Annotated[Errand, typer.Argument(help="What to do.")],
    what: _What = None,
    file: _Roster = None,
    name: _Name = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="With init: where it will listen.")
    ] = None,
    trial_ca: Annotated[
        bool,
        typer.Option("--trial-ca", help="With init: certificates of an authority of its own."),
    ] = False,
    role: _Role = "client",
    task: _Task = None,
    out: _Out = None,
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="Of the service that runs, to ask it something.")
    ] = Path(FILE),
    head: Head = None,
    service: options.Service = None,
    as_json: options.Json = False,
) -> None:
    """Set up a service, see what its configuration means, and say who may come.

    `init` makes a folder with a configuration to edit, the server's identity and, with --trial-ca,
    certificates; what is there stays as it is. `check` prints every value that is in force,
    defaults included, and all for which the service would not start: the exit code is 2 then.
    `invite` prints a code for `secagg enrol`, good once and for 7 days; who has enrolled waits
    until `approve`. `appoint` gives somebody another role, or other tasks; `revoke` is for good,
    and ends its links at once. `login` prints a link for a browser, good once and for 10 minutes,
    as a viewer or --role operator. `roster export` writes the requests of clients whom the next
    roster lacks, for `secagg roster add` on its administrator's machine, and `roster import` takes
    what was signed there.

    `open` has a task's next round begin before its time. `pause` lets no further round of a task
    begin until `resume`, also where failures have paused it; `cancel` ends the one that runs.
    `drain` lets no round of any task begin, until the service is started again or a task resumed.
    `audit verify` follows the chain of the audit in the store and in its copy, whether the service
    runs or not: the exit code is 1 where a line is broken, or the two differ.

    The owner asks on the service's machine, by --config. An operator or admin who is enrolled asks
    from elsewhere, by --service, what its role may.
    """
    with handled(as_json):
        _check_given(ctx, errand)
        if errand is Errand.CHECK:
            return _check(Path(what or FILE), as_json)
        if errand is Errand.AUDIT:
            return audit_errand(what or "", config, head, as_json)
        if errand is Errand.INIT:
            answer = _made(Path(what or ""), name, trial_ca, address)
        elif errand is Errand.ROSTER:
            answer = epochs.carried(what or "", file, out, task or [], config)
        else:
            asked = _asked(errand, what or "", role if options.given(ctx, "role") else None, task)
            with reached(config, service) as console:
                answer = _said(errand, asked, console)
        report(answer, as_json, lambda: _print(answer))


def _check_given(ctx: typer.Context, errand: Errand) -> None:
    """ParameterError for what this errand does not take."""
    for option, errands in _OPTIONS.items():
        if errand not in errands:
            options.refuse_given(ctx, (option,), f"is for {', '.join(errands)}")
    given = options.values(ctx)
    what, file = given["what"], given["file"]
    if what is not None and errand in _ALONE:
        raise ParameterError(f"{errand} takes nothing after it")
    if what is None and errand not in (*_ALONE, Errand.CHECK):
        raise ParameterError(f"{errand} of what? `secagg service {errand} {_of(errand)}`")
    if file is not None and (errand, what) != (Errand.ROSTER, "import"):
        raise ParameterError("only `roster import` takes a file after it")
    options.refuse_both(ctx, "service", "config")


def _of(errand: Errand) -> str:
    """What comes after it."""
    if errand in (Errand.INIT, Errand.AUDIT):
        return "DIR" if errand is Errand.INIT else "verify"
    if errand is Errand.ROSTER:
        return "export|import"
    of_tasks = (Errand.OPEN, Errand.PAUSE, Errand.RESUME, Errand.CANCEL)
    return "TASK" if errand in of_tasks else "NAME"


def _made(folder: Path, name: str | None, trial_ca: bool, address: str | None) -> dict[str, object]:
    if name is None:
        raise ParameterError("a service has a --name: the host's, as clients will call it")
    return found(folder, name, trial_ca, datetime.now(UTC), address)


def _asked(errand: Errand, what: str, role: str | None, tasks: list[str] | None) -> dict[str, Any]:
    if errand in _ALONE:
        return {"do": errand.value} | ({} if role is None else {"role": role})
    asked: dict[str, Any] = {"do": errand.value, "name": what}
    if errand in (Errand.INVITE, Errand.APPOINT):
        asked |= {"role": role or ServiceRole.CLIENT.word, "tasks": tasks or []}
    return asked


def _said(errand: Errand, asked: dict[str, Any], console: Console) -> dict[str, object]:
    if errand is Errand.LOGIN:
        return logged_in(console, asked.get("role"))
    return console.ask(None if errand is Errand.STATUS else asked)


def _print(answer: Mapping[str, object]) -> None:
    """Of an invitation the code alone, which goes into another command, and of a login the link."""
    if (alone := answer.get("code") or answer.get("link")) is not None:
        typer.echo(str(alone))
    else:
        rows(_lines(answer))


def _lines(answer: Mapping[str, object]) -> dict[str, object]:
    """A line for each thing, and of entries and tasks one each."""
    entries = answer.get("entries")
    if isinstance(entries, list):
        return {
            str(one["name"]): f"{one['state']}  {one['role']} of {', '.join(one['tasks'])}  "
            f"{one['key'] or 'no key yet'}"
            for one in entries
        }
    flat: dict[str, object] = {}
    _flatten("", answer, flat)
    return flat


def _check(file: Path, as_json: bool) -> None:
    reading = read(file / FILE if file.is_dir() else file)
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
