"""How many examples a property of kernels is tried with."""

from __future__ import annotations

import os

from numba import config


def examples(number: int) -> int:
    """All of them; a quarter without the JIT, which runs the same source some hundred times as
    slowly, unless it is a soak."""
    slow = config.DISABLE_JIT and "SECAGG_SOAK" not in os.environ  # type: ignore[attr-defined]
    return number // 4 if slow else number
