"""Parameters of a ring sum (specs/21-ring.md §2)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.arguments import take_integers
from secagg.errors import ParameterError
from secagg.types import MAX_CLIENTS, MIN_COHORT
from secagg.wire.codec import Writer


@dataclass(frozen=True, slots=True)
class RingParams:
    """clients: n parties in a circle, by PartyId; all of them must stay to the end.

    tell: the initiator tells everybody the sum; otherwise it alone has it.
    """

    clients: int
    tell: bool = True
    degree: int = 2

    def __post_init__(self) -> None:
        take_integers(self)
        if not MIN_COHORT <= self.clients <= MAX_CLIENTS:
            raise ParameterError(
                f"a ring has {MIN_COHORT} to {MAX_CLIENTS} parties, not {self.clients}: "
                "of two, each learns the other's value from the sum"
            )

    @property
    def threshold(self) -> int:
        return self.clients

    @property
    def min_clients(self) -> int:
        return self.clients

    @property
    def min_survivors(self) -> int:
        return self.clients

    def encode(self) -> bytes:
        return Writer().u32(self.clients).u8(self.tell).finish()
