from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def wrap_silently() -> Iterator[None]:
    """Without the JIT, numpy scalars wrap around with a warning; the lanes are meant to wrap."""
    with np.errstate(over="ignore"):
        yield
