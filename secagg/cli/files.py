"""Files that a command is given: regular ones only, and never more of one than it can mean.

A pipe would make a command wait for ever, a device has no end, and what is larger than anything of
its kind need not be read to be refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from secagg.errors import InputError, TooLarge

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""O_NONBLOCK: a pipe that nobody writes is opened at once, and then refused."""


@contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """The file, open for reading. what: it is called that in an error, such as "--plan".

    Raises InputError for what cannot be opened and for what is no regular file.
    """
    try:
        number = os.open(path, _FLAGS)
    except ValueError:
        raise InputError(f"{what}: a file's name has no NUL character") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None
    mode = os.fstat(number).st_mode  # of what is read, whatever the name leads to meanwhile
    if not stat.S_ISREG(mode):
        os.close(number)
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise InputError(f"{what} {path} is {kind}; give a file that holds all of it")
    with open(number, "rb") as source:
        yield source


def take(source: BinaryIO, size: int) -> bytes:
    """At most so many bytes of a file from `opened`, and fewer only at its end.

    Raises InputError for a file of the kernel's that calls itself regular and waits for news.
    """
    data: bytes | None = source.read(size)
    if data is None:
        raise InputError("what was named holds nothing yet: it is no file but a stream")
    return data


def read_at_most(path: Path, limit: int, what: str) -> bytes:
    """The whole file. TooLarge above `limit` bytes, of which no more are read; as `opened`."""
    with opened(path, what) as source, reading(path, what):
        # a file of /proc says that it has 0 bytes
        data = b"" if size_of(source) > limit else take(source, limit + 1)
        if max(size_of(source), len(data)) > limit:
            raise TooLarge(f"{what} {path} has more than {limit} bytes, the most that it may have")
    return data


def size_of(source: BinaryIO) -> int:
    """Bytes, as its file system says; 0 of a file of /proc, whatever it holds."""
    return os.fstat(source.fileno()).st_size


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """A disk that fails half-way is the file's fault as well: InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None
