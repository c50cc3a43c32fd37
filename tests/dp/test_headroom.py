"""How large noisy sums become (specs/40-privacy.md §6)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from secagg.dp import headroom, integer_bound, vector_bound
from secagg.noise import Kind, Noise
from tests.dp import exact_sums
from tests.dp.test_release import inflated

Reals = npt.NDArray[np.float64]


def test_numbers() -> None:
    noise = Noise(Kind.GAUSSIAN, 16384.0)
    squared = inflated(32767, 1970)
    assert vector_bound(1970, squared, 1000, noise, 1000) == 8690448
    assert vector_bound(1970, squared, 1, noise, 1) == 8759
    assert integer_bound(10, 7, 1000, Noise(Kind.SKELLAM, 0.0179), 1000) == 7045


@pytest.mark.parametrize("variance", [0.02, 1.0, 20.0, 400.0])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_tails_of_noise_hold_exactly(
    monkeypatch: pytest.MonkeyPatch, variance: float, bits: int
) -> None:
    """At chances that exact sums of probabilities can tell; and no idle bound."""
    monkeypatch.setattr(headroom, "WRAP", bits)
    for kind in (Kind.GAUSSIAN, Kind.SKELLAM):
        bound = integer_bound(1, 1, 1, Noise(kind, variance), 1) - 1
        beyond = beyond_of(kind, variance, bound)
        assert beyond <= 2.0**-bits
        if variance >= 20:
            assert beyond > 2.0 ** -(1.5 * bits + 4)


def beyond_of(kind: Kind, variance: float, bound: int) -> float:
    if kind is Kind.SKELLAM:
        return 2 * float(exact_sums.skellam(variance)[bound + 1 :].sum())
    weights = exact_sums.gaussian(variance, 60 + int(16 * variance**0.5))
    return float(sum(p for x, p in weights.items() if abs(x) > bound))


@cache
def hadamard(size: int) -> Reals:
    made = np.ones((1, 1))
    while made.shape[0] < size:
        made = np.block([[made, made], [made, -made]])
    return made / math.sqrt(size)


def rotated(columns: Reals, rng: np.random.Generator) -> Reals:
    """§2.2: signs, Hadamard on the first power of two, then on the last, with signs of its own."""
    length = len(columns)
    filled = 1 << (length.bit_length() - 1)
    made = columns * rng.choice([-1, 1], length)[:, None]
    made[:filled] = hadamard(filled) @ made[:filled]
    if filled < length:
        made[-filled:] = hadamard(filled) @ (made[-filled:] * rng.choice([-1, 1], filled)[:, None])
    return made


@pytest.mark.parametrize("length", [16, 17, 31])
def test_rotated_coordinates_stay_within_their_bound(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """§6.2 with 2,000 rotations of the worst sums, of units that all are alike, at 2^-4."""
    monkeypatch.setattr(headroom, "WRAP", 4)
    rng = np.random.default_rng(length)
    units, levels = 50, 1000
    noise = Noise(Kind.SKELLAM, 2.0**-20)
    bound = vector_bound(length, levels**2, units, noise, 1)
    flat = np.ones(length) / math.sqrt(length)
    spike = np.eye(length)[-1]
    half = np.concatenate((np.ones(length // 2), np.zeros(length - length // 2)))
    sums = units * levels * np.stack([flat, spike, half / np.linalg.norm(half)], axis=1)
    wrapped = np.zeros(3)
    for _ in range(2000):
        wrapped += (np.abs(rotated(sums, rng)) > bound - units).any(axis=0)
    assert (wrapped <= 125 + 5 * math.sqrt(125)).all(), "2^-4, and 5 deviations of a binomial"


def test_a_rotation_that_spreads_nothing_is_bounded_by_the_aligned_sum() -> None:
    noise = Noise(Kind.GAUSSIAN, 100.0)
    assert vector_bound(1, 101**2, 1000, noise, 1000) == 101 * 1000 + 2385
    assert vector_bound(1, 101**2, 1000, noise, 1000) == integer_bound(1, 101, 1000, noise, 1000)


def test_bounds_grow_with_everything() -> None:
    noise, more = Noise(Kind.GAUSSIAN, 100.0), Noise(Kind.GAUSSIAN, 10000.0)
    base = vector_bound(1000, 10**6, 100, noise, 100)
    assert vector_bound(1000, 4 * 10**6, 100, noise, 100) > base
    assert vector_bound(1000, 10**6, 101, noise, 100) > base
    assert vector_bound(1000, 10**6, 100, more, 100) > base
    assert vector_bound(1000, 10**6, 100, more, 200) > vector_bound(1000, 10**6, 100, more, 100)
    assert vector_bound(1024, 10**6, 100, noise, 100) < base, "spread over twice as many"
    counts = integer_bound(1, 3, 100, noise, 100)
    assert integer_bound(1000, 3, 100, noise, 100) > counts
    skellam = Noise(Kind.SKELLAM, 100.0)
    assert integer_bound(1, 3, 100, skellam, 100) > counts, "its tail is heavier"
