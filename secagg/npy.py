"""The header of a .npy file, read without eval: a small grammar, held against what it promises.

numpy's own reader evaluates a header as Python, and loads a pickle or an archive if it is one; what
it raises for other bytes depends on what they look like.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError, TooLarge, TrailingBytes, Truncated, UnknownVersion
from secagg.shown import short

MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4}
"""Versions, and the bytes of the header's length. Version 3 is for records with other names."""
_MAX_HEADER = 4096
"""numpy's headers of plain arrays have 128 bytes with their magic."""
_MAX_DIMENSIONS = 32

_NUMBER = rb"(?:0|[1-9][0-9]{0,18})"
_SHAPE = rb"\([ ]*\)|\((?:[ ]*" + _NUMBER + rb"[ ]*,)+(?:[ ]*" + _NUMBER + rb")?[ ]*\)"
_VALUE = rb"'(?P<text>[^'\\]{1,64})'|(?P<truth>True|False)|(?P<shape>" + _SHAPE + rb")"
_ENTRY = re.compile(rb"[ ]*'(?P<key>[a-z_]{1,16})'[ ]*:[ ]*(?:" + _VALUE + rb")[ ]*(?:,|$)")
_PLAIN = re.compile(rb"[<>|=]?[biufc][0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Header:
    """shape: as in the file. start: the bytes before the first value. fortran: column by column."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    __repr__ = short

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def shaped(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """All values, in the order of the file, as the array that they are."""
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def read_header(source: BinaryIO, size: int) -> Header:
    """Of the .npy file of `size` bytes in `source`, which must hold exactly what it promises.

    Raises InputError, Truncated, TrailingBytes, TooLarge, UnknownVersion.
    """
    begin = _exactly(source, len(MAGIC) + 2)
    if not begin.startswith(MAGIC):
        raise InputError("not a .npy file")
    version = begin[len(MAGIC) :]
    if version not in _LENGTHS:
        raise UnknownVersion(f".npy version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
    length = int.from_bytes(_exactly(source, _LENGTHS[version]), "little")
    if length > _MAX_HEADER:
        raise TooLarge(f"a .npy header of {length} bytes; {_MAX_HEADER} are the most")
    start = len(begin) + _LENGTHS[version] + length
    header = _parse(_exactly(source, length), start)
    _check_size(size - start, header.elements * header.dtype.itemsize)
    return header


def array_of(data: bytes) -> npt.NDArray[Any]:
    """What `data` is as a .npy file: read only, as nothing is copied. Raises as `read_header`."""
    header = read_header(io.BytesIO(data), len(data))
    flat = np.frombuffer(data, header.dtype, offset=header.start)
    return header.shaped(flat)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size) or b""  # None of a stream that waits
    if len(data) < size:
        raise Truncated("a .npy file that ends within its header")
    return data


def _check_size(left: int, expected: int) -> None:
    if left < expected:
        raise Truncated(f"a .npy array of {expected} bytes, of which {max(left, 0)} are there")
    if left > expected:
        raise TrailingBytes(f"{left - expected} bytes follow the .npy array")


def _parse(text: bytes, start: int) -> Header:
    found = _entries(text)
    if found is None or found.keys() != {b"descr", b"fortran_order", b"shape"}:
        raise InputError("a .npy header of another form than numpy writes for an array of numbers")
    descr, order, shape = found[b"descr"], found[b"fortran_order"], found[b"shape"]
    if not (descr["text"] and order["truth"] and shape["shape"]):
        raise InputError("a .npy header whose type, order or shape is none")
    sizes = tuple(int(number) for number in re.findall(_NUMBER, shape["shape"]))
    if len(sizes) > _MAX_DIMENSIONS:
        raise InputError(f"a .npy array of {len(sizes)} dimensions; {_MAX_DIMENSIONS} are the most")
    return Header(_dtype(descr["text"]), sizes, order["truth"] == b"True", start)


def _entries(text: bytes) -> dict[bytes, re.Match[bytes]] | None:
    """By key, or None where it is no mapping of that form or has a key twice."""
    body = text.replace(b'"', b"'").translate(bytes.maketrans(b"\n\t", b"  ")).strip(b" ")
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return None
    body, at, found = body[1:-1].rstrip(b" "), 0, dict[bytes, re.Match[bytes]]()
    while at < len(body):
        entry = _ENTRY.match(body, at)
        if entry is None or entry["key"] in found:
            return None
        found[entry["key"]], at = entry, entry.end()
    return found


def _dtype(descr: bytes) -> np.dtype[Any]:
    """Python objects (which only a pickle holds), text, dates and records are no numbers."""
    if _PLAIN.fullmatch(descr):
        try:
            return np.dtype(descr.decode("ascii"))
        except TypeError:
            pass  # such as a float of 3 bytes
    what = "Python objects" if descr.lstrip(b"<>|=").startswith(b"O") else "no plain numbers"
    raise InputError(f"a .npy array of {what}; integers and floats are read")
