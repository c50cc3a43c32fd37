"""Parameters of additive sums: the servers, and the smallest batch (specs/20-additive.md §2)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.arguments import take_integers
from secagg.committee import MIN_SERVERS
from secagg.errors import ParameterError, WireError
from secagg.protocol import Infeasible, Params
from secagg.remedies import remedy
from secagg.threat import Threat
from secagg.types import MAX_CLIENTS, MAX_SERVERS, MIN_COHORT, smallest_sum
from secagg.wire.codec import Reader, Writer

# There is nothing to choose: no graph, no threshold. A sum needs every server, and a client that
# has been heard is needed no more, so dropouts cost their inputs and nothing else. What is left to
# decide is how small a batch may be: never below A + 2, for of A + 1 inputs the corrupt clients
# subtract their own and have the last one. The batch counts reports and not people
# (specs/20-additive.md §11).


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
        take_integers(self)
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
    """Strictly: one encoding for each. WireError; ParameterError for impossible numbers (§2)."""
    reader = Reader(data)
    clients, servers = reader.u32("clients"), reader.u8("servers")
    smallest, direct = reader.u32("minimum batch"), reader.u8("direct")
    reader.finish()
    if direct > 1:
        raise WireError(f"direct is 0 or 1, not {direct}")
    return AdditiveParams(clients, servers, smallest, bool(direct))


def parameters(threat: Threat) -> AdditiveParams | Infeasible:
    """The minimum batch is min_clients where that is asked for, else n - D: both at least
    max(3, A + 2). Only the latter is sure to be reached whenever no more drop than planned."""
    broken = _broken(threat)
    if broken is not None:
        return broken
    smallest = threat.min_clients or threat.clients - threat.dropped
    return AdditiveParams(threat.clients, threat.servers, smallest, threat.direct)


def _broken(threat: Threat) -> Infeasible | None:
    if threat.servers < MIN_SERVERS:
        return Infeasible(
            f"additive shares need {MIN_SERVERS} servers or more, and the plan has "
            f"{threat.servers}: state servers={MIN_SERVERS}"
        )
    if threat.adversary == "active":
        return Infeasible(
            "a server that deviates can change the sum unnoticed, which an active plan excludes"
        )
    if threat.liars:
        return Infeasible("no client answers anything here, so none can answer wrongly", "liars=0")
    fewest = smallest_sum(threat.corrupted)
    if threat.clients - threat.dropped < fewest:
        return Infeasible(
            f"{threat.clients} clients less {threat.dropped} dropouts are too few for a batch, "
            f"which has at least {fewest} reports with {threat.corrupted} corrupt clients, where "
            f"max(3, A + 2) <= n - D must hold for A = {threat.corrupted}, n = {threat.clients}, "
            f"D = {threat.dropped}",
            remedy(threat, _leaves_a_batch),
        )
    if threat.min_clients is not None and threat.min_clients < fewest:
        return Infeasible(
            f"min_clients={threat.min_clients} is below the {fewest} reports of the smallest batch",
            f"min_clients={fewest} would do",
        )
    return None


def _leaves_a_batch(threat: Threat) -> bool:
    fewest = smallest_sum(threat.corrupted)
    asked = threat.min_clients or fewest
    return fewest <= threat.clients - threat.dropped and fewest <= asked


def check(threat: Threat, params: Params) -> str | None:
    """The rule that given parameters break under this threat, or None."""
    # they follow from the threat, so equality is the whole check: no two plans for one
    # threat differ here
    expected = parameters(threat)
    if isinstance(expected, Infeasible):
        return expected.rule
    return None if params == expected else "parameters follow from clients, servers and dropout"
