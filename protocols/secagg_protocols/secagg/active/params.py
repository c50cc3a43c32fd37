"""Parameters of active mode: what they are (specs/13-active-parameters.md)."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.errors import ParameterError
from secagg.types import Buffer
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg import params
from secagg_protocols.secagg.params import SecAggParams

# The same five numbers as in semi-honest mode come first and mean the same, so that what both modes
# share, binding, dealing and masking, reads them and knows no mode. A session is checked by the
# constructor alone, which knows no threat; what is safe for one is judged in `judging`, and chosen
# in `finding`. The two must not be mixed: what is chosen is less than what is safe.

ALL_SIGN = 1000
"""Up to so many clients everybody signs, and no probability is in the quorum."""


SIZE = params.SIZE + 8
"""Bytes of an encoding."""


@dataclass(frozen=True, slots=True)
class ActiveParams(SecAggParams):
    """Those of SecAgg, and who agrees on the survivors.

    signers: m, how many may sign: n where everybody does, of however many are there. quorum: q, how
    many have to, where all of n are there. Raises ParameterError for numbers no session can have;
    whether they are *safe* for a threat is `judging`'s.
    """

    signers: int
    quorum: int

    def __post_init__(self) -> None:
        SecAggParams.__post_init__(self)
        if not 1 <= self.quorum <= self.signers <= self.clients:
            raise ParameterError(
                f"1 <= quorum {self.quorum} <= signers {self.signers} <= clients {self.clients} "
                "does not hold"
            )
        if not self.all_sign and self.signers > self.min_clients:
            raise ParameterError(
                f"a committee of {self.signers} is of U1, which may be no more than min_clients "
                f"{self.min_clients}"
            )

    @property
    def all_sign(self) -> bool:
        """Everybody of U1 may sign, rather than a committee of it."""
        return self.signers == self.clients

    def quorum_of(self, size: int, corrupted: int) -> tuple[int, int]:
        """How many may sign, and how many have to, where |U1| is `size` (rule P9)."""
        if self.all_sign:
            return size, majority(size, corrupted)
        # a plan with a committee has min_clients = n - D, below which no round begins: its tail
        # is counted there, and holds at every larger U1
        return self.signers, self.quorum

    @property
    def tolerated(self) -> int:
        """How many of a client's holders may be corrupt, one at least (specs/12-active.md R7)."""
        return max(1, min(2 * self.threshold - self.degree - 2, self.threshold - 2))

    def encode(self) -> bytes:
        """Seven u32, in the order of the fields (rule P1)."""
        head = SecAggParams.encode(self)
        return Writer().raw(head).u32(self.signers).u32(self.quorum).finish()


def majority(parties: int, corrupted: int) -> int:
    """The smallest q with 2q > parties + corrupted: two quorums meet in an honest party."""
    return (parties + corrupted) // 2 + 1


def decode_params(data: Buffer) -> SecAggParams:
    """Of either mode, which the length tells. Raises WireError for bad grammar and ParameterError
    for numbers no session can have."""
    if len(data) != SIZE:
        return params.decode_params(data)
    reader = Reader(data)
    head = params.decode_params(reader.fixed(params.SIZE, "parameters"))
    signers, quorum = reader.u32("signers"), reader.u32("quorum")
    reader.finish()
    return ActiveParams(
        head.clients,
        head.degree,
        head.threshold,
        head.min_clients,
        head.min_survivors,
        signers,
        quorum,
    )
