"""`secagg simulate`: one round in one process, metered and checked against the plain sum."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from secagg.cli import logs, options, private
from secagg.cli.output import handled, notices, report, rows
from secagg.errors import ParameterError
from secagg.fields import FixedPoint, Vector
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.protocol import OneServer, SeveralServers
from secagg.schema import MAX_WEIGHT

if TYPE_CHECKING:
    from secagg.sim import Drop, Simulation
    from secagg.sim.metered import Source

WRONG_SUM = 1
"""The exit code of a round whose sum is not the plain one."""

_FEW = 20
_OF_A_PLAN = (
    *("clients", "corrupt", "dropout", "protocol", "min_clients", "max_weight"),
    *("servers", "direct", "clipped", "roster", "liars"),
)


def simulate(
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
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHASE=RATE", help="These clients never send this message; may be repeated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the inputs and who drops.")] = 0,
    log_level: logs.LogLevel = logs.Level.WARNING,
    log_json: logs.LogJson = False,
    as_json: options.Json = False,
) -> None:
    """Run one round in this process, and check its sum.

    Inputs are generated: client i draws them from numpy's PCG64 seeded by (seed, i). So is the
    noise of a plan with privacy, and the result is labelled as not private.
    """
    logs.configure(log_level, log_json)
    with handled(as_json):
        given = options.values(ctx)
        asked = {name: given[name] for name in _OF_A_PLAN}
        against = adversary.adversary
        plan = choose.plan(**private.asked(ctx, "rounds"), adversary=against, **asked)
        done = _run(plan, [_drop(text) for text in drop or ()], seed)
        report(_figures(plan, done), as_json, lambda: _render(plan, done))
    if not done.exact:
        raise typer.Exit(WRONG_SUM)


def _drop(text: str) -> Drop:
    from secagg.sim import drop_at

    phase, equals, rate = text.partition("=")
    if not equals:
        raise ParameterError(f"--drop takes PHASE=RATE, such as masked-input=0.1, not {text!r}")
    try:
        return drop_at(phase, rate)
    except ParameterError as error:
        raise ParameterError(f"--drop {phase}: {error}") from None


def _run(plan: Plan, drops: list[Drop], seed: int) -> Simulation:
    from secagg import sim

    warm_up(plan)
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn())
    console = notices()
    hidden = not console.is_terminal or logs.in_json()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, heard: int, expected: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=expected)
            bars.update(tasks[phase], completed=heard)

        return sim.run(plan, generated(plan, seed), drop=drops, seed=seed, progress=tell)


def warm_up(plan: Plan) -> None:
    """Loads the compiled kernels, so that no client of the measured round pays for it.

    A round of few clients and short fields, with weights that make the ring as wide.
    """
    from secagg import sim
    from secagg.drive import warm

    schema, clients = plan.schema, min(plan.threat.clients, _FEW)
    if plan.privacy is not None:
        warm.up(plan)
        return
    small = choose.plan(
        clients=clients,
        fields={name: replace(field, length=1) for name, field in schema.given},
        corrupt=0,
        dropout=0,
        protocol=plan.protocol,
        adversary=plan.threat.adversary,
        max_weight=min(schema.clients * schema.max_weight // clients, MAX_WEIGHT),
        servers=plan.threat.servers,
        direct=plan.threat.direct,
        clipped=schema.counts_clipped,
    )
    sim.run(small, generated(small, 0))


def generated(plan: Plan, seed: int) -> Source:
    """Client i draws from numpy's PCG64 seeded by (seed, i): its field uniform in [-clip, clip),
    or of a Vector in the cube around which its norm is a sphere, a row for each of the most
    examples; then its weight uniform from 1 to the plan's max_weight.
    """
    import numpy as np

    from secagg.drive.participant import Contribution
    from secagg.types import PartyId

    def of(me: PartyId) -> Contribution:
        rng = np.random.Generator(np.random.PCG64((seed, me)))
        values = {
            name: rng.uniform(-_most(field), _most(field), _size(plan, field))
            for name, field in plan.schema.fields
            if isinstance(field, FixedPoint | Vector)
        }
        return Contribution(values, int(rng.integers(1, plan.schema.max_weight, endpoint=True)))

    return of


def _most(field: FixedPoint | Vector) -> float:
    return field.clip if isinstance(field, FixedPoint) else field.norm / math.sqrt(field.length)


def _size(plan: Plan, field: FixedPoint | Vector) -> int | tuple[int, int]:
    terms = plan.privacy
    if terms is None or terms.unit == "client":
        return field.length
    return terms.examples, field.length


def _figures(plan: Plan, done: Simulation) -> dict[str, object]:
    return {
        "protocol": plan.protocol,
        "clients": plan.threat.clients,
        "servers": plan.threat.servers,
        "degree": plan.degree,
        "threshold": plan.threshold,
        "exact": done.exact,
        "contributors": len(done.aggregate.contributors),
        "dropped": len(done.aggregate.dropped),
        "clipped": _clipped(done),
        "privacy": private.of_sum(done.aggregate),
        "phases": dict(done.phases),
        "client_seconds": done.client_seconds,
        "server_seconds": done.server_seconds,
        "bytes_up": done.bytes_up,
        "bytes_down": done.bytes_down,
        "server_state_bytes": done.server_state_bytes,
        "peak_rss": done.peak_rss,
    }


def _clipped(done: Simulation) -> int:
    return sum((done.aggregate.report.clipped or {}).values())


def _what(plan: Plan) -> str:
    return "elements" if plan.privacy is None else "vectors"


def _shape(plan: Plan) -> str:
    match plan.info.family:
        case OneServer():
            return f"{plan.degree} neighbours, threshold {plan.threshold}"
        case SeveralServers():
            smallest = plan.params.min_survivors
            return f"{plan.threat.servers} servers, batches of at least {smallest}"


def _render(plan: Plan, done: Simulation) -> None:
    total = done.aggregate
    verdict = "equals the plain sum, bit for bit" if done.exact else "DIFFERS FROM THE PLAIN SUM"
    phases = {f"phase {name}": f"{seconds:.3f} s" for name, seconds in done.phases.items()}
    rows(
        {
            "protocol": f"{plan.protocol}, {_shape(plan)}",
            "result": f"the sum of {len(total.contributors)} clients {verdict}",
            "not in it": f"{len(total.dropped)} of {plan.threat.clients} clients",
            "clipped": f"{_clipped(done)} {_what(plan)} of all inputs",
            **private.lines(private.of_sum(total)),
            **phases,
            "client CPU": f"{done.client_seconds:.4f} s on average",
            "server CPU": f"{done.server_seconds:.3f} s",
            "client sent": f"{done.bytes_up:,.0f} bytes on average",
            "client received": f"{done.bytes_down:,.0f} bytes on average",
            "server state": f"{done.server_state_bytes:,} bytes at its largest",
            "peak memory": f"{done.peak_rss:,} bytes of this process" if done.peak_rss else "n/a",
        }
    )
