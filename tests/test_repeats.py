"""Repeats are counted, not repeated."""

from __future__ import annotations

import logging

import pytest

from secagg.repeats import MOST, WINDOW, Repeats

log = logging.getLogger("secagg.test")


def test_the_first_few_of_a_kind_are_written_and_then_one_window_s_worth() -> None:
    repeats = Repeats(most=2, window=10.0)
    assert [repeats.count("a", now) for now in (0.0, 1.0, 2.0, 9.9)] == [0, 0, None, None]
    assert repeats.count("b", 9.9) == 0, "another kind has lines of its own"
    assert [repeats.count("a", now) for now in (10.0, 11.0, 12.0)] == [2, 0, None]


def test_a_flood_of_an_hour_is_a_page(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats()
    for second in range(3600):
        for _ in range(100):
            repeats.warn(log, "kind", float(second), "%s was cut", "one")
    windows = 3600 / WINDOW
    assert len(caplog.records) == windows * MOST
    assert "one was cut (and 5990 more like it)" in caplog.messages
    repeats.close(log)
    assert caplog.messages[-1] == "5990 more lines like this were left out: kind"
    repeats.close(log)
    assert len(caplog.records) == windows * MOST + 1
