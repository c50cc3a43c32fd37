"""The server machine: sets, quorums, jobs, results (specs/10-secagg.md §9).

Faults of clients are in tests/adversary/test_lying_client.py, legal inputs in test_states.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from secagg import errors
from secagg.crypto.agree import public_key
from secagg.errors import BelowThreshold, LocalProtocolError, ParameterError
from secagg.layout import Layout, Segment
from secagg.mask import MaskJob, add_streams
from secagg.ring import Ring
from secagg.sansio import Ignored, QuorumReached
from secagg.testing import Act, Network, Schedule, plain_sum
from secagg.types import SERVER, AbortReason, Fault, PartyId, Seed
from secagg_protocols.plainsum import PlainSumParams
from secagg_protocols.secagg import SECAGG, SECAGG_PLUS
from secagg_protocols.secagg.cohort import ServerCohort
from secagg_protocols.secagg.jobs import AgreeJob
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import (
    COMPLETE,
    LAYOUT,
    PHASES,
    REGULAR,
    aborts,
    assert_exact,
    faults,
    inputs_of,
    network_of,
    sent_by,
    session_of,
)


def gone(phase: str, *parties: int) -> Schedule:
    return Schedule({(phase, PartyId(p)): Act.GONE for p in parties})


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("parties", [(), (0,), (5,), (0, 5), (2, 3)], ids=str)
@pytest.mark.parametrize("params", [COMPLETE, REGULAR], ids=["complete", "regular"])
def test_sums_are_exact_whoever_drops(
    params: SecAggParams, phase: str, parties: tuple[int, ...]
) -> None:
    network = network_of(params, schedule=gone(phase, *parties))
    total = assert_exact(network)
    everyone = frozenset(range(params.clients))
    expected = everyone if phase == "unmask" else everyone - set(parties)
    assert total.contributors == expected
    assert total.dropped == everyone - expected
    assert faults(network) == dict.fromkeys(parties, Fault.LOST)


def test_drops_in_every_phase_at_once() -> None:
    params = SecAggParams(8, 7, 4, 4, 4)
    acts = {(phase, PartyId(i)): Act.GONE for i, phase in enumerate(PHASES)}
    network = network_of(params, schedule=Schedule(acts))
    assert assert_exact(network).contributors == set(range(8)) - {0, 1, 2}


def test_who_left_after_its_upload_contributes() -> None:
    """Rule S3: nothing that was added is ever subtracted."""
    schedule = Schedule({("masked-input", PartyId(2)): Act.LEAVES})
    network = network_of(COMPLETE, schedule=schedule)
    assert 2 in assert_exact(network).contributors
    assert faults(network) == {2: Fault.LOST}


def test_who_left_after_its_keys_is_in_u1_and_no_further() -> None:
    schedule = Schedule({("advertise-keys", PartyId(2)): Act.LEAVES})
    network = network_of(COMPLETE, schedule=schedule)
    assert 2 not in assert_exact(network).contributors
    assert not sent_by(network, 2, Tag.SHARE_KEYS)


@pytest.mark.parametrize("name", ["secagg", "secagg+"])
def test_every_width(name: str) -> None:
    info = {"secagg": SECAGG, "secagg+": SECAGG_PLUS}[name]
    for width in range(1, 65):
        layout = Layout((Segment(Ring(width), 5),))
        network = network_of(
            COMPLETE, layout=layout, info=info, schedule=gone("masked-input", width % 6)
        )
        assert_exact(network, layout)


def test_extreme_elements() -> None:
    """All ones in every ring: what overflows is the lane's business and nobody's loss."""
    layout = Layout(tuple(Segment(Ring(w), 3) for w in (1, 8, 31, 64)))
    full = tuple(np.full(3, s.group.mask, s.group.dtype) for s in layout.segments)
    inputs = {PartyId(i): full for i in range(6)}
    total = network_of(COMPLETE, layout=layout, inputs=inputs).run()
    assert [lane.tolist() for lane in total.vector] == plain_sum(layout, inputs, inputs)


@pytest.mark.parametrize("phase", PHASES)
def test_rule_s1_strangers_and_whoever_missed_a_phase_are_ignored(phase: str) -> None:
    network = network_of(COMPLETE, schedule=gone("advertise-keys", 5)).run_until(phase)
    server, said = network.server, network.queued(PartyId(0))[0]
    missed = [] if phase == "advertise-keys" else [PartyId(5)]
    for stranger in (PartyId(6), SERVER, *missed):
        before = server.alive, server.waiting_for
        server.receive(stranger, said)
        assert (server.alive, server.waiting_for) == before
        assert [type(event) for event in server.events()] == [Ignored]
    assert_exact(network)


def test_quorum_is_told_once_per_phase() -> None:
    network = network_of(COMPLETE)
    network.run()
    told = [e.phase for who, e in network.events if isinstance(e, QuorumReached)]
    assert told == list(PHASES)


def test_at_quorum_the_rest_may_be_late() -> None:
    """Row 40: every deadline strikes after exactly as many as are needed."""
    schedule = Schedule(close_after=dict.fromkeys(PHASES, 4))
    network = network_of(COMPLETE, schedule=schedule)
    assert len(assert_exact(network).contributors) == 4
    assert set(faults(network).values()) == {Fault.LATE}


def test_a_client_without_enough_holders_is_left_out() -> None:
    """Of a ring of eight with two neighbours each, t = 3: whoever loses one is out too."""
    params = SecAggParams(8, 2, 2, 8, 3)
    network = network_of(params, schedule=gone("share-keys", 0))
    assert_exact(network)
    strict = SecAggParams(8, 2, 3, 8, 3)
    error = aborts(failing := network_of(strict, schedule=gone("share-keys", 0)))
    assert isinstance(error, BelowThreshold)  # it takes its neighbours along, and they theirs
    assert list(faults(failing).values()).count(Fault.TOO_FEW_HOLDERS) == 7


def test_core_is_the_largest_set_with_enough_holders() -> None:
    """Rule S5."""
    cohort = Cohort(10)
    for sharers in (range(10), (0, 1, 2, 3), (0, 1, 2, 5, 6, 7, 8)):
        kept = cohort.core(list(sharers), 3)
        assert all(len(cohort.holders(i) & kept) >= 3 for i in kept)
        rest = sorted(set(sharers) - kept)
        for bits in range(1, 1 << len(rest)):
            larger = kept | {i for place, i in enumerate(rest) if bits >> place & 1}
            assert any(len(cohort.holders(i) & larger) < 3 for i in larger)


class Cohort(ServerCohort):
    """A plain ring with one neighbour on each side."""

    def __init__(self, size: int) -> None:
        object.__setattr__(self, "ids", tuple(range(size)))

    def neighbours(self, index: int) -> tuple[int, ...]:
        return tuple(sorted({(index - 1) % len(self.ids), (index + 1) % len(self.ids)}))


def test_below_threshold_names_the_phase_and_reveals_nothing() -> None:
    network = network_of(COMPLETE, schedule=gone("masked-input", 0, 1, 2))
    error = aborts(network)
    assert error.reason is AbortReason.BELOW_THRESHOLD
    assert "3 clients sent a masked input, and 4 are needed" in str(error)
    assert not any(m.data[2] == Tag.UNMASK_REQUEST for m in network.sent)


def test_rule_s6_nothing_is_asked_for_that_could_not_suffice() -> None:
    """Four uploaded and left one of them: three can answer, and nobody is asked to."""
    acts = {("masked-input", PartyId(i)): Act.GONE for i in (0, 1)}
    acts[("masked-input", PartyId(2))] = Act.LEAVES
    network = network_of(COMPLETE, schedule=Schedule(acts))
    assert "holders are left" in str(aborts(network))
    assert not any(m.data[2] == Tag.UNMASK_REQUEST for m in network.sent)


# Jobs


def at_jobs(params: SecAggParams = COMPLETE, schedule: Schedule | None = None) -> Network:
    network = network_of(params, schedule=schedule).run_until("unmask")
    network.step()
    return network


def test_jobs_come_in_two_waves_and_each_once() -> None:
    server = at_jobs(schedule=gone("masked-input", 1)).server
    first = list(server.jobs())
    assert all(isinstance(job, AgreeJob) for job in first)
    assert not server.jobs()
    for job in first:
        server.finish(job, job())
    second = list(server.jobs())
    assert second
    assert all(isinstance(job, MaskJob) for job in second)
    for job in reversed(second):
        assert not server.done
        server.finish(job, job())
    assert server.done
    assert not server.jobs()


def test_jobs_run_on_any_executor_in_any_order() -> None:
    network = at_jobs(schedule=gone("masked-input", 1, 4))
    server = network.server
    with ThreadPoolExecutor(3) as pool:
        while not server.done:
            running = [(job, pool.submit(job)) for job in server.jobs()]
            for job, future in reversed(running):
                server.finish(job, future.result())
    assert_exact(network)


def test_blocks_of_a_long_vector_concatenate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secagg_protocols.secagg.jobs._LARGEST_BLOCK", 1 << 16)
    layout = Layout((Segment(Ring(20), 40_000), Segment(Ring(64), 20_001)))
    network = network_of(COMPLETE, layout=layout, schedule=gone("masked-input", 1))
    network.run_until("unmask").step()
    jobs = 0
    while not network.server.done:
        wave = list(network.server.jobs())
        jobs += len(wave)
        for job in wave:
            network.server.finish(job, job())
    assert jobs == 1 + 3 + 3
    total, inputs = network.server.result(), inputs_of(6, layout)
    for number, segment in enumerate(layout.segments):
        wide = sum(inputs[p][number].astype(np.uint64) for p in total.contributors)
        assert np.array_equal(total.vector[number], wide & np.uint64(segment.group.mask))


def test_a_job_that_is_not_open() -> None:
    server = at_jobs().server
    job = server.jobs()[0]
    server.finish(job, job())
    with pytest.raises(LocalProtocolError):
        server.finish(job, job())
    before = network_of(COMPLETE).server
    with pytest.raises(LocalProtocolError):
        before.finish(job, b"")


def test_jobs_hold_keys_that_were_opened_and_no_machine() -> None:
    """One of a dropped client's, and the self masks of the others: no other secret is in them."""
    network = at_jobs(schedule=gone("masked-input", 1))
    (agree,) = network.server.jobs()
    assert isinstance(agree, AgreeJob)
    assert public_key(Seed(agree.secret)) == agree.dropped.public
    assert agree.dropped.index == 1


def test_abort_during_the_jobs() -> None:
    server = at_jobs().server
    jobs = server.jobs()
    server.abort(AbortReason.CANCELLED)
    assert not server.jobs()
    with pytest.raises(LocalProtocolError):
        server.finish(jobs[0], jobs[0]())
    with pytest.raises(errors.Aborted):
        server.result()


def test_messages_after_the_last_answer_are_ignored() -> None:
    server = at_jobs().server
    server.events()
    server.receive(PartyId(0), b"anything")
    server.lost(PartyId(1))
    assert 1 not in server.alive
    assert 0 in server.alive


# Results and the rest


def test_all_a_server_says_waits_for_a_snapshot() -> None:
    """Rule S8."""
    network = network_of(COMPLETE)
    network.start()
    for party in network.clients:
        network.server.receive(party, network.queued(party)[0])
    network.server.close_phase()
    assert [m.commit for m in network.server.outgoing()] == [True] * 6


def test_results_can_be_read_again() -> None:
    network = network_of(COMPLETE)
    first, second = network.run(), network.server.result()
    assert first.contributors == second.contributors
    for a, b in zip(first.vector, second.vector, strict=True):
        assert np.array_equal(a, b)


def test_an_expander_is_injected_everywhere() -> None:
    """Any expander that both sides share gives the same sum."""
    calls = {"number": 0}

    def other(accumulator: Any, keys: bytes, signs: bytes, /, *, first: int = 0) -> None:
        calls["number"] += len(signs)
        add_streams(accumulator, keys[::-1], signs[::-1], first=first)

    inputs = inputs_of(6)
    network = Network.of(SECAGG, session_of(COMPLETE), inputs, expander=other)
    total = network.run()
    assert [lane.tolist() for lane in total.vector] == plain_sum(LAYOUT, inputs, inputs)
    assert calls["number"] == 2 * (6 * 6 + 6)


def test_parameters_of_another_protocol_are_refused() -> None:
    session = session_of(PlainSumParams(6, 4))
    with pytest.raises(ParameterError):
        SECAGG.family.server(session, expander=add_streams)
    with pytest.raises(ParameterError):
        SECAGG.family.client(session, PartyId(0), randomness=bytes, expander=add_streams)


def test_the_repr_tells_the_state() -> None:
    assert repr(network_of().server) == "SecAggServer(state=idle, alive=6)"
    assert SERVER == 0xFFFF_FFFF
