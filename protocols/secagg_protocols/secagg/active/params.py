"""Parameters of active mode (specs/12-active.md §2)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg_protocols.secagg.params import SecAggParams


@dataclass(frozen=True, slots=True)
class ActiveParams(SecAggParams):
    """Those of SecAgg; signers: m, how many of U1 may sign; quorum: q, how many have to, where all
    of n are there."""

    signers: int
    quorum: int

    def quorum_of(self, size: int, corrupted: int) -> tuple[int, int]:
        """How many sign, and how many have to, where |U1| is `size` (specs/12-active.md §2.5)."""
        if self.signers == self.clients:
            return size, (size + corrupted) // 2 + 1
        return self.signers, self.quorum

    @property
    def tolerated(self) -> int:
        """How many of a client's holders may be corrupt, and one at least (rule R7)."""
        return max(1, min(2 * self.threshold - self.degree - 2, self.threshold - 2))
