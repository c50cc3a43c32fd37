from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import typer


@pytest.fixture(scope="package", autouse=True)
def _groups_are_made_once() -> Iterator[None]:
    """typer's runner makes the group of commands anew at each of some thousand calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield
