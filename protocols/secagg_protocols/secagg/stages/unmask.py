"""Who has revealed its shares: closing it fixes U5, and with it what can be rebuilt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from secagg import shamir
from secagg.errors import WireError
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.rows import Taken, kind_of, number_of, numbered
from secagg_protocols.secagg.cohort import ServerCohort, at_least
from secagg_protocols.secagg.complaints import Complaints
from secagg_protocols.secagg.messages import Tag, UnmaskAnswer, UnmaskRequest
from secagg_protocols.secagg.stages.base import (
    COMMITMENTS,
    FAILED,
    KEYS,
    SHARES,
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
from secagg_protocols.secagg.unmasking import Recovery, Survival, wanted


# An answer is one share of each dealer and carries no word of which: both sides know it from U3 and
# from what the holder could not open. So a client cannot answer for a dealer that it was not asked
# about, and the body is 40 bytes a dealer.
#
# Quorum is reached before everybody has answered: t shares of each secret are enough. A driver may
# wait on, because shares beyond t are what wrong ones are found by.
class Unmask(Joined):
    """Takes the shares of each member of U3 that is there; each holds those of several dealers."""

    state, tag = ServerState.UNMASK, Tag.UNMASK_ANSWER
    kinds = frozenset([KEYS, COMMITMENTS, FAILED, SUM, SHARES])
    fresh = (COMMITMENTS,)

    def __init__(self, terms: Terms, survival: Survival, masked: Masked) -> None:
        super().__init__(terms, survival.cohort)
        self._survival, self._masked = survival, masked
        self._answers: dict[int, dict[int, bytes]] = defaultdict(dict)  # dealer -> x -> share

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Unmask:
        """U2 is whoever has a commitment, U3 whoever has a row of failed pairs: neither is stored
        twice."""
        cohort = read_cohort(terms, taken)
        commitments = _read_commitments(cohort, Reader(taken.pop(COMMITMENTS)))
        masked = Masked(cohort, frozenset(commitments), terms.layout.zeros())
        masked.read(terms, taken)
        survivors = frozenset(masked.failed)
        stage = cls(terms, Survival(cohort, masked.sharers, survivors, commitments), masked)
        for index, body in taken.under(SHARES, cohort.size):
            if index not in survivors:
                raise WireError("whoever has answered is not in U3")
            stage.take(cohort.ids[index], Reader(body))
        return stage

    @property
    def quorum(self) -> bool:
        """Enough shares of every secret that is needed."""
        threshold = self.terms.params.threshold
        return all(len(self._answers[i]) >= threshold for i in self._survival.wanted)

    @property
    def members(self) -> frozenset[PartyId] | None:
        """U3."""
        return self.contributors

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self.named(self._survival.survivors)

    @property
    def complaints(self) -> Complaints:
        return self._masked.complain(super().complaints)

    def opening(self, parties: Collection[PartyId]) -> Said:
        survivors = self._survival.survivors
        request = UnmaskRequest(survivors).encode(self.cohort.session, self.cohort.size)
        yield from ((party, request) for party in sorted(parties))

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Raises InvalidShare for a limb that is not below p; nothing has changed then."""
        index = self.cohort.index[sender]
        dealers = self._masked.dealers(index)
        answer = UnmaskAnswer.read(reader, len(dealers))
        reader.finish()
        shamir.check_shares(b"".join(answer.shares))
        for dealer, share in zip(dealers, answer.shares, strict=True):
            self._answers[dealer][1 + index] = share
        return (numbered(SHARES, index),)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S7: no secret that fails its check is used, and there is no sum without it."""
        survival, threshold = self._survival, self.terms.params.threshold
        for dealer in survival.wanted:
            what = f"shares came of client {self.cohort.ids[dealer]}"
            at_least(len(self._answers[dealer]), threshold, what)
        secrets = wanted(survival, self._answers, threshold)
        layout, expander = self.terms.layout, self.terms.expander
        recovery = Recovery(survival, secrets, layout, self._masked.total, expander)
        return self.following(self._masked, recovery)

    def row(self, key: bytes) -> bytes | None:
        if key == COMMITMENTS:
            return _write_commitments(self._survival)
        if kind_of(key) == SHARES:
            index = number_of(key)
            held = self._masked.dealers(index)
            return b"".join(self._answers[dealer][1 + index] for dealer in held)
        return self._masked.row(key) or super().row(key)


def _write_commitments(survival: Survival) -> bytes:
    """U2, and what binds each of its members to its b."""
    writer = Writer().bitmap(survival.sharers, survival.cohort.size)
    return writer.raw(b"".join(survival.commitments[i] for i in sorted(survival.sharers))).finish()


def _read_commitments(cohort: ServerCohort, reader: Reader) -> dict[int, bytes]:
    sharers = sorted(reader.bitmap(cohort.size, "U2"))
    commitments = {index: reader.fixed(DIGEST_SIZE, "commitment") for index in sharers}
    reader.finish()
    return commitments
