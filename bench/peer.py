"""A whole round in Flower's SecAgg+ and here, at equal n, k, t, d and drops, both in one process.

`drop` is the rate of clients that vanish after share-keys, which send no masked vector. Flower's
own workflow and mod are driven by bench/rivals/flower/driver.py, which says what is counted; here
it is `secagg.simulate` with a plan of exactly these k and t. k = n - 1, the default, is the
complete graph, so `secagg`; a smaller k is `secagg+`, and must obey its rules, or the row is
refused. On both sides values lie in ±8 and are rounded stochastically, with the same step.

Counted alike: keys, shares, encryption, quantising, masking, (de)serialisation, unmasking, and the
mean. Not counted: making the inputs and checking the result. What differs is in Flower's favour or
was not to be had otherwise:
- our CPU seconds count a client that dropped as one that stayed;
- Flower's `transport_cpu`, copying messages, is left out, as nothing here corresponds to it;
- its mean is weighted by num_examples, all equal here; max_weight=1000 gives our plan that too;
- its masks come from a generator of 32 bits of seed, ours from AES-256.

cpu: Flower's CPU seconds of all parties / ours, worst row. bytes: ours / its, up and down, of a
client that stayed, worst row. Seconds are the best of REPEATS rounds each, in turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import rivals
from bench.common import Missing, Ratio, Row, Selection, main, progress
from secagg import sim
from secagg.drive.participant import Contribution
from secagg.errors import IntegrityError
from secagg.fields import FixedPoint
from secagg.plans.plan import Plan
from secagg.schema import Schema
from secagg.sim import Simulation
from secagg.threat import Threat
from secagg.types import PartyId
from secagg_protocols.secagg.params import SecAggParams

NAME = "peer"

CLIP, BITS = 8.0, 22
CORRUPT = Fraction(1, 10)
REPEATS = 2
SEED = 0

CASE = {"n": 50, "k": None, "t": None, "d": 1_000_000, "drop": 0.1, "max_weight": 1}
"""Others by --rows: fewer neighbours make Flower's Shamir cheaper, and so the ratio smaller."""

Values = npt.NDArray[np.float32]


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases([CASE]):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    reason = next((row["flower_reason"] for row in rows if "flower_reason" in row), None)
    if reason is not None:
        return {"cpu": Missing(reason), "bytes": Missing(reason)}
    return {
        "cpu": min(row["flower_cpu"] / row["cpu"] for row in rows),
        "bytes": max(
            (row["bytes_up"] + row["bytes_down"])
            / (row["flower_bytes_up"] + row["flower_bytes_down"])
            for row in rows
        ),
    }


def plan_of(n: int, k: int, t: int, d: int, drop: float, max_weight: int) -> Plan:
    """A plan of exactly these parameters; ParameterError names the rule that they break."""
    threat = Threat(n, CORRUPT, Fraction(drop).limit_denominator(1000))  # 1/6, as it was meant
    field = FixedPoint(d, CLIP, BITS, "stochastic")
    survivors = n - threat.dropped
    complete = k == n - 1
    # a smaller cohort would need more neighbours: in a k-regular round everybody begins
    params = SecAggParams(n, k, t, t, t) if complete else SecAggParams(n, k, t, n, survivors)
    schema = Schema.of({"update": field}, n, max_weight)
    return Plan(threat, schema, "secagg" if complete else "secagg+", params)


def _row(n: int, k: int | None, t: int | None, d: int, drop: float, max_weight: int) -> Row:
    k = n - 1 if k is None else k
    t = _threshold(n, k) if t is None else t
    plan = plan_of(n, k, t, d, drop, max_weight)
    dropped = round(drop * n)
    sim.run(plan_of(n, k, t, 1, drop, max_weight), _inputs(1, max_weight))  # loads the kernels
    ours: list[Simulation] = []
    theirs: list[Row] = []
    reason = ""
    for turn in range(REPEATS):
        with progress(f"n={n} turn {turn + 1}") as tell:
            ours.append(_round(plan, d, dropped, max_weight, tell))
        if not reason:
            outcome = rivals.flower("round", n=n, k=k, t=t, d=d, dropped=dropped, clip=CLIP)
            reason = outcome.reason
            theirs += [outcome.figures] if outcome.figures else []
    row: Row = {"n": n, "k": k, "t": t, "d": d, "drop": drop, "max_weight": max_weight}
    row |= {"dropped": dropped, "protocol": plan.protocol, **_ours(plan, ours, d, max_weight)}
    return row | ({"flower_cpu": None, "flower_reason": reason} if reason else _theirs(theirs))


def _threshold(n: int, k: int) -> int:
    """secagg's own where k = n - 1: floor((n + c) / 2) + 1. With a smaller k, name a t."""
    return (k + 1 + Threat(n, CORRUPT, Fraction(0)).corrupted) // 2 + 1


def _round(plan: Plan, d: int, dropped: int, max_weight: int, tell: Any) -> Simulation:
    leaving = sim.drop_at("masked-input", count=dropped)
    done = sim.run(plan, _inputs(d, max_weight), drop=leaving, seed=SEED, progress=tell)
    if not done.exact:
        raise IntegrityError("the total is not the plain sum of the inputs: no figure counts")
    return done


def _inputs(d: int, max_weight: int) -> Any:
    return lambda me: Contribution({"update": _values(me, d)}, max_weight)


def _values(me: PartyId, d: int) -> Values:
    """As Flower's driver draws them."""
    return np.random.default_rng([SEED, me]).uniform(-CLIP, CLIP, d).astype(np.float32)


def _ours(plan: Plan, rounds: Sequence[Simulation], d: int, max_weight: int) -> Row:
    n = plan.threat.clients
    best = min(rounds, key=lambda done: done.server_seconds + n * done.client_seconds)
    mean = best.aggregate.mean["update"]
    true = sum(_values(me, d).astype(float) for me in best.aggregate.contributors)
    error = np.abs(mean - true / len(best.aggregate.contributors)).max()
    return {
        "exact": best.exact,
        "cpu": best.server_seconds + n * best.client_seconds,
        "server_cpu": best.server_seconds,
        "client_cpu": best.client_seconds,
        "bytes_up": best.bytes_up,
        "bytes_down": best.bytes_down,
        "max_abs_error": float(error),
        "error_bound": plan.max_error,
        "stages": dict(best.phases),
    }


def _theirs(rounds: Sequence[Row]) -> Row:
    best = min(rounds, key=lambda figures: figures["total_cpu"])
    stages = best["stages"].items()
    return {
        "flower_cpu": best["total_cpu"],
        "flower_server_cpu": best["server_cpu"],
        "flower_client_cpu": best["client_cpu"],
        "flower_bytes_up": best["bytes_up"],
        "flower_bytes_down": best["bytes_down"],
        "flower_max_abs_error": best["max_abs_error"],
        # as ours: wall seconds of all that happens in the stage
        "flower_stages": {n: each["server_wall"] + each["clients_wall"] for n, each in stages},
    }


if __name__ == "__main__":
    main(NAME)
