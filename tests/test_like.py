"""Plans like a model, inputs of one, and what comes out like one; without any framework."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.errors import InputError, ParameterError, RangeError, SecAggError
from secagg.fields import FixedPoint, Integer
from secagg.plans.plan import Plan
from secagg.tensors import LARGEST, in_bfloat16
from tests.tensors import Frame, Tensor


def model(shift: float = 0.0) -> dict[str, Any]:
    """What a state dict has: layers of several types, BatchNorm with its counter, a mask."""
    return {
        "conv.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 2, 2) + shift,
        "norm.running_var": Tensor([0.5 + shift, 1.5]),
        "norm.num_batches_tracked": np.int64(7),
        "head.weight": Tensor([[0.1 + shift, -0.3]], "bfloat16"),
        "head.bias": Tensor(0.25, "float16", device="cuda:1"),
        "head.mask": np.array([True, False]),
        "none": np.zeros((0, 3), np.float64),
        "scale": np.array(0.5 + shift),
    }


FLOATS = [name for name in model() if name not in ("norm.num_batches_tracked", "head.mask")]


def like(like: Any = None, **options: Any) -> Plan:
    given = {"clients": 3, "dropout": 0, "clip": 4.0, "like": model() if like is None else like}
    return secagg.plan(**{**given, **options})


def summed(plan: Plan, *models: Any) -> secagg.Aggregate:
    return secagg.simulate(plan, {i: plan.input_of(one) for i, one in enumerate(models)})


def test_the_whole_of_a_model_goes_in_and_comes_out_as_it_was() -> None:
    plan = like(bits=24)
    assert plan.schema.fields == (("update", FixedPoint(18, 4.0, 24)),)
    assert len(plan.structure) == 6 and "6 arrays" in plan.explain()
    models = [model(shift) for shift in (0.0, 0.5, 1.0)]
    mean = summed(plan, *models).as_like(model())
    assert list(mean) == FLOATS
    for name, entry in mean.items():
        given = model()[name]
        assert (type(entry), entry.dtype, entry.shape) == (type(given), given.dtype, given.shape)
        exact = np.mean([np.array(one[name].tolist()) for one in models], axis=0)
        half = {"bfloat16": 2.0**-8, "float16": 2.0**-11}.get(str(entry.dtype)[6:], 2.0**-24)
        bound = plan.max_error + half * abs(exact)
        assert (abs(np.array(entry.tolist()) - exact) <= bound).all()
    assert mean["head.bias"].device == "cuda:1"


def test_means_are_rounded_once_to_the_entrys_own_type() -> None:
    """And half-way by another type would be twice: a float32 first, and then its upper half."""
    total = summed(like(bits=32), *[model(shift) for shift in (0.0, 0.004, 0.013)])
    mean, flat = total.as_like(model()), total.mean["update"]
    assert mean["conv.weight"].tolist() == flat[:12].astype(np.float32).reshape(3, 2, 2).tolist()
    assert mean["head.weight"].tolist() == in_bfloat16(flat[14:16]).reshape(1, 2).tolist()
    assert mean["scale"] == flat[-1]


def test_integers_are_left_out_or_summed_by_rule() -> None:
    """Booleans are left out always: there is no sum of a mask."""
    left = like().input_of(model())
    assert list(left) == ["update"] and "norm.num_batches_tracked" not in left["update"]
    plan = like(counters=100)
    assert plan.schema.fields[1] == ("counters", Integer(1, 100))
    total = summed(plan, *[{**model(), "norm.num_batches_tracked": np.int64(i)} for i in (1, 2, 9)])
    back = total.as_like(model())
    assert list(back) == [name for name in model() if name != "head.mask"]
    assert back["norm.num_batches_tracked"] == 12
    assert back["norm.num_batches_tracked"].dtype == np.int64
    with pytest.raises(RangeError, match="entry 'norm.num_batches_tracked' of field 'counters'"):
        summed(plan, *[{**model(), "norm.num_batches_tracked": np.int64(101)}] * 3)


def test_a_sum_beyond_its_own_type_is_refused_by_name() -> None:
    small = {"seen": np.int8(100), "w": np.float32(1)}
    total = summed(like(small, counters=127), small, small, small)
    with pytest.raises(RangeError, match="entry 'seen': an element is beyond the range of int8"):
        total.as_like(small)


def test_a_client_without_examples_has_weight_0() -> None:
    """It is counted, and its model is in no mean."""
    plan = like(max_weight=10)
    weighed = [(0.0, 3), (1.0, 1), (3.0, 0)]
    total = secagg.simulate(
        plan,
        {
            i: secagg.Contribution(plan.input_of(model(shift)), weight)
            for i, (shift, weight) in enumerate(weighed)
        },
    )
    assert (total.weight, total.count) == (4, 3)
    assert abs(total.as_like(model())["scale"] - 0.75) < plan.max_error


def test_a_mean_that_bfloat16_cannot_hold_is_refused_by_name() -> None:
    """Of so few levels that one is beyond its largest number."""
    large = {"w": Tensor([LARGEST], "bfloat16")}
    total = summed(like(large, clip=3.4e38, bits=2), large, large, large)
    with pytest.raises(RangeError, match="entry 'w': an element is beyond the range of bfloat16"):
        total.as_like(large)


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        ("scale", ["scale"]),
        ("head.*", ["head.weight", "head.bias"]),
        (["*.weight", "scale"], ["conv.weight", "head.weight", "scale"]),
        ({"scale", "none"}, ["none", "scale"]),
        (lambda name: not name.startswith(("norm", "head")), ["conv.weight", "none", "scale"]),
    ],
    ids=["name", "pattern", "several", "set", "function"],
)
def test_groups_are_left_out_by_name(only: Any, kept: list[str]) -> None:
    """Frozen layers, adapters only: neither the clients nor who has the sum repeat the choice."""
    plan = like(only=only)
    assert list(plan.input_of(model())["update"]) == kept
    assert list(summed(plan, model(), model(), model()).as_like(model())) == kept


def test_a_name_with_brackets_is_its_own_pattern() -> None:
    columns = {"age[y]": np.zeros(1), "agey": np.zeros(1)}
    assert list(like(columns, only="age[y]").input_of(columns)["update"]) == list(columns)
    assert list(like(columns, only=["agey"]).input_of(columns)["update"]) == ["agey"]


def test_other_fields_travel_beside() -> None:
    plan = like(fields={"loss": FixedPoint(1, 9.0, 16)})
    assert [name for name, _ in plan.schema.fields] == ["update", "loss"]
    inputs = {i: {**plan.input_of(model()), "loss": [float(i)]} for i in range(3)}
    total = secagg.simulate(plan, inputs)
    assert list(total.as_like(model())) == FLOATS
    assert abs(total.mean["loss"][0] - 1) < plan.max_error


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_arrays(kind: Any) -> None:
    """Its entries are called by their places, and it keeps its length."""
    layers = kind([np.full((2, 2), 0.25, np.float32), np.array([3]), np.zeros(3)])
    total = summed(like(layers), layers, layers, layers)
    first, none, last = back = total.as_like(layers)
    assert isinstance(back, kind) and none is None
    assert (first.dtype, first.shape, last.shape) == (np.float32, (2, 2), (3,))
    with pytest.raises(InputError, match="entry 1 of the plan, after '0', is not in this model"):
        total.as_like(layers[:2])


def test_a_frame_comes_back_as_a_frame() -> None:
    frame = Frame({"a": np.array([1.0, 2.0]), "n": np.array([1, 2]), "b": np.ones(2, np.float32)})
    plan = like(frame, only=["a", "b"])
    back = summed(plan, frame, frame, frame).as_like(frame)
    assert isinstance(back, Frame) and list(back.columns) == ["a", "b"]
    assert back["b"].dtype == np.float32 and abs(back["a"] - [1, 2]).max() < plan.max_error
    assert frame["a"].tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match="two columns of the frame have one name"):
        like(Frame(frame.held, ["a", "b", "a"]))


def test_the_same_plan_takes_the_mapping_itself_where_nothing_is_left_out() -> None:
    """`structure=` and `like=` bind alike."""
    plain = {"w": np.zeros((2, 2), np.float32), "b": np.zeros(2, np.float16)}
    structure = secagg.Structure.of(plain)
    fields = {"update": FixedPoint(6, 4.0, 16)}
    bound = secagg.plan(clients=3, dropout=0, fields=fields, structure=structure)
    assert like(plain) == bound
    assert summed(bound, plain, plain, plain).as_like(plain)["w"].dtype == np.float32
    assert secagg.simulate(bound, {i: {"update": plain} for i in range(3)}).count == 3
    mixed = {"w": Tensor([0.5], "bfloat16")}
    assert secagg.simulate(like(mixed), {i: {"update": mixed} for i in range(3)}).count == 3
    with pytest.raises(InputError, match=r"'w' is bfloat16.*plan\(like=model\) takes it"):
        secagg.Structure.of(mixed)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "type": (
        {"head.weight": Tensor([[0.125, -0.25]])},
        "entry 2 of the plan, after 'norm.running_var', .*'head.weight' is float32 here, and "
        "bfloat16 in the plan",
    ),
    "shape": (
        {"head.weight": Tensor([0.125], "bfloat16")},
        "none has its name and shape, .*; given in its place, and nowhere in the plan: "
        r"'head.weight', \(1,\) bfloat16$",
    ),
    "float8": (
        {"head.weight": Tensor([[0.125, -0.25]], "float8_e5m2")},
        r"another model \(.*entry 'head.weight': numpy has no float8_e5m2: \.float",
    ),
}


@pytest.mark.parametrize(("change", "why"), OTHERS.values(), ids=OTHERS.keys())
def test_another_model_is_refused_with_the_entry_that_differs(
    change: dict[str, Any], why: str
) -> None:
    plan = like()
    total = summed(plan, model(), model(), model())
    for use in (plan.input_of, total.as_like):
        with pytest.raises(InputError, match=why) as caught:
            use({**model(), **change})
        assert "0.125" not in str(caught.value)


def test_what_a_plan_leaves_out_is_not_called_foreign_behind_the_next_entry_that_fits() -> None:
    """One entry is missing: those after it are the plan's, and none of them is in its place."""
    less = {name: value for name, value in model().items() if name != "norm.running_var"}
    with pytest.raises(InputError, match="none has its name and shape") as caught:
        like().input_of(less)
    assert "given in its place" not in str(caught.value)


def test_a_model_in_the_place_of_an_input_is_told_how_to_become_one() -> None:
    plan, whole = like(), model()
    for given in (whole, list(whole.values())):
        with pytest.raises(InputError, match=r"plan\.input_of\(model\) makes the input"):
            secagg.simulate(plan, dict.fromkeys(range(3), given))
    for plan_, given in (
        (plan, {**plan.input_of(whole), "loss": [1.0]}),
        (
            secagg.plan(clients=3, dropout=0, fields={"u": secagg.FixedPoint(1, 1.0, 16)}),
            {"v": [1.0]},
        ),
    ):
        with pytest.raises(InputError) as caught:
            secagg.simulate(plan_, dict.fromkeys(range(3), given))
        assert "input_of" not in str(caught.value)


def test_another_order_is_refused() -> None:
    with pytest.raises(InputError, match="entry 1 .*after 'conv.weight', .*'norm.running_var' com"):
        like().input_of(dict(reversed(model().items())))


BAD: dict[str, tuple[Any, str]] = {
    "float8": (Tensor([0.125], "float8_e4m3fn"), r"numpy has no float8_e4m3fn: .*only= says"),
    "complex": (np.array([0.125j]), "complex128 is not a real number"),
    "text": (["a"], "not a real number"),
    "none": (None, "object is not a real number"),
    "dict": ({"lr": 0.125}, "a mapping itself.*; of a checkpoint give the mapping"),
    "ragged": ([[0.125], [1, 2]], "numpy cannot read this list"),
}


@pytest.mark.parametrize(("value", "why"), BAD.values(), ids=BAD.keys())
def test_an_entry_that_cannot_be_summed_is_named_or_left_out(value: Any, why: str) -> None:
    whole = {**model(), "odd": value}
    with pytest.raises(InputError, match=f"entry 'odd': .*{why}") as caught:
        like(whole)
    assert "0.125" not in str(caught.value)
    plan = like(whole, only=lambda name: name != "odd")
    assert plan == like() and list(plan.input_of(whole)["update"]) == FLOATS


def test_nan_is_told_by_entry_and_index() -> None:
    bad = {**model(), "norm.running_var": Tensor([0.5, np.nan])}
    told = "client 1: entry 'norm.running_var' of field 'update': NaN or infinite at index 1"
    with pytest.raises(RangeError, match=told):
        summed(like(), model(), bad, model())


class Module:
    def state_dict(self) -> dict[str, Any]:
        return model()


WRONG: dict[str, tuple[dict[str, Any], type, str]] = {
    "no clip": ({"clip": None}, ParameterError, "like= needs clip="),
    "clip": ({"clip": "x"}, ParameterError, "clip must be a number"),
    "bits": ({"bits": 99}, ParameterError, "bits must be an integer"),
    "counters": ({"counters": True}, ParameterError, "max must be an integer"),
    "none there": (
        {"like": {"w": np.zeros(1)}, "counters": 9},
        ParameterError,
        "none has integers",
    ),
    "pattern": ({"only": "heads.*"}, ParameterError, "no entry of the model is called 'heads"),
    "only": ({"only": 7}, ParameterError, "only must be a name or pattern"),
    "nothing": ({"only": "head.mask"}, ParameterError, "none has floats to average"),
    "module": ({"like": Module()}, InputError, r"a Module is given by its entries: .state_dict"),
    "array": ({"like": np.zeros(3)}, InputError, "made of a mapping of names to arrays, not of a"),
    "names": ({"like": {1: np.zeros(3)}}, InputError, "names are texts"),
    "fields": ({"fields": {"update": Integer(1, 2)}}, ParameterError, "'update' is of the model"),
    "no fields": ({"fields": 7}, ParameterError, "fields must be a mapping"),
    "both": (
        {"structure": secagg.Structure.of({"w": np.zeros(3)})},
        ParameterError,
        "has a structure, or is like a model, and not both",
    ),
}


@pytest.mark.parametrize(("change", "kind", "why"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use(change: dict[str, Any], kind: type[SecAggError], why: str) -> None:
    with pytest.raises(kind, match=why):
        like(**change)


@pytest.mark.parametrize("name", ["clip", "bits", "counters", "only"])
def test_what_belongs_to_a_model_needs_one(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} is of the model in like="):
        secagg.plan(clients=3, fields={"u": FixedPoint(3, 1.0, 8)}, **{name: 1})  # type: ignore[arg-type]


def test_a_plan_of_arrays_has_no_entries() -> None:
    plan = secagg.plan(clients=3, dropout=0, fields={"u": FixedPoint(3, 1.0, 8)})
    total = secagg.simulate(plan, {i: {"u": [0.5] * 3} for i in range(3)})
    for use in (plan.input_of, total.as_like):
        with pytest.raises(InputError, match=r"make it with plan\(like=model\)"):
            use({"w": np.zeros(3)})


LIBRARIES = {"torch", "jax", "tensorflow", "pandas", "ml_dtypes", "polars"}


class Watch:
    """Asked before anybody else for a module that is not there yet."""

    def find_spec(self, name: str, *rest: Any) -> None:
        assert name.partition(".")[0] not in LIBRARIES, name


def test_no_library_is_imported_for_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor looked for: whoever has a tensor has its library."""
    monkeypatch.setattr(sys, "meta_path", [Watch(), *sys.meta_path])
    for name in LIBRARIES & sys.modules.keys():  # of a test before this one
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(AssertionError, match="torch"):
        import torch  # noqa: F401
    assert list(summed(like(), model(), model(), model()).as_like(model())) == FLOATS
