"""What is told of a service to whoever counts or reads its log, by kinds of closed lists.

Nobody is named here, and nothing of what a peer says is: so what is counted can be shown to anybody
who may see that there is a service.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from secagg.shown import short


class Event(enum.StrEnum):
    """What a line of a service's log is of. In JSON it is the line's `event`, by which lines are
    found and counted whatever their words are in the next release."""

    PLAIN_TEXT = "plain-text"
    NO_CACHE = "no-cache"
    NO_DESCRIPTOR = "no-descriptor"
    TLS_FAILED = "tls-failed"
    LINK_CUT = "link-cut"
    LINK_REFUSED = "link-refused"
    LINK_TURNED_AWAY = "link-turned-away"
    LINK_NOT_OPENED = "link-not-opened"
    VISIT_REFUSED = "visit-refused"
    CLIENT_LEFT = "client-left"
    CLIENT_DROPPED = "client-dropped"
    CLIENT_TURNED_AWAY = "client-turned-away"
    PARTY_DROPPED = "party-dropped"
    SHARE_UNUSABLE = "share-unusable"
    ROUND_ENDED = "round-ended"
    RESULT_NOT_COPIED = "result-not-copied"
    AUDIT_NOT_COPIED = "audit-not-copied"
    ROSTER_NOT_COPIED = "roster-not-copied"
    TRANSCRIPT_NOT_KEPT = "transcript-not-kept"
    CONVICTED = "convicted"
    MOUNTED = "mounted"
    MOUNT_ENDED = "mount-ended"
    RELOADED = "reloaded"
    RELOAD_REFUSED = "reload-refused"

    @property
    def line(self) -> Mapping[str, str]:
        """For `extra` of a call of `logging`."""
        return {"event": self.value}


class Refused(enum.StrEnum):
    """Why a connection, a link or a request was refused, or cut."""

    FULL = "full"  # there was no place, or no descriptor, for it
    SLOW = "slow"  # a step of it took too long, or others waited for its message
    CRUMBS = "crumbs"  # more pieces than its bytes allow
    TOO_LARGE = "too-large"  # a message above what its sender may send now
    TLS = "tls"  # its handshake failed
    GREETING = "greeting"  # it has not proved who it is
    ROLE = "role"  # it has, and may not come
    RATE = "rate"  # too often
    OTHER = "other"  # what it said was no message of ours


class Cut(NamedTuple):
    """Why a link ends, for the numbers and in words."""

    why: Refused
    words: str


class Watch:
    """Hears of links as they come and go. This one does nothing with it; whoever counts has another
    one. It is called from the loop that has the links, and must not raise."""

    __repr__ = short

    def refused(self, why: Refused) -> None:
        """Somebody was."""

    def linked(self, seconds: float) -> None:
        """A connection has become a link of somebody who is known, so long after its accept."""

    def carried(self, *, received: int = 0, sent: int = 0) -> None:
        """Bytes of a message of a link."""
