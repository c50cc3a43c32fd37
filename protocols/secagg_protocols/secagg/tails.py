"""The three probabilities that decide about a k-regular graph (specs/10-secagg.md §10)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg.threat import Threat

# A client's k neighbours are a uniform sample without replacement, so the numbers of corrupt and of
# surviving ones are hypergeometric. Bell et al., CCS 2020, section 3.
#
# A bound holds or does not: every verdict is that of exact rationals, so that two implementations
# accept the same plans. Most are far from their bound and are judged in floating point, whose error
# is known; the rest are counted in integers.

SIGMA, ETA = 40.0, 20.0
"""Security 2^-sigma, correctness 2^-eta: the chance that a round's graph breaks either."""

MAX_EXPONENT = 900.0
"""Of sigma and eta: a bound above it is a normal float, and so are the tails that decide."""

_DOUBT = 1e-6
"""Relative. A tail nearer to its bound than this is counted exactly: ten times the largest error
that nine entries of the table below can make in an exponent, at n = 2^20 and beside an own
rounding of each that is far smaller."""


@dataclass(frozen=True, slots=True)
class Tails:
    """The three probabilities that decide about a degree k, each against its bound."""

    clients: int
    corrupted: int
    dropped: int
    sigma: float = SIGMA
    eta: float = ETA

    @classmethod
    def of(cls, threat: Threat) -> Tails:
        return cls(threat.clients, threat.corrupted, threat.dropped)

    @property
    def _secure(self) -> Fraction:
        return Fraction(2.0 ** -(self.sigma + 1))

    @property
    def _correct(self) -> Fraction:
        return Fraction(2.0**-self.eta)

    def connected(self, k: int) -> bool:
        """The honest survivors' graph falls apart with probability below 2^-(sigma+1), k < n - 1:
        n (n-k-1)/2 C(B, k)/C(n, k) with B = A + D."""
        n, gone = self.clients, self.corrupted + self.dropped
        # no k neighbours can all be among the corrupt and the dropped: the chance is zero
        if k > gone:
            return True
        ln = _log_factorials(n)
        ln_p = math.log(n) + math.log(n - k - 1) - math.log(2)
        ln_p += float(ln[gone] + ln[n - k] - ln[n] - ln[gone - k])
        excess = ln_p + (self.sigma + 1) * math.log(2)
        if abs(excess) > _DOUBT:
            return excess < 0
        ways = Fraction(math.comb(gone, k), math.comb(n, k))
        return Fraction(n * (n - k - 1), 2) * ways < self._secure

    def corrupt_neighbours(self, k: int, cohort: int) -> int:
        """a = min x with Pr[Hyp(cohort, A, k) > x] <= 2^-(sigma+1) / cohort; A is not scaled."""
        return Law(cohort, self.corrupted, k, self.clients).seldom_above(self._secure / cohort)

    def surviving_neighbours(self, k: int) -> int:
        """t2 = max t with Pr[Hyp(n, n - D, k) <= t - 1] <= 2^-eta / n."""
        # k neighbours and not the k + 1 holders: that a client holds a share of its own secrets is
        # of no help once it is gone
        law = Law(self.clients, self.clients - self.dropped, k, self.clients)
        return law.seldom_below(self._correct / self.clients)

    def smallest_cohort(self, k: int, tolerated: int) -> int:
        """m: the smallest |U1| >= n - D from which on at most `tolerated` neighbours are corrupt.

        n if there is none. Bisection, and judging a cohort at m only, are exact because
        |U1| Pr[Hyp(|U1|, A, k) > x] falls as |U1| grows, wherever it is small enough to pass. From
        N to N + 1 its term at j is multiplied by (N+1-k)(N+1-A) / (N (N+1-k-A+j)), which is <= 1
        iff (k-1)(A-1) <= N (j-1): for all j > x if (k-1)(A-1) <= N x, and this stays true as N
        grows. Where it is false, x is at most the mode, so the tail is zero or at least
        Pr[mode + 1] >= 1 / ((k+1)^2 N), too large to pass since k < 2^20.
        The graph falls apart less often the fewer have come: the P of `connected`, with
        B = A + D - (n - N), grows with N, since C(B, k) / C(N, k) does and so does N (N-k-1).
        Hence |U1| = n is its worst case, and the only one evaluated.
        """
        low, high = max(self.clients - self.dropped, k + 1), self.clients
        while low < high:
            middle = (low + high) // 2
            if self.corrupt_neighbours(k, middle) <= tolerated:
                high = middle
            else:
                low = middle + 1
        return high


@dataclass(frozen=True, slots=True)
class Law:
    """Pr[X = j] = C(marked, j) C(population - marked, draws - j) / C(population, draws).

    Every verdict is exact.

    most: no argument of the tables is larger; the same for all laws of a plan, so that they share
    one.
    """

    population: int
    marked: int
    draws: int
    most: int

    @property
    def low(self) -> int:
        return max(0, self.draws - (self.population - self.marked))

    @property
    def high(self) -> int:
        return min(self.draws, self.marked)

    def seldom_above(self, bound: Fraction) -> int:
        """min x with Pr[X > x] <= bound, which is below 1."""
        at_least = np.cumsum(self.chances()[::-1])  # from the far end: Pr[X >= high - i]
        return self.high - _passing(
            at_least, bound, lambda i: self.within(self.high - i, self.high, bound)
        )

    def seldom_below(self, bound: Fraction) -> int:
        """max t with Pr[X < t] <= bound, which is below 1."""
        at_most = np.cumsum(self.chances())
        return self.low + _passing(
            at_most, bound, lambda i: self.within(self.low + i, self.low, bound)
        )

    def chance_below(self, t: int) -> float:
        """Pr[X < t], to nine digits: for words, and for no verdict."""
        return float(min(1.0, self.chances()[: max(0, t - self.low)].sum()))

    def chances(self) -> npt.NDArray[np.float64]:
        """On the whole support, from `low` to `high`."""
        ln, other = _log_factorials(self.most), self.population - self.marked
        low, high, draws = self.low, self.high, self.draws
        j = slice(low, high + 1)
        choices = ln[draws] - ln[j] - ln[draws - high : draws - low + 1][::-1]
        rest = ln[self.population - draws] - ln[self.marked - high : self.marked - low + 1][::-1]
        rest -= ln[other - draws + low : other - draws + high + 1]
        total = ln[self.population] - ln[self.marked] - ln[other]
        chances: npt.NDArray[np.float64] = np.exp(choices + rest - total)
        return chances

    def within(self, start: int, end: int, bound: Fraction) -> bool:
        """Whether the chances from `start` to `end`, in either direction, sum to `bound` or less.

        start: the end of the tail at which its largest term is. In fixed point, rounded both ways;
        counted as a whole only where that leaves it open.
        """
        bits = 256
        first = Fraction(self._ways(start), math.comb(self.population, self.draws)) / bound
        low = (first.numerator << bits) // first.denominator
        least, most = low, low + 1
        high = low + 1
        # Only the first term is counted, and each further one had by its ratio to the one before:
        # at n = 2^20 a binomial can have a hundred thousand bits. One sum is rounded down and one
        # up, so the true one lies between them, and only a bound that does too is worth the rest.
        for above, below in self._ratios(start, end):
            low, high = low * above // below, -(-high * above // below)
            least, most = least + low, most + high
        if least > 1 << bits or most <= 1 << bits:
            return most <= 1 << bits
        ways = sum(map(self._ways, range(min(start, end), max(start, end) + 1)))
        return Fraction(ways, math.comb(self.population, self.draws)) <= bound

    def _ways(self, j: int) -> int:
        other = self.population - self.marked
        return math.comb(self.marked, j) * math.comb(other, self.draws - j)

    def _ratios(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Of each term to the one before it, as (numerator, denominator)."""
        other = self.population - self.marked
        for j in range(min(start, end), max(start, end))[:: 1 if start <= end else -1]:
            up = (self.marked - j) * (self.draws - j), (j + 1) * (other - self.draws + j + 1)
            yield up if start <= end else (up[1], up[0])


def _passing(
    ascending: npt.NDArray[np.float64], bound: Fraction, exactly: Callable[[int], bool]
) -> int:
    """How many of these tails are at most the bound. exactly(i): whether the i-th is."""
    near, limit = 1 + _DOUBT, float(bound)
    sure = int(np.count_nonzero(ascending * near <= limit))
    possible = int(np.count_nonzero(ascending <= limit * near))
    while sure < possible and exactly(sure):
        sure += 1
    return sure


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> npt.NDArray[np.float64]:
    """ln i! for i = 0..n, each within 6e-9 up to n = 2^20, on every platform.

    Stirling's series, of which the first term left out is below 1e-20 from 256 on: nothing adds
    up, as it would in a running sum of logarithms.
    """
    table = np.empty(n + 1)
    few = min(n + 1, 256)
    table[:few] = [math.lgamma(i + 1) for i in range(few)]
    i = np.arange(few, n + 1, dtype=np.float64)
    series = (1 / 12 - (1 / 360 - 1 / (1260 * i * i)) / (i * i)) / i
    table[few:] = i * np.log(i) - i + np.log(2 * math.pi * i) / 2 + series
    table.flags.writeable = False
    return table
