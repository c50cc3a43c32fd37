"""The door on the uvicorn that Flower pins: 0.49 lacks what the newest one has, and the door's own
protocols bring it (flow control of what is written, the closing handshake)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLDER = HERE.parent.parent / ".venv" / "uvicorn-0.49"
FILES = ("test_door.py", "test_kept.py", "test_websocket.py")


@pytest.mark.skipif(not OLDER.is_dir(), reason=f"no {OLDER.name} beside: `make test` installs it")
def test_the_door_is_the_same_on_the_older_uvicorn() -> None:
    env = {**os.environ, "PYTHONPATH": str(OLDER)}
    shown = "import uvicorn; print(uvicorn.__version__)"
    version = subprocess.check_output([sys.executable, "-c", shown], env=env, text=True)
    assert version.startswith("0.49.")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = [str(HERE / name) for name in FILES]
    inner = subprocess.run(
        [*command, *tests], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert inner.returncode == 0, inner.stdout + inner.stderr
