"""A model as the records of Flower have it, and what a round about it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from secagg import npy
from secagg.errors import InputError, ParameterError, WireError
from secagg.integrations.model import Entries, check_entry
from secagg.shown import short
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


@dataclass(frozen=True, slots=True)
class About:
    """What a round is about beside its messages' records. run: Flower's number. kind: of the
    messages. number: the server's, of the round. weighted_by: the metric that is a node's weight.
    run_config: the digest of the run's configuration; empty where the ServerApp says nothing of
    it."""

    run: int
    kind: str
    number: int
    weighted_by: str
    run_config: bytes

    __repr__ = short


def payload(model: Model, content: RecordDict, about: About) -> bytes:
    """What a round is about, in some hundred bytes: each node computes it from what it received.

    So all nodes of a round start from one model under one configuration, and weigh by one metric,
    or their masks fit nobody's. content: the application's own; every record of it is in. All is in
    the order in which it was sent, for that is what an app reads that goes by places: two arrays of
    one shape, the other way round, are another model to `to_numpy_ndarrays`.
    """
    writer = Writer().prefixed(about.kind.encode()).u64(about.run % (1 << 64)).u32(about.number)
    writer.raw(model.digest()).raw(_words("weight", about.weighted_by, []))
    writer.prefixed(about.run_config)
    for key, record in content.items():
        what, values = _said(record)
        writer.raw(_words(what, key, values))
    return writer.finish()


def configured(run_config: Mapping[str, Any]) -> bytes:
    """The digest of a run's configuration: 32 bytes, the same on both sides.

    Each side makes it of the app's own pyproject.toml and of what the run overrides, and it reaches
    a ClientApp as a map, in any order: so it is sorted here, and no app can go by places in it.
    Raises ParameterError for what is no such configuration.
    """
    if not isinstance(run_config, Mapping) or not all(
        isinstance(name, str) and isinstance(value, bool | int | float | str)
        for name, value in run_config.items()
    ):
        raise ParameterError(
            "run_config is that of the ServerApp's context, with numbers, texts and flags by name: "
            "SecAgg(strategy, ..., run_config=context.run_config)"
        )
    return _words("run", "", sorted(run_config.items()))


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
