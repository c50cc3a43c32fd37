"""The rounds of a service, and its books: what is over and what came of it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secagg.effects import Effects, Peer, Refusal, Work, Write
from secagg.rounds.course import Course
from secagg.rounds.pace import Paced
from secagg.rounds.round import End
from secagg.service.audit import Deed, Line
from secagg.service.books import OWNER, Books
from secagg.shown import short

# Theory of operation.
#
# A round that has ended is told to its clients once its result is safe, and it is safe in the row
# beside that of its end (rule B1). So both are written in the same turn: there is no moment when a
# result is kept and its round goes on, nor one when clients hear of a sum that nobody has. Who dies
# before that transaction takes the round up again; it ends alike, with the same result.
#
# What an administrator changes goes the same way: it is written with the next turn, and whoever
# asked for it hears so when that turn is over.
#
# While a turn is being stored the next things happen already. So what goes into files once it is
# stored, as the audit's copy, is of the turn that was taken, and not all that there is by then.


@dataclass
class Stored:
    """What the turns had that are stored by now: lines of the audit, and rounds that ended."""

    lines: list[Line] = field(default_factory=list)
    ends: list[tuple[str, End]] = field(default_factory=list)

    __repr__ = short


class Hosted:
    """Rounds of several tasks (`secagg.rounds.base.Rounds`) whose ends are put into books."""

    def __init__(
        self, paced: Paced, books: Books, epoch: float, told: Callable[[str, End], None]
    ) -> None:
        """paced: of tasks that are held. epoch: seconds of the wall clock when the time of calls is
        0. told: is called with each end, with its task, before its clients hear of it."""
        self.paced, self.books = paced, books
        self._epoch, self._told, self._now = epoch, told, 0.0
        self._writes: list[Write] = []
        self._ends: list[tuple[str, End]] = []
        self._stored = Stored()
        self._running: dict[str, bytes | None] = {}

    def unix(self, now: float) -> int:
        """Seconds of the wall clock."""
        return int(now + self._epoch)

    def write(self, writes: Sequence[Write]) -> None:
        """With the next turn."""
        self._writes += writes

    def stored(self) -> Stored:
        """Since the last call. To be called when a turn is over."""
        found, self._stored = self._stored, Stored()
        return found

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Raises StorageError for damaged books, WireError for a damaged pace."""
        rows = list(rows)
        self.books.restore(rows)
        self.paced.restore(rows, now)
        # a round that goes on was opened, and its line written, before
        self._running = {name: course.running for name, course in self.paced.tasks.items()}
        self._settle(now)

    def joined(self, peer: Peer, now: float) -> None:
        self.paced.joined(peer, now)
        self._settle(now)

    def left(self, peer: Peer, now: float) -> None:
        self.paced.left(peer, now)
        self._settle(now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        self.paced.received(peer, frame, now)
        self._settle(now)

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        self.paced.flushed(peer, size, now)

    def finished(self, work: Work, value: Any, now: float) -> None:
        self.paced.finished(work, value, now)
        self._settle(now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        self.paced.failed(work, error, now)
        self._settle(now)

    def refused(self, refusal: Refusal, now: float) -> None:
        self.paced.refused(refusal, now)

    def tick(self, now: float) -> None:
        self.paced.tick(now)
        self._settle(now)

    def ready(self, peer: Peer) -> bool:
        return self.paced.ready(peer)

    def take(self) -> Effects:
        self._settle(self._now)  # an operator's call may have ended a round as well
        inner = self.paced.take()
        writes, self._writes = self._writes, []
        self._stored.lines += self.books.lines()
        ends, self._ends = self._ends, []
        self._stored.ends += ends
        return replace(inner, writes=(*writes, *inner.writes))

    def _settle(self, now: float) -> None:
        self._now = max(self._now, now)
        for task, end in self.paced.ends():
            self._writes += self.books.ended(task, end, self.unix(self._now))
            self._told(task, end)
            self._ends.append((task, end))
            self.paced.tell(end.nonce, self._now)
        for name, course in self.paced.tasks.items():
            if course.running != self._running.get(name):
                self._running[name] = course.running
                self._opened(name, course)

    def _opened(self, task: str, course: Course) -> None:
        """With the terms that it is of, so that weaker ones are not promised in silence."""
        if course.running is not None:
            number, now = course.running.hex()[:8], self.unix(self._now)
            said = {"task": task, "round": number, "terms": course.terms.digest().hex()[:16]}
            self._writes.append(self.books.note(Deed.OPENED, OWNER, now, **said))
