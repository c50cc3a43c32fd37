"""Small sessions of active mode for tests: a roster, a session, its machines, a network of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from secagg.crypto import labels, sign
from secagg.errors import WireError
from secagg.layout import Layout, RingVector
from secagg.mask import add_streams
from secagg.protocol import Opener, Session
from secagg.roster import Roster, SignedRoster
from secagg.sansio import Judge, RingTotal
from secagg.suite import SUITE_2
from secagg.testing import Network, Schedule, Wire, counter_randomness, plain_sum
from secagg.types import SERVER, PartyId, Randomness, Seed
from secagg_protocols.secagg.active.client import ActiveClient, agreeable
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.server import ActiveServer
from tests.networks import LAYOUT, PAYLOAD, inputs_of

COMPLETE = ActiveParams(6, 5, 4, 4, 4, 6, 4)
"""Of six clients, one of whom may be corrupt."""
REGULAR = ActiveParams(10, 4, 4, 9, 9, 10, 6)
COMMITTEE = ActiveParams(10, 4, 4, 9, 9, 5, 3)
"""Of ten, five of whom sign."""

SERVER_SEED, ADMIN_SEED = Seed(b"server".ljust(32)), Seed(b"admin".ljust(32))


def seed_of(place: int) -> Seed:
    """The signing seed at a place of every roster here."""
    return Seed(b"member" + place.to_bytes(26))


@dataclass(frozen=True)
class Cast:
    """A session and its parties' keys. places: N. invited: who of the roster is asked; the last
    ones where it is not said, so that a place is no index. plan: what stands for a plan's bytes."""

    params: ActiveParams = COMPLETE
    corrupted: int = 1
    places: int = 0
    invited: frozenset[PartyId] | None = None
    nonce: bytes = bytes(16)
    payload: bytes = PAYLOAD
    layout: Layout = LAYOUT
    epoch: int = 3
    plan: bytes = b"plan"

    @cached_property
    def roster(self) -> Roster:
        size = self.places or self.params.clients
        keys = tuple(sign.public_key(seed_of(place)) for place in range(size))
        return Roster(self.epoch, 1 << 40, sign.public_key(SERVER_SEED), keys)

    @cached_property
    def signed(self) -> SignedRoster:
        return SignedRoster.sign(self.roster, ADMIN_SEED)

    @cached_property
    def parties(self) -> tuple[PartyId, ...]:
        last = range(self.roster.size - self.params.clients, self.roster.size)
        return tuple(sorted(self.invited or map(PartyId, last)))

    @cached_property
    def session(self) -> Session:
        return Session(
            self.nonce,
            labels.digest(labels.PLAN, self.plan),
            self.payload,
            self.params,
            self.layout,
            corrupted=self.corrupted,
            suite=SUITE_2,
            roster=self.roster,
            invited=frozenset(self.parties),
            plan=self.plan,
        )

    def server(self) -> ActiveServer:
        return ActiveServer(
            "secagg", self.session, self.params, signing=SERVER_SEED, expander=add_streams
        )

    def client(
        self, party: PartyId, *, randomness: Randomness | None = None, judge: Judge = agreeable
    ) -> ActiveClient:
        return ActiveClient(
            "secagg",
            self.session,
            self.params,
            party,
            signing=seed_of(party),
            randomness=randomness or counter_randomness(b"active" + party.to_bytes(4)),
            expander=add_streams,
            judge=judge,
        )

    @cached_property
    def inputs(self) -> dict[PartyId, RingVector]:
        """By party, as it is for every session of as many places."""
        everyone = inputs_of(self.roster.size, self.layout)
        return {party: everyone[party] for party in self.parties}

    def network(
        self,
        schedule: Schedule | None = None,
        wire: Wire | None = None,
        judges: Mapping[PartyId, Judge] | None = None,
    ) -> Network:
        """Machines with their inputs, not started."""
        judges = judges or {}
        clients = {p: self.client(p, judge=judges.get(p, agreeable)) for p in self.parties}
        network = Network({SERVER: self.server()}, clients, schedule)
        if wire is not None:
            network.wire = wire
        for party, vector in self.inputs.items():
            copied = tuple(lane.copy() for lane in vector)
            clients[party].set_input(copied, self.payload)
            network.drain(party)
        return network

    def exact(self, network: Network) -> RingTotal:
        """Runs to the end: the total, which is the plain sum over its contributors."""
        total = network.run()
        self.check(total)
        return total

    def check(self, total: RingTotal) -> None:
        expected = plain_sum(self.layout, self.inputs, total.contributors)
        assert [lane.tolist() for lane in total.vector] == expected

    def but(self, invited: Collection[int]) -> Cast:
        """The same roster, with others asked."""
        return replace(self, places=self.roster.size, invited=frozenset(map(PartyId, invited)))


WITHOUT_FAULTS = {"complete": Cast(), "regular": Cast(REGULAR), "committee": Cast(COMMITTEE)}
"""By name: a session of each kind."""


def opener_of(*casts: Cast) -> Opener:
    """Reads what stands for a plan's bytes in sessions of these."""
    known = {cast.plan: cast for cast in casts}

    def opened(plan: bytes, payload_digest: bytes, nonce: bytes) -> tuple[str, Session]:
        if plan not in known:
            raise WireError("this is no plan")
        session = known[plan].session
        return "secagg", replace(session, payload_digest=payload_digest, nonce=nonce)

    return opened
