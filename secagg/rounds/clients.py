"""Links of clients to one of several servers: how many, how much each may say, and who must go."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from secagg.effects import Encodable, Peer
from secagg.errors import RemoteProtocolError
from secagg.rounds.base import Outbox
from secagg.rounds.quota import Limits, Quota

log = logging.getLogger(__name__)


@dataclass
class _Client:
    """leaving: it is not heard any more, and its link goes once what waits for it has left."""

    quota: Quota
    leaving: bool = False


# Theory of operation.
#
# A client comes to bring one report and to hear that it is stored, so it needs few frames either
# way: the report, perhaps more than once, and a receipt of each server. Each link has an allowance
# of both, for as long as it lasts, because nothing is announced to it that could renew it. Whoever
# sends more floods, and whoever lets more wait does not read; both lose their link, and only that.
# The report, if it came, stays.
#
# A link that is to go although its client did nothing wrong goes politely: what waits for it leaves
# first, as a receipt may be among that, and what it says meanwhile is not heard, as it says it
# again over its next link.
class Clients:
    """Everybody who is linked as a client."""

    def __init__(self, limits: Limits, outbox: Outbox, closed: str) -> None:
        """closed: why nobody is admitted; empty where clients are."""
        self.limits, self._outbox, self._closed = limits, outbox, closed
        self._clients: dict[Peer, _Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._clients

    def admit(self, peer: Peer) -> None:
        """Or lets it go at once."""
        why = self._closed
        if not why and len(self._clients) >= self.limits.links:
            why = f"{self.limits.links} links are open"
        if why:
            log.warning("a client was turned away: %s", why)
            self._outbox.let_go(peer)
        else:
            self._clients[peer] = _Client(Quota(self.limits))

    def hears(self, peer: Peer, size: int) -> bool:
        """Whether a frame of it is heard. Raises RemoteProtocolError for one too many."""
        client = self._clients.get(peer)
        if client is None or client.leaving:
            return False
        if client.quota.received(size) is not None:
            raise RemoteProtocolError(f"more than {self.limits.frames} frames for one report")
        return True

    def post(self, peer: Peer, frame: Encodable) -> None:
        """One that does not read is let go; its number is free once its link is."""
        client = self._clients.get(peer)
        if client is None or client.leaving:
            return
        if client.quota.posted(frame.size) is None:
            self._outbox.post(peer, frame)
            return
        log.warning("a client that does not read is let go")
        client.leaving = True
        self._outbox.let_go(peer)

    def flushed(self, peer: Peer, size: int) -> bool:
        """Whether it was to go, and may now."""
        client = self._clients.get(peer)
        if client is None:
            return False
        client.quota.flushed(size)
        return client.leaving and not client.quota.backlog

    def finish(self, peer: Peer) -> bool:
        """It goes once all that waits for it has left; whether that is now."""
        client = self._clients.get(peer)
        if client is None:
            return False
        client.leaving = True
        return not client.quota.backlog

    def forget(self, peer: Peer) -> bool:
        """Its link is gone; whether there was one."""
        return self._clients.pop(peer, None) is not None
