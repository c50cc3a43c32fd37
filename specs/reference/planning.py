"""10-secagg.md §10 in exact rationals: which plans are accepted, and which one is chosen.

Part of the second implementation: it imports nothing of the packages. Threats and parameters are
as the vectors write them, in JSON numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

SECURE, CORRECT = Fraction(1, 2**41), Fraction(1, 2**20)
MAX_DEGREE = 2**14
MOST = 2**20


def whole(fraction: Fraction, n: int) -> int:
    """A and D: rounded up."""
    return -((-fraction.numerator * n) // fraction.denominator)


def accepted(
    protocol: str,
    params: list[int],
    corrupt: Fraction,
    dropout: Fraction,
    asked: int,
    roster: int,
    L: int,
) -> bool:
    """§10.1. params: n, k, t, min_clients, min_survivors. asked: 0 if no min_clients was."""
    n, k, t, m, s = params
    A, D = min(n, whole(corrupt, roster)), whole(dropout, n)
    if not (3 <= n <= MOST and 1 <= k < n and 1 <= t <= k + 1 and t <= s <= m <= n):
        return False
    if not max(3, A + 2) <= s <= n - D or asked not in (0, m):
        return False
    if protocol == "secagg":
        return k == n - 1 and 2 * t > n + A and t + 2 * L <= n - D
    if L or k == n - 1 or k % 2 or k >= m or k > MAX_DEGREE or s != n - D or t < 2:
        return False
    if min(1, corrupt * roster / n) + dropout > Fraction(9, 10):
        return False
    return (
        connected(n, k, A + D)
        and all(size * more_than(size, A, k, t - 1) <= SECURE for size in sizes(m, n))
        and n * (1 - more_than(n, n - D, k, t - 1)) <= CORRECT
    )


def accepted_active(
    protocol: str,
    params: list[int],
    corrupt: Fraction,
    dropout: Fraction,
    asked: int,
    roster: int,
    L: int,
) -> bool:
    """13-active-parameters.md P2 to P6. params: n, k, t, min_clients, min_survivors, m, q."""
    n, k, t, least, fewest, m, q = params
    A, D = min(n, whole(corrupt, roster)), whole(dropout, n)
    s, complete = n - D, k == n - 1
    if not (3 <= n <= MOST and 1 <= k < n and 1 <= t <= k + 1 and t <= fewest <= least <= s):
        return False
    if not max(3, A + 2) <= fewest or asked not in (0, least) or not A < s or L > s:
        return False
    if complete != (protocol == "secagg") or not 1 <= q <= m <= n:
        return False
    if n <= 1000 or m == n:
        if m != n or 2 * q not in (n + A + 1, n + A + 2) or q + L > s:
            return False
    else:
        tries = Fraction(1, 2**105)
        few = more_than(s, A, m, 2 * q - m - 1) if m <= s else Fraction(1)
        if m > 2**14 or least != s or few > tries:
            return False
        if 1 - more_than(n, s - L, m, q - 1) > Fraction(1, 2**21):
            return False
    if complete:
        return 2 * t > n + A and fewest + L <= s
    if k % 2 or k >= s or k > MAX_DEGREE or (least, fewest) != (s, s):
        return False
    few = more_than(s - 1, A, k, min(2 * t - k - 2, t - 2))
    reach = 1 - more_than(n - 1, min(n - 1, s - L), k, t - 1)
    return few <= Fraction(1, s * 2**105) and reach <= Fraction(1, n * 2**21)


def chosen_active(
    protocol: str, n: int, corrupt: Fraction, dropout: Fraction, asked: int, roster: int, L: int
) -> list[int] | None:
    """13-active-parameters.md P4 to P6 and P12: of a protocol that is named."""
    A, s = min(n, whole(corrupt, roster)), n - whole(dropout, n)
    agreed = signing(n, A, s, L)
    if agreed is None:
        return None
    if protocol == "secagg":
        t = (n + A) // 2 + 1
        fewest = max(t, A + 2, 3)
        least = asked or (fewest if agreed[0] == n else s)
        found = [n, n - 1, t, least, fewest, *agreed]
        fits = accepted_active(protocol, found, corrupt, dropout, asked, roster, L)
        return found if fits else None
    for k in range(2, min(n - 2, s - 1, MAX_DEGREE) + 1, 2):
        a = least_x(k, lambda x, k=k: s * more_than(s - 1, A, k, x) <= TRIES)
        t = max((k + 1 + a) // 2 + 1, a + 2)
        found = [n, k, t, s, s, *agreed]
        if accepted_active(protocol, found, corrupt, dropout, asked, roster, L):
            return found
    return None


def signing(n: int, A: int, s: int, L: int) -> tuple[int, int] | None:
    """P6: m and q."""
    q = (n + A) // 2 + 1
    if n <= 1000:
        return (n, q) if q + L <= s else None
    for m in range(1, min(s, 2**14) + 1):
        if m == n:
            return (n, q) if q + L <= s else None
        a = least_x(m, lambda x, m=m: more_than(s, A, m, x) <= TRIES)
        q = (m + a) // 2 + 1
        if q <= m and 1 - more_than(n, s - L, m, q - 1) <= Fraction(1, 2**21):
            return m, q
    return None


TRIES = Fraction(1, 2**105)


def least_x(most: int, holds: Callable[[int], bool]) -> int:
    """The smallest x in 0..most for which it holds, as it does for all above."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def sizes(m: int, n: int) -> list[int]:
    """Every |U1| from m to n; of a wide range the ends and some between, for the time it takes."""
    if n - m <= 250:
        return list(range(m, n + 1))
    return [m, *range(m + 1, n, (n - m) // 8), n]


def connected(n: int, k: int, B: int) -> bool:
    """n (n-k-1)/2 C(B, k)/C(n, k) < 2^-41"""
    ways = Fraction(n * (n - k - 1) * math.comb(B, k), 2 * math.comb(n, k))
    return ways < SECURE


@lru_cache(maxsize=None)
def more_than(population: int, marked: int, draws: int, x: int) -> Fraction:
    """Pr[Hyp(population, marked, draws) > x], by counting."""
    highest = min(marked, draws)
    first = max(x + 1, draws - (population - marked), 0)
    ways = sum(
        math.comb(marked, j) * math.comb(population - marked, draws - j)
        for j in range(first, highest + 1)
    )
    return Fraction(ways, math.comb(population, draws))


def chosen(
    n: int, corrupt: Fraction, dropout: Fraction, asked: int, roster: int, L: int
) -> tuple[str, list[int]] | None:
    """§10.3: protocol and parameters of a semi-honest plan over one server, or None."""
    graphs = [("secagg", complete), ("secagg+", regular)]
    for name, graph in graphs if n <= 50 else graphs[::-1]:
        params = graph(n, min(1, corrupt * roster / n), dropout, asked, L)
        if params is not None:
            return name, params
    return None


def complete(n: int, corrupt: Fraction, dropout: Fraction, asked: int, L: int) -> list[int] | None:
    A, D = whole(corrupt, n), whole(dropout, n)
    t = (n + A) // 2 + 1
    s = max(t, A + 2, 3)
    fits = max(s, t + 2 * L) <= n - D and (asked or s) >= s
    return [n, n - 1, t, asked or s, s] if fits else None


def regular(n: int, corrupt: Fraction, dropout: Fraction, asked: int, L: int) -> list[int] | None:
    A, s = whole(corrupt, n), n - whole(dropout, n)
    m = asked or s
    if L or s < max(3, A + 2) or m < s or corrupt + dropout > Fraction(9, 10):
        return None
    for k in range(2, min(n - 2, m - 1, MAX_DEGREE) + 1, 2):
        if not connected(n, k, n - s + A):
            continue
        a = next(x for x in range(k + 1) if m * more_than(m, A, k, x) <= SECURE)
        t = max(a + 1, k // 2 + 1)
        if n * (1 - more_than(n, s, k, t - 1)) <= CORRECT:
            return [n, k, t, m, s]
    return None
