"""How much memory an object, and the process, takes up."""

from __future__ import annotations

import enum
import functools
import gc
import re
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np

_SHARED = (
    type,
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    functools._lru_cache_wrapper,
    enum.Enum,
)
"""Belongs to the program, however many machines refer to it."""


def deep_size(root: object) -> int:
    """Bytes of everything reachable from `root`, each object once; code and caches excluded.

    An array that is a view counts with all of the memory that it keeps alive. Memory that an
    extension type holds but does not report is missed, and the table of a plain instance's
    attributes, but not what is in it.
    """
    seen: dict[int, object] = {}  # the objects as well, so that no id is used again meanwhile
    waiting = [root]
    total = 0
    while waiting:
        thing = waiting.pop()
        if thing is None or id(thing) in seen or isinstance(thing, _SHARED):
            continue
        seen[id(thing)] = thing
        total += sys.getsizeof(thing)
        waiting += gc.get_referents(thing)
        if isinstance(thing, np.ndarray):
            waiting.append(thing.base)  # not known to the garbage collector
    return total


def peak_rss() -> int | None:
    """Of this process since it began, in bytes; None where the system does not say."""
    return _high_water() or _max_rss()


def _high_water() -> int | None:
    """Linux: of this program alone. What getrusage says includes whoever started it, as large as
    that was when it forked."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _max_rss() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
