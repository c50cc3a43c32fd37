"""Options that several commands share: one spelling, one help text, one default."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from secagg import arguments, types
from secagg.errors import ParameterError
from secagg.rounds.clock import MAX_DEADLINE

MAX_ROUNDS = 1_000_000
MAX_BATCHES = 65_536
"""A server makes room for each when it starts."""


class Threats(enum.StrEnum):
    """The adversaries, spelt as on the command line."""

    SEMI_HONEST = "semi-honest"
    ACTIVE = "active"

    @property
    def adversary(self) -> types.Adversary:
        return "active" if self is Threats.ACTIVE else "semi-honest"


class Role(enum.StrEnum):
    """Among several servers."""

    LEADER = "leader"
    HELPER = "helper"


Adversary: TypeAlias = Annotated[
    Threats,
    typer.Option(
        help="semi-honest: the server and those who collude follow the protocol. active: they do "
        "as they like, and clients sign by keys of a roster."
    ),
]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Seconds until the server is reached, also when it is lost; if given, a round may "
        "last as long beyond its deadlines, else 300. With --task: until the report is stored."
    ),
]
InputName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="What this vector is called: it is in at most one sum by that name, of this command "
        "or, with --ledger, of all that have the same file.",
    ),
]
LedgerFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        help="Remember here which inputs were used, before they leave: later commands with this "
        "file give none a second time. Made if there is none; put no older copy of it back.",
    ),
]


BudgetFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--budget",
        metavar="FILE",
        help="Charge each round to this budget, of `secagg budget new`, before a key leaves, and "
        "decline what does not fit. A --ledger is its anchor.",
    ),
]
Told: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--budget",
        metavar="FILE",
        help="Record what each sum tells in this budget, of `secagg budget new`, before anybody "
        "hears of it. Nothing is refused: clients have budgets of their own.",
    ),
]
Service: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="In the place of --config: of somebody who was enrolled for a service."
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
Clients: TypeAlias = Annotated[int, typer.Option(help="The most clients that take part.")]
SomeClients: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="The most clients that take part. Each link is an open file; a limit of the process "
        "(ulimit -n) that is too low is refused first."
    ),
]
_LENGTH = "Elements of a client's vector: of an array with more dimensions all, row by row."
Length: TypeAlias = Annotated[int, typer.Option(help=_LENGTH)]
SomeLength: TypeAlias = Annotated[int | None, typer.Option(help=_LENGTH)]
Bits: TypeAlias = Annotated[int, typer.Option(help="Bits of one element.")]
SomeBits: TypeAlias = Annotated[int | None, typer.Option(help="Bits of one element.")]
Clip: TypeAlias = Annotated[float, typer.Option(help="Elements lie in [-clip, clip].")]
Clipped: TypeAlias = Annotated[
    bool,
    typer.Option("--clipped", help="Reveal too how many elements of all inputs were clipped."),
]
MaxWeight: TypeAlias = Annotated[int, typer.Option(help="The largest weight of a client.")]
# strings, because a fraction is taken as the decimal that was typed
Corrupt: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="FRACTION",
        help="Clients that may collude with the server, rounded up.",
    ),
]
Dropout: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="FRACTION",
        help="Clients that may be lost before their last answer, in whatever phase; rounded up.",
    ),
]
Protocol: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Default: secagg up to 50 clients, or 300 of an active plan, else the cheapest.",
    ),
]
MinClients: TypeAlias = Annotated[
    int | None,
    typer.Option(help="End a round that starts with fewer. Default: by protocol."),
]
Servers: TypeAlias = Annotated[
    int, typer.Option(help="Servers that hold shares; with one, the others protect each input.")
]
Roster: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Of how many a round's clients are chosen: the corrupt are counted among all of them. "
        "Default: those that take part."
    ),
]
Liars: TypeAlias = Annotated[
    int,
    typer.Option(
        help="Clients that may answer wrongly, besides those that drop; unless the plan is active, "
        "of the complete graph only."
    ),
]
Direct: TypeAlias = Annotated[
    bool, typer.Option("--direct", help="Clients reach every server; else one, which relays.")
]
TaskFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The task: its plan, its payload, and of several servers their keys."
    ),
]
Epoch: TypeAlias = Annotated[
    int | None,
    typer.Option(help="A number never used before with these keys: each epoch is its own."),
]
Urls: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="URL...", help="wss://HOST:PORT, or ws:// on loopback; several for some tasks."
    ),
]
SomeUrls: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="URL...", help="wss://HOST:PORT, or ws:// on loopback; several for some tasks."
    ),
]
SiteFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--service", metavar="FILE", help="In the place of a URL: as `secagg enrol` wrote it."
    ),
]
ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Of a service; everything else is in there."),
]
Input: TypeAlias = Annotated[
    Path, typer.Option("--input", metavar="FILE.npy", help="The vector; the same in every round.")
]
Host: TypeAlias = Annotated[str, typer.Option(help="A loopback address: TLS ends before us.")]
Port: TypeAlias = Annotated[int, typer.Option(help="0 takes a free one.")]
PortFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="Write the bound port here, whole or not at all.")
]
Rounds: TypeAlias = Annotated[
    int, typer.Option(min=1, max=MAX_ROUNDS, help="Rounds, over the same connections.")
]
Deadline: TypeAlias = Annotated[float, typer.Option(help="Seconds that each phase lasts at most.")]
Wait: TypeAlias = Annotated[
    float, typer.Option(help="Seconds to wait for all clients; then start with who is there.")
]
Means: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME.npy",
        help="Write the mean of the last round that had one; of several rounds each as well, as "
        "NAME-0001.npy and so on.",
    ),
]
ServerRole: TypeAlias = Annotated[
    Role | None, typer.Option(help="Be one of several servers; with the options below.")
]
KeyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="This server's key, of `secagg keys`; with --members its identity, of `secagg "
        "identity`.",
    ),
]
Members: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The signed roster of the clients, of `secagg roster`: they sign what they say, "
        "against a server that deviates.",
    ),
]
Transcripts: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="With --members: what was signed in each round, for anybody to verify."
    ),
]
ToldFolder: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--told",
        metavar="DIR",
        help="With --identity: keep what the server has signed, to compare it with others' by "
        "`secagg verify-evidence`.",
    ),
]
IdentityFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        help="Sign with this key, of `secagg identity`; needs --ledger.",
    ),
]
Admin: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="HEX", help="With --identity: the key of whoever signs the roster."),
]
PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="With --identity: what this client demands, in TOML."
    ),
]
Store: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What one of several servers keeps across restarts; with --members, of a round that a "
        "restart ends, its transcript. Else a server alone keeps nothing: clients that have not "
        "proved who they are cannot come back to a round.",
    ),
]
Peers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="URL", help="A leader's: each helper's, in the task's order."),
]
Batches: TypeAlias = Annotated[
    int, typer.Option(min=1, max=MAX_BATCHES, help="Sums of this epoch.")
]
Patience: TypeAlias = Annotated[
    float, typer.Option(help="Seconds to wait for another server before a batch ends.")
]
Linger: TypeAlias = Annotated[
    float, typer.Option(help="Seconds that the collector has after the last batch.")
]
CollectOnly: TypeAlias = Annotated[
    bool, typer.Option("--collect-only", help="Of a closed epoch: give out its totals again.")
]


def deadline(value: float) -> float:
    """The --deadline of a phase, in seconds. ParameterError for what is none."""
    if arguments.seconds("--deadline", value) >= MAX_DEADLINE:
        raise ParameterError(f"--deadline must be below {MAX_DEADLINE} seconds, not {value}")
    return value


def refuse_given(ctx: typer.Context, names: tuple[str, ...], why: str) -> None:
    """ParameterError if one of these parameters was typed: it would change nothing, in silence."""
    for param in ctx.command.params:
        if param.name in names and given(ctx, param.name):
            flag = param.opts[0]  # of an argument: its own name, in lower case
            called = flag if flag.startswith("-") else f"a {flag.removesuffix('s').upper()}"
            raise ParameterError(f"{called} {why}")


def refuse_both(ctx: typer.Context, one: str, other: str) -> None:
    """ParameterError where both were typed, as one of them would change nothing."""
    if given(ctx, one):
        refuse_given(ctx, (other,), f"and --{one} are two ways to say which service")


def values(ctx: typer.Context) -> dict[str, Any]:
    """All parameters as a command's arguments have them, by name. In `ctx.params` older releases of
    typer, as the 0.20 of a machine with Flower, have a path as a text."""
    kinds = {str(one.name): getattr(one, "type", None) for one in ctx.command.params}
    paths = {name for name, kind in kinds.items() if hasattr(kind, "resolve_path")}
    return {name: _as_path(v) if name in paths else v for name, v in ctx.params.items()}


def _as_path(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [Path(one) for one in value]
    return None if value is None else Path(value)


def given(ctx: typer.Context, name: str) -> bool:
    """Whether this parameter was typed."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
