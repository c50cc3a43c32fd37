"""A vector in a .npy file: its values are read only when they are wanted, and what begins like
another kind of file is refused with the way to a .npy file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from secagg.cli import files
from secagg.errors import InputError, TooLarge, TrailingBytes, Truncated, UnknownVersion
from secagg.npy import MAGIC, Header, read_header

_SAMPLE = 512
"""Bytes of a file that is none from which its kind is guessed."""
_NO_FIELD = {"b": ("booleans", ".astype('u1')"), "c": ("complex numbers", ".real")}
"""Kinds of numbers that `inspect` shows and no field takes, and what makes one of them of it."""


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
        return self.header.shaped(array)

    def rows(self, elements: int, most: int) -> npt.NDArray[Any]:
        """All of it, a row of so many elements for each of at most so many examples. InputError
        for another shape, before anything is read."""
        shape = self.header.shape
        if not shape or self.header.elements != shape[0] * elements or shape[0] > most:
            raise InputError(
                f"--input {self.path} has the shape {shape}, and the plan takes a row of "
                f"{elements} elements for each of at most {most} examples: ({most}, {elements})"
            )
        return self.values(self.header.elements)


def _of_file(source: BinaryIO, path: Path) -> Header:
    try:
        return read_header(source, files.size_of(source))
    except (InputError, Truncated, TrailingBytes, TooLarge, UnknownVersion) as error:
        raise InputError(f"--input {path}: {error}") from None


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
