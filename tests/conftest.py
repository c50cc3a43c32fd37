from __future__ import annotations

import gc

import pytest

from secagg import selftest

gc.disable()  # until all are collected: see the last function


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiles the kernels once, into the cache, before every worker of pytest-xdist would."""
    if not hasattr(session.config, "workerinput"):
        selftest.passed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes the longest by far begins first: at the end one worker would wait for it alone."""
    items.sort(key=lambda item: "commands_of_the_readme" not in item.name)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests are a million objects that stay: no collection goes through them again."""
    gc.collect()
    gc.freeze()
    gc.enable()
