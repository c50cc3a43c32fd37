"""The file of a party that signs: a member's seed, or the server's, used by one process at a time.

A line that says what it is, and a line of 64 hexadecimal digits, the Ed25519 seed::

    secagg key, version 1: identity
    <64 digits>

Two processes of one identity could say two things in one session, each truthfully by its own
memory: two survivor sets, or two sums with one input. So whoever uses one holds a lock on its file
(specs/14-roster.md §4). The lock is the file's, whatever names lead to it; a copy is another file,
and nothing here knows of it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from secagg.crypto import sign
from secagg.errors import StorageError
from secagg.store import files
from secagg.types import NonCopyable, Seed

HEAD = b"secagg key, version 1: identity\n"
SIZE = len(HEAD) + 2 * Seed.SIZE + 1
_DIGITS = frozenset(b"0123456789abcdef")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Identity(NonCopyable):
    """Made by `open`, and this process's until it is closed or the process ends."""

    def __init__(self, path: Path, descriptor: int, seed: Seed) -> None:
        self._path, self._descriptor, self._seed = path, descriptor, seed
        self._process, self._turn = os.getpid(), threading.Lock()
        self.public = sign.public_key(seed)
        """The Ed25519 key, 32 bytes: who it is in a roster (`Roster.place_of`)."""

    def __repr__(self) -> str:
        return f"Identity({self.public.hex()[:16]}..)"

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Raises StorageError for a file that is in use, open to other users, another user's, or no
        identity; the message says nothing of what it holds."""
        path = Path(path)
        try:
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "a file's name has no NUL character"
            raise StorageError(f"the identity {path} cannot be read: {why}") from None
        try:
            return cls(path, descriptor, _taken(path, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def seed(self) -> Seed:
        """What machines sign with. Raises StorageError in a process that was forked off, which has
        the lock as well, and once it is closed."""
        if self._process != os.getpid():
            raise StorageError(
                f"the identity {self._path} was opened before a fork: it is one process's, which "
                "opens it itself"
            )
        if self._descriptor < 0:
            raise StorageError(f"the identity {self._path} is closed")
        return self._seed

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For whoever takes part with it, within this process: two at once would each remember its
        own rounds alone (specs/14-roster.md §4.1). Raises StorageError while somebody does."""
        if not self._turn.acquire(blocking=False):
            raise StorageError(
                f"the identity {self._path} is in use in this process: it takes part once at a "
                "time; wait until that is over"
            )
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Idempotent. Another process may take it from then on."""
        if self._process == os.getpid() and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def digits(line: bytes) -> Seed | None:
    """One way to write a seed, so that what differs is none: lower case, and one line end."""
    if len(line) != 2 * Seed.SIZE + 1 or line[-1:] != b"\n" or not _DIGITS.issuperset(line[:-1]):
        return None
    return Seed(bytes.fromhex(line[:-1].decode("ascii")))


def _taken(path: Path, descriptor: int) -> Seed:
    status = os.fstat(descriptor)  # of what is read, whatever the name leads to meanwhile
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"the identity {path} is not a regular file")
    try:
        data = os.read(descriptor, SIZE + 1)  # before it is locked, as on Windows a lock hides it
    except OSError as error:
        raise StorageError(f"the identity {path} cannot be read: {error.strerror}") from None
    if not data.startswith(HEAD):  # of whatever mode: a request, say, which everybody may read
        raise StorageError(f"{path} is no identity of version 1, which `secagg identity new` makes")
    if files.open_to_others(status):
        raise StorageError(
            f"the identity {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}):"
            " chmod it to 600 and, if one of them may have read it, make another and be enrolled "
            "anew"
        )
    if files.of_another(status):
        raise StorageError(
            f"the identity {path} belongs to another user, who can read and change it"
        )
    try:
        files.lock(descriptor)
    except BlockingIOError:
        raise StorageError(
            f"the identity {path} is in use: it takes part once at a time; wait for the process "
            "that has it, or stop that one"
        ) from None
    except OSError as error:
        raise StorageError(f"the identity {path} cannot be locked: {error.strerror}") from None
    seed = digits(data.removeprefix(HEAD))
    if seed is None:
        raise StorageError(
            f"the identity {path} is damaged: its second line has {2 * Seed.SIZE} digits"
        )
    return seed
