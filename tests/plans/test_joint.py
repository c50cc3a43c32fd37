"""Several Vectors that are one, each in units of its norm (specs/40-privacy.md §11)."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import records
from secagg.cut import clipping
from secagg.dp import loss
from secagg.errors import ParameterError, RangeError
from secagg.fields import Integer, Vector, joined
from secagg.plans.disclosure import Counting
from secagg.plans.plan import Plan
from secagg.plans.privacy import blocks
from secagg.privacy import Privacy

LAYERS = {
    "conv": Vector(300, norm=2.0, bits=16),
    "count": Integer(4, 1, sensitivity=1),
    "dense": Vector(84, norm=0.5, bits=16),
}
ASKED = Privacy(4, 1e-5, joint=True)


def made(fields: Any = None, asked: Privacy = ASKED, **threat: Any) -> Plan:
    threat = {"clients": 40, "corrupt": 0, "dropout": 0, **threat}
    return secagg.plan(**threat, fields=fields or LAYERS, privacy=asked)


def test_a_plan_is_read_as_it_was_written() -> None:
    """§11.1: one noise for all Vectors."""
    for plan in (made(), made(servers=2), made(asked=dataclasses.replace(ASKED, trust="central"))):
        assert Plan.decode(plan.encode()) == plan
        assert plan.privacy is not None and len(plan.privacy.noises) == 2
        assert list(plan.schema.joint) == ["conv", "dense"]
        assert plan.schema.noises["conv"] == plan.schema.noises["dense"]
        assert plan.schema.slots[0].segment == plan.schema.slots[2].segment
    apart = made(asked=Privacy(4, 1e-5))
    assert not apart.schema.joint and apart.privacy and len(apart.privacy.noises) == 3


def test_it_is_accounted_for_as_one_vector() -> None:
    """§11.1, and its head-room and error too."""
    plan, whole = made(), Vector(384, 1.0, 16)
    first, count = blocks(plan.schema, 40)
    assert (first.length, first.squared) == (384, whole.norm_squared) and count.length == 4
    assert joined([LAYERS["conv"], LAYERS["dense"]]) == whole  # type: ignore[list-item]
    assert Counting().disclosure(plan).blocks == (first, count)
    alone = made({"all": whole}, Privacy(4, 1e-5, split={"all": 1}))
    both = made({k: v for k, v in LAYERS.items() if k != "count"})
    assert alone.privacy and both.privacy and alone.privacy.noises == both.privacy.noises
    for name in ("conv", "dense"):
        assert both.schema.bound(name, LAYERS[name]) == alone.schema.bound("all", whole)
        assert both.schema.errors[name] == alone.max_error * LAYERS[name].norm  # type: ignore[union-attr]
    assert 4 * (1 - 1e-6) < loss(blocks(both.schema, 40), 1e-5, 1).epsilon <= 4


def test_the_parts_of_all_vectors_are_one() -> None:
    """§11.4"""

    def strength(asked: Privacy) -> list[float]:
        found = blocks(made(asked=asked).schema, 40)
        return [block.squared / block.noise.variance for block in found]

    vectors, count = strength(ASKED)
    assert math.isclose(vectors, count, rel_tol=1e-6)
    split = {"conv": Fraction(1, 2), "dense": Fraction(1, 4), "count": Fraction(1, 4)}
    vectors, count = strength(dataclasses.replace(ASKED, split=split))
    assert math.isclose(vectors, 3 * count, rel_tol=1e-6)


def test_noise_is_less_than_apart_by_the_root_of_their_number() -> None:
    """§11.5: with the same norms."""
    fields = {name: field for name, field in LAYERS.items() if name != "count"}
    together = secagg.simulate(made(fields), _zeros).privacy
    apart = secagg.simulate(made(fields, Privacy(4, 1e-5)), _zeros).privacy
    assert together is not None and apart is not None
    for name in fields:
        ratio = apart.sigma_total[name] / together.sigma_total[name]
        assert abs(ratio - math.sqrt(2)) < 0.01
    assert math.isclose(together.sigma_total["conv"], 4 * together.sigma_total["dense"])


def _zeros(me: int) -> dict[str, Any]:
    return {"conv": np.zeros(300), "dense": np.zeros(84)}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"a": Vector(3, 1.0, 16)}, "has 1 Vectors: without joint="),
        ({"a": Integer(3, 1, sensitivity=1)}, "has 0 Vectors"),
        ({"a": Vector(3, 1.0, 16), "b": Vector(3, 1.0, 12)}, r"\[12, 16\] bits: the same of all"),
        ({"a": Vector(2**29, 1.0, 16), "b": Vector(2**29, 1.0, 16)}, "length"),
    ],
)
def test_what_cannot_be_joint(fields: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        made(fields)


def test_plans_of_others_with_another_number_of_noises() -> None:
    """Row 110, of a reader: two noises are for three fields of which two are Vectors."""
    plan = made()
    assert plan.privacy is not None
    for noises in (plan.privacy.noises[:1], plan.privacy.noises * 2):
        terms = dataclasses.replace(plan.privacy, noises=noises)
        with pytest.raises(ParameterError, match="kinds of noise"):
            dataclasses.replace(plan, schema=dataclasses.replace(plan.schema, privacy=terms))


def integers(values: dict[str, Any], plan: Plan | None = None) -> np.ndarray[Any, Any]:
    """What central trust has a client send: no noise."""
    plan = plan or made(asked=dataclasses.replace(ASKED, trust="central"))
    given = {"count": np.zeros(4, int), **values}
    rng = np.random.default_rng(1)
    encoded = records.encode(plan.schema, given, 1, lambda n: rng.bytes(n))
    decoded = records.decode(plan.schema, encoded.vector, 1)
    return np.concatenate([decoded.levels["conv"], decoded.levels["dense"]])


@pytest.mark.parametrize(
    ("conv", "dense"), [(2.0, 0.5), (9.0, 0.0), (0.0, 7.0), (1.2, 0.3), (1e200, 1e-200)]
)
def test_together_they_are_as_long_as_one_vector_may_be(conv: float, dense: float) -> None:
    """§11.2: whatever the parts are, exactly and always; and no shorter than they need be."""
    direction = np.random.default_rng(0).normal(size=384)
    x, y = direction[:300], direction[300:]
    values = {"conv": x / np.linalg.norm(x) * conv, "dense": y / np.linalg.norm(y) * dense}
    q, whole = integers(values), Vector(384, 1.0, 16)
    length = min(1.0, math.hypot(conv / 2.0, dense / 0.5)) * whole.levels
    assert sum(int(v) ** 2 for v in q) <= whole.norm_squared
    assert abs(np.linalg.norm(q) - length) < 20


@pytest.mark.parametrize(
    ("bad", "words"), [(np.nan, "NaN or infinite at index 3"), (1.5e308, "beyond 2.1023 times 0.5")]
)
def test_what_is_no_number_in_units_of_its_norm(bad: float, words: str) -> None:
    values = np.zeros(84)
    values[3] = bad
    with pytest.raises(RangeError, match=f"field 'dense': {words}"):
        integers({"conv": np.zeros(300), "dense": values})


def test_sums_come_back_in_their_own_units() -> None:
    """§11.3, through the protocol: each field's error is its own noise, and its interval holds."""
    plan = made(asked=dataclasses.replace(ASKED, epsilon=50.0))
    rng = np.random.default_rng(3)
    inputs = [
        {
            "conv": rng.normal(size=300) / 30,
            "dense": rng.normal(size=84) / 60,
            "count": [0, 1, 0, 0],
        }
        for _ in range(40)
    ]
    total = secagg.simulate(plan, lambda me: inputs[me])
    for name in ("conv", "dense"):
        error = total.sum[name] - sum(np.asarray(one[name]) for one in inputs)
        assert 0.8 < np.std(error) / (total.interval[name] / 1.959964) < 1.25
        assert np.allclose(total.mean[name], total.sum[name] / 40)
    assert math.isclose(total.interval["conv"], 4 * total.interval["dense"])


def test_examples_are_made_short_one_by_one() -> None:
    """§2.6: and a client without any gives zeros."""
    fields = {"a": Vector(3, 1.0, 16), "b": Vector(2, 2.0, 16)}
    asked = Privacy(4, 1e-5, unit="example", examples=5, joint=True, trust="central")
    plan = made(fields, asked)
    rows = {"a": np.array([[9.0, 0, 0], [0, 0.1, 0]]), "b": np.array([[0.0, 0], [0, -0.2]])}
    encoded = records.encode(plan.schema, rows, 1, lambda n: bytes(n))
    assert encoded.clipped == {"a": 1, "b": 1}
    total = records.decode(plan.schema, encoded.vector, 1)
    assert np.allclose(total.sum["a"], [1, 0.1, 0], atol=1e-3)
    assert np.allclose(total.sum["b"], [0, -0.2], atol=1e-3)
    none = {"a": np.zeros((0, 3)), "b": np.zeros((0, 2))}
    assert not records.encode(plan.schema, none, 1, lambda n: bytes(n)).vector[0][:5].any()


def test_what_is_said() -> None:
    plan = made()
    assert "conv, dense: one vector of norm 1 at most together" in plan.explain()
    said = clipping(plan.schema, {"conv": 2, "dense": 2})
    assert said.startswith("2 vectors of the fields 'conv', 'dense' together, each in units of its")
