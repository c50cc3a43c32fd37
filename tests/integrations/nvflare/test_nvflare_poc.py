"""Real jobs in NVFLARE's POC mode: processes with certificates, at sites with a privacy.json."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.integrations.nvflare.jobs import walk
from tests.integrations.nvflare.world import FRAMEWORK

if not FRAMEWORK:
    pytest.skip("NVFLARE is not installed", allow_module_level=True)
if not os.environ.get("SECAGG_SOAK"):
    pytest.skip("make plugins runs it", allow_module_level=True)

from tests.integrations.nvflare.test_nvflare_simulator import JOBS, SITES, check, plain, ran


def test_a_whole_site_is_gone(tmp_path: Path) -> None:
    """All its processes, while it trains in round 1: NVFLARE hears nothing of it any more."""
    ran(JOBS / "poc.py", str(tmp_path), "site-4", "1", "3")
    told = (tmp_path / "job" / "log.txt").read_text()
    assert re.findall(r"secagg: (\d) sites in the sum, (\d) not", told) == [
        ("4", "0"),
        ("3", "1"),
        ("3", "1"),
    ]
    [model] = (tmp_path / "job").rglob("server.npy")
    check(np.load(model), plain([SITES, SITES[:3], SITES[:3]]), 3)


def test_sites_that_insist_answer_no_plain_job(tmp_path: Path) -> None:
    """The first that refuses ends the job, which is NVFLARE's way; the others may still be at
    work."""
    ran(JOBS / "poc.py", str(tmp_path), "none", "0", "1", "plain")
    told = [one.read_text() for one in tmp_path.glob("sites/*/log.txt")]
    assert len(told) == len(SITES)
    why = "nothing is sent: this site does not know the round: the job is made without"
    assert any(why in log for log in told)
    values = [repr(f(s)) for s in SITES for f in (walk.examples, walk.accuracy, walk.secret)]
    files = [path for path in (tmp_path / "job").rglob("*") if path.is_file()]
    assert files and not [v for v in values if any(v.encode() in f.read_bytes() for f in files)]
    for model in (tmp_path / "job").rglob("server.npy"):
        assert np.array_equal(np.load(model), walk.start())
