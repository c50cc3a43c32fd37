"""`secagg verify-transcript`: whether a round was what its server wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secagg.cli import options, proving
from secagg.cli.files import read_at_most
from secagg.cli.output import handled, report, rows
from secagg.cli.proving import judging, places

if TYPE_CHECKING:
    from secagg.proved import Verified

UNCHECKED = (
    "whether the sum is that of the inputs: no vector and no share is in a transcript, and nobody "
    "can tell without them"
)


def verify_transcript(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    roster: proving.RosterFile,
    admin: proving.Admin = None,
    as_json: options.Json = False,
) -> None:
    """Check a round's transcript: who took part, and that all of them signed it.

    Offline, from the file and the roster alone: every signature, the sets, the graph, the quorum
    and the digest of the result. It cannot check the sum itself. The exit code is 1 for a file that
    is not what it says.
    """
    with handled(as_json):
        from secagg import verify

        signed = proving.read(roster, admin)
        data = read_at_most(file, verify.MAX_TRANSCRIPT, "FILE")
        with judging(as_json):
            found = verify.verify_transcript(data, signed)
        answer = {"file": str(file), "verified": True, **_numbers(found), "unchecked": UNCHECKED}
        report(answer, as_json, lambda: rows(_lines(found)))


def _numbers(found: Verified) -> dict[str, object]:
    return {
        "finished": found.finished,
        "protocol": found.protocol,
        "admin": found.admin.hex(),
        "epoch": found.epoch,
        "places": found.places,
        "plan": found.plan_digest.hex(),
        "payload_digest": found.payload_digest.hex(),
        "nonce": found.nonce.hex(),
        "session": found.session.hex(),
        "degree": found.degree,
        "threshold": found.threshold,
        "signers": found.signers,
        "quorum": found.quorum,
        "members": sorted(found.members),
        "sharers": _sorted(found.sharers),
        "survivors": _sorted(found.survivors),
        "agreed": _sorted(found.agreed),
        "answered": _sorted(found.answered),
        "result": found.result.hex() if found.result else None,
        "head": found.head.hex(),
    }


def _sorted(members: frozenset[int] | None) -> list[int] | None:
    return None if members is None else sorted(members)


def _lines(found: Verified) -> dict[str, object]:
    """For people: who, in the order of a round."""
    complete = found.degree == len(found.members) - 1
    graph = "complete" if complete else f"{found.degree} neighbours of each"
    reached = {
        "took part": found.members,
        "shared keys": found.sharers,
        "are in the sum": found.survivors,
        "agreed on that": found.agreed,
        "opened shares": found.answered,
    }
    return {
        "the transcript": "VERIFIED" if found.finished else "VERIFIED, of a round without a result",
        "protocol": f"{found.protocol}, plan {found.plan_digest.hex()}",
        "roster": f"epoch {found.epoch}, {found.places} places, signed by {found.admin.hex()}",
        "session": found.session.hex(),
        "graph": f"{graph}, {found.threshold} shares open a secret",
        **{name: _who(members) for name, members in reached.items()},
        "quorum": f"{found.quorum} of {found.signers} signers are needed",
        "result": found.result.hex() if found.result else "none was signed",
        "not checked": UNCHECKED,
    }


def _who(members: frozenset[int] | None) -> str:
    return "it did not come to that" if members is None else places(members)
