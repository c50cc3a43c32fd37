"""Names that every layer shares: parties, sessions, secrets, faults."""

from __future__ import annotations

import enum
import hmac
import os
from collections.abc import Callable
from typing import Literal, NewType, NoReturn, SupportsIndex, TypeAlias

PartyId = NewType("PartyId", int)
"""A u32. Clients count from 0; the values from FIRST_RESERVED on are servers."""

SessionId = NewType("SessionId", bytes)
"""32 bytes that bind everything after the advertised keys (specs/10-secagg.md §3)."""

FIRST_RESERVED = 0xFFFF_FF00
SERVER = PartyId(0xFFFF_FFFF)
"""The one server; where there are several, the leader."""
COLLECTOR = PartyId(FIRST_RESERVED)
"""Whoever adds the totals of several servers."""
MAX_SERVERS = 16
MIN_COHORT = 3
"""Of two, either learns the other's input from the sum and its own."""


def smallest_sum(corrupted: int) -> int:
    """Of how many inputs a sum may be that `corrupted` clients take part in: two honest ones more.

    A single honest input is what the corrupt clients have left when they subtract their own
    (specs/10-secagg.md §10, 20-additive.md §2).
    """
    return max(MIN_COHORT, corrupted + 2)


MAX_CLIENTS = 1 << 20
"""More clients than any published parameter table; bounds what a peer can make us allocate."""
MAX_ROSTER = (1 << 32) - 1
"""Of those a round's clients may be chosen from: no table is ever made of them."""

Buffer: TypeAlias = bytes | bytearray | memoryview
Adversary = Literal["semi-honest", "active"]
ADVERSARIES: tuple[Adversary, ...] = ("semi-honest", "active")

Randomness: TypeAlias = Callable[[int], bytes]
"""n -> n secret uniform bytes. Injected, so that every message can have a test vector."""

system_randomness: Randomness = os.urandom


def server_id(index: int) -> PartyId:
    """Of server `index` among several; 0 is the leader. Clients count up, servers count down."""
    return PartyId(SERVER - index)


class Seed:
    """Exactly 32 secret bytes: a seed, a private scalar or a derived key.

    The repr is redacted and equality is constant time. There is no hash, so that a secret never
    becomes a dictionary key. `expose()` is the one way to the bytes: grep for it in a review.
    """

    __slots__ = ("_bytes",)
    SIZE = 32

    def __init__(self, data: Buffer) -> None:
        if len(data) != self.SIZE:
            raise ValueError(f"a seed is {self.SIZE} bytes long, not {len(data)}")
        self._bytes = bytes(data)

    def expose(self) -> bytes:
        return self._bytes

    def __repr__(self) -> str:
        return "Seed(<redacted>)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Seed):
            return NotImplemented
        return hmac.compare_digest(self._bytes, other._bytes)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is never pickled")


class NonCopyable:
    """What stands for one party in one session: TypeError for copy.copy, deepcopy and pickle.

    Two of it could answer the same question twice, each truthfully by its own memory: two survivor
    sets get both shares of one client, two inputs one mask. A party that has died is a dropout,
    and one that may come back says so in rows of its own.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is one party in one session: it is never copied or pickled"
        )


class Role(enum.IntEnum):
    """Who is at the far end of a link; the wire carries the value."""

    CLIENT = 1
    COLLECTOR = 2
    SERVER = 3


class Fault(enum.Enum):
    """Why a party was dropped. The wire carries `code` (specs/01-wire.md §6)."""

    LOST = "lost"  # the transport gave up on it
    LATE = "late"  # its phase closed before its message came
    QUIT = "quit"  # it said so itself
    BAD_INPUT = "bad-input"  # it said that its own input does not fit, or could not be made
    MALFORMED = "malformed"  # bytes that are not a message of this session
    WRONG_PHASE = "wrong-phase"  # a message before its time
    EQUIVOCATION = "equivocation"  # two different messages for one phase
    INVALID_KEY = "invalid-key"  # small order, non-canonical, repeated, or c_pk = s_pk
    INVALID_SHARE = "invalid-share"  # a share outside the field
    TOO_FEW_HOLDERS = "too-few-holders"  # fewer than t holders of its shares are left
    REJECTED = "rejected"  # a server could not open or verify its share of the report
    INVALID_SIGNATURE = "invalid-signature"  # not signed by the server that it comes from
    DISAGREEMENT = "disagreement"  # a server that sums another set of reports

    @property
    def code(self) -> int:
        return _FAULT_CODES[self]

    @classmethod
    def from_code(cls, code: int) -> Fault | None:
        return next((fault for fault, c in _FAULT_CODES.items() if c == code), None)


class AbortReason(enum.Enum):
    """Why a session ended without a result. The wire carries `code`."""

    BELOW_THRESHOLD = "below-threshold"
    SHARE_ERROR = "share-error"
    INTEGRITY = "integrity"  # the count lane, or what servers say of one set, does not fit
    PEER_FAULT = "peer-fault"
    CANCELLED = "cancelled"
    LOST = "lost"
    BAD_INPUT = "bad-input"  # a client's own input does not fit the plan, or could not be made

    @property
    def fault(self) -> Fault:
        """Why a client that says so is dropped (specs/10-secagg.md §7)."""
        return Fault.BAD_INPUT if self is AbortReason.BAD_INPUT else Fault.QUIT

    @property
    def code(self) -> int:
        return _ABORT_CODES[self]

    @classmethod
    def from_code(cls, code: int) -> AbortReason | None:
        return next((reason for reason, c in _ABORT_CODES.items() if c == code), None)


_ABORT_CODES = {reason: code for code, reason in enumerate(AbortReason, start=1)}
_FAULT_CODES = {fault: code for code, fault in enumerate(Fault, start=1)}
