"""Who speaks on a link: hello and proof, before `joined`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from secagg.committee import Committee
from secagg.effects import Effects, Peer, Post, Refusal, Work
from secagg.errors import CryptoError, RemoteProtocolError, WireError
from secagg.plans.task import Task
from secagg.repeats import Repeats
from secagg.rounds.base import Rounds
from secagg.rounds.crowd import Crowd
from secagg.shown import short
from secagg.types import PartyId, Role, server_id
from secagg.watch import Event, Refused, Watch
from secagg.wire.frame import HEAD_SIZE

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that a greeting may take."""
_SMALLEST_LIMIT = 4096
"""Bytes: what servers say to clients and to each other is this small whatever the plan."""
_REFUSED = (WireError, CryptoError, RemoteProtocolError)
"""What a peer may have said wrong. Anything else out of a script is a bug, and is not caught."""


def message_limit(task: Task) -> int:
    """Bytes of the largest frame that anybody of this task sends."""
    return HEAD_SIZE + max(task.plan.cost.largest_message, _SMALLEST_LIMIT)


def callees(task: Task) -> dict[Peer, PartyId]:
    """The servers of a task as those know them who call on them: by number, and not proved."""
    numbers = range(len(task.committee.servers))
    return {Peer(f"server {i}", None, Role.SERVER): server_id(i) for i in numbers}


def server_of(committee: Committee, peer: Peer) -> PartyId:
    """Of a peer that was met as a server: which one. Its identity is its signature key."""
    keys = [keys.signing for keys in committee.servers]
    return server_id(keys.index(peer.identity or b""))


class Unwelcome(RemoteProtocolError):
    """Somebody has proved who it is, and may not come: out of a script, for the log alone."""


@dataclass(frozen=True, slots=True)
class Met:
    """A greeting is over. identity: the key that was proved, or None. say: the last frame of it.
    task: of a service, for which the link is."""

    role: Role
    identity: bytes | None = None
    say: bytes = b""
    task: str | None = None

    __repr__ = short


Script: TypeAlias = Generator[bytes, bytes, Met]
"""A greeting: yields what it says, is sent what it hears, and returns whom it has met. None knows a
clock or a link; `Greeted` has both."""


@dataclass
class _Link:
    """owed: bytes of its greeting that have not left."""

    script: Script
    owed: int = 0
    met: Peer | None = None


# Theory of operation.
#
# These are rounds around rounds. A driver calls them as it calls any others, and they call those
# inside in the same words, but for one thing: the inner rounds hear of a peer once it has said, or
# proved, who it is, and then under that role and identity. So no policy has to think of links that
# are nobody yet, and the driver does not know that there is such a thing as a greeting.
#
# A link that is nobody yet costs memory and a descriptor, and it is the cheapest thing to make: it
# takes one connection, and no word. Two numbers bound it. Each has its seconds, from the moment the
# link is there, whatever it says meanwhile: a byte now and then does not prolong it. And all links
# together have a number. When that is reached, the one that has been nobody for longest goes for
# the newest, of the address that holds most of them, because an honest caller speaks at once; where
# every link has greeted, it is the new one that is turned away, or a flood could push out whoever
# is known.
#
# Bytes of the greeting are not the inner rounds' to count: `flushed` is shared out in the order in
# which it was posted, first what was said here. Names are the driver's and stay: a peer that was
# met differs from its link in role and identity only, and is kept beside it as long as it lasts.
class Greeted:
    """Rounds that hear only of peers that have greeted (`secagg.rounds.base.Rounds`)."""

    def __init__(
        self,
        rounds: Rounds,
        script: Callable[[Peer], Script],
        *,
        most: int | None = None,
        timeout: float = TIMEOUT,
        watch: Watch | None = None,
    ) -> None:
        """script: what is said and heard on a link, by whom the driver says it leads to. most:
        links in all, greeted or not; None has no limit, for whoever opens its links itself. watch:
        hears of whoever is refused."""
        self._rounds, self._script = rounds, script
        self._most, self._timeout = most, timeout
        self._links: dict[Peer, _Link] = {}
        self._nobody: dict[Peer, float] = {}  # until when each must have greeted, the oldest first
        self._crowd, self._came = Crowd(), 0  # of these
        self._outer: dict[Peer, Peer] = {}  # by peer as the inner rounds know it: its link
        self._posts: list[Post] = []
        self._let_go: list[Peer] = []
        self._repeats = Repeats(watch=watch)

    def bound(self, most: int, timeout: float) -> None:
        """By others from now on: of whoever comes."""
        self._most, self._timeout = most, timeout

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        self._rounds.restore(rows, now)

    def joined(self, peer: Peer, now: float) -> None:
        if self._most is not None and len(self._links) >= self._most and not self._made_room(now):
            said = "%s%s was turned away: %d are open", peer.name, peer.at, len(self._links)
            self._repeats.refused(Refused.FULL, log, Event.LINK_TURNED_AWAY, now, *said)
            self._let_go.append(peer)
            return
        self._links[peer] = _Link(self._script(peer))
        self._nobody[peer] = now + self._timeout
        self._crowd.add(peer, self._came)
        self._came += 1
        self._go_on(peer, None, now)

    def left(self, peer: Peer, now: float) -> None:
        if (link := self._forget(peer)) is not None and link.met is not None:
            del self._outer[link.met]
            self._rounds.left(link.met, now)

    def dismiss(self, whom: Callable[[Peer], bool], now: float) -> None:
        """Ends the links of those whom the rounds inside have met and who may not stay, as whoever
        is revoked (specs/51-admission.md, rule G5). whom: is asked of each, as it was met."""
        for link in [link for met, link in self._outer.items() if whom(met)]:
            self.left(link, now)
            self._let_go.append(link)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        if (link := self._links.get(peer)) is None:
            return  # let go, and still talking
        if link.met is None:
            self._go_on(peer, frame, now)
        else:
            self._rounds.received(link.met, frame, now)

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        if (link := self._links.get(peer)) is None:
            return
        own = min(size, link.owed)
        link.owed -= own
        if link.met is not None and size > own:
            self._rounds.flushed(link.met, size - own, now)

    def finished(self, work: Work, value: Any, now: float) -> None:
        self._rounds.finished(work, value, now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        self._rounds.failed(work, error, now)

    def refused(self, refusal: Refusal, now: float) -> None:
        self._rounds.refused(refusal, now)

    def tick(self, now: float) -> None:
        while self._due <= now:
            late = next(iter(self._nobody))
            why = f"the handshake took more than {self._timeout:g} seconds"
            self._refuse(late, Refused.SLOW, why, now)
        self._rounds.tick(now)

    def ready(self, peer: Peer) -> bool:
        link = self._links.get(peer)
        return link is not None and (link.met is None or self._rounds.ready(link.met))

    def known(self, peer: Peer) -> bool:
        """Whether it is here and has greeted."""
        return self.met(peer) is not None

    def met(self, peer: Peer) -> Peer | None:
        """As the rounds inside know it; None of who has not greeted, or is gone."""
        return None if (link := self._links.get(peer)) is None else link.met

    def close(self) -> None:
        """What was only counted is written to the log."""
        self._repeats.close(log)

    def take(self) -> Effects:
        inner = self._rounds.take()
        outer = self._outer
        posts = [replace(p, peer=outer[p.peer]) for p in inner.posts if p.peer in outer]
        let_go = [outer[peer] for peer in inner.let_go if peer in outer]
        posts, self._posts = [*self._posts, *posts], []
        let_go, self._let_go = [*self._let_go, *let_go], []
        due = min(inner.due, self._due)
        return replace(inner, posts=tuple(posts), let_go=tuple(let_go), due=due)

    @property
    def _due(self) -> float:
        """Of whoever has been nobody for longest, as all have the same time."""
        return next(iter(self._nobody.values()), math.inf)

    def _go_on(self, peer: Peer, frame: bytes | None, now: float) -> None:
        """A step of the greeting. frame: what was heard, None at its beginning."""
        link = self._links[peer]
        try:
            said = next(link.script) if frame is None else link.script.send(frame)
        except StopIteration as over:
            self._meet(peer, link, over.value, now)
        except _REFUSED as error:
            kind = Refused.ROLE if isinstance(error, Unwelcome) else Refused.GREETING
            self._refuse(peer, kind, str(error), now)
        else:
            self._say(peer, link, said)

    def _meet(self, peer: Peer, link: _Link, met: Met, now: float) -> None:
        """From here on the inner rounds have it, under the identity and role that it has shown."""
        self._say(peer, link, met.say)
        link.met = replace(peer, identity=met.identity, role=met.role, task=met.task)
        self._known(peer)
        self._outer[link.met] = peer
        self._rounds.joined(link.met, now)

    def _say(self, peer: Peer, link: _Link, frame: bytes) -> None:
        if frame:
            link.owed += len(frame)
            self._posts.append(Post(peer, _Frame(frame)))

    def _made_room(self, now: float) -> bool:
        """By letting go who is nobody yet: the oldest, of the address that holds most."""
        if (gone := self._crowd.first) is not None:
            why = "it has not said who it is, and a newer link needs its room"
            self._refuse(gone, Refused.FULL, why, now)
        return gone is not None

    def _refuse(self, peer: Peer, kind: Refused, why: str, now: float) -> None:
        said = "%s%s was refused: %s", peer.name, peer.at, why
        self._repeats.refused(kind, log, Event.LINK_REFUSED, now, *said)
        self._forget(peer)
        self._let_go.append(peer)

    def _forget(self, peer: Peer) -> _Link | None:
        self._known(peer)
        return self._links.pop(peer, None)

    def _known(self, peer: Peer) -> None:
        """It has greeted, or is gone."""
        self._nobody.pop(peer, None)
        self._crowd.discard(peer)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One that is bytes already."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def encode(self) -> bytes:
        return self.data
