"""What a server has written down of its rounds, until it is in a safe place."""

from __future__ import annotations

from collections.abc import Mapping

from secagg.rounds.base import ROUND, ROUNDS, Outbox, Rows
from secagg.rounds.clock import RoundReport
from secagg.rounds.hosting import Written, written_in
from secagg.rounds.opening import Opening

# Theory of operation.
#
# A transcript shows what a server has said, and the evidence beside it whoever lied. Both are rows
# as long as their round runs, and what an application makes of them, a file mostly, lies in no
# transaction with these rows: were the rows to go first, a death in between would lose both. So the
# file comes first, and the rows go when the application says that it is there.
#
# They wait for their round as well. As long as it has rows of its own the next process takes it up,
# and gives out its end with what was written down of it: the same as before, for nothing is added
# to a session that has died. Dying between the two leaves one of two things. The file, and rows
# from which the same file is made again; whoever writes files finds it there, and leaves it. Or
# rows alone, of a round that is over and that everybody was told the end of, as a round is that was
# cancelled: these are `left`, and are given out by themselves.
#
# What cannot be filed, as a disk is full, stays, and the next process tries again. Whoever files
# nothing has the report in memory, and the rows go with the round's.

_TOLD, _FILED = "told", "filed"


class Filing:
    """Of the rounds of one server. durable: whether there are rows. files: whether the application
    files what was written down."""

    def __init__(self, outbox: Outbox, durable: bool, files: bool) -> None:
        self._outbox, self._durable = outbox, durable
        self._first = {_TOLD, _FILED} if files else {_TOLD}
        self._missing: dict[bytes, set[str]] = {}
        self._left: dict[bytes, RoundReport] = {}

    def opened(self, opening: Opening) -> None:
        """A round begins, or is taken up; where clients sign it has such rows."""
        if self._durable and opening.task.plan.suite.signed:
            self._missing[written_in(opening.nonce)] = set(self._first)

    def told(self, nonce: bytes) -> None:
        """The round has no other rows any more, but for its last word."""
        self._done(written_in(nonce), _TOLD)

    def filed(self, place: bytes) -> None:
        """What was written down is safe. place: `written_in` of the nonce, or as `left` has it."""
        self._done(place, _FILED)

    def left(self) -> Mapping[bytes, RoundReport]:
        """What a process before this one has not filed of rounds that it had told the end of, each
        under the place that `filed` takes. Once: what is not filed now, the next process has."""
        left, self._left = self._left, {}
        return left

    def restore(self, found: Mapping[tuple[bytes, bytes], Rows]) -> None:
        """found: all rows, by namespace and owner."""
        rows = {place: own for (place, owner), own in found.items() if owner == ROUNDS}
        go_on = {written_in(nonce) for nonce, own in rows.items() if ROUND in own}
        for place in rows.keys() - go_on:
            written = Written()
            if written.restore(rows[place]):
                self._missing[place] = self._first - {_TOLD}
                said = written.transcript, written.evidence
                report = RoundReport({}, 0.0, 0.0, transcript=said[0], evidence=said[1])
                self._left |= {place: report} if self._missing[place] else {}
                self._forget(place)

    def _done(self, place: bytes, what: str) -> None:
        if place in self._missing:
            self._missing[place].discard(what)
            self._forget(place)

    def _forget(self, place: bytes) -> None:
        if not self._missing[place]:
            self._outbox.forget(place)
            del self._missing[place]
