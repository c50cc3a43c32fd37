"""What a model is made of: names, shapes and dtypes in order, and their digests in a plan.

On the wire a model is a row of numbers, and nothing tells one layer's from another's: two clients
whose dicts list the same layers in another order would be averaged into nonsense. So a plan whose
fields are given by name binds every entry in its place (specs/01-wire.md §4), each client compares
its own before anything is masked, and says what differs on its own side only.

A name that depends on data, such as a category or a word of a vocabulary, does not belong into a
structure: everybody who knows the plan can test whether a name is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.arguments import flag, kind_of
from secagg.crypto import labels
from secagg.errors import InputError, ParameterError, RangeError
from secagg.fields import Field, Integer
from secagg.quantize import flatten
from secagg.schema import TENSOR_SIZE
from secagg.tensors import BFLOAT16, Tensor, as_array, described, read

_FEW = 20
_LONGEST = 100
_SHOWN = 3
"""Entries in a repr."""

Tensors: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Structure:
    """Names, shapes and dtypes of a mapping of arrays: a model's state dict, say.

    Made once, from the model that everybody starts from, and used for the plan, by clients and by
    the server: it fixes the order of the elements.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype[Any], ...]

    def __repr__(self) -> str:
        """The first entries, and how many there are."""
        each = zip(self.names[:_SHOWN], self.shapes, self.dtypes, strict=False)
        first = ", ".join(f"{shown(name)} {shape} {dtype}" for name, shape, dtype in each)
        more = ", .." if len(self.names) > _SHOWN else ""
        return f"Structure({len(self.names)} entries, {self.length} elements: {first}{more})"

    @classmethod
    def of(cls, mapping: Mapping[str, Any], *, integers: bool = False) -> Structure:
        """In the mapping's order. Arrays, nested lists, or tensors that numpy can read.

        Integer and boolean entries are refused with InputError, torch's num_batches_tracked among
        them: clipping and averaging would silently ruin a counter. Leave such entries out, or sum
        them in an Integer field, whose structure is of `integers` only; `plan(like=mapping)` does
        either, and takes bfloat16, which is refused here as numpy lacks it. A scalar is an entry of
        shape (). So is a name that is no text.
        """
        flag("integers", integers)
        arrays = {
            name: _entry(value, name, integers) for name, value in named(mapping, "a structure")
        }
        return cls(
            tuple(arrays),
            tuple(array.shape for array in arrays.values()),
            tuple(array.dtype for array in arrays.values()),
        )

    @property
    def length(self) -> int:
        """Elements of all entries together, and so of the field that takes them."""
        return sum(_size(shape) for shape in self.shapes)

    @property
    def integers(self) -> bool:
        """Whether it is of an Integer field."""
        return any(dtype.kind in "iu" for dtype in self.dtypes)

    def digests(self, name: str, field: Field, place: int = 0) -> tuple[bytes, ...]:
        """What a plan says of the entries, as the field of that name. place: of the first.

        Raises ParameterError for a field of another length or kind.
        """
        if self.length != field.length:
            raise ParameterError(
                f"the structure of field {name!r} has {self.length} elements, and the field "
                f"{field.length}"
            )
        if self.integers != isinstance(field, Integer):
            raise ParameterError(
                f"field {name!r}: a FixedPoint takes a structure of floats, as a Vector does, and "
                "an Integer one of integers, Structure.of(..., integers=True)"
            )
        each = zip(self.names, self.shapes, self.dtypes, strict=True)
        return tuple(
            digest(place + i, name, entry, shape, dtype.name)
            for i, (entry, shape, dtype) in enumerate(each)
        )

    def flatten(self, mapping: Mapping[str, Any]) -> npt.NDArray[Any]:
        """All entries in the structure's order, in the narrowest dtype that holds those of all.

        A model of float32 alone stays float32: a value at a bound is then still told from one
        beyond (see `quantize`). Raises InputError for other names or shapes.
        """
        check_same("entries", self.names, mapping)
        arrays = [np.empty(0, np.int8 if self.integers else np.float16)]
        for name, shape in zip(self.names, self.shapes, strict=True):
            array = _entry(mapping[name], name, self.integers)
            if array.shape != shape:
                raise InputError(f"entry {name!r} takes shape {shape}, and {array.shape} was given")
            arrays.append(array.reshape(-1))
        return np.concatenate(arrays)

    def unflatten(self, vector: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """The mapping back, with shapes and dtypes restored: fresh arrays.

        Raises InputError for another length, and for fractions where entries are integers, which a
        mean is; RangeError where an element exceeds its entry's dtype, as a sum of float16 entries
        may.
        """
        flat = flatten(vector, self.length, "the vector")
        if self.integers and flat.dtype.kind not in "iu":
            raise InputError("entries are integers: take the sum, and not the mean")
        arrays = {}
        start = 0
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            size = _size(shape)
            arrays[name] = cast(flat[start : start + size], dtype, name).reshape(shape)
            start += size
        return arrays


def digest(place: int, field: str, entry: str, shape: Sequence[int], type: str) -> bytes:
    """Of one entry: 16 bytes. place: among all entries of the plan. type: as `Tensor` has it."""
    try:
        name = entry.encode()
    except UnicodeEncodeError:
        raise InputError("the name of an entry is text that UTF-8 can write") from None
    if any(size >> 32 for size in shape):
        raise InputError("an entry's dimensions are below 2^32, as a plan's bytes have them")
    dimensions = b"".join(size.to_bytes(4) for size in shape)
    parts = (field.encode("ascii"), name, dimensions, type.encode())
    return labels.digest(labels.TENSOR, place, *parts)[:TENSOR_SIZE]


def checked(
    fields: Iterable[tuple[str, Field]], values: Mapping[str, Any], structure: Sequence[bytes]
) -> dict[str, Any]:
    """The values as they are, their mappings as mappings of tensors that are those of the plan.

    Raises InputError with the first difference: for a mapping where the plan has no structure, as
    its order would be nobody's to check; for other entries; and for an array in place of a mapping.
    """
    given = dict(values)
    place = 0
    for name, _ in fields:
        if not isinstance(given[name], Mapping):
            continue
        if not structure:
            raise InputError(
                f"field {name!r} is given by entries, and the plan has no structure, without which "
                "nobody could tell another order from this one: make the plan with "
                "structure=Structure.of(model), or give one array"
            )
        given[name] = tensors = dict(_tensors(given[name], name))
        for entry, tensor in tensors.items():
            if place >= len(structure) or structure[place] != _of(place, name, entry, tensor):
                raise InputError(_difference(place, name, entry, tensors, structure))
            place += 1
    if place < len(structure):
        raise InputError(
            f"the plan is for {len(structure)} entries by name, and the input has {place}: the "
            "first that is missing is "
            f"entry {place}; give every field of the structure as a mapping, with all its entries"
        )
    return given


def _tensors(entries: Mapping[Any, Any], field: str) -> Iterator[tuple[str, Tensor]]:
    for place, (name, value) in enumerate(named(entries, f"field {field!r}")):
        yield name, read(value, f"entry {place} of field {field!r}, {shown(name)}")


def named(entries: Any, what: str) -> Iterator[tuple[str, Any]]:
    """The entries of a mapping. Raises InputError for another kind, and for a name that is no text:
    1 and "1" would be one name, and the entry of one of them lost."""
    if not isinstance(entries, Mapping):
        raise InputError(
            f"{what} is made of a mapping of names to arrays, not of {kind_of(entries)}"
        )
    for place, (name, value) in enumerate(entries.items()):
        if not isinstance(name, str):
            raise InputError(
                f"the name of entry {place} of {what} is {kind_of(name)}: names are texts"
            )
        yield name, value


def _of(place: int, field: str, entry: str, tensor: Tensor) -> bytes:
    return digest(place, field, entry, tensor.array.shape, tensor.type)


def shown(name: str) -> str:
    """The name of an entry in an error, on its owner's own side."""
    return repr(name[:_LONGEST])


def _difference(
    place: int, field: str, entry: str, tensors: Tensors, structure: Sequence[bytes]
) -> str:
    """Of the plan's entry there is a digest only: it is tried whether one of ours is meant."""
    own = f"{shown(entry)}, {tensors[entry].array.shape} {tensors[entry].type}"
    found = f"entry {place} of the input, in field {field!r}, is {own}, and "
    if place >= len(structure):
        return f"{found}the plan has {len(structure)} entries only: this is another model"
    for other, tensor in tensors.items():
        if structure[place] == _of(place, field, other, tensor):
            return f"{found}the plan has {shown(other)} there: give them in the plan's order"
    return f"{found}the plan has another name, shape or dtype there: this is another model"


def check_same(what: str, expected: Iterable[str], given: Any) -> None:
    """InputError for other names. Those that are missing are named. What is given besides is
    counted only: where a vector stands in the place of a mapping, or keys are data, its names are
    somebody's values."""
    if not hasattr(given, "keys"):  # a data frame is no Mapping, and has named columns all the same
        raise InputError(
            f"{what} are given by name, as in {{'update': array}}, and not as {kind_of(given)}"
        )
    names, expected = set(given.keys()), set(expected)
    missing, unknown = sorted(expected - names), len(names - expected)
    if missing or unknown:
        said = [f"missing {what}: {_listed(missing)}"] if missing else []
        said += [f"unknown {what}: {unknown} of those given"] if unknown else []
        raise InputError(f"{'; '.join(said)}; to be given are exactly {_listed(sorted(expected))}")


def _listed(names: Sequence[str]) -> str:
    """The first of a model's thousand entries tell enough."""
    more = f", and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return (", ".join(map(repr, names[:_FEW])) or "none") + more


def _entry(value: Any, name: str, integers: bool) -> npt.NDArray[Any]:
    if not integers:
        if described(value, f"entry {name!r}")[1] == BFLOAT16:
            raise InputError(
                f"entry {name!r} is bfloat16, which numpy lacks: secagg.plan(like=model) takes it, "
                "and a Structure takes its .float()"
            )
        return floats(value, f"entry {name!r}")
    array = as_array(value, f"entry {name!r}")
    if array.dtype.kind not in "iu":
        raise InputError(f"entry {name!r} is {array.dtype.name}: an Integer field takes integers")
    return array


def floats(value: Any, what: str) -> npt.NDArray[Any]:
    """`value` as an array of a floating type; InputError for what is none."""
    return real(read(value, what), what).array


def real(tensor: Tensor, what: str) -> Tensor:
    """The tensor, if its elements are floats; else InputError."""
    if tensor.array.dtype.kind != "f":
        raise InputError(
            f"{what} is {tensor.type}: only floats are averaged; leave it out, or sum it in an "
            "Integer field; secagg.plan(like=model) does either"
        )
    return tensor


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def cast(flat: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    """In that type, floats rounded once to nearest. numpy wraps integers around without a word;
    here it is a RangeError, as is a float that would be infinite."""
    try:
        if dtype.kind in "iu" and flat.size:
            bounds = np.iinfo(dtype)
            if int(flat.min()) < bounds.min or int(flat.max()) > bounds.max:
                raise FloatingPointError
        with np.errstate(over="raise"):
            return flat.astype(dtype)
    except FloatingPointError:
        raise RangeError(f"entry {name!r}: an element is beyond the range of {dtype}") from None
