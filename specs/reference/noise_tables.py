"""Noise: tables and draws, in integers (41-noise.md)."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import blocks
from blocks import EXPAND, Refused

Data = dict[str, Any]
GAUSSIAN, SKELLAM, RESPONSE = 1, 2, 3
ONE = 2**256
LARGEST = 2**24
DRAWS = 2**30


def times(a: int, b: int) -> int:
    return a * b // ONE


def E(y: Fraction) -> int:
    """§5.2"""
    h = 8 + math.floor(y).bit_length()
    terms, j = [ONE], 0
    while terms[-1]:
        j += 1
        terms.append(terms[-1] * y.numerator // (2**h * y.denominator * j))
    e = sum(terms[::2]) - sum(terms[1::2])
    for _ in range(h):
        e = times(e, e)
    return e


def gaussian_terms(t: Fraction) -> list[int]:
    """§5.1"""
    r = E(1 / (2 * t))
    q, term, terms = times(r, r), ONE, []
    while term >= 2**128:
        terms.append(term)
        term, r = times(term, r), times(r, q)
    return terms


def skellam_terms(t: Fraction) -> list[int]:
    """§5.3"""
    K = 76 + math.isqrt(math.floor(224 * t))
    terms = {K + 1: 0, K: 2**192}
    for k in range(K, 0, -1):
        terms[k - 1] = terms[k + 1] + math.floor(terms[k] * 2 * k / t)
    return [terms[k] for k in range(K + 1)]


def weights(terms: list[int]) -> list[int]:
    """§5.4"""
    S = terms[0] + 2 * sum(terms[1:])
    rest = [2**128 * term // S for term in terms[1:]]
    last = max((k for k, w in enumerate(rest) if w), default=-1)
    return [2**127 - sum(rest), *rest[: last + 1]]


def columns(w: list[int]) -> list[tuple[int, int]]:
    """§5.5"""
    m = 1
    while 2**m < len(w):
        m += 1
    z = 2 ** (127 - m)
    w = w + [0] * (2**m - len(w))
    T, A = [0] * 2**m, list(range(2**m))
    queue = deque(c for c in range(2**m) if w[c] < z)
    for c in [c for c in range(2**m) if w[c] >= z]:
        while w[c] > z:
            taken = queue.popleft()
            T[taken], A[taken] = w[taken], c
            w[c] -= z - w[taken]
        if w[c] < z:
            queue.append(c)
    assert not queue
    return list(zip(T, A, strict=True))


def spread(k: int, n: int) -> int:
    return sum(k ** (2 * j) for j in range(n))


def digits(kind: int, v: Fraction) -> tuple[Fraction, int, int]:
    """§3: t, k, n."""
    if v <= LARGEST:
        return v, 0, 1
    if kind == SKELLAM:
        raise Refused("ParameterError", "41 §1.2")
    n = 2
    while True:
        k = 0
        while v >= 16 * (1 + (k + 1) ** 2) * spread(k + 1, n):
            k += 1
        if v / spread(k, n) <= LARGEST:
            return v / spread(k, n), k, n
        n += 1


def table(kind: int, variance: str) -> tuple[list[tuple[int, int]], int, int]:
    t, k, n = digits(kind, Fraction(float.fromhex(variance)))
    terms = gaussian_terms(t) if kind == GAUSSIAN else skellam_terms(t)
    return columns(weights(terms)), k, n


def X(u: int, made: list[tuple[int, int]]) -> int:
    """§4"""
    c, s, r = u % len(made), u // len(made) % 2, u // (2 * len(made))
    T, A = made[c]
    return (c if r < T else A) * (-1) ** s


def told(bit: int, p: Fraction, key: str) -> int:
    """§8"""
    if bit not in (0, 1):
        raise Refused("RangeError", "40 §10.1")
    low, high = blocks.stream(bytes.fromhex(key), 64, 0, 2)
    return bit ^ (low + 2**64 * high < p * 2**128)


def do_noise_key(secret: str, field: int) -> Data:
    return {"key": EXPAND(bytes.fromhex(secret), "noise", field).hex()}


def do_noise_table(kind: int, variance: str) -> Data:
    made, k, n = table(kind, variance)
    raw = b"".join((T * 2 * len(made) + A).to_bytes(16, "little") for T, A in made)
    first = [raw[16 * c : 16 * c + 16].hex() for c in range(min(4, len(made)))]
    digest = hashlib.sha256(raw).hexdigest()
    return {"size": len(made), "first": first, "digest": digest, "factor": k, "digits": n}


def do_add_noise(
    kind: int, variance: str, key: str, start: int, width: int, elements: list[int]
) -> Data:
    secret, count = bytes.fromhex(key), len(elements)
    if len(secret) != 32:
        raise Refused("InvalidKey", "41 §2")
    if start < 0 or start + count > DRAWS:
        raise Refused("ParameterError", "41 §2.3")
    made, k, n = table(kind, variance)
    total = list(elements)
    for j in range(n):
        words = blocks.stream(secret, 64, 2 * (j * DRAWS + start), 2 * count)
        for i in range(count):
            total[i] += k**j * X(words[2 * i] + 2**64 * words[2 * i + 1], made)
    return {"elements": [x % 2**width for x in total]}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
