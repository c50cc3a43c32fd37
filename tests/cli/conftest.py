from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache

import pytest
import typer

from secagg.cli.logs import _HANDLER


@pytest.fixture(scope="package", autouse=True)
def _groups_are_made_once() -> Iterator[None]:
    """typer's runner makes the group of commands anew at each of some thousand calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that ran in this process has chosen what is logged, for all tests after it."""
    yield
    logging.getLogger().removeHandler(_HANDLER)
    logging.getLogger("secagg").setLevel(logging.NOTSET)
