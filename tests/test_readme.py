"""What the README shows must run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "says"),
    [(0, "of at most 1.52"), (1, "smoker")],
    ids=["sum", "statistics"],
)
def test_a_block_of_the_readme_runs(
    number: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {"__name__": "readme"})
    assert says in capsys.readouterr().out


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 2
