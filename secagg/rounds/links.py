"""The other servers of a task: who is linked, how far behind it is, and how long it was silent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secagg.effects import Encodable, Peer
from secagg.types import PartyId

MAX_BACKLOG = 64 << 20
"""Bytes that wait for one server before clients are made to wait."""


@dataclass
class _Server:
    """peer: its link, if there is one. unread: bytes that were posted and have not left, or, since
    the link went, that it would have been sent. heard: when it last said something. since: when its
    link came."""

    peer: Peer | None = None
    unread: int = 0
    heard: float = 0.0
    since: float = 0.0


# Theory of operation.
#
# Servers of a task know each other for the whole of an epoch, so what is known of one outlives its
# links. One link leads to each: a newer one takes the place of the old, which may be half open, as
# whoever lost it on the other side has opened the new one because it knows. What was said over a
# link that broke is not repeated from here. The machines say again what was not answered, so what
# cannot be sent is counted and thrown away.
#
# It is counted because of clients. A server that takes reports faster than another reads them would
# have to keep all of that somewhere; so it makes its clients wait instead, unread, which costs them
# nothing but time. That holds for one that is away, too: every report that comes is one more to say
# again later. A new link begins at nothing, as the machines then say the most important first.
#
# Patience is about silence, not about links. A leader that waits for a server gives it up when
# nothing has come from it for so long, counted from when the phase was entered at the earliest: a
# link that is open and says nothing is no sign of life. Opening links again, with pauses that grow
# and differ by chance, is the driver's, which alone knows when one has failed to open.
#
# When a deadline has passed, what a server has accepted is known of those only that had their link
# by then: of others a client may have a receipt of which nothing was heard here (`led_to_all`).
class Links:
    """The other servers, by party (`MemberRounds` says which peer is which)."""

    def __init__(self, patience: float, called: Iterable[PartyId]) -> None:
        """called: those that this server calls on, and tells how the last batch ended."""
        self._patience = patience
        self._servers: dict[PartyId, _Server] = {}
        self._called = frozenset(called)
        self.untold = set(self._called)
        """Of these, whoever no link has led to since the last batch ended."""

    @property
    def linked(self) -> frozenset[PartyId]:
        """The servers that hear what is said."""
        return frozenset(party for party, one in self._servers.items() if one.peer is not None)

    @property
    def behind(self) -> bool:
        """Whether more waits for a server than should."""
        return any(one.unread > MAX_BACKLOG for one in self._servers.values())

    def led_to_all(self, by: float) -> bool:
        """Whether every server that is called on has had its link since that moment."""
        there = {p for p, one in self._servers.items() if one.peer is not None and one.since <= by}
        return there >= self._called

    def joined(self, party: PartyId, peer: Peer, now: float) -> Peer | None:
        """The link that this one takes the place of."""
        old = self._servers.get(party)
        self._servers[party] = _Server(peer, 0, now, now)
        return old.peer if old is not None else None

    def left(self, party: PartyId, peer: Peer) -> bool:
        """Whether it was the link that counts."""
        one = self._servers.get(party)
        if one is None or one.peer != peer:
            return False
        one.peer, one.unread = None, 0
        return True

    def heard(self, party: PartyId, peer: Peer, now: float) -> bool:
        """Whether it says so over the link that counts."""
        one = self._servers.get(party)
        if one is None or one.peer != peer:
            return False
        one.heard = now
        return True

    def post(self, party: PartyId, frame: Encodable) -> Peer | None:
        """To whom it goes, if a link leads to that server; it is counted either way."""
        one = self._servers.setdefault(party, _Server())
        one.unread += frame.size
        return one.peer

    def flushed(self, party: PartyId, peer: Peer, size: int) -> None:
        one = self._servers.get(party)
        if one is not None and one.peer == peer:
            one.unread -= min(size, one.unread)

    def given_up(self, party: PartyId, entered: float) -> float:
        """When patience with it is over. entered: when it began to be waited for, at the latest."""
        one = self._servers.get(party)
        return max(entered, one.heard if one is not None else 0.0) + self._patience
