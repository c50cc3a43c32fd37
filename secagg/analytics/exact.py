"""Numbers as a caller has them, none of them rounded.

An array here is float64 where that holds every value, and else of Python's own integers and
floats: slower, and compared and subtracted exactly. float64 alone would move an integer beyond
2^53, a time in nanoseconds say, by more than any bound that is printed for it.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.arguments import is_duration, kind_of
from secagg.errors import InputError, RangeError
from secagg.tensors import BFLOAT16, nearest, read

Float64s: TypeAlias = npt.NDArray[np.float64]
Reals: TypeAlias = npt.NDArray[Any]
"""float64, or objects: int and float."""

EXACT = 1 << 53
"""float64 holds every integer up to here."""

NOT_FINITE = "NaN or infinite"
TOO_LONG = "a longdouble of more digits than float64 has"


def reals(values: Any, column: str) -> tuple[Reals, np.dtype[Any]]:
    """Of a column as it came, in any shape, and its type there.

    Raises InputError for what is not real numbers, RangeError with the row for NaN, infinities
    and a longdouble that float64 does not hold.
    """
    if not hasattr(values, "dtype"):
        _refuse_booleans(values, column)
        if any(_is_integer(v) and abs(int(v)) > EXACT for v in values):
            return _objects(values, column), np.dtype(object)
    array = numbers_of(values, column)
    if array.dtype.kind in "iu":
        large = array.size and (int(array.max()) > EXACT or int(array.min()) < -EXACT)
        return array.astype(object if large else np.float64), array.dtype
    with np.errstate(over="ignore"):  # a longdouble beyond float64 turns infinite
        floats = array.astype(np.float64)
    _require(np.isfinite(floats), column, NOT_FINITE)
    _require(floats == array, column, TOO_LONG)
    return floats, array.dtype


def numbers_of(values: Any, column: str) -> npt.NDArray[Any]:
    """As numpy reads them. Raises InputError, with the first row of a list that is no number."""
    try:
        tensor = read(values, f"column {column!r}")
    except InputError:
        if isinstance(values, list | tuple):
            _refuse_others(values, column)
        raise
    if tensor.type == BFLOAT16:
        raise InputError(f"column {column!r}: bfloat16 has no digits for a table: give .float()")
    return tensor.array


def in_own_type(bound: float | int, dtype: np.dtype[Any]) -> float | int:
    """What a bound is in a column's type, where that has fewer digits than float64: 0.1 is
    0.100000001... in float32, and a row of a float32 column can be no nearer to it
    (specs/02-quantization.md §4.3)."""
    return nearest(bound, dtype.name) if dtype.kind == "f" and dtype.itemsize < 8 else bound


def outside(
    values: Reals, dtype: np.dtype[Any], low: float | int, high: float | int
) -> npt.NDArray[np.bool_]:
    """Which values lie outside [low, high], and outside of what that is in their own type."""
    lowest, highest = min(low, in_own_type(low, dtype)), max(high, in_own_type(high, dtype))
    beyond: npt.NDArray[np.bool_] = (values < lowest) | (values > highest)
    return beyond


def offsets(values: Reals, low: float | int, high: float | int, centre: float | int) -> Float64s:
    """Each value, clipped to [low, high], minus centre: rounded once."""
    if values.dtype != object:
        return np.clip(values, low, high) - np.float64(centre)
    p, q = centre.as_integer_ratio()

    def offset(value: int | float) -> float:
        a, b = min(max(value, low), high).as_integer_ratio()
        return (a * q - p * b) / (b * q)  # Python divides integers with one rounding

    return np.fromiter(map(offset, values), np.float64, len(values))


def _objects(values: Any, column: str) -> Reals:
    _refuse_others(values, column)
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = int(value) if _is_integer(value) else float(value)
    _require(np.array([abs(v) < math.inf for v in array]), column, NOT_FINITE)
    _require(array == np.array(values, object), column, TOO_LONG)
    return array


def _refuse_others(values: Any, column: str) -> None:
    """What is neither an integer nor a float: numpy calls all of a list by the type of a few."""
    for row, value in enumerate(values):
        if not (_is_integer(value) or isinstance(value, float | np.floating)):
            kind = "nothing (None)" if value is None else kind_of(value)
            raise InputError(f"column {column!r}: no real number at row {row}, but {kind}")


def _refuse_booleans(values: Any, column: str) -> None:
    """Beside numbers they would turn into 1 and 0 unnoticed."""
    for row, value in enumerate(values):
        if isinstance(value, bool | np.bool_):
            raise InputError(f"column {column!r}: a boolean at row {row}; a share takes those")


def _require(right: Any, column: str, what: str) -> None:
    if right.all():
        return
    instead = ""
    if what == NOT_FINITE:
        instead = (
            "; a row without a value is left out of the query, by dropna() for one, and columns "
            "with other holes go into queries of their own"
        )
    raise RangeError(f"column {column!r}: {what} at row {int(right.argmin())}{instead}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not is_duration(value)
