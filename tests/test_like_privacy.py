"""Plans like a model with privacy: one Vector of all its floats, bounded by one norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import secagg
from secagg.errors import InputError, ParameterError
from secagg.fields import Integer, Vector
from secagg.plans.plan import Plan
from secagg.structure import Structure
from tests.test_like import FLOATS, model

ASKED = secagg.Privacy(epsilon=2, delta=1e-3)
CLIENTS = 10


def like(asked: secagg.Privacy | None = ASKED, **options: Any) -> Plan:
    given = {"clients": CLIENTS, "corrupt": 0.1, "dropout": 0.1, "like": model(), "norm": 4.0}
    return secagg.plan(**{**given, **options}, privacy=asked)


def summed(plan: Plan, *models: Any) -> secagg.Aggregate:
    return secagg.simulate(plan, {i: plan.input_of(one) for i, one in enumerate(models)})


def loud() -> secagg.Privacy:
    """Hardly any noise, so that what comes out can be told."""
    return secagg.Privacy(epsilon=1000, delta=0.5)


def test_a_model_goes_in_as_one_vector_and_comes_out_as_it_was() -> None:
    plan = like(loud(), norm=8.0, bits=24)
    assert plan.schema.fields == (("update", Vector(18, 8.0, 24)),)
    assert len(plan.structure) == 6 and Plan.decode(plan.encode()) == plan
    models = [model(shift / 10) for shift in range(CLIENTS)]
    total = summed(plan, *models)
    mean, far = total.as_like(model()), 3 * total.interval["update"] / total.count
    assert list(mean) == FLOATS
    for name, entry in mean.items():
        given = model()[name]
        assert (type(entry), entry.dtype, entry.shape) == (type(given), given.dtype, given.shape)
        exact = np.mean([np.array(one[name].tolist()) for one in models], axis=0)
        assert (abs(np.array(entry.tolist()) - exact) <= far + 2.0**-7).all()
    assert far < 0.2


def test_the_norm_is_of_all_entries_together() -> None:
    """Each is within it, and both are not: they come back as short as it says."""
    one = {"a": np.array([3.0], np.float32), "b": np.array([4.0], np.float32)}
    plan = like(loud(), like=one, norm=1.0, bits=24)
    total = summed(plan, *[one] * CLIENTS)
    mean, far = total.as_like(one), 3 * total.interval["update"] / total.count
    assert abs(mean["a"][0] - 0.6) < far < 0.1 and abs(mean["b"][0] - 0.8) < far
    assert total.report.clipped == {"update": CLIENTS}


def test_a_structure_by_hand_is_the_same_plan() -> None:
    tensors = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(2)}
    by_hand = secagg.plan(
        clients=CLIENTS,
        corrupt=0.1,
        dropout=0.1,
        fields={"update": Vector(8, 4.0, 16)},
        structure=Structure.of(tensors),
        privacy=ASKED,
    )
    assert by_hand == like(like=tensors)


def test_counts_are_an_integer_field_beside_the_model() -> None:
    counts = {"seen": Integer(1, 1, sensitivity=1)}
    plan = like(fields=counts)
    assert [name for name, _ in plan.schema.fields] == ["update", "seen"]
    given = {**plan.input_of(model()), "seen": [1]}
    assert secagg.simulate(plan, dict.fromkeys(range(CLIENTS), given)).as_like(model())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip": 1.0}, "clip= bounds each element and no norm: with privacy= give norm="),
        ({"norm": None}, "needs norm="),
        ({"counters": 9}, "leave them out, .* or count in an Integer field .* a sensitivity"),
        ({"max_weight": 5}, "no weights"),
        ({"asked": None}, "norm= is of a plan with privacy=.* clip= bounds"),
        ({"asked": None, "clip": 1.0}, "norm= is of a plan with privacy="),
        ({"like": None, "fields": {"update": Vector(3, 1.0, 16)}}, "norm is of the model in like="),
        ({"asked": secagg.Privacy(2, 1e-3, unit="example", examples=3)}, "a row for each example"),
        ({"like": {"n": np.array([1])}}, "has floats to average$"),
        ({"asked": 2}, r"not an int: privacy=secagg\.Privacy\(epsilon=.*, delta=.*\) is one"),
    ],
)
def test_what_a_model_with_privacy_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        like(**options)


def test_no_error_speaks_of_a_field_that_nobody_wrote() -> None:
    for options in ({"clip": 1.0}, {"norm": None}, {"counters": 9}):
        with pytest.raises(ParameterError) as caught:
            like(**options)
        assert "FixedPoint" not in str(caught.value)


def test_a_structure_has_no_rows_of_examples() -> None:
    with pytest.raises(ParameterError, match=r"structure= is of one model.* unit='client'"):
        secagg.plan(
            clients=CLIENTS,
            fields={"update": Vector(3, 1.0, 16)},
            structure=Structure.of({"w": np.zeros(3)}),
            privacy=secagg.Privacy(2, 1e-3, unit="example", examples=3),
        )


def test_what_a_structure_advises_of_bfloat16_is_taken() -> None:
    bfloat16 = {"head.weight": model()["head.weight"]}
    with pytest.raises(InputError, match=r"secagg.plan\(like=model\) takes it"):
        Structure.of(bfloat16)
    plan = like(like=bfloat16)
    mean = summed(plan, *[bfloat16] * CLIENTS).as_like(bfloat16)
    assert str(mean["head.weight"].dtype) == str(bfloat16["head.weight"].dtype)


def test_another_model_is_refused_with_its_entry() -> None:
    plan = like()
    other = {**model(), "scale": np.array([0.5, 0.5])}
    with pytest.raises(InputError, match=r"entry 5 of the plan.* is not in this model"):
        summed(plan, *[other] * CLIENTS)
