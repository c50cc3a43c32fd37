"""Before the tests are imported: Flower, or what is recorded of it; and where ledgers are."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import pytest

from tests.integrations.ledgers import disk, folder, ledgers

__all__ = ["disk", "folder", "ledgers"]

RECORDED = Path(__file__).parent / "recorded"
if importlib.util.find_spec("flwr") is None:
    sys.path.append(str(RECORDED))


@pytest.fixture(autouse=True)
def heard() -> None:
    """What is logged here is seen, whatever has run in this process before: frameworks configure
    logging as they are loaded."""
    logging.disable(logging.NOTSET)
    for name in ("flwr", "flwr.secagg"):
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
