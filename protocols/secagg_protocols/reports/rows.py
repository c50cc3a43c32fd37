"""Rows of a batch at a server, beside those of its reports (specs/20-additive.md §9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from secagg import errors
from secagg.errors import StorageError, WireError
from secagg.types import AbortReason
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports.book import Book, Row
from secagg_protocols.reports.context import Seat
from secagg_protocols.reports.messages import Included, Statement, Tag, Total
from secagg_protocols.reports.scheme import Scheme, Share, Sum
from secagg_protocols.reports.states import Stage

# `Progress` and `Tally` are the two things of a batch that change and must be stored: in which
# stage it is, and the sum so far. Each knows its row and whether that is still as stored.
# `BatchRows` is the way back, and refuses what no server can have left: a row that is missing must
# not let a report be summed twice, nor a total be made again.

SUM, BATCH, AGREEMENT = b"s", b"b", b"a"
"""Before the number of the batch; a report's row begins with r, and that of its check with x."""
_COUNT = 4
_TORN = "rows of a batch are missing in the store: use this server's own, whole"


class Progress:
    """The stage of a batch, and what it ended with.

    total, agreement: the messages, once locked: bytes that are said again for ever. failure: of one
    that ended by an abort. waited: a collector has asked and has no total yet. answered: one has
    been given the total, since this process started.
    """

    def __init__(self, number: int) -> None:
        self.stage = Stage.IDLE
        self.total = self.agreement = b""
        self.failure: errors.Aborted | None = None
        self.started = self.done = False
        self.waited = self.answered = False
        self._number = number
        self._changed: dict[bytes, bytes | None] = {}

    @property
    def over(self) -> bool:
        """Nothing is added any more: the set is locked, or the batch aborted."""
        return self.stage in (Stage.LOCKED, Stage.ABORTED)

    def enter(self, stage: Stage) -> None:
        self.stage = stage
        reason = bytes([self.failure.reason.code]) if self.failure else b""
        self._put(BATCH, bytes([stage.code]) + (reason or self.total))

    def lock(self, total: bytes, agreement: bytes) -> None:
        """The signed set is stored beside the total: it is the proof of what all agreed on. The
        sum's row goes in the same transaction: from here on the sum is in the total alone."""
        self.total, self.agreement = total, agreement
        self.enter(Stage.LOCKED)
        self._put(AGREEMENT, agreement)
        self._put(SUM, None)

    def abort(self, why: errors.Aborted) -> None:
        """Done at once, also where it was never started: nothing that such a batch says is waited
        for."""
        self.failure = why.again()
        self.started = self.done = True
        self.enter(Stage.ABORTED)
        self._put(SUM, None)

    def take_up(self, rows: BatchRows) -> None:
        """Of an abort the words are gone, and the reason is kept."""
        self.stage, self.total, self.agreement = rows.stage, rows.total, rows.agreement
        if rows.reason is not None:
            self.failure = errors.aborted(rows.reason, "before a restart")
            self.done = True

    def rows(self, tally: Tally) -> dict[bytes, bytes | None]:
        """What has changed since the last call."""
        changed, self._changed = self._changed, {}
        if (grown := tally.row()) is not None:
            changed[SUM + self._number.to_bytes(4)] = grown
        return changed

    def _put(self, kind: bytes, value: bytes | None) -> None:
        self._changed[kind + self._number.to_bytes(4)] = value


class Tally:
    """The sum of the included reports, as long as the batch is open."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self.total: Sum = scheme.zeros()
        self._count = 0
        self._grown = False  # it is not stored as it is

    def add(self, share: Share) -> None:
        self._scheme.add(self.total, share)
        self._count += 1
        self._grown = True

    def row(self) -> bytes | None:
        """How many reports are in it; then the sum, as the scheme stores it. None if stored."""
        if not self._grown:
            return None
        self._grown = False
        return self._count.to_bytes(_COUNT) + self._scheme.store(self.total)

    # A missing row is the sum of no reports: a batch that has a stage and no report wrote none.
    # That it is not a row that was lost is asked by `BatchRows.check`, which counts.
    def take_up(self, rows: BatchRows) -> None:
        if rows.sum is not None:
            self.total, self._count = rows.sum, rows.summed

    def forget(self) -> None:
        self.total, self._grown = (), False


@dataclass(frozen=True)
class BatchRows:
    """What the store has of one batch, checked for what no server can have left (§9.6).

    total, agreement: the messages, once locked. agreed: the set of these. summed: the reports that
    are in the sum.
    """

    stage: Stage = Stage.IDLE
    reason: AbortReason | None = None
    total: bytes = field(default=b"", repr=False)
    agreement: bytes = field(default=b"", repr=False)
    agreed: Included | None = None
    summed: int = 0
    sum: Sum | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        return self.stage in (Stage.LOCKED, Stage.ABORTED)

    @classmethod
    def read(cls, stored: Mapping[bytes, bytes], seat: Seat) -> BatchRows:
        """Raises StorageError for rows that are none, or that cannot stand together."""
        at = seat.number.to_bytes(4)
        stage, vector, agreement = (stored.get(kind + at) for kind in (BATCH, SUM, AGREEMENT))
        one = cls() if stage is None else _read_stage(bytes(stage), seat)
        locked = one.stage is Stage.LOCKED
        # Of a locked batch agreement and total are written together, and the sum is deleted in the
        # same transaction: a store with one and not the other has lost a row, or gained one.
        if locked is (agreement is None) or (not one.over and _is_later(stored, seat.number)):
            raise StorageError(_TORN)
        if vector is not None and (one.over or one.stage is Stage.IDLE):
            raise StorageError(_TORN)
        if agreement is not None and agreement != one.agreement:
            raise StorageError("the stored agreement is not that of the stored total")
        if vector is None:
            return one
        total = seat.context.scheme.restore(bytes(vector[_COUNT:]))
        return cls(one.stage, summed=int.from_bytes(vector[:_COUNT]), sum=total)

    def check(self, book: Book) -> None:
        """Every included report is in the sum, or in the set that is locked, and no other is: of a
        report whose row is gone, a repeat would be summed again."""
        if self.stage is Stage.LOCKED:
            whole = book.set_of() == self.agreed
        else:
            whole = self.stage is Stage.ABORTED or len(book.included) == self.summed
        if not whole:
            raise StorageError(_TORN)

    def check_row(self, row: Row, number: int) -> None:
        """A batch has a stage before it has a report."""
        if self.stage is Stage.IDLE and row.batch == number:
            raise StorageError(_TORN)


def _is_later(keys: Iterable[bytes], number: int) -> bool:
    """A batch begins when the one before is over."""
    return any(key[:1] == BATCH and int.from_bytes(key[1:]) > number for key in keys)


def _read_stage(value: bytes, seat: Seat) -> BatchRows:
    """Raises StorageError for a stage that is none, and for one with more or less than it has."""
    stage, rest = Stage.from_code(value[0]) if value else None, value[1:]
    if stage is Stage.LOCKED:
        return _read_locked(rest, seat)
    if stage is Stage.ABORTED and len(rest) == 1 and (reason := AbortReason.from_code(rest[0])):
        return BatchRows(stage, reason)
    if stage in (Stage.UPLOAD, Stage.AGREE) and not rest:
        return BatchRows(stage)
    raise StorageError("the stored batch is in no stage that is known")


def _read_locked(total: bytes, seat: Seat) -> BatchRows:
    """The agreement is made again from the total, to be compared with its own row."""
    reader = Reader(total)
    try:
        tag, bound = read_header(reader)
        read = Total.read(reader, seat.context.shape)
    except WireError as error:
        raise StorageError("the stored total is none: use the store of a backup") from error
    if (tag, bound) != (Tag.TOTAL, seat.batch):
        raise StorageError("the stored total is of another batch: use the store of this server")
    agreed: Statement = read.agreement
    agreement = agreed.encode(Tag.AGREEMENT, seat.batch)
    return BatchRows(Stage.LOCKED, None, total, agreement, agreed.included)
