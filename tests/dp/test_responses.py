"""Randomised response: what one keeps, exactly, and what sums of them tell (40-privacy.md §10)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from secagg.dp import Block, Claim, accepts, loss, responses
from secagg.dp.filters import NOTHING, Way, chosen, fits, used, weigh
from secagg.dp.mechanisms import renyi, responded
from secagg.dp.responses import MOST_OTHERS, central, flips
from secagg.dp.several import composed
from secagg.errors import ParameterError
from secagg.noise import Kind, Noise, Response, share
from secagg.sampler import field_key, told_wrongly
from secagg.types import Seed
from tests.soak import SOAK

ONE = Fraction(1)


def block(flip: float) -> Block:
    return Block(Response(flip), 1, 1, 1)


@pytest.mark.parametrize("epsilon", [2.0**-20, 0.1, 1.0, math.log(3), 3.0, 40.0])
def test_the_epsilon_of_a_response_is_the_ratio_of_its_probabilities(epsilon: float) -> None:
    """§10.2, §10.3: p is the least binary64 for which ln((1 - p) / p) is at most epsilon."""
    [one] = flips([ONE], Claim(epsilon, 1e-9))
    p = Decimal(one.flip)
    found = responded(block(one.flip))
    assert found is not None and found <= Decimal(epsilon)
    assert abs(found.exp() - (1 - p) / p) < Decimal("1e-20") * (1 - p) / p
    less = Decimal(math.nextafter(one.flip, 0))
    assert ((1 - less) / less).ln() > Decimal(epsilon)
    assert accepts([block(one.flip)], Claim(epsilon, 2.0**-64)), "whatever delta is"
    assert not accepts([block(math.nextafter(one.flip, 0))], Claim(epsilon, 0.5))


def test_epsilons_of_rounds_and_fields_add_up() -> None:
    """§10.2"""
    parts = [Fraction(3, 4), Fraction(1, 4)]
    found = [block(one.flip) for one in flips(parts, Claim(2.0, 1e-6, 5))]
    shown = loss(found, 1e-6, 5)
    assert 2 * (1 - 1e-12) < shown.epsilon <= 2 and shown.accounting == "randomised-response"
    assert accepts(found, Claim(2.0, 1e-6, 5)) and not accepts(found, Claim(2.0, 1e-6, 6))
    first, second = map(responded, found)
    assert first is not None and second is not None and math.isclose(first / second, 3)


def test_more_rounds_than_a_bit_has_room_for() -> None:
    with pytest.raises(ParameterError, match="leaves nothing of a bit: a larger epsilon or fewer"):
        flips([Fraction(1, 10**6), 1 - Fraction(1, 10**6)], Claim(2.0**-20, 1e-6, 1 << 20))


def test_a_large_epsilon_ends_at_the_least_probability() -> None:
    assert flips([ONE], Claim(60.0, 1e-6)) == (Response(2.0**-64),)


@pytest.mark.parametrize("flip", [0.5, 0.0, 2.0**-65, -0.1, math.nan, math.inf, 0.75])
def test_probabilities_that_are_none(flip: float) -> None:
    with pytest.raises(ParameterError, match="flip must be"):
        share(Kind.RESPONSE, flip)


def test_what_is_no_block() -> None:
    for length, shares in ((2, 1), (1, 2)):
        with pytest.raises(ParameterError, match="one bit"):
            Block(Response(0.25), length, 1, shares)
    with pytest.raises(ParameterError, match=r"Response\(flip\) would do"):
        Noise(Kind.RESPONSE, 1.0)


DRAWS = 20_000 if SOAK else 6_000


def test_a_draw_decides_by_the_fraction() -> None:
    """41-noise.md §8: 128 bits below p 2^128, of the field's own key."""
    keys = [field_key(Seed(number.to_bytes(32)), 0) for number in range(DRAWS)]
    for flip in (0.25, 0.0474):
        wrong = sum(told_wrongly(Response(flip), key) for key in keys)
        assert abs(wrong - DRAWS * flip) < 5 * math.sqrt(DRAWS * flip * (1 - flip))
    assert not any(told_wrongly(Response(2.0**-64), key) for key in keys)
    close = math.nextafter(0.5, 0)
    assert sum(told_wrongly(Response(close), key) for key in keys) > 0.48 * DRAWS


def exact(flip: Fraction, honest: int, delta: Fraction, halvings: int = 40) -> float:
    """By the definition: over all sets of sums that a threshold cuts off, either way round, and
    every number of ones that the others may have; epsilon by halving."""

    def deltas(scale: Fraction) -> Fraction:
        worst = Fraction(0)
        for ones in range(honest):
            sums = []
            for own in (0, 1):
                f = [ONE]
                for other in [True] * ones + [False] * (honest - 1 - ones) + [bool(own)]:
                    q = 1 - flip if other else flip
                    f = [(1 - q) * a + q * b for a, b in zip([*f, 0], [0, *f], strict=True)]
                sums.append(f)
            for p, q in (sums, sums[::-1]):
                gains = (a - scale * b for a, b in zip(p, q, strict=True))
                worst = max(worst, sum((gain for gain in gains if gain > 0), Fraction(0)))
        return worst

    low, high = Fraction(1), (1 - flip) / flip
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if deltas(middle) > delta else (low, middle)
    return math.log(high)


@pytest.mark.parametrize(
    ("flip", "honest", "delta"),
    [
        (Fraction(1, 4), 2, 1e-6),
        (Fraction(1, 4), 6, 0.02),
        (Fraction(1, 8), 7, 0.05),
        (Fraction(3, 8), 9, 1e-3),
    ],
)
def test_what_a_sum_tells_is_exact_both_ways_round(
    flip: Fraction, honest: int, delta: float
) -> None:
    """§10.5, by the definition of differential privacy in fractions."""
    found = central([Response(float(flip))], 1, honest, delta)
    wanted = exact(flip, honest, Fraction(delta))
    assert wanted <= found <= wanted + 1e-7


@pytest.mark.parametrize("epsilon", [2.0**-20, 0.3, 20.0, 35.0, 36.7, 37.5, 40.0, 44.0, 1000.0])
def test_what_a_sum_tells_is_exact_at_every_epsilon(epsilon: float) -> None:
    """§10.5: also where 1 - p is no number of float64, and where it loses digits of p."""
    [one] = flips([ONE], Claim(epsilon, 1e-6))
    for honest, delta in ((2, 1e-9), (4, 2.0**-30), (4, 2.0**-64), (3, 0.25)):
        wanted = exact(Fraction(one.flip), honest, Fraction(delta), 130)
        found = central([one], 1, honest, delta)
        assert wanted <= found <= min(wanted * (1 + 1e-7) + 1e-7, epsilon * (1 + 1e-8))


@pytest.mark.parametrize("parts", [1, 3, 30])
@pytest.mark.parametrize("epsilon", [2.0**-20, 0.01, 1.0, 7.0, 20.0, 38.0, 100.0, 750.0, 1024.0])
def test_every_epsilon_that_a_plan_may_have_is_shown(epsilon: float, parts: int) -> None:
    """A plan that is made is explained, and so is its sum: the number of clients is known late."""
    many = flips([Fraction(1, parts)] * parts, Claim(epsilon, 1e-6))
    alone = math.fsum(math.log((1 - one.flip) / one.flip) for one in many)
    for honest in (1, 2, 10, 1000):
        for delta in (2.0**-64, 1e-6, 0.9):
            assert 0 <= central(many, 1, honest, delta) <= alone * (1 + 1e-8)


@pytest.mark.parametrize(
    ("epsilon", "honest", "published"),
    [(1, 100, 0.484), (1, 1000, 0.127), (1, 10_000, 0.036), (3, 1000, 0.695), (3, 10_000, 0.169)],
)
def test_what_sums_tell_as_computed_by_others(
    epsilon: float, honest: int, published: float
) -> None:
    """Of a privacy-loss distribution (dp-accounting) at delta 10^-6, both directions."""
    found = central(flips([ONE], Claim(epsilon, 1e-6)), 1, honest, 1e-6)
    assert abs(found - published) < 0.01 * published + 5e-4


def test_the_worst_others_are_not_all_alike() -> None:
    """§10.5: with 10 others of epsilon 2 and delta 0.2546 all zeros or all ones promise less."""
    one, delta = flips([ONE], Claim(2.0, 1e-6)), 0.26
    assert central(one, 1, 11, delta) > 0.19


def test_one_alone_has_what_it_keeps_itself_and_more_tell_less() -> None:
    one = flips([ONE], Claim(1.0, 1e-6))
    assert math.isclose(central(one, 1, 1, 1e-6), 1.0, rel_tol=1e-8)
    found = [central(one, 1, honest, 1e-6) for honest in (1, 20, 200, 300, 2000, MOST_OTHERS)]
    assert found == sorted(found, reverse=True) and found[-1] < 0.04
    assert central(one, 1, 1 << 20, 1e-6) == central(one, 1, MOST_OTHERS + 1, 1e-6)


def test_sums_of_several_rounds_and_fields() -> None:
    """§10.5: never above what adds up, nor below what one tells."""
    one = flips([ONE], Claim(0.2, 1e-6))
    single, many = central(one, 1, 1000, 1e-6), central(one, 100, 1000, 1e-6)
    assert single < many < 100 * central(one, 1, 1000, 1e-8)
    assert math.isclose(many, central(one * 10, 10, 1000, 1e-6), rel_tol=1e-6)
    one = flips([ONE], Claim(1.0, 1e-6))
    assert central(one, 1, 100, 0.05) == 0, "one sum is that likely to be told from its neighbour"
    assert central(one, 2, 100, 0.05) > 0


def test_sums_of_a_larger_probability_are_made_of_those_of_a_smaller() -> None:
    """§10.5: turned again, they have the very probabilities; and tell less."""
    small, large, others = Fraction(1, 8), Fraction(1, 3), 5
    turn = (large - small) / (1 - 2 * small)

    def sums(ones: int, flip: Fraction) -> list[Fraction]:
        found = [ONE]
        for bit in range(others):
            q = 1 - flip if bit < ones else flip
            found = [(1 - q) * a + q * b for a, b in zip([*found, 0], [0, *found], strict=True)]
        return found

    for ones in range(others + 1):
        made = [Fraction(0)] * (others + 1)
        for told, chance in enumerate(sums(ones, small)):
            for place, again in enumerate(sums(told, turn)):
                made[place] += chance * again
        assert made == sums(ones, large)


@pytest.mark.parametrize("honest", [60, 400, 20_000] if SOAK else [60, 20_000])
@pytest.mark.parametrize("number", [2, 16, 17, 100] if SOAK else [2, 17])
def test_many_probabilities_take_no_longer_and_promise_no_more(
    honest: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§10.5: of as many sums as of a few, and above what all of them give, by little."""
    total, tried = number * (number + 1) // 2, []
    many = flips([Fraction(i + 1, total) for i in range(number)], Claim(3.0, 1e-6))

    def one(others: Any, *given: Any) -> float:
        tried.append(1)
        return of_one(others, *given)

    of_one = responses._of_one
    monkeypatch.setattr(responses, "_of_one", one)
    found = central(many, 1, honest, 1e-6)
    assert math.isclose(found, central(many[::-1], 1, honest, 1e-6), rel_tol=1e-12)
    assert len(tried) <= 2 * (2 * responses._TRIED + 2 * responses._KINDS), "of both"
    if number * honest > 7000:
        return
    monkeypatch.setattr(responses, "_KINDS", number)
    monkeypatch.setattr(responses, "_TRIED", 1 << 30)
    true = central(many, 1, honest, 1e-6)
    assert true * (1 - 1e-12) <= found < 1.1 * true


def test_what_stands_for_many_probabilities_is_the_least() -> None:
    many = [Response(2.0**-20 * (1 + i)) for i in range(50)]
    few = responses._few(many[::-1])[::-1]
    assert len(set(few)) == responses._KINDS and few[0] == many[0]
    assert all(one.flip <= true.flip for one, true in zip(few, many, strict=True))
    assert responses._few(many[:16]) == many[:16]


def test_divergences_are_above_the_true_ones() -> None:
    """§10.4"""
    for flip in (0.01, 0.2, 0.4, 0.499):
        steep, flat = renyi(block(flip))
        p, q = flip, 1 - flip
        for order in (2, 3, 8, 20):
            true = math.log(p**order * q ** (1 - order) + q**order * p ** (1 - order))
            line = min(one.slope * order + one.constant for one in (steep, flat))
            assert true / (order - 1) <= float(line) * (1 + 1e-12)


def test_a_budget_of_a_plans_own_epsilon_has_room_for_its_rounds() -> None:
    """§9.7: by divergences, which count what comes later, of a very high order; where delta is too
    small for these, epsilons add up, also where each is chosen after earlier ones were seen."""
    release = tuple(block(one.flip) for one in flips([ONE], Claim(1.0, 1e-6, 4)))
    assert chosen(Claim(1.0, 1e-6), release, 4).order > 10**5
    claim = Claim(1.0, 1e-15)
    way = chosen(claim, release, 4)
    each = weigh(way, release)
    assert way == Way(0) and each is not None
    assert fits(way, claim, NOTHING.plus(each, 4)) and not fits(way, claim, NOTHING.plus(each, 5))
    assert math.isclose(used(way, claim, NOTHING.plus(each, 4)), 1)
    noise = (Block(Noise(Kind.GAUSSIAN, 1e6), 1, 1, 1),)
    assert weigh(way, noise) is None


def test_releases_of_different_plans() -> None:
    one, two = (block(0.25),), (block(0.375),)
    found = composed({one: 2, two: 1}, 1e-6)
    added = 2 * math.log(3) + math.log(5 / 3)
    assert found is not None and added - 1e-5 < found.epsilon < added
    assert found.accounting == "randomised-response-rdp"
    strict = composed({one: 2, two: 1}, 1e-15)
    assert strict is not None and math.isclose(strict.epsilon, added)
    assert strict.accounting == "randomised-response"
    many = composed({two: 1000}, 1e-6)
    assert many is not None and many.accounting == "randomised-response-rdp"
    assert many.epsilon < 1000 * math.log(5 / 3)
    mixed = composed({one: 1, (Block(Noise(Kind.SKELLAM, 100.0), 1, 1, 1),): 1}, 1e-6)
    assert mixed is not None and mixed.accounting == "mixed-rdp"
