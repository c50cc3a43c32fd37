"""What a server knows of every report of an epoch, and how it is stored (20-additive.md §5, §9)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import StorageError, WireError
from secagg.types import Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.reports.messages import Included, Sealed
from secagg_protocols.reports.scheme import Checking, Share
from secagg_protocols.reports.shape import ID_SIZE

# Theory of operation.
#
# A report is here once: pending with its opened share, or in exactly one of the maps that keep its
# digest only. Rule A10: no row of these is deleted before the epoch ends, so none is summed twice.
#
# Which map it is in says whose it is. `included` and `rejected` are decisions of this batch,
# `spent` and `refused` those of others, told apart by the number in their rows; `left` was pending
# when this batch ended, and is decided in a later one. A receipt is signed again for whatever is
# not rejected, a decision is repeated for what is of this batch, and the set is `included` and
# nothing else.
#
# Pending is the only state that costs memory, so places are counted for it. A report holds a place
# in the batch in which it came, until it is decided or the batch's deadline finds it undecided;
# from then on it is *carried*: it can still be included, whenever the last server accepts it, and
# takes nothing from those that come later. How many are carried is bounded too, and what is beyond
# that is rejected, the oldest first (rule A14).

_ROW, CHECKED = b"r", b"x"
"""Before a report's id: its row; the combined message of its check, while it is undecided."""

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
    """Opened by this server and not yet decided on.

    share: one that counts; None while it is checked, and `checking` is then what the scheme keeps.
    sender: the client, where it came from one. asker: who has brought it last, and waits for
    receipts. relayed: the helpers' sealed shares, where this server relays them. accepted: the
    receipts of the helpers that accept theirs, by index; a leader's. parts: of the check, by
    server; a helper's own only. message: what all parts make, once this server has ended on it.
    batch: in which it came.
    """

    digest: bytes
    share: Share | None = field(repr=False)
    sender: PartyId | None = None
    asker: PartyId | None = None
    relayed: tuple[Sealed, ...] = field(default=(), repr=False)
    accepted: dict[int, bytes] = field(default_factory=dict, repr=False)
    checking: Checking | None = field(default=None, repr=False)
    parts: dict[int, bytes] = field(default_factory=dict, repr=False)
    message: bytes | None = field(default=None, repr=False)
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A stored report. batch: which included or rejected it, or in which it came.

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
        """Raises StorageError for a row that is none."""
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
        self.carried: set[bytes] = set()
        """Of the pending: those without a place."""
        self.included: dict[bytes, bytes] = {}
        self.rejected: dict[bytes, bytes] = {}
        self.spent: dict[bytes, bytes] = {}  # included in another batch of the epoch
        self.refused: dict[bytes, bytes] = {}  # rejected in another
        self.left: dict[bytes, bytes] = {}  # for another: pending when this one ended
        self.returned = 0
        """How many were pending here before they were rejected in this batch."""
        self._receipts: dict[bytes, bytes] = {}
        self._relays_to = relays_to
        self._changed: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        """The reports that hold a place in this batch, decided ones included."""
        undecided = len(self.pending) - len(self.carried)
        return undecided + len(self.included) + len(self.rejected)

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
        """message: as it came, stored until the report is decided."""
        pending.batch = self.batch
        self.pending[id] = pending
        self._put(Row(id, State.PENDING, self.batch, pending.digest, message))

    def check(self, id: bytes, message: bytes, share: Share) -> None:
        """Its check has ended, on this message and on no other, and its share counts."""
        pending = self.pending[id]
        pending.message, pending.share = message, share
        pending.checking = None
        self._changed[CHECKED + id] = message

    def include(self, id: bytes) -> Pending:
        """The caller adds its share, which is stored with this."""
        pending = self._take(id)
        self.included[id] = pending.digest
        receipts = b""
        if self._relays_to:
            receipts = b"".join(receipt for _, receipt in sorted(pending.accepted.items()))
            self._receipts[id] = receipts
        self._put(Row(id, State.INCLUDED, self.batch, pending.digest, receipts))
        return pending

    def reject(self, id: bytes, digest: bytes) -> None:
        """Also of a report that was never here: its id is spent all the same."""
        if id in self.pending:
            self.returned += 1
            self._take(id)
        self.rejected[id] = digest
        self._put(Row(id, State.REJECTED, self.batch, digest))

    def release(self) -> set[bytes]:
        """What is undecided gives up its place, and stays. Returns the ids of these."""
        released = self.pending.keys() - self.carried
        self.carried |= released
        return released

    def surplus(self, most: int, whole: Callable[[Pending], bool] = lambda _: False) -> list[bytes]:
        """Of the carried, the oldest beyond that many; what is whole waits for room only, and is
        not counted."""
        ids = [id for id in self.carried if not whole(self.pending[id])]
        ids.sort(key=lambda id: (self.pending[id].batch, id))
        return ids[: max(0, len(ids) - most)]

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

    def ids_with_places(self) -> set[bytes]:
        """Every report that this batch has decided on or may still include, save those that it
        only carries."""
        held = self.pending.keys() - self.carried
        return held | self.included.keys() | self.rejected.keys()

    def end(self) -> None:
        """The batch is over: opened shares are forgotten, and what is pending is another's."""
        self.left |= {id: pending.digest for id, pending in self.pending.items()}
        self.pending.clear()
        self.carried.clear()

    def retire(self) -> None:
        """A later batch runs, and its book knows all of this: only what this batch has decided
        stays, or the books of an epoch would grow with the square of its batches."""
        for other in (self.spent, self.refused, self.left, self._receipts):
            other.clear()

    def closing_keys(self) -> Iterator[bytes]:
        """Of the rows that are of no use once no report is taken any more: of reports in no sum."""
        for id in (*self.pending, *self.left):
            yield CHECKED + id
        for id in (*self.pending, *self.left, *self.rejected, *self.refused):
            yield _ROW + id

    def carry(self, id: bytes, pending: Pending) -> None:
        """One that the store has pending; of an earlier batch it holds no place in this one."""
        self.pending[id] = pending
        if pending.batch != self.batch:
            self.carried.add(id)

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

    def rows(self) -> dict[bytes, bytes | None]:
        """What has changed since the last call; a share that was included meanwhile never shows."""
        changed, self._changed = self._changed, {}
        return changed

    def _take(self, id: bytes) -> Pending:
        """Out of the pending, for good: the message of its check has served its purpose."""
        pending = self.pending.pop(id)
        self.carried.discard(id)
        if pending.message is not None:
            self._changed[CHECKED + id] = None
        return pending

    def _put(self, row: Row) -> None:
        key, value = row.encode()
        self._changed[key] = value

    def _settled(self) -> Iterator[dict[bytes, bytes]]:
        """Every map of reports that are not pending; an id is in one of them at most."""
        yield self.included
        yield self.rejected
        yield self.spent
        yield self.refused
        yield self.left
