"""A malicious server with the real machines of its clients: what each says to any run of messages.

Machines of active mode are not copied (rule V1). A client says what it says because of what it was
told and of nothing else, so each run is replayed from the start, with the same randomness, and its
outcome is kept; that no two runs disagree about what they have in common is checked each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from itertools import chain, combinations

from secagg.errors import RemoteProtocolError
from secagg.layout import Layout, Segment
from secagg.mask import add_streams
from secagg.ring import Ring
from secagg.suite import SUITE_2
from secagg.testing import counter_randomness
from secagg.types import SERVER, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.client import ActiveClient
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort
from secagg_protocols.secagg.active.messages import (
    Agree,
    ShareKeys,
    SignedKeys,
    Survivors,
    UnmaskRequest,
    digest_of,
)
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.terms import Terms
from tests.active import SERVER_SEED, Cast, seed_of
from tests.exhaustive.knowledge import Parties

LAYOUT = Layout((Segment(Ring(32), 2),))
Run = tuple[bytes, ...]
"""What a client is told, in order."""


def subsets(of: Iterable[PartyId], least: int = 0) -> list[Parties]:
    members = sorted(of)
    sizes = range(least, len(members) + 1)
    return [frozenset(s) for s in chain(*(combinations(members, size) for size in sizes))]


class Lair:
    """A roster whose last places belong to the server, and a key that does too."""

    def __init__(self, params: ActiveParams, corrupt: int = 0, places: int = 0) -> None:
        self.cast = Cast(params, corrupt, places or params.clients, layout=LAYOUT)
        self.params = params
        everybody = [PartyId(place) for place in range(self.cast.roster.size)]
        self.honest = frozenset(everybody[: len(everybody) - corrupt])
        self.corrupt = frozenset(everybody) - self.honest
        self.everybody = frozenset(everybody)
        self.replays = 0
        self._heard: dict[tuple[PartyId, int, Run], bytes | None] = {}

    @cached_property
    def terms(self) -> Terms:
        return Terms.of("secagg", self.cast.session, self.params, add_streams)

    # What a client says

    def machine(self, party: PartyId, variant: int = 0) -> ActiveClient:
        """With its input, started. variant: of a corrupt one, which has as many as it likes."""
        draw = counter_randomness(b"liar" + party.to_bytes(4) + bytes([variant]))
        client = self.cast.client(party, randomness=draw)
        lanes = tuple(lane.copy() for lane in self.inputs[party])
        client.set_input(lanes, self.cast.payload)
        client.start()
        return client

    @cached_property
    def inputs(self) -> Mapping[PartyId, tuple[object, ...]]:
        return replace(self.cast, invited=self.everybody).inputs

    def hears(self, party: PartyId, run: Run, variant: int = 0) -> bytes | None:
        """What it says to the last message of a run: b"" for nothing, None for a refusal.

        Whoever has refused says nothing of use ever again, so a run with one in it is refused.
        """
        key = (party, variant, run)
        if key not in self._heard:
            self._replay(party, run, variant)
        return self._heard[key]

    def _replay(self, party: PartyId, run: Run, variant: int) -> None:
        self.replays += 1
        client = self.machine(party, variant)
        said: bytes | None = only(client)
        self._note((party, variant, ()), said)
        for number, message in enumerate(run, 1):
            if said is not None:
                said = told(client, message)
            self._note((party, variant, run[:number]), said)

    def _note(self, key: tuple[PartyId, int, Run], said: bytes | None) -> None:
        assert self._heard.setdefault(key, said) == said, "a client is more than what it was told"

    def accepted(self, party: PartyId) -> dict[Run, bytes]:
        """The runs so far of which this honest client has refused nothing, and its last replies."""
        return {
            run: said
            for (who, _, run), said in self._heard.items()
            if who == party and said is not None
        }

    # What the server can say: its own tools, with sets of its choice

    @cache  # noqa: B019
    def keys(self, party: PartyId, variant: int) -> SignedKeys:
        said = self.hears(party, (), variant if party in self.corrupt else 0)
        return SignedKeys.read(body_of(said))

    @cache  # noqa: B019
    def cohort(self, members: Parties, variant: int = 0) -> SignedCohort:
        """variant: which keys its corrupt members have: others are another session."""
        listed = {party: self.keys(party, variant) for party in members}
        return SignedCohort.joined(self.terms, listed, SERVER_SEED)

    def key_list(self, cohort: SignedCohort, party: PartyId) -> bytes:
        """Whoever is not in it is shown what another is."""
        return cohort.key_list(cohort.index.get(party, 0))

    def share_list(
        self, cohort: SignedCohort, party: PartyId, dealt: Mapping[PartyId, ShareKeys]
    ) -> bytes:
        """Of U2 = whoever has dealt."""
        index = cohort.index[party]
        deliveries = Deliveries(cohort, {cohort.index[p]: one for p, one in dealt.items()})
        listed = deliveries.to(index)
        said = statements.DELIVERY(cohort.session, index, listed.digest(cohort.size))
        listed = replace(listed, delivery=said.signed(SERVER_SEED))
        return listed.encode(cohort.session, cohort.size)

    def survivors(self, cohort: SignedCohort, sharers: Parties, survivors: Parties) -> bytes:
        sets = indices(cohort, sharers), indices(cohort, survivors)
        signature = cohort.survivors(*sets).signed(SERVER_SEED)
        return Survivors(sets[1], signature).encode(cohort.session, cohort.size)

    def agrees(
        self, cohort: SignedCohort, party: PartyId, sharers: Parties, survivors: Parties
    ) -> bytes:
        """A corrupt client's signature of whatever it likes."""
        sets = (digest_of(indices(cohort, one), cohort.size) for one in (sharers, survivors))
        index = cohort.index[party]
        said = statements.AGREE(cohort.session, index, *sets, len(survivors))
        return said.signed(seed_of(party))

    def request(self, cohort: SignedCohort, signed: Mapping[PartyId, bytes]) -> bytes:
        """All of U1 are signers here, so a place among them is an index."""
        by_index = {cohort.index[party]: one for party, one in signed.items()}
        signatures = tuple(by_index[index] for index in sorted(by_index))
        said = UnmaskRequest(frozenset(by_index), signatures)
        return said.encode(cohort.session, cohort.size)


def indices(cohort: SignedCohort, parties: Collection[PartyId]) -> frozenset[int]:
    return frozenset(cohort.index[party] for party in parties)


def told(client: ActiveClient, message: bytes) -> bytes | None:
    try:
        client.receive(SERVER, message)
    except RemoteProtocolError:
        assert client.done
        assert {m.data[2] for m in client.outgoing()} <= {Tag.ABORT}
        return None
    return only(client)


def only(client: ActiveClient) -> bytes:
    """The one thing that it has to say, or nothing."""
    said = client.outgoing()
    assert len(said) <= 1
    return said[0].data if said else b""


def body_of(said: bytes | None) -> Reader:
    """Behind the header."""
    assert said
    reader = Reader(said)
    read_header(reader, SUITE_2)
    return reader


def signature_of(said: bytes | None) -> bytes:
    return Agree.read(body_of(said)).signature
