"""Whose masked vector is in the sum: closing it fixes U3."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from secagg.errors import WireError
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.active.cohort import Deliveries
from secagg_protocols.secagg.active.messages import MaskedInput, ShareKeys
from secagg_protocols.secagg.active.stages.base import Fixed, Given, Joined, Record, complaints_of
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.stages.masked import Masked
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import (
    Survival,
    check_recoverable,
)


class Mask(Joined):
    """Takes each member of U2's vector: closing it fixes U3."""

    state, tag = ServerState.MASKED_INPUT, Tag.MASKED_INPUT

    def __init__(self, terms: Terms, deliveries: Deliveries) -> None:
        super().__init__(terms, deliveries.cohort)
        self._deliveries = deliveries
        sharers = frozenset(deliveries.dealt)
        self._masked = Masked(self.cohort, sharers, terms.layout.zeros())
        self._given: dict[int, Given] = {}

    @property
    def quorum(self) -> bool:
        return len(self._given) >= self.terms.params.min_survivors

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U2."""
        return self.named(self._masked.sharers)

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self._masked.failed)

    @property
    def complaints(self) -> Complaints:
        return self._masked.complain(complaints_of(self.terms))

    @property
    def dealt(self) -> Mapping[int, ShareKeys]:
        """Of each member of U2."""
        return self._deliveries.dealt

    @property
    def said(self) -> tuple[Deliveries, Mapping[int, Given]]:
        """What was dealt and delivered, and what has come of it until now: what evidence is of."""
        return self._deliveries, self._given

    def records(self) -> Iterator[Record]:
        dealt, cohort = self._deliveries.dealt, self.cohort
        writer = Writer().bitmap(dealt, cohort.size)
        writer.raw(b"".join(dealt[i].digest + dealt[i].signature for i in sorted(dealt)))
        writer.raw(self._deliveries.signature)
        signed = self._deliveries.signed.values()
        yield Kind.SHARERS, writer.raw(b"".join(a + b for a, b in signed)).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        holders = [self.cohort.index[party] for party in parties]
        for holder, listed in self._deliveries.messages(holders):
            yield self.cohort.ids[holder], listed

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rules S3 and R3: whole, valid and signed before it is added."""
        index, cohort = self.cohort.index[sender], self.cohort
        neighbours = cohort.neighbours(index)
        said, vector = MaskedInput.read(reader, len(neighbours), self.terms.layout)
        reader.finish()
        failed = frozenset(neighbours[position] for position in said.failed)
        if not failed <= self._masked.sharers:
            raise WireError("a failed dealer is not in U2")
        digest = said.digest
        self.check(index, self._deliveries.input(index, said.failed, digest), said.signature)
        # nothing may fail between these lines, as in suite 1
        vector.add_to(self._masked.total)
        self._masked.failed[index] = failed
        self._given[index] = Given(said.failed, digest, said.signature)
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U3: exactly the vectors that were added, where the answers could suffice."""
        params, survivors = self.terms.params, frozenset(self._masked.failed)
        at_least(len(survivors), params.min_survivors, "clients sent a masked input")
        commitments = {i: one.commitment for i, one in self._deliveries.dealt.items()}
        survival = Survival(self.cohort, self._masked.sharers, survivors, commitments)
        answering = [i for i in sorted(survivors) if self.cohort.ids[i] in alive]
        held = {holder: self._masked.dealers(holder) for holder in answering}
        check_recoverable(survival, held, params.threshold)
        fixed = Fixed(self.cohort, self._deliveries, survival, self._masked, self._given)
        return self.following(fixed)
