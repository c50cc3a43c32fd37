"""A model as NVFLARE's messages have it, and what a round about it is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from datetime import date
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from nvflare.apis.dxo import DXO, DataKind, MetaKey

from secagg.errors import InputError
from secagg.integrations.model import Entries, check_entry
from secagg.tensors import called, is_tensor, read
from secagg.wire.codec import Writer

_UNBOUND = (MetaKey.FILTER_HISTORY,)
"""Of a message's meta data: what its way adds to it."""


def model_of(data: Any) -> Entries:
    """The entries of a DXO's data, or of an FLModel's params. Raises InputError, with the entry's
    name, for types without a mean."""
    return Entries(arrays(data))


def arrays(data: Any) -> dict[str, npt.NDArray[Any]]:
    """Copies, by name, in the order in which they were sent, which apps may go by: two entries of
    one shape, the other way round, are another model to whoever takes a list of them."""
    if not isinstance(data, Mapping) or not data or not all(isinstance(n, str) for n in data):
        raise InputError("a model is a dict of arrays by name, as FLModel(params={...}) has them")
    return {name: np.array(_read(name, data[name])) for name in data}


def payload(
    model: Entries,
    meta: Mapping[str, Any],
    job: str,
    task: str,
    number: int,
    span: tuple[Any, Any],
) -> bytes:
    """What a round is about, in some hundred bytes: each site computes it from what it received.

    meta: of the message. span: the first round, and how many there are, by which a site may train
    less. Raises InputError for meta data of types that cannot be compared: what tells sites apart
    tells their updates apart.
    """
    # its own order is the framework's, which puts words of its own in between
    bound = [(key, meta[key]) for key in sorted(meta, key=str) if key not in _UNBOUND]
    try:
        words = json.dumps(_bound([bound, *span]))
    except _Unbound as unbound:
        raise InputError(
            f"the model's meta data has a {unbound}, of which sites could be sent different ones: "
            "give numbers, texts, bytes, arrays, or lists, tuples, sets and dicts of these"
        ) from None
    writer = Writer().prefixed(job.encode()).prefixed(task.encode()).u32(number)
    return writer.raw(model.digest()).raw(hashlib.sha256(words.encode()).digest()).finish()


class _Unbound(Exception):
    """The name of a type."""


def _bound(value: Any) -> Any:
    """What JSON can say of it without losing anything: of two values that differ after NVFLARE has
    carried them, two things. A rate that numpy has computed tells sites apart as any other does."""
    if isinstance(value, str | int | float | None) and not isinstance(value, Enum):
        return value
    if isinstance(value, bytes | bytearray):
        return ["bytes", value.hex()]
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return [value.dtype.name, value.shape, value.tobytes().hex()]
    if isinstance(value, list | tuple):
        return ["list" if isinstance(value, list) else "tuple", *map(_bound, value)]
    if isinstance(value, Set):
        return ["set", *sorted(json.dumps(_bound(one)) for one in value)]
    if isinstance(value, Mapping):
        return ["dict", *([_bound(key), _bound(one)] for key, one in value.items())]
    if isinstance(value, Enum):
        return ["enum", type(value).__name__, value.name]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    raise _Unbound(type(value).__name__)


def moved(model: Entries, result: DXO) -> dict[str, npt.NDArray[Any]]:
    """How far training has moved the model. Raises InputError for a result of another kind."""
    if result.data_kind == DataKind.WEIGHTS:
        return model.moved_to(arrays(result.data))
    if result.data_kind != DataKind.WEIGHT_DIFF:
        raise InputError(
            f"the result is of the kind {result.data_kind}: a secure round takes a model, or the "
            "difference to the one that was sent"
        )
    structure, found = model.structure, arrays(result.data)
    wrong = [n for n in structure.names if n not in found or found[n].shape != _shape(model, n)]
    if wrong or set(found) - set(model.arrays):
        name = (wrong or sorted(set(found) - set(model.arrays)))[0]
        raise InputError(
            f"the difference has not the entries that were sent: {name!r} is missing in one of "
            "them, or has another shape"
        )
    types = zip(structure.names, structure.dtypes, strict=True)
    return {name: found[name].astype(dtype) for name, dtype in types}


def _shape(model: Entries, name: str) -> tuple[int, ...]:
    return model.arrays[name].shape


def _read(name: str, value: Any) -> npt.NDArray[Any]:
    if is_tensor(value):
        raise InputError(
            f"entry {name!r} of the model is a {type(value).__name__}: exchange arrays, with "
            "server_expected_format=ExchangeFormat.NUMPY, which converts at each site"
        )
    if isinstance(value, np.ndarray):
        return check_entry(name, value, called(value.dtype))
    return read(value, f"entry {name!r} of the model").array
