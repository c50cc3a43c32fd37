"""Files that a service writes beside its store: whole, durable, and its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

from secagg.store.files import made_whole


def write_whole(path: Path, data: bytes) -> None:
    """In the place of one that is there. OSError."""
    with made_whole(path) as draft, draft.open("r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
