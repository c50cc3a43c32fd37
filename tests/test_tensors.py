"""Tensors of libraries that are not here, by stand-ins: specs/02-quantization.md §4.2, §4.3."""

from __future__ import annotations

import os
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import InputError, RangeError
from secagg.fields import FixedPoint, Integer
from secagg.quantize import quantize
from secagg.records import encode
from secagg.schema import Schema
from secagg.tensors import BFLOAT16, LARGEST, as_array, described, in_bfloat16, nearest, read
from tests.tensors import Tensor


def test_bfloat16_is_read_as_the_float32_that_it_is() -> None:
    """On the host, and outside of any graph; its shape and type are known without that."""
    tensor = Tensor([[1.0, -2.5], [0.1, 3.0]], "bfloat16")
    assert described(tensor, "it") == ((2, 2), BFLOAT16) and tensor.reads == 0
    found = read(tensor, "it")
    assert (found.type, found.array.dtype) == (BFLOAT16, np.float32) and tensor.reads == 1
    assert found.array.tolist() == [[1.0, -2.5], [0.10009765625, 3.0]]
    assert read(found, "it") is found and repr(found) == "Tensor(type='bfloat16')"


@pytest.mark.parametrize("clip", [0.1, 0.3, 0.7, 1.0, 5.0])
def test_the_clip_in_bfloat16_is_within_it(clip: float) -> None:
    """§4.3: nobody's bfloat16 is nearer to 0.1 than 0.10009765625, and the next one is beyond."""
    field = FixedPoint(2, clip, 16, excess="error")
    bound = nearest(clip, BFLOAT16)
    levels, _ = quantize(Tensor([bound, -bound], "bfloat16"), field, os.urandom)
    if bound >= clip:
        assert levels.tolist() == [field.levels, -field.levels]
    further = Tensor([0.0, max(bound, clip) * (1 + 2.0**-7)], "bfloat16")
    with pytest.raises(RangeError, match="'values': beyond .* at index 1"):
        quantize(further, field, os.urandom)
    plain = np.array([bound], np.float32)
    if np.float32(clip) < plain[0]:
        with pytest.raises(RangeError, match="index 0"):
            quantize(plain, FixedPoint(1, clip, 16, excess="error"), os.urandom)


def test_the_ends_of_bfloat16() -> None:
    least = 2.0**-133  # below its normal numbers it has no more digits
    assert [nearest(x, BFLOAT16) for x in (1e-40, 1.4 * least)] == [least, least]
    assert nearest(LARGEST, BFLOAT16) == LARGEST == 3.3895313892515355e38
    assert nearest(3.4e38, BFLOAT16) == 3.4e38, "where it would be infinite, it is the bound"


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e300, 1e300) | st.floats(-1e-37, 1e-37) | st.floats(-10, 10))
def test_rounding_to_bfloat16_is_to_nearest_and_once(value: float) -> None:
    """Compared exactly with both neighbours; a tie goes to the even one."""
    rounded = float(in_bfloat16(np.float64(value)))
    _, exponent = np.frexp(rounded or value)
    unit = Fraction(2) ** (max(int(exponent), -125) - 8)
    assert Fraction(rounded) % unit == 0
    away = abs(Fraction(value) - Fraction(rounded))
    assert away <= unit / 2 and (away < unit / 2 or Fraction(rounded) / unit % 2 == 0)
    if abs(rounded) <= LARGEST:  # and it is one: the lower half of its float32 is empty
        assert np.float32(rounded) == rounded
        assert np.array(rounded, np.float32).view(np.uint32) & 0xFFFF == 0


REFUSED: dict[str, tuple[Any, str]] = {
    "float8": (Tensor([0.5], "float8_e4m3fn"), r"numpy has no float8_e4m3fn: \.float\(\)"),
    "of numpy": (SimpleNamespace(dtype=SimpleNamespace(name="float8_e5m2")), "float8_e5m2"),
    "quantised": (Tensor([0.5], "qint8"), r"numpy has no qint8: \.dequantize\(\)"),
    "sparse": (Tensor([0.5], layout="torch.sparse_csr"), r"sparse tensor: \.to_dense\(\)"),
    "matrix": (SimpleNamespace(toarray=0, nnz=1), r"sparse matrix: \.toarray\(\)"),
    "sharded": (Tensor([0.5], full_tensor=0), r"on several devices: \.full_tensor\(\)"),
    "nested": (Tensor([0.5], is_nested=True), "nested tensor"),
    "categories": (SimpleNamespace(dtype=SimpleNamespace(categories=0)), r"\.astype\(float\)"),
    "meta": (Tensor([0.5], is_meta=True), "device meta"),
    "fake": (Tensor([0.5], fake_mode=0), "fake tensor, which has no elements"),
    "uninitialised": (Tensor([0.5], materialize=0), "run the model once"),
    "masked": (Tensor([0.5], get_mask=0), r"masked tensor: \.to_tensor\(0\)"),
    "oneDNN": (Tensor([0.5], layout="torch._mkldnn"), r"oneDNN's: \.to_dense\(\)"),
    "zeros": (Tensor([0.5], _is_zerotensor=lambda: True), r"\.clone\(\)"),
    "packed": (
        Tensor([0.5], "float4_e2m1fn_x2"),
        "numpy has no float4_e2m1fn_x2: several",
    ),
    "bits": (Tensor([0.5], "bits8"), "numpy has no bits8: several elements"),
    "of four bits": (
        SimpleNamespace(dtype=SimpleNamespace(name="uint4")),
        "no uint4: several .* int8",
    ),
    "another": (
        Tensor([0.5], "qfuture", device="npu:0"),
        "qfuture, layout .*device npu:0",
    ),
    "text": (np.array(["0.5" * 7]), "text is not a real number type"),
    "a text": (["0.5" * 7], "text is not a real number type"),
    "bytes": (np.array([b"0.5"]), "bytes is not a real number type"),
    "complex": (Tensor([0.5j], "complex64"), "complex64 is not a real number type"),
}


@pytest.mark.parametrize(("values", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_numpy_lacks_is_refused_by_its_own_name(values: Any, why: str) -> None:
    """Row 81: with what would do, in a field and in a list, and never with a value."""
    for value, where in ((values, "'u'"), ([np.zeros(2), values], "array 1 of field 'u'")):
        with pytest.raises(InputError, match=f"{where}: .*{why}") as caught:
            encode(Schema.of({"u": FixedPoint(3, 1.0, 8)}, 3), {"u": value}, 1, os.urandom)
        assert "0.5" not in str(caught.value) and caught.value.__context__ is None


def test_a_tensor_that_is_negative_by_a_mark_only_is_read_as_what_it_says() -> None:
    """As torch's imaginary parts of conjugates are: numpy reads none of these."""
    marked = Tensor([0.5, -1.0], is_neg=lambda: True, resolve_neg=lambda: Tensor([-0.5, 1.0]))
    marked._ready = False
    assert as_array(marked, "it").tolist() == [-0.5, 1.0]


class Broken:
    """A class whose attributes raise what they hold."""

    detach = dtype = 0

    @property
    def shape(self) -> None:
        raise ValueError("0.125 is no shape")


def test_a_class_of_the_callers_own_that_raises_is_told_without_its_words() -> None:
    with pytest.raises(InputError, match="^it: numpy cannot read this Broken") as caught:
        described(Broken(), "it")
    assert caught.value.__context__ is None


def test_a_list_of_arrays_is_one_after_the_other() -> None:
    """§5.7: as the layers of a model come, of several shapes and types; a scalar is one."""
    field = FixedPoint(8, 1.0, 16)
    layers = [np.full((2, 2), 0.25), Tensor([0.5, 1.0], "bfloat16"), np.float32(-1), np.zeros(0)]
    schema = Schema.of({"u": field, "n": Integer(3, 9)}, 3)
    values = {"u": [*layers, [0.125]], "n": (np.array([1, 2]), np.array([3], np.uint8))}
    flat = {"u": [0.25] * 4 + [0.5, 1.0, -1, 0.125], "n": [1, 2, 3]}
    lanes = [encode(schema, one, 1, os.urandom).vector for one in (values, flat)]
    assert [lane.tolist() for lane in lanes[0]] == [lane.tolist() for lane in lanes[1]]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"u": [np.zeros((2, 2)), np.zeros(5)]}, "field 'u' takes 8 elements, and 9 were given"),
        ({"u": [np.zeros(6), [0, np.nan]]}, "array 1 of field 'u': NaN or infinite at index 1"),
        ({"u": [np.zeros(7), [True]]}, "array 1 of field 'u': bool is not a real"),
        ({"n": [np.zeros(2), [1]]}, "array 0 of field 'n' takes integer dtypes only"),
        ({"n": [np.array([1, 2]), [-10]]}, "array 1 of field 'n': beyond ±9 at index 0"),
    ],
)
def test_a_list_of_arrays_is_judged_by_array(values: Any, complaint: str) -> None:
    schema = Schema.of({"u": FixedPoint(8, 1.0, 16), "n": Integer(3, 9)}, 3)
    with pytest.raises(InputError, match=complaint):
        encode(schema, {"u": np.zeros(8), "n": [1, 2, 3], **values}, 1, os.urandom)
