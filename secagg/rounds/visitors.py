"""Who is at a service without a link: sessions, and links to log in with, each good once
(specs/51-admission.md §5, rules W1, W2 and W3)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from secagg.crypto.randomness import checked
from secagg.errors import CryptoError, PolicyRefused, RemoteProtocolError, WireError
from secagg.repeats import Repeats
from secagg.rights import ServiceRole
from secagg.rounds.reception import Visit
from secagg.shown import short
from secagg.types import Randomness, system_randomness
from secagg.watch import Event
from secagg.wire.frame import NONCE_SIZE
from secagg.wire.hello import CHALLENGE_SIZE

# Theory of operation.
#
# Whoever comes by requests has no link that would stand for it, so what its greeting has proved
# becomes a word that it says with each request: 32 random bytes, of which only a digest is kept
# here. They are in memory alone, because a session that outlives the process would have to be
# looked for in backups, and a greeting costs two requests.
#
# A session gives no right. It says which key was proved, in which role, and the register says at
# each request what that may: so who is revoked has nothing from that moment on, and nothing has to
# be told here. The owner's own sessions are of no key, and end with the process at the latest.
#
# A browser has no key. So somebody who may see the page asks for a link that is good once and for
# minutes, and the browser that opens it has a session of the same key. Its word is another kind,
# and is taken in a cookie alone, as the rules for those are stricter (rule W4).
#
# Greetings under way are found again by the challenge that was sent, which nobody can guess, and
# which is taken once. All that is kept is bounded: the oldest goes, and of sessions and links first
# one of the same key, so that nobody pushes out others by coming often.
#
# Impossible: that a word is found by trying, or by the time that looking takes, since what is
# looked up is its digest.

log = logging.getLogger(__name__)

SESSION = 8 * 3600.0
"""Seconds that a session lasts, whatever is done in it."""
LOGIN = 600.0
"""Seconds that a link to log in is good for."""
TOKEN_SIZE = 32
MOST_GREETINGS, MOST_SESSIONS, MOST_LOGINS = 256, 1024, 64
EACH = 8
"""Sessions of one key, and of the owner in one role, of which the newest stay; and links to log in
with."""
_HEAD = 2 + NONCE_SIZE
REPLY_SIZE = _HEAD + CHALLENGE_SIZE
_UNMET = (
    "this key is not met here: it waits for `approve`, was revoked, or has another role than its "
    "file says; the service's log says which"
)
_NO_LOGIN = "this link is unknown, was used, or is more than 10 minutes old: ask for another one"

_T = TypeVar("_T")
Greet = Callable[[], Generator[bytes, bytes, Visit]]


@dataclass(frozen=True, slots=True)
class Session:
    """key: that was proved; None is the owner's word. role: in which it was, and all that it may
    follows from. browser: its word comes in a cookie. until: monotonic seconds."""

    key: bytes | None
    role: ServiceRole
    browser: bool
    until: float
    digest: bytes = field(repr=False, default=b"")

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Entered:
    """token: what to say with each request. proof: the last frame of the greeting, which proves the
    service; empty where there was none."""

    session: Session
    token: str = field(repr=False)
    proof: bytes = b""

    __repr__ = short


class Visitors:
    """Of one service; time is an argument, in monotonic seconds."""

    def __init__(
        self,
        greet: Greet,
        why_not: Callable[[bytes, ServiceRole], str | None],
        *,
        hello: float = 5.0,
        randomness: Randomness = system_randomness,
    ) -> None:
        """greet: `secagg.rounds.reception.Reception.visit`. why_not: why this key has no session in
        this role any more; None if it has. hello: seconds of a greeting."""
        self._greet, self._why_not, self._hello = greet, why_not, hello
        self._randomness = checked(randomness)
        self._greetings: dict[bytes, tuple[float, Generator[bytes, bytes, Visit]]] = {}
        self._sessions: dict[bytes, Session] = {}
        self._logins: dict[bytes, Session] = {}
        self._repeats = Repeats()

    def hear(self, frame: bytes, now: float) -> bytes:
        """A hello; what is to be signed. Raises PolicyRefused, with one text for all (rule G3)."""
        script = self._greet()
        next(script)
        reply = self._step(script, frame, now)
        if not isinstance(reply, bytes):
            raise PolicyRefused(_UNMET)
        _make_room(self._greetings, MOST_GREETINGS)
        self._greetings[reply] = now + self._hello, script
        return reply

    def prove(self, data: bytes, now: float) -> Entered:
        """data: the frame that `hear` gave, and the proof behind it. Raises as `hear`."""
        until, script = self._greetings.pop(data[:REPLY_SIZE], (0.0, None))
        if script is None or now >= until:
            raise PolicyRefused(_UNMET)
        met = self._step(script, data[REPLY_SIZE:], now)
        if not isinstance(met, Visit):
            raise PolicyRefused(_UNMET)
        return replace(self._enter(met.key, met.role, False, now), proof=met.say)

    def login(self, key: bytes | None, role: ServiceRole, now: float) -> str:
        """The word of a link that is good once, for a browser of this key, or of the owner."""
        token, digest = self._new()
        own = [one for one, of in self._logins.items() if (of.key, of.role) == (key, role)]
        for old in own[: max(0, len(own) + 1 - EACH)]:
            del self._logins[old]
        _make_room(self._logins, MOST_LOGINS)
        self._logins[digest] = Session(key, role, True, now + LOGIN)
        return token

    def redeem(self, token: str, now: float) -> Entered:
        """Of such a link. PolicyRefused for one that is unknown, was used, or is too old."""
        found = self._logins.pop(_digest(token), None)
        if found is None or now >= found.until or self._gone(found):
            raise PolicyRefused(_NO_LOGIN)
        return self._enter(found.key, found.role, True, now)

    def who(self, token: str, browser: bool, now: float) -> Session | None:
        """Whose word this is, as long as it is good. browser: whether it came in a cookie."""
        found = self._sessions.get(_digest(token))
        if found is None or found.browser is not browser:
            return None
        return found if self.stays(found, now) else None

    def stays(self, session: Session, now: float) -> bool:
        """Whether it has not ended; what has is forgotten."""
        if self._sessions.get(session.digest) is not session:
            return False
        if now < session.until and not self._gone(session):
            return True
        self.leave(session)
        return False

    def leave(self, session: Session) -> None:
        """It ends."""
        self._sessions.pop(session.digest, None)

    def close(self) -> None:
        """What was only counted is written to the log."""
        self._repeats.close(log)

    # Inside

    def _enter(self, key: bytes | None, role: ServiceRole, browser: bool, now: float) -> Entered:
        for old in [one for one in self._sessions.values() if now >= one.until]:
            self.leave(old)
        own = [one for one in self._sessions.values() if (one.key, one.role) == (key, role)]
        for old in own[: max(0, len(own) + 1 - EACH)]:
            self.leave(old)
        _make_room(self._sessions, MOST_SESSIONS)
        token, digest = self._new()
        made = Session(key, role, browser, now + SESSION, digest)
        self._sessions[digest] = made
        return Entered(made, token)

    def _gone(self, session: Session) -> bool:
        return session.key is not None and self._why_not(session.key, session.role) is not None

    def _new(self) -> tuple[str, bytes]:
        token = self._randomness(TOKEN_SIZE).hex()
        return token, _digest(token)

    def _step(
        self, script: Generator[bytes, bytes, Visit], frame: bytes, now: float
    ) -> bytes | Visit | None:
        """None where it is refused, which the log says why."""
        try:
            return script.send(frame)
        except StopIteration as over:
            met: Visit = over.value
            return met
        except (WireError, CryptoError, RemoteProtocolError) as error:
            self._repeats.warn(log, Event.VISIT_REFUSED, now, "a visit was refused: %s", error)
            return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _make_room(kept: dict[bytes, _T], most: int) -> None:
    """The oldest goes."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
