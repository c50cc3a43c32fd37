"""`secagg task`: a plan and the public keys of those who run it, for everybody to pin."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from secagg.cli import keyfile, options, pinned, private
from secagg.cli.enrolling import places_for, read_roster
from secagg.cli.output import handled, report
from secagg.cli.plan import summary
from secagg.cli.range import agreed, parse, terms
from secagg.cli.targets import check_target, write_whole
from secagg.committee import Committee, ServerKeys
from secagg.crypto import agree, sign
from secagg.errors import ParameterError
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.plans.task import Members, Task
from secagg.plans.terms import Terms
from secagg.roster import Pin, SignedRoster
from secagg.wire.frame import payload_digest

_OF_A_PLAN = (
    *("clients", "length", "bits", "clip", "max_weight"),
    *("corrupt", "dropout", "adversary", "min_clients", "clipped", "direct", "roster"),
    *(*private.NAMES, "rounds"),
)


_OF_SEVERAL = ("collector", "epoch", "direct")
_HAS_SERVERS = "is of several servers: give each one's --server"

_Collector: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PUBLIC", help="With --server: the collector's public key.")
]
_Clients: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The most clients of a round, or reports of a batch; or a range, as in 5..12, of "
        "which a service plans each round for those that come.",
    ),
]
_Members: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The signed roster of the clients, of `secagg roster`: the plan is then against a "
        "server that deviates.",
    ),
]
_Payload: TypeAlias = Annotated[
    Path | None, typer.Option(help="What clients are to compute: every one needs these bytes.")
]


def task(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the task here.")],
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PUBLIC", help="A public key of each of several servers, the leader first."
        ),
    ] = None,
    collector: _Collector = None,
    epoch: options.Epoch = None,
    plan: Annotated[
        Path | None, typer.Option(help="The plan, of `secagg plan --out`; or its sizes:")
    ] = None,
    clients: _Clients = None,
    length: Annotated[int | None, typer.Option(help="Elements of a client's vector.")] = None,
    bits: options.Bits = 16,
    clip: options.Clip = 1.0,
    max_weight: options.MaxWeight = 1,
    corrupt: options.Corrupt = "0.1",
    dropout: options.Dropout = "0.2",
    adversary: options.Adversary = options.Threats.SEMI_HONEST,
    min_clients: options.MinClients = None,
    direct: options.Direct = False,
    clipped: options.Clipped = False,
    roster: options.Roster = None,
    members: _Members = None,
    epsilon: private.Epsilon = None,
    delta: private.Delta = None,
    norm: private.Norm = None,
    unit: private.Unit = private.Units.CLIENT,
    examples: private.Examples = None,
    trust: private.Trust = private.Trusts.DISTRIBUTED,
    rounds: private.Rounds = 1,
    payload: _Payload = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace a file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write the task of a sum, and explain what it protects.

    The file is public, and everything hangs on it: clients, servers and the collector take it, or
    its digest, from somebody who is none of the servers, or compare digests with each other.
    Without --server it is of one server: `serve --task` announces it, and `join --task` takes part
    in nothing else. With a range of --clients it is the terms of a service's task: of --roster at
    most are a round's clients chosen, and `join --task` takes part in the plans that follow.
    """
    with handled(as_json):
        check_target(out, "--out", force=force)
        made = _made(ctx)
        write_whole(out, made.encode(), force=force)
        if isinstance(made, Terms):
            report(agreed(made), as_json, lambda: typer.echo(made.explain()))
        else:
            report(described(made), as_json, lambda: _render(made))


def _made(ctx: typer.Context) -> Task | Terms:
    given = options.values(ctx)
    server, clients = given["server"] or (), parse(given["clients"])
    if isinstance(clients, tuple):
        return terms(ctx, clients)
    if not server:
        options.refuse_given(ctx, _OF_SEVERAL, _HAS_SERVERS)
    behind = _members(server, given["collector"], given["epoch"], given["members"])
    return Task(
        _given(ctx, given["plan"]) or _planned(ctx, clients, max(1, len(server)), behind),
        behind,
        payload_digest(pinned.read_payload(given["payload"])),
    )


def described(made: Task) -> dict[str, object]:
    """The JSON of `secagg task`, and part of that of `secagg inspect`, where one server has no
    keys."""
    return {
        "digest": made.digest().hex(),
        **_keys(made.members),
        "payload_digest": made.payload_digest.hex(),
        "plan": summary(made.plan),
    }


def _keys(members: Members) -> dict[str, object]:
    none: dict[str, object] = {"epoch": None, "server_keys": [], "collector_key": None}
    match members:
        case Committee(servers=servers, collector=collector, epoch=epoch):
            listed = [(one.sealing + one.signing).hex() for one in servers]
            return {"epoch": epoch, "server_keys": listed, "collector_key": collector.hex()}
        case SignedRoster(roster=roster, admin=admin):
            found = {"admin_key": admin.hex(), "roster_digest": roster.digest.hex()}
            return none | {"epoch": roster.epoch, "server_keys": [roster.server.hex()]} | found
    return none


def _given(ctx: typer.Context, path: Path | None) -> Plan | None:
    if path is None:
        return None
    options.refuse_given(ctx, _OF_A_PLAN, "is already in the --plan: give one of them, not both")
    return pinned.read_plan(path)


def _planned(ctx: typer.Context, clients: int | None, servers: int, members: Members) -> Plan:
    given = options.values(ctx)
    if clients is None or given["length"] is None:
        raise ParameterError("a task needs --plan FILE, or --clients and --length")
    names = ("max_weight", "corrupt", "dropout", "min_clients", "direct", "clipped")
    asked = {name: given[name] for name in (*names, "roster")}
    asked["adversary"] = options.Threats(given["adversary"]).adversary
    match members:
        case SignedRoster():
            size = places_for(members, clients)
            asked |= {"adversary": "active", "roster": asked["roster"] or size}
    return choose.plan(clients=clients, servers=servers, **private.asked(ctx, "rounds"), **asked)


def _members(
    server: Sequence[str], collector: str | None, epoch: int | None, members: Path | None
) -> Members:
    if server and members:
        raise ParameterError("--server is of several servers, and --members of one: give one")
    if server:
        return _committee(server, collector, epoch)
    if members is None:
        return None
    signed = read_roster(members, "--members")
    Pin(signed.admin).verify(signed, time.time())  # a task of one that is over is of no use
    return signed


def _committee(server: Sequence[str], collector: str | None, epoch: int | None) -> Committee:
    if collector is None or epoch is None:
        raise ParameterError("a task of several servers needs --collector PUBLIC and --epoch")
    return Committee(
        tuple(_server(text, index) for index, text in enumerate(server)),
        keyfile.parse_public(collector, agree.KEY_SIZE, "the collector"),
        epoch,
    )


def _server(text: str, index: int) -> ServerKeys:
    size = agree.KEY_SIZE + sign.KEY_SIZE
    key = keyfile.parse_public(text, size, f"server {index}")
    return ServerKeys(key[: agree.KEY_SIZE], key[agree.KEY_SIZE :])


def _render(made: Task) -> None:
    typer.echo(made.plan.explain())
    typer.echo(f"Digest of this task: {made.digest().hex()}")
