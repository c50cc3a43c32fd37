"""Kernels run where no cache can be written: no home, read-only packages, a full disk."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
from numba import config
from numba.core.caching import IndexDataCacheFile

from secagg import kernels
from secagg.kernels import jit
from secagg.kernels.jit import _Cache, kernel

ROOT = Path(__file__).parents[2]
ROUND = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import numpy as np, secagg
plan = secagg.plan(clients=5, fields={"u": secagg.FixedPoint(3, clip=1.0, bits=16)})
print(secagg.simulate(plan, {i: {"u": np.zeros(3)} for i in range(5)}).count)
"""

compiles = pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")


def doubled(out: Any) -> None:
    for i in range(out.size):
        out[i] *= out.dtype.type(2)


def _run(code: Any) -> None:
    array = np.arange(3, dtype=np.uint32)
    code(array)
    assert array.tolist() == [0, 2, 4]


@compiles
def test_every_kernel_may_be_without_a_cache() -> None:
    """All of them are decorated by `kernel`; numba's own njit(cache=True) would refuse."""
    modules = [import_module(f"secagg.kernels.{m.name}") for m in iter_modules(kernels.__path__)]
    found = [k for m in modules for k in vars(m).values() if hasattr(k, "py_func")]
    assert len(found) > 12
    for dispatcher in found:
        assert isinstance(dispatcher._cache, _Cache), dispatcher


@compiles
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it needs a folder that root cannot write")
def test_a_round_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A file where each cache folder would be keeps even root from making one."""
    for package in (ROOT / "secagg", ROOT / "protocols" / "secagg_protocols"):
        copy = tmp_path / package.name
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
            (folder / "__pycache__").touch()
    env = {"HOME": "/proc/none", "PATH": os.defpath, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", ROUND]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said, count = done.stdout.splitlines()
    assert count == "5"
    assert said.startswith("kernels are compiled anew in each process, without a cache: no folder")


@compiles
@pytest.mark.parametrize("method", ["save", "load"])
def test_a_disk_that_fails_later_costs_the_cache_only(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Full, read-only by now, or a file of another user: the first call compiles and says so."""

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    jit._told.cache_clear()
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    code = kernel(doubled)
    monkeypatch.setattr(IndexDataCacheFile, method, refuse)
    with caplog.at_level(logging.INFO, "secagg.kernels.jit"):
        _run(code)
    assert [record.args for record in caplog.records] == [("no space left",)]
    assert list(tmp_path.rglob("*.nbc")) == []


@compiles
@pytest.mark.parametrize("versions", [set(), jit.LEAN], ids=["numba's way", "lean"])
def test_where_it_can_be_it_is_cached(
    versions: set[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "LEAN", versions)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    _run(kernel(doubled))
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
    again = kernel(doubled)
    _run(again)
    assert sum(again.stats.cache_hits.values()) == 1  # type: ignore[attr-defined]
