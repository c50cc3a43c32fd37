"""SecAgg and SecAgg+ parameters: specs/10-secagg.md §8-§9, threats row 46."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from secagg.errors import ParameterError, TrailingBytes, Truncated
from secagg.fields import FixedPoint
from secagg.layout import Layout, Segment
from secagg.plans.choose import plan
from secagg.protocol import Infeasible
from secagg.ring import Ring
from secagg.threat import Threat
from secagg_protocols.secagg import tails as tails_module
from secagg_protocols.secagg.check import check_complete, check_regular
from secagg_protocols.secagg.guarantee import cost, promise
from secagg_protocols.secagg.messages import download_sizes, upload_sizes
from secagg_protocols.secagg.params import (
    SecAggParams,
    ccs17_expansion,
    decode_params,
    find_parameters,
    secagg_parameters,
    secagg_plus_parameters,
    too_small,
)
from secagg_protocols.secagg.tails import Tails
from tests.soak import examples

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "secaggplus_parameters.json"

EXAMPLES = [
    (10_000, "0.05", "0.05", (34, 20), (62, 44)),
    (100, "0.2", "0.2", (40, 21), (62, 42)),
    (1000, "0.2", "0.2", (98, 54), (302, 206)),
    (10_000, "0.2", "0.2", (122, 67), (482, 328)),
    (1_000_000, "0.2", "0.2", (144, 78), (600, 407)),
]


def threat(n: int, corrupt: str, dropout: str, m: int | None = None) -> Threat:
    return Threat(n, Fraction(corrupt), Fraction(dropout), min_clients=m)


def found(t: Threat) -> SecAggParams:
    params = secagg_plus_parameters(t)
    assert isinstance(params, SecAggParams), params
    return params


def complete(t: Threat) -> SecAggParams:
    params = secagg_parameters(t)
    assert isinstance(params, SecAggParams), params
    return params


def check_params(t: Threat, params: SecAggParams) -> str | None:
    """Of the protocol whose graph it is."""
    return (check_complete if params.complete else check_regular)(t, params)


# --- the published table -------------------------------------------------------------------


@pytest.mark.skipif(not VECTORS.exists(), reason="the published table is not beside this checkout")
def test_every_row_of_the_published_table() -> None:
    rows = json.loads(VECTORS.read_text())["rows"]
    assert len(rows) >= 49
    for row in rows:
        args = row["clients"], row["corrupt"], row["dropout"], row["adversary"]
        assert find_parameters(*args) == (row["degree"], row["threshold"]), row


@pytest.mark.parametrize(("n", "corrupt", "dropout", "curious", "malicious"), EXAMPLES)
def test_examples_of_the_specification(
    n: int, corrupt: str, dropout: str, curious: tuple[int, int], malicious: tuple[int, int]
) -> None:
    assert find_parameters(n, corrupt, dropout, "curious_server") == curious
    assert find_parameters(n, corrupt, dropout, "none") == curious
    assert find_parameters(n, corrupt, dropout, "semi_malicious_server") == malicious


# --- an oracle in exact integers -----------------------------------------------------------


def upper_tail(population: int, marked: int, draws: int, x: int) -> Fraction:
    """Pr[Hyp > x], by counting."""
    ways = sum(
        comb(marked, j) * comb(population - marked, draws - j) for j in range(x + 1, draws + 1)
    )
    return Fraction(ways, comb(population, draws))


def falls_apart(n: int, gone: int, k: int) -> Fraction:
    if k > gone:
        return Fraction(0)
    return Fraction(n * (n - k - 1), 2) * Fraction(comb(gone, k), comb(n, k))


def exact_find(
    n: int, corrupted: int, dropped: int, malicious: bool, sigma: float, eta: float
) -> tuple[int, int] | None:
    secure, correct = Fraction(2.0 ** -(sigma + 1)), Fraction(2.0**-eta)
    for k in range(2, n - 1, 2):
        if falls_apart(n, corrupted + dropped, k) >= secure:
            continue
        t1 = min(x for x in range(k + 1) if upper_tail(n, corrupted, k, x) <= secure / n)
        t2 = max(t for t in range(k + 1) if 1 - upper_tail(n, n - dropped, k, t - 1) <= correct / n)
        if malicious:
            t1 = math.ceil((t1 + k - Fraction(5, 4)) / 2)
        if t2 > t1:
            return k, max(t1 + 1, 2)
    return None


@pytest.mark.parametrize("malicious", [False, True])
@pytest.mark.parametrize(("sigma", "eta"), [(40.0, 20.0), (5.3, 3.7), (11.7, 1.1)])
def test_finder_equals_exact_integers(malicious: bool, sigma: float, eta: float) -> None:
    """Small sigma and eta as well: at n <= 40 the default bounds only tell zero from not zero."""
    adversary = "semi_malicious_server" if malicious else "curious_server"
    feasible = 0
    for n in (2, 3, 4, 5, 7, 10, 13, 16, 20, 25, 31, 40):
        for corrupt in ("0", "0.1", "0.25", "0.4"):
            for dropout in ("0", "0.05", "0.2", "0.25"):
                a, d = int(Fraction(corrupt) * n), int(Fraction(dropout) * n)
                expected = exact_find(n, a, d, malicious, sigma, eta)
                got = find_parameters(n, corrupt, dropout, adversary, sigma, eta)
                assert got == expected, (n, corrupt, dropout)
                feasible += expected is not None
    assert feasible > 20


def test_fractions_are_the_decimals_they_print_as() -> None:
    """0.29 * 100 is 28.999... in binary; 29 clients are corrupt all the same."""
    assert int(0.29 * 100) == 28
    exact = exact_find(100, 29, 5, False, 40, 20)
    assert find_parameters(100, 0.29, 0.05, "curious_server") == exact
    assert exact != exact_find(100, 28, 5, False, 40, 20)


def test_tails_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for n, corrupt, dropout in ((1000, "0.2", "0.1"), (100_000, "0.33", "0.05")):
        t = threat(n, corrupt, dropout)
        tails = Tails.of(t)
        for k in (30, 100, 400):
            a, bound = tails.corrupt_neighbours(k, n), 2.0**-41 / n
            law = stats.hypergeom(n, t.corrupted, k)
            assert law.sf(a) <= bound < law.sf(a - 1)
            best, bound = tails.surviving_neighbours(k), 2.0**-20 / n
            law = stats.hypergeom(n, n - t.dropped, k)
            assert law.cdf(best - 1) <= bound < law.cdf(best)


@pytest.mark.parametrize(
    ("corrupt", "dropout", "adversary", "rule"),
    [
        ("0.5", "0.41", "curious_server", "corrupt + dropout <= 0.9"),
        ("0.5", "0.21", "semi_malicious_server", "corrupt + 2 dropout <= 0.9"),
        ("-0.1", "0.1", "curious_server", "corrupt must be a fraction"),
        ("0.1", "0.1", "byzantine", "byzantine"),
    ],
)
def test_outside_the_domain_names_the_rule(
    corrupt: str, dropout: str, adversary: str, rule: str
) -> None:
    with pytest.raises(ParameterError) as error:
        find_parameters(1000, corrupt, dropout, adversary)  # type: ignore[arg-type]
    assert rule in str(error.value)


def test_the_domain_includes_its_border() -> None:
    assert find_parameters(100, "0.45", "0.45", "curious_server") == (92, 46)
    assert find_parameters(1000, "0.3", "0.3", "semi_malicious_server") == (872, 584)


# --- fewer clients than planned ------------------------------------------------------------


def test_examples_of_the_specification_for_a_plan() -> None:
    """specs/10-secagg.md §10: corrupt 10 %, dropout 20 %."""
    for n, degree, threshold in ((100, 38, 20), (1000, 76, 39), (10_000, 94, 48)):
        params = found(threat(n, "0.1", "0.2"))
        assert params == SecAggParams(n, degree, threshold, n * 8 // 10, n * 8 // 10)


def test_smallest_cohorts_of_the_table_s_rows() -> None:
    """Each |U1| against its own bound 2^-41 / |U1|, strictly: what explain() says of a bare row."""
    for n, (degree, threshold), m in ((100, (28, 11), 80), (1000, (66, 31), 999)):
        tails = Tails(n, n // 10, n // 5)
        assert find_parameters(n, "0.1", "0.2", "curious_server") == (degree, threshold)
        assert tails.smallest_cohort(degree, threshold - 1) == m
        tail = [upper_tail(size, n // 10, degree, threshold - 1) * size for size in (m, m - 1)]
        assert tail[0] <= Fraction(1, 2**41) and (m == n * 8 // 10 or tail[1] > Fraction(1, 2**41))


def test_min_clients_is_kept_and_a_larger_one_needs_fewer_neighbours() -> None:
    assert found(threat(1000, "0.2", "0.2", m=800)) == SecAggParams(1000, 118, 68, 800, 800)
    assert found(threat(1000, "0.2", "0.2", m=1000)) == SecAggParams(1000, 98, 54, 1000, 800)


def test_min_clients_below_the_survivors_is_refused_with_them() -> None:
    refusal = secagg_plus_parameters(threat(1000, "0.1", "0.2", m=799))
    assert (
        isinstance(refusal, Infeasible) and "min_clients=799 is below n - D = 800" in refusal.rule
    )
    assert refusal.instead == "min_clients=800 would do"


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(20, 90), st.integers(0, 8), st.integers(0, 8), st.integers(1, 9), st.data())
def test_smallest_cohort_equals_brute_force(
    n: int, a: int, d: int, half: int, data: st.DataObject
) -> None:
    """Bisection and a single evaluation at m stand for every |U1| from m to n.

    At sigma = 16.3 tails of this size are neither all zero nor all too large, and
    (k + 1)^2 < 2^(sigma + 1) still holds, which the proof needs.
    """
    k, sigma = 2 * half, 16.3
    assume(k + 1 <= n)
    tolerated = data.draw(st.integers(0, k - 1))
    secure = Fraction(2.0 ** -(sigma + 1))
    holds = {
        size: upper_tail(size, a, k, tolerated) <= secure / size
        for size in range(max(n - d, k + 1), n + 1)
    }
    assume(holds[n])
    expected = min(m for m in holds if all(ok for size, ok in holds.items() if size >= m))
    assert Tails(n, a, d, sigma, 20.0).smallest_cohort(k, tolerated) == expected


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(6, 120), st.integers(0, 40), st.integers(0, 40), st.integers(1, 20))
def test_the_graph_holds_together_best_when_fewer_come(n: int, a: int, d: int, half: int) -> None:
    """So that connectedness is judged at |U1| = n only: B shrinks with every client missing."""
    k = 2 * half
    assume(a + d < n and k + 1 <= n - d)
    chances = [falls_apart(size, a + d - (n - size), k) for size in range(n - d, n + 1)]
    assert chances == sorted(chances)


def test_a_row_is_not_secure_below_its_cohort() -> None:
    """(98, 54) planned for n = 1000 with 200 corrupt: 2^-41 there, 2^-27 at 800."""
    t = threat(1000, "0.2", "0.2")
    assert find_parameters(1000, "0.2", "0.2", "curious_server") == (98, 54)
    row = SecAggParams(1000, 98, 54, 1000, 800)
    smallest = Tails.of(t).smallest_cohort(98, 53)
    assert (
        check_params(t, row) is None and check_params(t, replace(row, min_clients=smallest)) is None
    )
    below = check_params(t, replace(row, min_clients=smallest - 1))
    assert below is not None and "t > a" in below
    assert -28 < math.log2(upper_tail(800, 200, 98, 53)) + math.log2(800) < -26


# --- rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 9, 12, 15, 100])
def test_complete_graph_threshold(n: int) -> None:
    """2t > n + c, minimally: the smallest safe t that a solver found for these n."""
    for c in range(n // 3 + 1):
        t = complete(Threat(n, Fraction(c, n), Fraction(0)))
        assert t.complete and 2 * t.threshold > n + c >= 2 * (t.threshold - 1)
        assert t.min_survivors == t.min_clients == max(t.threshold, c + 2)


def test_complete_graph_is_feasible_up_to_t_survivors() -> None:
    """Row 40/46: with n = 10 and c = 1, t = 6, so that 4 may drop and 5 may not."""
    assert complete(threat(10, "0.1", "0.4")).threshold == 6
    refusal = secagg_parameters(threat(10, "0.1", "0.5"))
    assert isinstance(refusal, Infeasible) and "A + 2, 3) <= n - D" in refusal.rule


def test_complete_graph_keeps_min_clients_or_refuses_it() -> None:
    assert complete(threat(10, "0.1", "0.2", m=9)).min_clients == 9
    assert complete(threat(10, "0.1", "0.2", m=6)).min_clients == 6
    refusal = secagg_parameters(threat(10, "0.1", "0.2", m=5))
    assert isinstance(refusal, Infeasible) and "min_clients=5 is below the 6" in refusal.rule
    assert refusal.instead == "min_clients=6 would do"


@pytest.mark.parametrize("n", [1, 2])
def test_row_46_one_and_two_clients(n: int) -> None:
    for refusal in (
        secagg_parameters(threat(n, "0", "0")),
        secagg_plus_parameters(threat(n, "0", "0")),
    ):
        assert isinstance(refusal, Infeasible) and "too few" in refusal.rule
    with pytest.raises(ParameterError, match="clients must be 3"):
        SecAggParams(2, 1, 2, 2, 2)


def test_row_46_complete_graph_thresholds() -> None:
    t = threat(10, "0.2", "0.2")
    good = complete(t)
    assert check_params(t, good) is None
    for threshold in (1, 5, 6):  # t <= n/2, and 2t <= n + c
        broken = check_params(t, replace(good, threshold=threshold))
        assert broken is not None and "2t > n + c" in broken
    late = check_params(t, SecAggParams(10, 9, 9, 9, 9))
    assert late is not None and "dropouts" in late


FRACTIONS = st.fractions(0, Fraction(1, 2), max_denominator=40)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.integers(3, 400),
    FRACTIONS,
    FRACTIONS,
    st.none() | st.integers(1, 400),
)
def test_whatever_is_found_passes_the_check_and_encodes(
    n: int, corrupt: Fraction, dropout: Fraction, m: int | None
) -> None:
    m = None if m is None else min(m, n)
    t = Threat(n, corrupt, dropout, min_clients=m)
    for params in (secagg_parameters(t), secagg_plus_parameters(t)):
        if isinstance(params, Infeasible):
            continue
        assert check_params(t, params) is None
        assert decode_params(params.encode()) == params
        assert params.min_survivors >= max(3, t.corrupted + 2)
        assert params.min_clients == m or m is None
        assert promise(t, params, LAYOUT).runs
        assert all(sentence.endswith(".") for sentence in promise(t, params, LAYOUT).caveats)


def test_a_smaller_degree_breaks_a_rule() -> None:
    """k = 98 with a majority serves when all 1000 come, and no t at it serves when 800 may come."""
    t = threat(1000, "0.2", "0.2")
    majorities = range(50, 99)
    safe = {
        m: [x for x in majorities if check_params(t, SecAggParams(1000, 98, x, m, 800)) is None]
        for m in (800, 1000)
    }
    assert safe == {800: [], 1000: [54]}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"clients": 1001}, "1001 clients"),
        ({"min_clients": 801}, "min_clients is 801, and the plan's 800"),
        ({"min_survivors": 790}, "n - D = 800"),
        ({"threshold": 1}, "t >= 2"),
        ({"threshold": 34}, "t > a"),
        ({"threshold": 40}, "could survive"),
        ({"degree": 10, "threshold": 7}, "fall apart"),
        ({"degree": 75}, "even degree"),
    ],
)
def test_each_rule_of_a_regular_graph(change: dict[str, int], rule: str) -> None:
    t = threat(1000, "0.1", "0.2", m=800)
    good = SecAggParams(1000, 76, 39, 800, 800)
    assert check_params(t, good) is None
    try:
        broken = check_params(t, replace(good, **change))
    except ParameterError as error:
        broken = str(error)
    assert broken is not None and rule in broken


def test_each_rule_holds_up_to_its_last_number() -> None:
    """2t > n + c, max(3, A + 2) inputs, t = t2: the next number of each is refused, for that."""
    t = threat(10, "0.2", "0.2")
    assert check_params(t, SecAggParams(10, 9, 7, 8, 8)) is None
    assert "2t > n + c" in (check_params(t, SecAggParams(10, 9, 6, 8, 8)) or "")
    three = threat(3, "0.5", "0")
    assert check_params(three, SecAggParams(3, 2, 3, 3, 3)) == too_small(3, three)
    half = threat(100, "0.5", "0.49")
    assert check_params(half, SecAggParams(100, 50, 31, 51, 51)) == too_small(51, half)
    wide = threat(1000, "0.1", "0.2", m=800)
    most = Tails.of(wide).surviving_neighbours(76)
    assert check_params(wide, SecAggParams(1000, 76, most, 800, 800)) is None
    assert "could survive" in (check_params(wide, SecAggParams(1000, 76, most + 1, 800, 800)) or "")


@pytest.mark.parametrize("doubt", [1e-6, 1e9])
def test_a_graph_that_falls_apart_as_often_as_the_bound_is_refused(
    monkeypatch: pytest.MonkeyPatch, doubt: float
) -> None:
    """The tails may be as large as their bounds, this one not: below 2^-(sigma+1)."""
    chance = falls_apart(20, 9, 4)
    monkeypatch.setattr(tails_module, "_DOUBT", doubt)
    for bound, verdict in ((chance, False), (chance * Fraction(2**200 + 1, 2**200), True)):
        sigma = -math.log2(float(bound)) - 1
        monkeypatch.setattr(Tails, "_secure", property(lambda _, bound=bound: bound))
        assert Tails(20, 6, 3, sigma).connected(4) is verdict


def test_a_tail_as_large_as_its_bound_is_within_it() -> None:
    """Rounded both ways it is on either side, and so are two that are 2^-300 apart."""
    law = tails_module.Law(20, 8, 6, 20)
    tail = upper_tail(20, 8, 6, 3)
    assert law.within(4, 6, tail)
    assert not law.within(4, 6, tail * Fraction(2**300 - 1, 2**300))


def test_the_check_refuses_what_the_table_does_not_cover() -> None:
    t = threat(100, "0.5", "0.41")
    assert "0.9" in (check_params(t, SecAggParams(100, 50, 30, 100, 59)) or "")
    refusal = secagg_plus_parameters(t)
    assert isinstance(refusal, Infeasible) and "0.9" in refusal.rule


def test_the_check_is_made_for_a_million_clients() -> None:
    t = threat(1_000_000, "0.2", "0.2")
    row = SecAggParams(1_000_000, 144, 78, 1_000_000, 800_000)
    assert check_params(t, row) is None
    smallest = Tails.of(t).smallest_cohort(144, 77)
    assert check_params(t, replace(row, min_clients=smallest)) is None
    assert check_params(t, replace(row, min_clients=smallest - 1)) is not None


# --- the record ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        (1, 1, 1, 1, 1),
        ((1 << 20) + 1, 2, 2, 9, 9),
        (10, 10, 2, 10, 10),
        (10, 0, 1, 10, 10),
        (10, 4, 0, 10, 10),
        (10, 4, 6, 10, 10),
        (10, 3, 2, 10, 10),
        (10, 4, 3, 11, 10),
        (10, 4, 3, 8, 9),
        (10, 4, 3, 9, 2),
        (10, 4, 2, 9, 2),
        (10, 4, 3, 4, 4),
    ],
)
def test_row_46_numbers_no_session_can_have(values: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ParameterError):
        SecAggParams(*values)
    with pytest.raises(ParameterError):
        decode_params(b"".join(value.to_bytes(4) for value in values))


def test_encoding_byte_by_byte() -> None:
    """Rows 2, 3: five u32, and nothing shorter or longer."""
    data = SecAggParams(100, 28, 11, 81, 80).encode()
    assert data.hex() == "000000640000001c0000000b0000005100000050"
    for size in range(len(data)):
        with pytest.raises(Truncated):
            decode_params(data[:size])
    with pytest.raises(TrailingBytes):
        decode_params(data + b"\x00")


# --- cost and words ------------------------------------------------------------------------

LAYOUT = Layout((Segment(Ring(8), 1004), Segment(Ring(23), 50_892)))
STREAM = 1004 + 4 * 50_892


def test_cost_of_the_complete_graph() -> None:
    t = threat(100, "0.1", "0.2")
    params = complete(t)
    c = cost(t, params, LAYOUT)
    assert c.upload_bytes == sum(upload_sizes(params, LAYOUT).values())
    assert c.download_bytes == sum(download_sizes(params, LAYOUT).values())
    assert c.largest_message == max(
        *upload_sizes(params, LAYOUT).values(), *download_sizes(params, LAYOUT).values()
    )
    assert c.client_prg_bytes == 100 * STREAM
    assert c.client_agreements == 2 * 99
    assert c.server_agreements == 20 * 80
    assert c.server_prg_bytes == (80 + 20 * 80) * STREAM


def test_cost_of_a_regular_graph() -> None:
    t = threat(1000, "0.1", "0.2")
    params = found(t)
    c = cost(t, params, LAYOUT)
    assert c.client_prg_bytes == 77 * STREAM
    assert c.client_agreements == 152
    assert c.server_agreements == 200 * 61  # of 76 neighbours 60.8 survive on average
    assert c.server_prg_bytes == (800 + 200 * 61) * STREAM


def test_published_expansion() -> None:
    assert ccs17_expansion(1 << 10, 1 << 20, 16) == pytest.approx(1.73, abs=0.01)
    assert ccs17_expansion(1 << 14, 1 << 20, 16) == pytest.approx(3.62, abs=0.01)
    assert ccs17_expansion(1 << 14, 1 << 24, 16) == pytest.approx(1.98, abs=0.01)


def test_guarantee_says_from_how_many() -> None:
    t = threat(100, "0.1", "0.2")
    whole = promise(t, complete(t), LAYOUT).learns
    assert "at least 56 of the 100 inputs, at least 46 of them honest" in whole
    regular = promise(t, found(t), LAYOUT).learns
    assert "at least 80 of the 100 inputs, at least 70 of them honest" in regular
    assert "2^-40" in regular


def test_caveat_of_a_split_without_a_consistency_round() -> None:
    """h - floor(h (n - s)/(t - c)): 6 for n = 100, s = t = 68, c = 33. No client opens a set of
    fewer than s (C8), so where all of n must be in it nobody is split off."""
    t = threat(100, "0.33", "0.2")
    words = " ".join(promise(t, SecAggParams(100, 99, 68, 68, 68), LAYOUT).caveats)
    assert "until a part holds 6 honest inputs" in words
    words = " ".join(promise(t, SecAggParams(100, 99, 68, 90, 90), LAYOUT).caveats)
    assert "until a part holds 48 honest inputs" in words
    three = threat(3, "0", "0")
    words = " ".join(promise(three, SecAggParams(3, 2, 2, 3, 3), LAYOUT).caveats)
    assert "could split no honest input off the sum" in words


def test_caveat_of_one_lie() -> None:
    """Of a bare row: a plan of its own has a majority, and says what that costs."""
    t = threat(100, "0.1", "0.2")
    words = " ".join(promise(t, SecAggParams(100, 28, 11, 100, 80), LAYOUT).caveats)
    assert "11 clients chosen among them and one lie" in words
    assert "no larger t at this degree" in words
    assert "safe for rounds that start with 80 clients or more: the plan asks for 100" in words
    assert "one lie by the server about who dropped reveal" not in " ".join(
        promise(t, found(t), LAYOUT).caveats
    )


def test_caveat_of_two_survivor_sets_on_a_regular_graph() -> None:
    """specs/10-secagg.md §11.2: t holders' answers for each secret, of k + 1 + a that there are."""
    t = threat(100, "0.1", "0.2")
    for threshold, corrupt, says in ((20, 1, "a corrupt one"), (22, 5, "5 corrupt ones")):
        assert threshold == (38 + 1 + corrupt) // 2
        words = " ".join(promise(t, SecAggParams(100, 38, threshold, 80, 80), LAYOUT).caveats)
        assert f"learn the input of a client with {says} among its 38 neighbours" in words
    nobody = threat(100, "0", "0.2")
    words = " ".join(promise(nobody, SecAggParams(100, 38, 20, 80, 80), LAYOUT).caveats)
    assert "different survivors" not in words
    made = plan(clients=100, fields={"u": FixedPoint(4, 1.0, 8)})
    needed = 2 * made.threshold - (made.degree + 1)
    assert made.protocol == "secagg+" and 1 <= needed <= made.threat.corrupted
    assert "could learn the input of a client with" in made.explain()


def test_caveat_names_the_safer_threshold() -> None:
    t = threat(1000, "0.05", "0.05", m=950)
    params = SecAggParams(1000, 60, 27, 1000, 950)
    most = Tails.of(t).surviving_neighbours(60)
    assert most >= 31
    assert "t = 31 at the same degree" in " ".join(promise(t, params, LAYOUT).caveats)


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout", "bare"),
    [
        (100, "0.1", "0.2", (28, 11)),
        (1000, "0.1", "0.2", (72, 36)),
        (1000, "0.2", "0.2", None),
        (500, "0.05", "0.1", None),
    ],
)
def test_caveat_of_what_a_majority_costs(
    n: int, corrupt: str, dropout: str, bare: tuple[int, int] | None
) -> None:
    """Against the smallest degree at which t > a alone holds for as few clients."""
    t = threat(n, corrupt, dropout)
    ours = found(t)
    [sentence] = [s for s in promise(t, ours, LAYOUT).caveats if "majority" in s]
    if bare is None:
        assert "costs nothing here" in sentence
        return
    k, threshold = bare
    theirs = SecAggParams(n, k, threshold, ours.min_clients, ours.min_survivors)
    assert check_params(t, theirs) is None
    assert check_params(t, replace(theirs, degree=k - 2)) is not None
    up = [sum(upload_sizes(p, LAYOUT).values()) for p in (ours, theirs)]
    assert f"costs {100 * (up[0] / up[1] - 1):.2g} % of the upload" in sentence
    assert f"{k} neighbours and t = {threshold} would keep" in sentence
