"""Plans at the edge of what is accepted, and the plans that are chosen: 10-secagg.md §10.

Each chosen plan is there with its neighbours, one number apart; and with parameters whose tails
come within 2^-13 of their bound on either side, found by search.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from secagg.errors import ParameterError
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.suite import SUITE_1, SUITE_2
from secagg.threat import Threat
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.params import SecAggParams

Data = dict[str, Any]
Steps = list[tuple[str, Data]]

THREATS: list[tuple[int, str, str, int, int, int]] = [
    (n, corrupt, dropout, 0, n, 0)
    for corrupt, dropout in (("1/20", "1/10"), ("1/10", "1/5"), ("1/5", "1/5"))
    for n in (3, 4, 5, 6, 7, 9, 20, 50, 51, 52, 60, 100, 300)
] + [
    (3, "0", "0", 0, 3, 0),
    (5, "1/10", "1/5", 3, 5, 0),
    (5, "1/10", "1/5", 5, 5, 0),
    (60, "2/5", "3/10", 0, 60, 0),
    (53, "39/100", "7/25", 0, 53, 0),
    (100, "1/10", "1/5", 79, 100, 0),
    (100, "1/10", "1/5", 90, 100, 0),
    (100, "1/10", "1/5", 60, 100, 0),
    (100, "1/5", "1/5", 100, 100, 0),
    (100, "1/2", "41/100", 0, 100, 0),
    (1000, "1/10", "1/5", 0, 1000, 0),
    # chosen from more
    (50, "1/100", "1/5", 0, 1000, 0),
    (50, "1/100", "1/5", 0, 1001, 0),
    (60, "1/100", "1/5", 0, 1000, 0),
    (100, "1/50", "1/5", 0, 3500, 0),
    (100, "1/50", "1/5", 0, 3501, 0),
    (100, "1/10", "1/5", 0, 2**32 - 1, 0),
    # some of whom answer wrongly
    (20, "1/10", "1/5", 0, 20, 2),
    (20, "1/10", "1/5", 0, 20, 3),
    (51, "1/10", "1/5", 0, 51, 1),
    (60, "1/10", "1/5", 0, 60, 8),
    (20, "1/40", "1/5", 0, 40, 2),
]

CLOSE = [  # n, corrupt, dropout, k, t: the correctness tail
    (330, "1/10", "3/10", 126, 65),
    (400, "1/10", "1/5", 78, 43),
    (230, "1/10", "3/10", 72, 32),
    (180, "1/10", "3/10", 68, 31),
    (70, "1/10", "3/10", 22, 6),
    # the security tail
    (790, "1/10", "1/10", 112, 41),
    (230, "1/5", "1/5", 74, 41),
    (310, "3/10", "1/5", 48, 42),
    (190, "3/20", "1/5", 42, 26),
    (360, "1/10", "3/10", 54, 28),
    (460, "1/10", "1/10", 34, 22),
    (140, "3/10", "1/10", 48, 36),
    # the graph falls apart
    (1969, "70/1969", "72/1969", 16, 9),
    (1969, "70/1969", "71/1969", 16, 9),
]


def steps() -> Steps:
    return [*_choices(), *_verdicts()]


def _choices() -> Steps:
    return [("choose_plan", _threat(*threat)) for threat in THREATS]


def _verdicts() -> Steps:
    """Each once, in a fixed order."""
    found: dict[str, tuple[str, Data]] = {}
    for (n, corrupt, dropout, *rest), protocol, params in _cases():
        threat = (n, corrupt, dropout, *(rest if len(rest) == 3 else (*rest, n, 0)))
        case = {**_threat(*threat), "protocol": protocol, "parameters": params}
        found.setdefault(repr(case), ("judge_plan", case))
    return list(found.values())


def _cases() -> Iterator[tuple[tuple[Any, ...], str, list[int]]]:
    for threat in THREATS:
        made = _made(*threat)
        if made is None:
            continue
        n, k, t, m, s = _numbers(made)
        yield threat, made.protocol, [n, k, t, m, s]
        other = "secagg" if made.protocol == "secagg+" else "secagg+"
        yield threat, other, [n, k, t, m, s]
        for roster, liars in ((1, 0), (0, 1)):
            more = (*threat[:4], threat[4] + roster, threat[5] + liars)
            yield more, made.protocol, [n, k, t, m, s]
        for change in _near(n, k, t, m, s):
            yield threat, made.protocol, change
    for n, corrupt, dropout, k, t in CLOSE:
        s = n + (-Fraction(dropout) * n).__floor__()
        for near in (t - 1, t, t + 1):
            yield (n, corrupt, dropout, 0), "secagg+", [n, k, near, s, s]
    # the published rows hold at n, and not for as few as may come
    for m in (800, 998, 999, 1000):
        yield (1000, "1/10", "1/5", 0), "secagg+", [1000, 66, 31, m, 800]
    for m in (800, 900, 1000):
        yield (1000, "1/10", "1/5", 0), "secagg+", [1000, 70, 35, m, 800]
    for k in (2**14 - 2, 2**14, 2**14 + 2):
        yield (17_000, "0", "0", 0), "secagg+", [17_000, k, k // 2 + 1, 17_000, 17_000]
    yield (2**20, "1/10", "1/5", 0), "secagg", [2**20, 2**20 - 1, 576718, 576718, 576718]


def _near(n: int, k: int, t: int, m: int, s: int) -> Iterator[list[int]]:
    for step in (-2, -1, 1, 2):
        yield [n, k + step, t, m, s]
        yield [n, k, t + step, m, s]
        yield [n, k, t, m + step, s]
        yield [n, k, t, m, s + step]
        yield [n, k + 2 * step, t + step, m, s]
        yield [n, k, t, m + step, s + step]
        yield [n, k, t + step, m + step, s + step]


def _made(
    n: int, corrupt: str, dropout: str, asked: int, roster: int, liars: int, **more: Any
) -> Plan | None:
    fields = {"u": Integer(1, 1)}
    try:
        return plan(
            clients=n,
            fields=fields,
            corrupt=corrupt,
            dropout=dropout,
            min_clients=asked or None,
            roster=roster,
            liars=liars,
            **more,
        )
    except ParameterError:
        return None


def _threat(n: int, corrupt: str, dropout: str, asked: int, roster: int, liars: int) -> Data:
    c, d = Fraction(corrupt), Fraction(dropout)
    return {
        "clients": n,
        "corrupt": [c.numerator, c.denominator],
        "dropout": [d.numerator, d.denominator],
        "min_clients": asked,
        **({"roster": roster} if roster != n else {}),
        **({"liars": liars} if liars else {}),
    }


def _numbers(made: Plan) -> list[int]:
    p = made.params
    return [p.clients, p.degree, p.threshold, p.min_clients, p.min_survivors]


def _parsed(v: Data) -> Threat:
    return Threat(
        v["clients"],
        Fraction(*v["corrupt"]),
        Fraction(*v["dropout"]),
        "active" if v.get("active") else "semi-honest",
        min_clients=v["min_clients"] or None,
        roster=v.get("roster"),
        liars=v.get("liars", 0),
    )


def choose(**v: Any) -> Data:
    corrupt, dropout = Fraction(*v["corrupt"]), Fraction(*v["dropout"])
    rest = v["min_clients"], v.get("roster", v["clients"]), v.get("liars", 0)
    made = _made(v["clients"], str(corrupt), str(dropout), *rest)
    if made is None:
        return {"feasible": False}
    return {"feasible": True, "protocol": made.protocol, "parameters": _numbers(made)}


ACTIVE: list[tuple[int, str, str, int, int, int]] = [
    (n, corrupt, dropout, 0, n, 0)
    for corrupt, dropout in (("1/20", "1/10"), ("1/5", "1/5"))
    for n in (3, 4, 5, 6, 9, 20, 60)
] + [
    (10, "0", "1/5", 0, 10, 0),
    (10, "1/10", "1/5", 7, 10, 0),
    (10, "1/10", "1/5", 9, 10, 0),
    (20, "1/40", "1/5", 0, 40, 2),
    (100, "1/20", "1/10", 0, 100, 5),
    (100, "1/20", "1/10", 0, 200, 0),
    (301, "1/10", "1/10", 0, 301, 0),
    (400, "1/20", "1/10", 0, 400, 3),
    (1000, "1/20", "1/10", 0, 1000, 0),
    (1001, "1/20", "1/10", 0, 1001, 0),
]
"""As THREATS: of an active server, for both graphs."""


NOBODY = "0", "0", 0
"""Corrupt, dropping; and as many as asked for."""
EDGES: list[tuple[tuple[int, str, str, int, int, int], str, list[int]]] = [
    # P2: three, and A + 2
    ((3, *NOBODY, 3, 0), "secagg", [3, 2, 2, 3, 3, 3, 2]),
    ((3, *NOBODY, 3, 0), "secagg", [3, 2, 2, 3, 2, 3, 2]),
    ((5, "3/5", "0", 0, 5, 0), "secagg", [5, 4, 5, 5, 5, 5, 5]),
    ((5, "4/5", "0", 0, 5, 0), "secagg", [5, 4, 5, 5, 5, 5, 5]),
    ((2, *NOBODY, 2, 0), "secagg", [2, 1, 2, 2, 2, 2, 2]),
    # P2: min_clients is n - D at most, min_survivors at most that, and what is asked for
    ((10, "0", "1/5", 0, 10, 0), "secagg", [10, 9, 6, 8, 8, 10, 6]),
    ((10, "0", "1/5", 0, 10, 0), "secagg", [10, 9, 6, 9, 8, 10, 6]),
    ((10, "0", "1/5", 8, 10, 0), "secagg", [10, 9, 6, 8, 6, 10, 6]),
    ((10, "0", "1/5", 8, 10, 0), "secagg", [10, 9, 6, 7, 6, 10, 6]),
    # P4: 2t > n + A, and liars
    ((10, "1/10", "0", 0, 10, 0), "secagg", [10, 9, 6, 6, 6, 10, 6]),
    ((10, "1/5", "0", 0, 10, 0), "secagg", [10, 9, 6, 6, 6, 10, 7]),
    ((10, "1/5", "0", 0, 10, 0), "secagg", [10, 9, 7, 7, 7, 10, 7]),
    ((10, *NOBODY, 10, 4), "secagg", [10, 9, 6, 6, 6, 10, 6]),
    ((10, *NOBODY, 10, 5), "secagg", [10, 9, 6, 6, 6, 10, 6]),
    ((10, *NOBODY, 10, 4), "secagg", [10, 9, 6, 7, 7, 10, 6]),
    # P5: how many neighbours anybody has, and t of them
    ((17_000, *NOBODY, 17_000, 0), "secagg+", [17_000, 2**14, 2**13 + 1, 17_000, 17_000, 1, 1]),
    ((17_000, *NOBODY, 17_000, 0), "secagg+", [17_000, 2**14 + 2, 2**13 + 2, 17_000, 17_000, 1, 1]),
    ((20, *NOBODY, 20, 0), "secagg+", [20, 18, 10, 20, 20, 20, 11]),
    ((20, *NOBODY, 20, 0), "secagg+", [20, 18, 9, 20, 20, 20, 11]),
    ((20, "0", "1/20", 0, 20, 0), "secagg+", [20, 16, 9, 19, 19, 20, 11]),
    ((20, "0", "1/20", 0, 20, 0), "secagg+", [20, 16, 9, 18, 18, 20, 11]),
    ((20, *NOBODY, 20, 0), "secagg+", [20, 2, 2, 20, 20, 20, 11]),
    ((20, "1/20", "0", 0, 20, 0), "secagg+", [20, 2, 3, 20, 20, 20, 11]),
    ((20, "1/20", "0", 0, 20, 0), "secagg+", [20, 4, 4, 20, 20, 20, 11]),
    ((20, "1/20", "0", 0, 20, 0), "secagg+", [20, 4, 3, 20, 20, 20, 11]),
    # P6: up to 1000 all sign, and above that as many as a committee may have
    ((1000, *NOBODY, 1000, 0), "secagg+", [1000, 2, 2, 1000, 1000, 1000, 501]),
    ((1000, *NOBODY, 1000, 0), "secagg+", [1000, 2, 2, 1000, 1000, 999, 500]),
    ((1001, *NOBODY, 1001, 0), "secagg+", [1001, 2, 2, 1001, 1001, 1000, 501]),
    ((1001, *NOBODY, 1001, 0), "secagg+", [1001, 2, 2, 1001, 1001, 1000, 500]),
    ((1001, *NOBODY, 1001, 0), "secagg+", [1001, 2, 2, 1001, 1001, 1001, 501]),
    ((1001, *NOBODY, 1001, 0), "secagg+", [1001, 2, 2, 1001, 1001, 1001, 502]),
    ((1001, *NOBODY, 1001, 0), "secagg", [1001, 1000, 501, 1001, 501, 1, 1]),
    ((1001, *NOBODY, 1001, 0), "secagg", [1001, 1000, 501, 1000, 501, 1, 1]),
    ((17_000, *NOBODY, 17_000, 0), "secagg+", [17_000, 2, 2, 17_000, 17_000, 2**14, 2**13 + 1]),
    ((17_000, *NOBODY, 17_000, 0), "secagg+", [17_000, 2, 2, 17_000, 17_000, 2**14 + 1, 2**13 + 1]),
]
"""Threat, protocol, parameters: at each limit of 13-active-parameters.md P2 to P6, and one beyond
it in one number."""


def active_steps() -> Steps:
    """13-active-parameters.md: what is chosen, and what is one number apart."""
    found: list[tuple[str, Data]] = []
    verdicts: dict[str, tuple[str, Data]] = {}
    for threat in ACTIVE:
        for protocol in ("secagg", "secagg+"):
            found.append(("choose_active_plan", {**_threat(*threat), "protocol": protocol}))
            made = _made(*threat, protocol=protocol, adversary="active")
            if made is None:
                continue
            params = list(struct.unpack(">7I", made.params.encode()))
            for change in (params, *_nearly(params)):
                case = {**_threat(*threat), "active": True, "protocol": protocol}
                case["parameters"] = change
                verdicts.setdefault(repr(case), ("judge_plan", case))
    for threat, protocol, params in EDGES:
        case = {**_threat(*threat), "active": True, "protocol": protocol, "parameters": params}
        verdicts.setdefault(repr(case), ("judge_plan", case))
    return [*found, *verdicts.values()]


def _nearly(params: list[int]) -> Iterator[list[int]]:
    for place in range(1, 7):
        for step in (-2, 1, 2) if place == 1 else (-1, 1):
            yield [p + step * (at == place) for at, p in enumerate(params)]
    for step in (-1, 1):
        yield [p + step * (at in (3, 4)) for at, p in enumerate(params)]
        yield [p + step * (1 + (at == 1)) * (at in (1, 2)) for at, p in enumerate(params)]
        yield [p + step * (at in (2, 6)) for at, p in enumerate(params)]


def choose_active(protocol: str, **v: Any) -> Data:
    corrupt, dropout = Fraction(*v["corrupt"]), Fraction(*v["dropout"])
    rest = v["min_clients"], v.get("roster", v["clients"]), v.get("liars", 0)
    threat = (v["clients"], str(corrupt), str(dropout), *rest)
    made = _made(*threat, protocol=protocol, adversary="active")
    if made is None:
        return {"feasible": False}
    return {"feasible": True, "parameters": list(struct.unpack(">7I", made.params.encode()))}


def judge(protocol: str, parameters: list[int], **v: Any) -> Data:
    base = plan(clients=100, fields={"u": Integer(1, 1)})
    try:
        schema = replace(base.schema, clients=v["clients"])
        kind, suite = (ActiveParams, SUITE_2) if v.get("active") else (SecAggParams, SUITE_1)
        Plan(_parsed(v), schema, protocol, kind(*parameters), suite=suite)
    except ParameterError:
        return {"accepted": False}
    return {"accepted": True}
