"""Who takes part in a round: by arrival, by lot, or as the application says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from secagg.effects import Peer
from secagg.errors import ParameterError
from secagg.plans.plan import Plan
from secagg.types import Fault, Randomness, system_randomness

# Theory of operation.
#
# A place belongs to nobody: a peer that has missed its last rounds comes after all that have not,
# so one silent phone costs its round a deadline once, and the next round only where nobody else is
# there. Who says how many of the candidates may be corrupt is the plan, and it counts them among
# all who may be picked: a service that picks n of N plans for N, or its A is an assumption about
# the n that were picked.
#
# Who picks decides whose inputs meet in a sum, and no rule of a session sees that: a server that
# wants one client's value can pick it again and again among others (specs/10-secagg.md §11). By
# arrival whoever connects fastest is always there. By lot nobody can aim at a round, as long as the
# lots are secret until they are drawn, which is why they are drawn here and for each round anew.
#
# A selection sees candidates, and nothing of the rounds they were in but how they went. What it
# gives back is seated by order of arrival and not by its own, so it cannot say who gets which party
# number; and more than the plan has clients are refused.

_LOT = 8
"""Bytes of one lot: two of 2^20 peers draw the same with a chance below 2^-24, and tie then."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peer that a round may pick. place: its order of arrival. heard: when it last said anything,
    or came. rounds: in how many it was. missed: of how many of the last in a row it was
    left out by its own doing.
    fault: of its last round, None where it was in the sum.
    """

    peer: Peer
    place: int
    heard: float
    rounds: int = 0
    missed: int = 0
    fault: Fault | None = None

    @property
    def identity(self) -> bytes | None:
        """What its link has proved."""
        return self.peer.identity


Select: TypeAlias = Callable[[Plan, Sequence[Candidate]], Sequence[Candidate]]
"""(plan, all candidates by arrival) -> whom the round takes, at most the plan's clients."""


def arrival(plan: Plan, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those that came first, and among them those that were not silent."""
    reliable = sorted(candidates, key=lambda one: (one.missed, one.place))
    return reliable[: plan.threat.clients]


def sample(randomness: Randomness = system_randomness) -> Select:
    """By lot, each set of them as likely as another, among those that were not silent first."""

    def select(plan: Plan, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        drawn = sorted(candidates, key=lambda one: (one.missed, randomness(_LOT)))
        return drawn[: plan.threat.clients]

    return select


def chosen(peers: Sequence[Peer | bytes]) -> Select:
    """Exactly these, by peer or by identity, as far as they are there; the application's word."""

    def select(plan: Plan, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        known = {one.peer: one for one in candidates}
        known_ids = {one.identity: one for one in candidates if one.identity is not None}
        found = [known_ids.get(p) if isinstance(p, bytes) else known.get(p) for p in peers]
        return list(dict.fromkeys(one for one in found if one is not None))

    return select


def seated(picked: Iterable[Candidate], plan: Plan, here: Iterable[Candidate]) -> list[Peer]:
    """Whom a selection has picked, by arrival, which is what parties are numbered by.

    Raises ParameterError for more than the plan has clients, for one that is picked twice, who
    would be in the sum twice, and for one that is not among those that are here.
    """
    places = {one.peer: one.place for one in here}
    peers = [one.peer for one in picked]
    if any(peer not in places for peer in peers):
        raise ParameterError("a peer was picked that is not here: pick among those that are given")
    if len({*peers}) < len(peers):
        raise ParameterError("a peer was picked twice: each has one place in a round")
    if len(peers) > plan.threat.clients:
        raise ParameterError(f"{len(peers)} were picked, for a plan of {plan.threat.clients}")
    return sorted(peers, key=places.__getitem__)
