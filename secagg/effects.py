"""What rounds want done, as values: `secagg.rounds` decides, a driver does.

A driver commits `writes` as one transaction, then enters `charges` into the client's budget, then
makes `claims`, then writes `notes` in their order, then sends `posts`, then drops the links in
`let_go`, hands `work` to its executor, and calls `tick` at `due`. In that order, dying anywhere
between leaves nothing untrue: what was said is stored and paid for, and what was stored alone may
be said again. It takes again only when
all that is done and the rounds have heard what was refused, which may be while they hear of links.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeAlias

from secagg.shown import short
from secagg.types import Role

NAMESPACE_SIZE, OWNER_SIZE = 16, 1
"""Bytes that begin a row's key: a session's nonce, or as much of a digest; and whose row it is."""
ROUNDS, MACHINE = b"\0", b"\1"
"""Owners: whoever runs sessions, and the machine of one, which sees its own rows only."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody at the far end of a link.

    name: the driver's, unique among the links of one `Rounds`; a driver of short requests gives
    each client 16 random bytes and calls that a link. identity: what the link has proved, such as a
    certificate or a key, or None for whoever can only say so. Only an identity comes back. address:
    where its packets come from, where a driver knows; it proves nothing, and tells many apart.
    task: the service's, by name, for which the link was greeted; None where it is for all.
    """

    name: bytes | str
    identity: bytes | None = None
    role: Role = Role.CLIENT
    address: str | None = None
    task: str | None = None

    __repr__ = short

    @property
    def at(self) -> str:
        """Its address as a log has it after a name; empty where none is known."""
        return "" if self.address is None else f" at {self.address}"


@dataclass(frozen=True, slots=True)
class Write:
    """A row to store before any message that was drained with it leaves. None deletes the row, or
    every row of a namespace whose 16 bytes are the whole key (specs/03-storage.md §1)."""

    key: bytes
    value: bytes | None = field(repr=False)

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Claim:
    """That what is known by `key` has one wording, of this digest, for ever. 32 bytes each.

    It is made durably, outside the rows, before what it speaks of leaves: rows can be put back to
    what they were, a claim cannot. Another digest for a known key is `errors.Spent`.
    """

    key: bytes
    digest: bytes

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Note:
    """What a ledger remembers under `key` from now on, in the place of `before`; None where there
    was nothing. key: 32 bytes.

    It is written durably, outside the rows, before what it speaks of leaves, as a claim is. Whoever
    writes it is alone with its key, as the owner of an identity is (`secagg.earlier.Memory`): where
    something else is there, somebody has that identity too.
    """

    key: bytes
    value: bytes = field(repr=False)
    before: bytes | None = field(default=None, repr=False, compare=False)

    __repr__ = short


class Step(enum.Enum):
    """What becomes of a charge (specs/40-privacy.md §9.9-§9.12)."""

    CHARGE = "charge"
    """A round is begun: its worst case is spent."""
    LEAVE = "leave"
    """The masked input is about to leave: nothing gives the charge back any more."""
    SETTLE = "settle"
    """The sum has more noise than the worst case."""
    REFUND = "refund"
    """The round is over, or left, and the masked input has not left."""


@dataclass(frozen=True, slots=True)
class Charge:
    """An entry for a client's budget. key: 32 bytes, of one life of one party in one
    session: what goes on from its rows has the same.

    disclosure: with CHARGE, what the round releases (`secagg.plans.disclosure.Disclosure`).
    session: with CHARGE, 32 bytes of what has one sum, in which the same data may not be twice; the
    key where it is empty.
    honest: with SETTLE, the shares of noise in the sum.
    """

    key: bytes
    step: Step
    disclosure: Any = field(default=None, repr=False)
    honest: int = 0
    session: bytes = b""

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Unpaid:
    """That the budget refuses a charge. why: what is spent, what is left and what was asked for."""

    key: bytes
    why: str

    __repr__ = short


Refusal: TypeAlias = Claim | Unpaid
"""What rounds hear of it; posts that name its key were not sent, and none that does is sent later
(`secagg.rounds.base.Outbox.withhold`)."""


class Encodable(Protocol):
    """A frame that is not bytes yet: a large task is not held once per client that waits for it."""

    @property
    def size(self) -> int:
        """Bytes of `encode()`, without making them."""

    def encode(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Post:
    """A frame for a peer; in order, for each of them. needs: keys of claims and charges, without
    any of which it must not leave: of these effects, or of earlier ones that were not refused."""

    peer: Peer
    frame: Encodable = field(repr=False)
    needs: frozenset[bytes] = frozenset()

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Work:
    """A job for an executor. ticket: tells the rounds which one it was, and means nothing else."""

    job: Callable[[], Any] = field(repr=False)
    ticket: Hashable


@dataclass(frozen=True, slots=True)
class Effects:
    """All that is to be done now. due: when `tick` is wanted next, in monotonic seconds."""

    writes: tuple[Write, ...] = ()
    claims: tuple[Claim, ...] = ()
    posts: tuple[Post, ...] = ()
    let_go: tuple[Peer, ...] = ()
    work: tuple[Work, ...] = ()
    due: float = math.inf
    charges: tuple[Charge, ...] = ()
    notes: tuple[Note, ...] = ()

    __repr__ = short

    def and_then(self, other: Effects) -> Effects:
        """One after the other; due as the latter says."""
        together = {
            part.name: getattr(self, part.name) + getattr(other, part.name)
            for part in fields(Effects)
            if part.name != "due"
        }
        return Effects(**together, due=other.due)
