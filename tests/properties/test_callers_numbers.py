"""The numbers of a plan's maker, of whatever type, are those of its readers (threats 12, 81).

specs/02-quantization.md §4.1: a clip is a float64. Were it kept as the numpy scalar that the
maker had, maker and reader of one digest would compute different steps from it.
"""

from __future__ import annotations

import os
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg import records
from secagg.errors import ParameterError
from secagg.fields import FixedPoint, Integer
from secagg.plans.plan import Plan
from secagg.schema import Schema
from secagg.shown import at_most
from tests.soak import examples

FLOATS = [float, np.float16, np.float32, np.float64, np.longdouble, np.int32, Fraction]
INTEGERS = [int, np.int16, np.uint16, np.int32, np.int64, np.uint64]


def same(plan: Plan) -> Plan:
    """What everybody else makes of its bytes."""
    return Plan.decode(plan.encode(), allow_unprotected=True)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from(FLOATS),
    st.sampled_from(INTEGERS),
    st.floats(0.002, 1000) | st.sampled_from([0.1, 0.7, 1.0]),
    st.integers(2, 32),
    st.integers(0, 2**32 - 1),
)
def test_maker_and_reader_compute_the_same(
    real: Any, whole: Any, clip: float, bits: int, seed: int
) -> None:
    """numpy's clip and sizes: equal schemas and digests, bit-equal vectors, errors as promised."""
    given_clip = real(max(1, int(clip))) if real is np.int32 else real(clip)
    fields = {
        "x": FixedPoint(whole(40), given_clip, whole(bits)),
        "h": Integer(whole(2), whole(9)),
    }
    plan = secagg.plan(
        clients=whole(3), dropout=0, fields=fields, max_weight=whole(5), protocol="plainsum"
    )
    reader = same(plan)
    assert reader.schema == plan.schema
    assert reader.digest() == plan.digest()
    field = plan.schema.fields[0][1]
    assert isinstance(field, FixedPoint)
    assert (type(field.clip), type(field.bits), type(field.length)) == (float, int, int)
    x = np.random.default_rng(seed).uniform(-field.clip, field.clip, 40)
    x[:2] = field.clip, -field.clip
    vectors = [
        records.encode(of.schema, {"x": x, "h": [9, -9]}, whole(2), os.urandom).vector
        for of in (plan, reader)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*vectors, strict=True))
    decoded = records.decode(reader.schema, vectors[0], 1)
    for value, mean in zip(x.tolist(), decoded.mean["x"].tolist(), strict=True):
        assert abs(Fraction(value) - Fraction(mean)) <= Fraction(reader.max_error)


@settings(max_examples=examples(100), deadline=None)
@given(st.floats(1e-290, 1e290), st.integers(2, 32), st.sampled_from(["nearest", "stochastic"]))
def test_no_printed_bound_is_below_the_bound(clip: float, bits: int, rounding: Any) -> None:
    """`explain` rounds up; and the clip that it prints is the clip."""
    field = FixedPoint(1, clip, bits, rounding)
    plan = secagg.plan(clients=3, dropout=0, fields={"x": field}, protocol="plainsum")
    [line] = [text for text in plan.explain().splitlines() if text.startswith("  x: ")]
    shown_clip = line.split("fixed point in ±")[1].split(",")[0]
    shown_bound = line.split("within ")[1].split(";")[0]
    assert float(shown_clip) == clip
    assert Decimal(shown_bound) >= Decimal(field.max_error)
    assert Decimal(shown_bound) <= Decimal(field.max_error) * Decimal("1.01")


@pytest.mark.parametrize("digits", [1, 2, 3])
@given(bound=st.floats(1e-300, 1e300))
def test_at_most_is_at_least(digits: int, bound: float) -> None:
    assert Decimal(at_most(bound, digits)) >= Decimal(bound)


FIELD = FixedPoint(3, 1.0, 16)
NO_INTEGERS = [True, 16.0, np.float64(16), "16", None, [16], np.array([16]), object()]
NO_REALS = [True, "0.5", None, [0.5], np.array([0.5, 0.5]), object()]


def make(**arguments: Any) -> Plan:
    return secagg.plan(**{"clients": 5, "fields": {"u": FIELD}, **arguments})


@pytest.mark.parametrize("value", NO_INTEGERS)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("length", lambda v: FixedPoint(v, 1.0, 16)),
        ("length", lambda v: Integer(v, 5)),
        ("bits", lambda v: FixedPoint(3, 1.0, v)),
        ("max", lambda v: Integer(3, v)),
        ("clients", lambda v: make(clients=v)),
        ("min_clients", lambda v: make(min_clients=[v])),
        ("max_weight", lambda v: make(max_weight=v)),
        ("servers", lambda v: make(servers=v)),
        ("clients", lambda v: Schema.of({"u": FIELD}, v)),
        ("max_weight", lambda v: Schema.of({"u": FIELD}, 5, v)),
        ("count", lambda v: secagg.drop_at("unmask", count=[v])),
        ("seed", lambda v: secagg.simulate(make(), {}, seed=v)),
    ],
)
def test_what_is_no_integer_is_refused_by_name(name: str, call: Any, value: Any) -> None:
    """specs/validation.md 12: each with the parameter's name, and none with a raw TypeError."""
    with pytest.raises(ParameterError, match=rf"^{name} must be an integer from \d+ to \d+, not"):
        call(value)


@pytest.mark.parametrize("value", NO_REALS)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("clip", lambda v: FixedPoint(3, v, 16)),
        ("corrupt", lambda v: make(corrupt=[v])),
        ("dropout", lambda v: make(dropout=[v])),
        ("rate", lambda v: secagg.drop_at("unmask", [v])),
    ],
)
def test_what_is_no_real_is_refused_by_name(name: str, call: Any, value: Any) -> None:
    with pytest.raises(ParameterError, match=rf"^{name} must be a (fraction|number)"):
        call(value)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: make(fields=FIELD), "fields must be a mapping .* not a FixedPoint"),
        (lambda: make(fields=[("u", FIELD)]), "fields must be a mapping .* not a list"),
        (lambda: make(fields={"u": 3}), "field 'u' must be a FixedPoint or an Integer, not an int"),
        (lambda: make(fields={"u": [FIELD]}), "field 'u' must be .*, not a list"),
        (lambda: make(fields={3: FIELD}), "a field's name is printable ASCII"),
        (lambda: make(direct=np.array([False])), "direct must be True or False, not a ndarray"),
        (lambda: make(direct="no"), "direct must be True or False, not a str"),
        (lambda: make(adversary=["active"]), "adversary must be one of semi-honest, active"),
        (lambda: make(protocol=["secagg"]), "protocol must be a text, not a list"),
        (lambda: FixedPoint(3, 1.0, 16, ["nearest"]), "rounding must be one of nearest, stoch"),  # type: ignore[arg-type]
        (lambda: FixedPoint(3, 1.0, 16, excess=None), "excess must be one of clip, error"),  # type: ignore[arg-type]
        (lambda: make(corrupt="1e-999999999"), "corrupt must be a fraction"),
        (lambda: make(dropout=20), "dropout must be a fraction .* did you mean 0.2"),
    ],
)
def test_the_wrong_kind_of_thing_is_refused_by_name(call: Any, rule: str) -> None:
    with pytest.raises(ParameterError, match=rule):
        call()


def test_flags_may_be_numpys() -> None:
    """A comparison of arrays gives them."""
    assert make(dropout=0, direct=np.bool_(False)) == make(dropout=0)
