"""The audit finds what is wrong with a mechanism, and nothing where nothing is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from secagg import cli
from secagg.dp import gaussian
from secagg.errors import ParameterError
from secagg.fields import Vector
from secagg.frontier.audit import FIELD, audit, report, scores
from secagg.plans import choose
from secagg.privacy import Privacy
from tests.cli import contract

SHORT = 4096


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_mechanism_is_not_flagged(seed: int) -> None:
    """And is nearly as bad as it may be: the bound is not loose because it sees nothing."""
    found = audit(length=SHORT, seed=seed)
    assert 1.3 < found.lower <= 2 and not found.flagged and found.lower < found.point < 2.4


@pytest.mark.parametrize(
    ("fault", "bits", "low", "high"),
    [
        ("half-noise", 16, 3.5, 4.3),
        ("half-survivors", 16, 2.2, 2.8),
        ("duplicate", 16, 3.4, 4.2),
        ("forgotten-inflation", 5, 3.0, 5.4),
    ],
)
def test_mistakes_are_flagged(fault: str, bits: int, low: float, high: float) -> None:
    found = audit(length=SHORT, bits=bits, fault=fault)
    assert found.flagged and low < found.lower < high, found


def test_few_bits_are_accounted_by_the_norm_after_rounding() -> None:
    found = audit(length=SHORT, bits=5)
    assert found.inflation > 1.5 and not found.flagged


def test_canaries_are_scored_along_what_was_added() -> None:
    """What is left of a report without its rounded integers is one share of the plan's noise."""
    field = Vector(SHORT, 1.0, 5)
    schema = choose.plan(
        clients=50,
        corrupt=0,
        dropout=0,
        servers=2,
        fields={FIELD: field},
        privacy=Privacy(2, 1e-5),
    ).schema
    x = np.random.default_rng(0).normal(size=SHORT)
    one = report(schema, x / np.linalg.norm(x), bytes(32), bytes(range(32)))
    noise = _centred(one.vector, schema) - one.rounded
    assert noise.var() == pytest.approx(schema.noises[FIELD].variance, rel=0.1)
    assert abs(np.corrcoef(noise, one.rounded)[0, 1]) < 5 / SHORT**0.5
    assert (_centred(one.bare(schema), schema) == one.rounded).all()
    again = report(schema, x / np.linalg.norm(x), bytes(32), bytes(32))
    assert (again.rounded != one.rounded).any()


def _centred(vector: Any, schema: Any) -> Any:
    slot = schema.slots[0]
    ring = schema.ring_of(slot)
    part = vector[slot.segment][slot.start : slot.start + slot.length].astype(np.int64)
    return np.where(part >> (ring.width - 1), part - (1 << ring.width), part)


def test_a_direction_that_is_not_there_scores_as_noise() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(-9, 10, SHORT)
    found = scores([rng.integers(-100, 101, SHORT) for _ in range(2000)], levels)
    assert abs(np.mean(found)) < 4 / 2000**0.5 and np.std(found) == pytest.approx(1, abs=0.05)
    assert scores([levels], levels)[0] == pytest.approx(SHORT**0.5)


def test_the_bound_is_the_gaussian_mechanism_of_its_score() -> None:
    from decimal import Decimal

    found = audit(canaries=50, length=SHORT)
    low = found.score - 1.6448536 / 50**0.5
    assert found.lower == pytest.approx(float(gaussian.epsilon(Decimal("1e-5"), Decimal(low) ** 2)))


def test_the_command_exits_with_what_it_found() -> None:
    words = ["audit", "--length", "1024", "--json"]
    honest = CliRunner().invoke(cli.app, words)
    told = json.loads(honest.stdout)
    contract.check("audit", told)
    assert honest.exit_code == 0 and told["flagged"] is False and told["lower"] <= 2
    broken = CliRunner().invoke(cli.app, [*words[:-1], "--fault", "half-noise"])
    assert broken.exit_code == 1 and "BROKEN" in broken.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"fault": "other"},
        {"canaries": 10},
        {"length": 399},
        {"epsilon": 0.0},
        {"delta": 1.0},
        {"bits": 40},
        {"seed": -1},
    ],
    ids=str,
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        audit(**{"epsilon": 2.0, **wrong})
