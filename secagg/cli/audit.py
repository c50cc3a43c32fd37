"""`secagg audit`: does the noise hide canaries as well as a plan promises?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from secagg.cli import options
from secagg.cli.output import handled, report, rows

if TYPE_CHECKING:
    from secagg.frontier.audit import Audit

FLAGGED = 1
"""The exit code where the sum tells more than was promised."""


def audit(
    epsilon: Annotated[float, typer.Option(help="What the plan promises.")] = 2.0,
    delta: Annotated[float, typer.Option(help="Of the promise.")] = 1e-5,
    canaries: Annotated[int, typer.Option(help="Clients, each with one.")] = 400,
    length: Annotated[int, typer.Option(help="Elements: many more than canaries.")] = 16_384,
    bits: options.Bits = 16,
    fault: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="none, or a mistake to be found: half-noise, half-survivors, duplicate, "
            "forgotten-inflation (seen at 5 bits).",
        ),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Of the canaries, and of all that is drawn.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Put canaries into one sum, and see how well it tells that they are there.

    Prints the least epsilon that the noise can have, with 95 % confidence. The exit code is 1 where
    that is above the one that was promised. Encoding, noise and decoding are this library's own;
    masks, which cancel, are left out.
    """
    with handled(as_json):
        from secagg.frontier import audit as audits

        found = audits.audit(
            epsilon,
            delta,
            canaries=canaries,
            length=length,
            bits=bits,
            seed=seed,
            fault=fault,
        )
        answer = {**asdict(found), "flagged": found.flagged}
        report(answer, as_json, lambda: _render(found))
    if found.flagged:
        raise typer.Exit(FLAGGED)


def _render(found: Audit) -> None:
    verdict = "BROKEN" if found.flagged else "not refuted"
    rows(
        {
            "promised": f"epsilon {found.epsilon:g} at delta {found.delta:g}",
            "found": f"epsilon {found.point:.3g}",
            "at least": f"epsilon {found.lower:.3g}, with {found.confidence:.0%} confidence",
            "the promise": verdict,
            "canaries": f"{found.canaries} of {found.length} elements, {found.bits} bits",
            "rounding": f"made them {found.inflation:.3g} times as long",
            "fault": found.fault,
        }
    )
