"""The stream of events of a service's page: whole states, one after the other, as server-sent
events (specs/51-admission.md, rules W7 and W8)."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from secagg.rounds.visitors import Session, Visitors
from secagg.service.askers import Asker
from secagg.service.board import Board
from secagg.service.config import Bounds
from secagg.service.porter import refused
from secagg.shown import short
from secagg.transport.door import STILL

# Theory of operation.
#
# A state is made when somebody is there to see it and something may have happened, not for each
# thing that happens: the process says that a turn is over, and a viewer whose time has come asks.
# All viewers of one role have the same state, which is made and encoded once for them. It has a
# number, and another only where it differs in more than the time that has passed.
#
# To whom a state could not be sent yet, no other is: it is asked for when the one before has left,
# and is the newest then. So a viewer that does not read costs what its connection buffers and one
# state, however much happens meanwhile; and as its answer does not go on, the doors end it like any
# request that takes too long.
#
# A number begins with the moment at which the process did, in milliseconds, so that one of another
# life of the process is never taken for one of this.

ALIVE = 10.0
"""Seconds after which who has nothing to hear hears so."""
CHECK = 0.5
"""Seconds between two looks whether a session has ended; a revoked one's end is heard within 1."""
FRESH, STALE = 0.2, 1.0
"""Seconds for which a state is given to others as well, and where nothing has happened."""
RETRY = 10
_STEP = 1000
_DIGITS = 20
"""Of a number that there can be."""
_Whose: TypeAlias = tuple[bytes | None, str] | None
"""A key in a role; without one what the owner has let in, and None is the owner."""


@dataclass(slots=True)
class _State:
    """said: without what follows from the time that has passed, as it was at `made`, in that turn.
    told: the same with it. text: that, as it was at `written`."""

    said: Any = None
    number: int = 0
    turn: int = 0
    made: float = -math.inf
    told: Callable[[], dict[str, Any]] = dict
    text: str = ""
    written: float = -math.inf


@dataclass
class Watching:
    """Everybody who looks on. state: of the service as an asker may see it, and the same with its
    times as of now. most: streams at once. rate: states a second, to each. board, visitors: of
    which that is. version: of this package."""

    board: Board = field(repr=False)
    visitors: Visitors = field(repr=False)
    state: Callable[[Asker], tuple[Any, Callable[[], dict[str, Any]]]] = field(repr=False)
    version: str = ""
    most: int = 50
    rate: int = 4
    here: int = 0
    _each: Counter[_Whose] = field(default_factory=Counter, repr=False)
    _turn: int = 0
    _number: int = field(default_factory=lambda: int(time.time() * 1000) * _STEP)
    _states: dict[str, _State] = field(default_factory=dict, repr=False)
    _stopping: bool = False
    _awake: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    __repr__ = short

    def news(self) -> None:
        """Something may have happened."""
        self._turn += 1
        self.wake()

    def wake(self) -> None:
        self._awake.set()
        self._awake = asyncio.Event()

    def bound(self, limits: Bounds) -> None:
        """By others from now on: of whoever comes, and of the states that they get."""
        self.most, self.rate = limits.viewers, limits.events

    def stop(self) -> None:
        """All streams end."""
        self._stopping = True
        self.wake()

    def answer(self, asker: Asker, seen: str) -> Response:
        """seen: the number that the viewer says it has seen last, or anything else."""
        if self.here >= self.most:
            why = f"{self.most} viewers look on already: in {RETRY} seconds"
            return refused(503, why, {"retry-after": str(RETRY)})
        half = max(1, self.most // 2)
        if not asker.owner and self._each[_whose(asker)] >= half:
            why = f"you look on {half} times already, and others may as well"
            return refused(503, why, {"retry-after": str(RETRY)})
        known = seen.isascii() and seen.isdigit() and len(seen) <= _DIGITS
        return _Stream(self, asker, int(seen) if known else 0)

    @contextmanager
    def looking(self, asker: Asker) -> Iterator[None]:
        """As long as a stream of it lasts."""
        whose = _whose(asker)
        self.here += 1
        self._each[whose] += 1
        try:
            yield
        finally:
            self.here -= 1
            self._each[whose] -= 1
            if not self._each[whose]:
                del self._each[whose]

    def number(self, asker: Asker) -> int:
        """Of the newest state as this asker may see it."""
        now, kept = time.monotonic(), self._states.setdefault(asker.role, _State())
        old = now - kept.made
        if old >= STALE or (old >= FRESH and kept.turn != self._turn):
            said, kept.told = self.state(asker)
            kept.turn, kept.made = self._turn, now
            if said != kept.said:
                self._number += 1
                kept.said, kept.number, kept.written = said, self._number, -math.inf
        return kept.number

    def text(self, asker: Asker) -> str:
        """That state, with its times as of now."""
        now, kept = time.monotonic(), self._states[asker.role]
        if now - kept.written >= FRESH:
            kept.text, kept.written = json.dumps(kept.told(), allow_nan=False), now
        return kept.text

    def ended(self, session: Session | None) -> str | None:
        """Why its stream ends now, if it does."""
        if self._stopping:
            return "stopping"
        if session is not None and not self.visitors.stays(session, time.monotonic()):
            return "signed-out"
        return None

    async def woken(self, seconds: float) -> None:
        """Until something may have happened, or so many seconds have passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            pass


class _Stream(Response):
    """One viewer's."""

    def __init__(self, watching: Watching, asker: Asker, seen: int) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(None, 200, headers, "text/event-stream")
        del self.headers["content-length"]
        self._watching, self._asker, self._seen = watching, asker, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        going_on = scope.get("state", {}).get(STILL, lambda: None)
        with self._watching.looking(self._asker):
            talk = asyncio.create_task(self._talk(send, going_on))
            leave = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait({talk, leave}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                talk.cancel()
                leave.cancel()
                await asyncio.wait({talk, leave})
        if not talk.cancelled():
            talk.result()

    async def _talk(self, send: Send, going_on: Callable[[], None]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        watching, session = self._watching, self._asker.session
        every, heard = 1 / watching.rate, -math.inf
        pause = min(CHECK, every)
        while (why := watching.ended(session)) is None:
            number, silent = watching.number(self._asker), time.monotonic() - heard
            if number != self._seen and silent >= every:
                self._seen, heard = number, time.monotonic()
                text = watching.text(self._asker)
                await _said(send, f"id: {number}\nevent: state\ndata: {text}\n\n")
            elif silent >= ALIVE:
                heard = time.monotonic()
                await _said(send, ": alive\n\n")
            going_on()
            await asyncio.sleep(pause)
            await watching.woken(CHECK - pause)
        await _said(send, f"event: end\ndata: {json.dumps({'why': why})}\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _whose(asker: Asker) -> _Whose:
    return None if asker.session is None else (asker.session.key, asker.role)


async def _said(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
