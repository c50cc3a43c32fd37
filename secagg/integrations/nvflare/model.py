"""A model as NVFLARE's messages have it, and what a round about it is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Set
from datetime import date
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.fl_constant import ServerCommandKey
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.app_common.app_constant import AppConstants

from secagg.errors import InputError
from secagg.integrations.model import Entries, check_entry, within_numbers
from secagg.tensors import called, is_tensor, read
from secagg.wire.codec import Writer

_WAY = frozenset(
    (
        ReservedHeaderKey.COOKIE_JAR,
        ReservedHeaderKey.TASK_ID,
        ReservedHeaderKey.TASK_NAME,
        ReservedHeaderKey.TASK_OPERATOR,
        ReservedHeaderKey.MSG_ROOT_ID,
        ReservedHeaderKey.MSG_ROOT_TTL,
        ReservedHeaderKey.PASS_THROUGH,
        ReservedHeaderKey.AUDIT_EVENT_ID,
        ReservedHeaderKey.PEER_CTX,
        ReservedHeaderKey.PEER_PROPS,
        "__wait_time__",  # a word of nvflare.private
        ServerCommandKey.TASK_NAME,
        ServerCommandKey.MIN_GET_TASK_TIMEOUT,
    )
)
"""Headers by which NVFLARE finds its way to a site and back, and which it shows to no script."""
_DXO = "DXO"
_KIND, _DATA, _META = "kind", "data", "meta"
_DEEP = 50
"""Levels of lists in lists: Python's own recursion has a limit, and a server chooses the task."""


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


def payload(task: Shareable, model: Entries, job: str, name: str) -> bytes:
    """What a round is about, in some hundred bytes: the server computes it from the task that it
    sends, and each site from the one that it received. model: the task's.

    All that a task says is in it, but for its way: whatever a script is told apart from others by,
    a rate, a kind of model, that this round is the last, tells its update apart from theirs. Raises
    InputError for a task that is of no round, and for what cannot be compared.
    """
    headers, dxo = task[ReservedHeaderKey.HEADERS], task[_DXO]
    kind, number = dxo.get(_KIND), headers.get(AppConstants.CURRENT_ROUND)
    if not isinstance(kind, str):
        raise InputError("the task has no model")
    if type(number) is not int or number not in range(1 << 32):
        raise InputError("the task does not say of which round it is")
    said = [
        str.__str__(kind),  # an enum's value, before it is sent
        _without(dxo.get(_META) or {}, (MetaKey.FILTER_HISTORY,)),  # what its way adds to it
        _without(headers, _WAY),
        # the values of arrays are in the model's digest; of others it has the values alone
        [(n, isinstance(v, np.ndarray) or v) for n, v in dxo.get(_DATA, {}).items()],
        _without(dxo, (_KIND, _DATA, _META)),
        _without(task, (ReservedHeaderKey.HEADERS, _DXO)),
    ]
    try:
        words = json.dumps(_bound(said))
    except _Unbound as unbound:
        raise InputError(
            f"the task's meta data or headers have a {unbound}, of which sites could be sent "
            "different ones: give numbers, texts, bytes, arrays, or lists, tuples, sets and dicts "
            "of these"
        ) from None
    writer = Writer().prefixed(job.encode()).prefixed(name.encode()).u32(number)
    return writer.raw(model.digest()).raw(hashlib.sha256(words.encode()).digest()).finish()


def forget_way(task: Shareable) -> None:
    """A script hears nothing that the round is not about. What filters on the way add to is none of
    that, and a server could tell each site something else in it: it is taken out."""
    if isinstance(dxo := task.get(_DXO), dict) and isinstance(meta := dxo.get(_META), dict):
        meta.pop(MetaKey.FILTER_HISTORY, None)


def _without(given: Mapping[Any, Any], names: Collection[Any]) -> list[Any]:
    """The order of these is the framework's, which puts words of its own in between."""
    return [(key, given[key]) for key in sorted(given, key=str) if key not in names]


class _Unbound(Exception):
    """The name of a type."""


def _bound(value: Any, depth: int = 0) -> Any:
    """What JSON can say of it without losing anything: of two values that differ after NVFLARE has
    carried them, two things. A rate that numpy has computed tells sites apart as any other does."""
    if isinstance(value, bytes | bytearray):
        return ["bytes", value.hex()]
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "VO":
            raise _Unbound(f"{type(value).__name__} of {value.dtype.name}")
        # the order of bytes too, which `name` leaves out: bytes alone are another number in another
        kind = "array" if isinstance(value, np.ndarray) else "scalar"  # 1 / 0.0 is no error
        return [kind, value.dtype.str, value.shape, _order(value), value.tobytes().hex()]
    if isinstance(value, str | int | float | None) and not isinstance(value, Enum):
        return value
    if depth == _DEEP:
        raise _Unbound(f"{type(value).__name__} inside {_DEEP} others")
    inner = partial(_bound, depth=depth + 1)
    if isinstance(value, list | tuple):
        return ["list" if isinstance(value, list) else "tuple", *map(inner, value)]
    if isinstance(value, Set):
        return ["set", *sorted(json.dumps(inner(one)) for one in value)]
    if isinstance(value, Mapping):
        return ["dict", *([inner(key), inner(one)] for key, one in value.items())]
    if isinstance(value, Enum):
        return ["enum", type(value).__name__, value.name]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    raise _Unbound(type(value).__name__)


def _order(value: np.ndarray[Any, Any] | np.generic) -> str:
    """In which order elements lie, which NVFLARE keeps, and `ravel("K")` goes by."""
    return "F" if value.flags.fnc else "C"


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
    return {name: within_numbers(_as(found[name], dtype)) for name, dtype in types}


def _as(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        return array.astype(dtype)


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
