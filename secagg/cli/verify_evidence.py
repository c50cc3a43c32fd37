"""`secagg verify-evidence`: whom a file convicts, and whether a server has told two stories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secagg.cli import options, proving
from secagg.cli.files import read_at_most
from secagg.cli.output import handled, report, rows
from secagg.cli.proving import NOT_VERIFIED, judging
from secagg.cli.targets import check_target, write_whole
from secagg.errors import ParameterError, SecAggError

if TYPE_CHECKING:
    from secagg.proved import Verdict
    from secagg.roster import SignedRoster

MAX_FILES = 1 << 10
NOBODY = "nobody: nothing in these files is a proof, and it proves nobody honest either"


def verify_evidence(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    roster: proving.RosterFile,
    admin: proving.Admin = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write here the first evidence that comparing gives."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check evidence: whom it convicts, and of what.

    Of transcripts, and of what clients were told, all that are given are compared: a server that
    told two of them different things has signed both. The exit code is 1 where nobody is convicted,
    or a file is not what it says.
    """
    with handled(as_json):
        from secagg import verify

        if len(files) > MAX_FILES:
            raise ParameterError(f"at most {MAX_FILES} files at once")
        if out is not None:
            check_target(out, "--out", force=False)
        signed = proving.read(roster, admin)
        given = [read_at_most(file, verify.MAX_TRANSCRIPT, "FILE") for file in files]
        with judging(as_json):
            found = _judged(dict(zip(files, given, strict=True)), signed)
        made = [proof for _, proof in found if proof not in given]
        if out is not None and made:
            write_whole(out, made[0], force=False)
        verdicts = [verdict for verdict, _ in found]
        report(_answer(files, verdicts), as_json, lambda: _render(verdicts))
    if not found:
        raise typer.Exit(NOT_VERIFIED)


def _judged(given: dict[Path, bytes], signed: SignedRoster) -> tuple[tuple[Verdict, bytes], ...]:
    """As `verify.judged`. What is wrong is said of the file, as whoever compares what others have
    sent leaves out the one that is damaged."""
    from secagg import verify

    try:
        return verify.judged([*given.values()], signed)
    except SecAggError:
        for file, data in given.items():
            try:
                verify.judged([data], signed)
            except SecAggError as error:
                raise type(error)(f"{file}: {error}") from None
        raise


def _answer(files: list[Path], verdicts: list[Verdict]) -> dict[str, object]:
    """Where nobody is convicted also as what is refused is said."""
    none = {"error": "NotProved", "message": NOBODY}
    return {
        "files": [str(file) for file in files],
        "verified": bool(verdicts),
        "verdicts": [_numbers(verdict) for verdict in verdicts],
        **({} if verdicts else none),
    }


def _numbers(verdict: Verdict) -> dict[str, object]:
    return {
        "charge": verdict.charge.value,
        "who": verdict.who,
        "party": verdict.party,
        "key": verdict.key.hex(),
        "what": verdict.what,
        "admin": verdict.admin.hex(),
        "epoch": verdict.epoch,
        "about": verdict.about.hex(),
    }


def _render(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        rows(
            {
                "CONVICTED": verdict.who,
                "of": f"{verdict.charge.value}: {verdict.what}",
                "key": verdict.key.hex(),
                "roster": f"epoch {verdict.epoch}, signed by {verdict.admin.hex()}",
                "in": f"the session or round {verdict.about.hex()}",
            }
        )
    if not verdicts:
        rows({"convicted": NOBODY})
