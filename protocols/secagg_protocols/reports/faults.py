"""What peers do wrong, and what it means for the batch (specs/20-additive.md §6.1, §8)."""

from __future__ import annotations

from typing import NoReturn

from secagg.errors import BelowThreshold, Portable
from secagg.types import AbortReason, Fault, PartyId

# A fault says what somebody did, a reason why a batch ended. Messages have reasons only: a helper
# that hears of an end is told enough to go on, and whom another server accuses it is not told, as
# it would have that server's word for it.

_REASONS = {
    Fault.LOST: AbortReason.LOST,
    Fault.LATE: AbortReason.LOST,
    Fault.QUIT: AbortReason.CANCELLED,
    Fault.INVALID_SIGNATURE: AbortReason.INTEGRITY,
    Fault.DISAGREEMENT: AbortReason.INTEGRITY,
}


def reason_of(fault: Fault) -> AbortReason:
    """Why a batch ends that ends by a server's fault."""
    return _REASONS.get(fault, AbortReason.PEER_FAULT)


class PeerFault(Portable):
    """What a client or another server did wrong; it never leaves this package: a client is dropped
    for it, and a server's ends the batch, named."""

    def __init__(self, party: PartyId, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.party, self.fault, self.detail = party, fault, detail


def refuse(party: PartyId, fault: Fault, detail: str) -> NoReturn:
    """Never returns: raises the PeerFault that drops the party. detail: no value of anybody's."""
    raise PeerFault(party, fault, detail)


def too_few(count: int, needed: int) -> BelowThreshold:
    """Rule A7: nobody's fault, and how many more would do."""
    return BelowThreshold(f"{counted(count)}, and the smallest batch has {needed}")


def counted(count: int) -> str:
    """For a sentence: "1 report", "2 reports"."""
    return f"{count} report" if count == 1 else f"{count} reports"
