"""After the last answer: secrets are rebuilt and masks removed, by jobs; then there is a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secagg.sansio import Job, RingTotal
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer
from secagg_protocols.rows import Taken, read_lanes, write_lanes
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.stages.base import (
    COMMITMENTS,
    FAILED,
    KEYS,
    SHARES,
    SUM,
    TOTAL,
    Joined,
    Stage,
)
from secagg_protocols.secagg.stages.masked import Masked
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms
from secagg_protocols.secagg.unmasking import Recovery

# A restart in this stage costs the work and nothing else. The answers are rows until the sum is, so
# what is rebuilt and removed is the same again; and it reveals nothing new, as no client is asked.
# Rows of what was found so far would save little, and be one more thing that has to fit the rest.


class Recover(Joined):
    """It waits for nobody. Its rows are those of the stage before, as they were at its end: jobs
    are pure, so a server that dies amid them does them again. In memory shares end with the secrets
    that they give and secrets with the masks, and the sum changes under the jobs, so nothing could
    be written from here."""

    state = ServerState.RECOVER
    kinds = frozenset([KEYS, COMMITMENTS, FAILED, SUM, SHARES])

    def __init__(self, terms: Terms, masked: Masked, recovery: Recovery) -> None:
        super().__init__(terms, masked.cohort)
        self._masked, self._recovery = masked, recovery

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U3."""
        return self.contributors

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self._masked.failed)

    @property
    def complaints(self) -> Complaints:
        complaints = self._masked.complain(super().complaints)
        self._recovery.complain(self.cohort.ids, complaints)
        return complaints

    def jobs(self) -> Sequence[Job]:
        return self._recovery.jobs()

    def finish(self, job: Job, value: Any) -> None:
        self._recovery.finish(job, value)

    def total(self) -> Total | None:
        """Once no job is left. Raises Aborted where a secret cannot be had."""
        self._recovery.check(self.cohort.ids)
        if not self._recovery.done:
            return None
        # only now modulo each ring: until here lanes wrap at 2^L, of which 2^w is a divisor
        there = self.contributors
        vector = self.terms.layout.reduce(self._masked.total)
        return Total(self.terms, RingTotal(vector, there, self.terms.parties - there))


class Total(Stage):
    """Rule S10: the sum, and nothing that led to it."""

    state = ServerState.FINISHED
    kinds = frozenset([TOTAL])
    fresh = (TOTAL,)

    def __init__(self, terms: Terms, result: RingTotal) -> None:
        super().__init__(terms)
        self.result = result

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Total:
        reader = Reader(taken.pop(TOTAL))
        contributors = frozenset(map(PartyId, reader.bitmap(terms.params.clients, "U3")))
        vector = read_lanes(reader, terms.layout)
        reader.finish()
        return cls(terms, RingTotal(vector, contributors, terms.parties - contributors))

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.result.contributors

    def row(self, key: bytes) -> bytes | None:
        writer = Writer().bitmap(self.contributors, self.terms.params.clients)
        return write_lanes(writer, self.result.vector).finish()
