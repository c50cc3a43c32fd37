"""When one of several servers may go, after its last batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from secagg.rounds.batches import Batches, Epoch
from secagg.rounds.collectors import Collectors
from secagg.rounds.links import Links
from secagg.rounds.quota import MAX_LINKS

DEADLINE, PATIENCE = 60.0, 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a server waits for whom. deadline: seconds that a leader takes reports for a batch;
    patience: of silence, after which it gives up a server; linger: after the last batch, for a
    collector. collect_only: no reports are taken. links: clients that may be linked at a time."""

    deadline: float = DEADLINE
    patience: float = PATIENCE
    linger: float = math.inf
    collect_only: bool = False
    links: int = MAX_LINKS

    def no_clients(self, epoch: Epoch) -> str:
        """Why clients have no business at this server, if they have none."""
        if self.collect_only:
            return "no reports are taken: this server answers collectors only"
        if epoch.index > 0 and not epoch.task.plan.params.direct:
            return "clients speak to the leader only, which relays"
        return ""


# Theory of operation.
#
# After the last batch there are two things to wait for. Somebody collects: once a collector has
# said of every locked batch that its sum is safe, nobody needs this server any more. And helpers
# hear how the batch ended: one that was away would wait for its leader for ever, so a leader waits
# until a link has led to each, though with patience only. Where a sum was fetched, every helper has
# locked, and knows. A server lingers for so long and no longer; it then goes without closing the
# epoch, so that a collector who comes late finds everything where it was.
#
# A server that was started to answer collectors has no last batch to wait for: it waits from its
# start. The batch that ran when it was put down may be locked, here or at a helper, and not be over
# for want of a confirmation. What is known of earlier batches then does not tell whether all sums
# are fetched; so as long as that one is not over, somebody must have been here and have a sum.
#
# The clock begins once, when nothing is left to do but to answer, and whoever comes meanwhile does
# not set it back: `linger` and `patience` are both counted from that moment. Without a `linger` a
# server whose sums nobody fetches waits for ever, as a sum that was agreed on is worth more than a
# process that idles.
#
# Whether the epoch closes with the end is another question than whether the server goes. It closes
# where every locked sum is safe and no batch is left, and not at a server that was started to
# answer collectors: that one leaves the epoch open or closed, as it has found it. To close is to
# delete the reports that are in no sum, so whoever is not sure goes without.
class Lingering:
    """The clock of the end. It begins when there is nothing to do but to answer."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._since = math.inf

    def may_go(self, batches: Batches, collectors: Collectors, links: Links, now: float) -> bool:
        """Whether nobody is waited for any more."""
        if not (batches.finished or self._terms.collect_only):
            return False
        self._since = min(self._since, now)
        if now >= self._since + self._terms.linger:
            return True
        if not collectors.has_all(batches.locked):
            return False
        if not (batches.finished or collectors.fetched):
            return False
        told = not links.untold or batches.number - 1 in collectors.fetched
        return told or now >= self._since + self._terms.patience

    def closes(self, batches: Batches, collectors: Collectors) -> bool:
        """Whether the epoch ends with this: every sum is safe, and no batch is left."""
        ended = batches.finished and not self._terms.collect_only
        return ended and collectors.has_all(batches.locked)

    def due(self, now: float) -> float:
        """When `may_go` may change its mind by itself."""
        times = (self._since + self._terms.patience, self._since + self._terms.linger)
        return min((t for t in times if t > now), default=math.inf)
