"""How far is a private mean from the true one, against what a trusted curator's noise would cost?

Each of n clients has a random vector of norm 1 and d elements. Their mean comes through the whole
protocol (`secagg.simulate`), distributed noise and all, as often as it takes for the errors of one
row: `squared_errors` of single elements. `ratio` is their mean over the variance of the continuous
Gaussian mechanism at the same epsilon and delta, added once to the sum by somebody trusted, without
rounding: the least that there can be (Balle and Wang 2018).

`predicted` is that ratio from the plan alone: n shares of noise, and rounding. `off`: how far the
measured one is from it; its own deviation is sqrt(2 / squared_errors). `factor`, which both have in
them: the clients of a sum over the honest ones that the plan counts on (n_min), which is 1 where
none may be corrupt or lost, and the price of those that may. `published` is what the ratio would be
if the plan were accounted by the Rényi bound of Kairouz, Liu and Steinke (2021), `skellam` by that
of Agarwal, Kairouz and Liu (2021) for Skellam noise: the same protocol with more noise.

Ratios are of rows with 2,500 errors or more, and of the worst of them. prediction: `off`, at most
0.08. reduction: ratio / factor. published: published / predicted, what the better accounting saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

import secagg
from bench.common import Missing, Ratio, Row, Selection, main
from secagg.dp import gaussian, rdp
from secagg.dp.mechanisms import Block
from secagg.errors import ParameterError
from secagg.noise import Kind, Noise
from secagg.plans.plan import Plan

NAME = "mean"

ENOUGH = 2500
ROUNDING = 1 / 6
"""The variance of stochastic rounding of an element that may lie anywhere between two integers."""


def rows(selection: Selection) -> Iterator[Row]:
    common = {"d": 256, "bits": 16, "delta": 1e-5}
    whole = {"servers": 2, "corrupt": 0, "dropout": 0, "drop": 0}
    lossy = {"servers": 1, "corrupt": 0.1, "dropout": 0.1, "drop": 0.05}
    sizes = [(100, whole, (1, 3, 6)), (100, lossy, (1,)), (1000, whole, (1, 3, 6))]
    grid = [
        {
            "n": n,
            "epsilon": epsilon,
            **common,
            "errors": 2 * ENOUGH if n == 100 else ENOUGH,
            **terms,
        }
        for n, terms, epsilons in sizes
        for epsilon in epsilons
    ]
    for case in selection.cases(grid):
        yield _row(**case)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    enough = [row for row in rows if row["squared_errors"] >= ENOUGH]
    if not enough:
        few = Missing(f"no row has {ENOUGH} squared errors")
        return {"prediction": few, "reduction": few, "published": few}
    return {
        "prediction": max(row["off"] for row in enough),
        "reduction": max(row["ratio"] / row["factor"] for row in enough),
        "published": min(row["published"] / row["predicted"] for row in enough),
    }


def _row(
    n: int,
    d: int,
    epsilon: float,
    delta: float,
    bits: int,
    errors: int,
    servers: int,
    corrupt: float,
    dropout: float,
    drop: float,
) -> Row:
    field = secagg.Vector(d, norm=1.0, bits=bits)
    plan = secagg.plan(
        clients=n,
        corrupt=corrupt,
        dropout=dropout,
        servers=servers,
        fields={"mean": field},
        privacy=secagg.Privacy(epsilon=epsilon, delta=delta),
    )
    runs = -(-errors // d)
    found = [_run(plan, drop, seed) for seed in range(runs)]
    central = (_multiplier(epsilon, delta) * field.levels) ** 2
    clients = found[0].clients
    honest, share = _noise(plan)
    ratio = float(np.mean([one.squares for one in found])) / (
        central / (clients * field.levels) ** 2
    )
    predicted = clients * (share + ROUNDING) / central
    return {
        "n": n,
        "d": d,
        "bits": bits,
        "epsilon": epsilon,
        "delta": delta,
        "errors": errors,
        "servers": servers,
        "corrupt": corrupt,
        "dropout": dropout,
        "drop": drop,
        "protocol": plan.protocol,
        "runs": runs,
        "squared_errors": runs * d,
        "ratio": ratio,
        "predicted": predicted,
        "off": abs(ratio / predicted - 1),
        "factor": clients / honest,
        "published": clients
        / honest
        * _published(field, honest, Kind.GAUSSIAN, epsilon, delta)
        / central,
        "skellam": clients
        / honest
        * _published(field, honest, Kind.SKELLAM, epsilon, delta)
        / central,
    }


@dataclass(frozen=True)
class _Run:
    """squares: float64[d], of the errors of one mean. clients: how many it is of."""

    squares: npt.NDArray[np.float64]
    clients: int


def _run(plan: Plan, drop: float, seed: int) -> _Run:
    n, field = plan.threat.clients, dict(plan.schema.given)["mean"]
    vectors = np.random.default_rng(seed).normal(size=(n, field.length))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    leaving = [secagg.drop_at("masked-input", drop)] if drop else None
    total = secagg.simulate(plan, lambda me: {"mean": vectors[me]}, drop=leaving, seed=seed)
    true = vectors[sorted(total.contributors)].mean(axis=0)
    return _Run((total.mean["mean"] - true) ** 2, total.count)


def _noise(plan: Plan) -> tuple[int, float]:
    """Shares that the plan counts on, and the variance of one."""
    terms = plan.schema.privacy
    if terms is None:
        raise ParameterError("the plan of this benchmark has privacy")
    return terms.honest, terms.noises[0].variance


def _published(
    field: secagg.Vector, honest: int, kind: Kind, epsilon: float, delta: float
) -> float:
    """The least variance of all honest shares together by the Renyi bound."""

    def keeps(variance: float) -> bool:
        block = Block(Noise(kind, variance / honest), field.length, field.norm_squared, honest)
        return rdp.epsilon([block], Decimal(delta), 1) <= Decimal(epsilon)

    return _least(keeps, 1e-3 * field.levels**2, 1e5 * field.levels**2)


def _multiplier(epsilon: float, delta: float) -> float:
    """The deviation, over the sensitivity, of the least Gaussian noise for that claim."""
    wanted = Decimal(epsilon)

    def keeps(z: float) -> bool:
        return gaussian.epsilon(Decimal(delta), 1 / Decimal(z) ** 2) <= wanted

    return _least(keeps, 1e-3, 1e5)


def _least(keeps: Callable[[float], bool], low: float, high: float) -> float:
    """To ten digits."""
    while high > low * (1 + 1e-10):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


if __name__ == "__main__":
    main(NAME)
