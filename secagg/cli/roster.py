"""`secagg roster`: who may take part, from requests to a signed roster of the next epoch."""

from __future__ import annotations

import enum
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options, register
from secagg.cli.enrolling import (
    Whose,
    new_seed,
    parse_key,
    read_enrolment,
    read_roster,
    read_seed,
    write_seed,
)
from secagg.cli.output import handled, report, rows
from secagg.cli.register import KEY, MEMBERS, SIGNED, Register
from secagg.cli.targets import check_target
from secagg.crypto import sign
from secagg.errors import ParameterError
from secagg.roster import Pin, Roster, SignedRoster, moment


class Deed(enum.StrEnum):
    """What to do with a roster."""

    INIT = "init"
    ADD = "add"
    EXCLUDE = "exclude"
    SIGN = "sign"
    VERIFY = "verify"
    SHOW = "show"


_GIVEN = {Deed.ADD: "requests", Deed.EXCLUDE: "names or places"}
_OPTIONS = {
    "server": (Deed.INIT,),
    "not_after": (Deed.SIGN,),
    "admin": (Deed.VERIFY,),
    "epoch": (Deed.VERIFY,),
}


def roster(
    ctx: typer.Context,
    action: Annotated[Deed, typer.Argument(help="What to do, in this order.")],
    where: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE", help="The administrator's folder; to verify or show, a roster."
        ),
    ],
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REQUEST|NAME]...", help="Whom to add, or to exclude."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="PUBLIC", help="With init: the server's public key.")
    ] = None,
    not_after: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="With sign: its last day, as 2027-12-31, in UTC."),
    ] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="PUBLIC", help="With verify: who must have signed it.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="With verify: the lowest epoch that is taken; 0.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Keep the roster of those who may take part where clients sign.

    The folder holds the administrator's key and belongs on a machine without a network; DIR/roster
    is public. Whoever has a place keeps it: who is excluded leaves it empty, in every later epoch.
    Clients take no epoch below the highest that they have seen.
    """
    with handled(as_json):
        for name, deeds in _OPTIONS.items():
            if action not in deeds:
                options.refuse_given(ctx, (name,), f"is for {deeds[0].value}")
        _check_given(action, given)
        match action:
            case Deed.INIT:
                found = _init(where, server)
            case Deed.ADD | Deed.EXCLUDE:
                found = _changed(where, action, given or [])
            case Deed.SIGN:
                found = _signed(where, not_after)
            case Deed.VERIFY:
                found = _verified(where, admin, epoch)
            case Deed.SHOW:
                found = _shown(where)
        report(found, as_json, lambda: rows(_lines(found)))


def _check_given(action: Deed, given: list[str] | None) -> None:
    if action in _GIVEN and not given:
        raise ParameterError(f"{action.value} takes {_GIVEN[action]} after DIR")
    if given and action not in _GIVEN:
        raise ParameterError(f"{action.value} takes no names after DIR|FILE")


def _init(folder: Path, server: str | None) -> dict[str, object]:
    if server is None:
        raise ParameterError("init needs --server PUBLIC, as `secagg identity new` printed it")
    key = parse_key(server, "the server", "secagg identity new")
    if (folder / KEY).exists() or (folder / MEMBERS).exists():
        raise ParameterError(f"{folder} is an administrator's already: its key is never replaced")
    folder.mkdir(mode=0o700, exist_ok=True)
    check_target(folder / KEY, "DIR", force=False)
    seed = new_seed()
    write_seed(folder / KEY, Whose.ADMINISTRATOR, seed)
    made = Register(key)
    register.write(folder, made)
    return {"folder": str(folder), "admin": sign.public_key(seed).hex()}


def _changed(folder: Path, action: Deed, given: list[str]) -> dict[str, object]:
    """All of them, or none."""
    with register.changing(folder) as found:
        first = len(found.entries)
        for one in given:
            if action is Deed.ADD:
                found = found.added(read_enrolment(Path(one)))
            else:
                found = found.excluded(one)
        register.write(folder, found)
    added = range(first, len(found.entries))
    return {"folder": str(folder), "added": list(added), **_counts(found)}


def _signed(folder: Path, not_after: str | None) -> dict[str, object]:
    if not_after is None:
        raise ParameterError(
            "sign needs --not-after DATE, its last day: without an end, who has not seen the next "
            "roster could be shown this one for ever"
        )
    end = _last_second(not_after)
    if end <= time.time():
        raise ParameterError("--not-after is over already, by the clock of this machine")
    with register.changing(folder) as found:
        made = register.sign_next(folder, found, end)
    return {"file": str(folder / SIGNED), **of_file(made)}


def _verified(file: Path, admin: str | None, epoch: int | None) -> dict[str, object]:
    if admin is None:
        raise ParameterError(
            "verify needs --admin PUBLIC, as `secagg roster init` printed it: anybody can sign a "
            "roster with a key of their own"
        )
    pin = Pin(parse_key(admin, "the administrator", "secagg roster init"), epoch or 0)
    signed = read_roster(file, "FILE")
    pin.verify(signed, time.time())
    return {"file": str(file), **of_file(signed)}


def _shown(where: Path) -> dict[str, object]:
    """Of a folder also its members' names, which no roster has."""
    if not where.is_dir():
        return {"file": str(where), **of_file(read_roster(where, "FILE"))}
    found = register.read(where)
    seed = read_seed(where / KEY, Whose.ADMINISTRATOR)
    members = [
        {"place": place, "name": one.name, "key": one.key.hex(), "excluded": one.excluded}
        for place, one in enumerate(found.entries)
    ]
    told = {"folder": str(where), "admin": sign.public_key(seed).hex(), **_counts(found)}
    return told | {"server": found.server.hex(), "list": members}


def _counts(found: Register) -> dict[str, object]:
    excluded = sum(one.excluded for one in found.entries)
    return {
        "epoch": found.epoch,
        "places": len(found.entries),
        "members": len(found.entries) - excluded,
    }


def of_file(signed: SignedRoster) -> dict[str, object]:
    """The JSON of whatever shows a roster, part of that of `secagg inspect`."""
    made: Roster = signed.roster
    return {
        "admin": signed.admin.hex(),
        "epoch": made.epoch,
        "not_after": made.not_after,
        "server": made.server.hex(),
        "places": made.size,
        "members": len(made.members),
        "digest": made.digest.hex(),
    }


def _last_second(text: str) -> int:
    """Of that day, in UTC. ParameterError for what is no date."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        end = day + timedelta(days=1)
    except (ValueError, OverflowError):
        raise ParameterError("--not-after is a day, as 2027-12-31") from None
    return int(end.timestamp()) - 1


def _lines(found: dict[str, object]) -> dict[str, object]:
    """For people: a day and not seconds, and a line for each member."""
    lines = dict(found)
    members = lines.pop("list", [])
    if isinstance(end := lines.get("not_after"), int):
        lines["not_after"] = moment(end)
    if isinstance(members, list):
        for one in members:
            state = "excluded" if one["excluded"] else one["key"]
            lines[f"place {one['place']}"] = f"{one['name']}  {state}"
    return lines
