"""Servers of additive sums under any interleaving of their links, crashes and early deadlines.

Within a link messages keep their order; between links none is promised. Whatever happens: the plain
sum over the reports of the one set that all servers have, or a refusal that says why. Threats T10,
T16 and T18; rows 25, 37, 39, 72, 88, 90.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.errors import Aborted
from secagg.testing import plain_sum
from secagg.types import COLLECTOR, FIRST_RESERVED, AbortReason, PartyId
from secagg_protocols.additive.params import AdditiveParams
from tests.deployment import Deployment
from tests.ensembles import LEADER, Setting
from tests.networks import LAYOUT, inputs_of
from tests.properties.strategies import runs

CLIENTS = 6
NEVER = 1 << 30


class Shuffled(Deployment):
    """Links are served in a random order, some messages twice; the deadline may strike early."""

    def __init__(self, setting: Setting, seed: int, crashes: set[int], close: int) -> None:
        self.struck = False
        self._random, self._close = np.random.Generator(np.random.PCG64(seed)), close
        super().__init__(setting, crashes, committed=seed % 2 == 0)

    def _settle(self) -> None:
        while self._queue:
            self._serve()

    def _serve(self) -> None:
        if self.steps > self._close and self.servers[LEADER].phase == "upload":
            self._close = NEVER
            self._step(LEADER, partial(self._close_early))
            return
        links = sorted({(sender, to) for sender, to, _ in self._queue})
        link = links[self._random.integers(len(links))]
        at = next(i for i, m in enumerate(self._queue) if m[:2] == link)
        sender, to, data = self._queue[at]
        del self._queue[at]
        links_made = self.restarts
        for _ in range(1 + (self._random.random() < 0.1 and to != COLLECTOR)):
            if self.restarts == links_made:  # a link that is gone brings nothing more
                self._hand_over(sender, to, data)

    def _close_early(self) -> None:
        if self.servers[LEADER].phase == "upload":
            self.struck = True
            self.servers[LEADER].close_phase()

    def _hand_over(self, sender: PartyId, to: PartyId, data: bytes) -> None:
        if to in self.servers:
            self._step(to, partial(self.servers[to].receive, sender, data))
        elif to == COLLECTOR:
            self.collector.receive(sender, data)
            self._drain_collector()
        elif to < FIRST_RESERVED:
            self._to_client(sender, to, data)


def check(run: Shuffled) -> str:
    """Exactly the reports of the set, whichever those are."""
    included = dict(run.servers[LEADER]._book.included)
    try:
        total = run.collector.result()
    except Aborted:
        with pytest.raises(Aborted) as refusal:
            run.servers[LEADER].result()
        assert refusal.value.reason is AbortReason.BELOW_THRESHOLD
        assert len(included) < run.setting.params.min_survivors
        assert not any(run.released.values())
        return "refused"
    for server in run.servers.values():
        assert server._book.included == included
    members = {party for party, client in run.clients.items() if client._kept.id in included}
    assert len(members) == len(included) == total.reports
    inputs = inputs_of(run.setting.params.clients, LAYOUT)
    assert [lane.tolist() for lane in total.vector] == plain_sum(LAYOUT, inputs, members)
    for party, released in run.released.items():
        assert released == {run.collected(party)}
    return "exact" if len(members) == len(inputs) else "without"


@settings(max_examples=runs(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    servers=st.integers(2, 4),
    direct=st.booleans(),
    seed=st.integers(0, 1 << 32),
    crashes=st.sets(st.integers(0, 100), max_size=4),
    close=st.none() | st.integers(20, 110),
)
def test_any_interleaving(
    servers: int, direct: bool, seed: int, crashes: set[int], close: int | None
) -> None:
    setting = Setting(AdditiveParams(CLIENTS, servers, 3, direct))
    run = Shuffled(setting, seed, crashes, NEVER if close is None else close)
    run.run()
    end = check(run)
    if close is None:
        assert end == "exact"


@pytest.mark.parametrize("direct", [False, True])
def test_every_deadline_of_one_interleaving(direct: bool) -> None:
    """Reports come one by one, so the ends go from too few over some to all: each is checked."""
    setting, ends = Setting(AdditiveParams(CLIENTS, 3, 3, direct)), []
    for close in itertools.count(step=2):
        run = Shuffled(setting, 0, set(), close)
        run.run()
        ends.append(check(run))
        if not run.struck:
            break
    assert ends[0] == "refused" and ends[-1] == "exact"
    assert "without" in ends
