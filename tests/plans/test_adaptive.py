"""A norm that follows what clients have, within one budget (specs/40-privacy.md §12)."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.adaptive import AdaptiveNorm
from secagg.bounded import round_vector
from secagg.dp import loss
from secagg.errors import InputError, ParameterError
from secagg.fields import Integer, Vector
from secagg.plans.plan import Plan
from secagg.plans.privacy import blocks
from secagg.privacy import Privacy

SPLIT = {"update": Fraction(49, 50), "within": Fraction(1, 50)}
ASKED = Privacy(8, 1e-3, rounds=24, split=SPLIT)
FIELDS = {"update": Vector(16, norm=1.0, bits=16), "within": AdaptiveNorm.BIT}


def made(fields: Any = None, asked: Privacy = ASKED, clients: int = 100) -> Plan:
    return secagg.plan(
        clients=clients, corrupt=0, dropout=0, servers=2, fields=fields or FIELDS, privacy=asked
    )


def result(plan: Plan, said: float, count: int = 100) -> Any:
    """As a round gives it; said: the noisy sum of what clients say."""
    sums = {name: np.zeros(field.length) for name, field in plan.schema.fields}
    sums["within"] = np.array([said])
    return SimpleNamespace(sum=sums, count=count)


def test_from_100_times_off_it_arrives_by_the_real_protocol() -> None:
    """§12.4: within 15 % of the median after 19 to 24 rounds at a rate of 0.5, and the epsilon of
    the whole sequence is the plan's, what clients say of the norm included."""
    rng = np.random.default_rng(5)
    lengths = np.exp(rng.normal(size=100) * 0.3)
    inputs = rng.normal(size=(100, 16))
    inputs *= (lengths / np.linalg.norm(inputs, axis=1))[:, None]
    median, arrived = float(np.median(lengths)), None
    fields = {**FIELDS, "update": Vector(16, norm=100 * median, bits=16)}
    norm = AdaptiveNorm(made(fields))
    begun = norm.plan
    while arrived is None and norm.done < 24:
        plan = norm.plan
        total = secagg.simulate(
            plan,
            lambda me, plan=plan: AdaptiveNorm(plan).answer({"update": inputs[me]}),
            seed=norm.done,
        )
        assert total.privacy is not None and 7.9 < total.privacy.epsilon_server <= 8  # type: ignore[operator]
        norm = norm.after(total)
        if abs(math.log(norm.norms["update"] / median)) < math.log(1.15):
            arrived = norm.done
    assert arrived is not None and 19 <= arrived <= 24
    assert blocks(norm.plan.schema, 100) == blocks(begun.schema, 100)
    assert norm.plan.digest() != begun.digest() and norm.plan.privacy == begun.privacy
    assert Plan.decode(norm.plan.encode()) == norm.plan


def test_what_clients_say_is_in_the_epsilon() -> None:
    """§12.1: without that block the plan would promise less epsilon."""
    both = blocks(made().schema, 100)
    assert [block.length for block in both] == [16, 1] and both[1].squared == 9
    assert loss(both, 1e-3, 24).epsilon > loss(both[:1], 1e-3, 24).epsilon * 1.005


@pytest.mark.parametrize(
    ("said", "fraction"), [(300, 1.0), (-300, 0.0), (0, 0.5), (150, 0.75), (1000, 1.0), (-1000, 0)]
)
def test_the_next_norm(said: float, fraction: float) -> None:
    """§12.2: a fraction is from 0 to 1, whatever noise says."""
    norm = AdaptiveNorm(made(), quantile=0.8, rate=0.5)
    found = norm.after(result(norm.plan, said))
    assert norm.fraction(result(norm.plan, said)) == fraction
    assert math.isclose(found.norms["update"], math.exp(0.5 * (0.8 - fraction)))
    assert found.done == 1 and found.plan.schema.noises == norm.plan.schema.noises
    assert dict(found.plan.schema.fields)["within"] == AdaptiveNorm.BIT


def test_no_rate_of_a_fifth_comes_from_100_times_off_in_46_rounds() -> None:
    """§12.4"""
    for rate, fewest in ((0.2, 47), (0.5, 19)):
        norm, rounds = AdaptiveNorm(made(asked=Privacy(8, 1e-3, 60, split=SPLIT)), rate=rate), 0
        while norm.norms["update"] > 0.01:
            norm, rounds = norm.after(result(norm.plan, 300)), rounds + 1
        assert rounds == fewest


def test_there_are_no_more_rounds_than_were_promised_for() -> None:
    """§12.3"""
    norm = AdaptiveNorm(made(asked=Privacy(8, 1e-3, rounds=2, split=SPLIT)))
    norm = norm.after(result(norm.plan, 0)).after(result(norm.plan, 0))
    with pytest.raises(ParameterError, match="the 2 rounds that the plan promises for are over"):
        norm.after(result(norm.plan, 0))


def test_a_norm_stays_one_that_a_vector_may_have() -> None:
    for start, said in ((2.0**500, -300), (2.0**-500, 300)):
        fields = {**FIELDS, "update": Vector(16, norm=start, bits=16)}
        norm = AdaptiveNorm(made(fields))
        assert norm.after(result(norm.plan, said)).norms == {"update": start}


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 1 + 1e-9, 3.0, 1e200])
def test_a_client_says_whether_it_is_made_shorter(length: float) -> None:
    """§12.1: by the same comparison as rounding makes."""
    norm, values = AdaptiveNorm(made()), np.zeros(16)
    values[3] = length
    said = norm.answer({"update": values})
    assert said["within"] == [3 if length <= 1 else -3]
    assert said["update"] is values
    _, long = round_vector(values, FIELDS["update"], bytes(32), lambda n: bytes(n))  # type: ignore[arg-type]
    assert long == (length > 1 + 1e-6)


def test_a_list_is_one_vector_and_so_is_a_model() -> None:
    """Given as to a round: entries by name where the plan has a structure."""
    model = {"a": np.zeros((2, 4)), "b": np.zeros(8, np.float32)}
    alike = secagg.plan(
        clients=100,
        like=model,
        norm=1.0,
        fields={"within": AdaptiveNorm.BIT},
        privacy=Privacy(8, 1e-3),
    )
    by_list, by_name = AdaptiveNorm(made()), AdaptiveNorm(alike)
    for scale, said in ((0.2, 3), (0.3, -3)):
        one = {name: array + array.dtype.type(scale) for name, array in model.items()}
        assert by_list.answer({"update": list(one.values())})["within"] == [said]
        given = by_name.answer(alike.input_of(one))
        assert given["within"] == [said] and list(given["update"]) == ["a", "b"]


def test_joint_vectors_follow_together() -> None:
    fields = {"a": Vector(4, 2.0, 16), "b": Vector(2, 0.5, 16), "within": AdaptiveNorm.BIT}
    norm = AdaptiveNorm(made(fields, Privacy(8, 1e-3, rounds=2, joint=True)))
    one = {"a": np.array([1.2, 0, 0, 0]), "b": np.array([0, 0.39])}  # 0.6^2 + 0.78^2 = 0.97
    assert norm.answer(one)["within"] == [3]
    assert norm.answer({**one, "b": np.array([0, 0.41])})["within"] == [-3]
    found = norm.after(result(norm.plan, 300)).norms
    assert math.isclose(found["a"], 2 * math.exp(-0.25)) and math.isclose(
        found["a"], 4 * found["b"]
    )


def test_the_blur_is_the_deviation_of_a_fraction() -> None:
    plan = made()
    sigma = 10 * math.sqrt(plan.schema.noises["within"].variance)
    assert math.isclose(AdaptiveNorm(plan).blur, sigma / 600)


@pytest.mark.parametrize(
    ("fields", "asked", "words"),
    [
        ({"update": FIELDS["update"]}, Privacy(8, 1e-3), "needs a field 'within'"),
        ({**FIELDS, "within": Integer(1, 1, sensitivity=1)}, ASKED, "needs a field 'within'"),
        ({**FIELDS, "more": Vector(2, 1.0, 16)}, Privacy(8, 1e-3), "has 2 Vectors, and one norm"),
        ({"within": AdaptiveNorm.BIT}, Privacy(8, 1e-3), "has 0 Vectors"),
        (FIELDS, Privacy(8, 1e-3, unit="example", examples=2), "unit='client' would do"),
    ],
)
def test_plans_whose_norm_cannot_follow(fields: Any, asked: Privacy, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        AdaptiveNorm(made(fields, asked))


def test_a_plan_without_privacy() -> None:
    plan = secagg.plan(clients=10, fields={"x": secagg.FixedPoint(3, 1.0, 16)})
    with pytest.raises(ParameterError, match="has no privacy="):
        AdaptiveNorm(plan)


@pytest.mark.parametrize(
    "wrong", [{"quantile": 0}, {"quantile": 1.0}, {"rate": 0}, {"rate": 4.1}, {"done": 25}]
)
def test_what_is_no_way_to_follow(wrong: Any) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        AdaptiveNorm(made(), **wrong)


def test_inputs_and_results_that_do_not_fit() -> None:
    norm = AdaptiveNorm(made())
    with pytest.raises(InputError, match="leave out 'within'"):
        norm.answer({"update": np.zeros(16), "within": [3]})
    with pytest.raises(InputError, match="missing"):
        norm.answer({})
    other = result(norm.plan, 0)
    del other.sum["update"]
    with pytest.raises(InputError, match="of another plan"):
        norm.after(other)
