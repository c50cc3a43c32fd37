"""What a service did and who had it done, as a chain of lines that nobody can edit unnoticed.

A line is JSON with sorted keys (specs/52-books.md, rules B4, B5, B6 and B7) and has the digest of
the line before it, so whoever knows the last digest knows them all. It is a row of the store, in
the transaction of what it tells of; a copy of the lines goes to a file for whoever watches it. No
line has a key, a token, a result or a word of a client's own: names, numbers, and what was done.

What a chain does not show is that its end is missing, or that all of it was made anew by who has
the file: for that somebody else keeps a digest now and then (`service audit verify --head`).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from secagg.crypto import labels
from secagg.effects import NAMESPACE_SIZE, ROUNDS, Write
from secagg.errors import IntegrityError, ParameterError, StorageError
from secagg.shown import short

NAMESPACE = labels.digest(labels.AUDIT)[:NAMESPACE_SIZE]
STEP = 500
"""Rows that one transaction takes away: a long one would keep rounds waiting."""
LARGEST = 2048
"""Bytes of a line."""
_BEGIN = bytes(32)
"""In the place of a digest, before the first line."""
_TEXT = 200
"""Characters of a word in a line."""

Value: TypeAlias = str | int | None


class Deed(enum.StrEnum):
    """Everything that has a line. The list is closed: a line of another kind is no line of ours."""

    STARTED = "started"
    STOPPED = "stopped"
    RELOADED = "reloaded"
    INVITED = "invited"
    ENROLLED = "enrolled"
    APPROVED = "approved"
    RENEWED = "renewed"
    REVOKED = "revoked"
    ROLE = "role"
    HASTENED = "hastened"
    ROSTER = "roster"
    """The next epoch of one was imported."""
    CONVICTED = "convicted"
    """There is evidence that somebody has lied."""
    PAUSED = "paused"
    RESUMED = "resumed"
    DRAINING = "draining"
    OPENED = "opened"
    CANCELLED = "cancelled"
    ENDED = "ended"
    RESULT_READ = "result-read"
    RESULT_TAKEN = "result-taken"
    RESULT_REMOVED = "result-removed"
    FORGOTTEN = "forgotten"
    """Older lines were removed: the line says how many, and with which digest they ended."""


@dataclass(frozen=True, slots=True)
class Line:
    """number: from 1. at: unix seconds. who: a name, or "service". digest: of this line."""

    number: int
    at: int
    deed: Deed
    who: str
    what: Mapping[str, Value]
    previous: bytes
    text: str
    digest: bytes

    __repr__ = short

    @classmethod
    def of(
        cls, number: int, at: int, deed: Deed, who: str, what: Mapping[str, Value], previous: bytes
    ) -> Line:
        """Raises ParameterError for words that are no short printable text."""
        for word in (who, *what, *what.values()):
            if isinstance(word, str) and not (word.isprintable() and len(word) <= _TEXT):
                raise ParameterError("a word of the audit is printable, and at most 200 characters")
        said = {
            "number": number,
            "at": datetime.fromtimestamp(at, UTC).isoformat(),
            "deed": deed.value,
            "who": who,
            "what": dict(what),
            "previous": previous.hex(),
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        if len(text) > LARGEST:
            raise ParameterError(f"a line of the audit has at most {LARGEST} bytes")
        return cls(number, at, deed, who, dict(what), previous, text, _digest(text))

    @classmethod
    def parse(cls, text: str) -> Line:
        """Exactly the text that `of` makes of what it says, or IntegrityError."""
        try:
            said = json.loads(text)
            number, at = said["number"], datetime.fromisoformat(said["at"])
            what, previous = said["what"], bytes.fromhex(said["previous"])
            known = isinstance(number, int) and isinstance(what, dict)
            values = all(isinstance(one, Value) for one in what.values()) if known else False
            if not (known and values and isinstance(said["who"], str)):
                raise ValueError("of other types")
            seconds = int(at.timestamp())
            made = cls.of(number, seconds, Deed(said["deed"]), said["who"], what, previous)
        except (ValueError, KeyError, TypeError, OverflowError, ParameterError, RecursionError):
            raise IntegrityError("a line of the audit is none that this code writes") from None
        if made.text != text:
            raise IntegrityError(f"line {number} of the audit was written in another way")
        return made


class Audit:
    """The chain of one service, in memory its end alone; all time is an argument."""

    def __init__(self) -> None:
        self._number = 0
        self._kept: list[tuple[int, bytes]] = []  # of each line that is kept: when, its digest

    @property
    def head(self) -> bytes:
        """The digest of the last line; 32 zero bytes before the first."""
        return self._kept[-1][1] if self._kept else _BEGIN

    @property
    def number(self) -> int:
        """Of the last line; 0 before the first."""
        return self._number

    def date(self, now: int) -> int:
        """Of what happens now: no earlier than the last line, whatever the clock says."""
        return max(now, self._kept[-1][0]) if self._kept else now

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Those of its namespace, by ascending key. Raises StorageError where they are no chain."""
        try:
            lines = [Line.parse(value.decode()) for _, value in rows]
            check(lines)
        except (IntegrityError, UnicodeDecodeError) as error:
            raise StorageError(f"the audit in the store is damaged: {error}") from None
        if lines:
            self._number = lines[-1].number
            self._kept = [(line.at, line.digest) for line in lines]

    def add(self, deed: Deed, who: str, now: int, **what: Value) -> tuple[Line, Write]:
        """The next line, and its row: to be stored with what it tells of. now: unix seconds; a
        clock that was set back does not set back the chain."""
        at = self.date(now)
        line = Line.of(self._number + 1, at, deed, who, what, self.head)
        self._number = line.number
        self._kept.append((at, line.digest))
        return line, Write(_key(line.number), line.text.encode())

    def forget(self, before: int, now: int) -> tuple[list[Write], Line | None]:
        """At most STEP lines that are older than `before`, unix seconds, as deletions, and a line
        that says with which digest they ended; nothing where there are none. The last line stays.
        """
        few = self._kept[: min(STEP, len(self._kept) - 1)]
        count = next((i for i, (at, _) in enumerate(few) if at >= before), len(few))
        if not count:
            return [], None
        first = self._number - len(self._kept) + 1
        upto, digest = first + count - 1, self._kept[count - 1][1]
        del self._kept[:count]
        gone = [Write(_key(number), None) for number in range(first, upto + 1)]
        line, row = self.add(Deed.FORGOTTEN, "service", now, upto=upto, digest=digest.hex())
        return [*gone, row], line


def check(lines: Sequence[Line], *, begin: bool = True) -> None:
    """Raises IntegrityError, with the number of the line, where one does not follow from the one
    before, or, unless these are lines from the middle, where it is not said what became of those
    before the first."""
    for before, line in zip(lines, lines[1:], strict=False):
        if line.number != before.number + 1:
            raise IntegrityError(f"after line {before.number} of the audit comes {line.number}")
        if line.previous != before.digest:
            raise IntegrityError(f"line {line.number} of the audit does not follow from the last")
        if line.at < before.at:
            raise IntegrityError(f"line {line.number} of the audit is earlier than the last")
    if lines and begin:
        _check_begin(lines)


def _check_begin(lines: Sequence[Line]) -> None:
    """Older lines go in time, and the last that went are those that a word of it names; from a copy
    none goes, and it begins with the first (rule B6)."""
    first = lines[0]
    if first.number == 1 and first.previous == _BEGIN:
        return
    gone = [line.what for line in lines if line.deed is Deed.FORGOTTEN][-1:]
    if gone != [{"upto": first.number - 1, "digest": first.previous.hex()}]:
        raise IntegrityError(
            f"the audit begins with line {first.number}, and no line of it says what became of "
            "those before"
        )


def read(text: str) -> list[Line]:
    """Every line of a copy, checked. IntegrityError, with its place where it is no line."""
    lines = []
    for place, one in enumerate(text.splitlines(), start=1):
        try:
            lines.append(Line.parse(one))
        except IntegrityError as error:
            raise IntegrityError(f"line {place} of the file: {error}") from None
    check(lines)
    return lines


def _digest(text: str) -> bytes:
    return labels.digest(labels.AUDIT, text.encode())


def number_in(key: bytes) -> int:
    """Of the line whose row has that key."""
    return int.from_bytes(key[len(NAMESPACE + ROUNDS) :])


def _key(number: int) -> bytes:
    return NAMESPACE + ROUNDS + number.to_bytes(8)
