"""The compiler of the kernels, and its cache on disk.

Numba keeps what it compiled beside the source, or in the user's cache folder, or in
NUMBA_CACHE_DIR, and refuses to decorate a function where it can write to none of them: in a
container with read-only packages and a user without a home, say. A cache saves seconds and is no
reason to stop: here it is done without, at the first sign that it cannot be used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from numba import config, njit, version_info
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

from secagg.watch import Event

# Theory of operation.
#
# A kernel is compiled when it is first called with arguments of some types, and that takes from a
# tenth of a second to some seconds; so what is compiled is kept on disk. numba does both, and does
# two things that a library cannot live with: it looks for a folder when a function is decorated,
# and raises there, so that importing would fail in a read-only container; and an error of the disk
# at a call is raised to whoever called. `_Cache` and `kernel` turn all of it into one line of the
# log.
#
# Before numba loads what is compiled, it imports all that it needs to compile, scipy included where
# there is one: a third of what a process takes to start. Machine code needs none of it but the
# runtime, and what is not in the cache has it imported by the compiler. That is so in the versions
# of `LEAN`, which were looked at; another one is left to do as it likes.
#
# `nogil`, because jobs of a server run in threads: a kernel touches no Python object. No
# `fastmath`: it would allow LLVM to take NaN for impossible and to reorder sums, and a sum that is
# exact is what this package is for. No `parallel`: whoever has threads to spare gives them jobs.
#
# Two processes may compile the same kernel at once; numba writes a file beside and renames it, so
# either finds a whole one. A cached kernel is bound to its source's time and size and to the CPU.

LEAN = {(0, 68)}
"""Versions of numba in which the runtime is all that compiled code asks for."""

_log = logging.getLogger(__name__)

_F = TypeVar("_F", bound=Callable[..., Any])


class _Cache(FunctionCache):
    """Numba's own, which gives up at the first error of the disk: full, read-only since, foreign.

    What is compiled is then kept in this process only, as without a cache.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            if version_info.short not in LEAN:
                return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            with self._guard_against_spurious_io_errors():
                rtsys.initialize(target_context)
                return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._give_up(error)
        return None  # numba's word for: not there

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._enabled = False
        _told(error.strerror or type(error).__name__)


def kernel(function: _F) -> _F:
    """Compiled at its first call, without the GIL; cached on disk where that can be.

    The function is its plain self without the JIT.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    compiled: Any = njit(nogil=True)(function)
    try:
        compiled._cache = _Cache(function)  # type: ignore[no-untyped-call]
    except RuntimeError:  # numba's, of which there is one: no locator
        _told("no folder for them can be written")
    kept: _F = compiled
    return kept


@cache
def _told(why: str) -> None:
    """Once a process, not once a kernel."""
    said = "kernels are compiled anew in each process, without a cache: %s"
    _log.info(said, why, extra=Event.NO_CACHE.line)
