"""A model as the records of Flower have it, and what a round about it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord

from secagg.errors import InputError
from secagg.integrations.model import Entries, check_entry
from secagg.wire.codec import Writer


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
    model: Model, configs: Mapping[str, ConfigRecord], run: int, kind: str, number: int
) -> bytes:
    """What a round is about, in some hundred bytes: each node computes it from what it received.

    So all nodes of a round start from one model under one configuration, or their masks fit
    nobody's.
    """
    writer = Writer().prefixed(kind.encode()).u64(run % (1 << 64)).u32(number).raw(model.digest())
    for key in sorted(configs):
        words = repr((key, sorted(configs[key].items())))
        writer.raw(hashlib.sha256(words.encode()).digest())
    return writer.finish()


def _arrays(record: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    return {name: _read(name, record[name]) for name in sorted(record.keys())}


def _read(name: str, array: Array) -> npt.NDArray[Any]:
    try:
        read: npt.NDArray[Any] = array.numpy()
    except (TypeError, ValueError):
        raise InputError(
            f"entry {name!r} of the model is {array.dtype}, as {array.stype}, which numpy cannot "
            "read: send it as float32"
        ) from None
    return check_entry(name, read, array.dtype)
