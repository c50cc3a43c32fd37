"""What a model is made of, and that a plan binds it: specs/01-wire.md §4."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.errors import InputError, ParameterError, RangeError
from secagg.fields import FixedPoint, Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.records import encode
from secagg.structure import Structure


def model() -> dict[str, Any]:
    return {
        "conv.weight": np.arange(12, dtype=np.float32).reshape(2, 2, 3),
        "scale": np.array(0.5),
        "bias": np.array([1.0, 2.0], np.float16),
    }


def test_a_structure_flattens_and_restores() -> None:
    structure = Structure.of(model())
    assert structure.length == 15
    flat = structure.flatten(model())
    assert flat.dtype == np.float64
    assert flat.tolist() == [*range(12), 0.5, 1.0, 2.0]
    back = structure.unflatten(flat)
    assert list(back) == list(model())
    for name, array in model().items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tolist() == array.tolist()


def test_a_structure_fixes_the_order() -> None:
    shuffled = dict(reversed(model().items()))
    structure = Structure.of(model())
    assert structure.flatten(shuffled).tolist() == structure.flatten(model()).tolist()
    assert structure == Structure.of(model()) != Structure.of(shuffled)


def test_a_structure_refuses_other_names_and_shapes() -> None:
    structure = Structure.of(model())
    with pytest.raises(InputError, match="missing entries: 'bias'; to be given"):
        structure.flatten({k: v for k, v in model().items() if k != "bias"})
    with pytest.raises(InputError, match=r"'scale' takes shape \(\), and \(1,\) was given"):
        structure.flatten({**model(), "scale": [0.5]})
    with pytest.raises(InputError, match="takes 15 elements, and 14 were given"):
        structure.unflatten(np.zeros(14))


@pytest.mark.parametrize("value", [np.int64(3), np.zeros(2, int), np.zeros(2, bool), ["a"]])
def test_only_floats_are_averaged(value: Any) -> None:
    """torch's num_batches_tracked is an int64 scalar."""
    with pytest.raises(InputError, match="num_batches_tracked"):
        Structure.of({**model(), "num_batches_tracked": value})


def test_a_sum_beyond_an_entry_is_refused() -> None:
    structure = Structure.of({"bias": np.zeros(1, np.float16)})
    assert structure.unflatten([65504.0])["bias"].tolist() == [65504.0]
    with pytest.raises(RangeError, match="beyond the range of float16"):
        structure.unflatten([70000.0])


def test_a_structure_of_integers() -> None:
    """For an Integer field: a model's counters, say."""
    counters = {"seen": np.arange(3), "batches": np.int32(4)}
    structure = Structure.of(counters, integers=True)
    assert structure.integers and not Structure.of(model()).integers
    flat = structure.flatten(counters)
    assert (flat.dtype, flat.tolist()) == (np.int64, [0, 1, 2, 4])
    back = structure.unflatten(flat)
    assert back["batches"].dtype == np.int32 and back["seen"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="take the sum, and not the mean"):
        structure.unflatten(flat / 2)
    with pytest.raises(InputError, match="'scale' is float64: an Integer field takes integers"):
        Structure.of({"scale": np.array(0.5)}, integers=True)


# --- what a plan binds ---------------------------------------------------------------------

FIELDS: dict[str, Any] = {
    "head": FixedPoint(2, 1.0, 16),
    "update": FixedPoint(15, 12.0, 16),
    "counters": Integer(4, 9),
}
COUNTERS = {"seen": np.arange(3), "batches": np.int32(4)}


def agreed(**changes: Any) -> Plan:
    structure = {
        "update": Structure.of(model()),
        "counters": Structure.of(COUNTERS, integers=True),
    }
    return plan(clients=4, fields=FIELDS, **{"structure": structure, **changes})


def vector_of(made: Plan, **changes: Any) -> Any:
    values = {"head": [0.5, 0.5], "update": model(), "counters": COUNTERS, **changes}
    return encode(made.schema, values, 1, os.urandom, made.structure).vector


def renamed(old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: value for name, value in model().items()}


def test_the_model_that_was_agreed_on_is_taken() -> None:
    made = agreed()
    assert len(made.structure) == 5 and {len(one) for one in made.structure} == {16}
    flat = [np.concatenate([np.ravel(v) for v in part.values()]) for part in (model(), COUNTERS)]
    plain = plan(clients=4, fields=FIELDS)
    other = vector_of(plain, update=flat[0], counters=flat[1])
    for lane, wanted in zip(vector_of(made), other, strict=True):
        assert lane.tolist() == wanted.tolist()


def test_it_is_bound_whatever_the_bytes_are_in_memory() -> None:
    """Byte order, strides and type of container are the caller's: 01-wire.md §4 binds none."""
    plain = [lane.tolist() for lane in vector_of(agreed())]
    swapped = {
        name: np.array(value.astype(value.dtype.newbyteorder()), order="F")
        for name, value in model().items()
    }
    for same in (swapped, {**model(), "scale": 0.5}):
        assert [lane.tolist() for lane in vector_of(agreed(), update=same)] == plain


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            dict(reversed(model().items())),
            r"entry 0 .* 'update', is 'bias', \(2,\) float16, and the plan has 'conv.weight' there",
        ),
        (
            {**model(), "bias": np.array([1.0, 2.0], np.float32)},
            r"entry 2 .* 'bias', \(2,\) float32, and .* another name, shape or dtype",
        ),
        (
            {**model(), "conv.weight": np.zeros((2, 3, 2), np.float32)},
            r"entry 0 .* \(2, 3, 2\) float32, and .* another name, shape or dtype",
        ),
        (renamed("scale", "gain"), r"entry 1 .* 'gain', \(\) float64, and .* another name"),
        ({**model(), "more": np.zeros(1)}, r"entry 3 .* 'more', .* another name"),
        ({"conv.weight": model()["conv.weight"]}, r"entry 1 .* 'counters', is 'seen', "),
        ({}, r"entry 0 .* 'counters', is 'seen', "),
        (np.zeros(15), r"entry 0 .* 'counters', is 'seen', "),
    ],
    ids=["order", "dtype", "shape", "name", "one more", "fewer", "none", "an array"],
)
def test_another_model_is_refused_with_the_first_difference(other: Any, difference: str) -> None:
    with pytest.raises(InputError, match=difference):
        vector_of(agreed(), update=other)


def test_what_comes_last_is_missed_too() -> None:
    with pytest.raises(InputError, match="the plan is for 5 entries by name, and the input has 4"):
        vector_of(agreed(), counters={"seen": np.arange(3)})
    with pytest.raises(InputError, match="is for 5 entries by name, and the input has 3"):
        vector_of(agreed(), counters=[0, 1, 2, 4])
    with pytest.raises(InputError, match="the plan has 5 entries only"):
        vector_of(agreed(), counters={**COUNTERS, "more": np.int32(1)})


def test_the_field_is_bound_too() -> None:
    """Two fields of one kind cannot be given for each other."""
    fields = {"a": FixedPoint(2, 1.0, 8), "b": FixedPoint(2, 1.0, 8)}
    layer = {"w": np.zeros(2)}
    made = plan(clients=4, fields=fields, structure={"b": Structure.of(layer)})
    encode(made.schema, {"a": [0, 0], "b": layer}, 1, os.urandom, made.structure)
    with pytest.raises(InputError, match="entry 0 of the input, in field 'a'"):
        encode(made.schema, {"a": layer, "b": [0, 0]}, 1, os.urandom, made.structure)


def test_names_without_a_structure_are_refused_with_what_would_do() -> None:
    """A dict in another order is averaged into nonsense otherwise, and nothing could tell."""
    made = plan(clients=5, fields={"u": FixedPoint(2, 1.0, 16)})
    one, other = {"a": [0.1], "b": [0.9]}, {"b": [0.9], "a": [0.1]}
    inputs = {i: {"u": one if i % 2 else other} for i in range(5)}
    with pytest.raises(InputError, match=r"make the plan with structure=Structure.of\(model\)"):
        secagg.simulate(made, inputs)
    bound = plan(clients=5, fields={"u": FixedPoint(2, 1.0, 16)}, structure=Structure.of(one))
    with pytest.raises(InputError, match="is 'b', .* the plan has 'a' there"):
        secagg.simulate(bound, inputs)
    mean = secagg.simulate(bound, {i: {"u": one} for i in range(5)}).mean["u"]
    assert np.allclose(mean, [0.1, 0.9], atol=1e-3)


@pytest.mark.parametrize(
    ("structure", "complaint"),
    [
        (Structure.of(model()), "the plan has 3 fields: say of which one"),
        ({}, "of one or more of the plan's fields"),
        ({"updates": Structure.of(model())}, "of one or more of the plan's fields"),
        ({"update": model()}, "the structure of field 'update' must be a Structure, not a dict"),
        ("update", "of one or more of the plan's fields"),
        (
            {"update": Structure.of({"a": np.zeros(14)})},
            "'update' has 14 elements, and the field 15",
        ),
        ({"counters": Structure.of({"a": np.zeros(4)})}, "an Integer one of integers"),
        ({"head": Structure.of({"a": np.zeros(2, int)}, integers=True)}, "a FixedPoint takes"),
    ],
)
def test_structures_that_do_not_fit(structure: Any, complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        agreed(structure=structure)


def test_a_name_that_cannot_be_written() -> None:
    broken = Structure.of({"\ud800": np.zeros(15)})
    with pytest.raises(InputError, match="text that UTF-8 can write"):
        agreed(structure={"update": broken})


def test_a_model_of_too_many_entries() -> None:
    many = Structure.of({str(i): np.zeros(1) for i in range(8193)})
    with pytest.raises(ParameterError, match="at most 8192 entries, not 8193"):
        plan(clients=4, fields={"u": FixedPoint(8193, 1.0, 8)}, structure=many)


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [(np.int8, -128, 127), (np.uint8, 0, 255), (np.int64, -(2**63), 2**63 - 1)],
)
def test_a_sum_that_an_integer_entry_cannot_hold_is_refused(
    dtype: Any, least: int, most: int
) -> None:
    """And not wrapped around, which numpy does without a word."""
    structure = Structure.of({"a": np.array([1, 2], dtype)}, integers=True)
    assert structure.unflatten(np.array([least, 0]))["a"].tolist() == [least, 0]
    assert structure.unflatten(np.array([0, most]))["a"].tolist() == [0, most]
    for beyond in {least - 1, most + 1} & set(range(-(2**15), 2**15)):
        with pytest.raises(RangeError, match="'a': an element is beyond the range of"):
            structure.unflatten(np.array([0, beyond]))


def test_names_of_entries_are_texts() -> None:
    """1 and "1" would be one entry, and the other one lost."""
    with pytest.raises(InputError, match="entry 1 of a structure is an int: names are texts"):
        Structure.of({"1": np.zeros(2), 1: np.ones(2)})  # type: ignore[dict-item]
    made = plan(
        clients=3,
        fields={"u": FixedPoint(2, 1.0, 8)},
        dropout=0,
        structure=Structure.of({"1": np.zeros(2)}),
    )
    with pytest.raises(InputError, match="entry 0 of field 'u' is an int: names are texts"):
        encode(made.schema, {"u": {1: np.zeros(2)}}, 1, os.urandom, made.structure)


@pytest.mark.parametrize("other", [5, [1, 2], None, "model"])
def test_what_is_no_mapping_is_no_model(other: Any) -> None:
    with pytest.raises(InputError, match="a structure is made of a mapping of names to arrays"):
        Structure.of(other)
    with pytest.raises(ParameterError, match="integers must be True or False"):
        Structure.of(model(), integers=other)


def test_a_dimension_that_no_plan_can_write_is_refused() -> None:
    empty = Structure.of({"b": np.empty((2**33, 0)), "a": np.zeros(1)})
    with pytest.raises(InputError, match="dimensions are below 2\\^32"):
        empty.digests("u", FixedPoint(1, 1.0, 8))
