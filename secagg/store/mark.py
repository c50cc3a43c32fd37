"""How far a store has come, in a file of its own (specs/03-storage.md §1.9): so that one which was
set back is noticed.

A write-ahead log that is damaged, or cut short, is for SQLite one whose end was never written: it
goes on from what is left, and what was acknowledged behind it is gone without a word. The same is
so of an older copy that was put in the file's place. So each transaction has a number, which is in
the file, and once it is durable there it is written into the file `-mark` beside it. A store that
has come less far than its mark says has lost something.

The mark itself is not synced, and need not be: written after the transaction, it is never ahead of
it, whichever of the two a loss of power takes back. It is overwritten in place, within one sector.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from secagg.errors import StorageError
from secagg.store import files

END = "-mark"
"""How the name of the file ends, after its store's."""
_NUMBER, _CHECK = 8, 16


def of(path: Path) -> Path:
    """The file of the mark of the store at `path`."""
    return path.with_name(path.name + END)


def encode(owner: bytes, number: int) -> bytes:
    """24 bytes: the number, and what tells it from any other bytes."""
    said = number.to_bytes(_NUMBER)
    return said + hashlib.sha256(b"mark" + said + owner).digest()[:_CHECK]


def demand_new(path: Path, owner: bytes) -> None:
    """StorageError where there is a mark without its store, which is missing then, and not new; but
    that of a store whose making was cut short, in which nothing was."""
    if of(path).exists() and of(path).read_bytes() != encode(owner, 0):
        raise StorageError(
            f"{path} is missing, but its mark {of(path).name} is there: restore both; an empty "
            "store would forget what was acknowledged"
        )


def create(path: Path, owner: bytes, number: int) -> None:
    """Of the store at `path`, durable, whole or not at all; in the place of one that is there."""
    with files.made_whole(of(path)) as draft, draft.open("wb") as file:
        file.write(encode(owner, number))
        file.flush()
        os.fsync(file.fileno())


def check(path: Path, owner: bytes, number: int) -> int:
    """A descriptor of the mark of the store at `path`, which has come to `number`.

    Raises StorageError where the mark is further, is damaged, or is not there, and OSError.
    """
    try:
        opened = os.open(of(path), os.O_RDWR | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise StorageError(
            f"{path} is without its mark {of(path).name}, so that nobody knows whether it is the "
            "newest: bring both from where it was, or begin with a new file"
        ) from None
    try:
        said = os.read(opened, _NUMBER + _CHECK + 1)
        marked = int.from_bytes(said[:_NUMBER])
        if said != encode(owner, marked):
            raise StorageError(
                f"{path}: its mark {of(path).name} is damaged, or another store's, so that nobody "
                "knows whether it is the newest: bring both from where it was"
            )
        if marked > number:
            raise StorageError(
                f"{path} has come to transaction {number}, and its mark says {marked}: what was "
                "acknowledged since is missing. The file or its log was cut or damaged, or an "
                "older copy was put in its place. Bring back the newest with its log, or begin "
                "with a new file"
            )
    except (StorageError, OSError):
        os.close(opened)
        raise
    return opened


def write(opened: int, owner: bytes, number: int) -> None:
    """In place, after the transaction of that number is durable. Raises OSError."""
    said = encode(owner, number)
    os.lseek(opened, 0, os.SEEK_SET)
    if os.write(opened, said) != len(said):
        raise OSError("the mark was not written whole")
