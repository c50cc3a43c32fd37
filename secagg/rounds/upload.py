"""When a leader stops waiting for reports, and whether that closes the batch."""

from __future__ import annotations

import logging

from secagg.rounds.batches import servers_of
from secagg.sansio import MemberMachine
from secagg.types import FIRST_RESERVED, server_id

log = logging.getLogger(__name__)


# Theory of operation.
#
# A batch takes reports until its deadline, or until every client has reported, whichever is sooner.
# From then on no more are waited for, and what has come is decided: the helpers say of each whether
# they accept it. That takes a round trip, and is waited for with patience, which is another number
# of seconds: a helper that is away must not hold up a batch for ever, and one that is slow must not
# cost reports that are good. Meanwhile no client is read, or deciding would never come to an end.
#
# Where the minimum is not there at the deadline, closing would spend reports that have receipts for
# nothing. So the batch stays open: the deadline begins anew. Before the deadline a batch without
# its minimum is never closed, not even when nobody is waited for, as where all have reported and
# one was rejected: it would only stay open at once.
#
# In direct mode a server owes no verdict on a share that its client never sent, so the machine does
# not wait for it: what counts is whether every report that came is in. A batch with all its places
# filled is settled in either mode.
class Upload:
    """The clock of a leader's upload. deadline, patience: seconds."""

    def __init__(self, deadline: float, patience: float, places: int) -> None:
        self._deadline, self._patience, self._places = deadline, patience, places
        self._since: float | None = None  # when waiting for reports ended

    def renew(self) -> None:
        """Another batch, or the same once more."""
        self._since = None

    def stays_open(self, batch: int, machine: MemberMachine) -> None:
        """It is said, with who has not answered, and the deadline begins anew."""
        owing = (server_id(0) - party for party in servers_of(machine.waiting_for))
        owed = "".join(f", and server {index} has not answered" for index in owing)
        log.warning("batch %d stays open: %d reports so far%s", batch, machine.included, owed)
        self.renew()

    def late(self, entered: float) -> float:
        """When the deadline is, of a batch that was entered then."""
        return entered + self._deadline

    def due(self, entered: float) -> float:
        """When `closes` may change its mind by itself."""
        return self.late(entered) if self._since is None else self._since + self._patience

    def closes(self, machine: MemberMachine, entered: float, now: float) -> bool:
        """Whether the upload is to be closed, or to stay open where there is no quorum."""
        waiting, late = machine.waiting_for, now >= self.late(entered)
        clients = any(party < FIRST_RESERVED for party in waiting)
        if not late and (clients or not machine.quorum):
            self._since = None
            return False
        self._since = now if self._since is None else self._since
        owing = any(party >= FIRST_RESERVED for party in waiting)
        settled = machine.alive - waiting <= machine.contributors
        settled = settled or machine.included >= self._places
        return (settled and not owing) or now >= self._since + self._patience
