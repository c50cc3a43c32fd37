"""A vector in a .npy file: its header read without eval, its values only when they are wanted.

numpy's own reader evaluates the header as Python, and loads a pickle or an archive if it is one.
Here a header is one small grammar, what it promises is held against the size of the file, and
whatever else begins a file is refused with the way to a .npy file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from secagg.cli import files
from secagg.errors import InputError, TooLarge, TrailingBytes, Truncated, UnknownVersion

MAGIC = b"\x93NUMPY"
_LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4}
"""Versions, and the bytes of the header's length. Version 3 is for records with other names."""
_MAX_HEADER = 4096
"""numpy's headers of plain arrays have 128 bytes with their magic."""
_MAX_DIMENSIONS = 32
_SAMPLE = 512
"""Bytes of a file that is none from which its kind is guessed."""

_NUMBER = rb"(?:0|[1-9][0-9]{0,18})"
_SHAPE = rb"\([ ]*\)|\((?:[ ]*" + _NUMBER + rb"[ ]*,)+(?:[ ]*" + _NUMBER + rb")?[ ]*\)"
_VALUE = rb"'(?P<text>[^'\\]{1,64})'|(?P<truth>True|False)|(?P<shape>" + _SHAPE + rb")"
_ENTRY = re.compile(rb"[ ]*'(?P<key>[a-z_]{1,16})'[ ]*:[ ]*(?:" + _VALUE + rb")[ ]*(?:,|$)")
_PLAIN = re.compile(rb"[<>|=]?[biufc][0-9]{1,2}")


_NO_FIELD = {"b": ("booleans", ".astype('u1')"), "c": ("complex numbers", ".real")}
"""Kinds of numbers that `inspect` shows and no field takes, and what makes one of them of it."""


@dataclass(frozen=True, slots=True)
class Header:
    """shape: as in the file. start: the bytes before the first value. fortran: column by column."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


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


@dataclass(frozen=True, slots=True)
class Vector:
    """An array that a user contributes: known from the header, its values unread."""

    path: Path
    header: Header

    @classmethod
    def open(cls, path: Path) -> Vector:
        """Raises InputError, with what to do for a file of another kind; WireError for damage."""
        with files.opened(path, "--input") as source, files.reading(path, "--input"):
            start = files.take(source, _SAMPLE)
            if not start.startswith(MAGIC):
                raise InputError(f"--input {path} {_another_kind(path, start)}")
            source.seek(0)
            header = _of_file(source, path)
        if header.dtype.kind in _NO_FIELD:
            what, how = _NO_FIELD[header.dtype.kind]
            raise InputError(
                f"--input {path} holds {what}, and a field takes integers or floats: in Python, "
                f"numpy.save('vector.npy', numpy.load({path.name!r}){how})"
            )
        return cls(path, header)

    def values(self, elements: int) -> npt.NDArray[Any]:
        """All of it. InputError unless it has that many elements, before any of them is read."""
        if self.header.elements != elements:
            raise InputError(
                f"--input {self.path} holds {self.header.elements} elements, and the plan's field "
                f"has {elements}"
            )
        with files.opened(self.path, "--input") as source, files.reading(self.path, "--input"):
            if _of_file(source, self.path) != self.header:
                raise InputError(f"--input {self.path} has changed since this command began")
            data = files.take(source, elements * self.header.dtype.itemsize)
        array = np.frombuffer(data, self.header.dtype)
        if array.size != elements:
            raise InputError(f"--input {self.path} was cut while it was read")
        return array.reshape(self.header.shape, order="F" if self.header.fortran else "C")


def _of_file(source: BinaryIO, path: Path) -> Header:
    try:
        return read_header(source, files.size_of(source))
    except (InputError, Truncated, TrailingBytes, TooLarge, UnknownVersion) as error:
        raise InputError(f"--input {path}: {error}") from None


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = files.take(source, size)
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


def mistaken(path: Path, data: bytes) -> str:
    """What a file is that others keep arrays in, and what makes a .npy file of it; or ""."""
    start = data[:_SAMPLE]
    known = not start or start.startswith((b"PK\x03\x04", b"\x80")) or _is_text(start)
    return _another_kind(path, start) if known else ""


def _another_kind(path: Path, start: bytes) -> str:
    """What is said of a file that is no .npy file, from its first bytes: never any of them."""
    name = path.name
    if not start:
        return "is empty, and a .npy file is expected"
    if start.startswith(b"PK\x03\x04") and path.suffix not in (".pt", ".pth", ".bin"):
        how = f"numpy.save('vector.npy', numpy.load({name!r})['NAME'])"
        return f"is an archive, and a .npy file holds one array: in Python, {how}"
    if start.startswith((b"PK\x03\x04", b"\x80")):
        how = f"numpy.save('vector.npy', torch.load({name!r}, weights_only=True)['NAME'].numpy())"
        return f"is no .npy file; if torch wrote it, then in Python, {how}"
    if _is_text(start):
        comma = next((c for c in ",;\t" if c.encode() in start), None)
        delimiter = f", delimiter={comma!r}" if comma else ""
        how = f"numpy.save('vector.npy', numpy.loadtxt({name!r}{delimiter}))"
        return f"is text, and a .npy file is expected: in Python, {how}"
    return "is no .npy file, which numpy.save('vector.npy', array) writes"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3 or len(start) < _SAMPLE:
            return False
        text = start[: error.start].decode("utf-8")  # a character cut at the sample's end
    return all(c.isprintable() or c in "\r\n\t\ufeff" for c in text)
