"""Which of some shares are wrong: the shares of a secret as a Reed-Solomon code over GF(2^61 - 1).

Limb j of the shares at m points is a codeword of length m and dimension t, so up to (m - t) / 2
wrong ones can be told from the others by counting (specs/10-secagg.md §9, S7). What is found is the
one polynomial of degree below t that near to the shares; any decoder finds the same. This one runs
Berlekamp and Massey's algorithm on the syndromes of a generalised Reed-Solomon code (Roth,
*Introduction to Coding Theory*, 2006, chapters 5 and 6), where honest shares cost least: theirs
are all 0.

Nothing is authenticated here: whoever decodes checks the secret against what its dealer published.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg import shamir
from secagg.errors import InvalidShare, ParameterError
from secagg.kernels import field as kernels
from secagg.shamir import LIMBS, P
from secagg.shown import short
from secagg.types import Seed

_Elements = npt.NDArray[np.uint64]
_P = np.uint64(P)


@dataclass(frozen=True, slots=True)
class Answers:
    """Shares of one secret, or what was answered in their place. points: their x, ascending.

    data: SHARE_SIZE bytes for each, which `shamir.check_shares` has passed.
    """

    points: tuple[int, ...]
    data: bytes = field(repr=False)

    __repr__ = short

    @classmethod
    def of(cls, shares: Mapping[int, bytes]) -> Answers:
        points = tuple(sorted(shares))
        return cls(points, b"".join(shares[x] for x in points))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def elements(self) -> _Elements:
        """Shape (m, LIMBS)."""
        return np.frombuffer(self.data, ">u8").astype(np.uint64).reshape(-1, LIMBS)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The secret of one polynomial a limb. wrong: the x of the shares that are not on all five."""

    secret: Seed
    wrong: frozenset[int]

    __repr__ = short


def challenge(answers: Sequence[Answers], session: bytes) -> bytes:
    """What `read` asks, known only once every answer is fixed. 32 bytes."""
    asked = hashlib.sha256(session)
    for one in answers:
        asked.update(len(one).to_bytes(4))
        asked.update(one.data)
    return asked.digest()


def read(answers: Answers, threshold: int, challenge: bytes) -> tuple[Seed | None, bool]:
    """The secret by the shares of smallest x, and whether the others agree with them.

    None if a limb of it is out of its range. The others are asked all at once, for a random sum of
    how far each is off, so it takes m multiplications a limb and not t (m - t): wrong shares that
    were chosen before the challenge pass with probability 2^-61.
    """
    at_zero, row = _reading(answers.points, threshold, challenge)
    limbs, off, elements = np.empty(LIMBS, np.uint64), np.empty(LIMBS, np.uint64), answers.elements
    kernels.combine(limbs, elements[:threshold], at_zero)
    kernels.combine(off, elements, row)
    return _secret(limbs), not off.any()


def through(answers: Answers, chosen: Sequence[int]) -> Decoded | None:
    """By the shares of the chosen x alone, as many as the threshold; None if a limb of the secret
    is out of its range."""
    taken, elements = frozenset(chosen), answers.elements
    others = [x for x in answers.points if x not in taken]
    given = elements[[bisect_left(answers.points, x) for x in chosen]]
    rows = _rows(np.array(chosen, np.uint64), np.array([0, *others], np.uint64))
    limbs = np.empty((len(rows), LIMBS), np.uint64)
    for row, weights in enumerate(rows):
        kernels.combine(limbs[row], given, weights)
    return _compared(answers, others, limbs)


def around(
    answers: Answers, chosen: Sequence[int], apart: Sequence[int], challenge: bytes
) -> Decoded | None:
    """What `through` gives, if no share but those of `apart` is off; None if another is.

    Takes (2 + |apart|) m multiplications a limb where points, chosen and apart repeat. The others
    are asked as in `read`, with the same chance that wrong ones pass.
    """
    others = tuple(sorted(set(apart).difference(chosen)))
    rows, row = _around(answers.points, tuple(chosen), others, challenge)
    elements = answers.elements
    off, limbs = np.empty(LIMBS, np.uint64), np.empty((len(rows), LIMBS), np.uint64)
    kernels.combine(off, elements, row)
    if off.any():
        return None
    given = elements[[bisect_left(answers.points, x) for x in chosen]]
    for number, weights in enumerate(rows):
        kernels.combine(limbs[number], given, weights)
    return _compared(answers, others, limbs)


def secret_of(answers: Answers, chosen: Sequence[int]) -> Seed | None:
    """The secret that `through` gives, and nothing of the other shares."""
    places = [bisect_left(answers.points, x) for x in chosen]
    rows = _rows(np.array(chosen, np.uint64), np.zeros(1, np.uint64))
    limbs = np.empty(LIMBS, np.uint64)
    kernels.combine(limbs, answers.elements[places], rows[0])
    return _secret(limbs)


def nearest(answers: Answers, threshold: int) -> Decoded | None:
    """The polynomials off which at most (m - t) / 2 of the shares lie, limb by limb.

    None where a limb has none, or a limb of the secret is out of its range.
    """
    if not 1 <= threshold <= len(answers):
        raise ParameterError(f"a threshold of {threshold} is outside 1 to {len(answers)} shares")
    xs = np.array(answers.points, np.uint64)
    syndromes = np.empty((len(xs) - threshold, LIMBS), np.uint64)
    kernels.syndromes(syndromes, answers.elements, xs, shamir.barycentric(xs))
    limbs, wrong = np.empty(LIMBS, np.uint64), set[int]()
    for limb in range(LIMBS):
        off = _errors([int(s) for s in syndromes[:, limb]], xs)
        if off is None:
            return None
        right = [x for x in answers.points if x not in off][:threshold]
        whole = through(answers, right)
        if whole is not None and 2 * len(whole.wrong) <= len(syndromes):
            return whole  # near enough in every limb at once, so it is the nearest in each
        wrong |= off
        limbs[limb] = _at_zero(answers, right, limb)
    secret = _secret(limbs)
    return None if secret is None else Decoded(secret, frozenset(wrong))


def _at_zero(answers: Answers, chosen: Sequence[int], limb: int) -> int:
    value, places = np.empty(1, np.uint64), [bisect_left(answers.points, x) for x in chosen]
    shares = np.ascontiguousarray(answers.elements[places, limb : limb + 1])
    kernels.combine(value, shares, shamir.weights(tuple(chosen)))
    return int(value[0])


def _errors(syndromes: Sequence[int], points: _Elements) -> set[int] | None:
    """The x of the wrong values of one limb; None if they are more than half the syndromes."""
    if not any(syndromes):
        return set()
    locator = _shortest(syndromes)
    degree = len(locator) - 1
    if 2 * degree > len(syndromes):
        return None
    values = np.empty((len(points), 1), np.uint64)
    # product of (x - x_i) over the wrong ones, by ascending powers
    kernels.evaluate(values, np.array(locator[::-1], np.uint64).reshape(-1, 1), points)
    wrong = {int(x) for x in points[values[:, 0] == 0]}
    return wrong if len(wrong) == degree else None


def _shortest(sequence: Sequence[int]) -> list[int]:
    """c_0 = 1, .., c_L of the shortest recurrence: sum of c_j s_(k-j) = 0 for all k from L on.

    Berlekamp and Massey (Massey 1969, algorithm 2) modulo P; L may exceed the last non-zero c.
    """
    current, before = [1], [1]
    length, shift, last = 0, 1, 1
    for k in range(len(sequence)):
        off = sum(c * sequence[k - j] for j, c in enumerate(current)) % P
        if off == 0:
            shift += 1
            continue
        factor = off * pow(last, -1, P) % P
        step = [0] * shift + [factor * c % P for c in before]
        size = max(len(current), len(step))
        changed = [
            (a - b) % P for a, b in zip(_padded(current, size), _padded(step, size), strict=True)
        ]
        if 2 * length <= k:
            before, last, length, shift = current, off, k + 1 - length, 1
        else:
            shift += 1
        current = changed
    return _padded(current, length + 1)


def _padded(values: Sequence[int], size: int) -> list[int]:
    return [*values, *[0] * (size - len(values))]


def _compared(answers: Answers, others: Sequence[int], limbs: _Elements) -> Decoded | None:
    """limbs: at 0, and at each of the others, whose shares may differ."""
    secret, places = _secret(limbs[0]), [bisect_left(answers.points, x) for x in others]
    off = (limbs[1:] != answers.elements[places]).any(axis=1)
    wrong = frozenset(x for x, differs in zip(others, off, strict=True) if differs)
    return None if secret is None else Decoded(secret, wrong)


def _secret(limbs: _Elements) -> Seed | None:
    try:
        return shamir.seed_of(limbs)
    except InvalidShare:
        return None


def _rows(points: _Elements, at: _Elements) -> _Elements:
    rows = np.empty((len(at), len(points)), np.uint64)
    kernels.lagrange(rows, points, shamir.barycentric(points), at)
    return rows


@lru_cache(maxsize=64)  # holder sets repeat across dealers
def _reading(points: tuple[int, ...], threshold: int, challenge: bytes) -> tuple[_Elements, ...]:
    """The weights of f(0), and those of the sum of r_z (y_z - f(z)) over all z beyond the lowest,
    r uniform and f through the lowest."""
    xs = np.array(points, np.uint64)
    lowest, others = xs[:threshold], xs[threshold:]
    rows = _rows(lowest, np.concatenate([np.zeros(1, np.uint64), others]))
    row = np.empty_like(xs)
    row[threshold:] = _random(challenge, len(others))
    kernels.combine(row[:threshold], rows[1:], row[threshold:])
    row[:threshold] = (_P - row[:threshold]) % _P
    return rows[0].copy(), row


@lru_cache(maxsize=8)  # the two sets that are tried, whichever holders are in doubt
def _around(
    points: tuple[int, ...], chosen: tuple[int, ...], apart: tuple[int, ...], challenge: bytes
) -> tuple[_Elements, _Elements]:
    """The weights of f(0) and of f at each of `apart`, f through the chosen; and those of the
    random sum of `_reading`, over all that are neither."""
    rest = [x for x in points if x not in {*chosen, *apart}]
    rows = _rows(np.array(chosen, np.uint64), np.array([0, *apart, *rest], np.uint64))
    factors, known = _random(challenge, len(rest)), 1 + len(apart)
    summed, row = np.empty(len(chosen), np.uint64), np.zeros(len(points), np.uint64)
    kernels.combine(summed, rows[known:], factors)
    row[[bisect_left(points, x) for x in chosen]] = (_P - summed) % _P
    row[[bisect_left(points, x) for x in rest]] = factors
    return rows[:known].copy(), row


def _random(challenge: bytes, count: int) -> _Elements:
    raw = hashlib.shake_128(challenge).digest(8 * count)
    return (np.frombuffer(raw, ">u8").astype(np.uint64) & _P) % _P
