"""Somebody between one client of four and its server delays, drops, cuts, doubles, turns round,
shortens and changes frames: the sum is exact over those in it, or there is none.

As a proxy would that ends TLS, or a machine whose memory fails. Rows 70, 72.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.rounds.seats import Person, World

Meddling: TypeAlias = Callable[[bool, int, bytes], list[bytes] | None]
"""Whether it goes up, its number on this way, and the frame: what comes out; None cuts the link."""


def flipped(frame: bytes, at: int) -> bytes:
    changed = bytearray(frame)
    changed[at % len(changed)] ^= 1
    return bytes(changed)


def nth(up: bool, number: int, what: Callable[[bytes], list[bytes] | None]) -> Meddling:
    """With one frame alone."""

    def meddles(goes_up: bool, count: int, frame: bytes) -> list[bytes] | None:
        return what(frame) if (goes_up, count) == (up, number) else [frame]

    return meddles


WHAT: dict[str, Callable[[bytes], list[bytes] | None]] = {
    "drop": lambda frame: [],
    "cut": lambda frame: None,
    "truncate": lambda frame: [frame[:-7]],
    "flip": lambda frame: [flipped(frame, -20)],
    "garbage": lambda frame: [frame[:18] + bytes(len(frame) - 18)],
    "equivocate": lambda frame: [frame, flipped(frame, -20)],
    "double": lambda frame: [frame, frame],
}
CASES: dict[str, Meddling] = {
    f"{name} {'up' if up else 'down'} {number}": nth(up, number, what)
    for name, what in WHAT.items()
    for up in (True, False)
    for number in (1, 2, 3, 4, 5)
}
CASES["double all"] = lambda up, number, frame: [frame, frame]


class Meddled(World):
    """The first client's link goes through somebody's hands."""

    def __init__(self, seed: int, meddling: Meddling) -> None:
        self.meddling, self.counts, self.held = meddling, {True: 0, False: 0}, list[bytes]()
        super().__init__(seed, losses=0, kills=0, gentle=True)
        self.demanding = False

    def carried(self, one: Person, raw: bytes, *, up: bool) -> list[bytes]:
        if one is not self.people[0]:
            return [raw]
        self.counts[up] += 1
        frames = self.meddling(up, self.counts[up], raw)
        if frames is None:
            if one.link is not None:
                self.at(0.0, lambda: one.link is not None and self.lose(one))
            return []
        return frames


@pytest.mark.parametrize("case", CASES)
def test_rows_70_72_meddling_with_a_link_makes_no_wrong_sum(case: str) -> None:
    made = Meddled(1, CASES[case]).run()
    (end,) = made.ends
    kind = case.split()[0]
    if kind in ("cut", "double"):  # it comes back, or it is as if nothing were
        assert end.result is not None and len(end.result.contributors) == 4


def test_frames_that_are_turned_round_are_in_no_wrong_sum() -> None:
    held = list[bytes]()

    def turned(up: bool, number: int, frame: bytes) -> list[bytes]:
        if up and number == 2:
            held.append(frame)
            return []
        return [frame, *(held.pop() for _ in held[:])] if up else [frame]

    (end,) = Meddled(1, turned).run().ends
    assert end.nonce
