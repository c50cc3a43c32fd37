"""Before the tests are imported: NVFLARE, or what is recorded of it; and a folder for ledgers."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"
if importlib.util.find_spec("nvflare") is None:
    sys.path.append(str(RECORDED))


@pytest.fixture(autouse=True)
def ledgers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, for tests that are about something else: a file is opened, checked and synced
    some dozen times a round. Those that ask for `disk` have files."""
    if "disk" in request.fixturenames:
        return
    from secagg.integrations.nvflare.policy import SitePolicy
    from secagg.store.memory import MemoryLedger

    class Kept(MemoryLedger):
        def __enter__(self) -> Kept:
            return self

        def __exit__(self, *_: object) -> None: ...

    kept: defaultdict[str, Kept] = defaultdict(Kept)
    monkeypatch.setattr(SitePolicy, "ledger", lambda policy: kept[str(policy.state)])


@pytest.fixture
def disk(folder: Path) -> Path:
    """The folder, where ledgers are files in it."""
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For the workspaces of sites. In memory where the machine has such a folder."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
