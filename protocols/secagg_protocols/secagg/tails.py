"""The three probabilities that decide about a k-regular graph (specs/10-secagg.md §10).

A client's k neighbours are a uniform sample without replacement, so the numbers of corrupt and of
surviving ones are hypergeometric. Bell et al., CCS 2020, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg.types import Threat

SIGMA, ETA = 40.0, 20.0
"""Security 2^-sigma, correctness 2^-eta: the chance that a round's graph breaks either."""

_TENTH = 0.05
"""Where a row is judged at a |U1| other than the table's n, its exponents count rounded to a tenth
of a bit: 2^-40.97 is 2^-41. The reference examples for such rows (A = 100, D = 200 of n = 1000:
the table's (66, 31) down to |U1| = 998; (70, 35) for min_clients = 800) need 0.031 bits in the
security tail and 0.007 in the correctness tail. The table itself is compared exactly."""


@dataclass(frozen=True, slots=True)
class Tails:
    """The three probabilities that decide about a degree k, each against its bound."""

    clients: int
    corrupted: int
    dropped: int
    sigma: float
    eta: float

    @classmethod
    def of(cls, threat: Threat, sigma: float = SIGMA, eta: float = ETA) -> Tails:
        return cls(threat.clients, threat.corrupted, threat.dropped, sigma, eta)

    @classmethod
    def of_cohorts(cls, threat: Threat) -> Tails:
        """For sessions in which fewer than n clients come."""
        return cls.of(threat, SIGMA - _TENTH, ETA - _TENTH)

    def connected(self, k: int) -> bool:
        """The honest survivors' graph falls apart with probability below 2^-(sigma+1)."""
        n, gone = self.clients, self.corrupted + self.dropped
        if k > gone:
            return True
        ln = _log_factorials(n)
        ln_p = math.log(n) + math.log(n - k - 1) - math.log(2)
        ln_p += float(ln[gone] + ln[n - k] - ln[n] - ln[gone - k])
        return ln_p + _SLACK < -(self.sigma + 1) * math.log(2)

    def corrupt_neighbours(self, k: int, cohort: int) -> int:
        """a = min x with Pr[Hyp(cohort, A, k) > x] <= 2^-(sigma+1) / cohort; A is not scaled."""
        low, pmf = self._pmf(cohort, self.corrupted, k)
        at_least = np.cumsum(pmf[::-1])  # from the far end: Pr[X >= high - i]
        bound = 2.0 ** -(self.sigma + 1) / cohort
        passing = int(np.count_nonzero(at_least * (1 + _SLACK) <= bound))
        return low + len(pmf) - passing - 1

    def surviving_neighbours(self, k: int) -> int:
        """t2 = max t with Pr[Hyp(n, n - D, k) <= t - 1] <= 2^-eta / n."""
        low, pmf = self._pmf(self.clients, self.clients - self.dropped, k)
        bound = 2.0**-self.eta / self.clients
        return low + int(np.count_nonzero(np.cumsum(pmf) * (1 + _SLACK) <= bound))

    def smallest_cohort(self, k: int, tolerated: int) -> int:
        """m: the smallest |U1| >= n - D from which on at most `tolerated` neighbours are corrupt.

        Bisection, and judging a cohort at m only, are exact because |U1| Pr[Hyp(|U1|, A, k) > x]
        falls as |U1| grows, wherever it is small enough to pass. From N to N + 1 its term at j is
        multiplied by (N+1-k)(N+1-A) / (N (N+1-k-A+j)), which is <= 1 iff (k-1)(A-1) <= N (j-1):
        for all j > x if (k-1)(A-1) <= N x, and this stays true as N grows. Where it is false, x
        is at most the mode, so the tail is zero or at least Pr[mode + 1] >= 1 / ((k+1)^2 N), too
        large to pass since k < 2^20.
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

    def _pmf(self, population: int, marked: int, draws: int) -> tuple[int, npt.NDArray[np.float64]]:
        """The hypergeometric law on its whole support, and where that starts.

        Pr[X = j] = C(marked, j) C(population - marked, draws - j) / C(population, draws).
        """
        ln, other = _log_factorials(self.clients), population - marked
        low, high = max(0, draws - other), min(draws, marked)
        j = slice(low, high + 1)
        choices = ln[draws] - ln[j] - ln[draws - high : draws - low + 1][::-1]
        rest = ln[population - draws] - ln[marked - high : marked - low + 1][::-1]
        rest -= ln[other - draws + low : other - draws + high + 1]
        total = ln[population] - ln[marked] - ln[other]
        return low, np.exp(choices + rest - total)


_SLACK = 1e-6
"""Relative. Quantiles are rounded outward by more than all rounding of a sum of the table below
(some 1e-8 at n = 10^6), and by less than would move a row of the published table."""


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> npt.NDArray[np.float64]:
    """ln i! for i = 0..n. Extended precision where the platform has it: 10^6 terms add up."""
    table = np.zeros(n + 1, np.longdouble)
    np.cumsum(np.log(np.arange(1, n + 1, dtype=np.longdouble)), out=table[1:])
    result = table.astype(np.float64)
    result.flags.writeable = False
    return result
