"""Rows of a machine: what a later one of the same session goes on from (specs/10-secagg.md §12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from secagg.crypto import labels
from secagg.effects import Write
from secagg.errors import CryptoError, LocalProtocolError, StorageError, WireError
from secagg.layout import Layout, RingVector
from secagg.protocol import Session
from secagg.sansio import Aborted
from secagg.types import AbortReason, PartyId
from secagg.wire.codec import Reader, Writer

# Theory of operation.
#
# A machine marks what has changed, which costs it an entry of a dictionary, and encodes only when
# its driver asks: whoever keeps no rows pays for none. There is no journal: a row is what is so
# now, and replaces what was so before, so that what a machine has forgotten is in no row of it.
#
# The alternative, a journal of messages that is played again, has in it all that the machine has
# forgotten on purpose, and playing it again is the session's work once more
# (specs/decisions/022-rows.md).
#
# At one moment it cannot wait to be asked: where it is about to forget what a marked row is made
# of. Then the rows are encoded for whoever takes rows at all (`settle`); a driver that first asks
# after that could only have some of them, and gets an error.
#
# Taking up is strict. Every row is of this session and party, is read to its end, and is read by
# somebody: one that is missing, left over, or longer than what it says means that the store is not
# what a machine has left there, and then nothing in it can be relied on. A machine takes rows once;
# whose rows were refused, that machine is not used any more, and its driver makes another.

VERSION = 1
_BINDING = 32
_DETAIL = 1 << 12
"""Bytes of the words with which a session ended: ours, and a line or two."""

Encode = Callable[[bytes], bytes | None]
"""From a key to the body of its row as it is now; None where there is none."""


class Rows:
    """The rows of one machine: which have changed, what is in the store, whose they are.

    Every row begins with the version of this layout and a digest of session and party. Rounds put a
    name of the session before each key, and that is what finds a machine's rows; the digest is for
    the day on which they are mixed up all the same. The offer alone would not do: every session of
    one task has it.
    """

    def __init__(self, session: Session, protocol: str, me: PartyId) -> None:
        binding = labels.digest(labels.ROWS, session.offer(protocol), session.nonce, me)
        self._head = bytes([VERSION]) + binding
        self._marked: dict[bytes, None] = {}
        self._stored: set[bytes] = set()
        self._ready: list[Write] = []
        self._taken = self._late = False
        self._fresh = True
        self.resumed = False
        """Whether start() is to go on from rows."""

    def mark(self, *keys: bytes) -> None:
        """These may have another body than before, or none any more."""
        self._marked |= dict.fromkeys(keys)

    def writes(self, encode: Encode) -> list[Write]:
        """What has changed since the last call. A row that was never stored is not deleted.

        Raises LocalProtocolError the first time, if rows have been lost for good by then: `settle`.
        """
        if self._late:
            raise LocalProtocolError("writes() is called from the beginning on, or not at all")
        self._taken = True
        ready, self._ready = self._ready, []
        return ready + self._encoded(encode)

    def settle(self, encode: Encode) -> None:
        """What a row is made of is about to be forgotten: whatever is marked is encoded now, if
        there is a driver who takes rows at all, and otherwise never."""
        if self._taken:
            self._ready += self._encoded(encode)
        else:
            self._late = True

    def keep(self, has: Callable[[bytes], bool]) -> None:
        """The other rows are marked, and so go with the next call of writes()."""
        self.mark(*(key for key in self._stored if not has(key)))

    def _encoded(self, encode: Encode) -> list[Write]:
        """What is marked, once. A row without a body is a deletion if the store has it, else
        nothing."""
        marked, self._marked = self._marked, {}
        bodies = ((key, encode(key)) for key in marked)
        found = [
            Write(key, None if body is None else self._head + body)
            for key, body in bodies
            if body is not None or key in self._stored
        ]
        self._stored |= {write.key for write in found if write.value is not None}
        self._stored -= {write.key for write in found if write.value is None}
        return found

    def started(self) -> None:
        """From here on there is nothing to go on from."""
        self._fresh = self.resumed = False

    def take(self, rows: Iterable[tuple[bytes, bytes]], known: Callable[[Taken], None]) -> None:
        """Hands over the bodies by key, unless there are none: then the machine begins.

        Raises LocalProtocolError for a machine that has begun already, and StorageError for rows of
        another version or session, for one that `known` cannot read, and for one that it leaves.
        """
        if not self._fresh:
            raise LocalProtocolError("restore() is called once, before start()")
        self._fresh = False
        bodies = {bytes(key): self._body(value) for key, value in rows}
        if not bodies:
            return
        taken = Taken(bodies)
        try:
            known(taken)
        except (WireError, CryptoError) as error:
            raise StorageError(f"a row of this session is damaged: {error}") from None
        taken.finish()
        self._stored = set(bodies)
        self._taken = self.resumed = True

    def _body(self, value: bytes) -> bytes:
        """What is behind version and binding. StorageError where either is another's."""
        version, binding = value[:1], value[1 : 1 + _BINDING]
        if version != self._head[:1]:
            raise StorageError(f"a row is of another version than {VERSION}: begin anew")
        if binding != self._head[1:]:
            raise StorageError("a row is of another session or party: restore each from its own")
        return value[1 + _BINDING :]


class Taken:
    """The rows of a store, each read to its end and once."""

    def __init__(self, bodies: Mapping[bytes, bytes]) -> None:
        self._left = dict(bodies)

    def __contains__(self, key: bytes) -> bool:
        return key in self._left

    def pop(self, key: bytes) -> bytes:
        """StorageError where it is missing: whoever wrote the rest wrote this one with it."""
        body = self._left.pop(key, None)
        if body is None:
            raise StorageError("a row of this session is missing: restore all of them")
        return body

    def under(self, kind: bytes, limit: int) -> list[tuple[int, bytes]]:
        """Those whose keys are `kind` and a u32, which is below the limit, by ascending number."""
        keys = sorted(key for key in self._left if kind_of(key) == kind)
        found = [(number_of(key), self._left.pop(key)) for key in keys]
        if any(key != numbered(kind, number_of(key)) or number_of(key) >= limit for key in keys):
            raise StorageError("a row has a number that no row of this session has")
        return found

    def finish(self) -> None:
        if self._left:
            raise StorageError(f"{len(self._left)} rows are not of this state of a session")


def numbered(kind: bytes, number: int) -> bytes:
    """The key of one of many rows of a kind, whose name ends in a slash."""
    return kind + number.to_bytes(4)


def kind_of(key: bytes) -> bytes:
    """Of a key that `numbered` made; any other is its own kind."""
    head, slash, _ = key.partition(b"/")
    return head + slash


def number_of(key: bytes) -> int:
    """The number of a key that `numbered` made."""
    return int.from_bytes(key[-4:])


def write_end(writer: Writer, ended: Aborted) -> Writer:
    """Why a machine ended; its detail is cut to what a row may have."""
    return writer.u8(ended.reason.code).prefixed(ended.detail.encode()[:_DETAIL])


def read_end(reader: Reader) -> Aborted:
    """The mirror of write_end. WireError for a reason that there is not."""
    reason = AbortReason.from_code(reader.u8("reason"))
    if reason is None:
        raise WireError("an unknown abort reason")
    return Aborted(reason, reader.prefixed(_DETAIL, "detail").decode(errors="ignore"))


def write_lanes(writer: Writer, vector: RingVector) -> Writer:
    """Lane by lane, little-endian, not reduced: an accumulator as it is."""
    for lane in vector:
        writer.raw(lane.astype(lane.dtype.newbyteorder("<")).tobytes())
    return writer


def read_lanes(reader: Reader, layout: Layout) -> RingVector:
    """Lanes of the layout, whole and little-endian, as a stored sum has them. WireError."""
    total = layout.zeros()
    for lane in total:
        data = reader.take(lane.nbytes, "a lane of the sum")
        lane[:] = np.frombuffer(data, lane.dtype.newbyteorder("<"))
    return total
