"""What can be told of a finished round, and of who lied in it, from what was written down alone."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from secagg.shown import short
from secagg.types import SERVER, PartyId

TOLD = bytes([1, 6])
"""Version, and that it is no evidence yet: how a file begins that says what a client was told."""


def told(statements: Iterable[bytes]) -> bytes:
    """The file of what a server has signed to clients, to be compared with others': each statement
    with its signature, as a client's machine has them, ascending."""
    return TOLD + b"".join(sorted(set(statements)))


@dataclass(frozen=True)
class Verified:
    """A transcript that is what it says: of what session, and how far that went.

    admin: who signed the roster; epoch, places: of the roster. offer, session: of this round, 32
    bytes. members, sharers, survivors, agreed, answered: U1, U2, U3, the quorum that was shown, and
    U5, by place in the roster; None of what the session did not come to. signers, quorum: how many
    may sign the survivors, and how many must. degree, threshold: of the graph, and of its shares.
    result: the digest of the sum that the server has signed, None where there is none. head: of the
    last record. Whether the sum is that of the inputs nobody can tell who does not have the shares.
    """

    protocol: str
    admin: bytes
    epoch: int
    places: int
    plan_digest: bytes
    payload_digest: bytes
    nonce: bytes
    offer: bytes
    session: bytes
    degree: int
    threshold: int
    signers: int
    quorum: int
    members: frozenset[PartyId]
    sharers: frozenset[PartyId] | None = None
    survivors: frozenset[PartyId] | None = None
    agreed: frozenset[PartyId] | None = None
    answered: frozenset[PartyId] | None = None
    result: bytes | None = None
    head: bytes = b""

    __repr__ = short

    @property
    def finished(self) -> bool:
        """Whether the server has signed a result."""
        return self.result is not None


class Charge(enum.Enum):
    """What somebody is convicted of (specs/12-active.md §8)."""

    TWO_STATEMENTS = "two-statements"
    WRONG_SHARE = "wrong-share"
    WRONG_SECRET = "wrong-secret"  # noqa: S105
    COMPLAINTS = "complaints"
    DELIVERY = "delivery"


@dataclass(frozen=True)
class Verdict:
    """Evidence that convicts: whom, by place in the roster, or SERVER; key: by what key of it. of
    what: a sentence. admin, epoch: of the roster. about: the session, or the offer, 32 bytes."""

    charge: Charge
    party: PartyId
    key: bytes
    what: str
    admin: bytes
    epoch: int
    about: bytes

    __repr__ = short

    @property
    def who(self) -> str:
        """In words."""
        return "the server" if self.party == SERVER else f"member {self.party}"
