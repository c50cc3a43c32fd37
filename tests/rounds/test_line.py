"""Who is next (specs/50-service.md §2.4, §2.5)."""

from __future__ import annotations

import pytest

from secagg.errors import WireError
from secagg.rounds.line import FORGIVEN, LONGEST_PAUSE, PAUSE, STRIKES, Line, Standing

A, B, C = b"a", b"b", b"c"


def lot() -> bytes:
    return b""


def test_fewest_misses_then_longest_in_no_round() -> None:
    line = Line()
    for one in (A, B, C):
        line.of(one)
    line.took({B}, {A, C})
    assert line.next([A, B, C], 0.0, lot) == [A, C, B]
    line.missed(A, 0.0)
    assert line.next([A, B, C], 0.0, lot) == [C, B, A]


def test_a_newcomer_passes_by_nobody() -> None:
    line = Line()
    line.of(A)
    line.took({B}, {A})
    line.took({B}, {A})
    assert line.next([C, A], 0.0, lot) == [A, C]


def test_lots_are_drawn_between_equals_alone() -> None:
    line, lots = Line(), iter([b"2", b"1", b"0"])
    line.of(A), line.of(B)
    line.missed(C, 0.0)
    assert line.next([A, B, C], 0.0, lambda: next(lots)) == [B, A, C]


def test_a_miss_is_forgiven_for_rounds_that_took_others() -> None:
    line = Line()
    line.missed(A, 0.0)
    line.missed(A, 0.0)
    for number in range(2 * FORGIVEN):
        assert line.of(A).misses == 2 - number // FORGIVEN
        line.took({B}, {A})
    assert line.of(A).misses == 0 and line.next([A, B], 0.0, lot) == [A, B]


def test_the_third_miss_is_a_pause_that_doubles() -> None:
    line = Line()
    for number in range(STRIKES - 1):
        line.missed(A, 100.0)
        assert line.until(A) <= 100.0, number
    pauses = []
    for _ in range(90):
        line.missed(A, 100.0)
        pauses.append(line.until(A) - 100.0)
    assert pauses[:3] == [PAUSE, 2 * PAUSE, 4 * PAUSE] and pauses[-1] == LONGEST_PAUSE
    until = line.until(A)
    assert line.next([A], until - 1, lot) == [] and line.next([A], until, lot) == [A]
    line.done(A)
    assert line.of(A).misses == 0


def test_rows() -> None:
    line = Line()
    line.missed(A, 0.0)
    line.took({B}, {A})
    rows = dict(line.changed())
    assert rows.keys() == {A, B} and dict(line.changed()) == {}
    again = Line(line.rounds)
    for identity, row in rows.items():
        assert row is not None
        again.restore(identity, row)
    assert again.of(A) == line.of(A) and again.of(B) == line.of(B)
    line.forget(A)
    assert dict(line.changed()) == {A: None} and A not in line
    for bad in (b"", bytes(9), bytes(11), b"\x41" + bytes(9), b"\0\4" + bytes(8)):
        with pytest.raises(WireError):
            Standing.of_row(bad)
