"""Where the ledgers of adapters' tests are: in memory, or in a folder of which a sync is cheap."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from secagg.integrations.floors import Floors
from secagg.store.memory import MemoryLedger


class Kept(MemoryLedger):
    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def ledgers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, for tests that are about something else: a file is opened, checked and synced
    some dozen times a round. Those that ask for `disk` have files."""
    if "disk" in request.fixturenames:
        return
    kept: defaultdict[str, Kept] = defaultdict(Kept)
    monkeypatch.setattr(Floors, "ledger", lambda policy: kept[str(policy.state)])


@pytest.fixture
def disk(folder: Path) -> Path:
    """The folder, where ledgers are files in it."""
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For what nodes must not forget. In memory where the machine has such a folder: each claim is
    synced, and on a real disk that is what takes the time of these tests."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
