"""Who has signed the survivor set: closing it fixes U4."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from secagg.errors import WireError
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.active.messages import (
    AGREE,
    Agree,
    UnmaskRequest,
)
from secagg_protocols.secagg.active.stages.base import After, Fixed, Record
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import check_recoverable


class Consistency(After):
    """Shows U3, and takes each signer's agreement: closing it fixes U4."""

    state, tag = ServerState.CONSISTENCY, AGREE

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        super().__init__(terms, fixed)
        self._agreed: dict[int, bytes] = {}

    def awaited(self, alive: frozenset[PartyId]) -> frozenset[PartyId]:
        """Rule R4: who may sign, and whose word it is about."""
        signers, _ = self.cohort.signers
        return alive & self.named(self.fixed.survivors & frozenset(signers))

    @property
    def quorum(self) -> bool:
        _, quorum = self.cohort.signers
        return len(self._agreed) >= quorum

    def records(self) -> Iterator[Record]:
        fixed, cohort = self.fixed, self.cohort
        writer = Writer().bitmap(fixed.survivors, cohort.size)
        for index in sorted(fixed.survivors):
            given = fixed.given[index]
            writer.bitmap(given.failed, len(cohort.neighbours(index)))
            writer.raw(given.vector).raw(given.signature)
        yield Kind.SURVIVORS, writer.raw(self.fixed.signature).finish()

    def opening(self, parties: Collection[PartyId]) -> Said:
        """To all of U3, signers or not."""
        yield from ((party, self.fixed.shown) for party in sorted(parties))

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Of a signer. Whoever is none has nothing to say here."""
        index = self.cohort.index[sender]
        said = Agree.read(reader)
        reader.finish()
        signers, _ = self.cohort.signers
        if index not in signers:
            raise WireError("this client is no signer of the session")
        self.check(index, self.fixed.agreement(index), said.signature)
        self._agreed[index] = said.signature
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rules R4 and S6: the q of lowest index, where the answers could still suffice. Whoever
        asks for shares spends the inputs, so it is looked at again: some may have left since."""
        signers, quorum = self.cohort.signers
        at_least(len(self._agreed), quorum, "signers agreed on the survivors")
        masked, index = self.fixed.masked, self.cohort.index
        there = [index[party] for party in sorted(self.contributors.intersection(alive))]
        held = {holder: masked.dealers(holder) for holder in there}
        check_recoverable(self.fixed.survival, held, self.terms.params.threshold)
        chosen = sorted(self._agreed)[:quorum]
        places = frozenset(signers.index(index) for index in chosen)
        request = UnmaskRequest(places, tuple(self._agreed[index] for index in chosen))
        return self.following(self.fixed, request)
