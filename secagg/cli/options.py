"""Options that several commands share: one spelling, one help text, one default."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Role(enum.StrEnum):
    """Among several servers."""

    LEADER = "leader"
    HELPER = "helper"


Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
Clients: TypeAlias = Annotated[int, typer.Option(help="The most clients that take part.")]
Length: TypeAlias = Annotated[int, typer.Option(help="Elements of a client's vector.")]
Bits: TypeAlias = Annotated[int, typer.Option(help="Bits of one element.")]
Clip: TypeAlias = Annotated[float, typer.Option(help="Elements lie in [-clip, clip].")]
Clipped: TypeAlias = Annotated[
    bool,
    typer.Option("--clipped", help="Reveal too how many elements of all inputs were clipped."),
]
MaxWeight: TypeAlias = Annotated[int, typer.Option(help="The largest weight of a client.")]
# strings, because a fraction is taken as the decimal that was typed
Corrupt: TypeAlias = Annotated[
    str, typer.Option(metavar="FRACTION", help="Clients that may collude with the server.")
]
Dropout: TypeAlias = Annotated[
    str, typer.Option(metavar="FRACTION", help="Clients that may be lost, in any phase.")
]
Protocol: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Default: the cheapest that is feasible.")
]
MinClients: TypeAlias = Annotated[
    int | None, typer.Option(help="End a round that starts with fewer. Default: by protocol.")
]
Servers: TypeAlias = Annotated[
    int, typer.Option(help="Servers that hold shares; with one, the others protect each input.")
]
Direct: TypeAlias = Annotated[
    bool, typer.Option("--direct", help="Clients reach every server; else one, which relays.")
]
TaskFile: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The task of a sum over several servers.")
]
Host: TypeAlias = Annotated[str, typer.Option(help="A loopback address: TLS ends before us.")]
Port: TypeAlias = Annotated[int, typer.Option(help="0 takes a free one.")]
PortFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="Write the bound port here, whole or not at all.")
]
ServerRole: TypeAlias = Annotated[
    Role | None, typer.Option(help="Be one of several servers; with the options below.")
]
KeyFile: TypeAlias = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="This server's key, of `secagg keys`.")
]
Store: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What this server keeps across restarts.")
]
Peers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="URL", help="A leader's: each helper's, in the task's order."),
]
Batches: TypeAlias = Annotated[int, typer.Option(min=1, help="Sums of this epoch.")]
Patience: TypeAlias = Annotated[
    float, typer.Option(help="Seconds to wait for another server before a batch ends.")
]
Linger: TypeAlias = Annotated[
    float, typer.Option(help="Seconds that the collector has after the last batch.")
]
CollectOnly: TypeAlias = Annotated[
    bool, typer.Option("--collect-only", help="Of a closed epoch: give out its totals again.")
]
