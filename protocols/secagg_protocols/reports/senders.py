"""A leader's clients, as its transport knows them, and its view of each helper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from secagg.types import PartyId
from secagg_protocols.reports.book import Pending
from secagg_protocols.reports.messages import Ruling

# A client has a place from its report on. Who only brings a report again, or for another batch, has
# none, and its party number may be another client's next: such a one is an *asker*, until its link
# is gone or it brings something else.


class Senders:
    """Which party number stands for which report. clients: how many places a batch has."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self.renew()
        self.reports: dict[PartyId, bytes] = {}
        """By client: the id of its report."""
        self._askers: dict[PartyId, bytes] = {}  # who brought a pending report last -> its id

    def renew(self) -> None:
        """Every place without a report is for anybody, also one whose number was dropped."""
        self.alive = set(map(PartyId, range(self._clients)))

    @property
    def without(self) -> set[PartyId]:
        """Clients that have no report here, and may send one."""
        return self.alive - self.reports.keys()

    def restore(self, ids: Iterable[bytes]) -> None:
        """Whose reports these were is not stored, so they take the lowest numbers."""
        self.reports = {PartyId(i): id for i, id in enumerate(sorted(ids))}

    def release(self, ids: set[bytes], pending: dict[bytes, Pending]) -> None:
        """Their places are free. Who brought one may be there still: it waits as an asker does."""
        for party in [party for party, id in self.reports.items() if id in ids]:
            id = self.reports.pop(party)
            pending[id].sender = None
            if pending[id].asker is None:
                self.ask(party, id, pending[id])

    def ask(self, party: PartyId, id: bytes, pending: Pending) -> None:
        if pending.asker is not None:
            self._askers.pop(pending.asker, None)
        pending.asker, self._askers[party] = party, id

    def forget_asker(self, party: PartyId, pending: dict[bytes, Pending]) -> None:
        """It takes no place by asking, so its id may be another client's next."""
        asked = pending.get(self._askers.pop(party, b""))
        if asked is not None and asked.asker == party:
            asked.asker = None

    def of(self, ids: Iterable[bytes]) -> set[PartyId]:
        """Who has brought one of these, first or last."""
        brought = [*self.reports.items(), *self._askers.items()]
        wanted = set(ids)
        return {party for party, id in brought if id in wanted}


@dataclass(slots=True)
class Counterpart:
    """What a leader knows of one helper.

    early: if direct, its verdicts on reports that have not come here, by id: it fills no place but
    its own. stale: those that were early when the last deadline passed. undone: decisions that it
    has not confirmed. signature: under the set. locked: it says so.
    """

    early: dict[bytes, Ruling] = field(default_factory=dict)
    stale: set[bytes] = field(default_factory=set)
    undone: dict[bytes, Ruling] = field(default_factory=dict)
    signature: bytes | None = None
    locked: bool = False
