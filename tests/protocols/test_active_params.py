"""Parameters of active mode: specs/13-active-parameters.md, row 46; T9, T20."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import ParameterError, TrailingBytes, Truncated
from secagg.fields import FixedPoint
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.protocol import Infeasible
from secagg.suite import SUITE_1, SUITE_2
from secagg.threat import Threat
from secagg_protocols.secagg import params as semi_honest
from secagg_protocols.secagg.active.bounds import (
    Bounds,
    chance_of_stopping,
    group,
    holds,
    most_adaptive,
    most_liars,
)
from secagg_protocols.secagg.active.finding import complete_parameters, regular_parameters
from secagg_protocols.secagg.active.judging import check_complete, check_regular
from secagg_protocols.secagg.active.params import ActiveParams, decode_params
from tests.soak import examples

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "active_parameters.json").read_text()
)["rows"]
FIELDS = {"u": FixedPoint(10, 1.0, 16)}


def name_of(row: dict[str, Any]) -> str:
    return "-".join(map(str, row["input"].values()))


def threat(n: int, corrupt: str, dropout: str, liars: int = 0, **more: Any) -> Threat:
    return Threat(n, Fraction(corrupt), Fraction(dropout), "active", liars=liars, **more)


def complete(t: Threat) -> ActiveParams:
    params = complete_parameters(t)
    assert isinstance(params, ActiveParams), params
    return params


def regular(t: Threat) -> ActiveParams:
    params = regular_parameters(t)
    assert isinstance(params, ActiveParams), params
    return params


def check(t: Threat, params: ActiveParams) -> str | None:
    return (check_complete if params.complete else check_regular)(t, params)


def asked(given: dict[str, Any]) -> Plan:
    return plan(
        clients=given["clients"],
        roster=given["roster"],
        corrupt=given["corrupt"],
        dropout=given["dropout"],
        liars=given["liars"],
        protocol="secagg" if given["graph"] == "complete" else None,
        adversary="active",
        fields=FIELDS,
    )


# --- the vectors -----------------------------------------------------------------------------


def test_the_vectors_are_all_here() -> None:
    assert len(ROWS) == 47
    assert sum(not row["expect"]["feasible"] for row in ROWS) == 7


@pytest.mark.parametrize("row", [r for r in ROWS if r["expect"]["feasible"]], ids=name_of)
def test_every_feasible_row(row: dict[str, Any]) -> None:
    expect, made = row["expect"], asked(row["input"])
    params, t = made.params, made.threat
    assert isinstance(params, ActiveParams)
    numbers = made.promise.numbers
    holders = t.corrupted if params.complete else Bounds(t).corrupt_holders(params.degree)
    assert {
        "feasible": True,
        "graph": "complete" if params.complete else "regular",
        "degree": params.degree,
        "threshold": params.threshold,
        "corrupted": t.corrupted,
        "dropped": t.dropped,
        "corrupt_holders": holders,
        "min_clients": params.min_clients,
        "min_survivors": params.min_survivors,
        **numbers,
        "overhead_up": made.upload_bytes - made.layout.packed_size,
        "download": made.cost.download_bytes,
    } == expect
    again = Plan.decode(made.encode())
    assert again == made and again.digest() == made.digest() and again.suite == SUITE_2


@pytest.mark.parametrize("row", [r for r in ROWS if not r["expect"]["feasible"]], ids=name_of)
def test_every_infeasible_row_says_which_inequality(row: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="does not hold|no committee of up to"):
        asked(row["input"])


def test_what_would_do_does() -> None:
    refused = complete_parameters(threat(10, "0.33", "0.1", 4))
    assert isinstance(refused, Infeasible)
    assert "liars=1" in refused.instead and "clients=20" in refused.instead
    assert isinstance(complete_parameters(threat(10, "0.33", "0.1", 1)), ActiveParams)
    assert isinstance(complete_parameters(threat(20, "0.33", "0.1", 4)), ActiveParams)
    other = regular_parameters(threat(301, "0.2", "0.3"))
    assert isinstance(other, Infeasible) and "protocol='secagg'" in other.instead
    complete(threat(301, "0.2", "0.3"))


# --- the rules, counted again ----------------------------------------------------------------


def above(population: int, marked: int, draws: int, x: int) -> Fraction:
    """Pr[Hyp > x], by counting."""
    ways = sum(
        comb(marked, j) * comb(population - marked, draws - j)
        for j in range(max(0, x + 1), min(marked, draws) + 1)
    )
    return Fraction(ways, comb(population, draws))


def obeys(t: Threat, k: int) -> int | None:
    """The t of rule P5 at degree k."""
    n, s, tries = t.clients, t.clients - t.dropped, Fraction(1, 2**105)
    a = next(x for x in range(k + 1) if above(s - 1, t.corrupted, k, x) <= tries / s)
    least = max((k + 1 + a) // 2 + 1, a + 2)
    left = min(n - 1, s - t.liars)
    misses = 1 - above(n - 1, left, k, least - 1) if least <= k else Fraction(1)
    return least if misses <= Fraction(1, n * 2**21) else None


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout", "liars"),
    [(120, "0.05", "0.05", 0), (200, "0.1", "0.1", 5), (301, "0.1", "0.1", 0), (90, "0", "0", 0)],
)
def test_the_degree_is_the_smallest(n: int, corrupt: str, dropout: str, liars: int) -> None:
    t = threat(n, corrupt, dropout, liars)
    first = next((k, obeys(t, k)) for k in range(2, n - 1, 2) if obeys(t, k))
    assert (regular(t).degree, regular(t).threshold) == first


def test_the_committee_is_the_smallest() -> None:
    t = threat(1100, "0.05", "0.1")
    n, s, params = 1100, 1100 - t.dropped, complete(t)

    def quorum(m: int) -> int | None:
        tries = Fraction(1, 2**105)
        a = next(x for x in range(m + 1) if above(s, t.corrupted, m, x) <= tries)
        q = (m + a) // 2 + 1
        reached = q <= m and 1 - above(n, s, m, q - 1) <= Fraction(1, 2**21)
        return q if reached else None

    expected = next((m, quorum(m)) for m in range(1, s) if quorum(m))
    assert (params.signers, params.quorum) == expected
    assert params.min_clients == s and params.min_survivors < s


def test_liars_is_the_largest_that_holds() -> None:
    for t, params in (
        (threat(1000, "0.1", "0.1", 10), regular(threat(1000, "0.1", "0.1", 10))),
        (threat(100, "0.1", "0.2"), complete(threat(100, "0.1", "0.2"))),
        (threat(1100, "0.05", "0.1"), complete(threat(1100, "0.05", "0.1"))),
    ):
        most = most_liars(t, params)
        assert holds(t, params, most) and not holds(t, params, most + 1)
        more = replace(t, liars=most)
        assert check(more, params) is None
        assert check(replace(t, liars=most + 1), params) is not None


def test_adaptive_liars_never_are_more() -> None:
    for row in ROWS:
        if row["expect"]["feasible"]:
            assert 0 <= row["expect"]["liars_adaptive"] <= row["expect"]["liars"]
    t = threat(1000, "0.2", "0.2", 20)
    assert most_adaptive(t, regular(t), 20) == 11


FRACTIONS = st.fractions(0, Fraction(1, 2), max_denominator=40)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(1, 500), FRACTIONS, FRACTIONS, st.integers(0, 20), st.integers(0, 500))
def test_whatever_is_found_passes_the_check_and_encodes(
    n: int, corrupt: Fraction, dropout: Fraction, liars: int, roster: int
) -> None:
    t = Threat(n, corrupt, dropout, "active", liars=min(n, liars), roster=n + roster)
    for params in (complete_parameters(t), regular_parameters(t)):
        if isinstance(params, Infeasible):
            continue
        assert check(t, params) is None
        assert decode_params(params.encode()) == params
        assert group(t, params) >= 2
        assert params.min_clients <= n - t.dropped
        assert most_liars(t, params) >= t.liars
        assert (2 * params.quorum_of(n, t.corrupted)[1]) > n + t.corrupted


# --- what a client judges (row 46) -----------------------------------------------------------


BASE = {
    "complete": (threat(100, "0.1", "0.2"), "secagg"),
    "regular": (threat(1000, "0.1", "0.1"), "secagg+"),
    "committee": (threat(2000, "0.05", "0.1"), "secagg+"),
    "complete committee": (threat(1500, "0.05", "0.1"), "secagg"),
}
MOVES: dict[str, dict[tuple[str, int], str]] = {
    # a larger t needs more survivors, and these are counted with it; more clients than must be
    # there are safe, and so are more survivors, as long as n - D are enough
    "complete": {("min_clients", 1): "fewer rounds begin, none is less safe"},
    "regular": {("threshold", 1): ""},
    "committee": {("threshold", 1): "", ("quorum", 1): "", ("signers", -1): "", ("signers", 1): ""},
    "complete committee": {("min_survivors", 1): "more survivors than are needed"},
}


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    "number",
    ["clients", "degree", "threshold", "min_clients", "min_survivors", "signers", "quorum"],
)
def test_each_number_moved_by_one(name: str, by: int, number: str) -> None:
    """Refused, or accepted where what it bounds is met with room: t and q from the smallest that
    is safe to the largest that is live, and m with them."""
    t, protocol = BASE[name]
    params = complete(t) if protocol == "secagg" else regular(t)
    assert check(t, params) is None
    judge = check_complete if protocol == "secagg" else check_regular
    try:
        moved = replace(params, **{number: getattr(params, number) + by})
    except ParameterError:
        return
    broken = judge(t, moved)
    if broken is not None:
        assert (number, by) not in MOVES[name] or MOVES[name][number, by] == ""
        return
    # why it is honest: every inequality, counted again
    s, tries = t.clients - t.dropped, Fraction(1, 2**105)
    assert moved.min_survivors >= max(moved.threshold, t.corrupted + 2)
    assert moved.min_survivors + t.liars <= s and moved.min_clients <= s
    if moved.complete:
        assert 2 * moved.threshold > t.clients + t.corrupted
    else:
        k, x = moved.degree, min(2 * moved.threshold - moved.degree - 2, moved.threshold - 2)
        assert above(s - 1, t.corrupted, k, x) <= tries / s
        assert 1 - above(t.clients - 1, s, k, moved.threshold - 1) <= Fraction(1, t.clients * 2**21)
        assert moved.min_clients == s
    if moved.all_sign:
        assert moved.quorum == params.quorum
    else:
        m, q = moved.signers, moved.quorum
        assert above(s, t.corrupted, m, 2 * q - m - 1) <= tries
        assert 1 - above(t.clients, s, m, q - 1) <= Fraction(1, 2**21)
        assert moved.min_clients == s


def test_what_moves_far_is_refused() -> None:
    t = threat(2000, "0.05", "0.1")
    params = regular(t)
    for change, rule in (
        ({"threshold": params.degree // 2}, "2t > k"),
        ({"threshold": params.degree}, "fewer than t"),
        ({"quorum": params.signers // 2}, "2q > m"),
        ({"quorum": params.signers}, "fewer than q"),
        ({"degree": 1798}, "2t > k"),
        ({"min_survivors": 1799}, "n - D"),
        ({"min_clients": 1799, "min_survivors": 1799}, "n - D"),
        ({"min_clients": 1801}, "above n - D"),
        ({"signers": 2000}, "everybody signs"),
    ):
        broken = check_regular(t, replace(params, **change))
        assert broken is not None and rule in broken, change
    small = threat(100, "0.1", "0.2")
    broken = check_complete(small, replace(complete(small), signers=56, quorum=56))
    assert broken is not None and "all sign" in broken
    broken = check_complete(replace(small, min_clients=60), complete(small))
    assert broken is not None and "the plan's 60" in broken


def test_a_receiver_sums_no_more_than_its_bounds() -> None:
    """Row 46: of the largest n, k and m are refused before a tail is counted."""
    t = threat(1 << 20, "0.05", "0.1")
    s = (1 << 20) - t.dropped
    many = ActiveParams(1 << 20, 1 << 15, 1 << 15, s, s, 100, 100)
    assert "more than the 16384" in (check_regular(t, many) or "")
    many = ActiveParams(1 << 20, 100, 80, s, s, 1 << 15, 1 << 15)
    assert "more than the 16384" in (check_regular(t, many) or "")


def test_parameters_of_the_other_mode_are_refused() -> None:
    t = threat(100, "0.1", "0.2")
    old = semi_honest.SecAggParams(100, 99, 56, 56, 56)
    assert "not parameters" in (check_complete(t, old) or "")
    assert "not parameters" in (check_regular(t, old) or "")
    from secagg_protocols.secagg import check as semi

    honest = replace(t, adversary="semi-honest")
    assert "not parameters" in (semi.check_complete(honest, complete(t)) or "")
    assert "not parameters" in (semi.check_regular(honest, complete(t)) or "")


def test_the_length_tells_the_mode() -> None:
    params = complete(threat(100, "0.1", "0.2"))
    encoded = params.encode()
    assert len(encoded) == 28 and decode_params(encoded) == params
    assert decode_params(encoded[:20]) == semi_honest.SecAggParams(100, 99, 56, 56, 56)
    for size in (0, 19):
        with pytest.raises(Truncated):
            decode_params(encoded[:size])
    for data in (encoded[:21], encoded[:27], encoded + b"\0"):
        with pytest.raises(TrailingBytes):
            decode_params(data)


@pytest.mark.parametrize("numbers", [(0, 0), (100, 0), (101, 60), (50, 51), (57, 30)])
def test_numbers_no_session_can_have(numbers: tuple[int, int]) -> None:
    with pytest.raises(ParameterError):
        ActiveParams(100, 99, 56, 56, 56, *numbers)


def test_the_quorum_follows_who_is_there() -> None:
    params = complete(threat(100, "0.1", "0.2"))
    assert params.quorum_of(100, 10) == (100, 56) and params.quorum_of(57, 10) == (57, 34)
    params = regular(threat(10_000, "0.1", "0.1"))
    assert params.quorum_of(9000, 1000) == params.quorum_of(10_000, 1000) == (137, 104)


def test_min_clients_is_kept_or_refused() -> None:
    assert complete(threat(100, "0.1", "0.2", min_clients=60)).min_clients == 60
    for m in (55, 81):
        refused = complete_parameters(threat(100, "0.1", "0.2", min_clients=m))
        assert isinstance(refused, Infeasible) and "56 to 80 would do" in refused.rule
    assert regular(threat(1000, "0.1", "0.1", min_clients=900)).min_clients == 900
    refused = regular_parameters(threat(1000, "0.1", "0.1", min_clients=899))
    assert isinstance(refused, Infeasible) and "900 would do" in refused.rule


def test_nothing_is_promised_where_all_left_may_be_corrupt() -> None:
    for find in (complete_parameters, regular_parameters):
        refused = find(threat(10, "0.5", "0.5"))
        assert isinstance(refused, Infeasible) and "A < n - D" in refused.rule


# --- the plan --------------------------------------------------------------------------------


def test_suite_and_adversary_go_together() -> None:
    made = plan(clients=10, fields=FIELDS, adversary="active")
    honest = plan(clients=10, fields=FIELDS)
    assert (made.suite, honest.suite) == (SUITE_2, SUITE_1)
    for one, other in ((made, SUITE_1), (honest, SUITE_2)):
        with pytest.raises(ParameterError, match="suite"):
            replace(one, suite=other)
        data = one.encode()
        with pytest.raises(ParameterError, match="suite"):
            Plan.decode(data[:1] + bytes([other.number]) + data[2:])
    with pytest.raises(ParameterError, match="no active mode"):
        plan(clients=10, fields=FIELDS, adversary="active", protocol="plainsum")


def test_up_to_300_the_complete_graph_unless_named() -> None:
    assert plan(clients=300, fields=FIELDS, adversary="active").protocol == "secagg"
    assert plan(clients=301, fields=FIELDS, adversary="active").protocol == "secagg+"
    named = plan(clients=200, fields=FIELDS, dropout=0.1, adversary="active", protocol="secagg+")
    assert named.degree < 199


def test_words_have_the_plan_s_numbers() -> None:
    said = plan(clients=1000, fields=FIELDS, dropout=0.1, adversary="active").explain()
    for words in (
        "at worst the sums of disjoint groups, of at least 39 honest inputs each",
        "2^-40 for a server that tries 2^64 session ids",
        "551 of 1000 signatures",
        "2 clients that give their inputs and then lie or keep silent, fixed before the session",
        "no more than 0 are covered",
        "If all 100 corrupt clients lie",
        "a server that lies can publish any sum",
    ):
        assert words in said, words
    said = plan(clients=100, fields=FIELDS, adversary="active", liars=24).explain()
    assert "at most one sum of a session, of at least 46 honest inputs" in said
    assert "besides 20 lost at random, stop a round of an honest server not at all" in said
    assert "All 10 that may be corrupt can be among them" in said


def test_the_chance_if_all_lie() -> None:
    t = threat(1000, "0.1", "0.1")
    params = regular(t)
    left = 900 - 100
    exact = 1000 * (1 - above(999, left, params.degree, params.threshold - 1))
    assert chance_of_stopping(t, params, 100) == pytest.approx(min(1.0, float(exact)), rel=1e-6)
    small = chance_of_stopping(t, params, 2)
    assert 0 < small <= 2.0**-20
    whole = threat(100, "0.1", "0.2")
    assert chance_of_stopping(whole, complete(whole), 24) == 0
    assert chance_of_stopping(whole, complete(whole), 25) == 1
