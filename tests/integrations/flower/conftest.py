"""Before the tests are imported: Flower, or what is recorded of it; and a folder for ledgers."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"
if importlib.util.find_spec("flwr") is None:
    sys.path.append(str(RECORDED))


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
