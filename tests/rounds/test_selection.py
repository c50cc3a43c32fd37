"""Who is picked for a round (secagg/rounds/selection.py)."""

from __future__ import annotations

import hashlib
from collections import Counter

from secagg.effects import Peer
from secagg.rounds.selection import Candidate, arrival, chosen, sample
from tests.rounds.world import toy


def candidates(number: int, *, missed: dict[int, int] | None = None) -> list[Candidate]:
    missed = missed or {}
    return [
        Candidate(Peer(str(i), bytes([i]) if i % 2 else None), i, 0.0, missed=missed.get(i, 0))
        for i in range(number)
    ]


def places(picked: object) -> list[int]:
    assert isinstance(picked, list | tuple)
    return [one.place for one in picked]


def test_by_arrival_those_that_were_silent_come_last() -> None:
    assert places(arrival(toy(3), candidates(5))) == [0, 1, 2]
    assert places(arrival(toy(3), candidates(5, missed={0: 1, 1: 2}))) == [2, 3, 4]
    assert places(arrival(toy(3), candidates(4, missed={0: 1, 1: 2}))) == [2, 3, 0]
    assert places(arrival(toy(3), candidates(2))) == [0, 1]


def test_by_lot_everybody_is_as_likely() -> None:
    """Seeded: 5 choose 2 of 600 draws, each within five standard deviations of 60."""
    state = iter(range(10**9))

    def randomness(size: int) -> bytes:
        return hashlib.sha256(next(state).to_bytes(8)).digest()[:size]

    pick = sample(randomness)
    counts = Counter(tuple(sorted(places(pick(toy(2), candidates(5))))) for _ in range(600))
    assert len(counts) == 10 and all(20 < count < 100 for count in counts.values())
    for _ in range(20):  # the silent have no lot before the others are all picked
        assert sorted(places(pick(toy(2), candidates(4, missed={0: 1, 1: 1})))) == [2, 3]
    assert len(places(sample()(toy(2), candidates(5)))) == 2


def test_the_applications_word_is_taken_as_far_as_they_are_there() -> None:
    here = candidates(4)
    assert places(chosen([here[2].peer, here[0].peer])(toy(3), here)) == [2, 0]
    assert places(chosen([b"\x03", b"\x01", b"\x09", Peer("gone")])(toy(3), here)) == [3, 1]
    assert places(chosen([here[1].peer, b"\x01"])(toy(3), here)) == [1]
    assert here[1].identity == b"\x01" and here[0].identity is None
