"""One cell of the grid: a federated training whose every sum is a round of `secagg.sim`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from secagg.errors import IntegrityError
from secagg.frontier import data, model
from secagg.frontier.data import CLASSES, Dealt, Floats, Labels, Samples
from secagg.frontier.grid import FIELD, NORM, Cell, plan_of
from secagg.frontier.measures import Measures, measured
from secagg.frontier.model import Weights
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.privacy import Unit
from secagg.shown import short
from secagg.sim import Drop, Simulation, drop_at, run
from secagg.types import PartyId

Row = dict[str, Any]
Told = Callable[[int], None]
"""How many rounds are done."""


@dataclass(frozen=True)
class Stacked:
    """Of all users: inputs float32[users, samples, inputs], labels int64[users, samples]."""

    inputs: Floats
    labels: Labels

    __repr__ = short


def train(cell: Cell, told: Told = lambda done: None) -> Row:
    """The row of a cell. Raises IntegrityError if a sum was not the plain one."""
    begun = time.perf_counter()
    recipe = cell.setting.recipe
    dealt = _dealt(cell)
    users = _stacked(dealt, recipe.center)
    plan = plan_of(cell)
    weights = np.zeros((recipe.side**2 + 1, CLASSES))
    speed, reached, sent = np.zeros_like(weights), None, []
    for number in range(recipe.rounds):
        done = _round(cell, plan, number, _inputs(cell, users, weights))
        speed = recipe.momentum * speed + _mean(cell, done.aggregate).reshape(weights.shape)
        weights = weights + recipe.stride * speed
        sent.append(done.bytes_up)
        if reached is None and _of(weights, dealt.test, recipe.center).accuracy >= recipe.target:
            reached = number + 1
        told(number + 1)
    label = done.aggregate.privacy
    return {
        **cell.key,
        **_judged(weights, dealt, recipe.center, cell.setting.subgroup),
        "rounds_to_target": reached,
        "target": recipe.target,
        "rounds": recipe.rounds,
        "clients": recipe.users,
        "seconds": time.perf_counter() - begun,
        "bytes_up": float(np.mean(sent)),
        "protocol": plan.protocol,
        "exact": True,
        "privacy": None if label is None else label.as_dict(),
    }


def _judged(weights: Weights, dealt: Dealt, center: float, share: float) -> Row:
    """On the test images; of a population that has a subgroup, on both kinds by their shares."""
    upright = _of(weights, dealt.test, center)
    turned = _of(weights, dealt.test.turned(), center)
    seen = [
        (1 - share) * ours + share * theirs
        for ours, theirs in zip(upright.per_class, turned.per_class, strict=True)
    ]
    accuracy = (1 - share) * upright.accuracy + share * turned.accuracy
    return {
        "accuracy": accuracy,
        "worst_class": min(seen),
        "per_class": seen,
        "macro_f1": upright.macro_f1,
        "calibration_error": upright.calibration_error,
        "train_test_gap": _learned(weights, dealt, center) - accuracy,
        "upright": upright.accuracy,
        "rotated": turned.accuracy if share else None,
        "worst_subgroup": min(upright.accuracy, turned.accuracy) if share else None,
    }


def _learned(weights: Weights, dealt: Dealt, center: float) -> float:
    """The accuracy on what the users hold; all hold as many."""
    return float(np.mean([_of(weights, one, center).accuracy for one in dealt.users]))


def _of(weights: Weights, samples: Samples, center: float) -> Measures:
    return measured(model.probabilities(samples.flat(center), weights), samples.labels)


def _round(
    cell: Cell, plan: Plan, number: int, inputs: Callable[[PartyId], Mapping[str, Any]]
) -> Simulation:
    with _unwarned():
        done = run(plan, inputs, drop=_leaving(cell, plan), seed=cell.seed_of(number))
    if not done.exact:
        raise IntegrityError(f"round {number + 1} of {cell.name}: the total is not the plain sum")
    return done


def _leaving(cell: Cell, plan: Plan) -> tuple[Drop, ...]:
    phases = [name for name in plan.phase_names if name in ("masked-input", "upload")]
    return (drop_at(phases[0], cell.setting.drop),) if cell.setting.drop else ()


def _inputs(cell: Cell, users: Stacked, weights: Weights) -> Callable[[PartyId], Mapping[str, Any]]:
    """Of a round: users are asked in no order, and those that drop are not."""
    recipe, unit = cell.setting.recipe, cell.setting.unit
    if unit == "client":
        made = list(model.trained(users.inputs, users.labels, weights, recipe.rate, recipe.steps))

    def update(me: PartyId) -> Floats:
        if unit == "client":
            return made[me]
        return model.each_example(users.inputs[me], users.labels[me], weights)

    if cell.trust == "none":
        return lambda me: {FIELD: _shortened(update(me), unit)}
    return lambda me: {FIELD: update(me)}


def _shortened(update: Floats, unit: Unit) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As a Vector shortens it: without privacy a field bounds elements and no norm. Of examples the
    mean, since one row is all that such a field takes."""
    reals = update.astype(np.float64)
    norms = np.linalg.norm(reals, axis=-1, keepdims=True)
    reals *= NORM / np.maximum(norms, NORM)
    return reals if unit == "client" else reals.mean(axis=0)


def _mean(cell: Cell, total: Aggregate) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of the updates; where the unit is an example, of all of their examples' steps."""
    rows = cell.setting.recipe.each
    mean = total.mean[FIELD]
    return mean / rows if cell.setting.unit == "example" and cell.trust != "none" else mean


@contextmanager
def _unwarned() -> Iterator[None]:
    """That updates are made as short as the norm is what a norm is for, and no news."""
    log = logging.getLogger("secagg.sim")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _dealt(cell: Cell) -> Dealt:
    setting, recipe = cell.setting, cell.setting.recipe
    everything, test = _read(setting.data, setting.data_dir)
    return data.deal(everything, test, recipe.users, recipe.each, cell.seed, setting.subgroup)


@lru_cache(maxsize=2)
def _read(name: str, folder: Path | None) -> tuple[Samples, Samples | None]:
    return data.SOURCES[name](folder)


def _stacked(dealt: Dealt, center: float) -> Stacked:
    return Stacked(
        np.stack([one.flat(center) for one in dealt.users]),
        np.stack([one.labels for one in dealt.users]),
    )
