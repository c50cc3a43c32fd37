"""Ledgers that a process keeps open from one message to the next.

Opening one takes as long as a claim does without its sync, and where many clients share a process,
as simulations have it, each of their messages would. Whoever uses one has it alone: it is taken out
of here, and comes back when the message is over. One that has failed does not, and neither is one
given out whose file is not the file that was opened, or is open to others by now: that is opened
and checked anew.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from secagg.store.ledger import SqliteLedger

MOST = 64
"""Kept at once: each is an open file. The one that was used least lately is closed."""

_Key = tuple[int, Path]
_File = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Idle:
    ledger: SqliteLedger
    file: _File | None


_IDLE: dict[_Key, _Idle] = {}
"""By process too: what was opened before a fork is neither used nor closed after it, as closing
would end what its owner is in the middle of."""
_GUARD = threading.Lock()


@contextmanager
def kept_open(path: Path) -> Iterator[SqliteLedger]:
    """The ledger at `path`, opened where no idle one is its. Raises StorageError as `open` does."""
    key = os.getpid(), path
    idle = _taken(key) or _Idle(SqliteLedger.open(path), _file(path))
    try:
        yield idle.ledger
    finally:
        _put_back(key, idle)


def close_idle() -> None:
    """All that nobody uses now."""
    with _GUARD:
        mine = [key for key in _IDLE if key[0] == os.getpid()]
        closing = [_IDLE.pop(key) for key in mine]
    for idle in closing:
        idle.ledger.close()


atexit.register(close_idle)


def _taken(key: _Key) -> _Idle | None:
    with _GUARD:
        idle = _IDLE.pop(key, None)
    if idle is not None and idle.file != _file(key[1]):
        idle.ledger.close()
        return None
    return idle


def _put_back(key: _Key, idle: _Idle) -> None:
    with _GUARD:
        closing = idle
        if not idle.ledger.failed and key not in _IDLE:
            _IDLE[key] = idle
            mine = [other for other in _IDLE if other[0] == key[0]]
            if len(mine) <= MOST:
                return
            closing = _IDLE.pop(mine[0])
    closing.ledger.close()


def _file(path: Path) -> _File | None:
    """Which file is there, and who may open it; None where none can be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mode
