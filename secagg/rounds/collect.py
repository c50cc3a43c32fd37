"""The collector of several servers: asks all of them for a batch until it has every total."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from secagg import party
from secagg.effects import Effects, Peer, Refusal, Work
from secagg.errors import Aborted, LocalProtocolError, WireError, aborted
from secagg.party import Aggregate
from secagg.plans.task import Task
from secagg.rounds.base import Outbox
from secagg.rounds.greeting import callees, message_limit
from secagg.types import PartyId, Seed, server_id
from secagg.wire.frame import Frame, Message, Over, decode_frame

log = logging.getLogger(__name__)

FIRST_POLL, LAST_POLL = 0.25, 5.0
"""Seconds between two questions to a server that has not locked the batch; doubling."""
GOODBYE = 5.0
"""Seconds that servers have to say that they know of the sum."""


# Theory of operation.
#
# A collection has two parts, and the application stands between them. First every server is asked
# for its total, until the last one is here; then the application puts the sum where it will not be
# lost; then every server is told so, and may forget. The order matters: a server that has been told
# may close its epoch, and a sum that was told of and then lost cannot be collected again.
#
# A server that has not locked the batch gives no total, and says instead that the batch is open. So
# it is asked again, soon at first and then more and more slowly, because a batch is mostly locked
# either at once or after a deadline that is minutes away. It is asked over each new link, too: an
# answer may have been lost with the old one. All servers are asked, whatever one of them says, as
# no total is worth anything without the others.
#
# Time ends the asking, and never half a sum: the machine then says who did not answer, or how many
# reports there were so far where the batch is still open. Whether what came is a sum is the
# machine's to say as well; a server that lies about its total is named by it.
#
# The goodbye is best effort. A server says the same word back, and whoever does not within some
# seconds is not waited for: it stays up for another collection, which is the safe side. Over a link
# that comes back meanwhile it is told once more.
#
# The key opens the totals and proves, in the greeting, who may say the last word; it is not used
# for anything else here. Impossible are rows and claims: a collector that starts again asks again.
class CollectRounds:
    """One batch, collected once (`secagg.rounds.base.Rounds`)."""

    def __init__(
        self, task: Task, secret: Seed, *, batch: int = 0, seconds: float, now: float
    ) -> None:
        """secret: of the committee's collector key; ParameterError for another. seconds: from
        `now`, until every total must be here."""
        self._nonce, self._limit = task.nonce(batch), message_limit(task)
        self._servers = callees(task)
        self._collector = party.Collector(
            task.plan,
            payload_digest=task.payload_digest,
            committee=task.committee,
            secret=secret,
            batch=batch,
        )
        self._collector.start()
        self._collector.outgoing()  # asked over every new link
        self._outbox = Outbox()
        self._links: dict[PartyId, Peer] = {}
        self._until = now + seconds
        self._pause, self._poll = FIRST_POLL, now + FIRST_POLL
        self._thanks: Over | None = None
        self._untold: set[PartyId] = set()
        self._met: set[PartyId] = set()

    # What the application sees

    @property
    def done(self) -> bool:
        """Whether there is a sum, or an error in its place."""
        return self._collector.done

    @property
    def parted(self) -> bool:
        """Whether every server knows of the sum, or had its time to say so."""
        return self._thanks is not None and not self._untold

    def aggregate(self) -> Aggregate:
        """Once done. Raises errors.Aborted and IntegrityError as `party.Collector` does, and says
        which servers were never linked."""
        try:
            return self._collector.aggregate()
        except Aborted as without:
            if not (apart := {*self._servers.values()} - self._met):
                raise
            named = ", ".join(str(server_id(0) - party) for party in sorted(apart, reverse=True))
            named = f"server{'s' * (len(apart) > 1)} {named}"
            said = f"{without.detail}; there was never a link to {named}".removeprefix("; ")
            raise aborted(without.reason, said) from None

    def thank(self, total: Aggregate, now: float) -> None:
        """The sum is safe: every server is told, and may go."""
        if not self.done:
            raise LocalProtocolError("there is no sum yet")
        self._thanks = Over(self._nonce, None, total.count, 0)
        self._untold = set(self._servers.values())
        self._until = now + GOODBYE
        for peer in self._links.values():
            self._outbox.post(peer, self._thanks)

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """There are no rows of these rounds."""

    def joined(self, peer: Peer, now: float) -> None:
        server = self._server(peer)
        self._links[server] = peer
        self._met.add(server)
        if self._thanks is not None:
            self._outbox.post(peer, self._thanks)
        else:
            self._collector.reconnected(server)
            self._drain()

    def left(self, peer: Peer, now: float) -> None:
        if self._links.get(self._server(peer)) == peer:
            del self._links[self._server(peer)]

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        try:
            decoded: Frame = decode_frame(frame, limit=self._limit)
        except WireError as error:
            log.warning("the link to %s is given up: %s", peer.name, error)
            self._outbox.let_go(peer)
            return
        if decoded == self._thanks:
            self._untold.discard(self._server(peer))
        elif isinstance(decoded, Message) and decoded.nonce == self._nonce:
            self._collector.receive(self._server(peer), decoded.data)
            self._drain()

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        """A question is a few bytes, and there is one for each pause: nothing piles up."""

    def finished(self, work: Work, value: Any, now: float) -> None:
        """A collector hands out no work."""

    def failed(self, work: Work, error: Exception, now: float) -> None:
        """A collector hands out no work."""

    def refused(self, refusal: Refusal, now: float) -> None:
        """No claims are made here."""

    def tick(self, now: float) -> None:
        if self.done:
            if self._untold and now >= self._until:
                log.warning("%d servers may not know of the sum", len(self._untold))
                self._untold.clear()
        elif now >= self._until:
            self._collector.close_phase()
        elif now >= self._poll:
            self._pause = min(2 * self._pause, LAST_POLL)
            self._poll = now + self._pause
            for server in self._collector.waiting_for:
                self._collector.reconnected(server)
            self._drain()

    def ready(self, peer: Peer) -> bool:
        return True

    def take(self) -> Effects:
        if self.done:
            return self._outbox.take(self._until if self._untold else math.inf)
        return self._outbox.take(min(self._poll, self._until))

    # Inside

    def _server(self, peer: Peer) -> PartyId:
        """By the name of the link: what a total is worth, its signature says."""
        return next(party for known, party in self._servers.items() if known.name == peer.name)

    def _drain(self) -> None:
        """To whom a link leads; else the question is asked over the next one."""
        self._collector.events()
        for out in self._collector.outgoing():
            if (peer := self._links.get(out.to)) is not None:
                self._outbox.post(peer, Message(self._nonce, out.data))
