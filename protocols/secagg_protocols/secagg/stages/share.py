"""Who has dealt shares of its secrets: closing it fixes U2."""

from __future__ import annotations

from collections.abc import Collection

from secagg.types import Fault, PartyId
from secagg.wire.codec import Reader
from secagg_protocols.rows import Taken, kind_of, number_of, numbered
from secagg_protocols.secagg.cohort import ServerCohort, at_least
from secagg_protocols.secagg.messages import ShareKeys, Tag
from secagg_protocols.secagg.stages.base import DEALT, KEYS, Drop, Joined, Said, Stage, read_cohort
from secagg_protocols.secagg.stages.mask import read_dealt, write_dealt
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms


# Sealed pairs are kept as they came: the server cannot look into them, and forwards each to the one
# client that can. That a pair is wrong it learns from its holder, with the vector.
class Share(Joined):
    """Takes a commitment and sealed pairs of each member of U1; quorum is min_survivors."""

    state, tag = ServerState.SHARE_KEYS, Tag.SHARE_KEYS
    kinds = frozenset([KEYS, DEALT])

    def __init__(self, terms: Terms, cohort: ServerCohort) -> None:
        super().__init__(terms, cohort)
        self._dealt: dict[int, ShareKeys] = {}

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Share:
        """As its rows say. Raises WireError or StorageError for others."""
        stage = cls(terms, read_cohort(terms, taken))
        stage._dealt = read_dealt(stage.cohort, taken)
        return stage

    @property
    def quorum(self) -> bool:
        return len(self._dealt) >= self.terms.params.min_survivors

    def opening(self, parties: Collection[PartyId]) -> Said:
        """U1, the root of its tree, and to each the keys of its neighbours."""
        for party in sorted(parties):
            yield party, self.cohort.key_list(self.cohort.index[party])

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        index = self.cohort.index[sender]
        dealt = ShareKeys.read(reader, len(self.cohort.neighbours(index)))
        reader.finish()
        self._dealt[index] = dealt
        return (numbered(DEALT, index),)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U2: who shared and is still there, less those with too few holders in it."""
        ids, params = self.cohort.ids, self.terms.params
        # unlike U1, U2 wants those who are still there: a client that is gone cannot be a holder
        # when it matters, and its own shares would have to be rebuilt for no input
        there = [index for index in self._dealt if ids[index] in alive]
        sharers = self.cohort.core(there, params.threshold)
        for index in sorted(set(there) - sharers):
            drop(ids[index], Fault.TOO_FEW_HOLDERS)
        at_least(len(sharers), params.min_survivors, "clients shared keys")
        return self.following(self.cohort, {i: self._dealt[i] for i in sorted(sharers)})

    def row(self, key: bytes) -> bytes | None:
        """A dealer's, or one of the cohort."""
        if kind_of(key) != DEALT:
            return super().row(key)
        return write_dealt(self._dealt[number_of(key)])
