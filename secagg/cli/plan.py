"""`secagg plan`: what a round would protect, from whom, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secagg.cli import options, private
from secagg.cli.output import handled, report
from secagg.cli.targets import check_target, write_whole
from secagg.plans import choose
from secagg.plans.plan import Plan


def plan(
    ctx: typer.Context,
    clients: options.Clients,
    length: options.Length,
    bits: options.Bits = 16,
    clip: options.Clip = 1.0,
    max_weight: options.MaxWeight = 1,
    corrupt: options.Corrupt = "0.1",
    dropout: options.Dropout = "0.2",
    adversary: options.Adversary = options.Threats.SEMI_HONEST,
    protocol: options.Protocol = None,
    min_clients: options.MinClients = None,
    servers: options.Servers = 1,
    direct: options.Direct = False,
    clipped: options.Clipped = False,
    roster: options.Roster = None,
    liars: options.Liars = 0,
    epsilon: private.Epsilon = None,
    delta: private.Delta = None,
    norm: private.Norm = None,
    unit: private.Unit = private.Units.CLIENT,
    examples: private.Examples = None,
    trust: private.Trust = private.Trusts.DISTRIBUTED,
    rounds: private.Rounds = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan, to pin and to share.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace a file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Explain what a round protects, and what it costs.

    With --epsilon, --delta and --norm its sums have noise (docs/privacy.md).
    """
    with handled(as_json):
        check_target(out, "--out", force=force)
        made = choose.plan(
            **private.asked(ctx, "rounds"),
            clients=clients,
            corrupt=corrupt,
            dropout=dropout,
            adversary=adversary.adversary,
            protocol=protocol,
            min_clients=min_clients,
            max_weight=max_weight,
            servers=servers,
            direct=direct,
            clipped=clipped,
            roster=roster,
            liars=liars,
        )
        if out is not None:
            write_whole(out, made.encode(), force=force)
        report(summary(made), as_json, lambda: typer.echo(made.explain()))


def summary(made: Plan) -> dict[str, object]:
    """The plan in numbers: the JSON of `secagg plan`, and part of that of `secagg inspect`.

    Of an active plan there are more of them, and `liars` is how many it withstands, which may be
    more than were asked for.
    """
    return {
        "protocol": made.protocol,
        "clients": made.threat.clients,
        "servers": made.threat.servers,
        "suite": made.suite.number,
        "roster": made.threat.population,
        "corrupted": made.threat.corrupted,
        "liars": made.threat.liars,
        "structure": len(made.structure),
        "degree": made.degree,
        "threshold": made.threshold,
        "min_clients": made.params.min_clients,
        "min_survivors": made.params.min_survivors,
        "ring_bits": made.ring_bits,
        "upload_bytes": made.upload_bytes,
        "download_bytes": made.cost.download_bytes,
        "expansion": made.expansion,
        "max_error": made.max_error,
        "guarantee": made.guarantee,
        "privacy": private.of_plan(made),
        "digest": made.digest().hex(),
        **made.promise.numbers,
    }
