"""How numba compiles the kernels: no float in integer arithmetic, and the same without the JIT."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

from secagg.kernels import field, noise, pack

HERE = Path(__file__).parent
LANES = ("u1", "u2", "u4", "u8")


def run_pack() -> None:
    for dtype in LANES:
        lane = np.zeros(3, dtype)
        pack.unpack_add(pack.pack(lane, 7), 7, lane)
    wide = np.zeros(3, np.uint64)
    pack.unpack_add(pack.pack(wide, 61), 61, wide)


def run_field() -> None:
    out, points = np.empty((2, 5), np.uint64), np.array([1, 2], np.uint64)
    field.evaluate(out, np.zeros((2, 5), np.uint64), points)
    field.barycentric(np.empty(2, np.uint64), points, np.empty(2, np.uint64))
    field.lagrange(out[:, :2].copy(), points, points, points)
    field.syndromes(out, out.copy(), points, points)
    field.combine(np.empty(5, np.uint64), out, points)
    field.reduce(field.multiply(np.uint64(2), field.inverse(np.uint64(3))))


def run_noise() -> None:
    words, table, one = np.zeros(6, np.uint64), np.zeros(8, np.uint64), np.uint64(1)
    for dtype in LANES:
        noise.add_draws(np.zeros(3, dtype), words, table, one, one)


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("module", "run"), [(pack, run_pack), (field, run_field), (noise, run_noise)]
)
def test_integer_kernels_hold_no_float(module: Any, run: Callable[[], None]) -> None:
    """`uint64 + int64` is a float64 to numba and loses what lies beyond 2^53, silently."""
    run()
    kernels = [k for k in vars(module).values() if hasattr(k, "py_func")]
    assert kernels
    for kernel in kernels:
        assert kernel.overloads, kernel
        for compiled in kernel.overloads.values():
            # every inferred variable, arguments and result included
            assert "uint" in str(compiled.type_annotation)
            assert "float64" not in str(compiled.type_annotation)


@pytest.mark.skipif(config.DISABLE_JIT, reason="this is the inner run")
def test_the_kernels_mean_the_same_without_the_jit() -> None:
    """All tests of kernels but those that read assembly, which is the same with it and without."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", str(HERE)]
    command += ["-k", "not assembly and not registers and not no_secret"]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    inner = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert inner.returncode == 0, inner.stdout + inner.stderr
