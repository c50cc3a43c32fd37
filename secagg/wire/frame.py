"""What travels on one link: announcements, protocol messages, and the end of a round.

A frame is version u8, kind u8, round nonce (16 bytes), body. The nonce routes: several rounds run
over one connection, and what names another round is ignored. It authenticates nothing; that is
the work of the session id inside the messages (specs/01-wire.md §3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.crypto import labels
from secagg.errors import BadTag, ParameterError, TooLarge, UnknownVersion, WireError
from secagg.shown import short
from secagg.types import FIRST_RESERVED, AbortReason, Buffer, Fault, PartyId
from secagg.wire.codec import Reader, Writer

VERSION = 1
NONCE_SIZE = 16
DIGEST_SIZE = 32
HEAD_SIZE = 2 + NONCE_SIZE
"""Bytes that a frame adds to a protocol message."""

DEFAULT_MAX_SIZE = 64 << 20
"""Bytes of one frame where no plan says less: 64 MiB, a model of sixteen million float32."""
MAX_SIZE = (1 << 63) - 1
"""What a caller can ask for: no limit at all, in practice."""

ANNOUNCE, MESSAGE, OVER = 1, 2, 3
_INLINE, _DIGEST_ONLY, _SIZED = 0, 1, 2
_DONE = 0
_INCLUDED = 0
_OVER_SIZE = HEAD_SIZE + 1 + 4 + 4 + 1


def payload_digest(payload: Buffer) -> bytes:
    """32 bytes that bind a round to its task: each client computes it over the bytes it received.

    Every client of a session must have seen the same task, or its keys fit nobody else's
    (threats T7).
    """
    return labels.digest(labels.PAYLOAD, payload)


@dataclass(frozen=True, slots=True)
class DigestOnly:
    """Stands for a payload that clients fetch elsewhere: its 32-byte digest. size: bytes that it
    has, below 2^63, so that whoever fetches it takes no more; 0 where that is not said."""

    digest: bytes
    size: int = 0

    __repr__ = short

    @classmethod
    def of(cls, payload: Buffer) -> DigestOnly:
        """Of one that is not empty, with its size."""
        return cls(payload_digest(payload), len(payload))


@dataclass(frozen=True, slots=True)
class Announce:
    """A server opens a round for one client.

    nonce: 16 bytes. deadlines: milliseconds that each phase of the protocol lasts at most, in the
    protocol's order. plan: `Plan.encode()`. payload: the task itself, or its digest alone.
    """

    nonce: bytes
    party: PartyId
    deadlines: tuple[int, ...]
    plan: bytes
    payload: bytes | DigestOnly

    __repr__ = short

    @property
    def payload_digest(self) -> bytes:
        """Computed here where the payload is inline: a digest on the wire would prove nothing."""
        if isinstance(self.payload, DigestOnly):
            return self.payload.digest
        return payload_digest(self.payload)

    def encode(self) -> bytes:
        writer = _head(ANNOUNCE, self.nonce).u32(self.party).u8(len(self.deadlines))
        for milliseconds in self.deadlines:
            writer.u32(milliseconds)
        writer.prefixed(self.plan)
        if isinstance(self.payload, DigestOnly):
            if self.payload.size:
                writer.u8(_SIZED).u64(self.payload.size)
            else:
                writer.u8(_DIGEST_ONLY)
            return writer.raw(self.payload.digest).finish()
        return writer.u8(_INLINE).prefixed(self.payload).finish()

    @property
    def size(self) -> int:
        """Bytes of `encode()`, without making them: a task may be large."""
        if isinstance(self.payload, DigestOnly):
            task = DIGEST_SIZE + (8 if self.payload.size else 0)
        else:
            task = 4 + len(self.payload)
        return HEAD_SIZE + 4 + 1 + 4 * len(self.deadlines) + 4 + len(self.plan) + 1 + task


@dataclass(frozen=True, slots=True)
class Message:
    """A protocol message of one round, either way. The sender is whoever owns the link."""

    nonce: bytes
    data: bytes = field(repr=False)

    __repr__ = short

    def encode(self) -> bytes:
        return _head(MESSAGE, self.nonce).finish() + self.data

    @property
    def size(self) -> int:
        """Bytes of `encode()`."""
        return HEAD_SIZE + len(self.data)


@dataclass(frozen=True, slots=True)
class Over:
    """The server's last word on a round: done (reason None) or aborted, and the two counts.

    standing: why the receiver was dropped, or None. Of a round that is done, None says that its
    input is in the sum; of one that is not, that no fault of its own is known. contributors: how
    many are in the sum, also where there was one that could not be kept, or was being opened.
    """

    nonce: bytes
    reason: AbortReason | None
    contributors: int
    dropped: int
    standing: Fault | None = None

    __repr__ = short

    @property
    def included(self) -> bool:
        """Whether the receiver's input is in a sum that the server has."""
        return self.reason is None and self.standing is None

    @property
    def summed(self) -> bool:
        """Whether it is in a sum that the server has, or had, or may have yet: spent then."""
        return self.contributors > 0 and self.standing is None

    def encode(self) -> bytes:
        writer = _head(OVER, self.nonce).u8(self.reason.code if self.reason else _DONE)
        writer.u32(self.contributors).u32(self.dropped)
        return writer.u8(self.standing.code if self.standing else _INCLUDED).finish()

    @property
    def size(self) -> int:
        """Bytes of `encode()`."""
        return _OVER_SIZE


Frame: TypeAlias = Announce | Message | Over


def decode_frame(data: Buffer, *, limit: int) -> Frame:
    """The frame that is all of `data`, or a WireError that says what is wrong and where.

    limit: the largest frame, in bytes, that the caller's plan allows; checked before anything else.
    """
    if len(data) > limit:
        raise TooLarge(f"a frame of {len(data)} bytes, and the limit is {limit}")
    reader = Reader(data)
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(f"frame version {version}; this side speaks version {VERSION} only")
    kind = reader.u8("kind")
    if kind not in _DECODERS:
        raise BadTag(f"frame kind {kind} is unknown; known are {sorted(_DECODERS)}")
    frame = _DECODERS[kind](reader, reader.fixed(NONCE_SIZE, "round nonce"))
    reader.finish()
    return frame


def _head(kind: int, nonce: bytes) -> Writer:
    if len(nonce) != NONCE_SIZE:
        raise ParameterError(f"a round nonce is {NONCE_SIZE} bytes long, not {len(nonce)}")
    return Writer().u8(VERSION).u8(kind).raw(nonce)


def _announce(reader: Reader, nonce: bytes) -> Announce:
    party = reader.u32("party")
    if party >= FIRST_RESERVED:
        raise WireError(f"party {party} is reserved for servers")
    deadlines = tuple(reader.u32("deadline") for _ in range(reader.u8("number of deadlines")))
    # what is left of the frame, which is under the caller's limit, is the limit of its parts
    plan = reader.prefixed(reader.remaining, "plan")
    mode = reader.u8("payload mode")
    if mode not in (_INLINE, _DIGEST_ONLY, _SIZED):
        raise WireError(f"payload mode {mode} is unknown")
    payload: bytes | DigestOnly
    if mode == _INLINE:
        payload = reader.prefixed(reader.remaining, "payload")
    else:
        size = reader.u64("payload size") if mode == _SIZED else 0
        if mode == _SIZED and not 0 < size <= MAX_SIZE:
            raise WireError(f"no payload that is fetched has {size} bytes")
        payload = DigestOnly(reader.fixed(DIGEST_SIZE, "payload digest"), size)
    return Announce(nonce, PartyId(party), deadlines, plan, payload)


def _message(reader: Reader, nonce: bytes) -> Message:
    return Message(nonce, reader.fixed(reader.remaining, "message"))


def _over(reader: Reader, nonce: bytes) -> Over:
    code = reader.u8("outcome")
    reason = AbortReason.from_code(code)
    if code != _DONE and reason is None:
        raise WireError(f"outcome {code} is unknown")
    contributors, dropped = reader.u32("contributors"), reader.u32("dropped")
    code = reader.u8("standing")
    standing = Fault.from_code(code)
    if code != _INCLUDED and standing is None:
        raise WireError(f"standing {code} is unknown")
    return Over(nonce, reason, contributors, dropped, standing)


_DECODERS: dict[int, Callable[[Reader, bytes], Frame]] = {
    ANNOUNCE: _announce,
    MESSAGE: _message,
    OVER: _over,
}
