"""specs/10-secagg.md §6: GF(2^61 - 1) against Python ints."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.kernels import field as kernels
from secagg.kernels import reference
from tests.kernels.sampling import examples

P = reference.P
EDGES = [0, 1, 2, 2**30, 2**31 - 1, 2**31, 2**60, P - 2**31, P - 2, P - 1]
elements = st.sampled_from(EDGES) | st.integers(0, P - 1)
points = st.lists(st.integers(1, P - 1), min_size=1, max_size=12, unique=True)


def array(values: object) -> np.ndarray:
    return np.array(values, np.uint64)


def test_edges_multiply() -> None:
    for a, b in product(EDGES, repeat=2):
        assert int(kernels.multiply(np.uint64(a), np.uint64(b))) == reference.multiply(a, b)


@settings(max_examples=examples(300), deadline=None)
@given(elements, elements)
def test_multiply_is_the_oracle(a: int, b: int) -> None:
    assert int(kernels.multiply(np.uint64(a), np.uint64(b))) == reference.multiply(a, b)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**64 - 1) | st.sampled_from([P - 1, P, P + 1, 2 * P, 7 * P, 2**64 - 1]))
def test_reduce_takes_any_word(a: int) -> None:
    assert int(kernels.reduce(np.uint64(a))) == a % P


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(1, P - 1))
def test_inverse(a: int) -> None:
    assert reference.multiply(int(kernels.inverse(np.uint64(a))), a) == 1


def test_zero_has_no_inverse() -> None:
    assert int(kernels.inverse(np.uint64(0))) == 0


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.lists(elements, min_size=5, max_size=5), min_size=1, max_size=6), points)
def test_evaluate_is_the_oracle(coefficients: list[list[int]], xs: list[int]) -> None:
    out = np.empty((len(xs), 5), np.uint64)
    kernels.evaluate(out, array(coefficients), array(xs))
    assert out.tolist() == reference.evaluate(coefficients, xs)


@settings(max_examples=examples(50), deadline=None)
@given(points)
def test_barycentric_weights_are_the_oracle(xs: list[int]) -> None:
    assert barycentric(xs).tolist() == reference.barycentric(xs)


def barycentric(xs: list[int]) -> np.ndarray:
    out = np.empty(len(xs), np.uint64)
    kernels.barycentric(out, array(xs), np.empty_like(out))
    return out


@settings(max_examples=examples(50), deadline=None)
@given(points, st.lists(elements, max_size=4))
def test_lagrange_weights_are_the_oracle(xs: list[int], at: list[int]) -> None:
    """At the points themselves too: there a row has a single 1."""
    at = [0, xs[0], *at]
    out = np.empty((len(at), len(xs)), np.uint64)
    kernels.lagrange(out, array(xs), barycentric(xs), array(at))
    assert out.tolist() == reference.lagrange(xs, at)
    assert out[1].tolist() == [1] + [0] * (len(xs) - 1)


@settings(max_examples=examples(50), deadline=None)
@given(points, st.integers(0, 5), st.data())
def test_syndromes_are_the_oracle(xs: list[int], rows: int, data: st.DataObject) -> None:
    shares = [data.draw(st.lists(elements, min_size=5, max_size=5)) for _ in xs]
    weights = barycentric(xs)
    out = np.empty((rows, 5), np.uint64)
    kernels.syndromes(out, array(shares), array(xs), weights)
    assert out.tolist() == reference.syndromes(shares, xs, weights.tolist(), rows)


def test_syndromes_of_a_polynomial_are_zero() -> None:
    xs, coefficients = [1, 2, 5, 9, 11], [[7, 0, 3, 1, 9], [1, 2, 3, 4, 5]]
    out = np.empty((4, 5), np.uint64)
    kernels.syndromes(out, array(reference.evaluate(coefficients, xs)), array(xs), barycentric(xs))
    assert not out[:3].any()
    assert out[3].any()  # a row more than m - t sees the degree


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.tuples(elements, st.lists(elements, min_size=5, max_size=5)), min_size=1))
def test_combine_is_the_oracle(cases: list[tuple[int, list[int]]]) -> None:
    weights = [w for w, _ in cases][:20]
    shares = [share for _, share in cases][:20]
    read_only = array(weights)
    read_only.setflags(write=False)
    out = np.empty(5, np.uint64)
    kernels.combine(out, array(shares), read_only)
    assert out.tolist() == reference.combine(shares, weights)
