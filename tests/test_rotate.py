"""The random rotation (specs/40-privacy.md §2.2)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import hadamard as sylvester

from secagg.kernels import rotate as kernels
from secagg.rotate import SECOND, Reals, rotate, rotate_back, width
from tests.test_mask import stream

SEED = bytes(range(32))
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100)


def signs(start: int, count: int) -> Reals:
    data = np.array(stream(SEED, 8, start, -(-count // 8)), np.uint8)
    return 1.0 - 2.0 * np.unpackbits(data, bitorder="little")[:count]


def exactly(length: int) -> Reals:
    """U as a matrix, from its definition."""
    wide = width(length)
    small = sylvester(wide) / math.sqrt(wide)
    first, last = np.eye(length), np.eye(length)
    first[:wide, :wide] = small
    turned = first @ np.diag(signs(0, length))
    if wide == length:
        return turned
    last[length - wide :, length - wide :] = small
    second = np.ones(length)
    second[length - wide :] = signs(SECOND, wide)
    return last @ np.diag(second) @ turned


@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_its_definition(length: int) -> None:
    assert 8 * SECOND == 1 << 30, "the longest vector's signs end there"
    matrix = exactly(length)
    for column in np.eye(length):
        turned = column.copy()
        rotate(turned, SEED, 3.0)
        np.testing.assert_allclose(turned, 3 * matrix @ column, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_way_back(length: int) -> None:
    values = np.random.default_rng(length).normal(size=length)
    turned = values.copy()
    rotate(turned, SEED, 2.0)
    assert math.isclose(np.linalg.norm(turned), 2 * np.linalg.norm(values))
    rotate_back(turned, SEED, 0.5)
    np.testing.assert_allclose(turned, values, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 8, 1 << 12, 1 << 13, 1 << 14, 1 << 15])
def test_the_order_of_butterflies_changes_no_bit(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    plain = values.copy()
    distance = 1
    while distance < size:
        pairs = plain.reshape(-1, 2, distance)
        pairs[:] = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        distance *= 2
    kernels.hadamard(values)
    assert values.tobytes() == plain.tobytes()


@pytest.mark.parametrize("length", [65, 96, 127, 128, 1000])
def test_no_element_stands_out(length: int) -> None:
    """Each is subgaussian with the proxy 1/D: among seeds, e_1 has no element above it at 2^-30."""
    bound = math.sqrt(2 * 30 * math.log(2) / width(length))
    for seed in range(50):
        for values in (np.eye(1, length)[0], np.eye(1, length, length - 1)[0], np.ones(length)):
            turned = values / np.linalg.norm(values)
            rotate(turned, seed.to_bytes(32), 1.0)
            assert np.abs(turned).max() < bound


def test_without_the_second_signs_one_would() -> None:
    """Just above a power of two, the second transform undoes the first where they overlap."""
    length, wide = 65, 64
    values = np.eye(1, length, 40)[0]
    rotate(values, SEED, 1.0)
    last = values[length - wide :]
    kernels.hadamard(last)  # back to what S2 was put on
    last *= signs(SECOND, wide) / math.sqrt(wide)
    kernels.hadamard(last)
    last /= math.sqrt(wide)
    assert np.abs(values).max() > 0.75


def test_a_sum_of_squares_is_of_sums_of_1024() -> None:
    values = np.full((1 << 21) + 5, 0.1)
    found = kernels.squared_norm(values, 1.0)
    assert abs(found / (values.size * math.fsum([0.1 * 0.1])) - 1) < 2.0**-41
    assert abs(np.cumsum(values * values)[-1] / found - 1) > 2.0**-41, "one long sum is worse"
