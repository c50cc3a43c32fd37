"""What a server knows of every report of its epoch, and how it is stored (20-additive.md §5, §9).

A report is here once: pending with its opened share, or in exactly one of the maps that keep its
digest only. Rule A10: nothing leaves them before the epoch ends, so none is summed twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import StorageError, WireError
from secagg.types import Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.additive.sharing import Share
from secagg_protocols.reports.messages import ID_SIZE, Included, Sealed

_ROW = b"r"

MOST = 2
"""Reports that a helper keeps for each client of the plan, and verdicts that a leader keeps for
each on reports that it has not got: what anybody sends must not fill a server's memory."""


class State(enum.IntEnum):
    """Of a report in the store."""

    PENDING = 1
    REJECTED = 2
    INCLUDED = 3


@dataclass(slots=True)
class Pending:
    """Accepted by this server and not yet decided on.

    sender: the client, where it came from one. asker: who has brought it last, and waits for
    receipts. relayed: the helpers' sealed shares, where this server relays them. accepted: the
    receipts of the helpers that accept theirs, by index; a leader's.
    """

    digest: bytes
    share: Share = field(repr=False)
    sender: PartyId | None = None
    asker: PartyId | None = None
    relayed: tuple[Sealed, ...] = field(default=(), repr=False)
    accepted: dict[int, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored report. batch: which included or rejected it.

    kept: the message as it came, while it is pending; of one that is included, the helpers'
    receipts, back to back, where this server relays.
    """

    id: bytes
    state: State
    batch: int
    digest: bytes
    kept: Buffer = field(default=b"", repr=False)

    def encode(self) -> tuple[bytes, bytes]:
        writer = Writer().u8(self.state).u32(self.batch).raw(self.digest).prefixed(self.kept)
        return _ROW + self.id, writer.finish()

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> Row:
        reader = Reader(value)
        try:
            state, batch = State(reader.u8("state")), reader.u32("batch")
            digest = reader.fixed(DIGEST_SIZE, "digest")
            kept = reader.prefixed(reader.remaining, "kept")
            reader.finish()
        except (WireError, ValueError) as error:
            raise StorageError("a stored report is not one: use the store of a backup") from error
        if len(key) != len(_ROW) + ID_SIZE:
            raise StorageError("a stored report has no id: use the store of a backup")
        return cls(key[len(_ROW) :], state, batch, digest, kept)

    @staticmethod
    def owns(key: bytes) -> bool:
        return key.startswith(_ROW)


class Book:
    """Every report of the epoch that this server has seen, as of one batch.

    relays_to: helpers whose receipts are kept with each report that is included; 0 where none are.
    """

    def __init__(self, batch: int, relays_to: int) -> None:
        self.batch = batch
        self.pending: dict[bytes, Pending] = {}
        self.included: dict[bytes, bytes] = {}
        self.rejected: dict[bytes, bytes] = {}
        self.spent: dict[bytes, bytes] = {}  # included in another batch of the epoch
        self.refused: dict[bytes, bytes] = {}  # rejected in another
        self.left: dict[bytes, bytes] = {}  # for another: pending when this one ended
        self._receipts: dict[bytes, bytes] = {}
        self._relays_to = relays_to
        self._changed: dict[bytes, Row] = {}

    def __len__(self) -> int:
        """The reports of this batch, pending ones included."""
        return len(self.pending) + len(self.included) + len(self.rejected)

    @property
    def undecided(self) -> int:
        return len(self.pending) + len(self.left)

    def digest_of(self, id: bytes) -> bytes | None:
        """Of the report of that id, whatever became of it; None for one that is not known."""
        if id in self.pending:
            return self.pending[id].digest
        return next((m[id] for m in self._settled() if id in m), None)

    def is_rejected(self, id: bytes) -> bool:
        """In this batch or in another: whatever a server says of it, it is not that it has it."""
        return id in self.rejected or id in self.refused

    def accept(self, id: bytes, pending: Pending, message: Buffer) -> None:
        self.pending[id] = pending
        self._changed[id] = Row(id, State.PENDING, self.batch, pending.digest, message)

    def include(self, id: bytes) -> Pending:
        """The caller adds its share, which is stored with this."""
        pending = self.pending.pop(id)
        self.included[id] = pending.digest
        receipts = b""
        if self._relays_to:
            receipts = b"".join(receipt for _, receipt in sorted(pending.accepted.items()))
            self._receipts[id] = receipts
        self._changed[id] = Row(id, State.INCLUDED, self.batch, pending.digest, receipts)
        return pending

    def reject(self, id: bytes, digest: bytes) -> None:
        self.pending.pop(id, None)
        self.rejected[id] = digest
        self._changed[id] = Row(id, State.REJECTED, self.batch, digest)

    def receipts_of(self, id: bytes) -> dict[int, bytes]:
        """Of the helpers that this server relays to, as far as they have come; by index."""
        if not self._relays_to:
            return {}
        if id in self.pending:
            return dict(self.pending[id].accepted)
        kept = self._receipts.get(id, b"")
        count = len(kept) // SIGNATURE_SIZE
        return {i + 1: kept[SIGNATURE_SIZE * i :][:SIGNATURE_SIZE] for i in range(count)}

    def set_of(self) -> Included:
        return Included.of(self.included)

    def ids_of_batch(self) -> set[bytes]:
        """Every report that this batch has decided on or may still include."""
        return self.pending.keys() | self.included.keys() | self.rejected.keys()

    def end(self) -> None:
        """The batch is over: opened shares are forgotten, and what is pending is another's."""
        self.left |= {id: pending.digest for id, pending in self.pending.items()}
        self.pending.clear()

    def retire(self) -> None:
        """A later batch runs, and its book knows all of this: only what this batch has decided
        stays, or the books of an epoch would grow with the square of its batches."""
        for other in (self.spent, self.refused, self.left, self._receipts):
            other.clear()

    def undecided_keys(self) -> Iterator[bytes]:
        """Of the rows of reports that are in no sum yet."""
        return (_ROW + id for id in (*self.pending, *self.left))

    def restore(self, row: Row) -> None:
        """Of a report that is not pending: that takes its share to be opened again."""
        due = SIGNATURE_SIZE * self._relays_to if row.state is State.INCLUDED else 0
        if len(row.kept) != due:
            raise StorageError("a stored report lacks receipts: use the store of this server")
        mine = row.batch == self.batch
        if row.state is State.REJECTED:
            (self.rejected if mine else self.refused)[row.id] = row.digest
            return
        (self.included if mine else self.spent)[row.id] = row.digest
        if due:
            self._receipts[row.id] = bytes(row.kept)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """What has changed since the last call; a share that was included meanwhile never shows."""
        changed, self._changed = self._changed, {}
        return (row.encode() for row in changed.values())

    def _settled(self) -> Iterator[dict[bytes, bytes]]:
        yield self.included
        yield self.rejected
        yield self.spent
        yield self.refused
        yield self.left
