"""Who is there, and what each deals: closing these fixes U1 and U2."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from secagg.errors import InvalidKey
from secagg.types import Fault, PartyId, Seed
from secagg.wire.codec import Reader
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort, write_session
from secagg_protocols.secagg.active.dealing import roster_of
from secagg_protocols.secagg.active.messages import (
    ShareKeys,
    SignedKeys,
)
from secagg_protocols.secagg.active.stages.base import Joined, Record, Recorded
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.dealing import check_advertised
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.stages.base import Drop, Said, Stage
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms


class Advertise(Recorded):
    """Takes signed keys of whoever was asked; quorum is the plan's min_clients."""

    state, tag = ServerState.ADVERTISE_KEYS, Tag.ADVERTISE_KEYS

    def __init__(self, terms: Terms, signing: Seed) -> None:
        super().__init__(terms)
        self._signing = signing
        self._advertised: dict[PartyId, SignedKeys] = {}
        self._keys: set[bytes] = set()

    @property
    def quorum(self) -> bool:
        return len(self._advertised) >= self.terms.params.min_clients

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rules R1 and S4."""
        said = SignedKeys.read(reader)
        reader.finish()
        check_advertised([said])
        if not self._keys.isdisjoint(said.both):
            raise InvalidKey("another client has advertised this key")
        statement = statements.KEYS(self.terms.offer, sender, said.c_pk, said.s_pk)
        statement.check(roster_of(self.terms).key_of(sender), said.signature)
        self._keys.update(said.both)
        self._advertised[sender] = said
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U1: of the first n, where more have come than the plan is for."""
        params = self.terms.params
        at_least(len(self._advertised), params.min_clients, "clients advertised keys")
        return self.following(SignedCohort.joined(self.terms, self._advertised, self._signing))


class Share(Joined):
    """Takes what each member of U1 deals; quorum is min_survivors."""

    state, tag = ServerState.SHARE_KEYS, Tag.SHARE_KEYS

    def __init__(self, terms: Terms, cohort: SignedCohort) -> None:
        super().__init__(terms, cohort)
        self._dealt: dict[int, ShareKeys] = {}

    @property
    def dealt(self) -> Mapping[int, ShareKeys]:
        """By index, so far."""
        return self._dealt

    @property
    def quorum(self) -> bool:
        return len(self._dealt) >= self.terms.params.min_survivors

    def records(self) -> Iterator[Record]:
        """What the session is of, and U1 with the keys' signatures."""
        yield Kind.SESSION, write_session(self.terms)
        yield Kind.COHORT, self.cohort.encoded

    def opening(self, parties: Collection[PartyId]) -> Said:
        """To each U1, the keys of its neighbours, and what leads from its own to the root."""
        for party in sorted(parties):
            yield party, self.cohort.key_list(self.cohort.index[party])

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rule R3: over the leaf that follows from this client's own keys."""
        index, cohort = self.cohort.index[sender], self.cohort
        said = ShareKeys.read(reader, len(cohort.neighbours(index)))
        reader.finish()
        self.check(index, cohort.shares(index, said), said.signature)
        self._dealt[index] = said
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U2: who shared and is still there, less those with too few holders in it."""
        ids, params = self.cohort.ids, self.terms.params
        there = [index for index in self._dealt if ids[index] in alive]
        sharers = self.cohort.core(there, params.threshold)
        for index in sorted(set(there) - sharers):
            drop(ids[index], Fault.TOO_FEW_HOLDERS)
        at_least(len(sharers), params.min_survivors, "clients shared keys")
        dealt = {i: self._dealt[i] for i in sorted(sharers)}
        return self.following(Deliveries(self.cohort, dealt))
