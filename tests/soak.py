"""What is whole in `make soak` only: a suite that gates has eight minutes on two processors."""

from __future__ import annotations

import os

SOAK = "SECAGG_SOAK" in os.environ


def examples(whole: int) -> int:
    """Of a property that holds or fails for reasons of its own, not at the rim of a table."""
    return whole if SOAK else whole // 3
