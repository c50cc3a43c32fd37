"""What a server writes down of a session, as a chain of records (specs/12-active.md §7)."""

from __future__ import annotations

import enum

from secagg.crypto import labels
from secagg.wire.codec import Writer

# Digests and statements only: no vector, share, seed or salt is in it, so it can be shown to
# anybody. Each record is written, and safe, before anything is said that shows what is in it: so a
# server that comes back knows what it has said, and one that was made to sign twice has written
# twice.

VERSION = 1


class Kind(enum.IntEnum):
    """The records, in their order; each is there once."""

    SESSION = 1
    COHORT = 2
    SHARERS = 3
    SURVIVORS = 4
    QUORUM = 5
    ANSWERS = 6
    RESULT = 7


START = labels.digest(labels.TRANSCRIPT)
"""head_0."""


def following(head: bytes, record: bytes) -> bytes:
    """The head after one more record: its kind and body."""
    return labels.digest(labels.TRANSCRIPT, head, record)


class Chain:
    """A transcript that is being written: its head, and the pieces that nobody has taken yet."""

    def __init__(self) -> None:
        self.head = START
        self._new = [bytes([VERSION])]

    def add(self, kind: int, body: bytes) -> None:
        """A record: u32 length, kind, body."""
        record = bytes([kind]) + body
        self.head = following(self.head, record)
        self._new.append(Writer().prefixed(record).finish())

    def drain(self) -> list[bytes]:
        drained, self._new = self._new, []
        return drained
