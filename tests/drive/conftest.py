from __future__ import annotations

import asyncio

import pytest

from tests.patience import stop_the_clock


@pytest.fixture
async def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_clock(asyncio.get_running_loop(), monkeypatch)
