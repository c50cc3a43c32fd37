"""Pauses between attempts to open a link."""

from __future__ import annotations

from itertools import pairwise

import pytest

from secagg.errors import ParameterError
from secagg.transport.opening import Attempts, Backoff


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


def attempts(timeout: float) -> Attempts:
    return Attempts(timeout, 1000.0, Backoff(0.1, 3.0, lambda size: bytes(size)))


def test_a_server_that_never_was_there_is_given_up_in_time() -> None:
    trying, now, delays = attempts(2.0), 1000.0, list[float]()
    while (delay := trying.failed(now)) is not None:
        delays.append(delay)
        now += delay
    assert delays == [0.1, 0.2, 0.4, 0.8] and now <= 1002.0


def test_a_server_that_is_lost_after_hours_has_the_whole_timeout_again() -> None:
    """And is called at once: the links before it lasted."""
    trying = attempts(2.0)
    assert trying.failed(1000.0) == 0.1
    trying.opened(1000.1)
    assert [trying.failed(9000.0), trying.failed(9001.7), trying.failed(9001.9)] == [0.1, 0.2, None]


def test_a_server_that_drops_every_link_is_called_more_and_more_seldom() -> None:
    trying, now, delays = attempts(60.0), 1000.0, list[float]()
    for _ in range(8):
        trying.opened(now)
        delay = trying.failed(now)
        assert delay is not None
        delays.append(delay)
        now += delay
    assert delays[:3] == [0.1, 0.2, 0.4] and delays[-1] == 3.0
    # and given up: what stands before a server that is away takes links for ever
    while now < 1060.0:
        trying.opened(now)
        if (delay := trying.failed(now)) is None:
            break
        now += delay
    assert 1057.0 <= now <= 1060.0


def test_a_link_that_lasted_as_long_as_the_timeout_was_one() -> None:
    trying, now = attempts(2.0), 1000.0
    for _ in range(4):
        trying.opened(now)
        assert trying.failed(now := now + 2.0) is not None
    trying.opened(now)
    assert trying.failed(now + 1.9) is None
