"""Rules R4-R6, S5, S6 (rows 39-41, 56, 59, 89; T10-T12): how many may lie, keep silent or be lost
before there is no sum; with one more there is none, and nothing wrong in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secagg import FixedPoint, plan
from secagg.errors import BelowThreshold, IntegrityError, PolicyRefused
from secagg.records import check_counts
from secagg.testing import Act, Network, Schedule, plain_sum
from secagg.types import Fault, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.active.messages import AGREE, Agree
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.messages import Tag
from tests.active import COMMITTEE, Cast
from tests.adversary.active.liars import Lie, Member, altered, faults, flipped, lying
from tests.adversary.active.members import answer, failing, shares_of

LIVE = Cast(ActiveParams(8, 7, 5, 5, 5, 8, 5))
"""n = 8, A = 1, so t = q = 5. D = 1 may be lost: s = 7, and min_survivors + L <= s leaves L = 2."""
LIARS, LOST = 2, PartyId(7)
Lies = dict[int, Lie]


def silent(m: Member, data: bytes) -> tuple[bytes, ...]:
    return ()


def wrong(m: Member, data: bytes) -> bytes:
    return answer(m, [flipped(one, 7) for one in shares_of(data)])


def of_own_u3(m: Member, data: bytes) -> bytes:
    said = altered(m.stage.fixed.agreement(m.index), number=1).signed(m.seed)
    return Agree(said).encode(m.cohort.session)


def only_its_own(m: Member, data: bytes) -> bytes:
    """A complete graph: its own is at its own index."""
    return answer(m, [shares_of(data)[m.index]])


LIES: Mapping[str, Lies] = {
    "keep silent when they are to sign": {AGREE: silent},
    "sign another survivor set": {AGREE: of_own_u3},
    "send junk when they are to sign": {AGREE: lambda m, data: b"junk"},
    "sign, and keep silent when they are to answer": {Tag.UNMASK_ANSWER: silent},
    "answer with wrong shares": {Tag.UNMASK_ANSWER: wrong},
    "answer unsigned": {Tag.UNMASK_ANSWER: lambda m, data: data[:-64] + bytes(64)},
    "complain of everybody, and answer with what is left": {
        Tag.MASKED_INPUT: lambda m, data: failing(*range(7))(m, data),
        Tag.UNMASK_ANSWER: only_its_own,
    },
    "complain of everybody, and keep silent": {
        Tag.MASKED_INPUT: lambda m, data: failing(*range(7))(m, data),
        AGREE: silent,
    },
}


def run(name: str, liars: int, phase: str) -> Network:
    """So many of the lowest index lie, and one is lost in that phase."""
    lies = {(place, tag): lie for place in range(liars) for tag, lie in LIES[name].items()}
    return lying(LIVE, lies, Schedule({(phase, LOST): Act.GONE}))


@pytest.mark.parametrize("phase", ["masked-input", "consistency", "unmask"])
@pytest.mark.parametrize("name", LIES)
def test_l_liars_and_d_losses_leave_an_exact_sum(name: str, phase: str) -> None:
    """U3, U4, U5: wherever the loss is."""
    network = run(name, LIARS, phase)
    total = LIVE.exact(network)
    lost = {LOST} if phase == "masked-input" else set()
    assert total.contributors == frozenset(LIVE.parties) - lost


@pytest.mark.parametrize("name", LIES)
def test_one_liar_more_ends_the_round_without_a_sum(name: str) -> None:
    network = run(name, LIARS + 1, "masked-input")
    with pytest.raises(BelowThreshold):
        network.run()


SPARED = {
    "advertise-keys": "4 clients advertised keys",
    "share-keys": "0 clients shared keys",
    "masked-input": "4 clients sent a masked input",
    "consistency": "4 signers agreed",
    "unmask": "4 shares came",
}


@pytest.mark.parametrize("phase", SPARED)
def test_as_many_losses_as_there_are_to_spare(phase: str) -> None:
    """Rows 39, 40: n - t of them in one phase, and one more ends it where it is lost."""
    acts = {(phase, party): Act.GONE for party in LIVE.parties[:3]}
    LIVE.exact(LIVE.network(Schedule(acts)))
    acts |= {(phase, LIVE.parties[3]): Act.GONE}
    with pytest.raises(BelowThreshold, match=SPARED[phase]):
        LIVE.network(Schedule(acts)).run()


def test_whoever_signs_and_is_lost_is_asked_for_nothing() -> None:
    """S6: a quorum has signed, and too few of it are left to answer: no share is asked for."""
    gone = LIVE.parties[:4]
    network = LIVE.network(Schedule({("consistency", party): Act.LEAVES for party in gone}))
    with pytest.raises(BelowThreshold, match="4 holders are left"):
        network.run()
    assert not [m for m in network.sent if m.data[2] == Tag.UNMASK_REQUEST]


def test_whoever_has_dealt_and_left_is_not_in_u2() -> None:
    """S5: nobody masks with it, so that nothing of it has to be opened."""
    network = LIVE.network(Schedule({("share-keys", LOST): Act.LEAVES})).run_until("consistency")
    fixed = network.server._stage.fixed  # type: ignore[attr-defined]
    assert fixed.sharers == fixed.survivors == frozenset(range(7))


def test_row_41_all_are_lost_after_their_input() -> None:
    network = LIVE.network(Schedule({("consistency", party): Act.GONE for party in LIVE.parties}))
    with pytest.raises(BelowThreshold, match="0 signers agreed"):
        network.run()
    assert not [m for m in network.sent if m.data[2] == Tag.UNMASK_REQUEST]


def test_a_committee_spares_those_beyond_its_quorum() -> None:
    """m = 5 of ten sign and q = 3 suffice; whoever was to and did not is a loss like any other."""
    cast = Cast(replace(COMMITTEE, threshold=3))
    may, _ = cast.network().run_until("consistency").server._stage.cohort.signers  # type: ignore[attr-defined]
    lies: dict[tuple[int, int], Lie] = {(place, AGREE): silent for place in may[:2]}
    assert cast.exact(lying(cast, lies)).contributors == frozenset(cast.parties)
    with pytest.raises(BelowThreshold, match="2 signers agreed"):
        lying(cast, lies | {(may[2], AGREE): silent}).run()


# What nobody can see in a vector


def changed(change: Callable[[PartyId, Any], None], cast: Cast) -> Network:
    """Inputs that are not what their clients would have sent, masked and signed as they are."""
    network = cast.network()
    for party, client in network.clients.items():
        change(party, client._vector)  # type: ignore[attr-defined]
    return network


def test_row_89_garbage_in_the_ring_is_summed() -> None:
    """Not detected in this mode, and documented: the sum is that of what was sent."""
    cast = Cast()

    def change(party: PartyId, vector: Any) -> None:
        if party == 1:
            for lane in vector:
                lane[:] = np.arange(len(lane)) % 32

    network = changed(change, cast)
    total = network.run()
    true = plain_sum(cast.layout, cast.inputs, total.contributors)
    assert [lane.tolist() for lane in total.vector] != true
    sent = dict(cast.inputs)
    sent[PartyId(1)] = tuple(
        np.arange(s.length).astype(s.group.dtype) % 32 for s in cast.layout.segments
    )
    assert [lane.tolist() for lane in total.vector] == plain_sum(
        cast.layout, sent, total.contributors
    )
    assert not faults(network)


@pytest.mark.parametrize("counted", [0, 2])
def test_row_59_a_false_count_withholds_the_sum(counted: int) -> None:
    """It ends a round (specs/12-active.md): there is no result, and nobody is named for it."""
    schema = plan(clients=6, fields={"x": FixedPoint(4, clip=1.0, bits=8)}, corrupt=0).schema
    cast = Cast(layout=schema.layout)

    def count(of: int) -> Callable[[PartyId, Any], None]:
        def change(party: PartyId, vector: Any) -> None:
            for slot in schema.count_slots:
                lane = vector[slot.segment]
                lane[slot.start : slot.start + slot.length] = of if party == 1 else 1

        return change

    honest = changed(count(1), cast).run()
    check_counts(schema, honest.vector, 6)
    network = changed(count(counted), cast)
    total = network.run()
    with pytest.raises(IntegrityError, match="sum is withheld"):
        check_counts(schema, total.vector, 6)
    assert not faults(network)


# Who refuses by itself


@pytest.mark.parametrize("refusing", [1, 2, 3])
def test_clients_whose_policy_refuses_are_losses(refusing: int) -> None:
    """T19: as many as may be lost, and their vectors stay in the sum, in which they were."""

    def judge(survivors: frozenset[PartyId]) -> None:
        raise PolicyRefused("too like an earlier sum")

    judges = dict.fromkeys(LIVE.parties[:refusing], judge)
    network = LIVE.network(judges=judges)
    call = network.call

    def tolerant(party: PartyId, act: Callable[[], None]) -> None:
        try:
            call(party, act)
        except PolicyRefused:
            pass  # the driver's to report

    network.call = tolerant  # type: ignore[method-assign]
    total = LIVE.exact(network)
    assert total.contributors == frozenset(LIVE.parties)
    assert set(faults(network)) == {*judges} and Fault.LATE not in faults(network).values()
    for party in judges:
        said = [m.data for m in network.sent if m.sender == party]
        assert {data[2] for data in said} == {1, 3, 5, Tag.ABORT} and HEADER_SIZE
