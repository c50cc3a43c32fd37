"""Plans with privacy: made, written, read and refused (specs/40-privacy.md §7, 01-wire.md §4)."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.dp import Block, loss
from secagg.errors import HeadroomError, ParameterError, Truncated, WireError
from secagg.fields import FixedPoint, Integer, Vector
from secagg.noise import Kind, Noise
from secagg.plans.label import REPRODUCIBLE, deviations, intervals, label_of, within
from secagg.plans.plan import Plan
from secagg.plans.privacy import blocks
from secagg.privacy import Privacy, PrivacyTerms
from secagg.sampler import _gaussian, _skellam, weights
from secagg.shown import at_most

UPDATE = {"update": Vector(1970, norm=1.0, bits=16)}
BARS = {"bars": Integer(10, 1, sensitivity=1)}
ASKED = Privacy(epsilon=2, delta=1e-4, rounds=10)


def made(fields: Any = None, asked: Privacy = ASKED, **threat: Any) -> Plan:
    return secagg.plan(**{"clients": 100, **threat}, fields=fields or UPDATE, privacy=asked)


def terms(plan: Plan) -> PrivacyTerms:
    assert plan.privacy is not None
    return plan.privacy


def with_terms(plan: Plan, **changed: Any) -> Plan:
    """The same plan with other terms: the constructor judges it as it does a peer's."""
    schema = dataclasses.replace(plan.schema, privacy=dataclasses.replace(terms(plan), **changed))
    return dataclasses.replace(plan, schema=schema)


@pytest.mark.parametrize(
    "plan",
    [
        made(),
        made(BARS),
        made({**UPDATE, **BARS}),
        made(asked=Privacy(1, 1e-5, trust="local")),
        made(asked=Privacy(1, 1e-5, trust="central")),
        made(asked=Privacy(1, 1e-5, unit="example", examples=60)),
        made(servers=2, corrupt=0, dropout=0),
        made(clients=40),
    ],
    ids=["vector", "bars", "both", "local", "central", "examples", "servers", "complete"],
)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    read = Plan.decode(plan.encode())
    assert read == plan and read.encode() == plan.encode() and read.privacy == plan.privacy


def test_the_bytes_of_section_5() -> None:
    plan = made({**UPDATE, **BARS}, Privacy(2, 1e-4, 10, unit="example", examples=60))
    update, bars = terms(plan).noises
    section = (
        bytes([1, 2])
        + (60).to_bytes(4)
        + bytes.fromhex("4000000000000000")
        + np.array(1e-4, ">f8").tobytes()
        + (10).to_bytes(4)
        + (70).to_bytes(4)
        + bytes([update.kind])
        + np.array(update.variance, ">f8").tobytes()
        + bytes([bars.kind])
        + np.array(bars.variance, ">f8").tobytes()
    )
    assert plan.encode().endswith(bytes([5]) + len(section).to_bytes(4) + section)
    assert (update.kind, bars.kind) == (Kind.GAUSSIAN, Kind.SKELLAM)


def test_fields_of_kinds_3_and_4_as_bytes() -> None:
    encoded = made({**UPDATE, **BARS}).encode()
    vector = bytes([3]) + (1970).to_bytes(4) + np.array(1.0, ">f8").tobytes() + bytes([16])
    bounded = bytes([4]) + (10).to_bytes(4) + (1).to_bytes(8) + np.array(1.0, ">f8").tobytes()
    assert vector in encoded and bounded in encoded


@pytest.mark.parametrize(
    ("threat", "honest", "fewest"),
    [
        ({"clients": 1000, "corrupt": 0.1, "dropout": 0.1}, 800, 900),
        ({"clients": 40, "corrupt": 0.1, "dropout": 0.1}, 32, 36),  # the complete graph
        ({"clients": 100, "corrupt": 0.1, "dropout": 0.1, "protocol": "secagg"}, 80, 90),
        ({"clients": 100, "corrupt": 0, "dropout": 0, "servers": 2}, 100, 100),
        ({"clients": 40, "corrupt": 0.1, "dropout": 0.2, "min_clients": 30}, 26, 30),
        ({"clients": 100, "roster": 400, "corrupt": 0.05, "dropout": 0.1}, 70, 90),
    ],
)
def test_noise_is_for_those_who_surely_stay_and_are_honest(
    threat: dict[str, Any], honest: int, fewest: int
) -> None:
    """n_min = min_survivors - A, and on the complete graph min_survivors is n - D."""
    plan = made(**threat)
    assert terms(plan).honest == honest == plan.params.min_survivors - plan.threat.corrupted
    assert plan.params.min_survivors == fewest


def test_without_privacy_the_complete_graph_is_as_it_was() -> None:
    plan = secagg.plan(clients=40, fields={"x": FixedPoint(4, 1.0, 16)}, corrupt=0.1, dropout=0.1)
    assert plan.params.min_survivors == plan.params.threshold == 23
    assert plan.privacy is None


def test_the_noise_is_what_is_asked_for_and_hardly_more() -> None:
    plan = made(clients=1000, servers=2, corrupt=0, dropout=0)
    [noise] = terms(plan).noises
    block = Block(noise, 1970, UPDATE["update"].norm_squared, 1000)
    found = loss([block], 1e-4, 10)
    assert 2 * (1 - 1e-6) < found.epsilon <= 2
    assert found.accounting == "gaussian-reduction"


def test_the_budget_is_split_as_asked_for() -> None:
    """Strengths, squared sensitivity over variance, are as the parts."""
    split = {"update": "0.9", "bars": "0.1"}
    update, bars = terms(made({**UPDATE, **BARS}, Privacy(2, 1e-4, split=split))).noises  # type: ignore[arg-type]
    ratio = UPDATE["update"].norm_squared / update.variance * bars.variance
    assert math.isclose(ratio, 9, rel_tol=1e-6)
    equal = terms(made({**UPDATE, **BARS}, Privacy(2, 1e-4))).noises
    ratio = UPDATE["update"].norm_squared / equal[0].variance * equal[1].variance
    assert math.isclose(ratio, 1, rel_tol=1e-6)


def test_head_room_has_the_noise_of_all_and_is_said() -> None:
    plan = made()
    [noise] = terms(plan).noises
    bound = plan.schema.bound("update", UPDATE["update"])
    assert bound > 5 * math.sqrt(100 * noise.variance)
    assert f"M = {bound}" in plan.explain() and "one chance in 2^40" in plan.explain()
    with pytest.raises(HeadroomError, match="with its noise"):
        made({"x": Integer(1, 2**62, sensitivity=1)})


def test_max_error_is_of_rounding_and_never_0_for_reals() -> None:
    plan = made({**UPDATE, **BARS})
    assert plan.max_error == UPDATE["update"].max_error == plan.schema.errors["update"] > 0
    assert list(plan.schema.errors) == ["update"] and made(BARS).max_error == 0
    many = made(asked=Privacy(2, 1e-4, 10, unit="example", examples=60))
    assert many.max_error == 60 * plan.max_error, "a mean is of clients, each with so many"
    assert f"moved by at most {at_most(plan.max_error)}, beside its noise" in plan.explain()


# What is refused, by who makes a plan and by who reads one


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epsilon": 1.0}, "does not keep epsilon 1 .* epsilon=2.* would do"),
        ({"delta": 1e-6}, "does not keep"),
        ({"rounds": 11}, "does not keep .* rounds=10 would do|does not keep .* rounds=10"),
        ({"honest": 71}, "at most 70 would do"),
        ({"noises": ()}, "0 kinds of noise for 1 fields"),
        ({"noises": (Noise(Kind.SKELLAM, 1e6),)}, "is gaussian there"),
        ({"trust": "local", "honest": 1}, "does not keep"),
    ],
)
def test_terms_that_say_more_than_their_noise(changed: dict[str, Any], words: str) -> None:
    """Row 110."""
    with pytest.raises(ParameterError, match=words):
        with_terms(made(), **changed)


def test_half_the_sigma_is_refused_by_a_reader() -> None:
    """Row 110: the claim stays, and the variance is a quarter."""
    plan = made()
    [noise] = terms(plan).noises
    encoded = plan.encode()
    less = encoded[:-8] + np.array(noise.variance / 4, ">f8").tobytes()
    with pytest.raises(ParameterError, match="does not keep epsilon 2"):
        Plan.decode(less)


@pytest.mark.parametrize(
    ("at", "value", "error", "words"),
    [
        (-8, np.array(math.nan, ">f8").tobytes(), ParameterError, "variance"),
        (-8, np.array(math.inf, ">f8").tobytes(), ParameterError, "variance"),
        (-8, np.array(0.0, ">f8").tobytes(), ParameterError, "variance must be from"),
        (-8, np.array(5e-324, ">f8").tobytes(), ParameterError, "variance must be from"),
        (-8, np.array(-1.0, ">f8").tobytes(), ParameterError, "variance must be from"),
        (-9, b"\0", WireError, "noise of kind 0 is unknown"),
        (-9, b"\4", WireError, "noise of kind 4 is unknown"),
        (-13, bytes(4), ParameterError, "honest"),
        (-17, bytes(4), ParameterError, "rounds"),
        (-25, np.array(0.0, ">f8").tobytes(), ParameterError, "delta"),
        (-25, np.array(1.0, ">f8").tobytes(), ParameterError, "delta"),
        (-25, np.array(math.nan, ">f8").tobytes(), ParameterError, "delta"),
        (-33, np.array(0.0, ">f8").tobytes(), ParameterError, "epsilon"),
        (-33, np.array(math.inf, ">f8").tobytes(), ParameterError, "epsilon"),
        (-33, np.array(1e9, ">f8").tobytes(), ParameterError, "epsilon"),
        (-37, (2).to_bytes(4), ParameterError, "examples is 1 where the unit is a client"),
        (-38, b"\3", WireError, "trust or unit code is unknown"),
        (-39, b"\0", WireError, "trust or unit code is unknown"),
        (-39, b"\4", WireError, "trust or unit code is unknown"),
    ],
)
def test_a_peer_s_terms_are_refused_field_by_field(
    at: int, value: bytes, error: type[Exception], words: str
) -> None:
    """Row 111."""
    encoded = bytearray(made().encode())
    end = len(encoded) + at + len(value)
    encoded[len(encoded) + at : end] = value
    with pytest.raises(error, match=words):
        Plan.decode(bytes(encoded))


def test_a_section_that_ends_within_a_noise_is_truncated() -> None:
    """Row 111."""
    encoded = made().encode()
    short = encoded[: -39 - 4] + (38).to_bytes(4) + encoded[-39:-1]
    with pytest.raises(Truncated):
        Plan.decode(short)


@pytest.mark.parametrize(
    ("fields", "threat", "words"),
    [
        ({"x": FixedPoint(4, 1.0, 16)}, {}, "FixedPoint, which bounds each element and no norm"),
        ({"x": Integer(4, 1)}, {}, "needs a sensitivity"),
        (UPDATE, {"max_weight": 5}, "no weights"),
        (UPDATE, {"clipped": True}, "would be an exact output"),
        (UPDATE, {"adversary": "active"}, "semi-honest plans"),
        (UPDATE, {"protocol": "plainsum"}, "shows the server every input"),
        (UPDATE, {"corrupt": 0.5, "dropout": 0.5}, "50 inputs survive, and 50 may be corrupt"),
    ],
)
def test_what_has_no_plan_with_privacy(fields: Any, threat: dict[str, Any], words: str) -> None:
    """Row 110."""
    with pytest.raises(ParameterError, match=words):
        made(fields, **threat)


@pytest.mark.parametrize("trust", ["distributed", "local", "central"])
@pytest.mark.parametrize("protocol", ["secagg", "secagg+", None])
def test_an_active_plan_has_no_noise_and_what_would_do_does(
    trust: Any, protocol: str | None
) -> None:
    """Row 110: whoever adds it, in whichever graph; and a plan that says both is no plan."""
    asked = Privacy(1, 1e-5, trust=trust)
    with pytest.raises(ParameterError, match="adversary='semi-honest' would do"):
        made(UPDATE, asked=asked, adversary="active", protocol=protocol)
    assert made(UPDATE, asked=asked, adversary="semi-honest").privacy is not None


def test_central_noise_needs_one_that_has_the_sum() -> None:
    with pytest.raises(ParameterError, match="trust='distributed' would do"):
        made(asked=Privacy(1, 1e-5, trust="central"), servers=2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (UPDATE, "a Vector, which is for plans with privacy="),
        (BARS, "has a sensitivity, which is for plans with privacy="),
    ],
)
def test_without_privacy_a_norm_would_be_for_nothing(fields: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        secagg.plan(clients=100, fields=fields)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, 1e-5), "epsilon must be above 0"),
        ((-1, 1e-5), "epsilon must be above 0"),
        ((math.nan, 1e-5), "epsilon must be a finite"),
        ((1, 0), "delta must be between 0 and 1"),
        ((1, 1), "delta must be between 0 and 1"),
        ((1, 1e-5, 0), "rounds"),
        ((1, 1e-5, 10**7), "rounds"),
        ((1, 1e-5, 1, "person"), "unit must be one of client, example"),
        ((1, 1e-5, 1, "client", "nobody"), "trust must be one of"),
        ((1, 1e-5, 1, "example"), "unit='example' needs examples=: the most"),
        ((1, 1e-5, 1, "client", "distributed", 5), "examples= is of unit='example'"),
        ((1, 1e-5, 1, "client", "distributed", None, {"x": 0}), "must be above 0"),
        ((1, 1e-5, 1, "client", "distributed", None, {"x": -1}), "split"),
        ((1, 1e-5, 1, "client", "distributed", None, "x"), "split maps the name"),
    ],
)
def test_what_cannot_be_asked_for(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Privacy(*given)


def test_a_field_is_no_longer_than_what_one_key_draws_noise_for() -> None:
    with pytest.raises(ParameterError, match="make several fields of it"):
        made({"k": Integer(1 << 30, 1, sensitivity=1)})


def test_a_split_names_every_field() -> None:
    for split in ({"other": Fraction(1)}, {1: Fraction(1)}):
        with pytest.raises(ParameterError, match="plan's update: name each"):
            made(asked=Privacy(1, 1e-5, split=split))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "words"),
    [(Privacy(1e-6, 1e-5), "epsilon"), (Privacy(1e3, 1e-5), ""), (Privacy(1, 1e-5, 10**6), "")],
)
def test_extremes_are_right_or_refused(asked: Privacy, words: str) -> None:
    try:
        plan = made(asked=asked)
    except ParameterError as refused:
        assert words and words in str(refused)
    else:
        assert Plan.decode(plan.encode()) == plan


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((3, 1, 0), "at least 1"),
        ((3, 1, 0.5), "at least 1"),
        ((3, 1, math.nan), "finite"),
        ((3, 1, 2), "beyond every input"),
        ((3, 1, "1"), "sensitivity"),
    ],
)
def test_sensitivities_that_cannot_be(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Integer(*given)


def test_a_root_is_the_root_of_its_integer() -> None:
    """Squared, a binary64 may lie a little to either side of it."""
    for squared in range(1, 2000):
        assert Integer(2000, 1, math.sqrt(squared)).norm_squared == squared
    assert Integer(9, 1, 1.5).norm_squared == 2, "the largest integer norm that is within"


# The label


def test_a_label_says_what_a_sum_promises() -> None:
    plan = made({**UPDATE, **BARS})
    label = label_of(plan.threat, plan.schema, 85)
    assert label is not None
    assert (label.n_min, label.contributors, label.honest) == (70, 85, 75)
    assert label.epsilon_server is not None and label.epsilon_server < 2
    assert label.epsilon_release < label.epsilon_server
    exact = loss(blocks(plan.schema, 84), terms(plan).delta, terms(plan).rounds).epsilon
    assert label.epsilon_release == exact, "all but what one curious client knows"
    assert f"To readers alone it is {at_most(exact, 4)}." in label.statement
    assert "the server and readers" in label.statement and "each client" in label.statement
    assert label.mechanism == {"update": "discrete Gaussian", "bars": "Skellam"}
    deviation = math.sqrt(85 * terms(plan).noises[0].variance) / 32767
    assert math.isclose(label.sigma_total["update"], deviation)
    assert -40 < label.wrap_log2 == 1 - 40
    fewest = label_of(plan.threat, plan.schema, 80)
    assert fewest is not None and fewest.honest == 70
    assert fewest.epsilon_release <= 2
    assert set(label.as_dict()) >= {"unit", "adjacency", "trust", "accounting", "warnings"}


def test_without_corrupt_clients_all_noise_counts_against_everybody() -> None:
    """40 §8.1: there is no client that is a curious reader."""
    plan = made(corrupt=0)
    label = label_of(plan.threat, plan.schema, 90)
    assert label is not None and label.honest == 90
    assert label.epsilon_release == label.epsilon_server and "readers alone" not in label.statement


def test_of_local_noise_readers_see_the_sum() -> None:
    """40 §8.1: the noise of all others, each enough by itself."""
    plan = made(asked=Privacy(2, 1e-5, trust="local"))
    label = label_of(plan.threat, plan.schema, 90)
    assert label is not None and label.epsilon_server is not None
    assert 1.9 < label.epsilon_server <= 2
    assert label.epsilon_release == loss(blocks(plan.schema, 89), 1e-5).epsilon
    assert label.epsilon_release < label.epsilon_server / 9
    alone = label_of(plan.threat, plan.schema, 1)
    assert alone is not None and alone.epsilon_release == alone.epsilon_server


def test_central_noise_promises_nothing_about_its_server() -> None:
    plan = made(asked=Privacy(1, 1e-5, trust="central"))
    label = label_of(plan.threat, plan.schema, 90)
    assert label is not None and label.epsilon_server is None
    assert label.epsilon_release <= 1 and "against readers over 1 round" in label.statement
    assert label.epsilon_release == loss(blocks(plan.schema, 1), 1e-5).epsilon


def test_a_label_warns() -> None:
    loud = Privacy(50, 0.02, trust="distributed")
    plan = made({"x": Vector(10_000, 1.0, 6)}, loud, clients=30, roster=60, corrupt=0.05)
    label = label_of(plan.threat, plan.schema, 25)
    assert label is not None
    words = " ".join(label.warnings)
    assert "next to nothing" in words and "below one over the 60" in words
    assert "chosen from more" in words and "honest shares" in words and "more bits" in words
    assert label.reproducible().warnings[0] == f"{REPRODUCIBLE}: it is not private"
    assert label.reproducible().statement == f"Not private: {REPRODUCIBLE}."
    quiet = label_of(made(clients=1000, asked=ASKED).threat, made(clients=1000).schema, 900)
    assert quiet is not None and quiet.warnings == ()


def test_explain_says_what_the_smallest_sum_promises() -> None:
    plan = made({**UPDATE, **BARS}, Privacy(20, 0.5), clients=40)
    words = plan.explain()
    assert "What a sum tells of any one client: (20, 0.5)-differential privacy" in words
    assert "Noise of a sum of 32, as the deviation of an element: update " in words
    assert "Mind: epsilon is" in words and "Mind: delta 0.5" in words
    assert "unless they have noise" in words


def test_an_interval_of_integers_covers_though_its_noise_is_narrow() -> None:
    """specs/40-privacy.md §8, by the exact probabilities of Skellam noise, which has the heaviest
    tails of all that there is."""
    for sigma in [*np.geomspace(0.05, 3, 400), 6.3, 20.7, 40.0]:
        half, covered = within(sigma), centred(sigma)
        assert covered[half] > 0.938
        assert half == 0 or covered[half - 1] < 0.951, "and no wider than that takes"
        assert sigma < 6 or covered[half] < 0.97


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("bits", [2, 3, 6])
def test_an_interval_of_a_short_vector_covers_though_its_steps_are_wide(
    length: int, bits: int
) -> None:
    """specs/40-privacy.md §8, by the exact probabilities of the noise: an element is D integers
    with signs, over the root of D. With 1.959964 deviations one of 2 bits is in 93.2 of 100."""
    width = 1 << length.bit_length() - 1
    for epsilon in (1, 4, 6, 8):
        privacy = Privacy(epsilon, 1e-5)
        plan = made({"u": Vector(length, 2.0, bits)}, privacy, clients=20, corrupt=0, dropout=0)
        assert plan.privacy is not None
        [noise] = plan.privacy.noises
        assert isinstance(noise, Noise)
        total = summed(noise, 20 * width)
        unit = 2.0 / ((1 << bits - 1) - 1) / math.sqrt(width)
        half = intervals(plan.schema, 20)["u"]
        inside = np.abs(np.arange(len(total)) - len(total) // 2) * unit <= half
        assert 0.9499 < total[inside].sum() < 0.99
        assert half - 1.959964 * deviations(plan.schema, 20)["u"] < 0.51 * unit


def summed(noise: Noise, count: int) -> Any:
    """The probabilities of so many shares together, about the middle."""
    own = _gaussian(noise.exact) if noise.kind is Kind.GAUSSIAN else _skellam(noise.exact)
    half = np.array(weights(own), float) / 2.0**127
    base, found = np.concatenate([half[:0:-1] / 2, [half[0]], half[1:] / 2]), np.ones(1)
    while count:
        found = np.convolve(found, base) if count & 1 else found
        base, count = np.convolve(base, base), count >> 1
        base = base[base > 1e-17]
    return found


def centred(sigma: float) -> Any:
    """How probable Skellam noise of at most 0, 1, 2 .. is in magnitude."""
    mean = sigma * sigma / 2
    k = np.arange(int(mean + 12 * math.sqrt(mean)) + 40)
    poisson = np.exp(-mean + k * math.log(mean) - [math.lgamma(i + 1) for i in k])
    upper = np.convolve(poisson, poisson[::-1])[len(k) - 1 :]
    return 2 * upper.cumsum() - upper[0]
