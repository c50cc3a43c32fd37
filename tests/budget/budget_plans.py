"""Plans with noise, small enough to be made in a moment, and their costs."""

from __future__ import annotations

from functools import cache
from typing import Any

import secagg
from secagg.plans.plan import Plan

DELTA = 1e-4


@cache
def vector(epsilon: float = 2.0, rounds: int = 10, **more: Any) -> Plan:
    return made({"update": secagg.Vector(64, norm=1.0, bits=16)}, epsilon, rounds, **more)


@cache
def counts(epsilon: float = 2.0, rounds: int = 10, **more: Any) -> Plan:
    return made({"bars": secagg.Integer(8, 5, 5)}, epsilon, rounds, **more)


@cache
def both(epsilon: float = 2.0, rounds: int = 10) -> Plan:
    fields = {"update": secagg.Vector(64, norm=1.0, bits=16), "bars": secagg.Integer(8, 5, 5)}
    return made(fields, epsilon, rounds)


@cache
def exact() -> Plan:
    return secagg.plan(clients=20, fields={"update": secagg.FixedPoint(64, 1.0, 16)})


def made(fields: Any, epsilon: float, rounds: int, **more: Any) -> Plan:
    kept = {"clients": 20, "corrupt": 0.1, "dropout": 0.2} | {
        key: more.pop(key) for key in ("clients", "corrupt", "dropout", "protocol") if key in more
    }
    asked = secagg.Privacy(epsilon, DELTA, rounds, **more)
    return secagg.plan(fields=fields, privacy=asked, **kept)  # type: ignore[arg-type]


def key(number: int) -> bytes:
    return number.to_bytes(32)
