"""What a round remembers of its machine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from secagg.effects import Peer
from secagg.shown import short
from secagg.types import Fault, PartyId
from secagg.wire.codec import Reader, Writer


# Theory of operation.
#
# A machine that has ended has forgotten what it did: with its last stage goes the set whose sum was
# being opened. But that set is what its clients must hear of, however the round ends, as each of
# them has an input that may have been seen (specs/01-wire.md §6). So the round remembers it.
#
# A round may end in one process and be told by the next, and the rows of a machine that has ended,
# or that does not resume, say nothing of its sets. So the set is a row of the round's own. It is
# written with the rows of the stage that opens the sum, in the transaction before the first request
# leaves: there is no moment at which a client could have been asked, and the store not know it. It
# goes with all rows of the round when that has been told, and what each identity then stands for is
# in the row of its end.
#
# Everything else is for reports: faults, disputes and bytes as this process has seen them. A
# machine that resumes says its faults again; the others are lost with the process, and no client
# is told anything by them.
#
# Impossible: two such sets of one round, for a machine opens one sum.
@dataclass
class Seen:
    """up, down: bytes of protocol messages, of all clients together. peers: who was on which
    seat, last. opening: whose sum the last phase opens."""

    up: int = 0
    down: int = 0
    faults: dict[PartyId, Fault] = field(default_factory=dict)
    dropped_in: dict[PartyId, str] = field(default_factory=dict)
    disputed: set[tuple[PartyId, PartyId]] = field(default_factory=set)
    peers: dict[PartyId, Peer] = field(default_factory=dict)
    opening: frozenset[PartyId] = frozenset()

    __repr__ = short


def opened_row(parties: Collection[PartyId]) -> bytes:
    """Whose sum is being opened: how many, and who, in ascending order."""
    writer = Writer().u32(len(parties))
    for party in sorted(parties):
        writer.u32(party)
    return writer.finish()


def read_opened(row: bytes) -> frozenset[PartyId]:
    """The mirror of `opened_row`. Raises WireError for a row of anything else."""
    reader = Reader(row)
    parties = [PartyId(reader.u32("party")) for _ in range(reader.u32("number of parties"))]
    reader.finish()
    return frozenset(parties)
