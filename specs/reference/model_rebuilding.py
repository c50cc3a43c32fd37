"""S7 and S9 of specs/10-secagg.md §9 once more, in plain integers: a part of model_server.py.

The nearest polynomial is found by Gao's algorithm (2003), limb by limb; the package has another.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import blocks
from blocks import LIMBS, P, Refused

Shares = Mapping[int, bytes]
Opens = Callable[[bytes], bool]
Polynomial = list[int]
"""By ascending powers; the zero polynomial is empty."""


def rebuilt(
    wanted: Sequence[tuple[int, Shares, Opens]], t: int, session: bytes
) -> Iterator[tuple[int, bytes | None, set[int]]]:
    """(dealer, its secret or None, the x whose share is recorded as wrong), dealer by dealer."""
    off: Counter[int] = Counter()
    for dealer, shares, opens in wanted:
        secret, wrong = one(shares, opens, t, {x for x in off if off[x] >= 2}, session, dealer)
        off.update(wrong)
        yield dealer, secret, wrong


def one(
    shares: Shares, opens: Opens, t: int, doubted: set[int], session: bytes, dealer: int
) -> tuple[bytes | None, set[int]]:
    kept: bytes | None = None
    few = (len(shares) - t + 1) // 2
    for secret, wrong in counted(shares, t, doubted):
        if secret is not None and opens(secret):
            kept = kept or secret
            if len(wrong) <= few:
                return secret, wrong
    for number in range(256 if kept is None and len(shares) > t else 0):
        secret, wrong = through(shares, subset(sorted(shares), t, session, dealer, number))
        if secret is not None and opens(secret):
            return secret, wrong if len(wrong) <= few else set()
    return kept, set()


def counted(shares: Shares, t: int, doubted: set[int]) -> Iterator[tuple[bytes | None, set[int]]]:
    points = sorted(shares)
    yield through(shares, points[:t])
    trusted = [x for x in points if x not in doubted]
    if len(trusted) >= t:
        yield through(shares, trusted[:t])
    yield nearest(shares, t)


def subset(points: Sequence[int], t: int, session: bytes, dealer: int, number: int) -> list[int]:
    key = blocks.H("subset", session, dealer, number)
    draws = iter(blocks.stream(key, 32, 0, t + 64))
    places = list(points)
    for i in range(t):
        left = len(places) - i
        while (r := next(draws)) >= 2**32 - 2**32 % left:
            pass
        j = i + r % left
        places[i], places[j] = places[j], places[i]
    return places[:t]


def through(shares: Shares, chosen: Sequence[int]) -> tuple[bytes | None, set[int]]:
    limbs = {x: struct.unpack(">5Q", share) for x, share in shares.items()}
    found = [interpolated([(x, limbs[x][j]) for x in chosen]) for j in range(5)]
    wrong = {x for x in shares if [value(f, x) for f in found] != list(limbs[x])}
    return secret_of(found), wrong


def nearest(shares: Shares, t: int) -> tuple[bytes | None, set[int]]:
    found, wrong = [], set()
    for j in range(5):
        pairs = [(x, struct.unpack(">5Q", shares[x])[j]) for x in sorted(shares)]
        f = gao(pairs, t)
        if f is None:
            return None, set()
        found.append(f)
        wrong |= {x for x, y in pairs if value(f, x) != y}
    return secret_of(found), wrong


def secret_of(found: Sequence[Polynomial]) -> bytes | None:
    secret = b""
    for f, (low, high) in zip(found, LIMBS, strict=True):
        at_zero = f[0] if f else 0
        if at_zero >= 256 ** (high - low):
            return None
        secret += at_zero.to_bytes(high - low, "little")
    return secret


def gao(pairs: Sequence[tuple[int, int]], t: int) -> Polynomial | None:
    """The polynomial of degree below t off at most (m - t) / 2 of the pairs, or None."""
    m = len(pairs)
    whole: Polynomial = [1]
    for x, _ in pairs:
        whole = times(whole, [-x % P, 1])
    high, low = whole, interpolated(pairs)
    before: Polynomial = []
    after: Polynomial = [1]
    while 2 * (len(low) - 1) >= m + t:
        quotient, rest = divided(high, low)
        high, low = low, rest
        before, after = after, minus(before, times(quotient, after))
    f, rest = divided(low, after)
    if rest or len(f) > t or sum(value(f, x) != y for x, y in pairs) > (m - t) // 2:
        return None
    return f


def interpolated(pairs: Sequence[tuple[int, int]]) -> Polynomial:
    total: Polynomial = []
    for x, y in pairs:
        term: Polynomial = [y]
        for z, _ in pairs:
            if z != x:
                term = times(term, [c * pow(x - z, -1, P) % P for c in (-z, 1)])
        total = minus(total, [-c for c in term])
    return total


def value(f: Polynomial, x: int) -> int:
    return sum(c * pow(x, power, P) for power, c in enumerate(f)) % P


def trimmed(f: Sequence[int]) -> Polynomial:
    f = [c % P for c in f]
    while f and f[-1] == 0:
        f.pop()
    return f


def minus(f: Polynomial, g: Polynomial) -> Polynomial:
    return trimmed([a - b for a, b in itertools.zip_longest(f, g, fillvalue=0)])


def times(f: Polynomial, g: Polynomial) -> Polynomial:
    product = [0] * (len(f) + len(g))
    for i, a in enumerate(f):
        for j, b in enumerate(g):
            product[i + j] += a * b
    return trimmed(product)


def divided(f: Polynomial, g: Polynomial) -> tuple[Polynomial, Polynomial]:
    quotient, rest = [0] * len(f), list(f)
    inverse = pow(g[-1], -1, P)
    while len(rest) >= len(g):
        factor, shift = rest[-1] * inverse % P, len(rest) - len(g)
        quotient[shift] = factor
        rest = minus(rest, times([0] * shift + [factor], g))
    return trimmed(quotient), rest


def do_decode(
    shares: dict[str, str], threshold: int
) -> dict[str, object]:  # an operation without a session
    given = {int(x): bytes.fromhex(share) for x, share in shares.items()}
    secret, wrong = nearest(given, threshold)
    if secret is None:
        raise Refused("InvalidShare", "§9")
    return {"secret": secret.hex(), "wrong": sorted(wrong)}


def do_subset(
    session: str, dealer: int, points: list[int], threshold: int, attempts: list[int]
) -> dict[str, object]:
    raw = bytes.fromhex(session)
    return {"subsets": [subset(points, threshold, raw, dealer, a) for a in attempts]}
