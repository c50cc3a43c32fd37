from __future__ import annotations

import pytest

from secagg import selftest


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiles the kernels once, into the cache, before every worker of pytest-xdist would."""
    workers = getattr(session.config.option, "numprocesses", None)
    if workers and not hasattr(session.config, "workerinput"):
        selftest.passed()
