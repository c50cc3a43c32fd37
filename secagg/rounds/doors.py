"""What strangers hold open: links that are not open yet, and messages that are not whole yet."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from secagg.repeats import Repeats
from secagg.rounds.quota import Limits, most_crowding
from secagg.watch import Cut, Event, Refused, Watch
from secagg.wire.frame import MAX_SIZE

# Theory of operation.
#
# Before a link is a peer of any rounds, a stranger has cost this process a descriptor, and while a
# message of it is under way, memory. Neither can be refused beforehand: all come in by this door,
# and nobody has said yet who it is. What can be done is to bound both, and to choose who goes when
# the bound is reached, so that whoever does what a client does is served.
#
# A link that is passing, on its way in or out, has a few seconds for each step and one of a few
# places. When they are full, the oldest link of the address that holds most of them goes. An honest
# one has passed by in the time of a few round trips, so a flood of links that say nothing pushes
# out itself. On its way in are a handshake of TLS, a request's header, and, where whoever has the
# link wants to know who it is, what is said about that: until then its messages are small, and a
# larger one ends it by its announced length. How long that may take is for those to say who ask
# (`secagg.rounds.greeting`), whatever the link runs over; its place is of the same few. A request
# that becomes no link has its place too, and more time, as somebody waits for the answer.
#
# Where all links are taken by those who have said who they are, nobody is to be pushed out, and a
# newcomer may be told so before anything that it says is read (`full`).
#
# Messages that have begun and are not whole share so many bytes, a quarter of which is for the
# small ones, so that nobody's keys wait for somebody's model. A link says how long its message will
# be before it comes, and waits, unread, where there is no room for all of it: reserving less would
# let all of them get stuck half-way. While somebody waits, a message must earn its room: each has
# credit for two seconds, bytes that come extend it by as long as they take at the lowest speed that
# is still an uplink, but never further than that ahead, and half a minute is the end of it. The
# message that has been without credit for the longest time makes room, with its link. While nobody
# waits, all may take their time: the deadline of their phase judges them, and what they miss in a
# row (`silence`).
#
# And a link may not make work by cutting its messages into crumbs, or by pings: each piece that is
# no whole message must bring a kilobyte with it, or a second, beyond the first few. A number for
# each message would end links behind proxies that cut frames anew, to the size of their buffers.
#
# Nothing here reads a clock or a socket: `take` says which links are to be cut, which may be read
# on, and when to ask again.

log = logging.getLogger(__name__)

CREDIT = 2.0
"""Seconds ahead for which a message that comes has its room, at most."""
LONGEST = 30.0
"""Seconds for which one has it that comes fast, while others wait."""
SLOWEST = 16 << 10
"""Bytes a second that are fast enough: a telephone at the edge of its network."""
SMALL = 64 << 10
"""Bytes of a message that needs none of the room of large ones."""
PIECE = 1 << 10
"""Bytes that allow for one more piece of a message."""


class Verdicts(NamedTuple):
    """cut: links that end now, and why. read_on: those that were told to wait. due: when the next
    verdict may fall by itself, in monotonic seconds."""

    cut: dict[Hashable, Cut]
    read_on: tuple[Hashable, ...]
    due: float


@dataclass(slots=True)
class _Door:
    """until: when it must have passed. known: it has said who it is; None where nobody asks. most:
    bytes that the message under way may have, as it was when it began; message: those that it has.
    room: bytes reserved, large or not, since begun; credit: until when."""

    address: str
    since: float
    until: float = math.inf
    known: bool | None = None
    most: int = MAX_SIZE
    message: int = 0
    room: int = 0
    large: bool = False
    got: int = 0
    begun: float = 0.0
    credit: float = 0.0

    @property
    def owing(self) -> float:
        """From when on it may have to make room; never where all has come and we are late."""
        return math.inf if self.got >= self.room else min(self.credit, self.begun + LONGEST)


class Doors:
    """Judges every link of a listening process from the first moment to the last."""

    def __init__(self, limits: Limits | None = None, watch: Watch | None = None) -> None:
        """watch: hears of every link that is cut, and of every one that has come through."""
        self._limits = limits or Limits()
        self._doors: dict[Hashable, _Door] = {}
        self._passing: dict[Hashable, str | None] = {}  # the address of each, the oldest first
        self._known = 0  # those that have said who they are
        self._holding: dict[Hashable, _Door] = {}  # those with room
        self._waiting: dict[Hashable, int] = {}  # bytes of the whole message, the first come first
        self._reserved = {True: 0, False: 0}  # bytes of large messages, and of small ones
        self._most = _shared(self._limits)
        self._cut: dict[Hashable, Cut] = {}
        self._read_on: list[Hashable] = []
        self._repeats = Repeats(watch=watch)

    def bound(self, limits: Limits) -> None:
        """By others from now on; who is on its way has the seconds that it had."""
        self._limits, self._most = limits, _shared(limits)

    def opened(self, link: Hashable, address: str, now: float, *, tls: bool = False) -> None:
        """A connection has been accepted; nothing is known of it but its address. tls: it begins
        with a handshake."""
        self._doors[link] = _Door(address, now)
        self._passes(link, self._limits.handshake if tls else self._limits.opening, now)

    def secured(self, link: Hashable, now: float) -> None:
        """Its handshake is over, and its request to come."""
        self._waits(link, self._limits.opening, now)

    def asked(self, link: Hashable, now: float) -> None:
        """It has made a request that is none for a link."""
        self._waits(link, self._limits.request, now)

    def answered(self, link: Hashable, now: float) -> None:
        """It has its answer, and may make another request."""
        self._waits(link, self._limits.opening, now)

    def greeted(self, link: Hashable, now: float) -> None:
        """It is a link now: whoever has it counts it from here on."""
        if (door := self._doors.get(link)) is not None:
            door.until = math.inf
            del self._passing[link]

    def unknown(self, link: Hashable, now: float) -> None:
        """Whoever has it waits for it to say who it is, and knows for how long."""
        door = self._doors.get(link)
        if door is not None and door.known is None and link not in self._passing:
            door.known = False
            self._passes(link, math.inf, now)

    def known(self, link: Hashable, now: float) -> None:
        """It has said who it is."""
        if (door := self._doors.get(link)) is not None and door.known is False:
            door.known = True
            self._known += 1
            del self._passing[link]
            self.watch.linked(now - door.since)

    def leaving(self, link: Hashable, now: float) -> None:
        """Whoever had it is done with it; what was said last may still be on its way."""
        door = self._doors.get(link)
        if door is not None and (link not in self._passing or door.known is False):
            self._unknow(door)
            self._passes(link, self._limits.leaving, now)

    def closed(self, link: Hashable, now: float) -> None:
        """It is gone, of itself or because it was cut."""
        if link in self._doors:
            self._forget(link, now)

    def reads(
        self,
        link: Hashable,
        now: float,
        *,
        pieces: int,
        size: int,
        pending: int,
        got: int,
        message: int = 0,
        most: int = MAX_SIZE,
    ) -> bool:
        """Whether a link that has sent this may be read on; else it is named when it may.

        pieces, size: of all that it ever sent, frames that are no whole message, and bytes.
        pending: bytes of what it has begun to say and nobody has taken yet, as announced; got:
        those of them that have come. message: those of the message that is not whole yet; most: as
        many as are due from whoever has the link.
        """
        if (door := self._doors.get(link)) is None:
            return False
        if door.known is False and pending > self._limits.stranger:
            why = f"a message of {pending} bytes, and it has not said who it is"
            self._ends(link, Refused.TOO_LARGE, why, now)
        elif message > _allowed(door, message, most):
            why = f"a message of {message} bytes, and at most {door.most} are due from it"
            self._ends(link, Refused.TOO_LARGE, why, now)
        elif pieces > self._limits.fragments + size // PIECE + int(now - door.since):
            why = f"it sends crumbs: {pieces} pieces in {size} bytes"
            self._ends(link, Refused.CRUMBS, why, now)
        elif not pending:
            self._returns(link, now)
        else:
            self._earn(door, got, now)
            if pending > door.room and not self._reserve(link, pending, now):
                self._waiting[link] = pending
        return link in self._doors and link not in self._waiting

    @property
    def full(self) -> bool:
        """Whether as many as may have links have said who they are, so that none makes room."""
        return self._known >= self._limits.links

    @property
    def watch(self) -> Watch:
        """Who hears of what happens at these doors."""
        return self._repeats.watch

    @property
    def passing(self) -> int:
        """How many are on their way in or out, and have not said who they are."""
        return len(self._passing)

    @property
    def buffered(self) -> int:
        """Bytes that have come of messages that are not whole, or were not taken."""
        return sum(min(door.got, door.room) for door in self._holding.values())

    @property
    def quiet(self) -> bool:
        """Whether `take` has nothing to say that it has not said before."""
        return not (self._cut or self._read_on or self._waiting)

    def starved(self, now: float) -> None:
        """There was no descriptor for another connection: whoever passes makes room."""
        said = "no descriptor is left for another connection"
        self._repeats.warn(log, Event.NO_DESCRIPTOR, now, said)
        if self._passing:
            link = most_crowding(self._passing)
            self._ends(link, Refused.FULL, "no descriptor was left for another", now)

    def tick(self, now: float) -> None:
        """The time that `due` named has come; harmless at any other."""
        for link in [one for one in self._passing if self._doors[one].until <= now]:
            self._ends(link, Refused.SLOW, "it was not opened, or closed, in time", now)
        while (owing := self._owing()) and min(owing.values()) <= now:
            slow = min(owing, key=owing.__getitem__)
            why = "its message stood still while others waited for room"
            self._ends(slow, Refused.SLOW, why, now)

    def take(self) -> Verdicts:
        """All that follows, once: to be called after each call."""
        passing = (self._doors[one].until for one in self._passing)
        due = min([*passing, *self._owing().values()], default=math.inf)
        taken = Verdicts(self._cut, tuple(self._read_on), due)
        self._cut, self._read_on = {}, []
        return taken

    def close(self) -> None:
        """What was only counted is written."""
        self._repeats.close(log)

    # Inside

    def _waits(self, link: Hashable, seconds: float, now: float) -> None:
        """Its next step; its place stays as old as it is."""
        if link in self._passing:
            self._doors[link].until = now + seconds

    def _passes(self, link: Hashable, seconds: float, now: float) -> None:
        """So many seconds from now, in or out; over the limit of such links, one of them goes."""
        door = self._doors[link]
        door.until = now + seconds
        self._passing[link] = door.address
        if len(self._passing) > self._limits.passing:
            why = f"{self._limits.passing} have not said who they are, most of them of its address"
            self._ends(most_crowding(self._passing), Refused.FULL, why, now)

    def _earn(self, door: _Door, got: int, now: float) -> None:
        """Credit for the bytes that have come since the last time. got: of this message, in all."""
        fresh = got - door.got if got > door.got else 0
        door.got = got
        if door.room:
            earned = max(door.credit, now) + fresh / SLOWEST
            door.credit = min(earned, now + CREDIT)

    def _reserve(self, link: Hashable, pending: int, now: float) -> bool:
        """Also beyond the limit, where it is the only one of its kind."""
        door, large = self._doors[link], pending > SMALL
        own = door.room if door.large is large else 0
        others = self._reserved[large] - own
        if others and others + pending > self._most[large]:
            return False
        if not door.room:
            door.begun, door.credit = now, now + CREDIT
        self._reserved[door.large] -= door.room
        self._reserved[large] += pending
        door.room, door.large, self._holding[link] = pending, large, door
        return True

    def _owing(self) -> dict[Hashable, float]:
        """From when on each may have to make room, of the kinds that somebody waits with."""
        kinds = {pending > SMALL for pending in self._waiting.values()}
        return {link: d.owing for link, d in self._holding.items() if d.large in kinds}

    def _returns(self, link: Hashable, now: float) -> None:
        """Its room, to those who wait, in their order, as far as it goes."""
        if (door := self._holding.pop(link, None)) is None:
            return
        self._reserved[door.large] -= door.room
        door.room = door.got = 0
        for waiting, pending in tuple(self._waiting.items()):
            if self._reserve(waiting, pending, now):
                del self._waiting[waiting]
                self._read_on.append(waiting)

    def _ends(self, link: Hashable, why: Refused, words: str, now: float) -> None:
        said = "a connection of %s was cut: %s", self._doors[link].address, words
        self._repeats.refused(why, log, Event.LINK_CUT, now, *said)
        self._cut[link] = Cut(why, words)
        self._forget(link, now)

    def _forget(self, link: Hashable, now: float) -> None:
        """Whatever was kept for it is free, and those that wait for room may have it."""
        self._passing.pop(link, None)
        self._waiting.pop(link, None)
        if link in self._read_on:
            self._read_on.remove(link)
        self._returns(link, now)
        self._unknow(self._doors.pop(link))

    def _unknow(self, door: _Door) -> None:
        """It is no link any more."""
        self._known -= door.known is True
        door.known = None


def _allowed(door: _Door, message: int, most: int) -> int:
    """What is due changes while it comes: what was when it began still is."""
    if not door.message or message < door.message:
        door.most = most
    door.message = message
    return door.most


def _shared(limits: Limits) -> dict[bool, int]:
    """Bytes of all large messages that are not whole, and of all small ones."""
    quarter = limits.unfinished // 4
    return {True: limits.unfinished - quarter, False: quarter}
