"""A model as a framework sends it, and what is summed of it: how far training moved it.

Entries are taken by name. Their order is the framework's: that of their names where it keeps no
other, and else the one in which they were sent, as an app may go by places. Those of floating type
are summed; integers, as counters of batches are, stay what the server sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError
from secagg.shown import short
from secagg.structure import Structure
from secagg.wire.codec import Writer

CHUNK = 1 << 15
"""Elements at a time: what is looked at a second time is still in the cache."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Entries:
    """What a round starts from: arrays that numpy can average, by name.

    Raises InputError where there is nothing to average.
    """

    arrays: Arrays

    __repr__ = short

    @cached_property
    def structure(self) -> Structure:
        """Of the entries that are summed: differences are float32, or float64 of such a model."""
        summed = {name: a for name, a in self.arrays.items() if a.dtype.kind == "f"}
        if not summed:
            raise InputError("the model has no entry of floating type: there is nothing to average")
        shapes = tuple(a.shape for a in summed.values())
        return Structure(tuple(summed), shapes, tuple(_wide(a) for a in summed.values()))

    def digest(self) -> bytes:
        """32 bytes of names, types, shapes and values, in this order.

        With types are the orders of bytes and of elements in memory, which frameworks carry: an app
        that hands memory on, or goes by `ravel("K")`, trains another model in another order.
        """
        writer = Writer().u32(len(self.arrays))
        for name, array in self.arrays.items():
            kind = array.dtype.str + ("F" if array.flags.fnc else "C")
            writer.prefixed(name.encode()).prefixed(kind.encode()).u32(array.ndim)
            for size in array.shape:
                writer.u64(size)
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            writer.raw(hashlib.sha256(little.reshape(-1).view(np.uint8).data).digest())
        return hashlib.sha256(writer.finish()).digest()

    def moved_to(self, trained: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The difference from this to the trained model, in the structure's types. What stays as it
        was has moved by 0, also where it is infinite, as masks of attention are; what has moved
        beyond all numbers is cut, as `within_numbers` says.

        Raises InputError for a model of other entries or shapes, naming the first.
        """
        if other := sorted(set(trained) ^ set(self.arrays)):
            raise InputError(
                f"the trained model has not the entries that were sent: {other[0]!r} is in one of "
                "them only; return every entry of the model, and no other"
            )
        moved = {}
        for name, dtype in zip(self.structure.names, self.structure.dtypes, strict=True):
            after, before = trained[name], self.arrays[name]
            if after.shape != before.shape or after.dtype.kind != "f":
                raise InputError(
                    f"entry {name!r} of the trained model is {after.shape} {after.dtype.name}, and "
                    f"{before.shape} {before.dtype.name} was sent"
                )
            moved[name] = _difference(
                after.astype(dtype, copy=False), before.astype(dtype, copy=False)
            )
        return moved

    def after(self, mean: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """All entries after a mean difference, in their own types."""
        new = dict(self.arrays)
        for name, difference in self.structure.unflatten(mean).items():
            before = self.arrays[name]
            new[name] = np.asarray(before.astype(difference.dtype) + difference, before.dtype)
        return new


def check_entry(name: str, read: npt.NDArray[Any], called: str) -> npt.NDArray[Any]:
    """The array, if there is a mean of its kind. called: how the framework calls its type.

    Raises InputError, with the name and what to send in its place.
    """
    if read.dtype.kind not in "fiub" or read.dtype.itemsize > 8:
        raise InputError(
            f"entry {name!r} of the model is {called}, of which there is no mean here: send "
            "it as float16, float32 or float64, and integers as integers"
        )
    return read


def within_numbers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, in which infinite values are the largest finite ones now: beyond any clip,
    which cuts them, counts them, and has the client's own log say so.

    A client that declined them would be seen to, and the server chooses the model and the rate: in
    a round for each bit it would read how large an element of that client's is. NaN stays, and is
    no input: nothing is right in its place.
    """
    np.nan_to_num(values, copy=False, nan=np.nan)
    return values


def _difference(after: npt.NDArray[Any], before: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """0 where both are equal, infinite ones too. Subtracting under a mask takes thrice as long, and
    models with such entries are rare."""
    made: npt.NDArray[Any] = np.empty(after.shape, after.dtype)
    flat = [array.reshape(-1) for array in (after, before, made)]
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, made.size, CHUNK):
            new, old, moved = (array[start : start + CHUNK] for array in flat)
            np.subtract(new, old, out=moved)
            if not np.isfinite(moved).all():
                moved[new == old] = 0
                within_numbers(moved)
    return made


def _wide(array: npt.NDArray[Any]) -> np.dtype[Any]:
    """Half a step of float16 would be more than the plan's own rounding."""
    return np.promote_types(array.dtype, np.float32)
