"""A phase more, in its own files: pump, rounds, deadlines and drops take it from the protocol.

The toy is around SecAgg's machines, and has no rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg.errors import Aborted, BelowThreshold, ParameterError
from secagg.plans.plan import Plan
from secagg.protocol import ProtocolInfo
from secagg.sim import Drop, simulate
from secagg.suite import SUITE_1
from secagg.testing import check_protocol
from secagg.types import AbortReason, Fault, PartyId
from tests.fifth import CONFIRM, FIVE, PHASES, TOY, fifth
from tests.rounds.kills import Scene, deaths
from tests.rounds.test_restart import known
from tests.rounds.world import SOON, World, levels, real, total, vector

NAMES = "abcd"
__all__ = ["fifth"]


def plan_of() -> Plan:
    return replace(real(4), protocol="fifth", suite=TOY)


def test_it_keeps_the_rules_of_protocols_under_both_suites(fifth: ProtocolInfo) -> None:
    plan = plan_of()
    check_protocol(fifth, suite=plan.suite)
    assert fifth.phases(plan.params, SUITE_1) == PHASES
    assert [phase.name for phase in plan.phases] == [phase.name for phase in FIVE]


def test_a_simulation_drops_clients_in_it(fifth: ProtocolInfo) -> None:
    plan = plan_of()
    inputs = {PartyId(i): {"update": np.array(vector(i))} for i in range(4)}
    whole = simulate(plan, inputs)
    assert levels(whole) == total(range(4))
    dropping = simulate(plan, inputs, drop=Drop(CONFIRM, 0.25))
    assert levels(dropping) == total(range(4)), "its input is in, and its masks are removed"
    with pytest.raises(BelowThreshold):
        simulate(plan, inputs, drop=Drop(CONFIRM, 0.5))
    with pytest.raises(ParameterError, match=CONFIRM):
        simulate(real(4), inputs, drop=Drop(CONFIRM, 0.25))


def test_rounds_have_a_deadline_for_it(fifth: ProtocolInfo) -> None:
    """And each client hears five, none of which may be missing."""
    plan = plan_of()
    world = World()
    for name in NAMES[:3]:
        known(world, name)
    silent = known(world, "d")
    limits = dict.fromkeys((phase.name for phase in FIVE), SOON)
    with pytest.raises(ParameterError, match="deadlines are needed"):
        world.open(plan, b"task", deadlines=dict.fromkeys(("upload",), SOON))
    said: list[bytes] = []
    received = world.server.received

    def mute(peer: object, frame: bytes, now: float) -> None:
        """The fourth says no more once its masked input is in."""
        if peer == silent.peer and len(said) == 3:
            return
        if peer == silent.peer:
            said.append(frame)
        received(peer, frame, now)  # type: ignore[arg-type]

    world.server.received = mute  # type: ignore[method-assign]
    opened = world.open(plan, b"task", deadlines={**limits, CONFIRM: 3.0})
    assert not world.ends and world.due == world.now + 3.0
    world.wait(3.0)
    assert levels(world.result(opened)) == total(NAMES), "the masked input of the fourth is in"
    assert world.end(opened).report.faults == {PartyId(3): Fault.LATE}
    assert CONFIRM in world.end(opened).report.phases


def test_a_suite_that_does_not_resume_loses_the_round_of_a_server(fifth: ProtocolInfo) -> None:
    """Until its application has the sum, which is then what counts, and once the end is stored."""
    towns = list(deaths(Scene(plan_of(), victim="server")))
    moments = [town.killed for town in towns]
    has_it, told = moments.index("after result"), moments.index("after result") + 2
    for at, town in enumerate(towns):
        reasons = [end.error.reason for end in town.ends if isinstance(end.error, Aborted)]
        assert reasons == [AbortReason.LOST] * (0 < at < told), town.killed
        assert [levels(result) for result in town.results] == [total(NAMES)] * (at >= has_it)
        assert not town.errors and all(len(words) == 1 for words in town.said.values())
        for outcome in (one for told_to in town.told.values() for one in told_to):
            assert outcome.spent or at < has_it


def test_a_client_of_a_suite_that_does_not_resume_is_a_dropout(fifth: ProtocolInfo) -> None:
    """It begins nothing a second time; its input is in the sum only where it had left before."""
    sums = set()
    for town in deaths(Scene(plan_of(), victim="a")):
        (result,) = town.results
        members = sorted(result.contributors)
        sums.add(str(members))
        assert levels(result) == total(NAMES[party] for party in members)
        assert not town.errors and all(len(words) == 1 for words in town.said.values())
        assert all(outcome.spent or 0 not in members for outcome in town.told["a"])
    assert sums == {"[1, 2, 3]", "[0, 1, 2, 3]"}
