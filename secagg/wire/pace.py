"""Frames of a service that asks who is ready, and says when to come back (specs/50-service.md §2).

They have the head of every frame, and kinds of their own; the nonce names the asking, and is of no
round.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from secagg.arguments import integer, settle
from secagg.errors import BadTag, ParameterError, TooLarge, UnknownVersion, WireError
from secagg.shown import short
from secagg.types import Buffer
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import HEAD_SIZE, NONCE_SIZE, VERSION

ASKED, READY, LATER = 12, 13, 14
KINDS = frozenset((ASKED, READY, LATER))
MAX_FRAME = HEAD_SIZE + 5
"""Bytes of the largest of them."""
MAX_SECONDS = (1 << 16) - 1
MAX_MILLISECONDS = (1 << 32) - 1


class Why(enum.Enum):
    """Why a client is to come back later, with its code on the wire."""

    FULL = "full"
    NOT_DUE = "not-due"
    PAUSED = "paused"
    DRAINING = "draining"
    FAILED = "failed"

    @property
    def code(self) -> int:
        return 1 + list(Why).index(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """A server asks whether this client is ready for a round. nonce: 16 bytes, of this asking.
    seconds: in which a Ready must come, 1 to 65,535."""

    nonce: bytes
    seconds: int

    __repr__ = short

    def __post_init__(self) -> None:
        settle(self, seconds=integer("seconds", self.seconds, 1, MAX_SECONDS))

    def encode(self) -> bytes:
        return _head(ASKED, self.nonce).raw(self.seconds.to_bytes(2)).finish()

    @property
    def size(self) -> int:
        """Bytes of `encode()`."""
        return HEAD_SIZE + 2


@dataclass(frozen=True, slots=True)
class Ready:
    """A client is: it has what it needs, and waits for the announcement."""

    nonce: bytes

    __repr__ = short

    def encode(self) -> bytes:
        return _head(READY, self.nonce).finish()

    @property
    def size(self) -> int:
        """Bytes of `encode()`."""
        return HEAD_SIZE


@dataclass(frozen=True, slots=True)
class Later:
    """A server has no place now: the client closes its link, and comes back. nonce: of the asking
    that this answers, or zeros. milliseconds: after which, at least 1."""

    nonce: bytes
    milliseconds: int
    why: Why

    __repr__ = short

    def __post_init__(self) -> None:
        least = integer("milliseconds", self.milliseconds, 1, MAX_MILLISECONDS)
        settle(self, milliseconds=least)

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    def encode(self) -> bytes:
        return _head(LATER, self.nonce).u32(self.milliseconds).u8(self.why.code).finish()

    @property
    def size(self) -> int:
        """Bytes of `encode()`."""
        return HEAD_SIZE + 5


PaceFrame: TypeAlias = Asked | Ready | Later


def is_pace(data: Buffer) -> bool:
    """Whether bytes are of these kinds, or meant to be: `decode_pace` says whether they are."""
    return len(data) > 1 and data[0] == VERSION and data[1] in KINDS


def decode_pace(data: Buffer) -> PaceFrame:
    """The frame that is all of `data`, or a WireError that says what is wrong and where."""
    if len(data) > MAX_FRAME:
        raise TooLarge(f"a frame of {len(data)} bytes, and none of these is above {MAX_FRAME}")
    reader = Reader(data)
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(f"frame version {version}; this side speaks version {VERSION} only")
    kind = reader.u8("kind")
    if kind not in KINDS:
        raise BadTag(f"frame kind {kind} is none of a service's pace, {sorted(KINDS)}")
    frame = _DECODERS[kind](reader, reader.fixed(NONCE_SIZE, "nonce"))
    reader.finish()
    return frame


def _head(kind: int, nonce: bytes) -> Writer:
    if len(nonce) != NONCE_SIZE:
        raise ParameterError(f"the nonce of an asking is {NONCE_SIZE} bytes long, not {len(nonce)}")
    return Writer().u8(VERSION).u8(kind).raw(nonce)


def _asked(reader: Reader, nonce: bytes) -> Asked:
    seconds = int.from_bytes(reader.fixed(2, "seconds"))
    if not seconds:
        raise WireError("nobody answers in 0 seconds")
    return Asked(nonce, seconds)


def _ready(reader: Reader, nonce: bytes) -> Ready:
    return Ready(nonce)


def _later(reader: Reader, nonce: bytes) -> Later:
    milliseconds, code = reader.u32("milliseconds"), reader.u8("why")
    if not milliseconds:
        raise WireError("later is not in 0 milliseconds")
    if not 1 <= code <= len(Why):
        raise WireError(f"the reason {code} to come back later is unknown")
    return Later(nonce, milliseconds, list(Why)[code - 1])


_DECODERS: dict[int, Callable[[Reader, bytes], PaceFrame]] = {
    ASKED: _asked,
    READY: _ready,
    LATER: _later,
}
