"""Secret sharing of specs/10-secagg.md §6."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import shamir
from secagg.errors import CryptoError, InvalidShare, ParameterError
from secagg.kernels import reference
from secagg.shamir import SHARE_SIZE, P, check_share, combine, split
from secagg.types import Seed
from tests.soak import examples

SECRET = Seed(bytes(range(1, 33)))
seeds = st.binary(min_size=32, max_size=32).map(Seed) | st.sampled_from(
    [Seed(bytes(32)), Seed(b"\xff" * 32)]
)


def script(*draws: bytes) -> Callable[[int], bytes]:
    """Randomness that gives these draws in order, and insists on their sizes."""
    left = list(draws)

    def randomness(size: int) -> bytes:
        draw = left.pop(0)
        assert len(draw) == size
        return draw

    return randomness


def share(*limbs: int) -> bytes:
    return b"".join(limb.to_bytes(8) for limb in limbs)


@settings(max_examples=examples(100), deadline=None)
@given(seeds, st.integers(1, 12), st.data())
def test_any_threshold_of_shares_rebuild(secret: Seed, n: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, n))
    holders = data.draw(st.lists(st.integers(1, P - 1), min_size=n, max_size=n, unique=True))
    shares = dict(zip(holders, split(secret, threshold, holders, os.urandom), strict=True))
    chosen = data.draw(st.permutations(holders))[:threshold]
    assert combine({x: shares[x] for x in chosen}, threshold) == secret
    assert combine(shares, threshold) == secret


def test_layout_of_limbs_and_draws() -> None:
    """Limb by limb, power by power, against polynomials evaluated in Python ints."""
    coefficients = [[1000 * limb + power for power in (1, 2)] for limb in range(5)]
    draw = b"".join(c.to_bytes(8) for row in coefficients for c in row)
    shares = split(SECRET, 3, [1, 2, 7], script(draw))
    secret = SECRET.expose()
    limbs = [int.from_bytes(secret[7 * j : 7 * j + 7], "little") for j in range(5)]
    rows = [limbs, [row[0] for row in coefficients], [row[1] for row in coefficients]]
    assert shares == [share(*values) for values in reference.evaluate(rows, [1, 2, 7])]


def test_only_the_low_61_bits_of_a_draw_count() -> None:
    low = (12345).to_bytes(8) * 5
    high = (12345 | 7 << 61).to_bytes(8) * 5
    assert split(SECRET, 2, [1, 2], script(low)) == split(SECRET, 2, [1, 2], script(high))


def test_a_draw_of_p_is_redrawn_in_order() -> None:
    """Reduced modulo p it would make the coefficient 0 twice as likely as any other."""
    refused, zero = P.to_bytes(8), bytes(8)
    first = b"".join([refused, zero, refused, zero, zero])
    redraws = [b"\xff" * 8, (5).to_bytes(8), (6).to_bytes(8)]  # the first is p again
    expected = b"".join([(5).to_bytes(8), zero, (6).to_bytes(8), zero, zero])
    holders = [1, 2]
    assert split(SECRET, 2, holders, script(first, *redraws)) == split(
        SECRET, 2, holders, script(expected)
    )


def test_top_coefficients_may_be_zero() -> None:
    """A non-zero top coefficient would leak: re-sharings then exclude candidates."""
    assert split(SECRET, 2, [1, 9], script(bytes(40))) == split(SECRET, 1, [1, 9], script(b""))


def test_fewer_than_threshold_shares_fit_every_secret() -> None:
    """For each secret there is exactly one draw that gives the shares somebody else sees."""
    shares = split(SECRET, 3, [1, 2, 3], script(bytes(range(80))))
    seen = [[int.from_bytes(s[i : i + 8]) for i in range(0, 40, 8)] for s in shares[:2]]
    other = Seed(b"\x5a" * 32)
    target = [int.from_bytes(other.expose()[7 * j : 7 * j + 7], "little") for j in range(5)]
    draw = b""
    for limb in range(5):
        y1, y2 = ((seen[x][limb] - target[limb]) % P for x in (0, 1))
        # y1 = a + b and y2 = 2a + 4b
        b = (y2 - 2 * y1) * pow(2, -1, P) % P
        draw += ((y1 - b) % P).to_bytes(8) + b.to_bytes(8)
    assert split(other, 3, [1, 2, 3], script(draw))[:2] == shares[:2]


def test_shares_are_uniform() -> None:
    """One share's top bits over many sharings of one secret: chi-square with 15 degrees."""
    stream = np.random.default_rng(1)
    counts: Counter[int] = Counter()
    for _ in range(400):
        [data] = split(SECRET, 2, [3, 4], stream.bytes)[:1]
        counts.update(int.from_bytes(data[i : i + 8]) >> 57 for i in range(0, 40, 8))
    expected = 400 * 5 / 16
    assert sum((counts[i] - expected) ** 2 / expected for i in range(16)) < 37.7  # p = 0.001


@pytest.mark.parametrize(
    ("threshold", "holders"),
    [(0, [1, 2]), (3, [1, 2]), (1, []), (2, [1, 1]), (1, [0, 1]), (1, [P]), (1, [P + 1]),
     (1, [-1]), (1, [True])],
)  # fmt: skip
def test_bad_holders_and_thresholds(threshold: int, holders: list[int]) -> None:
    """Row 55: x = 0, x = 0 modulo p, and repeated x are never dealt."""
    with pytest.raises(ParameterError):
        split(SECRET, threshold, holders, os.urandom)


def test_a_short_read_of_randomness_is_refused() -> None:
    """Row 62."""
    with pytest.raises(CryptoError, match="39 of 40"):
        split(SECRET, 2, [1, 2], lambda size: bytes(size - 1))


@pytest.mark.parametrize(
    "data", [b"", bytes(39), bytes(41), share(P, 0, 0, 0, 0), share(0, 0, 0, 0, 2**64 - 1)]
)
def test_bad_shares(data: bytes) -> None:
    """Row 55: wrong length, empty, or a limb that is not below p."""
    with pytest.raises(InvalidShare):
        check_share(data)
    with pytest.raises(InvalidShare):
        combine({1: data, 2: bytes(40)}, 2)


def test_the_largest_limb_is_a_share() -> None:
    check_share(share(P - 1, 0, 0, 0, P - 1))
    check_share(memoryview(bytes(SHARE_SIZE)))


@pytest.mark.parametrize("x", [0, -1, P, P + 1, True])
def test_bad_points_in_combine(x: int) -> None:
    with pytest.raises(InvalidShare, match="x is outside"):
        combine({x: bytes(40), 2: bytes(40)}, 1)


def test_too_few_shares() -> None:
    shares = dict(enumerate(split(SECRET, 3, [1, 2, 3], os.urandom), start=1))
    del shares[2]
    with pytest.raises(InvalidShare, match="3 shares are needed, 2 given"):
        combine(shares, 3)
    with pytest.raises(ParameterError):
        combine(shares, 0)


def test_the_smallest_points_are_used() -> None:
    """A stated choice, so that two servers rebuild alike from a set that holds a bad share."""
    shares = dict(zip([5, 2, 9], split(SECRET, 2, [5, 2, 9], os.urandom), strict=True))
    shares[9] = b"\xff" * 40  # never looked at
    assert combine(shares, 2) == SECRET


@pytest.mark.parametrize("limbs", [(2**56, 0, 0, 0, 0), (0, 0, 0, 2**56, 0), (0, 0, 0, 0, 2**32)])
def test_a_rebuilt_limb_out_of_range(limbs: tuple[int, ...]) -> None:
    """Row 57: such a polynomial hides no secret; the dealer or a holder lied."""
    with pytest.raises(InvalidShare, match="out of its range"):
        combine({4: share(*limbs)}, 1)
    assert combine({4: share(*(limb - bool(limb) for limb in limbs))}, 1)


def test_a_wrong_share_never_gives_the_secret() -> None:
    """Row 56, as far as sharing alone goes: another secret or InvalidShare, never this one."""
    shares = dict(enumerate(split(SECRET, 2, [1, 2], os.urandom), start=1))
    for byte in range(SHARE_SIZE):
        wrong = bytearray(shares[1])
        wrong[byte] ^= 1
        try:
            rebuilt = combine({1: bytes(wrong), 2: shares[2]}, 2)
        except InvalidShare:
            continue
        assert rebuilt != SECRET


def test_weights_are_cached_by_points_and_read_only() -> None:
    weights = shamir.weights((1, 2, 3))
    assert weights is shamir.weights((1, 2, 3))
    assert [weights.tolist()] == reference.lagrange([1, 2, 3], [0])
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = np.uint64(0)


def test_every_subset_of_a_larger_sharing() -> None:
    shares = dict(enumerate(split(SECRET, 4, range(1, 8), os.urandom), start=1))
    for subset in itertools.combinations(shares, 4):
        assert combine({x: shares[x] for x in subset}, 4) == SECRET
