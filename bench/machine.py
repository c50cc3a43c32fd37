"""Where a figure comes from: no number is worth more than the machine and commit beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llvmlite import binding

from secagg import mask

_ROOT = Path(__file__).resolve().parent.parent
_FEATURES = ("aes", "vaes", "pclmul", "ssse3", "avx2", "avx512f", "avx512bw", "neon", "sve")
_PACKAGES = ("numpy", "numba", "llvmlite", "cryptography", "pynacl", "websockets", "uvicorn")


def machine() -> dict[str, Any]:
    """load: the mean number of busy threads over the minute before; above 0.5, run it again."""
    host = binding.get_host_cpu_features()
    return {
        "cpu": _cpu_model(),
        "features": [name for name in _FEATURES if host.get(name)],
        "aes": mask.chosen_backend(),
        "cores": _cores(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": round(os.getloadavg()[0], 2),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def commit() -> str | None:
    """`git rev-parse HEAD`, with `-dirty` where tracked files besides results differ from it.

    None outside of a repository.
    """
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return head + ("-dirty" if changed else "")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _cores() -> int:
    """That this process may use: a container's share, not the host's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
