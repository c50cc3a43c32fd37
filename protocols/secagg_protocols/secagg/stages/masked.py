"""The vectors that were added, and which pairs their senders could not open: what U3 is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.errors import WireError
from secagg.layout import RingVector
from secagg.wire.codec import Reader, Writer
from secagg_protocols.rows import Taken, kind_of, number_of, read_lanes, write_lanes
from secagg_protocols.secagg.cohort import ServerCohort
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.stages.base import FAILED, SUM
from secagg_protocols.secagg.survivors import dealers
from secagg_protocols.secagg.terms import Terms


@dataclass(slots=True)
class Masked:
    """sharers: U2. total: the accumulators, not reduced. failed: by index of each client that is in
    the sum, the dealers whose pairs did not open."""

    cohort: ServerCohort
    sharers: frozenset[int]
    total: RingVector = field(repr=False)
    failed: dict[int, frozenset[int]] = field(default_factory=dict)

    def dealers(self, holder: int) -> list[int]:
        """Whose shares this client holds, in the order in which it answers."""
        # in Python `-` binds closer than `&`: its holders, among those of U2 whose pairs it could
        # open
        return dealers(self.cohort.holders(holder) & self.sharers - self.failed[holder])

    def complain(self, complaints: Complaints) -> Complaints:
        """Rule S9, of the pairs that did not open."""
        ids = self.cohort.ids
        for holder, unopened in self.failed.items():
            for dealer in unopened:
                complaints.add(ids[dealer], ids[holder])
        return complaints

    def row(self, key: bytes) -> bytes | None:
        """No vector, no sum: it begins with the first."""
        if key == SUM:
            return write_lanes(Writer(), self.total).finish() if self.failed else None
        if kind_of(key) != FAILED:
            return None
        index = number_of(key)
        neighbours = self.cohort.neighbours(index)
        positions = [i for i, v in enumerate(neighbours) if v in self.failed[index]]
        return Writer().bitmap(positions, len(neighbours)).finish()

    def read(self, terms: Terms, taken: Taken) -> None:
        """The sum and who is in it, of rows that were stored together: either without the other is
        refused."""
        for index, body in taken.under(FAILED, self.cohort.size):
            neighbours, reader = self.cohort.neighbours(index), Reader(body)
            positions = reader.bitmap(len(neighbours), "failed dealers")
            reader.finish()
            self.failed[index] = frozenset(neighbours[position] for position in positions)
            if not {index, *self.failed[index]} <= self.sharers:
                raise WireError("whoever is in the sum, or did not open, is not in U2")
        if self.failed:
            reader = Reader(taken.pop(SUM))
            self.total = read_lanes(reader, terms.layout)
            reader.finish()
