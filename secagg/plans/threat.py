"""What a plan must withstand, from what a caller or a peer says of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from secagg import arguments
from secagg.arguments import choice, flag, integer
from secagg.errors import ParameterError
from secagg.types import ADVERSARIES, MAX_CLIENTS, MAX_SERVERS, Threat

Exact: TypeAlias = int | float | str | Fraction | Decimal
"""A fraction, taken as the decimal it prints as: 0.1 is 1/10, not the nearest binary float."""


def threat_of(
    clients: int, corrupt: Exact, dropout: Exact, adversary: str, min_clients: int | None
) -> Threat:
    """A Threat of one server from what a caller typed; ParameterError with the argument's name."""
    clients = integer("clients", clients, 1, MAX_CLIENTS)
    if min_clients is not None:
        min_clients = integer("min_clients", min_clients, 1, clients)
    known = choice("adversary", adversary, ADVERSARIES)
    return Threat(
        clients, _exact("corrupt", corrupt), _exact("dropout", dropout), known, min_clients
    )


def with_servers(threat: Threat, servers: int, direct: bool) -> Threat:
    """Not written into a plan's threat: its parameters say them."""
    servers = integer("servers", servers, 1, MAX_SERVERS)
    if flag("direct", direct) and servers == 1:
        raise ParameterError("direct is for plans of several servers: with one there is no other")
    return replace(threat, servers=servers, direct=direct)


def _exact(what: str, value: Exact) -> Fraction:
    fraction = arguments.fraction(what, value)
    if fraction == 1:
        raise ParameterError(f"{what} must lie in [0, 1), not be all of them")
    if fraction.denominator >> 32:
        raise ParameterError(
            f"{what} is not a ratio of two 32-bit integers; write it with fewer "
            'digits, or as a string or Fraction such as "1/3"'
        )
    return fraction
