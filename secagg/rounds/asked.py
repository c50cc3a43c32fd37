"""A client of a service: it says that it is ready when it is asked, and goes when it is told to
(specs/50-service.md §2)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from secagg.effects import Effects, Peer, Post, Refusal, Work
from secagg.errors import RemoteProtocolError
from secagg.rounds.client import ClientRounds
from secagg.shown import short
from secagg.wire.pace import Asked, Later, Ready, Why, decode_pace, is_pace

# Theory of operation.
#
# To be ready costs nothing and reveals nothing: it says that there is an input, or will be, and
# that this link is heard. What a round is, its announcement says, and is judged as any other.
#
# A server that asks and asks, and never opens a round, keeps a client awake for nothing: after so
# many times without an announcement that is its fault.
#
# Who has been in all rounds that it wants is silent, as it is about to go: a round that counted on
# it would wait for nobody until its first deadline.
#
# Told to come back later, a client says nothing more on that link and lets it go, unless it is in a
# round that still needs it: a server does not say so then, and what it says out of order must not
# cost a sum. When to come back is for the driver to know, which has the clock; it adds some of its
# own, or all that were sent away at once come back at once.
#
# Nothing of this is stored: who was asked and died is asked again, if the server likes.
#
# Impossible: a READY on another link than it was asked on, as it is dropped with the link.

MOST_ASKED = 64


@dataclass(frozen=True, slots=True)
class Away:
    """That the server has no place now. seconds: after which to come back, to which a driver adds
    some of its own, or all come back at once."""

    seconds: float
    why: Why

    __repr__ = short


class AskedRounds:
    """Rounds of a client around its own (`secagg.rounds.base.Rounds`)."""

    def __init__(self, rounds: ClientRounds, most: float = math.inf) -> None:
        """rounds: what the application goes on asking for offers and outcomes. most: of how many
        it has enough; it is not ready for another."""
        self.rounds, self._most = rounds, most
        self._ready: list[tuple[Peer, Ready]] = []
        self._away: Away | None = None
        self._let_go: Peer | None = None
        self._asked = 0
        self.met = False
        """Whether the last link led to the server, which had proved who it is."""

    def later(self) -> Away | None:
        """Once, after a link that the server has ended so: when to come back."""
        away, self._away = self._away, None
        return away

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        self.rounds.restore(rows, now)

    def joined(self, peer: Peer, now: float) -> None:
        self._asked, self._away, self._let_go, self.met = 0, None, None, True
        self.rounds.joined(peer, now)

    def left(self, peer: Peer, now: float) -> None:
        self._ready.clear()
        self._let_go = None
        self.rounds.left(peer, now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        """Raises as `ClientRounds.received`, and RemoteProtocolError for a server that says it is
        ready, or asks for ever."""
        if not is_pace(frame):
            before = self.rounds.running
            self.rounds.received(peer, frame, now)
            if self.rounds.running - before:
                self._asked = 0
            return
        said = decode_pace(frame)
        if isinstance(said, Ready):
            raise RemoteProtocolError("a server asks who is ready, and is never asked")
        if isinstance(said, Later):
            self._away, self._let_go = Away(said.seconds, said.why), peer
            self._ready.clear()
            return
        self._is_asked(peer, said)

    def _is_asked(self, peer: Peer, said: Asked) -> None:
        self._asked += 1
        if self._asked > MOST_ASKED:
            raise RemoteProtocolError(
                f"the server has asked {MOST_ASKED} times who is ready, and opened no round"
            )
        if self.rounds.last < self._most and self._away is None:
            self._ready.append((peer, Ready(said.nonce)))

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        self.rounds.flushed(peer, size, now)

    def finished(self, work: Work, value: Any, now: float) -> None:
        self.rounds.finished(work, value, now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        self.rounds.failed(work, error, now)

    def refused(self, refusal: Refusal, now: float) -> None:
        self.rounds.refused(refusal, now)

    def tick(self, now: float) -> None:
        self.rounds.tick(now)

    def ready(self, peer: Peer) -> bool:
        return self.rounds.ready(peer)

    def take(self) -> Effects:
        """That it is ready comes before what a round says: it is asked before there is one. It goes
        when it is told to, save out of a round that it is in."""
        inner = self.rounds.take()
        posts = tuple(Post(peer, frame) for peer, frame in self._ready)
        self._ready.clear()
        gone: tuple[Peer, ...] = ()
        if self._let_go is not None and not self.rounds.speaking:
            gone, self._let_go = (self._let_go,), None
        return replace(inner, posts=posts + inner.posts, let_go=inner.let_go + gone)
