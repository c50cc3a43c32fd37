"""The numbered invariants of specs/invariants.md, one test each."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import Aborted, BelowThreshold, LocalProtocolError, RemoteProtocolError
from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.sim.footprint import deep_size
from secagg.testing import Act, Schedule
from secagg.types import SERVER, PartyId, system_randomness
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.messages import SHARE_SIZE, Tag, UnmaskRequest
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import (
    COMPLETE,
    PHASES,
    REGULAR,
    assert_exact,
    body,
    inputs_of,
    network_of,
    session_of,
    standing,
)
from tests.properties.strategies import runs


@settings(deadline=None, max_examples=runs(60))
@given(st.lists(st.sets(st.integers(0, 5), min_size=2), min_size=2, max_size=6))
def test_i1_never_both_shares_of_one_dealer(views: list[set[int]]) -> None:
    """However many survivor sets a lying server shows one client. Threats T3."""
    network = network_of(COMPLETE).run_until("masked-input")
    client = network.clients[PartyId(0)]
    session, held = standing(client).place.session, dict(standing(client).held)
    kinds: dict[int, set[str]] = defaultdict(set)
    requests = [UnmaskRequest(frozenset(view)).encode(session, 6) for view in views]
    for request in requests:
        try:
            client.receive(SERVER, request)
        except RemoteProtocolError:
            pass
        for answer in client.outgoing():
            if answer.data[2] != Tag.UNMASK_ANSWER:
                continue
            for place, (dealer, pair) in enumerate(sorted(held.items())):
                share = body(answer.data)[SHARE_SIZE * place :][:SHARE_SIZE]
                kinds[dealer].add({pair.b_share: "b", pair.s_share: "s"}[share])
    assert all(len(kind) == 1 for kind in kinds.values())
    if 0 in views[0] and len(views[0]) >= COMPLETE.min_survivors:
        assert len(kinds) == 6  # the first legal request was answered


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("params", [COMPLETE, REGULAR], ids=["complete", "regular"])
def test_i2_at_least_the_threshold_in_every_phase_or_an_abort(
    params: SecAggParams, phase: str
) -> None:
    """Rows 39 and 41."""
    needed = {"advertise-keys": params.min_clients, "unmask": params.threshold}
    fewest = needed.get(phase, params.min_survivors) - 1
    acts = {(phase, PartyId(i)): Act.GONE for i in range(params.clients - fewest)}
    with pytest.raises(BelowThreshold):
        network_of(params, schedule=Schedule(acts)).run()


@pytest.mark.parametrize("act", [Act.LEAVES, Act.DEAF, Act.GONE, Act.LATE])
def test_i3_contributors_are_fixed_before_any_share_is_asked_for(act: Act) -> None:
    acts = {("masked-input", PartyId(2)): act, ("unmask", PartyId(4)): Act.GONE}
    network = network_of(COMPLETE, schedule=Schedule(acts)).run_until("unmask")
    asked = {m.data for m in network.sent if m.data[2] == Tag.UNMASK_REQUEST}
    (request,) = asked
    fixed = {i for i in range(6) if body(request)[0] >> i & 1}
    assert assert_exact(network).contributors == fixed


def test_i4_no_result_for_fewer_than_the_minimum() -> None:
    acts = {("masked-input", PartyId(i)): Act.GONE for i in range(3)}
    network = network_of(COMPLETE, schedule=Schedule(acts))
    with pytest.raises(BelowThreshold):
        network.run()
    with pytest.raises(BelowThreshold):
        network.server.result()
    assert not any(m.data[2] in (Tag.UNMASK_REQUEST, Tag.UNMASK_ANSWER) for m in network.sent)


def test_i5_machines_and_keys_are_of_one_session() -> None:
    session = session_of(COMPLETE)
    said = set()
    for _ in range(8):
        client = SECAGG.family.client(
            session, PartyId(0), randomness=system_randomness, expander=lambda *a, **k: None
        )
        client.start()
        with pytest.raises(LocalProtocolError):
            client.start()
        keys = body(client.outgoing()[0].data)
        said |= {keys[:32], keys[32:]}
    assert len(said) == 16


def test_i6_server_memory_is_of_one_vector_not_of_all() -> None:
    """O(d + n k): sixteen more vectors must not be there at the end of the uploads."""
    length = 50_000
    layout = Layout((Segment(Ring(32), length),))
    n = 16
    params = SecAggParams(n, n - 1, 9, 9, 9)
    inputs = inputs_of(n, layout)
    network = network_of(params, layout=layout, inputs=inputs).run_until("masked-input")
    before = deep_size(network.server)
    for party in network.clients:
        for data in network.queued(party):
            assert len(data) > 4 * length
            network.server.receive(party, data)
    assert len(network.server.waiting_for) == 0
    assert deep_size(network.server) - before < 4 * length
    assert before > 4 * length  # the accumulator itself


@settings(deadline=None, max_examples=runs(100))
@given(st.sampled_from(PHASES), st.binary(max_size=300), st.booleans())
def test_i7_any_bytes_are_accepted_or_a_documented_fault(
    phase: str, data: bytes, behind_a_header: bool
) -> None:
    network = network_of(COMPLETE).run_until(phase)
    message = network.queued(PartyId(1))[0][:35] + data if behind_a_header else data
    network.server.receive(PartyId(1), message)
    for tag in range(1, 9):
        client = network.clients[PartyId(2)]
        forged = message[:2] + bytes([tag]) + message[3:] if len(message) > 2 else message
        try:
            client.receive(SERVER, forged)
        except RemoteProtocolError:
            assert client.done
    network.drain(PartyId(2))
    try:
        assert_exact(network)
    except Aborted as error:
        assert isinstance(error, BelowThreshold)
