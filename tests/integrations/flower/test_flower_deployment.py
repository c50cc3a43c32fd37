"""Real processes: a SuperLink, four SuperNodes, and a ClientApp that is a new process for each
message. A ClientApp is killed at each stage in turn, and a SuperNode; a round then ends in the sum
of the others."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.integrations.flower.world import FRAMEWORK

if not FRAMEWORK:
    pytest.skip("Flower is not installed", allow_module_level=True)

from tests.integrations.flower.deployment import Deployment

SOAK = pytest.mark.skipif("SECAGG_SOAK" not in os.environ, reason="minutes of real processes")
STAGES = ("keys", "keys", "input", "unmask")
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "light"
version = "1.0.0"
description = "as little as an app can be"
license = "Apache-2.0"
dependencies = ["flwr>=1.40,<2"]
[tool.hatch.build.targets.wheel]
packages = ["light"]
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "light.server_app:app"
clientapp = "light.client_app:app"
[tool.flwr.app.config]
rounds = 3
seconds = 600.0
folder = ""
kill = false
[tool.flwr.app.config.model]
wide = 1e-3
name = "ä \\"b\\""
deep = { zero = -0.0, large = 9007199254740993 }
"""
"""Its configuration is bound by the server: of every type that Flower has, and nested."""
CLIENT = """
import os, signal
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from secagg.integrations.flower import secagg_mod

def watched(message, context, call_next):
    folder, place = Path(context.run_config["folder"]), context.node_config["partition-id"]
    number = message.content["secagg"]["round"]
    with (folder / f"{place}.{number}").open("a") as log:
        print(os.getpid(), file=log)
    stage = len((folder / f"{place}.{number}").read_text().split()) - 1
    if context.run_config["kill"] and place == stage == number - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return call_next(message, context)

app = ClientApp(mods=[watched, secagg_mod])

@app.train()
def train(message, context):
    place = int(context.node_config["partition-id"])
    w = message.content["arrays"]["w"].numpy() + np.float32(0.01 * (place + 1))
    told = MetricRecord({"num-examples": place + 1})
    made = RecordDict({"arrays": ArrayRecord({"w": Array(w)}), "m": told})
    return Message(made, reply_to=message)
"""
SERVER = """
import json
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from secagg.integrations.flower import SecAgg

class Watched(SecAgg):
    def aggregate_train(self, number, replies):
        made = super().aggregate_train(number, replies)
        w = None if made[0] is None else float(made[0]["w"].numpy()[0])
        weight = None if made[0] is None else self.last.weight
        with (self.folder / "result").open("a") as log:
            print(json.dumps([number, w, weight]), file=log)
        return made

app = ServerApp()

@app.main()
def main(grid, context):
    config = context.run_config
    strategy = Watched(FedAvg(min_available_nodes=4, min_train_nodes=4), clip=0.1, max_weight=10,
                       timeouts=float(config["seconds"]), run_config=config)
    strategy.folder = Path(config["folder"])
    arrays = ArrayRecord({"w": Array(np.zeros(1000, np.float32))})
    strategy.start(grid, arrays, num_rounds=int(config["rounds"]))
"""


def written(folder: Path) -> Path:
    (folder / "light").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "light" / "__init__.py").write_text("")
    (folder / "light" / "client_app.py").write_text(CLIENT)
    (folder / "light" / "server_app.py").write_text(SERVER)
    return folder


def results(folder: Path) -> list[tuple[int, float, int]]:
    lines = (folder / "result").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def check(told: list[tuple[int, float, int]], counted: list[list[int]]) -> None:
    """counted: the places that are in the sum, by round."""
    w = 0.0
    for (number, made, weight), places in zip(told, counted, strict=True):
        weights = np.array([place + 1 for place in places])
        w += float((0.01 * weights * weights).sum() / weights.sum())
        assert weight == weights.sum(), number
        assert abs(made - w) <= number * 2e-6, number


@SOAK
@pytest.mark.soak
def test_three_rounds_in_as_many_processes_as_messages(tmp_path: Path, folder: Path) -> None:
    app, seen = written(tmp_path / "app"), tmp_path / "seen"
    seen.mkdir()
    with Deployment(tmp_path, folder, 4) as deployment:
        said = deployment.run(app, 900, folder=f"'{seen}'")
    assert "[ROUND 3/3]" in said, said[-3000:]
    pids = [pid for path in seen.glob("*.*") for pid in path.read_text().split()]
    assert len(pids) == len(set(pids)) == 3 * 4 * 4
    check(results(seen), [[0, 1, 2, 3]] * 3)


@SOAK
@pytest.mark.soak
def test_a_clientapp_is_killed_at_each_stage(tmp_path: Path, folder: Path) -> None:
    """In round r node r - 1 dies in its exchange r. What it had sent before counts."""
    app, seen = written(tmp_path / "app"), tmp_path / "seen"
    seen.mkdir()
    with Deployment(tmp_path, folder, 4) as deployment:
        said = deployment.run(app, 1500, folder=f"'{seen}'", kill="true", rounds=4, seconds=60.0)
    assert "[ROUND 4/4]" in said, said[-3000:]
    check(results(seen), [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2, 3]])


@SOAK
@pytest.mark.soak
def test_a_supernode_is_killed_and_started_again(tmp_path: Path, folder: Path) -> None:
    """Within a round it is a dropout: what it was in the round was in its memory. Then it is a node
    like any other, under a new id; the SuperLink may ask the old one for some time."""
    app, seen = written(tmp_path / "app"), tmp_path / "seen"
    seen.mkdir()
    with Deployment(tmp_path, folder, 4) as deployment, ThreadPoolExecutor() as beside:
        running = beside.submit(
            deployment.run, app, 1500, folder=f"'{seen}'", rounds=3, seconds=60.0
        )
        while not (seen / "1.2").exists() and not running.done():
            time.sleep(0.05)
        deployment.kill("supernode1")
        deployment.node(1)
        said = running.result()
    assert "[ROUND 3/3]" in said, said[-3000:]
    check(results(seen), [[0, 1, 2, 3], [0, 2, 3], [0, 1, 2, 3]])
