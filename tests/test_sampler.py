"""Draws of noise: specs/41-noise.md. Keys are fixed: these tests pass or fail for ever.

What is drawn is the table, exactly, and so most of this is about tables: which add up, are those
of the distribution, and are what the draws come from.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import sampler as module
from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.noise import Kind, Noise
from secagg.ring import Ring
from secagg.sampler import (
    MAX_DRAWS,
    Sampler,
    add_noise,
    columns,
    field_key,
    packed,
    sampler,
    split,
    weights,
)
from secagg.types import Seed
from tests.soak import SOAK, examples

UNIT = 1 << 127
KEY = bytes(range(32))
ANY = Ring(64)
SPREAD = [2.0**-20, 1e-3, 0.0169, 0.25, 1.0, 10.0, 16.0, 1000.5]
"""Variances: of shares that are nearly always 0, and of such as have thousands of values."""

noises = st.builds(
    Noise,
    st.sampled_from([Kind.GAUSSIAN, Kind.SKELLAM]),
    st.floats(2.0**-20, 2000.0) | st.sampled_from([2.0**-20, 1.0, 0.25]),
)


def weights_of(kind: Kind, variance: float | Fraction) -> list[int]:
    terms = module._gaussian if kind is Kind.GAUSSIAN else module._skellam
    return weights(terms(Fraction(variance)))


def drawn(noise: Noise, count: int, key: bytes = KEY, start: int = 0) -> npt.NDArray[np.int64]:
    out = np.zeros(count, np.uint64)
    add_noise(out, noise, ANY, key, start)
    return out.view(np.int64)


# Tables


@settings(max_examples=examples(100), deadline=None)
@given(noises)
def test_the_columns_have_the_weights_exactly(noise: Noise) -> None:
    exact = weights_of(noise.kind, noise.exact)
    assert sum(exact) == UNIT and min(exact) >= 0 and (len(exact) == 1 or exact[-1] > 0)
    table = columns(exact)
    assert restored(table) == exact + [0] * (len(table) - len(exact))
    numbers = packed(table).tolist()
    both = zip(numbers[::2], numbers[1::2], strict=True)
    bits = len(table).bit_length()
    assert [divmod(low + (high << 64), 1 << bits) for low, high in both] == table


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.integers(0, 2**100) | st.sampled_from([0, 1]), min_size=1, max_size=40))
def test_any_weights_have_their_columns(parts: list[int]) -> None:
    """In ascending order, descending, whatever: the queue never runs out, and all of it is used."""
    total = sum(parts) + 1
    exact = [part * UNIT // total for part in parts]
    exact[0] += UNIT - sum(exact)
    table = columns(exact)
    assert len(table) == max(2, 1 << (len(exact) - 1).bit_length())
    assert restored(table) == exact + [0] * (len(table) - len(exact))


def restored(table: Sequence[tuple[int, int]]) -> list[int]:
    """The weight of each value: what its own column keeps, and what others alias to it."""
    size = UNIT // len(table)
    found = [0] * len(table)
    for c, (threshold, alias) in enumerate(table):
        assert 0 <= threshold < size
        found[c] += threshold
        found[alias] += size - threshold
    return found


LARGE = pytest.param(4096.0**2, marks=pytest.mark.skipif(not SOAK, reason="`make soak` runs it"))


@pytest.mark.parametrize("variance", [*SPREAD, 200.0**2, LARGE])
@pytest.mark.parametrize("kind", Kind)
def test_tables_are_near_the_distribution(kind: Kind, variance: float) -> None:
    """In total variation, by another library's exponential and Bessel functions: by what the
    roundings of the weights take, and less than another weight's beside."""
    mpmath = pytest.importorskip("mpmath")
    exact = weights_of(kind, variance)
    with mpmath.workprec(260):
        apart = distance(exact, truth(mpmath, kind, variance))
    assert apart < (len(exact) + 1) / UNIT < 2.0**-110


def distance(found: Sequence[int], true: Callable[[int], Any]) -> float:
    """Half the sum of the differences; what is beyond the table is the truth's alone."""
    terms = [true(k) * (2 if k else 1) for k in range(len(found))]
    apart = sum(abs(f - term * UNIT) for f, term in zip(found, terms, strict=True)) / UNIT
    return float(apart + abs(1 - sum(terms))) / 2


def truth(mpmath: Any, kind: Kind, variance: float) -> Callable[[int], Any]:
    v = mpmath.mpf(variance)
    if kind is Kind.GAUSSIAN:
        if v <= 1:
            total = mpmath.jtheta(3, 0, mpmath.exp(-1 / (2 * v)))
        else:  # Jacobi's identity, as the series takes too long otherwise
            total = mpmath.sqrt(2 * mpmath.pi * v)
            total *= mpmath.jtheta(3, 0, mpmath.exp(-2 * mpmath.pi**2 * v))
        return lambda k: mpmath.exp(-(mpmath.mpf(k) ** 2) / (2 * v)) / total
    return skellam(mpmath, v)


def skellam(mpmath: Any, v: Any) -> Callable[[int], Any]:
    """A Bessel function each; of many, from two of them on by its ratios, a continued fraction.

    I_(k+1) / I_k = 1 / (2 (k + 1) / v + I_(k+2) / I_(k+1)), from far beyond the table.
    """
    scale = mpmath.exp(-v)
    if v < 100:
        return lambda k: scale * mpmath.besseli(k, v)
    ratio, found = mpmath.mpf(0), []
    for k in range(int(16 * mpmath.sqrt(v)), -1, -1):
        ratio = 1 / (2 * (k + 1) / v + ratio)
        found.append(ratio)
    found.append(scale * mpmath.besseli(0, v))
    terms = list(itertools.accumulate(reversed(found), lambda a, b: a * b))
    return terms.__getitem__


@pytest.mark.parametrize("kind", Kind)
def test_a_table_that_is_off_by_one_entry_is_not(kind: Kind) -> None:
    """The test above would see it."""
    mpmath = pytest.importorskip("mpmath")
    exact = weights_of(kind, 16.0)
    with mpmath.workprec(260):
        true = truth(mpmath, kind, 16.0)
        spoilt = [*exact[:7], exact[7] + (1 << 18), exact[8] - (1 << 18), *exact[9:]]
        assert distance(exact, true) < 2.0**-110 < distance(spoilt, true)
        moved = [*exact[:5], *exact[6:]]
        moved[0] += exact[5]
        assert distance(moved, true) > 0.01
        assert distance(weights_of(kind, 16.0 * (1 + 2.0**-52)), true) > 2.0**-60


@pytest.mark.parametrize(("variance", "shares"), [(0.0169, 8), (2.0**-20, 16), (3.7, 3)])
def test_skellam_shares_sum_to_skellam(variance: float, shares: int) -> None:
    """Exactly, but for the last bits: the convolution of their tables is the table of their sum."""
    one = weights_of(Kind.SKELLAM, variance)
    convolved = power(one, shares)
    whole = weights_of(Kind.SKELLAM, shares * Fraction(variance))
    whole += [0] * (len(convolved) - len(whole))
    assert sum(abs(a - b) for a, b in zip(convolved, whole, strict=True)) < shares << 18


def test_narrow_gaussian_shares_do_not() -> None:
    """Which is why they are never asked for: 1000 of deviation 0.134 have no variance at all."""
    one = weights_of(Kind.GAUSSIAN, 0.134**2)
    assert 1000 * sum(k**2 * w for k, w in enumerate(one)) < UNIT >> 20


def power(weights: Sequence[int], shares: int) -> list[int]:
    """Of |x1 + ... + xn| in units of 2^-127, rounded down."""
    both = [w << 1 if k == 0 else w for k, w in enumerate(weights)]  # in units of 2^-128
    digits = (*reversed(both[1:]), *both)
    slot = 128 * shares + 64
    number = sum(d << slot * i for i, d in enumerate(digits)) ** shares
    middle = shares * (len(weights) - 1)
    terms = [number >> slot * i & (1 << slot) - 1 for i in range(middle, 2 * middle + 1)]
    return [(t << (k > 0)) >> 128 * shares - 127 for k, t in enumerate(terms)]


# Wide noise


@settings(max_examples=examples(300), deadline=None)
@given(st.floats(2.0**24, 2.0**60) | st.sampled_from([2.0**24, 2.0**24 + 4, 2.0**60]))
def test_wide_noise_is_of_digits_that_fill_the_steps(variance: float) -> None:
    narrow, k, digits = split(Fraction(variance))
    spreads = [sum(k ** (2 * j) for j in range(n)) for n in range(digits + 1)]
    assert narrow * spreads[digits] == Fraction(variance), "exactly"
    assert narrow <= module.TABLE_VARIANCE
    for n in range(1, digits):
        inner, outer = narrow * spreads[n], narrow * spreads[n + 1]
        assert narrow * inner / outer >= 16, "the width of a convolution, squared"
    if digits > 1:
        larger = k + 1
        beyond = sum(larger ** (2 * j) for j in range(digits))
        assert variance < 16 * (1 + larger**2) * beyond, "the largest"
    assert digits == (1 if variance <= 2**24 else 2 if variance <= 1.757e13 else 3)


@pytest.mark.parametrize("k", [2, 5])
def test_digits_sum_to_a_discrete_gaussian(k: int) -> None:
    """Value by value, to 2^-100 of each: with the least width that is allowed."""
    narrow = Fraction(16 * (1 + k**2))
    one = weights_of(Kind.GAUSSIAN, narrow)
    whole = weights_of(Kind.GAUSSIAN, narrow * (1 + k**2))
    signed = {x: one[abs(x)] if x else 2 * one[0] for x in range(1 - len(one), len(one))}
    for z in (0, 1, k, 7, 40, 100):
        both = sum(signed.get(z - k * x, 0) * w for x, w in signed.items())
        expected = whole[z] << 128 if z else whole[0] << 129
        assert abs(both - expected) < expected >> 90


def test_a_width_below_would_be_seen() -> None:
    """x1 + 8 x2 with a deviation of 2 for x1 is a comb."""
    one, k = weights_of(Kind.GAUSSIAN, 4), 8
    signed = {x: one[abs(x)] if x else 2 * one[0] for x in range(1 - len(one), len(one))}
    whole = weights_of(Kind.GAUSSIAN, 4 * (1 + k**2))
    both = sum(signed.get(4 - k * x, 0) * w for x, w in signed.items())
    assert both < whole[4] << 127


# Draws


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(
        [Noise(Kind.SKELLAM, 0.0169), Noise(Kind.GAUSSIAN, 1e8), Noise(Kind.GAUSSIAN, 2.0**46)]
    ),
    st.integers(1, 64),
    st.integers(0, 1000) | st.integers(0, MAX_DRAWS - 40),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_draws_do_not_depend_on_how_the_work_is_cut(
    noise: Noise, width: int, start: int, cuts: list[int]
) -> None:
    """Nor on the lane: in each ring they are the same numbers."""
    ring = Ring(width)
    whole = np.zeros(40, np.uint64)
    add_noise(whole, noise, ANY, KEY, start)
    before = np.arange(40, dtype=ring.dtype)
    parts = ring.reduce(before)
    for a, b in itertools.pairwise([0, *sorted(cuts), 40]):
        add_noise(parts[a:b], noise, ring, KEY, start + a)
    assert parts.tolist() == [(i + int(x)) & ring.mask for i, x in enumerate(whole)]


@pytest.mark.parametrize("variance", [16.0, 1e10, 2.0**50])
def test_draws_do_not_depend_on_threads_or_chunks(
    variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise, ring = Noise(Kind.GAUSSIAN, variance), Ring(20)
    whole, shared = np.zeros(20_000, np.uint32), np.zeros(20_000, np.uint32)
    add_noise(whole, noise, ring, KEY)

    def part(a: int) -> None:
        add_noise(shared[a : a + 7001], noise, ring, KEY, a)

    threads = [threading.Thread(target=part, args=(a,)) for a in range(0, 20_000, 7001)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (shared == whole).all()
    monkeypatch.setattr(module, "CHUNK", 999)
    again = np.zeros(20_000, np.uint32)
    add_noise(again, noise, ring, KEY)
    assert (again == whole).all()


def test_other_keys_and_other_noise_draw_otherwise() -> None:
    noise = Noise(Kind.GAUSSIAN, 1e6)
    one = drawn(noise, 1000)
    for other in (drawn(noise, 1000, bytes(32)), drawn(noise, 1000, start=1000)):
        assert np.count_nonzero(one == other) < 10
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


COUNT = 10**8 if SOAK else 200_000
SAMPLED = [
    (Kind.SKELLAM, 0.13),
    (Kind.SKELLAM, 4.0),
    (Kind.GAUSSIAN, 1.0),
    (Kind.GAUSSIAN, 4.0),
    (Kind.GAUSSIAN, 64.0),
    (Kind.GAUSSIAN, 1e6),
    (Kind.GAUSSIAN, 1e8),
    *([(Kind.GAUSSIAN, 4096.0), (Kind.SKELLAM, 4096.0)] if SOAK else []),
]


@pytest.mark.parametrize(("kind", "deviation"), SAMPLED)
def test_draws_have_the_distribution(kind: Kind, deviation: float) -> None:
    """Chi-square and the first four moments, with the certainty of five deviations."""
    noise = Noise(kind, deviation**2)
    bounds, expected = bins(noise)
    assert abs(chi_square(noise, sampler(noise), bounds, expected)) < 5
    x = drawn(noise, min(COUNT, 10**6)).astype(np.float64) / deviation
    excess = 1 / deviation**2 if kind is Kind.SKELLAM else 0  # of its fourth cumulant
    spread = math.sqrt(1 / x.size)
    assert abs(x.mean()) < 5 * spread
    assert abs(np.mean(x**2) - 1) < 5 * spread * math.sqrt(2 + excess)
    if deviation >= 1:
        assert abs(np.mean(x**3)) < 5 * spread * math.sqrt(15 + 25 * excess)
        assert abs(np.mean(x**4) - 3 - excess) < 5 * spread * math.sqrt(96 + 1000 * excess)


@pytest.mark.parametrize("variance", [1e12, 1e16])
def test_digits_are_independent(variance: float) -> None:
    """A sum of equal digits, or of digits that share blocks, has residues that others lack."""
    noise = Noise(Kind.GAUSSIAN, variance)
    k, digits = sampler(noise).factor, sampler(noise).digits
    x = drawn(noise, 200_000)
    for modulus in (k - 1, k, k + 1):
        observed = np.bincount(x % modulus, minlength=modulus)
        expected = np.full(modulus, x.size / modulus)
        assert abs(deviations(observed, expected)) < 5
    assert np.count_nonzero(x % sum(k**j for j in range(digits)) == 0) < 2_000


def test_a_spoilt_column_is_seen_in_draws() -> None:
    """One threshold of one column, all values by one, the variance by a thirtieth."""
    noise = Noise(Kind.GAUSSIAN, 16.0)
    bounds, expected = bins(noise)
    right = sampler(noise)
    assert abs(chi_square(noise, right, bounds, expected)) < 5
    table = right.table.copy()
    table[2 * 7 + 1] = 0 if table[2 * 7 + 1] > 1 << 63 else np.uint64(2**64 - 1)
    assert chi_square(noise, Sampler(table, 0, 1), bounds, expected) > 10
    one = weights_of(Kind.GAUSSIAN, 16.0)
    shifted = packed(columns([0, *one]))
    assert chi_square(noise, Sampler(shifted, 0, 1), bounds, expected) > 10
    wider = sampler(Noise(Kind.GAUSSIAN, 16.5))
    assert chi_square(noise, wider, bounds, expected) > 5


@pytest.mark.parametrize("shares", [8, 100])
def test_drawn_skellam_shares_have_the_distribution_of_their_sum(shares: int) -> None:
    """n clients' shares of a count: each nearly always 0, their sum as wide as was asked for."""
    count, noise = 40_000, Noise(Kind.SKELLAM, 0.0169)
    ring, out = Ring(30), np.zeros(40_000, np.uint32)
    for i in range(shares):
        add_noise(out, noise, ring, i.to_bytes(32))
    x = (out.astype(np.int64) + (1 << 29) & (1 << 30) - 1) - (1 << 29)
    bounds, expected = bins(Noise(Kind.SKELLAM, shares * noise.variance), count)
    observed = np.diff(np.searchsorted(np.sort(x), bounds))
    assert abs(deviations(observed, expected)) < 5


def bins(noise: Noise, count: int = COUNT) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Bounds, each bin as narrow as can be with 25 draws expected, and how many are."""
    if noise.variance <= module.TABLE_VARIANCE:
        one = np.array([w / UNIT for w in weights_of(noise.kind, noise.exact)])
        one[1:] /= 2
        mass = np.concatenate([one[:0:-1], one])
        lowest = 1 - one.size
    else:  # a step is 10^-6 of the deviation: by the normal distribution, to 10^-13
        step = math.isqrt(int(noise.variance)) // 16
        lowest = -8 * 16 * step
        normal = NormalDist(0, math.sqrt(noise.variance))
        at = [normal.cdf(lowest + i * step - 0.5) for i in range(1, 16 * 16)]
        mass = np.diff([0, *at, 1])
    size = 1 if noise.variance <= module.TABLE_VARIANCE else step
    bounds, expected, held = [lowest], [], 0.0
    for i, part in enumerate(mass):
        held += part * count
        if held >= 25:
            bounds.append(lowest + (i + 1) * size)
            expected.append(held)
            held = 0.0
    expected[-1] += held
    bounds[0], bounds[-1] = -(1 << 62), 1 << 62
    return np.array(bounds), np.array(expected)


def chi_square(
    noise: Noise,
    draws: Sampler,
    bounds: npt.NDArray[np.int64],
    expected: npt.NDArray[np.float64],
) -> float:
    """Of COUNT draws, in deviations."""
    key = field_key(Seed(KEY), int(noise.kind) << 10 | int(noise.variance).bit_length())
    observed = np.zeros(expected.size, np.int64)
    chunk = min(COUNT, 1 << 20)
    words = np.empty(2 * chunk, np.uint64)
    for start in range(0, COUNT, chunk):
        out = np.zeros(min(chunk, COUNT - start), np.uint64)
        draws.add(out, words, key, start, np.uint64(ANY.mask))
        observed += np.diff(np.searchsorted(np.sort(out.view(np.int64)), bounds))
    found = deviations(observed, expected)
    if SOAK:
        name = f"{noise.kind.name} {noise.variance:g}"
        print(f"{name}: {COUNT:g} draws, {expected.size} bins, {found:+.2f} deviations")
    return found


def deviations(observed: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]) -> float:
    """Of the chi-square statistic, by Wilson and Hilferty's cube root: nearly normal."""
    statistic = float(((observed - expected) ** 2 / expected).sum())
    degrees = expected.size - 1
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    return ((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


# Refusals


def test_what_is_refused() -> None:
    narrow = Noise(Kind.SKELLAM, 1.0)
    lane = np.zeros(4, np.uint32)
    with pytest.raises(ParameterError, match="Skellam noise is drawn up to"):
        add_noise(lane, Noise(Kind.SKELLAM, 4096.0**2 + 4), Ring(32), KEY)
    for start in (-1, MAX_DRAWS - 3):
        with pytest.raises(ParameterError, match="shorter vector"):
            add_noise(lane, narrow, Ring(32), KEY, start)
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidKey, match="32 bytes"):
            add_noise(lane, narrow, Ring(32), key)
    with pytest.raises(InputError, match="ring of 33 bits"):
        add_noise(lane, narrow, Ring(33), KEY)
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for other in (np.zeros(8, np.uint32)[::2], np.zeros((2, 2), np.uint32), frozen):
        with pytest.raises(InputError, match="contiguous"):
            add_noise(other, narrow, Ring(32), KEY)
    assert not lane.any()
    add_noise(lane[:0], narrow, Ring(32), KEY)
    assert KEY.hex() not in repr(sampler(narrow)) and "array" not in repr(sampler(narrow))


def test_fields_have_keys_of_their_own() -> None:
    """41-noise.md §2.1: one that two shared would give them the same noise."""
    secret, noise = Seed(KEY), Noise(Kind.GAUSSIAN, 1e6)
    keys = [field_key(secret, number) for number in range(50)]
    assert len({KEY, *keys}) == 51 and {len(key) for key in keys} == {32}
    one, other = (drawn(noise, 1000, key) for key in keys[:2])
    assert np.count_nonzero(one == other) < 10


def test_tables_are_kept_by_value() -> None:
    assert sampler(Noise(Kind.GAUSSIAN, 5.0)) is sampler(Noise(Kind.GAUSSIAN, 5.0))
    assert sampler(Noise(Kind.GAUSSIAN, 5.0)) is not sampler(Noise(Kind.SKELLAM, 5.0))
    assert sampler.cache_info().maxsize == 16, "each is up to a megabyte"
