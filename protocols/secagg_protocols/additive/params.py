"""Parameters of additive sums: the servers, and the smallest batch (specs/20-additive.md §2)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.committee import MIN_SERVERS
from secagg.errors import ParameterError, WireError
from secagg.sansio import Infeasible, Params
from secagg.types import MAX_CLIENTS, MAX_SERVERS, MIN_COHORT, Threat, smallest_sum
from secagg.wire.codec import Reader, Writer


@dataclass(frozen=True, slots=True)
class AdditiveParams:
    """clients: n, the most reports of a batch. servers: m. min_survivors: the minimum batch.

    direct: a client sends each server its share itself; otherwise the leader relays them all.
    Raises ParameterError for numbers that no batch can have.
    """

    clients: int
    servers: int
    min_survivors: int
    direct: bool = False
    degree: int = 0
    threshold: int = 1

    def __post_init__(self) -> None:
        if not MIN_SERVERS <= self.servers <= MAX_SERVERS:
            raise ParameterError(
                f"servers must be {MIN_SERVERS} to {MAX_SERVERS}, not {self.servers}"
            )
        if not MIN_COHORT <= self.min_survivors <= self.clients <= MAX_CLIENTS:
            raise ParameterError(
                f"{MIN_COHORT} <= minimum batch {self.min_survivors} <= clients {self.clients} "
                f"<= {MAX_CLIENTS} does not hold"
            )

    @property
    def min_clients(self) -> int:
        return self.min_survivors

    def encode(self) -> bytes:
        writer = Writer().u32(self.clients).u8(self.servers).u32(self.min_survivors)
        return writer.u8(self.direct).finish()


def decode_params(data: bytes) -> AdditiveParams:
    reader = Reader(data)
    clients, servers = reader.u32("clients"), reader.u8("servers")
    smallest, direct = reader.u32("minimum batch"), reader.u8("direct")
    reader.finish()
    if direct > 1:
        raise WireError(f"direct is 0 or 1, not {direct}")
    return AdditiveParams(clients, servers, smallest, bool(direct))


def parameters(threat: Threat) -> AdditiveParams | Infeasible:
    """Minimum batch max(3, n - D, min_clients): every planned dropout leaves a batch."""
    if threat.servers < MIN_SERVERS:
        return Infeasible(
            f"additive shares need {MIN_SERVERS} servers or more, and the plan has "
            f"{threat.servers}: state servers={MIN_SERVERS}"
        )
    if threat.clients < MIN_COHORT:
        return Infeasible(
            f"{threat.clients} clients are too few: a sum of two tells either the other's input, "
            f"so a batch has at least {MIN_COHORT}"
        )
    if threat.adversary == "active":
        return Infeasible(
            "a server that deviates can change the sum unnoticed, which an active plan excludes"
        )
    floor = smallest_sum(threat.corrupted)
    if threat.clients < floor:
        return Infeasible(
            f"{threat.clients} clients, {threat.corrupted} of them corrupt, are too few: a batch "
            f"has at least {floor}, so that two honest inputs are in it"
        )
    smallest = max(floor, threat.clients - threat.dropped, threat.min_clients or 0)
    return AdditiveParams(threat.clients, threat.servers, smallest, threat.direct)


def check(threat: Threat, params: Params) -> str | None:
    """The rule that given parameters break under this threat, or None."""
    expected = parameters(threat)
    if isinstance(expected, Infeasible):
        return expected.rule
    return None if params == expected else "parameters follow from clients, servers and dropout"
