"""Every limit of a link at its last number (secagg/rounds/quota.py)."""

from __future__ import annotations

from typing import Any

import pytest

from secagg.errors import ParameterError
from secagg.rounds.quota import Limits, Quota


def test_frames_between_two_announcements() -> None:
    """The 64th is read, the next is one too many, and an announcement begins anew."""
    quota = Quota(Limits())
    assert [quota.received(0) for _ in range(64)] == [None] * 64
    assert "more than 64 frames" in str(quota.received(0))
    quota.renew()
    assert quota.received(0) is None


def test_bytes_between_two_announcements() -> None:
    quota = Quota(Limits(frame=100))
    assert [quota.received(100) for _ in range(4)] == [None] * 4
    assert "more than 400 bytes" in str(quota.received(1))
    quota.renew()
    assert quota.received(100) is None
    assert Quota(Limits(volume=7)).received(7) is None
    assert "more than 7 bytes" in str(Quota(Limits(volume=7)).received(8))


def test_frames_that_wait_for_one_peer() -> None:
    quota = Quota(Limits())
    assert [quota.posted(1) for _ in range(64)] == [None] * 64
    assert "more than 64 frames wait" in str(quota.posted(1))
    quota.flushed(2)
    assert quota.posted(1) is None
    assert "more than 64" in str(quota.posted(1))


def test_bytes_that_wait_for_one_peer() -> None:
    """One frame may be larger than all that may wait: it is not the peer that is slow."""
    quota = Quota(Limits(backlog=10))
    assert quota.posted(11) is None
    assert quota.backlog == 11
    assert "more than 10 bytes wait" in str(quota.posted(1))
    quota = Quota(Limits(backlog=10))
    assert (quota.posted(4), quota.posted(6)) == (None, None)
    assert quota.posted(1) is not None


def test_what_waits_is_of_each_round_also_of_those_that_are_over() -> None:
    quota = Quota(Limits(outbox=2, backlog=10))
    quota.renew(3)
    assert [quota.posted(5) for _ in range(6)] == [None] * 6
    quota.flushed(10)
    quota.renew(1)  # four frames of the others are still unread
    assert [quota.posted(1), quota.posted(1)] == [None, None]
    assert "more than 6 frames wait" in str(quota.posted(0))
    quota.flushed(100)
    quota.renew(1)
    assert [quota.posted(1), quota.posted(1)] == [None, None]
    assert "more than 2 frames wait" in str(quota.posted(1))
    quota = Quota(Limits(backlog=10))
    quota.renew(3)
    assert [quota.posted(15), quota.posted(15)] == [None, None]
    assert "more than 30 bytes wait" in str(quota.posted(1))


def test_bytes_that_may_wait_are_those_beside_announcements() -> None:
    """Of as many rounds as may be unread, each as long as the longest; no others add up."""
    quota = Quota(Limits(backlog=10))
    assert quota.posted(4) is None  # the end of another round
    quota.renew(1, 100)
    assert (quota.posted(100), quota.posted(6)) == (None, None)
    assert "more than 110 bytes wait" in str(quota.posted(1))
    quota.flushed(4)
    quota.renew(1, 50)
    assert "more than 110 bytes wait" in str(quota.posted(50))
    quota.flushed(1000)
    quota.renew(2, 50)
    assert (quota.posted(50), quota.posted(50), quota.posted(20)) == (None, None, None)
    assert "more than 120 bytes wait" in str(quota.posted(1))


def test_what_has_left_may_be_part_of_a_frame_or_several() -> None:
    quota = Quota(Limits(outbox=2))
    assert (quota.posted(5), quota.posted(5)) == (None, None)
    quota.flushed(4)
    assert (quota.backlog, quota.posted(1)) == (6, "more than 2 frames wait for it")
    quota.flushed(6)
    assert (quota.backlog, quota.posted(1)) == (1, None)
    quota.flushed(100)
    assert quota.backlog == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame": 0},
        {"links": 0},
        {"links": 2**20 + 1},
        {"links_each": 0},
        {"frames": 0},
        {"volume": 0},
        {"outbox": 0},
        {"backlog": 0},
        {"rounds": 0},
        {"silence": 0},
        {"frames": True},
    ],
)
def test_a_limit_of_nothing_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Limits(**wrong)


def test_the_smallest_limits_and_the_usual_ones() -> None:
    least = dict.fromkeys(("frame", "links", "links_each", "frames", "volume", "outbox"), 1)
    assert Limits(**least, backlog=1, rounds=1, silence=1).bytes_between == 1
    usual = Limits()
    assert (usual.links, usual.frames, usual.outbox, usual.silence) == (10_000, 64, 64, 3)
    assert (usual.frame, usual.bytes_between) == (64 << 20, 256 << 20)
