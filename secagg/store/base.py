"""What a driver asks of a store: rows of bytes, changed in batches that hold whole or not at all.

A row's key is a namespace, an owner byte and its owner's own key (specs/03-storage.md §1), so that
several sessions share a file and none sees, or names, a row of another. The driver commits all
writes that were drained together with messages before it sends any of those messages. A message
whose batch is not acknowledged is never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from secagg.effects import NAMESPACE_SIZE, Claim, Write
from secagg.errors import ParameterError, Spent, StorageError
from secagg.types import Seed

CLAIM_SIZE = 32
MAX_SESSION = 64
MAX_NOTE = 1 << 18
"""Bytes; above a set of members of the largest roster."""


class Store(Protocol):
    """Rows in the order of their keys. One owner, one writer; a failure ends it (fail-stop)."""

    def rows(self, namespace: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of every row in `namespace`, or of all there are, by ascending key.

        Rows that a commit changes while the iteration runs may come in their old or new state.
        Raises StorageError when a row is not what was written, ParameterError for what is no
        namespace.
        """

    def commit(self, writes: Sequence[Write]) -> None:
        """All of them or none, as if one after the other: of two writes of one key the later holds.

        A write of None to a namespace itself, without owner and key, deletes every row that is in
        it (`forget`). When this returns, the rows survive kill -9 and loss of power, as far as the
        kind of store promises. When it raises StorageError, the batch is unacknowledged: after the
        next opening it is there whole or not at all, and this object refuses everything but
        `close`. A key that no row can have is a ParameterError, and nothing is changed.
        """

    def close(self) -> None:
        """Idempotent. Whatever else is asked of a closed store is refused with StorageError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Ledger(Protocol):
    """What must not be forgotten when rows are put back: claims, and the keys that seal rows.

    A client that is carried, in sealed rows by a framework or on a disk of its own, can be set back
    to what it was before it answered, and be asked again in other words. So each answer is claimed
    before it leaves (specs/03-storage.md §3). A ledger must not live where rows or blobs are copied
    and restored: set back together with them, it knows no better than they do.
    """

    def key(self, session: bytes) -> Seed:
        """32 random bytes that seal the rows of a session; made once, and durable when made.

        One that somebody else has made may still be lost with the power, if he died as he made it,
        until the next claim: the rows then open nowhere, and nothing was said from them.

        session: any name of 1 to 64 bytes that is the session's alone, such as the nonce of its
        frames. Raises Spent once the session has ended, and StorageError where the ledger fails.
        """

    def claim(self, key: bytes, digest: bytes) -> None:
        """Written once, durable on return; 32 bytes each. The same digest again is fine.

        Raises Spent for another digest of a known key, and StorageError where the ledger fails:
        then nothing of what is claimed may leave.
        """

    def claim_all(self, claims: Sequence[Claim], ends: bytes | None = None) -> None:
        """`claim` of each, in order, up to the first that is refused: what one message needs. A
        ledger with a disk may write them at once; where it raises Spent, those before the refused
        one are made, or none is. ends: a session that has said its last with them, which then ends;
        where a claim is refused it does not.
        """
        for claim in claims:
            self.claim(claim.key, claim.digest)
        if ends is not None:
            self.end(ends)

    def claimed(self, key: bytes) -> bytes | None:
        """The digest that is known by that key, or None: also of a ledger that cannot look. Nothing
        is claimed by it. Raises StorageError where the ledger fails."""
        return None

    def note(self, key: bytes, change: Callable[[bytes | None], bytes]) -> bytes:
        """What is remembered under a key of 32 bytes, changed in one step for all who share the
        ledger: `change` gets what is there, or None, and what it returns is there, durably, when
        this returns it. At most MAX_NOTE bytes. What it raises is raised, and nothing has changed.

        Raises StorageError where the ledger fails: then what is noted may not be relied on, and of
        a ledger that has no notes.
        """
        raise StorageError("this ledger keeps claims and keys, and no notes: use one that does")

    def noted(self, key: bytes) -> bytes | None:
        """What is remembered under that key, or None. Raises as `note` does."""
        raise StorageError("this ledger keeps claims and keys, and no notes: use one that does")

    def end(self, session: bytes) -> None:
        """Destroys the session's key, durably, and leaves a tombstone: `key` raises Spent from then
        on, also where there was none. Idempotent; claims stay."""


def check_session(session: bytes) -> None:
    """Raises ParameterError for a name of no or more than 64 bytes."""
    if not 1 <= len(session) <= MAX_SESSION:
        raise ParameterError(f"a session's name has 1 to {MAX_SESSION} bytes, not {len(session)}")


def check_claim(key: bytes, digest: bytes) -> None:
    """Raises ParameterError unless both have 32 bytes."""
    if len(key) != CLAIM_SIZE or len(digest) != CLAIM_SIZE:
        raise ParameterError(
            f"a claim is of two digests of {CLAIM_SIZE} bytes, not {len(key)} and {len(digest)}"
        )


def check_note(key: bytes, value: bytes = b"") -> None:
    """Raises ParameterError for a key of another size than 32 bytes, or too long a value."""
    if len(key) != CLAIM_SIZE or len(value) > MAX_NOTE:
        raise ParameterError(
            f"a note has a key of {CLAIM_SIZE} bytes and at most {MAX_NOTE} bytes, not {len(key)} "
            f"and {len(value)}"
        )


def spent_claim() -> Spent:
    """The error of every ledger for another wording of what is claimed."""
    return Spent(
        "this was said before, or its input used, in another wording, and may have no second one: "
        "leave the session; the next one may be joined, with an input that is not spent"
    )


def spent_session() -> Spent:
    """The error of every ledger for a session that has ended."""
    return Spent(
        "this session has ended and the key of its rows is destroyed: drop the rows, and join the "
        "next session instead"
    )


def forget(namespace: bytes) -> Write:
    """Deletes every row of a namespace, together with what else is in the same commit."""
    check_namespace(namespace)
    return Write(namespace, None)


def check_namespace(namespace: bytes) -> None:
    """Raises ParameterError for another size."""
    if len(namespace) != NAMESPACE_SIZE:
        raise ParameterError(f"a namespace has {NAMESPACE_SIZE} bytes, not {len(namespace)}")


def outcome(writes: Sequence[Write]) -> tuple[set[bytes], dict[bytes, bytes | None]]:
    """What a batch comes to: the namespaces that are emptied first, then the value of each row.

    Raises ParameterError for a key that is neither a row's nor a namespace to forget: a row
    outside every namespace would never be deleted.
    """
    forgotten: set[bytes] = set()
    latest: dict[bytes, bytes | None] = {}
    for write in writes:
        if len(write.key) > NAMESPACE_SIZE:
            latest[write.key] = write.value
        elif len(write.key) == NAMESPACE_SIZE and write.value is None:
            forgotten.add(write.key)
            latest = {k: v for k, v in latest.items() if not k.startswith(write.key)}
        else:
            raise ParameterError(
                f"a row's key is {NAMESPACE_SIZE} bytes of namespace, a byte of its owner and the "
                f"owner's own, and not {len(write.key)} bytes in all"
            )
    return forgotten, latest
