"""The count of what a server can open is right about sessions whose end is known."""

from __future__ import annotations

from fractions import Fraction

import pytest

from secagg.types import PartyId
from tests.exhaustive.knowledge import Knowledge, Opened, Parties, Said, left_null_space

ALL = frozenset(map(PartyId, range(4)))
HONEST = frozenset(map(PartyId, range(3)))


def of(*parties: int) -> Parties:
    return frozenset(map(PartyId, parties))


def opened(said: dict[int, Said], *, threshold: int = 3, u1: Parties = ALL) -> Opened:
    by_party = {PartyId(party): one for party, one in said.items()}
    return Knowledge(of(3), threshold, by_party, {"a": u1, "b": u1}).opened()


def sums(found: Opened) -> list[set[int]]:
    return [set(one) for one in found.sums]


def test_a_session_without_faults_opens_one_sum() -> None:
    found = opened({i: Said("a", ALL, ALL) for i in range(3)})
    assert sums(found) == [{0, 1, 2}] and not found.both and not found.broken(2)
    assert "a sum of 3" in found.broken(4)


def test_a_vector_without_shares_opens_nothing() -> None:
    assert not opened({i: Said("a", ALL) for i in range(3)}).sums
    few = {0: Said("a", ALL, ALL), 1: Said("a", ALL), 2: Said("a", ALL)}
    assert not opened(few).sums  # 1 and the corrupt one are two of three


def test_who_is_called_dropped_is_taken_out() -> None:
    """Its s_sk is opened, and with it its masks; its own vector stays closed."""
    two = {i: Said("a", ALL, of(0, 1, 3)) for i in range(2)}
    assert sums(opened({**two, 2: Said("a", ALL)})) == [{0, 1}]


def test_a_pair_that_masks_on_one_side_only_closes_the_vector() -> None:
    uneven = {0: Said("a", ALL, ALL), 1: Said("a", of(0, 1, 3), ALL), 2: Said("a", ALL, ALL)}
    assert not opened(uneven).sums


def test_another_session_has_other_masks_and_shares() -> None:
    apart = {0: Said("a", ALL, ALL), 1: Said("a", ALL, ALL), 2: Said("b", ALL, ALL)}
    assert not opened(apart).sums


@pytest.mark.parametrize("threshold", [1, 2])
def test_a_low_threshold_opens_both_secrets(threshold: int) -> None:
    """Two halves of the holders, of which each says something else."""
    halves = {0: Said("a", ALL, of(0, 1)), 1: Said("a", ALL, of(0, 1)), 2: Said("a", ALL, of(2, 3))}
    found = opened(halves, threshold=threshold)
    assert found.both and found.broken(1) == "both secrets of a client"


def test_what_breaks_the_promise_is_said() -> None:
    def judged(*of_sums: dict[int, int], sessions: str = "aaa") -> str:
        fractions = tuple({PartyId(p): Fraction(f) for p, f in one.items()} for one in of_sums)
        return Opened(of(), fractions, dict(zip(HONEST, sessions, strict=True))).broken(1)

    assert judged({0: 1, 1: 1}) == "" == judged({0: 1}, {1: 1}, sessions="abb")
    assert "no sum" in judged({0: 1, 1: 2})
    assert "two sums of" in judged({0: 1}, {1: 1})
    assert "in two sums" in judged({0: 1, 2: 1}, {1: 1, 2: 1})
    assert "one of two" in judged({0: 1, 1: 1}, sessions="abb")


def test_the_null_space_is_exact() -> None:
    assert left_null_space([]) == []
    assert left_null_space([{}, {}]) == [[1, 0], [0, 1]]
    assert left_null_space([{"x": 1}, {"x": -1}, {"x": 1, "y": 1}]) == [[1, 1, 0]]
    assert left_null_space([{"x": 2}, {"x": 3}]) == [[1, Fraction(-2, 3)]]
