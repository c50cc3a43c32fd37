"""Releases of different noise: their composition, and filters that hold step by step."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from secagg.dp import Accounting, Block, Claim, Shape, accepts, loss, noises
from secagg.dp.filters import NOTHING, Way, Weight, capacity, chosen, fits, used, weigh
from secagg.dp.several import Release, composed
from secagg.errors import ParameterError
from secagg.noise import Kind, Noise
from tests.soak import SOAK

HONEST = 100


def release(claim: Claim, *shapes: Shape, honest: int = HONEST) -> Release:
    found = noises(shapes, claim, honest)
    return tuple(
        Block(noise, shape.length, shape.squared, honest)
        for noise, shape in zip(found, shapes, strict=True)
    )


VECTOR, COUNTS = Shape(1970, 32767**2, True), Shape(50, 25, False)
CLAIM = Claim(2.0, 1e-4, 10)
MIX = {
    "gaussian": (VECTOR,),
    "skellam": (COUNTS,),
    "mixed": (VECTOR, COUNTS),
    "two": (VECTOR, VECTOR),
}


def most(way: Way, claim: Claim, one: Release, limit: int = 10_000) -> int:
    each = weigh(way, one)
    assert each is not None
    return next(n for n in range(limit) if not fits(way, claim, NOTHING.plus(each, n + 1)))


@pytest.mark.parametrize("name", MIX)
def test_a_plan_s_own_claim_is_a_budget_for_all_of_its_rounds(name: str) -> None:
    """§9.7: and for no more than the calibration's grid gives away."""
    one = release(CLAIM, *MIX[name])
    way = chosen(CLAIM, one, CLAIM.rounds)
    assert most(way, CLAIM, one) == CLAIM.rounds
    assert bool(way.order) == (name in ("skellam", "mixed"))


@pytest.mark.parametrize("name", MIX)
def test_where_there_is_room_divergences_count(name: str) -> None:
    """§9.7: so that whatever noise comes later can be counted too."""
    one = release(CLAIM, *MIX[name])
    way = chosen(Claim(4.0, 1e-4), one, CLAIM.rounds)
    assert way.order and most(way, Claim(4.0, 1e-4), one) > 2 * CLAIM.rounds


def test_a_small_budget_is_used_by_the_way_that_has_most_room() -> None:
    one = release(CLAIM, VECTOR)
    small = Claim(0.9, 1e-4)
    way = chosen(small, one, 10)
    others = (Way(20), Way(0, 4, 2.0**-40))
    assert most(way, small, one) == max(most(other, small, one) for other in others) > 0
    assert most(chosen(Claim(0.01, 1e-9), one, 10), Claim(0.01, 1e-9), one) == 0


def test_skellam_noise_is_no_gaussian_mechanism() -> None:
    one = release(CLAIM, COUNTS)
    assert weigh(Way(0, 4, 1e-9), one) is None and weigh(Way(8), one) is not None
    narrow = (Block(Noise(Kind.GAUSSIAN, 3.0), 1, 1, 1),)
    assert weigh(Way(0, 4, 1e-9), narrow) is None and weigh(Way(0, 2, 1e-9), narrow) is not None


def test_the_slack_of_a_reduction_is_a_limit_of_its_own() -> None:
    """§9.6: log-ratios add up as strengths do."""
    way, claim = Way(0, 4, 2.0**-40), Claim(1.0, 1e-5)
    assert fits(way, claim, Weight(Decimal("0.01"), Decimal(2) ** -40))
    assert not fits(way, claim, Weight(Decimal("0.01"), Decimal(2) ** -39))
    assert used(way, claim, Weight(Decimal(0), Decimal(2) ** -41)) == 0.5
    assert not fits(Way(0, 4, 1.0), claim, NOTHING), "it is more than the epsilon itself"
    assert fits(way, claim, NOTHING) and used(way, claim, NOTHING) == 0


def test_a_reduction_of_few_coordinates_of_little_noise_has_slack_of_its_own() -> None:
    """§9.7: noise that is accepted with the least smoothing only is a budget for its own rounds."""
    one = (Block(Noise(Kind.GAUSSIAN, 20.0), 1, 9, 1),)
    epsilon = loss(one, 1e-4, 3).epsilon
    claim = Claim(epsilon, 1e-4, 3)
    assert accepts(one, claim)
    way = chosen(claim, one, 3)
    assert most(way, claim, one) == 3
    assert not way.order and way.slack > 2.0**-40


def test_the_size_of_a_filter_is_where_it_ends() -> None:
    for way in (Way(20), Way(0, 4, 2.0**-40)):
        size = capacity(way, CLAIM)
        assert fits(way, CLAIM, Weight(size))
        assert not fits(way, CLAIM, Weight(size * (1 + Decimal("1e-12"))))
        assert used(way, CLAIM, Weight(size / 2)) == pytest.approx(0.5)
    assert used(Way(2), Claim(0.01, 1e-9), Weight(Decimal(1))) == float("inf")


def test_what_a_filter_admits_is_no_more_than_it_says() -> None:
    """§9.8: the figure of composition never passes the budget's epsilon while its filter holds."""
    rng = np.random.default_rng(9)
    for _ in range(20 if SOAK else 2):
        claim = Claim(float(10 ** rng.uniform(-1, 1)), float(10 ** rng.uniform(-9, -3)))
        way, total, counted = None, NOTHING, dict[Release, int]()
        for _ in range(60):
            shapes = list(MIX.values())[rng.integers(4)]
            rounds = int(rng.integers(1, 30))
            one = release(Claim(claim.epsilon * rng.uniform(0.1, 1), claim.delta, rounds), *shapes)
            way = way or chosen(claim, one, rounds)
            each = weigh(way, one)
            if each is None or not fits(way, claim, total.plus(each)):
                continue
            total = total.plus(each)
            counted[one] = counted.get(one, 0) + 1
            found = composed(counted, claim.delta)
            assert found is not None and found.epsilon <= claim.epsilon
            assert used(way, claim, total) <= 1 + 1e-9
        assert len(counted) > 1 or (way is not None and not way.order)


@pytest.mark.parametrize("name", MIX)
def test_one_plan_is_composed_as_it_is_accounted(name: str) -> None:
    one = release(CLAIM, *MIX[name])
    for times in (1, 10, 70):
        found, known = composed({one: times}, 1e-4), loss(one, 1e-4, times)
        assert found is not None and found.accounting is known.accounting
        assert found.epsilon == pytest.approx(known.epsilon, rel=1e-14)
    assert composed({}, 1e-4) is None and composed({one: 0}, 1e-4) is None
    with pytest.raises(ParameterError, match="delta"):
        composed({one: 1}, 0.0)


def test_plans_of_different_noise_add_up() -> None:
    """Less than their epsilons do, and more than each."""
    one, other = release(CLAIM, VECTOR), release(Claim(1.0, 1e-4), COUNTS)
    both = composed({one: 10, other: 1}, 1e-4)
    assert both is not None and both.accounting is Accounting.MIXED
    assert 2.0 < both.epsilon < 3.0
    twice = composed({one: 10, release(CLAIM, VECTOR, honest=80): 10}, 1e-4)
    assert twice is not None and twice.accounting is Accounting.REDUCTION


def test_against_the_oracle() -> None:
    """Within 1e-3, of 60 sets of releases: strengths add up, and so do divergences."""
    theirs = pytest.importorskip("dp_accounting", reason="the extra dp")
    rng = np.random.default_rng(41)
    orders = [*range(2, 64), *(m << k for k in range(3, 20) for m in range(8, 16))]
    for _ in range(60):
        kind = Kind(rng.integers(1, 3))
        counted: dict[Release, int] = {}
        delta = float(10 ** rng.uniform(-10, -3))
        for _ in range(rng.integers(1, 6)):
            squared = int(10 ** rng.uniform(4, 9))
            variance = squared * 10 ** rng.uniform(1, 4) / 50
            block = Block(Noise(kind, variance), int(10 ** rng.uniform(0, 5)), squared, 50)
            counted[block,] = int(rng.integers(1, 40))
        found = composed(counted, delta)
        assert found is not None
        if found.accounting is Accounting.REDUCTION:
            strength = sum(
                times * block.squared / (block.shares * block.noise.variance)
                for (block,), times in counted.items()
            )
            exact = theirs.get_epsilon_gaussian(strength**-0.5, delta)
            assert found.epsilon == pytest.approx(exact, rel=1e-3, abs=1e-6)
            continue
        best = np.inf
        for flat in (False, True):
            accountant = theirs.rdp.RdpAccountant(orders)
            for (block,), times in counted.items():
                mu, squared = block.shares * block.noise.variance, block.squared
                l1 = min(block.length * squared, squared**2) ** 0.5
                rho, xi = squared / (2 * mu), 3 * l1 / (2 * mu)
                if not flat:
                    rho, xi = rho + squared / (2 * mu**2), (6 * l1 - squared) / (4 * mu**2)
                accountant.compose(theirs.ZCDpEvent(rho, max(0, xi)), times)
            best = min(best, accountant.get_epsilon(delta))
        assert found.epsilon <= best * 1.001 + 1e-9
        if len(counted) == 1:
            assert found.epsilon == pytest.approx(best, rel=1e-3, abs=1e-6)
