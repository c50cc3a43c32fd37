"""A model as the records of Flower have it, and what a round about it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Self

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from secagg import npy
from secagg.errors import InputError, WireError
from secagg.integrations.model import Entries, check_entry
from secagg.wire.codec import Writer

_NUMPY = "numpy.ndarray"
"""Flower's name for arrays that are serialised as .npy files."""


class Model(Entries):
    """Made of a record. Raises InputError, naming the entry, for types without a mean."""

    @classmethod
    def of(cls, record: ArrayRecord) -> Self:
        """Of a message, or of a strategy."""
        return cls(_arrays(record))

    def difference(self, trained: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
        """From this to the trained model; InputError for a model of other entries."""
        return self.moved_to(_arrays(trained))

    def moved(self, mean: npt.ArrayLike, like: ArrayRecord) -> ArrayRecord:
        """The model after a mean difference, in its own types; like: for the order of entries."""
        new = self.after(mean)
        return ArrayRecord({name: Array(new[name]) for name in like.keys()})


def payload(
    model: Model, content: RecordDict, run: int, kind: str, number: int, weighted_by: str
) -> bytes:
    """What a round is about, in some hundred bytes: each node computes it from what it received.

    So all nodes of a round start from one model under one configuration, and weigh by one metric,
    or their masks fit nobody's. content: the application's own; every record of it is in. All is in
    the order in which it was sent, for that is what an app reads that goes by places: two arrays of
    one shape, the other way round, are another model to `to_numpy_ndarrays`.
    """
    writer = Writer().prefixed(kind.encode()).u64(run % (1 << 64)).u32(number).raw(model.digest())
    writer.raw(_words("weight", weighted_by, []))
    for key, record in content.items():
        what, values = _said(record)
        writer.raw(_words(what, key, values))
    return writer.finish()


def _said(record: ArrayRecord | MetricRecord | ConfigRecord) -> tuple[str, list[tuple[str, Any]]]:
    """Of arrays, whose values are in the model's digest, what is beside them."""
    if isinstance(record, ArrayRecord):
        return "arrays", [(name, [a.dtype, *a.shape]) for name, a in record.items()]
    what = "metrics" if isinstance(record, MetricRecord) else "config"
    return what, list(record.items())


def _words(what: str, name: str, values: Iterable[tuple[str, Any]]) -> bytes:
    words = repr((what, name, [(key, _plain(value)) for key, value in values]))
    return hashlib.sha256(words.encode()).digest()


def _plain(value: Any) -> Any:
    """As it comes out of Flower's own encoding: numpy's float64, and members of enumerations, are
    plain numbers and texts there, of which repr says something else."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool | bytes):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _arrays(record: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    return {name: _read(name, record[name]) for name in sorted(record.keys())}


def _read(name: str, array: Array) -> npt.NDArray[Any]:
    try:
        if array.stype != _NUMPY:
            raise InputError("serialised by another library")
        read = npy.array_of(array.data)
    except (InputError, WireError) as error:
        raise InputError(
            f"entry {name!r} of the model is {array.dtype}, as {array.stype}, which is not read "
            f"({error}): send it as float32"
        ) from None
    return check_entry(name, read, array.dtype)
