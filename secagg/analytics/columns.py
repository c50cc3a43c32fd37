"""A client's rows, as it has them, read into named columns (specs/30-analytics.md §2).

Nothing of a row is in any message: a column's name and a row's number say where to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.analytics.results import Label
from secagg.errors import InputError, RangeError
from secagg.fields import Excess

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """`length` rows; each column as it came."""

    length: int
    data: Mapping[str, Any] = field(repr=False)

    def reals(self, name: str) -> Float64s:
        """As float64. InputError for what is not real numbers, RangeError for NaN and infinities.

        An infinity is refused before anything is clipped: it is a failed computation more often
        than a large number.
        """
        with np.errstate(over="ignore"):  # a longdouble beyond float64 turns infinite
            reals = self._array(name).astype(np.float64)
        finite = np.isfinite(reals)
        if not finite.all():
            raise RangeError(f"column {name!r}: NaN or infinite at row {int(finite.argmin())}")
        return reals

    def within(self, name: str, low: float, high: float, excess: Excess) -> tuple[Float64s, int]:
        """As `reals`, clipped to [low, high], and how many lay outside.

        What is a bound in the column's own type, such as the float32 nearest to 0.1, is inside
        (specs/02-quantization.md §4.3). Raises RangeError too, for a row outside, where excess is
        `error`.
        """
        from secagg.quantize import in_type  # here: planning must not wait for the compiler

        reals, dtype = self.reals(name), self._array(name).dtype
        lowest, highest = min(low, in_type(low, dtype)), max(high, in_type(high, dtype))
        outside = (reals < lowest) | (reals > highest)
        if excess == "error" and outside.any():
            row = int(outside.argmax())
            raise RangeError(f"column {name!r}: outside [{low}, {high}] at row {row}")
        return np.clip(reals, low, high), int(outside.sum())

    def flags(self, name: str) -> Int64s:
        """0 and 1, from booleans or from integers that are nothing else."""
        values = self.data[name]
        if not self.length:
            return np.empty(0, np.int64)
        array = np.asarray(values) if _all_booleans(values) else self._array(name)
        if array.dtype.kind not in "biu":
            raise InputError(f"column {name!r}: {array.dtype}, and a share takes booleans or 0/1")
        wrong = (array != 0) & (array != 1)
        if wrong.any():
            raise RangeError(f"column {name!r}: neither 0 nor 1 at row {int(wrong.argmax())}")
        return array.astype(np.int64)

    def indices(self, name: str, labels: Sequence[Label]) -> Int64s:
        """Each row's place in `labels`, compared as Python does, so that True is 1."""
        values = self.data[name]
        if isinstance(values, np.ma.MaskedArray):
            raise InputError(f"column {name!r}: a masked array; fill it, as in values.filled('?')")
        places = {label: place for place, label in enumerate(labels)}
        found = np.empty(self.length, np.int64)
        for row, value in enumerate(values.tolist() if hasattr(values, "tolist") else values):
            try:
                found[row] = places[value]
            except KeyError:
                raise RangeError(
                    f"column {name!r}: row {row} has none of the {len(labels)} labels of the "
                    "query; an 'other' among them could take it"
                ) from None
            except TypeError:
                raise InputError(f"column {name!r}: row {row} is not a label") from None
        return found

    def _array(self, name: str) -> npt.NDArray[Any]:
        from secagg.quantize import as_array  # here: planning must not wait for the compiler

        if not self.length:
            return np.empty(0)
        array = as_array(self.data[name], f"column {name!r}")
        if array.shape != (self.length,):
            raise InputError(f"column {name!r}: shape {array.shape}, not ({self.length},)")
        return array


def read_columns(rows: Any, needed: tuple[str, ...], most: int) -> Columns:
    """rows: a value, where one column is needed, or a list or array of values; a row, which is a
    mapping of columns to values; a sequence of rows; a mapping of columns to sequences, a data
    frame among them. Other columns than the needed ones are never looked at.

    Raises InputError for missing columns and unequal lengths, RangeError for more than `most`
    rows.
    """
    if _is_mapping(rows):
        columns = _from_mapping(rows, needed)
    elif _is_scalar(rows):
        columns = Columns(1, {_only(needed): [rows]})
    elif len(rows) and any(_is_mapping(row) for row in rows):
        columns = _from_rows(rows, needed)
    else:
        columns = Columns(len(rows), {_only(needed): rows} if needed and len(rows) else {})
    if columns.length > most:
        raise RangeError(
            f"{columns.length} rows, and the query allows one client at most {most}: "
            "make the query with a larger `rows`"
        )
    return columns if columns.length else Columns(0, dict.fromkeys(needed, ()))


def _from_mapping(rows: Any, needed: tuple[str, ...]) -> Columns:
    missing = [name for name in needed if name not in rows]
    if missing:
        raise InputError(f"missing columns: {missing}")
    data = {name: rows[name] for name in needed or rows.keys()}
    scalars = [_is_scalar(value) for value in data.values()]
    if all(scalars):
        return Columns(1, {name: [value] for name, value in data.items()})
    if any(scalars):
        raise InputError("some columns are single values and some are sequences")
    lengths = {name: len(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"columns of unequal lengths: {sorted(set(lengths.values()))}")
    return Columns(next(iter(lengths.values())), data)


def _from_rows(rows: Any, needed: tuple[str, ...]) -> Columns:
    for number, row in enumerate(rows):
        if not _is_mapping(row):
            raise InputError(f"row {number} is not a mapping of columns to values")
        missing = [name for name in needed if name not in row]
        if missing:
            raise InputError(f"row {number}: missing columns: {missing}")
    return Columns(len(rows), {name: [row[name] for row in rows] for name in needed})


def _only(needed: tuple[str, ...]) -> str:
    if len(needed) != 1:
        raise InputError(
            f"values without names fit a query of one column, and this one needs {list(needed)}"
        )
    return needed[0]


def _is_mapping(value: Any) -> bool:
    """A data frame is one, without being a Mapping."""
    return hasattr(value, "keys") and hasattr(value, "__getitem__")


def _is_scalar(value: Any) -> bool:
    return (
        isinstance(value, str | bytes)
        or not hasattr(value, "__len__")
        or getattr(value, "ndim", 1) == 0
    )


def _all_booleans(values: Any) -> bool:
    """`as_array` refuses booleans, rightly for numbers, and masked arrays, rightly for all."""
    return not isinstance(values, np.ma.MaskedArray) and (
        values.dtype == bool
        if isinstance(values, np.ndarray)
        else all(isinstance(value, bool | np.bool_) for value in values)
    )
