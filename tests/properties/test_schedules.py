"""Whatever the network does: the sum over exactly the contributors, or a typed abort.

Threats T10 and T18; rows 25, 26, 37-41, 72, 88. SECAGG_SOAK=1 runs 45 times as many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.errors import Aborted, BelowThreshold
from secagg.layout import Layout
from secagg.sansio import RingTotal
from secagg.testing import Act, Carried, Network, Schedule, plain_sum
from secagg.types import SERVER, AbortReason, PartyId
from secagg_protocols.secagg.messages import SHARE_SIZE, Tag
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import COMPLETE, LAYOUT, PHASES, REGULAR, body, inputs_of, network_of, standing
from tests.properties.strategies import (
    HEADER_BITS,
    any_params,
    complete_params,
    layouts,
    regular_params,
    runs,
    schedules,
)

quick = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


class Witness:
    """Sees what every client holds when it is asked to unmask, and what it then gives away."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.held: dict[int, dict[int, tuple[bytes, bytes]]] = {}
        self.kinds: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        network.wire = self

    def __call__(self, message: Carried) -> Sequence[bytes]:
        party = message.to if message.sender == SERVER else message.sender
        if message.sender == SERVER and party in self.network.present:
            held = getattr(standing(self.network.clients[party]), "held", None)
            if held is not None:
                self.held[party] = {
                    dealer: (pair.b_share, pair.s_share) for dealer, pair in held.items()
                }
        elif message.sender != SERVER:
            self._answer(party, message.data)
        return (message.data,)

    def _answer(self, party: int, data: bytes) -> None:
        if len(data) < 3 or data[2] != Tag.UNMASK_ANSWER or party not in self.held:
            return  # a flipped bit makes an answer of a share-keys message, and of no share
        shares = body(data)
        for place, (dealer, (b, s)) in enumerate(sorted(self.held[party].items())):
            share = shares[SHARE_SIZE * place :][:SHARE_SIZE]
            kind = {b: "b", s: "s"}.get(share, "corrupt")
            self.kinds[dealer][kind].add(party)


def check_run(network: Network, params: SecAggParams, layout: Layout) -> RingTotal | Aborted:
    """Runs to the end and checks everything that holds under every schedule."""
    witness = Witness(network)
    inputs = inputs_of(params.clients, layout)
    outcome: RingTotal | Aborted
    try:
        outcome = network.run()
    except Aborted as error:
        outcome = error
        assert network.schedule.acts or network.schedule.close_after, "an abort without a cause"
    else:
        expected = plain_sum(layout, inputs, outcome.contributors)
        assert [lane.tolist() for lane in outcome.vector] == expected
        assert len(outcome.contributors) >= params.min_survivors
        assert outcome.dropped == frozenset(inputs) - outcome.contributors
        uploaders = {m.sender for m in network.sent if m.data[2] == Tag.MASKED_INPUT}
        assert outcome.contributors <= uploaders
    for kinds in witness.kinds.values():
        assert not (kinds["b"] and kinds["s"])  # I1 and its stronger form: nobody, for no dealer
    for party in network.clients:
        answers = {
            m.data for m in network.sent if m.sender == party and m.data[2] == Tag.UNMASK_ANSWER
        }
        corrupted = Act.CORRUPT in network.schedule.acts.values()
        assert len(answers) <= 1 + corrupted
    return outcome


def same(a: RingTotal | Aborted, b: RingTotal | Aborted) -> bool:
    if isinstance(a, Aborted) or isinstance(b, Aborted):
        return str(a) == str(b)
    vectors = all((x == y).all() for x, y in zip(a.vector, b.vector, strict=True))
    return vectors and (a.contributors, a.dropped) == (b.contributors, b.dropped)


@settings(quick, max_examples=runs(140))
@given(st.data())
def test_complete_graph_under_any_schedule(data: st.DataObject) -> None:
    params, layout = data.draw(complete_params()), data.draw(layouts())
    schedule = data.draw(schedules(params))
    network = network_of(params, layout=layout, schedule=schedule)
    outcome = check_run(network, params, layout)
    assert not isinstance(outcome, Aborted) or isinstance(outcome, BelowThreshold)


@settings(quick, max_examples=runs(100))
@given(st.data())
def test_regular_graph_under_any_schedule(data: st.DataObject) -> None:
    params, layout = data.draw(regular_params()), data.draw(layouts())
    schedule = data.draw(schedules(params))
    network = network_of(params, layout=layout, schedule=schedule)
    outcome = check_run(network, params, layout)
    assert not isinstance(outcome, Aborted) or isinstance(outcome, BelowThreshold)


@settings(quick, max_examples=runs(80))
@given(st.data())
def test_broken_shares_never_change_the_sum(data: st.DataObject) -> None:
    """Row 56: any flipped bit in dealt or returned shares: the exact sum, or an abort."""
    params = data.draw(any_params)
    schedule = data.draw(
        schedules(
            params,
            acts=(Act.CORRUPT, Act.GONE, Act.DEAF),
            phases=("share-keys", "unmask"),
            flips=(HEADER_BITS, 12_000),
        )
    )
    outcome = check_run(network_of(params, schedule=schedule), params, LAYOUT)
    if isinstance(outcome, Aborted):
        assert outcome.reason in (AbortReason.BELOW_THRESHOLD, AbortReason.SHARE_ERROR)


@settings(quick, max_examples=runs(100))
@given(st.data())
def test_order_of_arrival_is_irrelevant(data: st.DataObject) -> None:
    """Row 88: the same faults in another order give the same bits, or the same abort."""
    params = data.draw(any_params)
    faulty = data.draw(schedules(params, early=False))
    orders = dict.fromkeys(PHASES, data.draw(st.permutations(range(params.clients))))
    other = Schedule(faulty.acts, orders, {}, faulty.flip)
    first = check_run(network_of(params, schedule=faulty), params, LAYOUT)
    second = check_run(network_of(params, schedule=other), params, LAYOUT)
    assert same(first, second)


@pytest.mark.parametrize("params", [COMPLETE, REGULAR], ids=["complete", "regular"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("act", Act)
def test_both_ends_are_reached(params: SecAggParams, phase: str, act: Act) -> None:
    """What the random schedules above must meet, whatever Hypothesis draws: sums and aborts.

    One client's fault in any phase costs no sum. Everybody's does, unless it was said all the same.
    """
    one = network_of(params, schedule=Schedule({(phase, PartyId(1)): act}))
    assert isinstance(check_run(one, params, LAYOUT), RingTotal)
    said = act in (Act.DUPLICATE, Act.REPLAY, Act.ECHO)
    said |= act in (Act.LEAVES, Act.DEAF) and phase == PHASES[-1]
    everybody = {(phase, PartyId(i)): act for i in range(params.clients)}
    outcome = check_run(network_of(params, schedule=Schedule(everybody)), params, LAYOUT)
    assert isinstance(outcome, RingTotal) == said


def test_a_flip_that_turns_a_share_keys_message_into_an_answer() -> None:
    """Tag 3 and tag 7 differ in one bit: the sender is dropped, and the others go on."""
    params = SecAggParams(4, 2, 1, 3, 3)
    schedule = Schedule({("share-keys", PartyId(0)): Act.CORRUPT}, {}, {}, 18)
    outcome = check_run(network_of(params, schedule=schedule), params, LAYOUT)
    assert isinstance(outcome, RingTotal) and outcome.dropped == {0}
