"""How much anybody may send, and how much may wait for anybody: the last numbers allowed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from secagg.arguments import integer, seconds
from secagg.types import MAX_CLIENTS
from secagg.wire.frame import DEFAULT_MAX_SIZE, MAX_SIZE

# Theory of operation.
#
# Nearly every limit is per link, so that whoever passes one costs itself and nobody else, and is
# judged before anything is allocated for what passed it. A round gives each of its clients a new
# allowance of frames and bytes, for every round that it is in at that moment: a protocol has at
# most a message a phase, and a late one of the round before, so whoever sends many more is
# flooding. What waits for a client that does not read is bounded too, in frames and in bytes, and
# for each round likewise; past that it is gone. Words of rounds that are over may wait beside those
# of the next, so the most rounds count of which any may be unread. An announcement may be larger
# than the bytes, and is not alone: the end of another round waits beside it, or several rounds are
# announced at once. So the bytes are those beside the announcements, and a link is not slow for
# what the application has to say to everybody.
#
# A quota says why a frame is one too many and does nothing about it: whoever owns the link lets it
# go. It counts before anything is decoded, so a frame that is none counts like any other, and no
# limit hangs on what is in one. What waits for a peer is counted off as it leaves, in whatever
# portions the transport says.
#
# A limit is the last number that is allowed, and all of them are one value: a server that takes
# fewer links, or reads larger frames, says so in one place, and a test makes any of them small.

MAX_LINKS = 10_000
SPARE = 64
"""Descriptors of a process that are for no link: its standard streams, its store, its loop."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each the last that is allowed, with the usual numbers of a server.

    frame: bytes of one. links: in all; links_each: of one identity, of which the newest counts;
    links_address: of one address, which says nothing behind a proxy or on loopback, so that only
    who sees real addresses sets it. passing: strangers, which are links on their way in or out, and
    requests that are none for a link; handshake, opening, hello, leaving: the seconds that they
    have for TLS, for the header of a request up to its answer, for saying who they are where they
    are asked, and for leaving; request: for all of a request that is none for a link. stranger:
    bytes of a message of whoever has yet to say who it is. fragments: pieces of messages, and
    pings, that a link may send at once. unfinished: bytes of messages that have begun, over all
    links. frames, volume: of one peer between two announcements, for each round that it is in;
    volume in bytes, None for four frames of the largest size. outbox, backlog: frames and bytes
    that may wait for one peer, for each round that it is in, backlog beside its announcement.
    rounds: that one client is asked to be in at once. silence: rounds missed in a row after which a
    peer is let go, of those at once one. ping: seconds between two pings to a link; pong: those for
    its answer, more than a library's 20, as a client that trains in the loop that has its link
    answers late and is not gone.

    Raises ParameterError.
    """

    frame: int = DEFAULT_MAX_SIZE
    links: int = MAX_LINKS
    links_each: int = 1
    frames: int = 64
    volume: int | None = None
    outbox: int = 64
    backlog: int = 1 << 20
    rounds: int = 64
    silence: int = 3
    links_address: int = MAX_CLIENTS
    passing: int = 512
    opening: float = 5.0
    leaving: float = 5.0
    unfinished: int = 256 << 20
    handshake: float = 5.0
    hello: float = 5.0
    request: float = 30.0
    stranger: int = 4 << 10
    fragments: int = 64
    ping: float = 20.0
    pong: float = 60.0

    def __post_init__(self) -> None:
        integer("max_size", self.frame, 1, MAX_SIZE)
        integer("max_links", self.links, 1, MAX_CLIENTS)
        integer("links_address", self.links_address, 1, MAX_CLIENTS)
        counts = ("links_each", "frames", "outbox", "backlog", "rounds", "silence")
        for name in (*counts, "stranger", "fragments"):
            integer(name, getattr(self, name), 1, MAX_SIZE)
        integer("passing", self.passing, 1, MAX_CLIENTS)
        integer("unfinished", self.unfinished, 1, 1 << 60)
        for name in ("handshake", "opening", "hello", "request", "leaving", "ping", "pong"):
            seconds(name, getattr(self, name))
        if self.volume is not None:
            integer("volume", self.volume, 1, MAX_SIZE)

    @property
    def bytes_between(self) -> int:
        """Bytes of one peer between two announcements, for each round that it is in."""
        return 4 * self.frame if self.volume is None else self.volume

    def within(self, descriptors: int | None) -> Limits:
        """Of these what a process has room for that may open so many; None is any number.

        An eighth at most is for links that are passing. ParameterError where no link would fit.
        """
        if descriptors is None:
            return self
        passing = max(1, min(self.passing, descriptors // 8))
        room = integer("descriptors for links", descriptors - SPARE - passing, 1, descriptors)
        return replace(self, links=min(self.links, room), passing=passing)

    def descriptors(self, links: int) -> int:
        """The fewest `within` which there is room for so many links."""
        needed = links + SPARE
        return needed + min(self.passing, (needed - 1) // 7)


def most_crowding(strangers: Mapping[_T, str | None]) -> _T:
    """Who goes when the places of strangers are full: the oldest of the address that holds most.

    strangers: their addresses, the oldest first; at least one. So whoever opens many links takes
    its own places, as long as others have another address; and where all have the same one, those
    that came and did nothing go before those that have just come.
    """
    held = Counter(strangers.values())
    return max(strangers, key=lambda one: held[strangers[one]])  # the first of those with as many


class Quota:
    """What one peer has used up of its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._frames = self._bytes = 0
        self._rounds = self._unread = 1
        self._waiting: deque[int] = deque()  # bytes of each frame that has not wholly left
        self._backlog = 0
        self._announced = 0  # bytes of the largest announcement since it last had read everything

    def bound(self, limits: Limits) -> None:
        """By others from now on; what was used up is."""
        self._limits = limits

    def renew(self, rounds: int = 1, size: int = 0) -> None:
        """A round is announced to it, in so many bytes, which is then in so many rounds."""
        self._frames = self._bytes = 0
        self._rounds = max(1, rounds)
        self._unread = max(self._rounds, self._unread if self._waiting else 1)
        self._announced = max(size, self._announced if self._waiting else 0)

    def received(self, size: int) -> str | None:
        """Why a frame of this size is one too many, or None."""
        self._frames += 1
        self._bytes += size
        frames, volume = self._limits.frames, self._limits.bytes_between
        if self._frames > self._rounds * frames:
            return f"more than {self._rounds * frames} frames since the last announcement"
        if self._bytes > self._rounds * volume:
            return f"more than {self._rounds * volume} bytes since the last announcement"
        return None

    def posted(self, size: int) -> str | None:
        """Why a frame of this size cannot wait for it any more, or None."""
        alone = not self._waiting
        self._waiting.append(size)
        self._backlog += size
        outbox = self._unread * self._limits.outbox
        backlog = self._unread * (self._limits.backlog + self._announced)
        if len(self._waiting) > outbox:
            return f"more than {outbox} frames wait for it"
        if self._backlog > backlog and not alone:
            return f"more than {backlog} bytes wait for it"
        return None

    def flushed(self, size: int) -> None:
        """size: of what has left, which may be part of a frame or several."""
        self._backlog -= min(size, self._backlog)
        while self._waiting and size >= self._waiting[0]:
            size -= self._waiting.popleft()
        if self._waiting:
            self._waiting[0] -= size

    @property
    def backlog(self) -> int:
        """Bytes that wait for it."""
        return self._backlog
