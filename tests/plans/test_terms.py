"""Terms of a service: a range of clients, and the one plan of each size (specs/50-service.md §1).

Rows 2, 3, 7, 22, 23; threat T1.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from secagg.errors import (
    HeadroomError,
    ParameterError,
    SecAggError,
    TooLarge,
    UnknownVersion,
)
from secagg.fields import FixedPoint, Integer, Vector
from secagg.plans.choose import PLANNED, PLANNER, plan, refusal
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import MAX_CLIENTS, MAX_ELEMENTS, MAX_TERMS, Terms
from secagg.threat import Threat
from tests.soak import SOAK

VOTES = {"votes": Integer(3, max=7)}
UPDATE = {"update": FixedPoint(20, clip=1.0, bits=16)}
TERMS = Terms.of(VOTES, (7, 12))
SEVERAL = [
    TERMS,
    Terms.of(VOTES, (9, 12), population=40),
    Terms.of(UPDATE, (5, 5), corrupt="1/3", max_weight=9, clipped=True),
    Terms.of(VOTES, (12, 30), protocol="secagg+", min_clients=11),
    Terms.of(VOTES, (8, 20), adversary="active", dropout="1/10", population=24),
]


@pytest.mark.parametrize("terms", SEVERAL)
def test_round_trip(terms: Terms) -> None:
    """Row 23."""
    data = terms.encode()
    assert Terms.decode(data) == terms and Terms.decode(bytearray(data)).encode() == data
    assert Terms.decode(data).digest() == terms.digest()
    assert len({one.digest() for one in SEVERAL}) == len(SEVERAL)


@pytest.mark.parametrize("terms", SEVERAL)
def test_every_length_but_the_right_one_is_refused(terms: Terms) -> None:
    """Rows 2, 3 and 22."""
    data = terms.encode()
    for size in range(len(data)):
        with pytest.raises(SecAggError):
            Terms.decode(data[:size])
    with pytest.raises(SecAggError):
        Terms.decode(data + b"\0")
    with pytest.raises(TooLarge):
        Terms.decode(bytes(MAX_TERMS + 1))


def test_every_byte_counts() -> None:
    """Threat T1: a flipped bit is refused, or gives other terms with another digest."""
    data = TERMS.encode()
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        try:
            other = Terms.decode(flipped)
        except SecAggError:
            continue
        assert other.digest() != TERMS.digest() and other.encode() == flipped


def test_terms_are_no_task_and_no_plan_and_the_reverse() -> None:
    made = plan(clients=7, fields=VOTES)
    for terms in SEVERAL:
        for kind in (Task, Plan):
            with pytest.raises(SecAggError):
                kind.decode(terms.encode())
    for data in (made.encode(), Task(made).encode()):
        with pytest.raises(SecAggError):
            Terms.decode(data)


def test_a_plan_is_the_one_that_plan_makes() -> None:
    """Of the same numbers; a roster of as many as take part is none."""
    terms = Terms.of(UPDATE, (48, 70), corrupt="1/50", max_weight=9, clipped=True, population=200)
    for n, population in ((48, 48), (50, 200), (52, 64), (70, 70)):
        lost: dict[str, Any] = {"corrupt": "1/50", "dropout": "1/5", "roster": population}
        more = {"fields": UPDATE, "max_weight": 9, "clipped": True}
        assert terms.plan(n, population).encode() == plan(clients=n, **lost, **more).encode()
        again = Terms.decode(terms.encode()).plan(n, population)
        assert again.digest() == terms.plan(n, population).digest()


@pytest.mark.parametrize("terms", SEVERAL)
def test_every_size_has_a_plan_for_every_population(terms: Terms) -> None:
    """specs/50-service.md §1.3: none is found missing when the cohort is there."""
    for n in terms.sizes:
        for population in {n, (n + terms.population) // 2, terms.population}:
            made = terms.plan(n, max(n, population))
            assert made.threat.clients == n and made.params.min_survivors <= n
            assert made.params.min_clients >= (terms.min_clients or 0)


@pytest.mark.parametrize("adversary", ["semi-honest", "active"])
@pytest.mark.parametrize("protocol", PLANNED)
def test_fewer_corrupt_never_ask_for_more(protocol: str, adversary: Any) -> None:
    """What lets the largest population stand for all: where there are parameters at some number of
    corrupt clients, there are at each smaller one. Every n up to 24, or 40 in soak, and some above.
    """
    found = 0
    for n in [*range(3, 41 if SOAK else 25), 64, 100, *([333] if SOAK else [])]:
        for dropout in ("0", "1/10", "1/5", "1/3"):
            fits = [
                not refusal(Threat(n, Fraction(a, n), Fraction(dropout), adversary), protocol)
                for a in range(n // 2 + 1)
            ]
            assert fits == sorted(fits, reverse=True), (n, dropout)
            found += sum(fits)
    assert found > 100


def test_numbers_that_are_refused() -> None:
    for n in (6, 13, 0, -1):
        with pytest.raises(ParameterError, match="clients must be an integer from 7 to 12"):
            TERMS.plan(n, 12)
    with pytest.raises(ParameterError, match="population must be an integer from 9 to 12"):
        TERMS.plan(9, 8)
    with pytest.raises(ParameterError, match="population must be an integer from 9 to 12"):
        TERMS.plan(9, 13)
    wide = Terms.of(UPDATE, (48, 101), corrupt="1/50")
    with pytest.raises(ParameterError, match="65 clients are no size .* nearest below is 64"):
        wide.plan(65, 101)


def test_sizes() -> None:
    """Rule 2, by its own words: six significant bits, and both ends."""
    wide = Terms.of(UPDATE, (3, 5001), corrupt=0, dropout=0)
    ends = {3, 5001}
    expected = [n for n in range(3, 5002) if n in ends or len(f"{n:b}".rstrip("0")) <= 6]
    assert list(wide.sizes) == expected and len(expected) < 300
    for number in range(5100):
        below = [n for n in expected if n <= number]
        assert wide.size(number) == (below[-1] if below else 0)
        assert number < 3 or number > 5001 or wide.size(number) > number * 31 / 32
    assert TERMS.sizes == tuple(range(7, 13))
    assert Terms.of(VOTES, (9, 9)).sizes == (9,)


def test_a_hole_in_the_range_is_named_with_what_would_do() -> None:
    """Five clients of whom a third may collude have a plan, six and seven have none, eight have."""
    hole = {"corrupt": "1/3", "population": None}
    with pytest.raises(ParameterError, match=r"a round of 6 of the 5 to 6 .*; 5 to 5 .* would do"):
        Terms.of(VOTES, (5, 6), **hole)
    assert Terms.of(VOTES, (5, 5), **hole) and Terms.of(VOTES, (8, 8), **hole)
    with pytest.raises(ParameterError, match=r"a round of 5 of .*from 40 .*9 to 12 clients would"):
        Terms.of(VOTES, (5, 12), population=40)
    with pytest.raises(ParameterError, match="a round of 3 of the 3 clients") as none:
        Terms.of(VOTES, (3, 3), corrupt="1/2")
    assert "would do" not in str(none.value).rpartition(")")[2]


def test_what_is_no_range() -> None:
    for clients, population in (((0, 5), None), ((8, 7), None), ((7, MAX_CLIENTS + 1), None)):
        with pytest.raises(ParameterError, match="clients must be an integer"):
            Terms.of(VOTES, clients, population=population)
    with pytest.raises(ParameterError, match="population must be an integer from 12"):
        Terms.of(VOTES, (7, 12), population=11)
    with pytest.raises(ParameterError, match="min_clients must be an integer from 1 to 7"):
        Terms.of(VOTES, (7, 12), min_clients=8)


def test_min_clients_is_tried_at_every_size() -> None:
    """Under an active adversary no round begins with more than would be left."""
    active = {"adversary": "active", "dropout": "1/10", "corrupt": "1/20"}
    with pytest.raises(ParameterError, match="a round of 7 of the 7 to 9 .* 8 to 9 clients would"):
        Terms.of(VOTES, (7, 9), min_clients=7, **active)
    fine = Terms.of(VOTES, (8, 9), min_clients=7, **active)
    assert {fine.plan(n, 9).params.min_clients for n in (8, 9)} == {7}


def test_another_planner_is_named() -> None:
    with pytest.raises(ParameterError, match=f"for planner 2, .* plans as planner {PLANNER}"):
        replace(TERMS, planner=PLANNER + 1)
    data = TERMS.encode()
    with pytest.raises(UnknownVersion, match=f"for planner 2, .* plans as planner {PLANNER}"):
        Terms.decode(data[:1] + bytes([PLANNER + 1]) + data[2:])
    with pytest.raises(UnknownVersion, match="terms of version 2"):
        Terms.decode(b"\2" + data[1:])


def test_fields_and_protocols_that_terms_do_not_have() -> None:
    for protocol, why in (
        ("additive", "has several servers"),
        ("plainsum", "protects nobody"),
        ("nosuch", "no protocol 'nosuch'"),
    ):
        with pytest.raises(ParameterError, match=why):
            Terms.of(VOTES, (7, 12), protocol=protocol)
    with pytest.raises(ParameterError, match="none of their fields is called so"):
        Terms.of({**UPDATE, "clipped": Integer(1, 20)}, (7, 12))
    with pytest.raises(ParameterError, match="needs a fixed-point field"):
        Terms.of(VOTES, (7, 12), clipped=True)
    with pytest.raises(ParameterError, match="is for plans with privacy"):
        Terms.of({"u": Vector(3, 1.0, 16)}, (7, 12))
    with pytest.raises(ParameterError, match=f"at most {MAX_ELEMENTS}"):
        Terms.of({"a": Integer(1 << 31, 1), "b": Integer((1 << 31) + 1, 1)}, (7, 12))
    with pytest.raises(HeadroomError):
        Terms.of({"a": Integer(1, (1 << 63) - 1)}, (7, 12))
    with pytest.raises(ParameterError, match="distinct names"):
        replace(TERMS, fields=TERMS.fields * 2)


def test_what_is_installed_besides_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol that one party has and another has not may be cheaper: it would break the sum."""
    from secagg import registry

    expected = TERMS.plan(9, 12).encode()
    monkeypatch.setattr(registry, "available", lambda: ("additive", "cheapest", "secagg"))
    assert replace(TERMS, max_weight=1).plan(9, 12).encode() == expected


def test_explain_is_of_the_weakest_round() -> None:
    """Hidden among the fewest honest inputs, of all sizes, with as many corrupt as may be."""
    for terms in SEVERAL:
        text = terms.explain()
        plans = [terms.plan(n, terms.population) for n in terms.sizes]
        hidden = [one.params.min_survivors - one.threat.corrupted for one in plans]
        worst = plans[hidden.index(min(hidden))]
        assert f"that of {worst.threat.clients}: sums of {worst.params.min_survivors} i" in text
        assert f"hidden among {min(hidden)} honest ones" in text
        for end in (plans[0], plans[-1]):
            assert f"{end.threshold} of {end.threat.clients} ({end.protocol})" in text
        assert text.endswith(f"Digest of these terms: {terms.digest().hex()}")
        assert worst.digest().hex() not in text, "nobody pins the plan of one size"
    assert "than 11, or than its protocol" in SEVERAL[3].explain()
