"""Arrays as their owners have them: numpy's, lists, and tensors of libraries that numpy half knows.

No library is imported for its tensors. One is told by what it can do: what has `detach` is read on
the host, outside of any graph, and its type is what its library calls it. What numpy lacks and a
float32 holds exactly, bfloat16, is read as that; what it lacks otherwise is refused by its own
name, with the call that makes an array of it (specs/02-quantization.md §4.2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError

BFLOAT16 = "bfloat16"
"""Eight bits of the exponent, as float32 has them, and eight of the number: 1 and seven more."""
_LEAST, _DIGITS = -125, 8
"""Its smallest normal number is 2^-126, in numpy's frexp 0.5 * 2^-125."""
LARGEST = (2.0 - 2.0**-7) * 2.0**127
"""Of bfloat16: what rounds to more has no place in it."""

_PACKED = (
    "several elements may be in one byte, and whoever packed them unpacks them to {}; arrays of "
    "numpy do with .astype"
)
_CALLS = (
    ("float8", ".float(), or .astype(numpy.float32), of all clients says float32"),
    ("float4", _PACKED.format("float32")),
    ("qint", ".dequantize() gives its floats"),
    ("quint", ".dequantize() gives its floats"),
    ("bits", _PACKED.format("what they mean")),
)
_SMALL = re.compile("u?int[1-7]")
"""Integers of less than a byte."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array that numpy can compute with, and what its own library calls its elements.

    type: as in "float32", numpy's name or the library's; of a list, what numpy has made of it.
    """

    array: npt.NDArray[Any] = field(repr=False)
    type: str


def as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """The caller's values as an array of real numbers, not copied; InputError as in `read`."""
    return read(values, what).array


def read(values: Any, what: str) -> Tensor:
    """The caller's values as an array of floats or integers, not copied, with their own type.

    what: how an error calls them, such as "field 'update'". bfloat16 is read as float32, exactly.
    Raises InputError for what numpy cannot read as such: masked arrays, objects, text, booleans
    and complex numbers, tensors that are sparse, quantised, sharded or of float8, and lists of
    rows of several lengths.
    """
    if isinstance(values, Tensor):
        return values
    array, name = _read(values, what)
    if array.dtype.kind == "O" and array.ndim == 0:
        raise InputError(
            f"{what}: numpy sees this {type(values).__name__} as one object, and not as an array; "
            "list(...) of what can be walked through does, and .item() of a dictionary that "
            "numpy.save has wrapped gives it back"
        )
    if array.dtype.kind not in "iuf":
        raise InputError(
            f"{what}: {name} is not a real number type; "
            "convert to a float or integer array that says what you mean"
        )
    return Tensor(array, name)


def called(dtype: np.dtype[Any]) -> str:
    """The name of a type in an error. That of numpy's texts says how many bits the longest has,
    which helps nobody and is of somebody's data."""
    return {"U": "text", "S": "bytes"}.get(dtype.kind, dtype.name)


def settled(tensor: Any) -> Any:
    """A tensor of torch that is negative only by a mark, as the imaginary part of a conjugate is,
    with the elements that it stands for: the mark is what numpy does not read."""
    return tensor.resolve_neg() if getattr(tensor, "is_neg", bool)() else tensor


def described(values: Any, what: str) -> tuple[tuple[int, ...], str]:
    """Shape and type of the caller's values, of any type; a tensor is not read for it.

    Raises InputError for what numpy cannot read at all, and for what `read` refuses by name.
    """
    if isinstance(values, Tensor):
        return values.array.shape, values.type
    try:
        if is_tensor(values) and not _refusal(values):
            return tuple(int(size) for size in values.shape), type_name(values)
    except Exception:  # noqa: BLE001 - attributes of the caller's own class: read, it says less
        pass
    array, name = _read(values, what)
    return array.shape, name


def is_tensor(values: Any) -> bool:
    """Whether it is to be detached and moved before it is read, as torch's are, and has a type."""
    return hasattr(values, "detach") and hasattr(values, "dtype")


def type_name(values: Any) -> str:
    """Of the elements: "float32" for numpy's and for torch.float32; "" for what has no type."""
    dtype = getattr(values, "dtype", None)
    name = getattr(dtype, "name", None) or str(dtype or "")
    return str(name).rpartition(".")[2]


def is_row_of_arrays(values: Any) -> bool:
    """A list or tuple of arrays, as layers come, and not one of numbers or of rows of numbers."""
    if not isinstance(values, list | tuple):
        return False
    try:
        others = (one for one in values if not isinstance(one, int | float))
        return any(is_tensor(one) or getattr(one, "ndim", 0) > 0 for one in others)
    except Exception:  # noqa: BLE001 - attributes of the caller's own class
        return False


def in_bfloat16(values: Any) -> npt.NDArray[np.float64]:
    """Each float64 rounded once, to the nearest number that bfloat16 has, ties to even."""
    _, exponent = np.frexp(values)
    unit = np.ldexp(1.0, np.maximum(exponent, _LEAST) - _DIGITS)
    rounded: npt.NDArray[np.float64] = np.rint(values / unit) * unit  # both exact: powers of two
    return rounded


def nearest(bound: float, type: str) -> float:
    """The number of that type nearest to a bound; else, and where that would be infinite, the
    bound."""
    if type == BFLOAT16:
        rounded = float(in_bfloat16(np.float64(bound)))
        return rounded if rounded <= LARGEST else bound
    dtype = np.dtype(type)
    if dtype.kind != "f":
        return bound
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(bound))
    return rounded if math.isfinite(rounded) else bound


def _read(values: Any, what: str) -> tuple[npt.NDArray[Any], str]:
    if isinstance(values, np.ma.MaskedArray):
        # even without a masked element: whether there is one must not decide about success
        raise InputError(f"{what}: a masked array; fill it, as in values.filled(0)")
    if isinstance(values, Mapping):
        raise InputError(
            f"{what}: a mapping itself, and no array; of a checkpoint give the mapping that has "
            "the model's arrays, and none around it"
        )
    why = ""
    try:
        why = _refusal(values)
        if not why:
            return _array(values)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        # Ragged lists, tensors of a type numpy lacks, and whatever a caller's own class raises:
        # texts that may quote elements. Nothing of them may be in our error, as its context
        # neither, so it is raised outside.
        pass
    kind = f"{type(values).__name__}{_about(values)}"
    raise InputError(
        f"{what}: {why}" if why else f"{what}: numpy cannot read this {kind} as an array of numbers"
    )


def _about(values: Any) -> str:
    """Of a tensor that is none of those below: what may be special about it, and what would do."""
    try:
        if not is_tensor(values):
            return ""
        return (
            f" ({type_name(values)}, layout {values.layout}, device {values.device}; give what "
            ".detach().cpu().numpy() makes of it)"
        )
    except Exception:  # noqa: BLE001 - attributes of the caller's own class
        return ""


def _array(values: Any) -> tuple[npt.NDArray[Any], str]:
    if hasattr(values, "detach"):
        host = settled(values.detach().cpu())
        if type_name(values) == BFLOAT16:
            return np.asarray(host.float()), BFLOAT16
        array = np.asarray(host)
    else:
        array = np.asarray(values)
    if array.dtype.name == BFLOAT16:
        return array.astype(np.float32), BFLOAT16
    if isinstance(values, list | tuple) and array.dtype.kind != "b" and _has_boolean(values):
        array = np.empty(0, np.bool_)  # refused as an array of them is: beside numbers they are 1
    return array, called(array.dtype)


def _refusal(values: Any) -> str:
    """What numpy does not read, or reads as something else: its name, and what would do."""
    name = type_name(values)
    for prefix, call in _CALLS:
        if name.startswith(prefix):
            return f"numpy has no {name}: {call}"
    if _SMALL.fullmatch(name):
        return f"numpy has no {name}: {_PACKED.format('int8')}"
    if hasattr(values, "detach") and (why := _torch(values, name)):
        return why
    if hasattr(values, "full_tensor"):
        return "a tensor in parts on several devices: .full_tensor() is the whole one"
    if "sparse" in str(getattr(values, "layout", "")):
        return "a sparse tensor: .to_dense() gives all its elements, as every client must"
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        return "a sparse matrix: .toarray() gives all its elements, as every client must"
    if hasattr(getattr(values, "dtype", None), "categories"):
        return (
            "a column of categories, and no mean or sum need be one: .astype(float) of all clients "
            "says that they are numbers"
        )
    if getattr(values, "is_nested", False) is True:
        return "a nested tensor, whose parts have shapes of their own: give each by its name"
    if getattr(values, "is_meta", False) is True:
        return "a tensor on the device meta, which has no elements: give it some first"
    return ""


def _torch(values: Any, name: str) -> str:
    """Of its tensors: what has no elements, or has them in an order of its own."""
    if name.startswith("complex"):
        return f"{name} is not a real number type; .real and .imag are two tensors that are"
    if hasattr(values, "fake_mode"):
        return "a fake tensor, which has no elements: give one that was made outside of its mode"
    if hasattr(values, "materialize"):
        return "a parameter without a shape yet: run the model once before it is read"
    if hasattr(values, "get_mask"):
        return "a masked tensor: .to_tensor(0) gives all its elements, those without a value too"
    if "mkldnn" in str(getattr(values, "layout", "")):
        return "a tensor in a layout of oneDNN's: .to_dense() gives its elements in order"
    if getattr(values, "_is_zerotensor", bool)():
        return "zeros that torch has not made yet: .clone() makes them"
    return ""


def _has_boolean(values: Sequence[Any]) -> bool:
    """In lists however deep, which numpy has read."""
    return any(
        _has_boolean(v) if isinstance(v, list | tuple) else isinstance(v, bool | np.bool_)
        for v in values
    )
