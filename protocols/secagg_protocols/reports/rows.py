"""Rows of a batch at a server, beside those of its reports (specs/20-additive.md §9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from secagg.errors import StorageError, WireError
from secagg.layout import Layout, RingVector
from secagg.types import AbortReason
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.additive.sharing import Context
from secagg_protocols.reports.book import Book, Row
from secagg_protocols.reports.messages import Included, Statement, Tag, Total
from secagg_protocols.reports.states import Stage

SUM, BATCH, AGREEMENT = b"s", b"b", b"a"
"""Before the number of the batch; a report's row begins with r."""
_COUNT = 4
_TORN = "rows of a batch are missing in the store: use this server's own, whole"


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
    sum: RingVector | None = field(default=None, repr=False)

    @classmethod
    def read(cls, stored: Mapping[bytes, bytes], context: Context, number: int) -> BatchRows:
        """Raises StorageError for rows that are none, or that cannot stand together."""
        at = number.to_bytes(4)
        stage, vector, agreement = (stored.get(kind + at) for kind in (BATCH, SUM, AGREEMENT))
        one = cls() if stage is None else _read_stage(bytes(stage), context, number)
        locked = one.stage is Stage.LOCKED
        over = locked or one.stage is Stage.ABORTED
        if locked is (agreement is None) or (not over and _is_later(stored, number)):
            raise StorageError(_TORN)
        if vector is not None and (over or one.stage is Stage.IDLE):
            raise StorageError(_TORN)
        if agreement is not None and agreement != one.agreement:
            raise StorageError("the stored agreement is not that of the stored total")
        if vector is None:
            return one
        summed, total = read_sum(context.layout, vector)
        return cls(one.stage, summed=summed, sum=total)

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


def _read_stage(value: bytes, context: Context, number: int) -> BatchRows:
    stage, rest = Stage.from_code(value[0]) if value else None, value[1:]
    if stage is Stage.LOCKED:
        return _read_locked(rest, context, number)
    if stage is Stage.ABORTED and len(rest) == 1 and (reason := AbortReason.from_code(rest[0])):
        return BatchRows(stage, reason)
    if stage in (Stage.UPLOAD, Stage.AGREE) and not rest:
        return BatchRows(stage)
    raise StorageError("the stored batch is in no stage that is known")


def _read_locked(total: bytes, context: Context, number: int) -> BatchRows:
    reader, batch = Reader(total), context.batch(number)
    try:
        tag, bound = read_header(reader)
        read = Total.read(reader, context.layout, context.params.servers)
    except WireError as error:
        raise StorageError("the stored total is none: use the store of a backup") from error
    if (tag, bound) != (Tag.TOTAL, batch):
        raise StorageError("the stored total is of another batch: use the store of this server")
    agreed: Statement = read.agreement
    agreement = agreed.encode(Tag.AGREEMENT, batch)
    return BatchRows(Stage.LOCKED, None, total, agreement, agreed.included)


def write_sum(summed: int, total: RingVector) -> bytes:
    """How many reports are in it; then lane by lane, little-endian, not reduced."""
    lanes = (lane.astype(lane.dtype.newbyteorder("<")).tobytes() for lane in total)
    return summed.to_bytes(_COUNT) + b"".join(lanes)


def read_sum(layout: Layout, value: bytes) -> tuple[int, RingVector]:
    """Raises StorageError for a sum of another length."""
    total = layout.zeros()
    if len(value) != _COUNT + sum(lane.nbytes for lane in total):
        raise StorageError("the stored sum has another length: use the store of this plan")
    at = _COUNT
    for lane in total:
        lane[:] = np.frombuffer(value, lane.dtype.newbyteorder("<"), lane.size, at)
        at += lane.nbytes
    return int.from_bytes(value[:_COUNT]), total
