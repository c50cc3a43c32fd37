"""Active mode whatever the network does: the sum or the abort that counting says, and no other.

Threats T10, T18; rows 25, 26, 37-41, 72, 88. SECAGG_SOAK=1 runs 45 times as many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.errors import Aborted, BelowThreshold
from secagg.sansio import Dropped, RingTotal
from secagg.testing import Act, Carried, Network, Schedule
from secagg.types import MIN_COHORT, SERVER, AbortReason, Fault, PartyId, SessionId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.messages import ShareKeys
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.states import PHASES
from secagg_protocols.secagg.messages import Tag
from tests.active import Cast, seed_of
from tests.networks import standing
from tests.properties.active_count import Count, Graph, Parties, Short
from tests.properties.strategies import layouts, runs

NAMES = [phase.name for phase in PHASES]
quick = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


@st.composite
def complete(draw: st.DrawFn) -> tuple[ActiveParams, int]:
    """As a plan has them, for every A, and as many survivors as one likes above that."""
    n = draw(st.integers(MIN_COHORT, 8))
    corrupted = draw(st.integers(0, n - 2))
    t = (n + corrupted) // 2 + 1
    least = max(t, corrupted + 2, MIN_COHORT)
    survivors = draw(st.integers(least, n))
    clients = draw(st.integers(survivors, n))
    return ActiveParams(n, n - 1, t, clients, survivors, n, t), corrupted


@st.composite
def regular(draw: st.DrawFn) -> tuple[ActiveParams, int]:
    """Small graphs, which no plan has: with a majority of holders, and a committee or none."""
    n = draw(st.integers(5, 10))
    k = 2 * draw(st.integers(1, (n - 3) // 2))
    t = draw(st.integers(k // 2 + 1, k + 1))
    survivors = draw(st.integers(max(t, MIN_COHORT, k + 1), n))
    m = draw(st.sampled_from([n, *range(2, survivors + 1)]))
    q = draw(st.integers(m // 2 + 1, m))
    corrupted = draw(st.integers(0, min(2, survivors - 2)))
    return ActiveParams(n, k, t, survivors, survivors, m, q), corrupted


@st.composite
def casts(draw: st.DrawFn) -> Cast:
    params, corrupted = draw(st.one_of(complete(), regular()))
    places = params.clients + draw(st.integers(0, 2))
    asked = draw(st.permutations(range(places)))[: params.clients]
    invited = frozenset(map(PartyId, asked))
    return Cast(params, corrupted, places, invited, layout=draw(layouts()))


@st.composite
def schedules(draw: st.DrawFn, cast: Cast, *, early: bool = True) -> Schedule:
    """Any act in any phase, any bit flipped: whatever is signed is noticed."""
    party, phase = st.sampled_from(cast.parties), st.sampled_from(NAMES)
    acts = draw(st.dictionaries(st.tuples(phase, party), st.sampled_from(Act), max_size=4))
    order = draw(st.dictionaries(phase, st.permutations(cast.parties), max_size=2))
    deadlines = st.dictionaries(phase, st.integers(0, len(cast.parties)), max_size=1)
    close_after = draw(deadlines) if early and draw(st.booleans()) else {}
    return Schedule(acts, order, close_after, draw(st.integers(0, 20_000)))


@dataclass(frozen=True)
class Ran:
    network: Network
    outcome: RingTotal | Aborted
    transcript: bytes

    @property
    def ends(self) -> tuple[object, ...]:
        """What another run of it must be equal to."""
        if isinstance(self.outcome, Aborted):
            return (self.outcome.reason, str(self.outcome))
        vector = [lane.tolist() for lane in self.outcome.vector]
        return (vector, self.outcome.contributors, self.outcome.dropped)


def run(cast: Cast, schedule: Schedule) -> Ran:
    network = cast.network(schedule)
    outcome: RingTotal | Aborted
    try:
        outcome = network.run()
    except Aborted as error:
        outcome = error
    return Ran(network, outcome, b"".join(network.server.transcript()))  # type: ignore[attr-defined]


def counted(cast: Cast, schedule: Schedule, network: Network) -> Parties | str:
    """U3, or the phase in which there were too few. Of the run it takes the session id alone."""

    def graph(u1: Parties) -> Graph:
        shown = (m.data for m in network.sent if m.data[2] == Tag.KEY_LIST)
        listed = next(shown, bytes(HEADER_SIZE))  # where all have left, nobody is shown one
        session, ids = SessionId(listed[HEADER_SIZE - 32 : HEADER_SIZE]), sorted(u1)
        everybody = cast.params.signers == cast.params.clients
        signers = len(ids) if everybody else cast.params.signers
        quorum = (signers + cast.corrupted) // 2 + 1 if everybody else cast.params.quorum

        def holders(party: PartyId) -> Parties:
            index = ids.index(party)
            near = binding.neighbours(session, len(ids), cast.params.degree, index)
            return frozenset(ids[i] for i in (*near, index))

        who = binding.committee(session, len(ids), signers)
        return Graph(holders, frozenset(ids[i] for i in who), quorum)

    try:
        return Count(cast.params, cast.parties, schedule, graph).contributors()
    except Short as short:
        return str(short)


def check(cast: Cast, schedule: Schedule) -> Ran:
    ran = run(cast, schedule)
    expected = counted(cast, schedule, ran.network)
    if isinstance(expected, str):
        assert isinstance(ran.outcome, BelowThreshold), (expected, ran.outcome)
        assert not ran.network.server.alive or ran.network.sent[-1].phase == expected
    else:
        assert isinstance(ran.outcome, RingTotal), (expected, ran.outcome)
        assert ran.outcome.contributors == expected
        cast.check(ran.outcome)
    assert not ran.network.refusals
    check_said_once(cast, schedule, ran.network)
    return ran


def check_said_once(cast: Cast, schedule: Schedule, network: Network) -> None:
    """A client has one wording of each message, also when it hears all that it heard once more."""
    said = {party: {m.data for m in network.sent if m.sender == party} for party in cast.parties}
    for party, client in network.clients.items():
        if any(act is Act.CORRUPT for (_, who), act in schedule.acts.items() if who == party):
            continue  # what is in the log is what arrived
        assert len({data[2] for data in said[party]}) == len(said[party])
        queued = set(network.queued(party))
        for again in [m.data for m in network.sent if m.to == party]:
            network.deliver(party, again)
        unsent = set(network.queued(party)) - said[party] - queued
        # what never arrived was said late, or not heard: it is the first of its kind then
        assert not {data[2] for data in unsent} & {data[2] for data in said[party]}
        assert client.done or not client.outgoing()


@settings(quick, max_examples=runs(200))
@given(st.data())
def test_the_end_is_what_counting_says(data: st.DataObject) -> None:
    cast = data.draw(casts())
    check(cast, data.draw(schedules(cast)))


@settings(quick, max_examples=runs(80))
@given(st.data())
def test_order_of_arrival_is_irrelevant(data: st.DataObject) -> None:
    """Row 88: to the sum, to the abort, and to what the server has written down."""
    cast = data.draw(casts())
    schedule = data.draw(schedules(cast, early=False))
    orders = dict.fromkeys(NAMES, data.draw(st.permutations(cast.parties)))
    first, second = run(cast, schedule), run(cast, replace(schedule, order=orders))
    assert first.ends == second.ends
    assert first.transcript == second.transcript


@settings(quick, max_examples=runs(40))
@given(st.data())
def test_equal_runs_say_the_same(data: st.DataObject) -> None:
    """Every byte, of every party, and the transcript: a session is a function of its randomness."""
    cast = data.draw(casts())
    schedule = data.draw(schedules(cast))
    first, second = run(cast, schedule), run(cast, schedule)
    assert first.network.sent == second.network.sent
    assert first.transcript == second.transcript and first.ends == second.ends
    sums = isinstance(first.outcome, RingTotal)
    assert first.network.events == second.network.events if sums else True


class Liars:
    """A wire on which some dealers commit to another b than they deal, and some holders answer with
    another share than they were dealt; all of it signed by them."""

    def __init__(self, network: Network, dealers: Parties, holders: Parties) -> None:
        self.network, self.dealers, self.holders = network, dealers, holders
        network.wire = self

    def __call__(self, message: Carried) -> tuple[bytes, ...]:
        who, tag = message.sender, message.data[2]
        if who in self.dealers and tag == Tag.SHARE_KEYS:
            return (self._dealt(who, message.data),)
        if who in self.holders and tag == Tag.UNMASK_ANSWER:
            return (self._answered(who, message.data),)
        return (message.data,)

    def _dealt(self, party: PartyId, data: bytes) -> bytes:
        seat = standing(self.network.clients[party]).seat
        body = bytes(32) + data[HEADER_SIZE + 32 : -64]
        said = ShareKeys(body)
        statement = statements.SHARES(seat.session, seat.index, seat.leaf, said.digest)
        return replace(said, signature=statement.signed(seed_of(party))).encode(seat.session)

    def _answered(self, party: PartyId, data: bytes) -> bytes:
        fixed = standing_stage(self.network).fixed
        cohort, index = fixed.cohort, fixed.cohort.index[party]
        dealers = fixed.masked.dealers(index)
        own = dealers.index(index)
        shares = [data[HEADER_SIZE + 40 * i :][:40] for i in range(len(dealers))]
        shares[own] = shares[own][:-1] + bytes([shares[own][-1] ^ 1])
        kinds = [messages.B if dealer in fixed.survivors else messages.S for dealer in dealers]
        digests = [
            messages.share_digest(cohort.session, dealer, index, kind, share)
            for dealer, kind, share in zip(dealers, kinds, shares, strict=True)
        ]
        survivors = cohort.digest(fixed.survivors)
        told = survivors, messages.answer_digest(digests)
        statement = statements.ANSWER(cohort.session, index, *told)
        signature = statement.signed(seed_of(party))
        return messages.UnmaskAnswer(tuple(shares), signature).encode(cohort.session)


def standing_stage(network: Network) -> Any:
    server: Any = network.server
    return server._stage


@settings(quick, max_examples=runs(80))
@given(st.data())
def test_lies_about_shares_end_as_counting_says(data: st.DataObject) -> None:
    """T11. A dealer of another secret that is in the sum: share-error, and it is named. A holder's
    wrong share is none, and it is named as well. Nobody else ever is."""
    cast = data.draw(casts())
    party = st.sampled_from(cast.parties)
    dealers = frozenset(data.draw(st.sets(party, max_size=2)))
    holders = frozenset(data.draw(st.sets(party, max_size=2)))
    phase = st.sampled_from(NAMES[:3])
    gone = data.draw(st.dictionaries(st.tuples(phase, party), st.just(Act.GONE), max_size=2))
    network = cast.network(Schedule(gone))
    Liars(network, dealers, holders)
    wrong = {("unmask", one): Act.CORRUPT for one in holders}
    total, error = None, None
    try:
        total = network.run()
    except Aborted as one:
        error = one
    expected = counted(cast, Schedule({**gone, **wrong}), network)
    assert guilty(network) <= dealers | holders
    if isinstance(expected, str):
        assert isinstance(error, BelowThreshold)
    elif dealers & expected:
        assert error is not None and error.reason is AbortReason.SHARE_ERROR
        assert guilty(network) & dealers & expected
    else:
        assert total is not None and total.contributors == expected
        assert guilty(network) == holders & expected
        cast.check(total)


def guilty(network: Network) -> set[PartyId]:
    events = (e for who, e in network.events if who == SERVER and isinstance(e, Dropped))
    return {e.party for e in events if e.fault is Fault.INVALID_SHARE}


@pytest.mark.parametrize("phase", NAMES)
@pytest.mark.parametrize("act", Act)
def test_the_count_says_both_ends(act: Act, phase: str) -> None:
    """What the random schedules above must meet: one client's fault, and everybody's."""
    cast = Cast()
    one = check(cast, Schedule({(phase, cast.parties[1]): act}))
    assert isinstance(one.outcome, RingTotal)
    everybody = check(cast, Schedule({(phase, party): act for party in cast.parties}))
    said = act in (Act.DUPLICATE, Act.REPLAY, Act.ECHO)
    said |= act in (Act.LEAVES, Act.DEAF) and phase == NAMES[-1]
    assert isinstance(everybody.outcome, RingTotal) == said


@pytest.mark.parametrize("gone", [1, 2])
def test_a_committee_that_is_one_short_ends_it(gone: int) -> None:
    """Rule R4, where there are holders enough: four of five have to sign."""
    cast = Cast(ActiveParams(10, 4, 3, 9, 9, 5, 4))
    network = cast.network().run_until("consistency")
    signers = sorted(network.server.waiting_for)[:gone]
    ran = check(cast, Schedule({("consistency", party): Act.GONE for party in signers}))
    assert isinstance(ran.outcome, RingTotal) == (gone == 1)
    if gone == 2:
        assert "signers agreed" in str(ran.outcome)


def test_one_too_few_in_the_count_is_seen() -> None:
    """That these tests can fail: a count that asks for one more than the machine does."""
    cast = Cast()
    schedule = Schedule({("unmask", party): Act.GONE for party in cast.parties[:2]})
    ran = check(cast, schedule)
    stricter = replace(
        cast, params=replace(cast.params, threshold=5, min_survivors=5, min_clients=5)
    )
    assert counted(stricter, schedule, ran.network) == "unmask"
    dropped = {e.party for who, e in ran.network.events if who == SERVER and isinstance(e, Dropped)}
    assert dropped == set(cast.parties[:2])
