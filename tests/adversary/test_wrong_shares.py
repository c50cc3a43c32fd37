"""Threats 53-58, T10 and T11: whoever lies about a share, the sum is exact and the pair is named.

A dealer is known by its index and a holder too: everybody advertises here, so both are party ids.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import shamir
from secagg.decoding import Answers
from secagg.errors import Aborted, ParameterError
from secagg.fields import FixedPoint
from secagg.plans.choose import plan
from secagg.sansio import Disputed, Ignored
from secagg.testing import Act, Carried, Network, Schedule
from secagg.types import SERVER, AbortReason, Fault, PartyId, Seed, SessionId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg import SECAGG, keys, rebuilding
from secagg_protocols.secagg.messages import SHARE_SIZE, Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.rebuilding import Rebuilding, Wanted
from tests.networks import (
    COMPLETE,
    PHASES,
    REGULAR,
    aborts,
    assert_exact,
    dealers_of,
    faults,
    flip,
    inputs_of,
    network_of,
    session_of,
)

WIDE = SecAggParams(clients=12, degree=11, threshold=7, min_clients=7, min_survivors=7)
LIAR = 3
Lies = Collection[tuple[int, int]]
"""(dealer, holder): the holder answers another share than it was dealt."""
Pairs = set[tuple[PartyId, PartyId]]


def answering(network: Network, lies: Lies, change: Callable[[bytes], bytes]) -> None:
    """Spoils the answers of some holders, each share on its own."""

    def wire(message: Carried) -> Sequence[bytes]:
        if message.sender == SERVER or message.data[2] != Tag.UNMASK_ANSWER:
            return (message.data,)
        server: Any = network.server
        data = bytearray(message.data)
        for place, dealer in enumerate(dealers_of(server, message.sender)):
            if (dealer, message.sender) in lies:
                at = HEADER_SIZE + SHARE_SIZE * place
                data[at : at + SHARE_SIZE] = change(bytes(data[at : at + SHARE_SIZE]))
        return (bytes(data),)

    network.wire = wire


def off(share: bytes) -> bytes:
    """The lowest bit of the second limb: what is left is a canonical share."""
    return flip(share, 8 * 15)


def lying(params: SecAggParams, lies: Lies, schedule: Schedule | None = None) -> Network:
    network = network_of(params, schedule=schedule)
    answering(network, lies, off)
    return network


def disputed(network: Network) -> Pairs:
    return {(e.dealer, e.holder) for _, e in network.events if isinstance(e, Disputed)}


def tolerating(corrupted: int, params: SecAggParams) -> Network:
    """As network_of, of a plan that counts with so many liars."""
    session = replace(session_of(params), corrupted=corrupted)
    return Network.of(SECAGG, session, inputs_of(params.clients))


def gone(phase: str, *parties: int) -> Schedule:
    return Schedule({(phase, PartyId(p)): Act.GONE for p in parties})


# Holders


@pytest.mark.parametrize("dealer", range(6))
@pytest.mark.parametrize("holder", range(6))
def test_row_56_one_wrong_answer_in_every_place(dealer: int, holder: int) -> None:
    network = lying(COMPLETE, {(dealer, holder)})
    assert len(assert_exact(network).contributors) == 6
    assert disputed(network) == {(dealer, holder)}
    assert not faults(network)


@pytest.mark.parametrize("holder", range(8))
def test_one_wrong_answer_of_every_holder_in_a_regular_graph(holder: int) -> None:
    neighbours = dealers_of(network_of(REGULAR).run_until("unmask").server, holder)
    assert len(neighbours) == 5
    for dealer in neighbours:
        network = lying(REGULAR, {(dealer, holder)})
        assert_exact(network)
        assert disputed(network) == {(dealer, holder)}
        assert not faults(network)


@pytest.mark.parametrize("holder", range(6))
@pytest.mark.parametrize("lost", [None, 2])
def test_a_holder_that_lies_about_everybody_is_in_every_pair(holder: int, lost: int | None) -> None:
    """Of the lost the share is one of s, and it is decoded like the others."""
    schedule = None if lost is None else gone("masked-input", lost)
    lies = {(dealer, holder) for dealer in range(6)}
    network = lying(COMPLETE, lies, schedule)
    assert_exact(network)
    assert disputed(network) == (lies if holder != lost else set())
    assert Fault.INVALID_SHARE not in faults(network).values()


@pytest.mark.parametrize("liars", [(0, 1), (0, 11), (5, 6), (10, 11)], ids=str)
def test_several_liars(liars: tuple[int, int]) -> None:
    """m = 12, t = 7: two are as many as counting can tell."""
    lies = set(itertools.product(range(12), liars))
    network = lying(WIDE, lies)
    assert_exact(network)
    assert disputed(network) == lies


def test_as_many_liars_as_the_slack_allows_and_drops_besides() -> None:
    """Answers of 11: m - t = 4."""
    lies = {(dealer, holder) for dealer in range(12) for holder in (0, 4)}
    network = lying(WIDE, lies, gone("masked-input", 9))
    total = assert_exact(network)
    assert total.dropped == {9}
    assert disputed(network) == lies


@pytest.mark.parametrize(
    ("clients", "liars"), [(10, 1), (20, 2), (50, 6)], ids=["n=10", "n=20", "n=50"]
)
def test_a_plan_holds_with_all_its_liars_and_all_its_drops(clients: int, liars: int) -> None:
    """The most that a plan for .1/.2 admits: one more is refused with what would do."""
    fields = {"update": FixedPoint(3, 1.0, 16)}
    made = plan(clients=clients, fields=fields, corrupt=0.1, dropout=0.2, liars=liars)
    with pytest.raises(ParameterError, match=f"liars={liars} or"):
        plan(clients=clients, fields=fields, corrupt=0.1, dropout=0.2, liars=liars + 1)
    assert isinstance(made.params, SecAggParams)
    late = range(clients - made.threat.dropped, clients)
    lies = set(itertools.product(range(clients), range(liars)))
    network = lying(made.params, lies, gone("unmask", *late))
    assert len(assert_exact(network).contributors) == clients
    assert disputed(network) == lies


def test_one_answer_more_than_the_threshold_is_enough_to_find_one_liar() -> None:
    """m = t + 1: no polynomial is nearest; one of five subsets of four gives the secret."""
    for holder in range(5):
        network = lying(COMPLETE, {(1, holder)}, gone("unmask", 5))
        assert_exact(network)
        assert disputed(network) == {(1, holder)}


def test_beyond_counting_the_secret_is_still_found_and_nobody_named() -> None:
    """m = 6, t = 4: two wrong ones leave four, which are found by trying; m - t + 1 = 3 is less
    than twice two."""
    network = lying(COMPLETE, {(1, 0), (1, 4)})
    assert_exact(network)
    assert not disputed(network) and not faults(network)


def test_without_an_answer_to_spare_a_wrong_one_ends_the_round() -> None:
    network = lying(COMPLETE, {(1, 0)}, gone("unmask", 4, 5))
    error = aborts(network)
    assert error.reason is AbortReason.SHARE_ERROR
    assert str(error).endswith("more than 0 of the 4 shares of client 1 are wrong")
    assert not disputed(network)
    assert Fault.INVALID_SHARE not in faults(network).values()


def test_more_wrong_shares_than_anything_can_mend() -> None:
    """Three of six, and t = 4: there are no four right ones."""
    network = lying(COMPLETE, {(1, 0), (1, 2), (1, 4), (5, 2)})
    assert aborts(network).reason is AbortReason.SHARE_ERROR
    assert faults(network) == {1: Fault.INVALID_SHARE}  # three is more than may lie here: one


def test_who_has_lied_about_two_others_is_left_out_of_the_next() -> None:
    """Else each dealer of a large graph would cost a search of its own."""
    jobs: list[Any] = []
    lies = {(dealer, 0) for dealer in range(12)}
    network = lying(WIDE, lies).run_until("unmask")
    network.step()
    while not network.server.done:
        for job in network.server.jobs():
            jobs.append(job)
            network.server.finish(job, job())
    doubted = [job.doubted for job in jobs if isinstance(job, rebuilding.DecodeJob)]
    assert doubted == [frozenset()] * 2 + [frozenset({1})] * 10


def test_holders_that_cancel_each_other_frame_nobody() -> None:
    """Two among the lowest t answer shares of another polynomial with the very same secret: all
    others seem wrong. There are too many of them to believe it, and the nearest is found."""
    params = SecAggParams(9, 8, 4, 4, 4)
    weights = [int(w) for w in shamir.weights((1, 2, 3, 4))]
    ratio = weights[0] * pow(weights[1], -1, shamir.P) % shamir.P

    def shifted(share: bytes, by: int) -> bytes:
        first = (int.from_bytes(share[:8]) + by) % shamir.P
        return first.to_bytes(8) + share[8:]

    network = tolerating(2, params)
    by = {0: 5, 1: -5 * ratio}

    def wire(message: Carried) -> Sequence[bytes]:
        if message.sender in by and message.data[2] == Tag.UNMASK_ANSWER:
            at = HEADER_SIZE + SHARE_SIZE * 7  # of dealer 7
            share = shifted(message.data[at : at + SHARE_SIZE], by[message.sender])
            return (message.data[:at] + share + message.data[at + SHARE_SIZE :],)
        return (message.data,)

    network.wire = wire
    assert_exact(network)
    assert disputed(network) == {(7, 0), (7, 1)}
    assert not faults(network)


# Dealers


def dealing(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[int, bytes], bytes]
) -> Callable[[], Network]:
    """The liar seals to each holder what `change(holder, plaintext)` makes of its pair."""
    from secagg_protocols.secagg import dealing as module
    from secagg_protocols.secagg import keys

    genuine = keys.seal_pair

    def sealing(shared, session, dealer, holder, plaintext):  # type: ignore[no-untyped-def]
        if dealer.index == LIAR:
            plaintext = change(holder.index, plaintext)
        return genuine(shared, session, dealer, holder, plaintext)

    monkeypatch.setattr(module.keys, "seal_pair", sealing)
    return lambda: network_of(WIDE)


def wrong_for(victims: Collection[int]) -> Callable[[int, bytes], bytes]:
    """Another share of b, which opens like any."""
    return lambda holder, p: p[:8] + off(p[8:48]) + p[48:] if holder in victims else p


def test_row_57_a_dealer_of_a_few_wrong_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """One complaint names a pair. Two are more than may lie: it is the dealer."""
    for victims in ({0}, {5}, {0, 5}, {10, 11}):
        monkeypatch.undo()
        make = dealing(monkeypatch, wrong_for(victims))
        network = make()
        assert len(assert_exact(network).contributors) == 12
        assert disputed(network) == {(LIAR, holder) for holder in victims}
        assert faults(network) == ({LIAR: Fault.INVALID_SHARE} if len(victims) > 1 else {})


def test_row_57_a_dealer_of_too_many_is_named_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule S9."""
    make = dealing(monkeypatch, wrong_for(range(1, 12, 2)))
    network = make()
    assert aborts(network).reason is AbortReason.SHARE_ERROR
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}
    assert not disputed(network)


@pytest.mark.parametrize("spoilt", range(12))
def test_row_53_garbage_sealed_to_any_number_of_holders(
    monkeypatch: pytest.MonkeyPatch, spoilt: int
) -> None:
    """Up to m - t pairs that do not open the round goes on; beyond, nothing can open its b."""
    victims = [party for party in range(12) if party != LIAR][:spoilt]
    make = dealing(monkeypatch, lambda h, p: bytes(88) if h in victims else p)
    network = make()
    if spoilt <= 5:
        assert_exact(network)
    else:
        assert aborts(network).reason is AbortReason.BELOW_THRESHOLD
        assert not any(m.data[2] == Tag.UNMASK_REQUEST for m in network.sent)
    assert disputed(network) == {(LIAR, holder) for holder in victims}
    assert faults(network) == ({LIAR: Fault.INVALID_SHARE} if spoilt > 1 else {})


def test_a_dealer_that_has_left_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dealing(monkeypatch, lambda h, p: bytes(88) if h < 3 else p)
    network = network_of(WIDE, schedule=gone("masked-input", LIAR))
    assert LIAR not in assert_exact(network).contributors
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}


@pytest.mark.parametrize("dealer", range(0, 12, 3))
def test_row_58_a_commitment_to_another_seed_names_its_dealer(dealer: int) -> None:
    network = network_of(WIDE)

    def wire(message: Carried) -> Sequence[bytes]:
        hit = message.sender == dealer and message.data[2] == Tag.SHARE_KEYS
        return (flip(message.data, 8 * HEADER_SIZE) if hit else message.data,)

    network.wire = wire
    assert aborts(network).reason is AbortReason.SHARE_ERROR
    assert faults(network) == {dealer: Fault.INVALID_SHARE}
    assert not disputed(network)


def test_holders_that_say_that_nothing_opens_are_believed_by_nobody() -> None:
    """One bitmap of ones: a pair with every neighbour, and no fault of any of them."""
    network = network_of(WIDE)

    def wire(message: Carried) -> Sequence[bytes]:
        if message.sender == LIAR and message.data[2] == Tag.MASKED_INPUT:
            data = bytearray(message.data)
            data[HEADER_SIZE : HEADER_SIZE + 2] = b"\xff\x07"
            return (bytes(data),)
        if message.sender == LIAR and message.data[2] == Tag.UNMASK_ANSWER:
            own = HEADER_SIZE + SHARE_SIZE * LIAR
            return (message.data[:HEADER_SIZE] + message.data[own : own + SHARE_SIZE],)
        return (message.data,)

    network.wire = wire
    assert_exact(network)
    assert disputed(network) == {(dealer, LIAR) for dealer in range(12) if dealer != LIAR}
    assert not faults(network)


@pytest.mark.parametrize(("corrupted", "named"), [(0, True), (1, True), (2, True), (3, False)])
def test_the_plan_says_how_many_complaints_are_too_many(
    monkeypatch: pytest.MonkeyPatch, corrupted: int, named: bool
) -> None:
    """Three against one: where three may lie together, it is still nobody."""
    dealing(monkeypatch, lambda h, p: bytes(88) if h < 3 else p)
    network = tolerating(corrupted, WIDE)
    assert_exact(network)
    assert bool(faults(network)) == named


# All of it


def said(network: Network) -> tuple[Any, ...]:
    total = network.server.result()
    events = [e for who, e in network.events if who == SERVER and not isinstance(e, Ignored)]
    sent = {(m.to, m.data) for m in network.sent if m.sender == SERVER}
    ends = [e for e in events if type(e).__name__ in ("Disputed", "Dropped")]
    return [lane.tolist() for lane in total.vector], total.contributors, ends, sent


@pytest.mark.parametrize("params", [COMPLETE, REGULAR, WIDE], ids=["six", "regular", "twelve"])
def test_every_order_of_arrival_gives_the_same(params: SecAggParams) -> None:
    n = params.clients
    lies = {(d, h) for d in range(n) for h in ((0, 7) if n == 12 else (0,)) if (d + h) % 2}
    outcomes = []
    for turn in range(n):
        order = [PartyId((turn + i * (1 if turn % 2 else n - 1)) % n) for i in range(n)]
        network = lying(params, lies, Schedule(order=dict.fromkeys(PHASES, order)))
        network.run()
        outcomes.append(said(network))
    assert outcomes[0][2]
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_jobs_may_be_cut_and_run_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """One subset a job gives what all in one job give."""
    results: list[tuple[Any, ...]] = []
    for units in (1, 1 << 22):
        monkeypatch.setattr(rebuilding, "_UNITS_PER_JOB", units)
        network = lying(COMPLETE, {(1, 0), (4, 2)}, gone("unmask", 5))
        network.run()
        results.append(said(network))
    assert results[0] == results[1]


def test_work_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is spent is counted, not timed; nobody is to blame for the end of it."""
    search = 80 * 5 * 105 + 5 * 12 * 140  # m = 12, t = 7
    network = lying(WIDE, lies := {(dealer, 0) for dealer in range(3)})
    monkeypatch.setattr(rebuilding, "BUDGET", 2 * search + 1)
    assert_exact(network)
    network = lying(WIDE, lies)
    monkeypatch.setattr(rebuilding, "BUDGET", 2 * search)
    error = aborts(network)
    assert error.reason is AbortReason.SHARE_ERROR
    assert "work" in str(error) and "before client 2" in str(error)
    assert not faults(network)
    assert disputed(network) == {(0, 0), (1, 0)}


def worked(m: int, t: int, liars: Collection[int], spoilt: Collection[int]) -> Rebuilding:
    """One set of answers for m dealers: wrong ones of the liars, for those that are spoilt."""
    secret, session = Seed(bytes(range(32))), SessionId(bytes(32))
    points = range(1, m + 1)
    right = dict(zip(points, shamir.split(secret, t, points, os.urandom), strict=True))
    wrong = dict(right)
    for x in liars:  # each in another byte, so that they never cancel
        wrong[x] = flip(right[x], 8 * (9 + x % 7))
    answers = {d: Answers.of(wrong if d in spoilt else right) for d in range(m)}
    rebuilding_ = Rebuilding(
        [
            Wanted(session, d, True, keys.commit(secret, session, d), t, answers[d])
            for d in range(m)
        ],
        session,
    )
    while not rebuilding_.done:
        for job in rebuilding_.jobs():
            rebuilding_.finish(job, job())
    return rebuilding_


@pytest.mark.parametrize("liar", [1, 24, 48], ids=["lowest", "middle", "beyond"])
def test_one_liar_costs_two_searches_and_little_of_each_dealer(
    monkeypatch: pytest.MonkeyPatch, liar: int
) -> None:
    """As m grows, m^2 for each of m dealers would end every round that it lies in."""
    m, t = 48, 30
    tried, search = m * (m + 128), 80 * 18 * 118 + 5 * m * (m + 128)
    first = 2 * (search if liar <= t else tried)
    monkeypatch.setattr(rebuilding, "BUDGET", first + 2 * tried + 3 * m * (m - 2))
    done = worked(m, t, {liar}, range(m))
    assert not done.spent and done.failed is None
    assert done.wrong == {(dealer, liar - 1) for dealer in range(m)}
    assert done._work == rebuilding.BUDGET < first + tried * (m - 2)


def test_what_a_new_liar_is_off_is_found_by_a_try() -> None:
    """The holder in doubt answers right again, another does not: nobody is passed over."""
    m, t = 20, 11
    done = worked(m, t, {2}, {0, 1})
    assert done.wrong == {(0, 1), (1, 1)}
    session = SessionId(bytes(32))
    one = Wanted(session, 0, True, b"", t, Answers.of(dict.fromkeys(range(1, m + 1), bytes(40))))
    moved = dict.fromkeys(range(1, m + 1), bytes(40)) | {17: off(bytes(40))}
    assert rebuilding.DecodeJob(one, False, frozenset({2}))._by(range(3, 14))[1] == 3 * m
    found, work = rebuilding.DecodeJob(
        replace(one, answers=Answers.of(moved)), False, frozenset({2})
    )._by(range(3, 14))
    assert found is not None and found.wrong == {17}
    assert work == 3 * m + m * (m + 128)


@pytest.mark.parametrize("subsets", [2, 3])
def test_every_set_is_counted_and_the_end_is_asked_before_each_job(
    monkeypatch: pytest.MonkeyPatch, subsets: int
) -> None:
    """m = 6, t = 4, three wrong: 256 sets are tried, one a job, unless the work is spent before."""
    tried = 6 * 134
    search = 80 * 2 * 102 + 5 * tried
    monkeypatch.setattr(rebuilding, "_UNITS_PER_JOB", 1)
    monkeypatch.setattr(rebuilding, "BUDGET", search + subsets * tried)
    done = worked(6, 4, {1, 3, 5}, {2})
    assert done.spent and done._work == rebuilding.BUDGET
    monkeypatch.setattr(rebuilding, "BUDGET", 1 << 32)
    done = worked(6, 4, {1, 3, 5}, {2})
    assert not done.spent and done.failed is not None and done.failed.dealer == 2
    assert done._work == search + 256 * tried


@st.composite
def crooked_rounds(draw: st.DrawFn) -> tuple[SecAggParams, Mapping[int, set[int]], Schedule]:
    n = draw(st.integers(4, 11))
    threshold = draw(st.integers(n // 2 + 1, n))
    params = SecAggParams(n, n - 1, threshold, threshold, threshold)
    liars = draw(st.dictionaries(st.integers(0, n - 1), st.sets(st.integers(0, n - 1)), max_size=4))
    lost = draw(st.sets(st.integers(0, n - 1), max_size=n - threshold))
    phase = draw(st.sampled_from(("masked-input", "unmask")))
    return params, liars, gone(phase, *lost)


@settings(max_examples=60, deadline=None)
@given(crooked_rounds())
def test_row_56_never_a_wrong_sum_nor_an_innocent_pair(
    case: tuple[SecAggParams, Mapping[int, set[int]], Schedule],
) -> None:
    """Exact wherever half of the slack covers the lies about each dealer, and then with the right
    pairs; else exact or share-error. No pair without a liar in it, no fault of another."""
    params, liars, schedule = case
    lies = {(dealer, holder) for holder, dealers in liars.items() for dealer in dealers}
    network = lying(params, lies, schedule)
    lost = {party for _, party in schedule.acts}
    answered = [h for h in range(params.clients) if h not in lost]
    told = {(d, h) for d, h in lies if h in answered}
    slack = len(answered) - params.threshold
    counts = [sum(1 for d, _ in told if d == dealer) for dealer in range(params.clients)]
    try:
        assert_exact(network)
    except Aborted as error:
        assert error.reason is AbortReason.SHARE_ERROR
        assert max(counts) > slack // 2
    if max(counts) <= slack // 2:
        assert disputed(network) == told
    if 2 * max(counts) <= slack + 1:
        assert disputed(network) <= told
    named = {party for party, fault in faults(network).items() if fault is Fault.INVALID_SHARE}
    assert all(counts[party] > 1 for party in named)
