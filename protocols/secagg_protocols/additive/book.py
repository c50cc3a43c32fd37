"""What a server knows of every report of its epoch, and how it is stored (20-additive.md §5, §9).

A report is here once: pending with its opened share, or in exactly one of the three maps that keep
its digest only. Rule A10: nothing leaves them before the epoch ends, so none is summed twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from secagg.errors import StorageError, WireError
from secagg.types import Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.additive.messages import ID_SIZE, Included, Sealed
from secagg_protocols.additive.sharing import Share

_ROW = b"r"

MOST = 2
"""Reports that a helper keeps for each client of the plan: what anybody sends to it must not fill
its memory. So a leader hears verdicts on at most as many from each honest helper."""


class State(enum.IntEnum):
    """Of a report in the store."""

    PENDING = 1
    REJECTED = 2
    INCLUDED = 3


@dataclass(slots=True)
class Pending:
    """Accepted by this server and not yet decided on.

    sender: the client, where it came from one. relayed: the helpers' sealed shares, where this
    server relays them. accepted: the helpers that accept theirs; a leader's.
    """

    digest: bytes
    share: Share = field(repr=False)
    sender: PartyId | None = None
    relayed: tuple[Sealed, ...] = field(default=(), repr=False)
    accepted: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored report. batch: which included it. message: as it came, while it is pending."""

    id: bytes
    state: State
    batch: int
    digest: bytes
    message: Buffer = field(default=b"", repr=False)

    def encode(self) -> tuple[bytes, bytes]:
        writer = Writer().u8(self.state).u32(self.batch).raw(self.digest).prefixed(self.message)
        return _ROW + self.id, writer.finish()

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> Row:
        reader = Reader(value)
        try:
            state, batch = State(reader.u8("state")), reader.u32("batch")
            digest = reader.fixed(DIGEST_SIZE, "digest")
            message = reader.prefixed(reader.remaining, "message")
            reader.finish()
        except (WireError, ValueError) as error:
            raise StorageError("a stored report is not one: use the store of a backup") from error
        if len(key) != len(_ROW) + ID_SIZE:
            raise StorageError("a stored report has no id: use the store of a backup")
        return cls(key[len(_ROW) :], state, batch, digest, message)

    @staticmethod
    def owns(key: bytes) -> bool:
        return key.startswith(_ROW)


class Book:
    """Every report of the epoch that this server has seen, as of one batch."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.pending: dict[bytes, Pending] = {}
        self.included: dict[bytes, bytes] = {}
        self.rejected: dict[bytes, bytes] = {}
        self.spent: dict[bytes, bytes] = {}  # decided on in another batch of the epoch
        self._changed: dict[bytes, Row] = {}

    def __len__(self) -> int:
        """The reports of this batch, pending ones included."""
        return len(self.pending) + len(self.included) + len(self.rejected)

    def digest_of(self, id: bytes) -> bytes | None:
        """Of the report of that id, whatever became of it; None for one that is not known."""
        if id in self.pending:
            return self.pending[id].digest
        return next((m[id] for m in self._settled() if id in m), None)

    def accept(self, id: bytes, pending: Pending, message: Buffer) -> None:
        self.pending[id] = pending
        self._changed[id] = Row(id, State.PENDING, self.batch, pending.digest, message)

    def include(self, id: bytes) -> Pending:
        """The caller adds its share, which is stored with this."""
        pending = self.pending.pop(id)
        self.included[id] = pending.digest
        self._changed[id] = Row(id, State.INCLUDED, self.batch, pending.digest)
        return pending

    def reject(self, id: bytes, digest: bytes) -> None:
        self.pending.pop(id, None)
        self.rejected[id] = digest
        self._changed[id] = Row(id, State.REJECTED, self.batch, digest)

    def set_of(self) -> Included:
        return Included.of(self.included)

    def ids_of_batch(self) -> set[bytes]:
        """Every report that this batch has decided on or may still include."""
        return self.pending.keys() | self.included.keys() | self.rejected.keys()

    def restore(self, row: Row) -> None:
        """Of a report that is not pending: that takes its share to be opened again."""
        if row.batch != self.batch:
            self.spent[row.id] = row.digest
        elif row.state is State.REJECTED:
            self.rejected[row.id] = row.digest
        else:
            self.included[row.id] = row.digest

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """What has changed since the last call; a share that was included meanwhile never shows."""
        changed, self._changed = self._changed, {}
        return (row.encode() for row in changed.values())

    def _settled(self) -> Iterator[dict[bytes, bytes]]:
        yield self.included
        yield self.rejected
        yield self.spent
