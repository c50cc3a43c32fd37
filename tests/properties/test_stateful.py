"""Single steps in any order: deliver, drop, forge, replay and close, as Hypothesis likes it.

Rows 24-26, 37, 38, 48: the server never raises for a peer, a client raises RemoteProtocolError
only, and what comes out is the plain sum of the contributors.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from secagg.errors import Aborted, RemoteProtocolError
from secagg.testing import plain_sum
from secagg.types import SERVER, PartyId
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import COMPLETE, LAYOUT, REGULAR, flip, inputs_of, network_of
from tests.properties.strategies import runs

PARAMS = [COMPLETE, REGULAR, SecAggParams(5, 4, 2, 3, 3), SecAggParams(8, 2, 2, 6, 4)]
"""With room for clients to vanish; test_schedules.py has those without."""

MOST_FAULTS = 2
"""In one walk: with more, hardly any of these small rounds would have a sum to check."""

choice = st.integers(0, 1 << 16)


class Round(RuleBasedStateMachine):
    @initialize(params=st.sampled_from(PARAMS))
    def begin(self, params: SecAggParams) -> None:
        network = network_of(params)
        self.faults = 0
        self.hasty = False
        self.params, self.server, self.clients = params, network.server, network.clients
        self.up: list[tuple[PartyId, bytes]] = []
        self.down: list[tuple[PartyId, bytes]] = []
        self.past: list[tuple[PartyId, PartyId, bytes]] = []
        self.server.start()
        for party, client in self.clients.items():
            client.start()
            self._drain(party)

    def _drain(self, party: PartyId) -> None:
        self.up += [(party, m.data) for m in self.clients[party].outgoing()]
        self.clients[party].events()

    def _drain_server(self) -> None:
        self.down += [(m.to, m.data) for m in self.server.outgoing()]
        self.server.events()

    def _to_server(self, party: PartyId, data: bytes) -> None:
        self.server.receive(party, data)  # must not raise
        self._drain_server()

    def _to_client(self, party: PartyId, data: bytes) -> None:
        try:
            self.clients[party].receive(SERVER, data)
        except RemoteProtocolError:
            assert self.clients[party].done
        self._drain(party)

    @rule(which=choice)
    def upload(self, which: int) -> None:
        if self.up:
            party, data = self.up.pop(which % len(self.up))
            self.past.append((party, SERVER, data))
            self._to_server(party, data)

    @rule(which=choice)
    def download(self, which: int) -> None:
        if self.down:
            party, data = self.down.pop(which % len(self.down))
            self.past.append((SERVER, party, data))
            self._to_client(party, data)

    @rule()
    def everything(self) -> None:
        """Keeps the walk from staying in the first phase."""
        while self.up or self.down:
            self.upload(0)
            self.download(0)

    @rule(which=choice)
    def replay(self, which: int) -> None:
        if self.past:
            sender, to, data = self.past[which % len(self.past)]
            if to == SERVER:
                self._to_server(sender, data)
            else:
                self._to_client(to, data)

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule(which=choice, bit=st.integers(0, 279))
    def forge(self, which: int, bit: int) -> None:
        """A header flipped on the way to the server drops its sender, whoever it is."""
        if self.up:
            self.faults += 1
            party, data = self.up.pop(which % len(self.up))
            self._to_server(party, flip(data, bit))

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule(which=choice)
    def lose(self, which: int) -> None:
        party = PartyId(which % self.params.clients)
        self.faults += 1
        self.server.lost(party)
        self._drain_server()

    @precondition(lambda self: not (self.up or self.down or self.server.done))
    @rule()
    def close_when_all_is_said(self) -> None:
        self._close()

    @precondition(lambda self: not self.server.done)
    @rule(patience=st.integers(0, 20))
    def close_early(self, patience: int) -> None:
        if patience == 13:  # no boundary, which Hypothesis would favour
            self.hasty = True
            self._close()

    def _close(self) -> None:
        jobs = self.server.jobs()
        for job in jobs:
            self.server.finish(job, job())
        if not jobs and not self.server.done:
            self.server.close_phase()
        self._drain_server()

    @invariant()
    def sets_are_consistent(self) -> None:
        if hasattr(self, "server"):
            assert self.server.waiting_for <= self.server.alive
            assert not (self.server.done and self.server.waiting_for)

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        while not self.server.done:
            self.everything()
            self._close()
        try:
            total = self.server.result()
        except Aborted:
            assert self.faults or self.hasty, "an abort without a cause"
            return
        inputs = inputs_of(self.params.clients)
        expected = plain_sum(LAYOUT, inputs, total.contributors)
        assert [lane.tolist() for lane in total.vector] == expected
        assert len(total.contributors) >= self.params.min_survivors


TestRound = Round.TestCase
TestRound.settings = settings(
    max_examples=runs(60),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("faults", range(MOST_FAULTS + 1))
def test_a_walk_reaches_its_sum(params: SecAggParams, faults: int) -> None:
    """The walks above have something to compare, whatever Hypothesis draws."""
    walk = Round()
    walk.begin(params)
    for which in range(faults):
        walk.lose(which)
    walk.teardown()
    assert walk.server.result().contributors == frozenset(range(faults, params.clients))
