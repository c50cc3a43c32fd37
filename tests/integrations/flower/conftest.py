"""Before the tests are imported: Flower, or what is recorded of it; and where ledgers are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from tests.integrations.ledgers import disk, folder, ledgers

__all__ = ["disk", "folder", "ledgers"]

RECORDED = Path(__file__).parent / "recorded"
if importlib.util.find_spec("flwr") is None:
    sys.path.append(str(RECORDED))
