"""Whose masked vector is in the sum: closing it fixes U3."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from secagg.errors import WireError
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg_protocols.rows import Taken, kind_of, number_of, numbered
from secagg_protocols.secagg.cohort import ServerCohort, at_least, share_lists
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.messages import ShareKeys, Tag, read_masked_input
from secagg_protocols.secagg.stages.base import (
    DEALT,
    FAILED,
    KEYS,
    SUM,
    Drop,
    Joined,
    Said,
    Stage,
    read_cohort,
)
from secagg_protocols.secagg.stages.masked import Masked
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import Survival, check_recoverable

# The sum is one row, as long as the vector, and is written anew for what has come since the driver
# last asked: per message when it asks after each, less when it asks after several. The alternative,
# a row of each masked vector, writes as many bytes per message and keeps n vectors instead of one;
# and a vector that was added is dropped at once (rule S3), so there would be nothing left to write
# it from. What makes the row safe is that it is stored together with the rows of those who are in
# it.


class Mask(Joined):
    """dealt: of U2. The pairs are kept until U3 is fixed, sealed as they are: whoever comes back
    on a new link is told again what was sealed to it."""

    state, tag = ServerState.MASKED_INPUT, Tag.MASKED_INPUT
    kinds = frozenset([KEYS, DEALT, FAILED, SUM])

    def __init__(self, terms: Terms, cohort: ServerCohort, dealt: Mapping[int, ShareKeys]) -> None:
        super().__init__(terms, cohort)
        self._dealt = dict(dealt)
        self._masked = Masked(cohort, frozenset(dealt), terms.layout.zeros())

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Mask:
        """As its rows say. Raises WireError or StorageError for others."""
        cohort = read_cohort(terms, taken)
        stage = cls(terms, cohort, read_dealt(cohort, taken))
        stage._masked.read(terms, taken)
        return stage

    @property
    def quorum(self) -> bool:
        return len(self._masked.failed) >= self.terms.params.min_survivors

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U2."""
        return self.named(self._masked.sharers)

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self._masked.failed)

    @property
    def complaints(self) -> Complaints:
        return self._masked.complain(super().complaints)

    def opening(self, parties: Collection[PartyId]) -> Said:
        holders = [self.cohort.index[party] for party in parties]
        for holder, listed in share_lists(self.cohort, self._dealt, holders):
            yield self.cohort.ids[holder], listed

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rule S3: whole and valid before it is added; from then on its sender is in U3."""
        index = self.cohort.index[sender]
        neighbours = self.cohort.neighbours(index)
        positions, vector = read_masked_input(reader, len(neighbours), self.terms.layout)
        reader.finish()
        failed = frozenset(neighbours[position] for position in positions)
        if not failed <= self._masked.sharers:
            raise WireError("a failed dealer is not in U2")
        # nothing may fail between these two lines: a vector in the sum whose sender is not in U3 is
        # a mask that nobody removes
        vector.add_to(self._masked.total)
        self._masked.failed[index] = failed
        return SUM, numbered(FAILED, index)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U3: exactly the vectors that were added. Nothing is revealed where the answers
        could not suffice (rule S6)."""
        params, survivors = self.terms.params, frozenset(self._masked.failed)
        # here, and again at each client (C8): the server's check saves a round that clients would
        # refuse, and is no protection, as the server is whom they are protected from
        at_least(len(survivors), params.min_survivors, "clients sent a masked input")
        commitments = {i: one.commitment for i, one in self._dealt.items()}
        survival = Survival(self.cohort, self._masked.sharers, survivors, commitments)
        answering = [i for i in sorted(survivors) if self.cohort.ids[i] in alive]
        held = {holder: self._masked.dealers(holder) for holder in answering}
        check_recoverable(survival, held, params.threshold)
        return self.following(survival, self._masked)

    def has(self, key: bytes) -> bool:
        """Pairs of who is not in U2 go with the close of the stage before."""
        return super().has(key) and (kind_of(key) != DEALT or number_of(key) in self._dealt)

    def row(self, key: bytes) -> bytes | None:
        if kind_of(key) == DEALT:
            return write_dealt(self._dealt[number_of(key)])
        return self._masked.row(key) or super().row(key)


def write_dealt(dealt: ShareKeys) -> bytes:
    """The body of a dealer's row: what it has said, without the header."""
    return dealt.commitment + b"".join(dealt.sealed)


def read_dealt(cohort: ServerCohort, taken: Taken) -> dict[int, ShareKeys]:
    """All dealers' rows, by index. Raises WireError for one of another length."""
    found = {}
    for index, body in taken.under(DEALT, cohort.size):
        reader = Reader(body)
        found[index] = ShareKeys.read(reader, len(cohort.neighbours(index)))
        reader.finish()
    return found
