"""The blocks of docs/models.md, each section's where what it imports is installed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "models.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = {
    text.partition("\n")[0]: code
    for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)
    if (code := "\n".join(BLOCK.findall(text)))
}


@pytest.mark.parametrize("title", SECTIONS)
def test_the_blocks_of_a_section_run_one_after_the_other(title: str) -> None:
    code = SECTIONS[title]
    for name in sorted(set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a library's own making
            pytest.importorskip(name)
    names: dict[str, Any] = {}
    exec(compile(code, f"docs/models.md: {title}", "exec"), names)
    assert {"plan", "total"} <= names.keys()


def test_every_section_has_its_blocks() -> None:
    assert len(SECTIONS) == 7
