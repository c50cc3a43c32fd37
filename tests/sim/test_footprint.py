"""What a process says of its memory is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from secagg.sim import footprint

PROGRAM = "from secagg.sim.footprint import peak_rss; print(peak_rss())"
LARGE = 400_000_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says it apart")
def test_the_peak_is_not_that_of_whoever_started_the_process() -> None:
    held = np.ones(LARGE, np.uint8)
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True
    )
    assert held.all() and int(said.stdout) < LARGE // 2
    assert (footprint.peak_rss() or 0) > LARGE


def test_where_the_system_has_no_such_file_getrusage_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("resource")
    monkeypatch.setattr(footprint, "_high_water", lambda: None)
    assert (footprint.peak_rss() or 0) > 1 << 20
