"""What the stand-ins of `tests.tensors` promise, of the libraries themselves where they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.errors import InputError
from tests.tensors import Frame, Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a library's own making
    try:
        import torch
    except ImportError:
        torch = None
    try:
        import pandas
    except ImportError:
        pandas = None

    try:
        import ml_dtypes
    except ImportError:
        ml_dtypes = None

WITH_TORCH = pytest.mark.skipif(torch is None, reason="torch is not installed")
WITH_PANDAS = pytest.mark.skipif(pandas is None, reason="pandas is not installed")


def plan_like(model: Any, **options: Any) -> secagg.Plan:
    return secagg.plan(clients=3, dropout=0, **{"like": model, "clip": 4.0, **options})


def mean_of(plan: secagg.Plan, *models: Any) -> Any:
    inputs = {i: plan.input_of(model) for i, model in enumerate(models)}
    return secagg.simulate(plan, inputs).as_like(models[0])


@WITH_TORCH
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_a_float_type_comes_back_rounded_once(name: str) -> None:
    dtype = getattr(torch, name)
    models = [{"w": torch.linspace(-3, 3, 500).to(dtype) + i / 8} for i in range(3)]
    plan = plan_like(models[0], bits=32)
    inputs = {i: plan.input_of(model) for i, model in enumerate(models)}
    total = secagg.simulate(plan, inputs)
    back = total.as_like(models[0])["w"]
    assert (back.dtype, back.shape, back.requires_grad) == (dtype, (500,), False)
    mean = torch.from_numpy(total.mean["update"])
    away = (back.double() - mean).abs()
    for step in (-float("inf"), float("inf")):  # neither neighbour is nearer
        beside = torch.nextafter(back, torch.full_like(back, step)).double()
        assert (away <= (beside - mean).abs()).all()


@WITH_TORCH
def test_a_state_dict_with_batch_norm() -> None:
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    network(torch.randn(2, 3, 5, 5)).sum().backward()
    state = network.state_dict()
    mean = mean_of(plan_like(state), state, state, state)
    assert set(state) - set(mean) == {"1.num_batches_tracked"}
    network.load_state_dict({**state, **mean})
    mean = mean_of(plan_like(state, counters=9), state, state, state)
    assert mean["1.num_batches_tracked"] == 3 and mean.keys() == state.keys()
    grads = dict(network.named_parameters())  # on a graph, as they are trained
    assert all(
        one.requires_grad is False for one in mean_of(plan_like(grads), *[grads] * 3).values()
    )


@WITH_TORCH
def test_the_counters_of_every_width() -> None:
    names = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    model = {name: torch.tensor([1, 2]).to(getattr(torch, name)) for name in names}
    for name, sums in mean_of(plan_like(model, counters=9), model, model, model).items():
        assert (sums.dtype, sums.tolist()) == (model[name].dtype, [3, 6])


@WITH_TORCH
@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("torch.zeros(2).to(torch.float8_e4m3fn)", r"numpy has no float8_e4m3fn: \.float"),
        ("torch.zeros(2).to(torch.float8_e5m2)", "numpy has no float8_e5m2"),
        ("torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)", "no qint8: .dequant"),
        ("torch.eye(3).to_sparse()", r"\.to_dense"),
        ("torch.eye(3).to_sparse_csr()", r"\.to_dense"),
        ("torch.empty(2, device='meta')", "has no elements"),
        ("torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])", "nested tensor"),
        ("torch.zeros(2, dtype=torch.complex64)", "complex64 is not a real number"),
        ("torch.zeros(2, dtype=torch.complex64).conj()", r"complex64 is not .*\.real and \.imag"),
        ("torch.zeros(2).to_mkldnn()", r"oneDNN's: \.to_dense\(\)"),
        ("torch._efficientzerotensor((2,))", r"\.clone\(\)"),
        ("torch.nn.parameter.UninitializedParameter()", "run the model once"),
        ("torch.empty(2, dtype=torch.uint4)", "numpy has no uint4: several elements"),
        ("torch.empty(2, dtype=torch.bits8)", "numpy has no bits8: several elements"),
        ("torch.masked.masked_tensor(torch.ones(2), torch.ones(2) > 0)", r"\.to_tensor\(0\)"),
        ("fake()", "fake tensor, which has no elements"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_is_refused(make: str, why: str) -> None:
    model = {"w": torch.zeros(2), "odd": eval(make)}  # noqa: S307
    with pytest.raises(InputError, match=f"entry 'odd': .*{why}"):
        plan_like(model)
    plan = plan_like(model, only="w")
    assert list(mean_of(plan, model, model, model)) == ["w"]


def fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(2)


@WITH_TORCH
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_a_tensor_that_is_negative_by_a_mark_only(name: str) -> None:
    """As the imaginary part of a conjugate is. What comes back is a tensor without the mark."""
    one = torch._neg_view(torch.tensor([0.5, -1.0], dtype=getattr(torch, name)))
    assert one.is_neg()
    back = mean_of(plan_like({"w": one}, bits=24), *[{"w": one}] * 3)["w"]
    assert back.dtype == one.dtype and not back.is_neg()
    assert (back.double() - torch.tensor([-0.5, 1.0]).double()).abs().max() < 1e-5
    conjugate = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert mean_of(plan_like({"w": conjugate.imag}), *[{"w": conjugate.imag}] * 3)["w"].shape == (
        2,
    )


@WITH_TORCH
def test_a_stand_in_has_nothing_that_torch_lacks() -> None:
    """But for what a test asks of it."""
    ours = {name for name in dir(Tensor([0.5])) if not name.startswith("_")} - {"reads"}
    assert ours <= set(dir(torch.zeros(1)))
    assert str(torch.zeros(1).dtype) == str(Tensor([0.5]).dtype)
    assert str(torch.zeros(1).layout) == Tensor([0.5]).layout


@pytest.mark.skipif(ml_dtypes is None, reason="ml_dtypes is not installed")
def test_bfloat16_of_numpy_and_jax() -> None:
    """And the two libraries call one type alike, and round alike."""
    model = {"w": np.linspace(-3, 3, 500).astype(ml_dtypes.bfloat16)}
    back = mean_of(plan_like(model, bits=32), model, model, model)["w"]
    assert back.dtype == ml_dtypes.bfloat16 and back.tolist() == model["w"].tolist()
    if torch is not None:
        same = torch.from_numpy(model["w"].astype(np.float32)).to(torch.bfloat16)
        assert plan_like(model) == plan_like({"w": same})
    for type in (ml_dtypes.float8_e4m3fn, ml_dtypes.int4):
        with pytest.raises(InputError, match=f"entry 'w': .*{np.dtype(type).name}"):
            plan_like({"w": np.zeros(3, type)})


@WITH_PANDAS
def test_a_frame() -> None:
    assert {name for name in dir(Frame) if name[0] != "_"} <= set(dir(pandas.DataFrame))
    frame = pandas.DataFrame(
        {"a": [1.0, 2.0], "f": np.ones(2, np.float32), "n": [1, 2], "who": ["x", "y"]},
        index=["r", "s"],
    )
    frame["own"] = pandas.array([0.5, 1.0], dtype="Float64")
    with pytest.raises(InputError, match="entry 'who'"):
        plan_like(frame)
    kept = ["a", "f", "n", "own"]
    back = mean_of(plan_like(frame, only=kept, counters=9, bits=24), frame, frame, frame)
    assert (list(back.index), list(back.columns)) == (["r", "s"], ["a", "f", "n", "own"])
    assert back.dtypes.to_dict() == frame[kept].dtypes.to_dict()
    assert back["n"].tolist() == [3, 6] and abs(back["own"] - frame["own"]).max() < 1e-6


@WITH_PANDAS
def test_a_column_of_categories_is_not_summed() -> None:
    """What comes out is none of them, and pandas would have NaN in its place."""
    frame = pandas.DataFrame({"a": [1.0, 2.0], "level": pandas.Categorical([1.0, 2.0])})
    with pytest.raises(InputError, match=r"entry 'level': .*\.astype\(float\)"):
        plan_like(frame)
    assert list(mean_of(plan_like(frame, only=["a"]), frame, frame, frame).columns) == ["a"]
