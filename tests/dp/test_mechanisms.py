"""The bounds of specs/40-privacy.md §3 against sums that are computed from their definitions."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt
import pytest

from secagg.dp import gaussian, mechanisms
from secagg.dp.exact import CONTEXT
from secagg.dp.mechanisms import (
    NARROWEST,
    SMOOTHINGS,
    Block,
    _unevenness,
    reduced,
    renyi,
    unlikeness,
)
from secagg.errors import ParameterError
from secagg.noise import Kind, Noise
from tests.dp import exact_sums

Reals = npt.NDArray[np.float64]
SHIFTS = [(1,), (3,), (5,), (9,), (1, 1), (3, 2), (5, 1), (2, 2, 1), (1, 1, 1), (4, 0, 3)]


def block(kind: Kind, variance: float, length: int, squared: int, shares: int) -> Block:
    return Block(Noise(kind, variance), length, squared, shares)


@pytest.mark.parametrize("shares", [2, 3])
@pytest.mark.parametrize("variance", [6.25, 7.0])
def test_a_sum_of_shares_is_a_discrete_gaussian_but_for_tau(variance: float, shares: int) -> None:
    """§3.3: on every probability of a value that occurs; for two shares it is no idle bound."""
    total = exact_sums.shares(variance, shares)
    one = exact_sums.gaussian(shares * variance, max(total))
    with localcontext(CONTEXT):
        ratios = [abs((total[x] / one[x]).ln()) for x in range(-30, 31)]
        bound = unlikeness(block(Kind.GAUSSIAN, variance, 1, 1, shares)) / 2
    assert 0 < max(ratios) <= bound
    # a third share evens out what two leave uneven; the bound adds up all the same
    assert shares == 3 or max(ratios) > bound / 100


def test_a_random_rounding_is_a_discrete_gaussian_but_for_its_unevenness() -> None:
    """§3.4: x from a discrete Gaussian of variance r^2 about y, y normal of little variance, over
    which the unevenness does not average out. The integral over y by the trapezoidal rule.
    """
    y, x = np.arange(-2, 2, 1 / 256), np.arange(-60, 61)
    for smoothing in (0.3, 0.5):
        whole = smoothing + 0.02
        rounding = np.exp(-((x[:, None] - y) ** 2) / (2 * smoothing))
        rounding /= rounding.sum(axis=0)
        density = np.exp(-(y**2) / (2 * (whole - smoothing)))
        found = (rounding * density).sum(axis=1)
        exact = np.exp(-(x**2) / (2 * whole))
        ratio = np.log((found / found.sum())[57:64] / (exact / exact.sum())[57:64])
        with localcontext(CONTEXT):
            bound = float(_unevenness(Decimal(smoothing)))
        assert bound / 50 < np.abs(ratio).max() <= bound


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("shares", [1, 2, 1 << 20])
def test_the_reduction_as_it_is_written(smoothing: int, shares: int) -> None:
    """§3.3 and §3.4, of so many elements that what shares are unlike can be seen."""
    made = block(Kind.GAUSSIAN, 6.9, 1 << 30, 17, shares)
    tau = 10 * (shares - 1) * math.exp(-6 * math.pi**2)
    q = math.exp(-2 * math.pi**2 * smoothing)
    eta = 2 * q / (1 - q)
    with localcontext(CONTEXT):
        found = reduced(made, smoothing)
    assert found is not None
    strength, kappa = map(float, found)
    assert strength == pytest.approx(17 / (shares * 6.9 - smoothing), rel=1e-12)
    assert kappa == pytest.approx((1 << 30) * (tau / 2 + 2 * eta / (1 - eta)), rel=1e-12)


def hockey_stick(one: Reals, shift: tuple[int, ...], epsilon: float) -> float:
    """delta of product noise and its shift: the sum of max(0, P - e^epsilon Q) over all points."""
    joint: tuple[Reals, Reals] = (np.ones(1), np.ones(1))
    for by in shift:
        p, q = np.pad(one, (by, 0)), np.pad(one, (0, by))
        joint = (np.multiply.outer(joint[0], p).ravel(), np.multiply.outer(joint[1], q).ravel())
    return float(np.maximum(0, joint[0] - math.exp(epsilon) * joint[1]).sum())


@pytest.mark.parametrize("shift", SHIFTS, ids=str)
def test_no_hockey_stick_exceeds_the_reduction(shift: tuple[int, ...]) -> None:
    """§3.4 in one to three dimensions: what the bound promises, the exact sums keep."""
    squared, checked = sum(by * by for by in shift), 0
    for variance, shares in itertools.product((NARROWEST, 9.0), (1, 2, 4)):
        if len(shift) == 3 and shares > 2:
            continue
        one = exact_sums.as_array(exact_sums.shares(variance, shares))
        one = one[one > 1e-17]
        made = block(Kind.GAUSSIAN, variance, len(shift), squared, shares)
        for epsilon in (0.1, 0.5, 1.0, 2.0):
            exact, bounds = hockey_stick(one, shift, epsilon), []
            with localcontext(CONTEXT):
                for strength, kappa in filter(None, (reduced(made, r) for r in SMOOTHINGS)):
                    left = Decimal(epsilon) - 2 * kappa
                    bounds.append(kappa.exp() * gaussian.delta(left, strength))
            assert exact <= float(min(bounds)) + 1e-13
            # and of a continuous Gaussian without the r^2 it would be less, or nearly
            checked += 1
    assert checked >= 16


def divergence(p: Reals, shift: int, order: int) -> float:
    """Renyi's, of a symmetric p given for 0, 1, .. and its shift, from logarithms."""
    both = np.log(np.concatenate((p[:0:-1], p)))
    terms = order * both[: both.size - shift] + (1 - order) * both[shift:]
    top = terms.max()
    return float(top + np.log(np.exp(terms - top).sum())) / (order - 1)


@pytest.mark.parametrize("variance", [2.0, 10.0, 100.0, 1000.0])
def test_no_divergence_of_skellam_noise_exceeds_the_bound(variance: float) -> None:
    """§3.6, at every order that is used from 2 to 32; and where noise is wide
    the bound is no idle one."""
    p = exact_sums.skellam(variance)
    p = p[p > 1e-290]
    for shift in (1, 3):
        made = block(Kind.SKELLAM, variance / 4, 1, shift * shift, 4)
        with localcontext(CONTEXT):
            lines = renyi(made)
            for order in (2, 3, 4, 8, 16, 32):
                bound = float(min(line.slope * order + line.constant for line in lines))
                exact = divergence(p, shift, order)
                assert exact <= bound
                assert variance < 100 or exact > bound / 1.3


@pytest.mark.parametrize("length, squared", [(1, 9), (50, 9), (50, 4000)])
@pytest.mark.parametrize("variance", [0.01, 3.0, 1e4])
def test_the_published_bound_of_skellam_noise_as_it_is_written(
    length: int, squared: int, variance: float
) -> None:
    """§3.6"""
    made = block(Kind.SKELLAM, variance, length, squared, 20)
    mu, l1 = 20 * variance, min(length**0.5 * squared**0.5, squared)
    with localcontext(CONTEXT):
        lines = renyi(made)
        for order in (2, 3, 7, 100, 1000):
            more = ((2 * order - 1) * squared + 6 * l1) / (4 * mu**2)
            bound = order * squared / (2 * mu) + min(more, 3 * l1 / (2 * mu))
            found = float(min(line.slope * order + line.constant for line in lines))
            assert found == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("tau", ["0", "1e-4", "0.003", "0.1"])
@pytest.mark.parametrize("length, squared", [(1, 9), (50, 9), (50, 4000)])
def test_the_published_bound_of_discrete_gaussians_is_the_least_of_three(
    monkeypatch: pytest.MonkeyPatch, tau: str, length: int, squared: int
) -> None:
    """§3.5 as it stands there, with a tau that can be seen."""
    monkeypatch.setattr(mechanisms, "unlikeness", lambda _: Decimal(tau))
    made = block(Kind.GAUSSIAN, 10.0, length, squared, 20)
    l1, s = min(length**0.5 * squared**0.5, squared), 200**0.5
    z, t = squared**0.5 / s, float(tau)
    with localcontext(CONTEXT):
        lines = renyi(made)
        for order in (2, 3, 7, 100, 1000):
            first = order / 2 * z**2 + t * length
            second = order / 2 * (z**2 + 2 * l1 / s * t + t * t * length)
            third = order / 2 * (z + length**0.5 * t) ** 2
            found = float(min(line.slope * order + line.constant for line in lines))
            assert found == pytest.approx(min(first, second, third), rel=1e-12)


@pytest.mark.parametrize("shift", [1, 4])
def test_no_divergence_of_summed_discrete_gaussians_exceeds_the_bound(shift: int) -> None:
    """§3.5."""
    one = exact_sums.as_array(exact_sums.shares(NARROWEST, 4))
    p = one[one.size // 2 :]
    made = block(Kind.GAUSSIAN, NARROWEST, 1, shift * shift, 4)
    with localcontext(CONTEXT):
        lines = renyi(made)
        for order in (2, 3, 8, 16):
            bound = float(min(line.slope * order + line.constant for line in lines))
            assert 0.99 * bound < divergence(p, shift, order) <= bound * (1 + 1e-9)


def test_shares_of_a_narrow_discrete_gaussian_sum_to_no_noise() -> None:
    """Row 109. Counts of a thousand clients at epsilon 1: a deviation of 0.134 a share, and the sum
    has a variance of nothing. So they are refused; of Skellam noise the same shares are right."""
    each = 17.85 / 1000
    weights = exact_sums.gaussian(each, 4)
    assert 1000 * sum(float(p) * x * x for x, p in weights.items()) < 1e-3
    with pytest.raises(ParameterError, match="do not sum to one; from 6.25 on they do"):
        block(Kind.GAUSSIAN, each, 1, 1, 1000)
    skellam = exact_sums.skellam(each)
    assert 2000 * sum(p * k * k for k, p in enumerate(skellam)) == pytest.approx(17.85)


def test_one_discrete_gaussian_may_be_narrow() -> None:
    """Nothing is summed where one party adds all noise; below the smoothing it has no reduction."""
    made = block(Kind.GAUSSIAN, 1.0, 1, 1, 1)
    with localcontext(CONTEXT):
        assert unlikeness(made) == 0
        assert [reduced(made, r) for r in SMOOTHINGS] == [None] * 3


@pytest.mark.parametrize(
    "length, squared, shares, named",
    [
        (0, 1, 1, "length must be"),
        (1 << 32, 1, 1, "length must be"),
        (1, 0, 1, "squared must be"),
        (1, 1 << 64, 1, "squared must be"),
        (1, 1, 0, "shares must be"),
        (1, 1, (1 << 20) + 1, "shares must be"),
        (True, 1, 1, "length must be"),
        (1, 1.0, 1, "squared must be"),
    ],
)
def test_numbers_that_no_block_has(length: int, squared: int, shares: int, named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        block(Kind.SKELLAM, 1.0, length, squared, shares)
