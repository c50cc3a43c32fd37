"""Pauses between attempts to open a link."""

from __future__ import annotations

from itertools import pairwise

import pytest

from secagg.errors import ParameterError
from secagg.transport.opening import Backoff


def test_backoff_doubles_up_to_its_cap_less_a_random_part() -> None:
    """Row 76: no herd, and at most the cap."""
    late = Backoff(0.1, 3.0, lambda size: bytes(size))
    delays = [late.delay(failures) for failures in range(1, 80)]
    assert delays[:3] == [0.1, 0.2, 0.4] and delays[-1] == max(delays) == 3.0
    assert all(a <= b for a, b in pairwise(delays))
    early = Backoff(0.1, 3.0, lambda size: b"\xff" * size)
    assert all(d / 2 < early.delay(n) < d for n, d in enumerate(delays, start=1))
    for first, most in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ParameterError):
            Backoff(first, most)


def test_a_peer_that_is_away_for_years_is_still_called() -> None:
    assert 15.0 < Backoff(0.1, 30.0).delay(10_000) <= 30.0
