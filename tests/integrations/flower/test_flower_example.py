"""The change that the page shows is the whole change, and both apps run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.diffs import patched
from tests.integrations.flower.world import FRAMEWORK

ROOT = Path(__file__).parent.parent.parent.parent
APPS = ROOT / "examples" / "flower"
SHOWN = re.search(r"^```diff\n(.*?)^```", (ROOT / "docs" / "flower.md").read_text(), re.M | re.S)


def sources(app: str) -> dict[str, str]:
    return {
        str(path.relative_to(APPS / app)): path.read_text()
        for path in sorted((APPS / app).rglob("*"))
        if path.suffix in (".py", ".toml")
    }


def test_the_page_shows_the_whole_change() -> None:
    assert SHOWN is not None
    assert patched(sources("before"), SHOWN[1]) == sources("after")


def test_it_is_two_lines_and_their_imports() -> None:
    assert SHOWN is not None
    lines = SHOWN[1].splitlines()
    added = [one[1:] for one in lines if one.startswith("+") and not one.startswith("+++")]
    removed = [one[1:] for one in lines if one.startswith("-") and not one.startswith("---")]
    imports = [one for one in added if one.startswith("from secagg.integrations.flower import ")]
    assert (len(removed), len(added), len(imports)) == (2, 4, 2)


RUN = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from digits import client_app, server_app
from tests.integrations.flower.world import RUN, Context, LocalGrid, RecordDict, nodes
grid = LocalGrid(nodes(6, Path(sys.argv[3]), client_app.app))
for place, node in enumerate(grid.nodes.values()):
    node.context.node_config |= {"partition-id": place, "num-partitions": 6}
    node.context.run_config = {"rounds": 5}
server_app.app(grid, Context(RUN, 1, {}, RecordDict(), {"rounds": 5}))
"""


def played(app: str, folder: Path) -> list[float]:
    """What the server prints of its rounds, in a process of its own: both apps have one name."""
    command = [sys.executable, "-c", RUN, str(APPS / app), str(ROOT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(one) for one in re.findall(r"round \d: ([\d.]+)%", done.stdout)]


@pytest.mark.skipif(not FRAMEWORK, reason="Flower is not installed")
def test_both_apps_learn_the_same(folder: Path) -> None:
    pytest.importorskip("sklearn", reason="the demo extra has the data")
    before, after = played("before", folder), played("after", folder)
    print(before, after)
    assert len(before) == len(after) == 5 and after[-1] > 80
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 1.0
