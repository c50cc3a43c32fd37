"""Options that several commands share: one spelling, one help text, one default."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
Clients: TypeAlias = Annotated[int, typer.Option(help="The most clients that take part.")]
Length: TypeAlias = Annotated[int, typer.Option(help="Elements of a client's vector.")]
Bits: TypeAlias = Annotated[int, typer.Option(help="Bits of one element.")]
Clip: TypeAlias = Annotated[float, typer.Option(help="Elements lie in [-clip, clip].")]
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
