"""Draws of noise, added into a lane (specs/41-noise.md §2-§5): tables, keys, wide variants.

Draw i depends on the key, the noise and i only: not on how the work is cut, nor on who does it.
Everything is integers from the variance on, and the algorithms here, each rounding included, are
the definition: two implementations draw the same numbers from the same key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg.crypto import labels
from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.kernels.aes import AES_BLOCK
from secagg.kernels.noise import add_draws
from secagg.layout import Lane
from secagg.mask import KEY_SIZE, add_stream
from secagg.noise import Kind, Noise, Response
from secagg.ring import Ring
from secagg.types import Seed

_Words = npt.NDArray[np.uint64]

# Theory of operation.
#
# A draw takes 128 bits of an AES-CTR stream, always. They choose a column of a table of at most
# 2^16, a sign, and one of the column's two values (kernels.noise): so each value has a probability
# that is a whole multiple of 2^-128, and these multiples are the noise. They are not the true
# probabilities, which are irrational; all tables are within 2^-110 of them in total variation,
# which a session of 2^30 elements and a million rounds does not bring near any delta that is asked
# for. What is drawn is exactly what the table says: no float has a part in it.
#
# The weights of |x| come from recurrences, in integers of some hundred bits more than are kept:
# forwards for the discrete Gaussian, whose ratios of neighbours are a geometric series, backwards
# for Skellam, whose probabilities are modified Bessel functions and, recurred forwards, would be
# lost in the other solution (Miller's method). |x| and not x, since that halves the table, which
# should fit a cache; and as the table is of |x|, 0 is one value in it, whatever its sign bit says.
#
# A table for a deviation of a million would be 16 million columns. A sum x0 + k x1 of two discrete
# Gaussians is one, of a variance that is the exact sum, up to a relative error of 2^-450, as long
# as x0 is wide enough to fill the steps of k: the smoothing argument of lattice cryptography
# (Micciancio and Walter 2017), proved in the specification. It works again on that sum, and three
# digits reach a deviation of 2^30. All digits have one variance, so that there is one table; each
# has a part of the stream of its own, so that every pass reads one piece of it.
#
# Skellam is for narrow shares; there is no wide one, and no plan asks for it.

TABLE_VARIANCE = 4096**2
"""The largest of a table: 51,645 values, 2^16 columns, a megabyte."""

MAX_DRAWS = 1 << 30
"""Of one key, so that the AES blocks of digit j begin at j 2^30; three digits are within the 2^32
of a key."""

CHUNK = 1 << 15
"""Draws at a time, half a megabyte of stream. Longer ones gain nothing, and shorter ones lose more
by what a call takes than they gain by a faster cache: a quarter at 2^13."""

_GUARDED = 256  # fractional bits of the Gaussian's recurrence
_START = 1 << 192  # what Skellam's begins with, beyond the last value


def field_key(secret: Seed, number: int) -> bytes:
    """The key of one field's noise, from 32 bytes of an injected randomness and its index.

    A key that two fields shared would give them the same noise, and their difference none.
    """
    return labels.expand(secret, labels.NOISE, number)


def add_noise(out: Lane, noise: Noise, ring: Ring, key: bytes, start: int = 0) -> None:
    """out[i] += draw start + i of (key, noise), modulo the ring.

    out: contiguous, writable, one dimension, of the ring's dtype. key: 32 secret and uniform
    bytes, used for nothing else: `field_key`. start: the index of out's first element.

    A draw takes the same bits and the same steps whatever it is; which line of a table in memory
    it reads depends on it. Threads may share a vector, each with a part and its own `start`.

    Raises InputError for another array, InvalidKey for another key, and ParameterError for a
    Skellam variance above TABLE_VARIANCE and for a range outside the MAX_DRAWS of a key; nothing
    is then written.
    """
    _check(out, ring, key)
    if start < 0 or start + out.size > MAX_DRAWS:
        raise ParameterError(
            f"draws {start} to {start + out.size} are outside the {MAX_DRAWS} of one key; "
            "use a shorter vector"
        )
    draws = sampler(noise)
    words = np.empty(2 * min(out.size, CHUNK), np.uint64)
    for at in range(0, out.size, CHUNK):
        draws.add(out[at : at + CHUNK], words, key, start + at, np.uint64(ring.mask))


def told_wrongly(response: Response, key: bytes) -> bool:
    """Whether the bit of that key's field is told as the other one (specs/41-noise.md §8).

    key: as of `add_noise`. The first 128 bits of its stream are below p 2^128, a whole number, with
    the probability p exactly: no float decides.
    """
    words = np.zeros(2, np.uint64)
    add_stream(words, key, 1, 0)
    drawn = int(words[1]) << 64 | int(words[0])
    return drawn < int(response.exact * (1 << 128))


def _check(out: Lane, ring: Ring, key: bytes) -> None:
    if out.dtype != ring.dtype:
        raise InputError(
            f"noise of a ring of {ring.width} bits goes into {ring.dtype}, not {out.dtype}"
        )
    if out.ndim != 1 or not (out.flags.c_contiguous and out.flags.writeable):
        raise InputError("noise is added to a writable, contiguous array of one dimension")
    if len(key) != KEY_SIZE:
        raise InvalidKey(f"a key of noise is {KEY_SIZE} bytes, not {len(key)}")


@dataclass(frozen=True, slots=True)
class Sampler:
    """How one noise is drawn: the sum of factor^j times a draw from the table, j < digits."""

    table: _Words = field(repr=False)
    factor: int
    digits: int

    def add(self, out: Lane, words: _Words, key: bytes, start: int, mask: np.uint64) -> None:
        """Draws start, start + 1, ...: digit j of draw i is of block j * MAX_DRAWS + i.

        words: room for the stream, two for each element of out.
        """
        stream = words[: 2 * out.size]
        for j in range(self.digits):
            stream.fill(0)
            add_stream(stream, key, 1, 2 * (j * MAX_DRAWS + start))
            add_draws(out, stream, self.table, np.uint64(self.factor**j), mask)


@lru_cache(maxsize=16)  # megabytes at most, and a plan has few fields
def sampler(noise: Noise) -> Sampler:
    """Milliseconds for a narrow noise, a tenth of a second for a table of 2^16 columns."""
    if noise.kind is Kind.SKELLAM:
        if noise.exact > TABLE_VARIANCE:
            raise ParameterError(
                f"Skellam noise is drawn up to a variance of {TABLE_VARIANCE}, not "
                f"{noise.variance!r}; shares as wide as that are discrete Gaussian"
            )
        return Sampler(packed(columns(weights(_skellam(noise.exact)))), 0, 1)
    variance, factor, digits = split(noise.exact)
    return Sampler(packed(columns(weights(_gaussian(variance)))), factor, digits)


def split(variance: Fraction) -> tuple[Fraction, int, int]:
    """A table's variance, the factor k and the number of digits n of a discrete Gaussian.

    n is the least with which the table's variance s^2 = variance / (1 + k^2 + ... + k^(2n - 2)) is
    at most TABLE_VARIANCE; k, for n > 1, the largest with s^2 >= 16 (1 + k^2), so that each
    convolution has a width of at least 4 (specs/41-noise.md §3, §7).
    """
    if variance <= TABLE_VARIANCE:
        return variance, 0, 1
    digits = 2
    while True:
        factor = _factor(variance, digits)
        narrow = variance / _spread(factor, digits)
        if narrow <= TABLE_VARIANCE:
            return narrow, factor, digits
        digits += 1


def _factor(variance: Fraction, digits: int) -> int:
    """By its bits, from the highest on: the condition holds up to the largest and never beyond."""
    factor = 0
    for bit in reversed(range(TABLE_VARIANCE.bit_length())):
        tried = factor | 1 << bit
        if variance >= 16 * (1 + tried**2) * _spread(tried, digits):
            factor = tried
    return factor


def _spread(factor: int, digits: int) -> int:
    return sum(factor ** (2 * j) for j in range(digits))


def _gaussian(variance: Fraction) -> list[int]:
    """2^256 exp(-k^2 / 2v) for k = 0, 1, ..., as long as that is at least 2^128 (§5.1).

    exp(-(k + 1)^2 / 2v) is exp(-k^2 / 2v) times r q^k, with r = exp(-1 / 2v) and q = r^2. Each
    product of two numbers of 256 fractional bits is floor(a b / 2^256).
    """
    ratio = _exponential(1 / (2 * variance))
    square = ratio * ratio >> _GUARDED
    found, value = [], 1 << _GUARDED
    while value >> _GUARDED - 128:
        found.append(value)
        value = value * ratio >> _GUARDED
        ratio = ratio * square >> _GUARDED
    return found


def _exponential(x: Fraction) -> int:
    """2^256 exp(-x), x > 0: the series of exp(-x / 2^h), squared h times, with x / 2^h < 2^-8."""
    halvings = 8 + (x.numerator // x.denominator).bit_length()
    numerator, denominator = x.numerator, x.denominator << halvings
    total, term, j = 0, 1 << _GUARDED, 0
    while term:
        total += -term if j % 2 else term
        j += 1
        term = term * numerator // (denominator * j)
    for _ in range(halvings):
        total = total * total >> _GUARDED
    return total


def _skellam(variance: Fraction) -> list[int]:
    """Numbers proportional to I_k(v) for k = 0, 1, ..., K: e^-v I_k(v) is that of k (§5.3).

    Backwards, by I_(k-1) = I_(k+1) + (2k / v) I_k, from 0 and 2^192 at K + 1 and K, where
    K = 76 + floor(sqrt(224 v)): beyond, by Bernstein's bound, lies less than 2^-160.
    """
    mean, parts = variance.numerator, variance.denominator
    before, value = 0, _START
    found = [value]
    for k in range(76 + math.isqrt(224 * mean // parts), 0, -1):
        before, value = value, before + 2 * k * parts * value // mean
        found.append(value)
    return found[::-1]


def weights(terms: Sequence[int]) -> list[int]:
    """The probabilities of |x| = 0, 1, ... in units of 2^-127, from terms proportional to x's own.

    w_k = floor(2^128 t_k / (t_0 + 2 t_1 + 2 t_2 + ...)) for k > 0, and 0 has what is left of
    2^127. Zeros at the end are no values (§5.4).
    """
    total = 2 * sum(terms) - terms[0]
    found = [(term << 128) // total for term in terms]
    while len(found) > 1 and not found[-1]:
        found.pop()
    found[0] = (1 << 127) - sum(found[1:])
    return found


def columns(weights: Sequence[int]) -> list[tuple[int, int]]:
    """Thresholds and aliases of Walker's method, in 2^m columns of 2^(127 - m) each.

    m >= 1 is the least that gives each value a column. Those below a column's size queue in
    ascending order; each of the others in ascending order, while it has more than a column, fills
    up the first of the queue, and joins it at its end once it has less. One that has exactly a
    column keeps it: threshold 0, and itself for an alias (§5.5).
    """
    bits = max(1, (len(weights) - 1).bit_length())
    size = 1 << 127 - bits
    left = [*weights, *[0] * ((1 << bits) - len(weights))]
    found = [(0, c) for c in range(len(left))]
    queue = [c for c, weight in enumerate(left) if weight < size]
    first = 0
    for c in [c for c, weight in enumerate(left) if weight >= size]:
        rest = left[c]
        while rest > size:
            low = queue[first]
            first += 1
            found[low] = left[low], c
            rest += left[low] - size
        if rest < size:
            left[c] = rest
            queue.append(c)
    return found


def packed(columns: Sequence[tuple[int, int]]) -> _Words:
    """As kernels.noise reads them: of each column 16 bytes, a little-endian number."""
    bits = len(columns).bit_length()  # m + 1
    numbers = (threshold << bits | alias for threshold, alias in columns)
    table = b"".join(number.to_bytes(AES_BLOCK, "little") for number in numbers)
    return np.frombuffer(table, "<u8").astype(np.uint64)
