"""What Unix and Windows do differently with files: locks, owners, folders.

Asked of the platform when it is needed, never when a module is imported: a client needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from secagg.errors import StorageError


def lock(descriptor: int, *, wait: bool = False) -> None:
    """Locks the whole file for this descriptor, until it is closed; BlockingIOError if it is taken.

    wait: until it is free; on Windows for ten seconds. By flock, or on Windows by a lock on the
    file's first byte; StorageError where there is neither.
    """
    try:
        import fcntl
    except ImportError:
        _lock_first_byte(descriptor, wait)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _lock_first_byte(descriptor: int, wait: bool) -> None:
    """Also beyond the end of an empty file. Both are exclusive between handles of one process."""
    try:
        msvcrt: Any = import_module("msvcrt")
    except ImportError:
        raise StorageError(
            "this platform has no file locks: a store could have two owners"
        ) from None
    try:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except OSError as taken:  # EACCES at once, EDEADLOCK after ten tries: somebody else has it
        raise BlockingIOError(*taken.args) from None


def make_private(descriptor: int) -> None:
    """Mode 0600 whatever the umask took. Windows has access lists of the folder instead."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


def demand_private(path: Path) -> None:
    """Raises StorageError for a file that others than its owner may read or write."""
    status = path.stat()
    if open_to_others(status):
        raise StorageError(
            f"{path} is open to other users (mode {status.st_mode & 0o777:04o}); chmod it to 600"
        )


def open_to_others(status: os.stat_result) -> bool:
    """Whether others than its owner may read or write. False on Windows: its modes do not say."""
    return hasattr(os, "geteuid") and bool(status.st_mode & 0o077)


def of_another(status: os.stat_result) -> bool:
    """Whether it belongs neither to this user nor to root. False on Windows: it does not say."""
    return hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Windows cannot, and its file system logs them itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Whoever else does this about the same file waits. `path`-lock is never removed: its next
    maker would hold a lock that says nothing."""
    held = os.open(path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        lock(held, wait=True)
        yield
    finally:
        os.close(held)


@contextmanager
def made_whole(path: Path, *beside: str) -> Iterator[Path]:
    """A draft of mode 0600, which is moved to `path` and durable there once the block has ended.

    So an empty file, or half of one, is damage and never a new one. beside: how the names of files
    end that the block may leave beside a draft that is cut short; they go with it the next time.
    """
    draft = path.with_name(path.name + "-new")
    for leftover in (draft, *(draft.with_name(draft.name + end) for end in beside)):
        leftover.unlink(missing_ok=True)
    made = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        make_private(made)
    finally:
        os.close(made)
    yield draft
    os.rename(draft, path)
    sync_folder(path.parent)
