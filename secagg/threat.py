"""What a plan must withstand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from secagg.arguments import choice, flag, integer, ratio, settle
from secagg.errors import ParameterError
from secagg.types import ADVERSARIES, MAX_CLIENTS, MAX_ROSTER, MAX_SERVERS, Adversary


@dataclass(frozen=True)
class Threat:
    """What a plan must withstand.

    clients: n, the most that take part in a round. corrupt and dropout are exact: 0.1 means 1/10.
    `corrupted` and `dropped` are absolute numbers of clients, rounded up: a tenth of nine clients
    is one, not none. They are fixed when the plan is made and not scaled down when fewer clients
    come (corrupt clients never drop). min_clients: a round starts with no fewer, if it is given.
    servers: how many there are, of whom all but one may collude. direct: clients hold a link to
    each of several servers, and not to the leader alone. liars: how many clients may answer wrongly
    and the sum still is had. roster: of how many a round's n are chosen, where it is more than n:
    all that are corrupt among those may be among these.

    Every number may be numpy's and is kept as Python's. Raises ParameterError with the argument's
    name for what no plan can have.
    """

    clients: int
    corrupt: Fraction
    dropout: Fraction
    adversary: Adversary = "semi-honest"
    min_clients: int | None = None
    servers: int = 1
    direct: bool = False
    liars: int = 0
    roster: int | None = None

    def __post_init__(self) -> None:
        clients = integer("clients", self.clients, 1, MAX_CLIENTS)
        asked, roster = self.min_clients, self.roster
        if asked is not None:
            asked = integer("min_clients", asked, 1, clients)
        if roster is not None:
            roster = integer("roster", roster, clients, MAX_ROSTER)
        values = {
            "clients": clients,
            "corrupt": ratio("corrupt", self.corrupt),
            "dropout": ratio("dropout", self.dropout),
            "adversary": choice("adversary", self.adversary, ADVERSARIES),
            "min_clients": asked,
            "servers": integer("servers", self.servers, 1, MAX_SERVERS),
            "direct": flag("direct", self.direct),
            "liars": integer("liars", self.liars, 0, clients),
            "roster": None if roster == clients else roster,  # one way to say it
        }
        settle(self, **values)
        if self.direct and self.servers == 1:
            raise ParameterError(
                "direct is for plans of several servers: with one there is no other"
            )

    @property
    def one_server(self) -> bool:
        """Whether no share of an input may go to a second one."""
        return self.servers == 1

    @property
    def asked(self) -> int:
        """min_clients as plans write it: 0 where none is asked for."""
        return self.min_clients or 0

    @property
    def population(self) -> int:
        """N: of how many the clients of a round are chosen."""
        return self.roster or self.clients

    @cached_property
    def corrupted(self) -> int:
        """A = min(n, ceil(corrupt N)): wherever they are, all of them may be in one round."""
        return min(self.clients, math.ceil(self.corrupt * self.population))

    @property
    def corruptible(self) -> Fraction:
        """Of a round's clients: the fraction of them that may be corrupt, before it is rounded."""
        return min(Fraction(1), self.corrupt * self.population / self.clients)

    @cached_property
    def dropped(self) -> int:
        """D = ceil(dropout n), every client lost before its last answer, whatever the phase."""
        return math.ceil(self.dropout * self.clients)
