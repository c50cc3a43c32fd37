"""A model as its owner has it, and the fields of a plan that take it.

`plan(like=model)` makes one field of a model's floats and, if it is asked to, one of its integers.
Which entries these are is in the plan's digests of them (specs/01-wire.md §4), so nobody has to
repeat the choice: an entry of a model is in the sum if it is the next that the plan has, and else
is left out. `taken` finds a client's input that way, and `restored` what came out, as arrays of the
very types that the model has. Nothing here knows a library by its name (`secagg.tensors`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.arguments import kind_of
from secagg.errors import InputError, ParameterError, RangeError
from secagg.fields import Field, Integer
from secagg.structure import cast, digest, named, shown
from secagg.tensors import BFLOAT16, LARGEST, described, in_bfloat16, is_tensor, settled

UPDATE, COUNTERS = "update", "counters"
"""The fields of a plan that is made like a model: of its floats, and of its integers."""

_NONE = "none has its name and shape"
_SHOWN = 3
"""Entries in an error."""

FLOATS = ("float16", BFLOAT16, "float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))

Only: TypeAlias = str | Collection[str] | Callable[[str], object]
"""Which entries: names or patterns of them, such as "*lora_*", or what is true of a name."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """unread: why nobody can tell its type, for who asks for this entry."""

    name: str
    value: Any = field(repr=False)
    shape: tuple[int, ...] = ()
    type: str = ""
    unread: str = ""

    @property
    def kind(self) -> str:
        """f for floats, i for integers, b for booleans; "" for all else."""
        if self.type == BFLOAT16:
            return "f"
        try:
            kind = np.dtype(self.type or "V").kind
        except TypeError:
            return ""
        return {"f": "f", "i": "i", "u": "i", "b": "b"}.get(kind, "")

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def fields_of(
    model: Any, floats: Callable[[int], Field], counters: Any, only: Only | None, private: bool
) -> tuple[dict[str, Field], tuple[bytes, ...]]:
    """The fields of a plan like the model, and their digests; arguments as in `plans.choose.plan`.

    floats: the field of so many. private: the plan has privacy, and no counters. Raises InputError
    for an entry that can be neither summed nor, being an integer or a boolean, left out;
    ParameterError where nothing is left.
    """
    entries = _chosen(list(_entries(model)), only)
    for entry in entries:
        if not entry.kind:
            what = entry.unread or f"entry {shown(entry.name)}: {entry.type} is not a real number"
            raise InputError(f"{what}; or leave it out: only= says which entries are summed")
    fields: dict[str, Field] = {}
    if length := sum(entry.size for entry in entries if entry.kind == "f"):
        fields[UPDATE] = floats(length)
    if counters is not None:
        counted = sum(entry.size for entry in entries if entry.kind == "i")
        if not counted:
            raise ParameterError("counters: of the entries chosen none has integers to sum")
        fields[COUNTERS] = Integer(counted, counters)
    if not fields:
        also = "; integers are summed where counters= says how large they may be"
        raise ParameterError(
            f"like: of the entries chosen none has floats to average{'' if private else also}"
        )
    digests: list[bytes] = []
    for name, kind in _kinds(fields.items()):
        for entry in entries:
            if entry.kind == kind:
                digests.append(_digest(len(digests), name, entry))
    return fields, tuple(digests)


def taken(
    fields: Iterable[tuple[str, Field]], structure: Sequence[bytes], model: Any
) -> dict[str, dict[str, Any]]:
    """The model's entries that the structure has, field by field, as they are.

    Raises InputError for a plan without a structure, and for a model that lacks one of the entries,
    with what is there in its place.
    """
    found = _found(_kinds(fields), structure, model)
    return {name: {e.name: e.value for e in entries} for name, entries in found.items()}


def restored(
    sums: Mapping[str, npt.NDArray[Any]],
    means: Mapping[str, npt.NDArray[Any]],
    structure: Sequence[bytes],
    model: Any,
) -> Any:
    """Means of floats and sums of integers as entries like the model's; see `Aggregate.as_like`."""
    kinds = [(name, "f" if flat.dtype.kind == "f" else "i") for name, flat in sums.items()]
    arrays: dict[str, Any] = {}
    for name, entries in _found(kinds, structure, model).items():
        flat, start = (means if dict(kinds)[name] == "f" else sums)[name], 0
        for entry in entries:
            arrays[entry.name] = _like(flat[start : start + entry.size], entry)
            start += entry.size
    ordered = {name: arrays[name] for name, _ in _named(model) if name in arrays}
    return _container(ordered, model)


def _entries(model: Any) -> Iterator[_Entry]:
    """In the model's own order, which is the plan's."""
    for name, value in _named(model):
        what = f"entry {shown(name)}"
        try:
            shape, type = described(value, what)
        except InputError as error:
            unread = str(error)
        else:
            yield _Entry(name, value, shape, type)
            continue
        yield _Entry(name, value, unread=unread)


def _named(model: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(model, list | tuple):
        return ((str(place), value) for place, value in enumerate(model))
    if _is_frame(model):
        columns = list(model.columns)
        if len(set(columns)) < len(columns):
            raise InputError("two columns of the frame have one name, and an entry has its own")
        return named({name: model[name] for name in columns}, "the frame")
    if not isinstance(model, Mapping | type) and hasattr(model, "state_dict"):
        raise InputError(f"{kind_of(model)} is given by its entries: .state_dict()")
    return named(model, "a model")


def _is_frame(model: Any) -> bool:
    """A pandas frame: columns by name, and rows by place."""
    return hasattr(model, "columns") and hasattr(model, "iloc")


def _chosen(entries: list[_Entry], only: Only | None) -> list[_Entry]:
    if only is None:
        return entries
    if callable(only):
        return [entry for entry in entries if only(entry.name)]
    patterns = [only] if isinstance(only, str) else only
    if not isinstance(patterns, list | tuple | set | frozenset) or not all(
        isinstance(pattern, str) for pattern in patterns
    ):
        raise ParameterError(
            "only must be a name or pattern, a list or set of these, or a function of a name, not "
            f"{kind_of(only)}"
        )
    for pattern in patterns:
        if not any(_fits(entry, pattern) for entry in entries):
            raise ParameterError(f"only: no entry of the model is called {shown(pattern)}")
    return [entry for entry in entries if any(_fits(entry, pattern) for pattern in patterns)]


def _fits(entry: _Entry, pattern: str) -> bool:
    return entry.name == pattern or fnmatchcase(entry.name, pattern)


def _kinds(fields: Iterable[tuple[str, Field]]) -> list[tuple[str, str]]:
    return [(name, "i" if isinstance(field, Integer) else "f") for name, field in fields]


def _digest(place: int, name: str, entry: _Entry) -> bytes:
    return digest(place, name, entry.name, entry.shape, entry.type)


def _found(
    kinds: Sequence[tuple[str, str]], structure: Sequence[bytes], model: Any
) -> dict[str, list[_Entry]]:
    """By field: the entries that the structure has, one after the other. Names are distinct, so no
    entry can stand in another's place, and the first that fits is the only one."""
    if not structure:
        raise InputError(
            "the plan has no entries by name: make it with plan(like=model), or give and take "
            "arrays by field"
        )
    entries = list(_entries(model))
    found: dict[str, list[_Entry]] = {}
    place = 0
    for name, kind in kinds:
        for entry in entries:
            if place == len(structure):
                break
            if entry.kind == kind and structure[place] == _digest(place, name, entry):
                found.setdefault(name, []).append(entry)
                place += 1
    if place < len(structure):
        last = [entry for part in found.values() for entry in part][-1:]
        after = f", after {shown(last[0].name)}," if last else ""
        why = _difference(place, structure[place], kinds, entries)
        start = [entry.name for entry in entries].index(last[0].name) + 1 if last else 0
        other = _foreign(place, structure, kinds, entries[start:]) if why.startswith(_NONE) else ""
        raise InputError(f"entry {place} of the plan{after} is not in this model: {why}{other}")
    return found


def _foreign(
    place: int, structure: Sequence[bytes], kinds: Sequence[tuple[str, str]], rest: list[_Entry]
) -> str:
    """What stands between the last entry that fits the plan and the next one, by name, shape and
    type: one of these is what differs, or it is missing."""
    foreign = []
    for entry in rest:
        fields = [name for name, kind in kinds if kind == entry.kind]
        places = range(place, len(structure))
        if any(structure[p] == _digest(p, name, entry) for name in fields for p in places):
            break
        if fields:
            foreign.append(f"{shown(entry.name)}, {entry.shape} {entry.type}")
        if len(foreign) == _SHOWN:
            break
    return f"; given in its place, and nowhere in the plan: {'; '.join(foreign)}" if foreign else ""


def _difference(
    place: int, wanted: bytes, kinds: Sequence[tuple[str, str]], entries: Sequence[_Entry]
) -> str:
    """Of the plan's entry there is a digest only: it is tried whether one of ours is meant."""
    for name, kind in kinds:
        for entry in entries:
            if not entry.unread and wanted == _digest(place, name, entry):
                return f"{shown(entry.name)} comes earlier here; give entries in the plan's order"
            for type in FLOATS if kind == "f" else INTEGERS:
                if wanted == digest(place, name, entry.name, entry.shape, type):
                    return f"{shown(entry.name)} is {entry.type} here, and {type} in the plan"
    unread = [entry.unread for entry in entries if entry.unread]
    besides = f" (what cannot be read is not compared: {unread[0]})" if unread else ""
    return f"{_NONE}, so this is another model{besides}"


def _like(flat: npt.NDArray[Any], entry: _Entry) -> Any:
    """Rounded once, to nearest, here: a library would go by way of float32 to its bfloat16."""
    if entry.type != BFLOAT16:
        array = cast(flat, np.dtype(entry.type), entry.name).reshape(entry.shape)
        return settled(entry.value).new_tensor(array) if is_tensor(entry.value) else array
    rounded = in_bfloat16(flat).reshape(entry.shape)
    if rounded.size and abs(rounded).max() > LARGEST:
        raise RangeError(f"entry {entry.name!r}: an element is beyond the range of bfloat16")
    if is_tensor(entry.value):
        return settled(entry.value).new_tensor(rounded)
    return rounded.astype(entry.value.dtype)


def _container(arrays: dict[str, Any], model: Any) -> Any:
    if isinstance(model, list | tuple):
        rows = [arrays.get(str(place)) for place in range(len(model))]
        return rows if isinstance(model, list) else tuple(rows)
    if not _is_frame(model):
        return arrays
    frame = model[list(arrays)].copy()
    for name, array in arrays.items():
        frame[name] = array
    return frame.astype({name: model[name].dtype for name in arrays})
