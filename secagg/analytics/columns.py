"""A client's rows, as it has them, read into named columns (specs/30-analytics.md §2).

Nothing of a row is in any message: a column's name and a row's number say where to look.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.analytics.checks import Label, is_float
from secagg.analytics.exact import Reals, numbers_of, reals
from secagg.arguments import kind_of
from secagg.errors import InputError, RangeError
from secagg.fields import Excess

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """`length` rows; each column as it came."""

    length: int = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    def reals(self, name: str) -> tuple[Reals, np.dtype[Any]]:
        """Its numbers, exactly: float64, or Python's own (see secagg.analytics.exact); and of
        which type they came.

        Raises InputError for what is not real numbers, RangeError for NaN and infinities. An
        infinity is refused before anything is clipped: it is a failed computation more often than
        a large number.
        """
        values = _listed(self.data[name])
        array, dtype = reals(values if self.length else np.empty(0), name)
        return self._one_axis(array, name), dtype

    def exactly(self, name: str, *bounds: float) -> tuple[Reals, np.dtype[Any]]:
        """As `reals`, fit to be compared with these bounds: as float64 only with such."""
        values, dtype = self.reals(name)
        return (values if all(map(is_float, bounds)) else values.astype(object)), dtype

    def flags(self, name: str) -> Int64s:
        """0 and 1, from booleans or from numbers that are nothing else: a column of integers is one
        of floats where some row once had a hole."""
        values = _listed(self.data[name])
        if not self.length:
            return np.empty(0, np.int64)
        array = np.asarray(values) if _all_booleans(values) else self._array(name)
        if array.dtype.kind not in "biuf":
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
            place = _place(places, value)  # raised out here: a KeyError would quote the value
            if place is None:
                raise InputError(f"column {name!r}: row {row} is not a label")
            if place < 0:
                raise RangeError(
                    f"column {name!r}: row {row} has none of the {len(labels)} labels of the "
                    "query; an 'other' among them could take it"
                )
            found[row] = place
        return found

    def _array(self, name: str) -> npt.NDArray[Any]:
        if not self.length:
            return np.empty(0)
        return self._one_axis(numbers_of(_listed(self.data[name]), name), name)

    def _one_axis(self, array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        if array.ndim != 1:
            raise InputError(f"column {name!r}: an array of {array.ndim} axes, not of one")
        return array


def judge(outside: npt.NDArray[np.bool_], name: str, range: str, excess: Excess) -> int:
    """How many rows of column `name` are outside; RangeError for the first one, where excess is
    `error`."""
    if excess == "error" and outside.any():
        raise RangeError(f"column {name!r}: outside {range} at row {int(outside.argmax())}")
    return int(outside.sum())


def read_columns(rows: Any, needed: tuple[str, ...], most: int) -> Columns:
    """rows: a value, where one column is needed, or a list or array of values; a row, which is a
    mapping of columns to values; a sequence of rows; a mapping of columns to sequences, a data
    frame among them. Other columns than the needed ones are never looked at.

    Raises InputError for missing columns and unequal lengths, RangeError for more than `most`
    rows. How many rows there are is not told: it is a client's own.
    """
    if isinstance(rows, Set):
        raise InputError("rows in a set have no order: give a list, or an array")
    if _is_mapping(rows) and not _is_series(rows, needed):
        columns = _from_mapping(rows, needed)
    elif _is_scalar(rows):
        columns = Columns(1, {_only(needed): [rows]})
    elif len(rows) and any(_is_mapping(row) for row in rows):
        columns = _from_rows(rows, needed)
    else:
        columns = Columns(len(rows), {_only(needed): rows} if needed and len(rows) else {})
    if columns.length > most:
        raise RangeError(
            f"too many rows: the query allows one client at most {most}; "
            "make the query with a larger `rows`"
        )
    return columns if columns.length else Columns(0, dict.fromkeys(needed, ()))


def _from_mapping(rows: Any, needed: tuple[str, ...]) -> Columns:
    if missing := _missing(rows, needed):
        raise InputError(missing)
    data = {name: rows[name] for name in needed or rows.keys()}
    for name, column in data.items():
        if isinstance(column, Set | Mapping):
            raise InputError(
                f"column {name!r} is {kind_of(column)}, which has no row for each place: "
                "give a list, or an array"
            )
    scalars = [_is_scalar(value) for value in data.values()]
    if all(scalars):
        return Columns(1, {name: [value] for name, value in data.items()})
    if any(scalars):
        raise InputError("some columns are single values and some are sequences")
    lengths = {name: len(column) for name, column in data.items()}
    first = next(iter(lengths))
    if unequal := [name for name, length in lengths.items() if length != lengths[first]]:
        raise InputError(f"columns of unequal lengths: {first!r} and {unequal}")
    return Columns(lengths[first], data)


def _missing(row: Any, needed: tuple[str, ...]) -> str | None:
    """Of the columns that are there only those are named that look like a missing one."""
    missing = [name for name in needed if name not in row]
    if not missing:
        return None
    forms = {unicodedata.normalize("NFKC", name) for name in missing}
    alike = any(
        isinstance(k, str) and unicodedata.normalize("NFKC", k) in forms for k in row.keys()
    )
    hint = "; one is there in another Unicode form, which looks the same" if alike else ""
    return f"missing columns: {missing}{hint}"


def _from_rows(rows: Any, needed: tuple[str, ...]) -> Columns:
    for number, row in enumerate(rows):
        if not _is_mapping(row):
            raise InputError(f"row {number} is not a mapping of columns to values")
        if missing := _missing(row, needed):
            raise InputError(f"row {number}: {missing}")
    return Columns(len(rows), {name: [row[name] for row in rows] for name in needed})


def _place(places: Mapping[Label, int], value: Any) -> int | None:
    """-1 for what is no label of these, None for what cannot be one."""
    try:
        return places.get(value, -1)
    except TypeError:
        return None


def _only(needed: tuple[str, ...]) -> str:
    if len(needed) != 1:
        raise InputError(
            f"values without names fit a query of one column, and this one needs {list(needed)}"
        )
    return needed[0]


def _listed(values: Any) -> Any:
    """An array of objects does not say what they are: it is read as the list of them. An array
    without axes in a list, or a tensor, is the number that it holds: numpy would round it first to
    what the others are."""
    if isinstance(values, np.ma.MaskedArray):
        return values  # refused as such
    objects = getattr(getattr(values, "dtype", None), "kind", "") == "O"
    if objects or isinstance(values, list | tuple):
        return [_held(value) for value in values]
    return values


def _held(value: Any) -> Any:
    alone = getattr(value, "ndim", None) == 0 and not isinstance(value, np.generic)
    return value.item() if alone and hasattr(value, "item") else value


def _is_mapping(value: Any) -> bool:
    """A data frame is one, without being a Mapping."""
    return hasattr(value, "keys") and hasattr(value, "__getitem__")


def _is_series(value: Any, needed: tuple[str, ...]) -> bool:
    """A column with row labels, as one of a data frame's; but a row of one has column names."""
    return getattr(value, "ndim", None) == 1 and not any(name in value for name in needed)


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
