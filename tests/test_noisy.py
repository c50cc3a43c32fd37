"""Inputs of plans with privacy, from a client's arrays to the decoded sum (40-privacy.md §2)."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import records
from secagg.cut import clipping
from secagg.errors import InputError, RangeError
from secagg.fields import Integer, Vector
from secagg.noisy import encode_units
from secagg.plans.plan import Plan
from secagg.privacy import Privacy
from secagg.ring import Ring
from secagg.sampler import add_noise, field_key
from secagg.sim import simulate
from secagg.types import Seed
from tests.test_bounded import taped

SEED = bytes(range(32))


def made(fields: dict[str, Any], n: int = 20, **asked: Any) -> Plan:
    privacy = Privacy(**{"epsilon": 4, "delta": 1e-3, **asked})
    return secagg.plan(clients=n, fields=fields, corrupt=0, dropout=0.1, privacy=privacy)


def levels(plan: Plan, encoded: records.Encoded) -> dict[str, list[int]]:
    return {k: v.tolist() for k, v in records.decode(plan.schema, encoded.vector, 1).levels.items()}


def test_an_input_is_its_units_and_one_share_of_noise() -> None:
    """Byte for byte: what is random comes from the injected source, in order."""
    plan = made({"u": Vector(5, 1.0, 12), "k": Integer(3, 4, sensitivity=4)})
    values = {"u": np.arange(5) / 10, "k": np.array([0, 4, 0])}
    got = levels(plan, records.encode(plan.schema, values, 1, taped(), (), SEED))
    wanted = {}
    for place, (name, field) in enumerate(plan.schema.fields):
        part = np.zeros(field.length, np.int64).view(np.uint64)
        if isinstance(field, Vector):
            unit = values[name]
            encode_units(part, [("", unit)], field, Ring(64), SEED, taped())
        else:
            part[:] = values[name].view(np.uint64)
        secret = Seed(bytes([1]) * 32)  # the source's second key: the first rounded the vector
        add_noise(part, plan.schema.noises[name], Ring(64), field_key(secret, place))
        wanted[name] = part.view(np.int64).tolist()
    assert got == wanted


def test_examples_are_encoded_one_by_one_and_added() -> None:
    fields = {"u": Vector(4, 1.0, 12), "k": Integer(2, 1, sensitivity=1)}
    plan = made(fields, unit="example", examples=3)
    rows = {"u": np.array([[3.0, 0, 0, 0], [0, 4.0, 0, 0]]), "k": np.array([[1, 0], [1, 0]])}
    encoded = records.encode(plan.schema, rows, 1, os.urandom, (), SEED)
    assert encoded.clipped == {"u": 2, "k": 0}
    assert "2 vectors of field 'u' were longer than 1.0" in clipping(plan.schema, encoded.clipped)
    nothing = {"u": np.zeros((0, 4)), "k": np.zeros((0, 2), int)}
    assert records.encode(plan.schema, nothing, 1, os.urandom, (), SEED).clipped == {"u": 0, "k": 0}


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"u": np.zeros((4, 4)), "k": np.zeros((4, 2), int)}, InputError, "4 examples"),
        ({"u": np.zeros((1, 4)), "k": np.zeros((2, 2), int)}, InputError, "rows of the same"),
        ({"u": np.zeros(3), "k": np.zeros((1, 2), int)}, InputError, "a row of 4 elements"),
        ({"u": np.float64(1), "k": np.zeros((1, 2), int)}, InputError, "a row of 4 elements"),
        ({"u": np.full((1, 4), np.nan), "k": np.zeros((1, 2), int)}, RangeError, "example 0: NaN"),
        ({"u": np.zeros((1, 4)), "k": np.ones((1, 2), int)}, RangeError, "example 0: its Euclid"),
        ({"u": np.zeros((1, 4)), "k": np.full((1, 2), 2)}, RangeError, "0: beyond ±1 at index 0"),
        ({"u": np.zeros((2, 4)), "k": np.array([[1, 0], [1, 1]])}, RangeError, "1: its Euclid"),
        ({"u": np.zeros((2, 4)), "k": np.array([[1, 0], [0, 2]])}, RangeError, "1: beyond ±1 at "),
        ({"u": np.zeros((2, 4)), "k": np.zeros((2, 2))}, InputError, "0 takes integer dtypes"),
    ],
)
def test_examples_that_do_not_fit(values: Any, error: type[Exception], words: str) -> None:
    """Row 113."""
    plan = made({"u": Vector(4, 1.0, 12), "k": Integer(2, 1, 1)}, unit="example", examples=3)
    with pytest.raises(error, match=words):
        records.encode(plan.schema, values, 1, os.urandom, (), SEED)


def test_examples_of_integers_are_judged_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is named is not counted from where its chunk begins; and small types add up."""
    monkeypatch.setattr("secagg.noisy.CHUNK", 6)
    plan = made({"k": Integer(2, 127, sensitivity=127)}, unit="example", examples=300)
    ones = np.tile(np.array([[127, 0]], np.int8), (300, 1))
    out = records.encode(plan.schema, {"k": ones}, 1, os.urandom, (), SEED)
    sigma = math.sqrt(plan.schema.noises["k"].variance)
    ring = plan.schema.ring_of(plan.schema.slots[0])
    found = np.int64(out.vector[0][:2]) & ring.mask
    assert abs(int(found[0]) - 300 * 127) < 8 * sigma + 1
    ones[7] = [127, 1]
    with pytest.raises(RangeError, match="example 7: its Euclid"):
        records.encode(plan.schema, {"k": ones}, 1, os.urandom, (), SEED)


def test_integers_are_never_made_shorter() -> None:
    """Row 113."""
    plan = made({"k": Integer(4, 2**22, sensitivity=2**23)})
    fits = {"k": np.full(4, 2**22)}
    records.encode(plan.schema, fits, 1, os.urandom, (), SEED)
    plan = made({"k": Integer(4, 2**22, sensitivity=2**23 - 1)})
    with pytest.raises(RangeError, match="above 8388607.0, the plan's sensitivity") as caught:
        records.encode(plan.schema, fits, 1, os.urandom, (), SEED)
    assert str(2**22) not in str(caught.value)
    field, wide = Integer(4, 2**31, sensitivity=2.0**31), np.full(4, 2**31)
    with pytest.raises(RangeError, match="sensitivity"):  # the squares add up to 2^64
        encode_units(np.zeros(4, np.uint64), [("k", wide)], field, Ring(64), SEED, taped())


def test_arrays_by_name_are_one_vector() -> None:
    model = {"w": np.full((2, 2), 0.1, np.float32), "b": np.full(1, -0.2)}
    structure = secagg.Structure.of(model)
    plan = secagg.plan(
        clients=20,
        fields={"u": Vector(5, 1.0, 24)},
        corrupt=0,
        dropout=0.1,
        structure=structure,
        privacy=Privacy(500, 0.5),
    )
    total = simulate(plan, lambda me: {"u": model})
    np.testing.assert_allclose(total.mean["u"], [0.1] * 4 + [-0.2], atol=0.01)
    bad = {"w": np.full((2, 2), 0.1, np.float32), "b": np.array([np.inf])}
    with pytest.raises(RangeError, match="entry 'b' of field 'u': NaN or infinite at index 0"):
        records.encode(plan.schema, {"u": bad}, 1, os.urandom, plan.structure, SEED)


@pytest.mark.parametrize("trust", ["distributed", "central", "local"])
def test_a_round_gives_the_sum_and_the_noise_that_was_planned(trust: Any) -> None:
    """Within five deviations, in each mode; and not exactly, in any."""
    n, plan = 20, made({"u": Vector(300, 1.0, 16), "k": Integer(300, 1, 5)}, trust=trust)
    vectors = np.random.default_rng(1).normal(size=(n, 300)) / 30
    bars = np.eye(300, dtype=int)[:n]
    total = simulate(plan, lambda me: {"u": vectors[me], "k": bars[me]})
    assert total.privacy is not None and total.privacy.statement.startswith("Not private")
    for name, exact in (("u", vectors.sum(axis=0)), ("k", bars.sum(axis=0))):
        error = total.sum[name] - exact
        sigma = total.privacy.sigma_total[name]
        half = 1.959964 * sigma
        if name == "u":  # beside 1/16 of a step, which 256 elements have as their unit
            assert half <= total.interval[name] <= half + 1 / 32767 / 16
        else:
            assert total.interval[name] == math.ceil(half - 0.5)
        assert 0.75 < error.std() / sigma < 1.3
        assert np.abs(error).max() < 5.5 * sigma
    assert total.mean["u"].tolist() == (total.sum["u"] / n).tolist()


def test_two_rounds_and_two_clients_have_noise_of_their_own() -> None:
    plan = made({"k": Integer(200, 1, 1)})
    zeros = {"k": np.zeros(200, int)}
    one, two = (
        levels(plan, records.encode(plan.schema, zeros, 1, os.urandom, (), SEED)) for _ in range(2)
    )
    assert one != two


def test_a_server_that_adds_noise_adds_the_same_to_one_sum() -> None:
    """Two noises on one sum could be averaged: asked twice, and after a restart with its key."""
    plan = made({"k": Integer(50, 1, 1)}, trust="central")
    vector = records.encode(plan.schema, {"k": np.zeros(50, int)}, 1, os.urandom).vector
    first, again, other = (
        records.with_noise(plan.schema, vector, Seed(bytes([key]) * 32))[0].tolist()
        for key in (1, 1, 2)
    )
    assert first == again != other
    assert not vector[0][:50].any(), "the exact sum stays as it was"
