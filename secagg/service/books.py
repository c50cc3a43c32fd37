"""What a service remembers beside its rounds: who may come, what was done, and what came out.

Every change is rows, and its line in the audit is one of them: they are stored in one transaction,
before anybody hears that it was made (specs/52-books.md, rules B1 and B2). Time is an argument, in
unix seconds, as what is remembered outlives a process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from secagg.effects import NAMESPACE_SIZE, Write
from secagg.errors import Aborted, IntegrityError
from secagg.party import Aggregate
from secagg.rights import ServiceRole
from secagg.rounds import admissions, epochs
from secagg.rounds.admission import State
from secagg.rounds.admissions import Admissions, Change
from secagg.rounds.epochs import Epochs, Taken
from secagg.rounds.round import End
from secagg.service import audit, results
from secagg.service.audit import Audit, Deed, Line, Value
from secagg.service.results import Results
from secagg.wire.hello import Service

log = logging.getLogger(__name__)

_SPACES = (admissions.NAMESPACE, epochs.NAMESPACE, audit.NAMESPACE, results.NAMESPACE)
OWNER = "service"
"""Who does what nobody has asked for, in the audit."""


class Books:
    """Of one service, as they are now. What a method returns is to be stored, with what else it
    belongs to, before anything is said of it."""

    def __init__(self, service: Service) -> None:
        self.admissions = Admissions(service)
        self.epochs = Epochs(service)
        self.audit, self.results = Audit(), Results()
        self._lines: list[Line] = []

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """From all that the store has, by ascending key; what is no row of these is left alone.
        Raises StorageError for a damaged one."""
        own: dict[bytes, list[tuple[bytes, bytes]]] = {space: [] for space in _SPACES}
        for key, value in rows:
            if (found := own.get(key[:NAMESPACE_SIZE])) is not None:
                found.append((key, value))
        self.admissions = Admissions.restore(self.admissions.service, own[admissions.NAMESPACE])
        self.epochs = Epochs.restore(self.admissions.service, own[epochs.NAMESPACE])
        self.audit.restore(own[audit.NAMESPACE])
        self.results.restore(own[results.NAMESPACE])

    def note(self, deed: Deed, who: str, now: int, **what: Value) -> Write:
        """A line of the audit, as a row."""
        line, row = self.audit.add(deed, who, now, **what)
        self._lines.append(line)
        return row

    def lines(self) -> list[Line]:
        """What was noted since the last call: for a copy, once its rows are stored."""
        lines, self._lines = self._lines, []
        return lines

    def change(self, change: Change, now: int) -> list[Write]:
        """Another register, and what was done to make it so."""
        self.admissions = change.after
        noted = [
            self.note(
                Deed(done.what), done.by, now, name=done.name, role=done.role.word, **_tasks(done)
            )
            for done in change.deeds
        ]
        return [*change.writes, *noted]

    def take(self, taken: Taken, who: str, now: int) -> list[Write]:
        """The next roster of somebody, or nothing where it is there already."""
        if taken.write is None:
            return []
        self.epochs, roster = taken.after, taken.signed.roster
        said = {"epoch": roster.epoch, "members": len(roster.members), "places": roster.size}
        return [taken.write, self.note(Deed.ROSTER, who, now, **said)]

    def convicted(self, task: str, nonce: bytes, key: bytes, now: int) -> Write:
        """Evidence names the owner of that key, in a round of the task; nobody where it is nobody's
        here, as where it could not be verified."""
        found = self.admissions.holder(key)
        own = OWNER if key == self.admissions.service.key else None
        whose, number = own if found is None else found.name, nonce.hex()[:8]
        return self.note(Deed.CONVICTED, OWNER, now, name=whose, task=task, round=number)

    def ended(self, task: str, end: End, now: int) -> list[Write]:
        """A round's result, where it has one, and that it is over."""
        number = end.nonce.hex()[:8]
        if end.result is None:
            why = outcome(end)
            return [self.note(Deed.ENDED, OWNER, now, task=task, round=number, outcome=why)]
        # as the audit has it: of a clock that was set back it would be old at once, and removed
        kept = self.results.add(task, end.nonce, end.result, self.audit.date(now))
        if not kept:  # the end of a round that was told to nobody yet, once more
            return []
        said = _of(end.result)
        return [*kept, self.note(Deed.ENDED, OWNER, now, task=task, round=number, **said)]

    def enrolled(self, task: str, now: int) -> int:
        """How many may be in a round of that task."""
        return sum(
            task in one.tasks
            and one.role is ServiceRole.CLIENT
            and one.state is State.APPROVED
            and not 0 < one.expires <= now
            for one in self.admissions.entries.values()
        )

    def expire(self, results_before: int, audit_before: int, now: int) -> list[Write]:
        """What retention says is over, 500 rows at a time; empty where nothing is."""
        return self.results.expire(results_before) or self._forgotten(audit_before, now)

    def _forgotten(self, before: int, now: int) -> list[Write]:
        writes, line = self.audit.forget(before, now)
        if line is not None:
            self._lines.append(line)
        return writes


def outcome(end: End) -> str:
    """In one word of a closed list (`secagg.service.metrics.OUTCOMES`)."""
    match end.error:
        case None:
            return "done" if end.result is not None else "lost"
        case Aborted(reason=reason):
            return reason.value if reason.value in _REASONS else "failed"
        case IntegrityError():
            return "integrity"
        case _:
            return "failed"


def _tasks(done: admissions.Deed) -> dict[str, Value]:
    """Of whom a line tells: as many names as a word has room for, and how many more there are."""
    named = list(done.tasks)
    while len(said := " ".join(named)) > _NAMED:
        named.pop()
    more = len(done.tasks) - len(named)
    if not done.tasks:
        return {}
    return {"tasks": said} | ({"tasks_more": more} if more else {})


_NAMED = 200
_REASONS = frozenset({"below-threshold", "integrity", "cancelled", "lost"})


def _of(total: Aggregate) -> dict[str, Value]:
    return {
        "outcome": "done",
        "contributors": total.count,
        "dropped": len(total.dropped),
    }
