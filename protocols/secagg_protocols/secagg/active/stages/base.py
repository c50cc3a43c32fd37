"""What every stage of active mode can do, and what is so once U3 is (specs/12-active.md §6)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from secagg.layout import RingVector
from secagg.types import PartyId
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort
from secagg_protocols.secagg.active.dealing import params_of
from secagg_protocols.secagg.active.messages import B, S, ShareKeys, answer_digest, share_digest
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.stages.base import Stage
from secagg_protocols.secagg.stages.masked import Masked
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import (
    Survival,
)

# A stage takes a message whole or not at all, as in suite 1, and one more thing must be right of
# it: its signature, over all that stands in it and over what its sender was told before. So what is
# taken is at once what convicts: a client cannot say later that it had been told something else,
# and the server can show what it was told.
#
# A stage says what must be written down before it opens (`records`): what closing the one before
# has fixed, and the statements it rests on. The machine writes, and only then does the stage speak.


Record: TypeAlias = tuple[Kind, bytes]


class Recorded(Stage):
    """A stage of active mode: with what is to be written down before it opens."""

    def records(self) -> Iterator[Record]:
        yield from ()


class Joined(Recorded):
    """A stage of a session that has an id. Its messages come from members of U1."""

    def __init__(self, terms: Terms, cohort: SignedCohort) -> None:
        super().__init__(terms)
        self.cohort = cohort

    @property
    def binding(self) -> bytes:
        return self.cohort.session

    @property
    def dealt(self) -> Mapping[int, ShareKeys]:
        """What each has dealt: so far, or of U2 once it is fixed."""
        return {}

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U1."""
        return frozenset(self.cohort.ids)

    def named(self, indices: Collection[int]) -> frozenset[PartyId]:
        return frozenset(self.cohort.ids[index] for index in indices)

    def check(self, index: int, statement: statements.Statement, signature: bytes) -> None:
        """InvalidSignature unless the member at this index said it."""
        statement.check(self.cohort.key_of(index), signature)


@dataclass(frozen=True, slots=True)
class Given:
    """What was said with a vector that is in the sum: which dealers failed, as positions; the
    digest of the salted vector; the signature."""

    failed: frozenset[int]
    vector: bytes = field(repr=False)
    signature: bytes


@dataclass(frozen=True)
class Fixed:
    """What is so once U3 is: the sets, what was dealt, the vectors and what was said of them."""

    cohort: SignedCohort
    deliveries: Deliveries
    survival: Survival
    masked: Masked
    given: Mapping[int, Given] = field(repr=False)

    @property
    def sharers(self) -> frozenset[int]:
        return self.survival.sharers

    @property
    def survivors(self) -> frozenset[int]:
        return self.survival.survivors

    @property
    def said(self) -> tuple[Deliveries, Mapping[int, Given]]:
        """As of the stage before: what evidence is of."""
        return self.deliveries, self.given

    @property
    def total(self) -> RingVector:
        return self.masked.total

    @cached_property
    def _statement(self) -> statements.Statement:
        return self.cohort.survivors(self.sharers, self.survivors)

    @cached_property
    def signature(self) -> bytes:
        """The server's, of U2 and U3."""
        return self._statement.signed(self.cohort.signing)

    @cached_property
    def shown(self) -> bytes:
        """U3 as everybody in it is told."""
        shown = messages.Survivors(self.survivors, self.signature)
        return shown.encode(self.cohort.session, self.cohort.size)

    def digests(self, holder: int, shares: Sequence[bytes]) -> list[bytes]:
        """Of the shares that a holder answers with, one of each dealer that it holds one of."""
        session, dealers = self.cohort.session, self.masked.dealers(holder)
        return [
            share_digest(session, v, holder, B if v in self.survivors else S, share)
            for v, share in zip(dealers, shares, strict=True)
        ]

    def answer(self, index: int, digests: Sequence[bytes]) -> statements.Statement:
        """What the holder at this index says with its shares. digests: of these."""
        survivors = self.cohort.digest(self.survivors)
        return statements.ANSWER(self.cohort.session, index, survivors, answer_digest(digests))

    def agreement(self, index: int) -> statements.Statement:
        """What the signer at this index says of both sets."""
        session, *rest = self._statement.values
        return statements.AGREE(session, index, *rest)


class After(Joined):
    """A stage after U3 is fixed."""

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        super().__init__(terms, fixed.cohort)
        self.fixed = fixed

    @property
    def dealt(self) -> Mapping[int, ShareKeys]:
        """Of each member of U2."""
        return self.fixed.deliveries.dealt

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U3."""
        return self.contributors

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self.fixed.survivors)

    @property
    def complaints(self) -> Complaints:
        return self.fixed.masked.complain(complaints_of(self.terms))


def complaints_of(terms: Terms) -> Complaints:
    """Rule R7: more complaints than holders of one secret can be corrupt are not all lies."""
    return Complaints(params_of(terms).tolerated)
