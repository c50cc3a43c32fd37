"""Rules V7-V9, R2 (rows 26, 27, 30, 32, 36, 43, 63; T3, T4, T17): a server that tells its clients
different things, and what it gets for it, in bytes.

Each attack is run against the shipped machines as they are, and once more with the one rule taken
out that stops it: then it gives the input of one client, so it is an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from secagg_protocols.secagg import binding
from secagg_protocols.secagg import dealing as semi_honest
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.messages import Tag
from tests.active import COMPLETE, Cast
from tests.adversary.active.liars import Script, refuses
from tests.adversary.active.thief import Thief

# The victim has a U2 of its own: what the quorum alone does not stop


def own_u2(cast: Cast, told: Collection[int], victim: int = 0) -> Thief:
    """The victim masks with few, all but itself of whom are then called dropped; the others, who
    have the true U2, sign that, and open what is missing."""
    thief = Thief(cast)
    thief.lists(victim, told)
    others = thief.everyone - {victim}
    u3 = thief.everyone - (frozenset(told) - {victim})
    for index in others:
        assert thief.lists(index, thief.everyone)
    for index in others & u3:
        thief.shows(index, u3)
    for index in others & u3:
        thief.asks(index, u3)
    return thief


FIVE = ActiveParams(5, 4, 3, 3, 3, 5, 3)
"""Nobody is corrupt: t = q = floor(5/2) + 1."""
BELOW = replace(FIVE, threshold=2)


@pytest.mark.parametrize("told", [{0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}])
def test_a_u2_of_its_own_costs_a_victim_nothing(told: set[int]) -> None:
    """C5 and 2t > k + 1 + a: where it has t holders in its U2, too few are left to sign that all
    but it have dropped."""
    thief = own_u2(Cast(FIVE, corrupted=0), told)
    assert not thief.stolen() and not thief.both()


def test_with_a_threshold_of_half_a_u2_of_its_own_costs_its_input() -> None:
    """n = 5, q = 3, t = 2: the quorum alone gives a sum of one."""
    thief = own_u2(Cast(BELOW, corrupted=0), {0, 1})
    assert thief.stolen().keys() == {0}


def test_without_its_holders_counted_a_u2_of_its_own_costs_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C5 taken out of a client, at the right threshold."""
    opens = semi_honest.open_shares

    def uncounted(now: Any, sharers: Any, sealed: Any, params: Any, fits: Any) -> Any:
        return opens(now, sharers, sealed, replace(params, threshold=1), fits)

    monkeypatch.setattr(semi_honest, "open_shares", uncounted)
    thief = own_u2(Cast(FIVE, corrupted=0), {0, 1})
    assert thief.stolen().keys() == {0}


# Every client has a U3 of its own: what the threshold alone does not stop

RING = ActiveParams(10, 4, 3, 9, 8, 10, 6)
"""Nobody is corrupt, and 2t > k + 1."""
FLOW = {
    0: (1, -1),
    1: (2,),
    2: (1,),
    3: (1, 2),
    4: (2,),
    -1: (-2,),
    -2: (-1,),
    -3: (-1, -2),
    -4: (-2,),
}
"""By place in the ring, from the victim's on: whom each is told to be dropped. Each keeps t of its
holders, and each neighbour of the victim is dropped for t of its own."""


def max_flow(quorum_of: Callable[[Thief, int, frozenset[int]], Collection[int]]) -> Thief:
    thief = Thief(Cast(RING, corrupted=0))
    order, place = binding.permutation(thief.script.session, 10)
    at = {index: (place[index] - place[0]) % 10 for index in thief.everyone}
    ring = {p % 10: tuple(w % 10 for w in dropped) for p, dropped in FLOW.items()}
    u3 = {
        i: frozenset(j for j in thief.everyone if at[j] not in ring.get(at[i], ()))
        for i in thief.everyone
    }
    for index in thief.everyone:
        assert thief.lists(index, thief.everyone)
    for index in thief.everyone:
        assert thief.shows(index, u3[index]), "each is a survivor set that a client can be shown"
    for index in thief.everyone:
        thief.asks(index, u3[index], quorum_of(thief, index, u3[index]))
    return thief


def anybody(thief: Thief, index: int, u3: frozenset[int]) -> Collection[int]:
    return sorted(u3)[:6]


def test_without_a_quorum_the_threshold_alone_costs_an_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """V8 taken out of all clients: whatever was signed counts."""
    check = Statement.check

    def unchecked(self: Statement, public: bytes, signature: bytes) -> None:
        if self.form is not statements.AGREE:
            check(self, public, signature)

    monkeypatch.setattr(Statement, "check", unchecked)
    thief = max_flow(anybody)
    assert thief.stolen().keys() == {0} and not thief.both()


def test_a_u3_for_each_client_opens_nothing() -> None:
    """Rule V8: nobody has q signatures of its own."""
    thief = max_flow(anybody)
    assert not thief.shares and not thief.stolen()


# Some are told one thing and some another


def split(cast: Cast, told: Mapping[int, Collection[int]], second: bool = False) -> Thief:
    """told: by client, the U3 that it is shown, or where `second` the U2."""
    thief = Thief(cast)
    for index in thief.everyone:
        assert thief.lists(index, told[index] if second else thief.everyone)
    for index in thief.everyone:
        thief.shows(index, told[index])
    for index in thief.everyone:
        if len(thief.signers(told[index])) >= thief.cohort.signers[1]:
            thief.asks(index, told[index])
        else:  # whatever it can find
            thief.asks(index, told[index], [*thief.signers(told[index]), *range(6)][:4])
    return thief


A, B = frozenset({0, 1, 2, 3}), frozenset({2, 3, 4, 5})
HALVES = {
    "U3, in halves": ({0: A, 1: A, 2: A, 3: B, 4: B, 5: B}, False),
    "U3, to each another": ({i: frozenset(range(6)) - {(i + 1) % 6} for i in range(6)}, False),
    "U2, in halves": ({0: A, 1: A, 2: A, 3: B, 4: B, 5: B}, True),
}


@pytest.mark.parametrize("name", HALVES)
def test_no_half_is_a_quorum(name: str) -> None:
    """T4: nothing at all is opened."""
    told, second = HALVES[name]
    thief = split(Cast(), told, second)
    assert not thief.shares


def test_a_quorum_beside_which_others_are_told_something_else() -> None:
    """Four sign one U3, by which two have dropped; what those two are told opens nothing."""
    told = {i: A for i in A} | {4: B, 5: B}
    thief = split(Cast(), told)
    assert not thief.both() and not thief.stolen()
    assert {i for i in thief.everyone if thief.secret(i, "s")} == {4, 5}
    assert {i for i in thief.everyone if thief.secret(i, "b")} == {*A}


def test_two_sessions_of_one_offer_are_two() -> None:
    """U1 by client: each answers one, and what is said in one is void in the other (T6, row 44)."""
    cast = Cast(places=9)
    first = Script(cast)
    second = Script(cast.but(range(2, 8)))
    both = first.terms.offer == second.terms.offer
    assert both and first.session != second.session
    shared = sorted({*first.cohort.ids} & {*second.cohort.ids})
    client = first.client(first.cohort.index[shared[0]], 1)
    refuses(client, second.sent(Tag.SHARE_LIST, to=shared[0]), "bound to another session")
    client = first.client(first.cohort.index[shared[0]], 1)
    refuses(client, second.sent(Tag.KEY_LIST, to=shared[0]), "not expected now")


# Two machines of one member


def cloned(corrupted: int, clones: Collection[int]) -> Thief:
    """Both machines of each clone have drawn the same, and each is shown a U3 of its own."""
    thief = Thief(Cast(COMPLETE, corrupted=corrupted))
    seconds = {i: thief.script.client(i, 2) for i in clones}
    for index in thief.everyone:
        assert thief.lists(index, thief.everyone)
    honest = sorted(thief.everyone - {*clones})
    half = len(honest) // 2
    told = {i: thief.everyone - {honest[-1]} for i in honest[:half]}
    told |= {i: thief.everyone for i in honest[half:]}
    for index in thief.everyone:
        assert thief.shows(index, told.get(index, thief.everyone))
    for index, client in seconds.items():
        assert thief.shows(index, thief.everyone - {honest[-1]}, client)
    for index in honest:
        thief.asks(index, told[index])
    for index, client in seconds.items():
        thief.asks(index, thief.everyone)
        thief.asks(index, thief.everyone - {honest[-1]}, client=client)
    return thief


def test_a_clone_is_one_that_is_corrupt() -> None:
    """Row 43, T17: it signs twice, and so does not help more than a corrupt one would."""
    thief = cloned(1, [0])
    assert not thief.both() and not thief.stolen()


def test_more_clones_than_may_be_corrupt_cost_both_secrets() -> None:
    """What is not promised: clones beyond A. Two, where A is 1, sign two survivor sets, and of
    whoever is in one of them only both secrets are opened."""
    assert cloned(1, [0, 1]).both()


def test_an_honest_server_gets_the_sum_in_the_same_way() -> None:
    """T2: that the thief's arithmetic is right, and that it has no input where nobody lies."""
    thief = split(Cast(), dict.fromkeys(range(6), range(6)))
    assert all(thief.secret(i, "b") for i in thief.everyone)
    assert not thief.stolen() and not thief.both()
