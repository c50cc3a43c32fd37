"""Reports whose shares are being opened by a job: they have come, and are nowhere yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from secagg.types import Buffer
from secagg_protocols.reports.book import Pending
from secagg_protocols.reports.messages import Head
from secagg_protocols.reports.scheme import Opening

# Nothing of them is stored and nobody has been told anything, so a crash or the end of the batch
# loses them as if they had not come, and their clients say them again.


@dataclass(frozen=True, slots=True)
class Arrival:
    """A report on its way into the book. message: as it came."""

    head: Head
    pending: Pending = field(repr=False)
    message: Buffer = field(repr=False)


class Openings:
    """Jobs that are due, and what each is for."""

    def __init__(self) -> None:
        self._arrivals: dict[bytes, Arrival] = {}
        self._due: list[Opening] = []

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, opening: Opening, arrival: Arrival) -> None:
        self._arrivals[opening.id] = arrival
        self._due.append(opening)

    def due(self) -> Sequence[Opening]:
        """Each is handed out once."""
        due, self._due = self._due, []
        return due

    def get(self, id: bytes) -> Arrival | None:
        return self._arrivals.get(id)

    def take(self, id: bytes) -> Arrival | None:
        return self._arrivals.pop(id, None)

    def forget(self) -> None:
        self._arrivals.clear()
        self._due.clear()
