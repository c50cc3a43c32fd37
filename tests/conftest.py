from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from pathlib import Path

import pytest

from secagg import selftest
from tests.soak import SOAK

gc.disable()  # until all are collected: see the last function

MEMORY = Path("/dev/shm")
ROOM = 1 << 30
"""Bytes: all that the tests leave in files is a tenth of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Files of tests are in memory, where there is much: stores, ledgers and budgets are synced
    some thousand times, and no test can tell whether a disk has kept what it was given. A soak has
    them on the disk, and so has whoever names a TMPDIR."""
    if SOAK or "TMPDIR" in os.environ or not MEMORY.is_dir() or hasattr(config, "workerinput"):
        return
    room = os.statvfs(MEMORY)
    if room.f_bavail * room.f_frsize >= ROOM and not room.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiles the kernels once, into the cache, before every worker of pytest-xdist would."""
    if not hasattr(session.config, "workerinput"):
        selftest.passed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes the longest by far begins first: at the end one worker would wait for it alone."""
    items.sort(key=lambda item: "commands_of_the_readme" not in item.name)


def pytest_runtest_teardown() -> None:
    """A command that ran in this process has chosen what is logged, for all tests after it."""
    own = logging.getLogger("secagg")
    if own.level != logging.NOTSET and "secagg.cli.logs" in sys.modules:
        own.setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(sys.modules["secagg.cli.logs"]._HANDLER)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests are a million objects that stay: no collection goes through them again."""
    gc.collect()
    gc.freeze()
    gc.enable()
