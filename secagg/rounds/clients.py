"""Links of clients to one of several servers: how many, how much each may say, and who must go."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from secagg.effects import Encodable, Peer
from secagg.errors import RemoteProtocolError
from secagg.repeats import Repeats
from secagg.rounds.base import Outbox
from secagg.rounds.crowd import Crowd
from secagg.rounds.doors import LONGEST
from secagg.rounds.quota import Limits, Quota

log = logging.getLogger(__name__)

MAX_FRAMES, MAX_OUTBOX = 64, 64
"""Frames of a client for one report; frames that wait for it before it counts as gone."""
LOOK = 1.0
"""Seconds between two looks at who waits for nothing: newcomers cost no more than one of these."""


def limits(frame: int, links: int) -> Limits:
    """Of clients that each bring one report. frame: bytes of the largest; links: in all."""
    return Limits(frame, links, 1, MAX_FRAMES, MAX_FRAMES * frame, MAX_OUTBOX)


@dataclass
class _Client:
    """since: when it came; place: after how many. leaving: it is not heard any more, and its link
    goes once what waits for it has left."""

    quota: Quota
    since: float
    place: int
    leaving: bool = False


# Theory of operation.
#
# A client comes to bring one report and to hear that it is stored, so it needs few frames either
# way: the report, perhaps more than once, and a receipt of each server. Each link has an allowance
# of both, for as long as it lasts, because nothing is announced to it that could renew it. Whoever
# sends more floods, and whoever lets more wait does not read; both lose their link, and only that.
# The report, if it came, stays.
#
# Nobody here has proved anything, so nobody earns a link for ever: not by a greeting, nor by words,
# as anybody can say what is heard, and even repeat a report that is answered. What a client came
# for takes half a minute at most, because no message may take longer while others wait (`LONGEST`).
# Who has been here for longer, and has no report that waits for a decision or for the next batch,
# makes room where all links are taken: the oldest of the address that holds most. It loses nothing
# by that, as it may come back and say its report again. Younger links stay, or a crowd larger than
# the limit would push itself out before anybody is served (specs/01-wire.md §8).
#
# Who that is, is a look at every client and every report, and at the limit each newcomer wants to
# know. So it is looked at once for many: those that were found go one after the other, unless they
# speak meanwhile, as what they say may be a report that waits. Where somebody has spoken or none is
# left, the next look is a second after the last, and until then newcomers without room are turned
# away.
#
# A link that is to go although its client did nothing wrong goes politely: what waits for it leaves
# first, as a receipt may be among that, and what it says meanwhile is not heard, as it says it
# again over its next link.
class Clients:
    """Everybody who is linked as a client."""

    def __init__(self, limits: Limits, outbox: Outbox, closed: str) -> None:
        """closed: why nobody is admitted; empty where clients are."""
        self.limits, self._outbox, self._closed = limits, outbox, closed
        self._clients: dict[Peer, _Client] = {}  # the oldest first
        self._came = 0
        self._repeats = Repeats()
        self._idle, self._looked, self._spoken = Crowd(), -math.inf, False

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._clients

    def admit(self, peer: Peer, now: float, waiting: Callable[[], Collection[Peer]]) -> Peer | None:
        """Or lets it go at once; else who has to make room for it, if somebody has.

        waiting: clients whose report waits here; asked only where all links are taken, once a look.
        """
        why, gone = self._closed, None
        if not why and len(self._clients) >= self.limits.links:
            gone = self._makes_room(now, waiting)
            why = "" if gone else f"{self.limits.links} links are open"
        if gone is not None:
            text = "a client that waits for nothing makes room for another"
            self._repeats.warn(log, "clients made room", now, text)
        if why:
            self._repeats.warn(log, "clients turned away", now, "a client was turned away: %s", why)
            self._outbox.let_go(peer)
        else:
            self._clients[peer] = _Client(Quota(self.limits), now, self._came)
            self._came += 1
        return gone

    def says_why(self, peer: Peer, error: Exception, now: float) -> None:
        """In the log, of one that is dropped for what it said: also of another role."""
        text, role = "a %s was let go: %s", peer.role.name.lower()
        self._repeats.warn(log, f"{role}s let go for what they said", now, text, role, error)

    def _makes_room(self, now: float, waiting: Callable[[], Collection[Peer]]) -> Peer | None:
        """Who has had its time, and nothing to wait for: of those, the one that crowds most."""
        oldest = next(iter(self._clients.values()))
        settled = bool(self._idle) and not self._spoken
        if settled or now - oldest.since < LONGEST or now - self._looked < LOOK:
            return self._idle.first
        self._looked, self._spoken, waits = now, False, waiting()
        for peer, one in self._clients.items():
            if now - one.since >= LONGEST and peer not in waits:
                self._idle.add(peer, one.place)
        return self._idle.first

    def hears(self, peer: Peer, size: int) -> bool:
        """Whether a frame of it is heard. Raises RemoteProtocolError for one too many."""
        client = self._clients.get(peer)
        if client is None or client.leaving:
            return False
        self._idle.discard(peer)
        self._spoken = True
        if client.quota.received(size) is not None:
            most = f"{self.limits.frames} frames or {self.limits.bytes_between} bytes"
            raise RemoteProtocolError(f"more than {most} for one report")
        return True

    def post(self, peer: Peer, frame: Encodable, now: float) -> None:
        """One that does not read is let go; its number is free once its link is."""
        client = self._clients.get(peer)
        if client is None or client.leaving:
            return
        if client.quota.posted(frame.size) is None:
            self._outbox.post(peer, frame)
            return
        text = "a client that does not read is let go"
        self._repeats.warn(log, "clients let go that did not read", now, text)
        client.leaving = True
        self._outbox.let_go(peer)

    def close(self) -> None:
        """What was only counted is written to the log."""
        self._repeats.close(log)

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
        self._idle.discard(peer)
        return self._clients.pop(peer, None) is not None
