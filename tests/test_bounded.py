"""Vectors of a bounded norm as integers of one (specs/40-privacy.md §2)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.bounded import SLACK, TRIES, norm_of, round_vector, unrotate
from secagg.errors import ParameterError, RangeError
from secagg.fields import MAX_VECTOR, Vector, rounded_norm_squared
from secagg.rotate import rotate, rotate_back
from tests.test_mask import stream

SEED = bytes(range(32))


def taped(first: int = 0) -> Callable[[int], bytes]:
    """A source that counts: key i is 32 bytes of i."""
    keys = iter(range(first, 256))
    return lambda size: bytes([next(keys)]) * size


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 2**29 - 1), st.integers(1, MAX_VECTOR))
def test_the_largest_norm_is_the_formula_rounded_down(levels: int, length: int) -> None:
    """floor(C^2 + C + d/4 + sqrt(d)/2), in exact integers; and what rounds all away is longer."""
    found = rounded_norm_squared(levels, length)
    more = 4 * (found - levels**2 - levels) - length  # at most 2 sqrt d
    assert more <= 0 or more**2 <= 4 * length
    assert more + 4 > 0 and (more + 4) ** 2 > 4 * length
    assert found <= levels**2 + length + math.isqrt(4 * levels**2 * length)
    assert found >= levels**2 + levels, "what towards-zero rests on"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40),
    st.floats(0.01, 1e4),
    st.integers(2, 30),
)
def test_no_integer_vector_is_longer_and_it_stands_for_the_input(
    values: list[float], norm: float, bits: int
) -> None:
    field = Vector(len(values), norm, bits)
    levels, clipped = round_vector(np.array(values), field, SEED, os.urandom)
    assert sum(int(x) ** 2 for x in levels) <= field.norm_squared
    length = math.hypot(*values)
    assert clipped == (length > norm) or math.isclose(length, norm, rel_tol=1.01 * SLACK)
    wanted = np.array(values) * min(1, norm / length if length else 1)
    found = unrotate(levels, field, SEED)
    assert np.linalg.norm(found - wanted) <= field.step * (math.sqrt(len(values)) + 1e-6)


def test_element_i_of_a_try_is_rounded_by_that_of_its_key_s_stream() -> None:
    field = Vector(9, 1.0, 8)
    values = np.arange(9) / 30
    reals = values.copy()
    rotate(reals, SEED, field.levels / field.norm)
    uniform = stream(bytes(32), 32, 0, 9)
    below = np.floor(reals)
    expected = [
        int(b) + (u < math.floor((y - b) * 2**32))
        for y, b, u in zip(reals, below, uniform, strict=True)
    ]
    assert sum(x * x for x in expected) <= field.norm_squared, "the first try is accepted"
    found, clipped = round_vector(values, field, SEED, taped())
    assert found.tolist() == expected and not clipped


def test_a_try_that_is_too_long_is_made_again_and_in_the_end_towards_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field = Vector(5, 1.0, 3)
    drawn: list[int] = []

    def away(part: Any, key: bytes, sign: int, first: int) -> None:
        drawn.append(first)
        part.fill(0)  # every element with a fraction goes up

    def draw(size: int) -> bytes:
        return bytes(size)

    monkeypatch.setattr("secagg.bounded.add_stream", away)
    monkeypatch.setattr("secagg.bounded.math.isqrt", lambda limit: -1)  # none is within it
    found, _ = round_vector(np.full(5, 0.3), field, SEED, draw)
    assert len(drawn) == TRIES == 100
    reals = np.full(5, 0.3)
    rotate(reals, SEED, field.levels / field.norm)
    assert found.tolist() == np.trunc(reals).tolist()
    assert (found**2).sum() <= field.norm_squared


def test_how_much_is_rounded_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither which random numbers nor which tries are taken: of C = 1 and five elements of 0.44,
    four may be rounded away from zero, together."""
    field, values = Vector(5, 1.0, 2), np.full(5, 0.44)
    rotate_back(values, SEED, 1.0)
    whole = [round_vector(values, field, SEED, taped(first))[0].tolist() for first in range(200)]
    monkeypatch.setattr("secagg.bounded.CHUNK", 2)
    parts = [round_vector(values, field, SEED, taped(first))[0].tolist() for first in range(200)]
    assert parts == whole
    assert max(sum(x * x for x in levels) for levels in whole) == field.norm_squared == 4


@pytest.mark.parametrize("bits", [2, 16, 30])
@pytest.mark.parametrize("length", [1, 2, 3, 1000, 4096])
def test_towards_zero_is_never_longer(bits: int, length: int) -> None:
    """§2.4: however the floats of clip and rotation err."""
    field = Vector(length, 0.7, bits)
    for seed in range(20):
        values = np.random.default_rng(seed).normal(size=length)
        reals = values * 1e5
        rotate(reals, SEED, field.levels / float(np.linalg.norm(reals)))
        assert sum(int(x) ** 2 for x in np.trunc(reals)) <= field.norm_squared


@pytest.mark.parametrize("scale", [1e300, 1.7e308, 1e-300, 5e-324, 1e-160])
def test_vectors_whose_squares_no_float_holds(scale: float) -> None:
    """Row 112."""
    field = Vector(4, 1.0, 20)
    levels, clipped = round_vector(np.full(4, scale), field, SEED, os.urandom)
    assert clipped == (scale > 1)
    wanted = 0.5 if clipped else 0.0
    np.testing.assert_allclose(unrotate(levels, field, SEED), wanted, atol=3 * field.step)


@pytest.mark.parametrize("norm", [2.0**-500, 2.0**500])
def test_the_smallest_and_the_largest_norm(norm: float) -> None:
    field = Vector(3, norm, 20)
    for scale, clipped in ((0.1, False), (8.0, True)):
        levels, was = round_vector(np.full(3, norm * scale), field, SEED, os.urandom)
        assert was == clipped
        found = unrotate(levels, field, SEED) / norm
        np.testing.assert_allclose(found, min(scale, 3**-0.5), atol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_by_its_index(bad: float) -> None:
    """Row 112."""
    values = np.ones(5)
    values[3] = bad
    with pytest.raises(RangeError, match="field 'x': NaN or infinite at index 3"):
        round_vector(values, Vector(5, 1.0, 16), SEED, os.urandom, "field 'x'")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i1", "u8", np.longdouble])
def test_any_type_of_reals(dtype: Any) -> None:
    field = Vector(4, 100.0, 24)
    values = np.array([3, 0, 1, 2], dtype)
    levels, clipped = round_vector(values, field, SEED, os.urandom)
    assert not clipped
    np.testing.assert_allclose(unrotate(levels, field, SEED), [3, 0, 1, 2], atol=1e-4)


def test_zeros_are_zeros() -> None:
    levels, clipped = round_vector(np.zeros(7), Vector(7, 1.0, 16), SEED, os.urandom)
    assert not levels.any() and not clipped


@pytest.mark.parametrize(("levels", "length"), [(1, 5), (1, 9), (3, 6), (3, 10), (7, 11)])
def test_what_is_taken_is_hardly_biased(levels: int, length: int) -> None:
    """§2, in exact probabilities: all 2^d outcomes of vectors of norm C."""
    limit, generator = rounded_norm_squared(levels, length), np.random.default_rng(length)
    ups = (np.arange(1 << length)[:, None] >> np.arange(length)) & 1
    for shape in (np.ones(length), *generator.normal(size=(20, length))):
        reals = shape * levels / np.linalg.norm(shape)
        below = np.floor(reals)
        chances = np.where(ups, reals - below, 1 - (reals - below)).prod(axis=1)
        taken = ((below + ups) ** 2).sum(axis=1) <= limit
        accepted = chances[taken].sum()
        assert accepted >= 1 - math.exp(-0.5)
        mean = (chances[taken] @ (below + ups)[taken]) / accepted
        bias = np.linalg.norm(mean - reals)
        assert bias <= math.sqrt(max(0.0, 1 - accepted)) / (2 * accepted) + 1e-7


@pytest.mark.parametrize("length", [1, 3, 1025, 70_000])
def test_floats_lengthen_nothing(length: int) -> None:
    """§2's lemma, against sums without rounding errors."""
    for seed in range(3):
        values = np.random.default_rng(seed).normal(size=length)
        values[0] = 2.0**seed  # which rounds what is small beside it
        norm, exponent = norm_of(values)
        values *= math.ldexp(1.0, -exponent)
        assert abs(norm / math.sqrt(math.fsum(values * values)) - 1) < 1537 * 2.0**-53
        levels = (1 << 29) - 1
        rotate(values, bytes([seed]) * 32, levels / norm)
        assert math.sqrt(math.fsum(values * values)) <= levels * (1 + 2.0**-42)


def test_rounding_is_unbiased_among_keys() -> None:
    """The mean of many roundings: within 5 deviations, of at most 1/2 each."""
    field, values = Vector(3, 1.0, 3), np.array([0.3, -0.2, 0.1])
    reals = values.copy()
    rotate(reals, SEED, field.levels / field.norm)
    many = 4000
    total = sum(round_vector(values, field, SEED, os.urandom)[0] for _ in range(many))
    assert np.abs(total / many - reals).max() < 5 * 0.5 / math.sqrt(many)


def test_examples_are_rounded_alone_as_a_sum_that_is_rounded_moves_further() -> None:
    """§2.6: C = 100, D = 1024. One example more may move the rounding of all the others."""
    bound = rounded_norm_squared(100, 1024)
    assert math.isclose(math.sqrt(bound), 101.84, abs_tol=0.01)
    generator = np.random.default_rng(7)
    furthest = 0.0
    for _ in range(30):
        example = generator.normal(size=1024)
        example *= 100 / np.linalg.norm(example)
        rest = generator.normal(size=1024) * 3
        both, one = (np.floor(x + generator.random(1024)) for x in (rest + example, rest))
        furthest = max(furthest, float(np.linalg.norm(both - one)))
    assert furthest > math.sqrt(bound)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, 1.0, 16), "length"),
        ((1 << 30, 1.0, 16), "length"),
        ((4, 0.0, 16), "norm must be from"),
        ((4, -1.0, 16), "norm must be from"),
        ((4, math.inf, 16), "norm must be a finite number"),
        ((4, math.nan, 16), "norm must be a finite number"),
        ((4, 5e-324, 16), "norm must be from"),
        ((4, 1e300, 16), "norm must be from"),
        ((4, 1.0, 1), "bits"),
        ((4, 1.0, 31), "bits"),
    ],
)
def test_what_is_no_vector(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Vector(*given)


def test_numbers_of_numpy_are_python_s() -> None:
    field = Vector(np.int64(4), np.float32(0.5), np.uint8(16))  # type: ignore[arg-type]
    assert field == Vector(4, 0.5, 16) and type(field.norm) is float
    assert Fraction(field.step) == Fraction(0.5 / 32767)


def test_a_vector_that_was_brought_to_the_norm_is_not_called_longer() -> None:
    """In float32 or float64 it may be beyond by a rounding error; and it is within all the same."""
    field = Vector(500, 1.0, 20)
    for seed in range(40):
        values = np.random.default_rng(seed).normal(size=500).astype("f4" if seed % 2 else "f8")
        values /= np.linalg.norm(values)
        levels, clipped = round_vector(values, field, SEED, os.urandom)
        assert not clipped and sum(int(x) ** 2 for x in levels) <= field.norm_squared
    assert round_vector(values * 1.001, field, SEED, os.urandom)[1]


@pytest.mark.parametrize("bits", [2, 4, 16, 30])
@pytest.mark.parametrize("length", [1, 2, 5, 64, 65, 1000])
def test_no_element_is_rounded_further_than_the_bound(bits: int, length: int) -> None:
    field = Vector(length, 3.0, bits)
    assert 0 < field.max_error <= field.step * (math.sqrt(length) + 1e-3)
    rng = np.random.default_rng(length)
    for seed in range(20):
        x = rng.normal(size=length) if seed % 2 else np.eye(length)[seed % length]
        x *= 3.0 / np.linalg.norm(x) * (1 - 1e-12)
        key = bytes([seed]) * 32
        levels, long = round_vector(x, field, key, os.urandom)
        assert not long and abs(unrotate(levels, field, key) - x).max() <= field.max_error
