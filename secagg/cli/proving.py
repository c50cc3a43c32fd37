"""What both commands share that verify offline: the roster, and how they say no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from secagg.cli.enrolling import parse_key, read_roster
from secagg.cli.output import fail, warn
from secagg.errors import SecAggError
from secagg.roster import Pin, SignedRoster

NOT_VERIFIED = 1
"""The exit code where a file is not what it says, or convicts nobody."""

RosterFile: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--roster",
        metavar="FILE",
        show_default=False,
        help="The signed roster that was in force, also if it is over by now.",
    ),
]
Admin: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="PUBLIC", help="Who must have signed the roster, as clients pin it."),
]


def read(roster: Path, admin: str | None) -> SignedRoster:
    """A roster says by itself only that somebody has signed it: who that is, is said aloud."""
    signed = read_roster(roster, "--roster")
    if admin is None:
        warn(
            f"the roster is signed by {signed.admin.hex()}: whether that is your administrator "
            "--admin PUBLIC would check"
        )
    else:
        Pin(parse_key(admin, "the administrator", "secagg roster init")).check_admin(signed.admin)
    return signed


@contextmanager
def judging(as_json: bool) -> Iterator[None]:
    """Whatever is wrong from here on is wrong with the file, and no wrong use of the command."""
    try:
        yield
    except SecAggError as error:
        fail(type(error).__name__, f"not verified: {error}", as_json)
        raise typer.Exit(NOT_VERIFIED) from None


def places(members: frozenset[int]) -> str:
    """How many, and which: runs of three and more as 4-9."""
    ordered = sorted(members)
    runs: list[list[int]] = []
    for place in ordered:
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    said = ", ".join(
        f"{first}-{last}" if last > first + 1 else ", ".join(map(str, range(first, last + 1)))
        for first, last in runs
    )
    return f"{len(ordered)}: {said}" if ordered else "nobody"
