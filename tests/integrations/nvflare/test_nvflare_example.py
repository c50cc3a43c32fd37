"""The change that the page shows is the whole change, and its policy is what a site reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

from secagg.integrations import nvflare
from secagg.integrations.nvflare.masked import SecAggFilter
from tests.integrations.diffs import patched

ROOT = Path(__file__).parent.parent.parent.parent
APPS = ROOT / "examples" / "nvflare"
PAGE = (ROOT / "docs" / "nvflare.md").read_text()
SHOWN = re.search(r"^```diff\n(.*?)^```", PAGE, re.M | re.S)


def sources(app: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((APPS / app).glob("*.py"))}


def test_the_page_shows_the_whole_change() -> None:
    assert SHOWN is not None and len(sources("before")) == 3
    assert patched(sources("before"), SHOWN[1]) == sources("after")


def test_it_is_two_lines_with_the_import() -> None:
    """Six would be too many."""
    assert SHOWN is not None
    lines = SHOWN[1].splitlines()
    added = [one[1:] for one in lines if one.startswith("+") and not one.startswith("+++")]
    removed = [one for one in lines if one.startswith("-") and not one.startswith("---")]
    assert len([one for one in added if one]) == 2 and not removed
    assert added[0] == "from secagg.integrations.nvflare import secure"


def test_the_policy_of_the_page_can_be_built() -> None:
    shown = re.search(r"^```json\n(.*?)^```", PAGE, re.M | re.S)
    assert shown is not None
    policy = json.loads(shown[1])
    [scope] = policy["scopes"]
    listed = [*scope["task_data_filters"], *scope["task_result_filters"], *policy["components"]]
    path = f"{SecAggFilter.__module__}.{SecAggFilter.__qualname__}"
    assert [one["path"] for one in listed] == [path] * 3 and path.startswith("secagg.")
    made = [nvflare.SecAggFilter(**one["args"]) for one in listed]
    assert made[2].min_clients == 10 and scope["name"] == policy["default_scope"]
