"""What noise promises, and the least noise for a promise (40-privacy.md §3-§6).

Part of the second implementation: it imports nothing of the packages. The normal distribution by
series that the first one does not use: alternating powers at hundreds of digits, and the
divergent one of large arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Any

from blocks import Refused

Data = dict[str, Any]
Block = tuple[int, Fraction, int, int, int]  # kind, v, d, square of the sensitivity, N
GAUSSIAN, SKELLAM, RESPONSE = 1, 2, 3
DIGITS = Context(prec=80, Emin=MIN_EMIN, Emax=MAX_EMAX)
MORE = Context(prec=270, Emin=MIN_EMIN, Emax=MAX_EMAX)
ORDERS = [*range(2, 64), *(m * 2**k for k in range(3, 38) for m in range(8, 16))]
MOST = 2**20


def check(fine: bool, rule: str) -> None:
    if not fine:
        raise Refused("ParameterError", rule)


def number(value: Fraction | int) -> Decimal:
    return Decimal(value.numerator) / value.denominator


@lru_cache(maxsize=2)
def pi(digits: int = DIGITS.prec) -> Decimal:
    """Machin: 16 arctan(1/5) - 4 arctan(1/239)."""

    def arctan(n: int) -> Decimal:
        one = 10 ** (digits + 10)
        total, power, k = 0, one // n, 0
        while power:
            total += (-1) ** k * (power // (2 * k + 1))
            power, k = power // (n * n), k + 1
        return Decimal(total) / one

    return 16 * arctan(5) - 4 * arctan(239)


def upper(x: Decimal) -> Decimal:
    """1 - Φ(x)."""
    if x < 0:
        return 1 - upper(-x)
    if x > 20:
        return sum(asymptotic(x), Decimal(0)) * (-x * x / 2).exp() / (2 * pi()).sqrt()
    with localcontext(MORE):
        found = Decimal("0.5") - sum(powers(x), Decimal(0)) / (2 * pi(MORE.prec)).sqrt()
    return +found


def powers(x: Decimal) -> Iterator[Decimal]:
    """x - x^3 / (2 3) + x^5 / (8 5) - ...; terms of up to 10^87 cancel."""
    term, n = x, 0
    while abs(term) > Decimal("1e-180"):
        yield term / (2 * n + 1)
        n += 1
        term = -term * x * x / (2 * n)


def asymptotic(x: Decimal) -> Iterator[Decimal]:
    """1/x - 1/x^3 + 3/x^5 - ..; ended where it is smallest, below exp(-200) of the first."""
    term, n = 1 / x, 0
    while n < 200 and abs(term) > Decimal("1e-120") / x:
        yield term
        n += 1
        term = -term * (2 * n - 1) / (x * x)


def delta_of(epsilon: Decimal, strength: Decimal) -> Decimal:
    """§4.3"""
    mu = strength.sqrt()
    return upper(epsilon / mu - mu / 2) - epsilon.exp() * upper(epsilon / mu + mu / 2)


def tau(v: Fraction, shares: int) -> Decimal:
    """§3.3"""
    return 10 * (shares - 1) * (-pi() * pi() * min(math.floor(v), 64)).exp()


def divergences(block: Block) -> Iterator[Decimal]:
    """§3.5, §3.6, at each order."""
    kind, v, d, square, shares = block
    if kind == RESPONSE:  # §10.4
        yield from (min(a * ratio(v) ** 2 / 2, ratio(v)) for a in ORDERS)
        return
    whole = number(v * shares)
    norm, one = Decimal(square).sqrt(), Decimal(min(d * square, square * square)).sqrt()
    if kind == SKELLAM:
        for a in ORDERS:
            more = ((2 * a - 1) * square + 6 * one) / (4 * whole * whole)
            yield a * square / (2 * whole) + min(more, 3 * one / (2 * whole))
        return
    t, s = tau(v, shares), whole.sqrt()
    first, plus = square / whole, t * d
    second = first + 2 * one * t / s + t * t * d
    third = (norm / s + Decimal(d).sqrt() * t) ** 2
    for a in ORDERS:
        half = Decimal(a) / 2
        yield min(half * first + plus, half * second, half * third)


@lru_cache(maxsize=4)
def added(delta: Decimal) -> list[Decimal]:
    logs = delta.ln()
    found = []
    for a in map(Decimal, ORDERS):
        found.append(((a - 1) / a).ln() - (logs + a.ln()) / (a - 1))
    return found


def by_renyi(blocks: list[Block], delta: Decimal, rounds: int) -> Decimal:
    """§4.4"""
    columns = zip(*map(divergences, blocks), strict=True)
    sums = (sum(column, Decimal(0)) for column in columns)
    return min(rounds * d + more for d, more in zip(sums, added(delta), strict=True))


def reduced(blocks: list[Block], epsilon: Decimal, delta: Decimal, rounds: int) -> bool:
    """§4.5"""
    if any(kind != GAUSSIAN for kind, *_ in blocks):
        return False
    for r2 in (1, 2, 4):
        q = (-2 * pi() * pi() * r2).exp()
        eta = 2 * q / (1 - q)
        if any(shares * v <= r2 for _, v, _, _, shares in blocks):
            continue
        strength = kappa = Decimal(0)
        for _, v, d, square, shares in blocks:
            strength += rounds * square / number(shares * v - r2)
            kappa += rounds * d * (tau(v, shares) / 2 + 2 * eta / (1 - eta))
        if epsilon >= 2 * kappa:
            if delta_of(epsilon - 2 * kappa, strength) <= delta * (-kappa).exp():
                return True
    return False


def accepted(blocks: list[Block], epsilon: float, delta: float, rounds: int) -> str:
    """§4.6: the bound that keeps it, or nothing."""
    with localcontext(DIGITS):
        exact, at = Decimal(epsilon), Decimal(delta)
        if all(kind == RESPONSE for kind, *_ in blocks):
            told = sum(ratio(p) for _, p, *_ in blocks)
            return "randomised-response" if rounds * told <= exact else ""
        if reduced(blocks, exact, at, rounds):
            return "gaussian-reduction"
        if by_renyi(blocks, at, rounds) <= exact:
            kinds = {kind for kind, *_ in blocks}
            names = {1: "discrete-gaussian-rdp", 2: "skellam-rdp"}
            return names[kinds.pop()] if len(kinds) == 1 else "mixed-rdp"
    return ""


def ratio(p: Fraction) -> Decimal:
    """ε_0 of §10.2"""
    return number(1 / p - 1).ln()


def least_flip(part: Fraction, epsilon: float, rounds: int) -> float:
    """§10.3: by trying binary64s."""
    with localcontext(DIGITS):
        x = number(part * Fraction(epsilon) / rounds)
        p = float(1 / (1 + x.exp()))
        while ratio(Fraction(p)) <= x:
            p = math.nextafter(p, 0)
        while ratio(Fraction(p)) > x:
            p = math.nextafter(p, 1)
    return p


def do_flips(parts: list[str], epsilon: str, delta: str, rounds: int) -> Data:
    """§10.3"""
    claim = float.fromhex(epsilon), float.fromhex(delta), rounds
    check_claim(*claim)
    found = [max(2.0**-64, least_flip(Fraction(part), claim[0], rounds)) for part in parts]
    check(max(found) < 0.5, "§10.3")
    return {"flips": [p.hex() for p in found]}


def do_central(flip: str, honest: int, delta: str) -> Data:
    """§10.5 of one field in one round, with every number of ones, in fractions; to four digits."""
    p, at = Fraction(float.fromhex(flip)), Fraction(float.fromhex(delta))
    p = p.limit_denominator(1000)  # fractions of few digits; the vectors have such a p
    worst = Fraction(1)
    for ones in range(honest):
        f = [Fraction(1)]
        for other in range(honest - 1):
            q = 1 - p if other < ones else p
            f = [(1 - q) * a + q * b for a, b in zip([*f, 0], [0, *f], strict=True)]
        for side in (f, f[::-1]):
            for j, each in enumerate(side):
                beyond = sum(side[j + 1 :], Fraction(0))
                worst = max(worst, (beyond + (1 - p) * each - at) / (beyond + p * each))
    with localcontext(DIGITS):
        return {"epsilon": f"{number(worst).ln():.4f}"}


def check_claim(epsilon: float, delta: float, rounds: int) -> None:
    check(2.0**-20 <= epsilon <= 1024, "§4")
    check(2.0**-64 <= delta < 1, "§4")
    check(1 <= rounds <= MOST, "§4")


def kind_of(rotated: bool, v: Fraction) -> int:
    """§3.1"""
    return GAUSSIAN if (v >= Fraction(25, 4) if rotated else v > 2**24) else SKELLAM


def read(blocks: list[list[Any]]) -> list[Block]:
    found = []
    for kind, variance, length, square, shares in blocks:
        v = Fraction(float.fromhex(variance))
        if kind == RESPONSE:
            check(2.0**-64 <= v < Fraction(1, 2) and (length, shares) == (1, 1), "§10")
            found.append((kind, v, length, square, shares))
            continue
        check(kind == SKELLAM or shares == 1 or v >= Fraction(25, 4), "§3")
        found.append((kind, v, length, square, shares))
    return found


def do_claim(blocks: list[list[Any]], epsilon: str, delta: str, rounds: int) -> Data:
    claim = float.fromhex(epsilon), float.fromhex(delta), rounds
    check_claim(*claim)
    return {"by": accepted(read(blocks), *claim)}


def rounded(value: Fraction) -> Fraction:
    """Up to 24 bits; at least 2^-20."""
    unit = Fraction(2) ** (floor_log(value) - 23)
    return max(Fraction(1, 2**20), math.ceil(value / unit) * unit)


def floor_log(value: Fraction) -> int:
    k = value.numerator.bit_length() - value.denominator.bit_length()
    return k if Fraction(2) ** k <= value else k - 1


def do_least_noise(
    shapes: list[list[Any]], epsilon: str, delta: str, rounds: int, shares: int
) -> Data:
    """§5"""
    claim = float.fromhex(epsilon), float.fromhex(delta), rounds
    check_claim(*claim)
    parts = [Fraction(part) for *_, part in shapes]
    weights = [Fraction(s[1]) * sum(parts) / p for s, p in zip(shapes, parts, strict=True)]

    def blocks(index: int) -> list[Block]:
        k, m = divmod(index, 2**31)
        scale = (m + 2**31) * Fraction(2) ** (k - 31)
        made = []
        for (length, square, rotated, _), weight in zip(shapes, weights, strict=True):
            v = rounded(scale * weight)
            made.append((kind_of(rotated, v), v, length, square, shares))
        return made

    low, high = -200 * 2**31, 0
    while max(v for _, v, *_ in blocks(high + 2**31)) <= 2**60:
        high += 2**31
    high = last(high, high + 2**31, lambda at: max(v for _, v, *_ in blocks(at)) <= 2**60)
    check(bool(accepted(blocks(high), *claim)), "§5")
    least = last(low, high, lambda at: not accepted(blocks(at), *claim)) + 1
    return {"noises": [[kind, float(v).hex()] for kind, v, *_ in blocks(least)]}


def last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last of low <= x < high that holds, low being one and high none."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def tail(variance: Fraction, kind: int, length: int) -> int:
    """§6.1"""
    with localcontext(DIGITS):
        chance = (Decimal(2) ** 41 * length).ln()
        more = chance / 3 if kind == SKELLAM else Decimal(0)
        return math.ceil(more + (more * more + 2 * chance * number(variance)).sqrt())


def do_vector_bound(
    length: int, square: int, units: int, kind: int, variance: str, shares: int
) -> Data:
    """§6.2"""
    whole = shares * Fraction(float.fromhex(variance))
    largest = 2 ** (length.bit_length() - 1)
    spread = tail(Fraction(units**2 * square, largest) + whole, kind, length) + units
    return {"bound": min(spread, units * math.isqrt(square) + tail(whole, kind, length))}


def do_integer_bound(
    length: int, largest: int, units: int, kind: int, variance: str, shares: int
) -> Data:
    """§6.3"""
    whole = shares * Fraction(float.fromhex(variance))
    return {"bound": units * largest + tail(whole, kind, length)}


ALONE: dict[str, Callable[..., Data]] = {
    name.removeprefix("do_"): function
    for name, function in list(globals().items())
    if name.startswith("do_")
}
