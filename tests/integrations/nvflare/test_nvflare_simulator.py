"""Real jobs of NVFLARE, in its simulator with a process per site. `make plugins`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integrations.nvflare.jobs import walk
from tests.integrations.nvflare.world import FRAMEWORK

if not FRAMEWORK:
    pytest.skip("NVFLARE is not installed", allow_module_level=True)

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
JOBS, APPS = HERE / "jobs", ROOT / "examples" / "nvflare"
SITES = [f"site-{i}" for i in range(1, 5)]
ROUNDING = 2.0**-21
"""Of float32 entries near one, over all of these rounds."""


def ran(script: Path, *words: str, **variables: str) -> str:
    """What it prints; it finds what this process has installed, and nothing else of ours."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=script.parent,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def plain(rounds: Iterable[list[str]]) -> walk.Array:
    """Those whose results arrive, round by round, and the plain mean of each."""
    model = walk.start()
    for number, sites in enumerate(rounds):
        model = walk.averaged(number, model, sites)
    return model


def check(made: Any, other: Any, rounds: int) -> None:
    bound = rounds * 0.25 / (2**15 - 1) / 2 + ROUNDING
    distance = np.abs(made - other).max()
    print(f"distance {distance:.2e} of {bound:.2e}")
    assert made.shape == walk.SHAPE and 0 < distance <= bound


def test_four_sites_of_which_one_is_killed(tmp_path: Path) -> None:
    """SIGKILL while it trains in round 1; it is in none of the later ones either."""
    ran(JOBS / "job.py", str(tmp_path), "site-4", "1", "3")
    job = tmp_path / "walk"
    made = np.load(job / "server" / "simulate_job" / "models" / "server.npy")
    check(made, plain([SITES, SITES[:3], SITES[:3]]), 3)
    told = (job / "server" / "log.txt").read_text()
    assert re.findall(r"secagg: (\d) sites in the sum, (\d) not", told) == [
        ("4", "0"),
        ("3", "1"),
        ("3", "1"),
    ]
    # nothing of a site stands in what the server has written down
    values = [repr(f(s)) for s in SITES for f in (walk.examples, walk.accuracy, walk.secret)]
    files = [path for path in (job / "server").rglob("*") if path.is_file()]
    assert files and not [v for v in values if any(v.encode() in f.read_bytes() for f in files)]
    assert all((job / site / "secagg" / "ledger.sqlite").is_file() for site in SITES)


@pytest.mark.skipif(not os.environ.get("SECAGG_SOAK"), reason="make plugins runs it")
def test_both_examples_learn_the_same(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the demo extra has the data")
    models = []
    for app in ("before", "after"):
        said = ran(APPS / app / "job.py", str(tmp_path / app))
        [right] = re.findall(r"accuracy: ([\d.]+)%", said)
        assert float(right) > 85
        job = tmp_path / app / "digits" / "server" / "simulate_job"
        models.append(np.load(job / "models" / "server.npy"))
    bound = 5 * 2.0 / (2**15 - 1) / 2
    distance = np.abs(models[0] - models[1]).max()
    print(f"distance {distance:.2e} of {2 * bound:.2e}, {right}%")
    assert distance <= 2 * bound  # a round goes on from what the last one rounded


def test_a_job_brings_nothing_of_secagg_along(tmp_path: Path) -> None:
    """It is installed at each site, and its classes are named by paths that an allow-list can
    have."""
    ran(JOBS / "export.py", str(tmp_path))
    [server] = tmp_path.rglob("config_fed_server.json")
    [flow] = json.loads(server.read_text())["workflows"]
    assert flow["path"] == "secagg.integrations.nvflare.workflow.SecAggFedAvg"
    args = flow["args"]
    assert args["max_weight"] == 1 << 16 and args["metrics"] == {"accuracy": 1.0}
    assert args["clip"] == 0.25 and args["num_clients"] == 4 and "aggregator" not in args
    [client] = tmp_path.rglob("config_fed_client.json")
    told = json.loads(client.read_text())
    [data], [results] = told["task_data_filters"], told["task_result_filters"]
    assert data["tasks"] == results["tasks"] == ["train"]
    for chain in (data, results):
        [one] = chain["filters"]
        assert one["path"] == "secagg.integrations.nvflare.masked.SecAggFilter"
    assert not [
        path for path in tmp_path.rglob("*.py") if "secagg" in str(path.relative_to(tmp_path))
    ]
    [meta] = tmp_path.rglob("meta.json")
    assert json.loads(meta.read_text())["min_clients"] == 3
