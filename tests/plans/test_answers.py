"""Plans in which each client tells its bit, some of them wrongly (specs/40-privacy.md §10)."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import records
from secagg.errors import ParameterError, RangeError, WireError
from secagg.fields import Field, FixedPoint, Integer, Vector
from secagg.noise import Kind, Noise, Response
from secagg.plans.disclosure import Counting, Disclosure
from secagg.plans.label import half_of
from secagg.plans.plan import Plan
from secagg.privacy import Privacy
from secagg.wire.codec import Reader
from tests.soak import SOAK

BIT = {"answer": Integer(1, max=1, sensitivity=1)}
ASKED = Privacy(1, 1e-6, trust="local", mechanism="response")


def made(fields: Any = None, asked: Privacy = ASKED, **threat: Any) -> Plan:
    threat = {"clients": 100, "corrupt": 0, "dropout": 0.1, **threat}
    return secagg.plan(**threat, fields=fields or BIT, privacy=asked)


def flips(plan: Plan) -> list[float]:
    assert plan.privacy is not None
    return [one.flip for one in plan.privacy.noises if isinstance(one, Response)]


def test_a_plan_is_read_as_it_was_written() -> None:
    """Section 5: kind 3 and the probability."""
    for plan in (made(), made(servers=2), made(protocol="plainsum")):
        assert Plan.decode(plan.encode(), allow_unprotected=True) == plan
    [flip] = flips(made())
    assert made().encode().endswith(b"\3" + np.array(flip, ">f8").tobytes())
    assert math.isclose(flip, 1 / (1 + math.e))


@pytest.mark.parametrize(
    "field",
    [
        Vector(1, norm=1.0, bits=16),
        FixedPoint(1, 1.0, 16),
        Integer(1, max=2, sensitivity=1),
        Integer(2, max=1, sensitivity=1),
    ],
    ids=["vector", "fixed", "wider", "longer"],
)
def test_what_is_no_bit_is_refused(field: Field) -> None:
    """§10.1"""
    with pytest.raises(ParameterError, match=r"Integer\(1, max=1, sensitivity=1\) would do"):
        made({"answer": field})


def test_a_bit_without_a_sensitivity() -> None:
    with pytest.raises(ParameterError, match="needs a sensitivity"):
        made({"answer": Integer(1, max=1)})


@pytest.mark.parametrize("trust", ["distributed", "central"])
def test_other_trust_is_refused(trust: Any) -> None:
    """§10.1"""
    with pytest.raises(ParameterError, match="trust='local' would do, or mechanism='noise'"):
        Privacy(1, 1e-6, trust=trust, mechanism="response")


def test_examples_and_other_words_are_refused() -> None:
    with pytest.raises(ParameterError, match="unit='client' would do"):
        Privacy(1, 1e-6, trust="local", mechanism="response", unit="example", examples=3)
    with pytest.raises(ParameterError, match="mechanism must be 'noise' or 'response'|mechanism"):
        Privacy(1, 1e-6, trust="local", mechanism="coin")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (Noise(Kind.SKELLAM, 1e3), "others responses"),
        (Response(0.2), "does not keep epsilon 1"),
    ],
)
def test_plans_of_others_that_say_more(noise: Any, words: str) -> None:
    """Row 110, of a reader: §10.1, §10.2."""
    plan = made({"one": BIT["answer"], "two": BIT["answer"]})
    assert plan.privacy is not None
    changed = dataclasses.replace(plan.privacy, noises=(plan.privacy.noises[0], noise))
    with pytest.raises(ParameterError, match=words):
        dataclasses.replace(plan, schema=dataclasses.replace(plan.schema, privacy=changed))
    known = made().encode()
    with pytest.raises(WireError, match="kind 4 is unknown"):
        Plan.decode(known[:-9] + b"\4" + known[-8:])


def test_without_privacy_or_with_noise_nothing_is_told() -> None:
    """Noise is what a plan has unless responses are asked for."""
    plan = made(asked=Privacy(1, 1e-6, trust="local"))
    assert plan.privacy is not None and not plan.privacy.responds
    assert not flips(plan)


def answer(plan: Plan, bit: Any, randomness: Any = None) -> int:
    tape = randomness or (lambda size: bytes(size))
    encoded = records.encode(plan.schema, {"answer": bit}, 1, tape)
    return int(encoded.vector[0][0])


def test_a_bit_is_told_or_the_other_one() -> None:
    """§10.2: the same draw turns 0 into 1 and 1 into 0, as often as the plan says."""
    plan, [flip] = made(), flips(made())
    wrong = 0
    for number in range(4000):
        said = [answer(plan, [bit], lambda n, k=number: k.to_bytes(n)) for bit in (0, 1)]
        assert sorted(said) == [0, 1]
        wrong += said == [1, 0]
    assert abs(wrong - 4000 * flip) < 5 * math.sqrt(4000 * flip * (1 - flip))


@pytest.mark.parametrize(("bit", "words"), [(-1, "0 or 1 is needed"), (2, "beyond ±1")])
def test_what_is_no_answer(bit: int, words: str) -> None:
    """§10.1"""
    with pytest.raises(RangeError, match=words):
        answer(made(), [bit])


def test_both_figures_are_shown() -> None:
    """§10.2, §10.5: in words, in the label and in JSON."""
    plan = made(clients=1000)
    said = plan.explain()
    assert "1-differential privacy of each client against everybody over 1 round" in said
    assert "without any delta" in said and "answer with probability 0.2689" in said
    assert "sums in which 900 honest clients are, it is (0.1346, 1e-06)" in said
    assert "Epsilon of each response 1, of sums 0.1346." in said
    assert "cannot wrap" in said and "a bit that each client tells, 0 or 1" in said
    total = secagg.simulate(made(), lambda me: {"answer": [int(me < 30)]})
    label = total.privacy
    assert label is not None and label.epsilon_local == label.epsilon_server
    assert 1 - 1e-12 < label.epsilon_server <= 1  # type: ignore[operator]
    assert label.epsilon_central is not None and 0.47 < label.epsilon_central < 0.49
    assert label.honest == label.contributors == 100 and label.n_min == 1
    assert label.mechanism == {"answer": "randomised response"}
    shown = json.loads(json.dumps(label.as_dict()))
    assert shown["epsilon_local"] == label.epsilon_local
    assert shown["epsilon_central"] == label.epsilon_central


@pytest.mark.parametrize("epsilon", [2.0**-20, 36.0, 38.0, 1024.0])
def test_a_plan_of_any_epsilon_is_explained_and_has_a_sum(epsilon: float) -> None:
    """The label is made when the round is over: what it raised then would have lost the sum."""
    asked = Privacy(epsilon, 1e-6, trust="local", mechanism="response")
    plan = Plan.decode(made(asked=asked, clients=5, dropout=0).encode())
    assert "differential privacy" in plan.explain()
    total = secagg.simulate(plan, lambda me: {"answer": [1]})
    label = total.privacy
    assert label is not None and label.epsilon_local is not None
    assert label.epsilon_central is not None and label.epsilon_central <= label.epsilon_local
    assert label.epsilon_local <= epsilon * (1 + 1e-12)


def test_corrupt_clients_hide_nothing() -> None:
    """§10.5: they know what they told."""
    few, many = (made(clients=60, corrupt=part) for part in (0, "1/2"))
    labels = [secagg.simulate(plan, lambda me: {"answer": [0]}).privacy for plan in (few, many)]
    assert labels[0] and labels[1] and labels[1].honest == 30
    assert labels[0].epsilon_central < labels[1].epsilon_central  # type: ignore[operator]


def test_a_sum_is_debiased_and_its_interval_holds() -> None:
    """§10.3, through the protocol with drops: the true number is within, 19 times in 20."""
    plan, inside = made(clients=20, dropout=0.2, protocol="secagg"), 0
    [flip] = flips(plan)
    errors = []
    for seed in range(rounds := 80 if SOAK else 30):
        total = secagg.simulate(
            plan,
            lambda me: {"answer": [int(me % 3 == 0)]},
            seed=seed,
            drop=secagg.drop_at("masked-input", rate=0.1),
        )
        truth = sum(me % 3 == 0 for me in total.contributors)
        n, [response] = total.count, total.levels["answer"]
        assert total.sum["answer"][0] == (response - n * flip) / (1 - 2 * flip)
        assert total.mean["answer"][0] == total.sum["answer"][0] / n
        errors.append(total.sum["answer"][0] - truth)
        inside += abs(errors[-1]) <= total.interval["answer"]
    assert inside >= 0.92 * rounds, inside
    deviation = math.sqrt(18 * flip * (1 - flip)) / (1 - 2 * flip)
    assert abs(np.mean(errors)) < 4 * deviation / math.sqrt(rounds)
    assert abs(np.std(errors) / deviation - 1) < (0.2 if SOAK else 0.3)


def coverage(flip: float, contributors: int, ones: int) -> float:
    """Exactly: how often the true number is in its interval."""
    law = np.ones(1)
    for told, count in ((1 - flip, ones), (flip, contributors - ones)):
        k = np.arange(count + 1)
        ways = [math.lgamma(count + 1) - math.lgamma(x + 1) - math.lgamma(count - x + 1) for x in k]
        law = np.convolve(law, np.exp(ways + k * math.log(told) + (count - k) * math.log1p(-told)))
    found = (np.arange(contributors + 1) - contributors * flip) / (1 - 2 * flip)
    near = np.abs(found - ones) <= half_of(Response(flip), contributors)
    return float(law[near].sum())


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("contributors", [1, 3, 10, 40, 100, 1000])
def test_intervals_hold_whatever_the_bits_are(epsilon: float, contributors: int) -> None:
    """§10.3: at least 95 of 100, by the probabilities themselves; not many more where there are
    many responses."""
    flip = 1 / (1 + math.exp(epsilon))
    step = max(1, contributors // 25)
    found = [coverage(flip, contributors, m) for m in range(0, contributors + 1, step)]
    assert min(found) >= 0.951
    if contributors * flip * (1 - flip) > 100:
        assert max(found) <= 0.97


def test_a_budget_counts_responses() -> None:
    """§9.2, §10.4: its row has the probability, and is read as it was written."""
    plan = made(asked=dataclasses.replace(ASKED, rounds=3))
    for unit in ("client", "example"):
        told = Counting(unit).disclosure(plan)  # type: ignore[arg-type]
        reader = Reader(told.encode())
        assert Disclosure.read(reader) == told
        assert [one.noise for one in told.blocks] == list(plan.privacy.noises)  # type: ignore[union-attr]
        assert told.with_honest(90) == told, (
            "a response is enough by itself, and no more with others"
        )
