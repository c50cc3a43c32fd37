"""What strangers may hold open, with a clock that is a number."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from secagg.errors import ParameterError
from secagg.rounds.doors import CREDIT, LONGEST, PIECE, SLOWEST, SMALL, Doors
from secagg.rounds.quota import SPARE, Limits, most_crowding
from secagg.watch import Refused, Watch

MIB = 1 << 20
PIECES = Limits().fragments


def opened(doors: Doors, *links: str, address: str = "here", now: float = 0.0) -> None:
    for link in links:
        doors.opened(link, address, now)


def reads(doors: Doors, link: str, now: float = 0.0, **said: int) -> bool:
    return doors.reads(link, now, **{"pieces": 0, "size": 0, "pending": 0, "got": 0, **said})


def holding(doors: Doors, link: str, pending: int, now: float = 0.0, got: int = 0) -> bool:
    """A link that has said so much of a message, and may read on or not."""
    doors.opened(link, "here", now)
    doors.greeted(link, now)
    return reads(doors, link, now, pending=pending, got=got)


def room(large: int) -> Limits:
    """For large messages; there is a third of it for small ones."""
    return Limits(unfinished=large + large // 3)


def due(doors: Doors) -> float:
    return doors.take().due


# Half-open links


@pytest.mark.parametrize("greeted", [False, True])
def test_a_link_has_so_long_to_get_through_the_door(greeted: bool) -> None:
    """Row 68: one that says nothing, or no whole header, or finishes no upgrade, is one case."""
    doors = Doors(Limits(opening=10.0))
    opened(doors, "a", now=5.0)
    assert due(doors) == 15.0
    if greeted:
        doors.greeted("a", 14.0)
    doors.tick(14.9)
    assert doors.take().cut == {}
    doors.tick(15.0)
    assert list(doors.take().cut) == ([] if greeted else ["a"])
    assert due(doors) == math.inf


def test_a_link_that_is_let_go_and_does_not_go_is_cut() -> None:
    """It may not read what was said last, and would be held for ever."""
    doors = Doors(Limits(leaving=5.0))
    opened(doors, "a", "b")
    for link in ("a", "b"):
        doors.greeted(link, 1.0)
        doors.leaving(link, 2.0)
        doors.leaving(link, 3.0)
    doors.closed("b", 4.0)
    assert due(doors) == 7.0
    doors.tick(7.0)
    assert list(doors.take().cut) == ["a"]


def test_each_step_on_the_way_in_has_its_seconds() -> None:
    """Row 68: a handshake, where there is one, a header, and what is asked that is no link."""
    doors = Doors(Limits(handshake=1.0, opening=10.0, request=100.0))
    doors.opened("a", "here", 5.0, tls=True)
    assert due(doors) == 6.0
    doors.secured("a", 6.0)
    assert due(doors) == 16.0
    doors.asked("a", 7.0)
    assert due(doors) == 107.0
    doors.answered("a", 50.0)
    assert due(doors) == 60.0
    doors.tick(60.0)
    assert list(doors.take().cut) == ["a"]
    for late in (doors.secured, doors.asked, doors.answered):
        late("a", 61.0)
    assert due(doors) == math.inf


def test_a_step_makes_nobody_younger() -> None:
    """Row 69: else whoever takes one more goes before those that came after it."""
    doors = Doors(Limits(passing=2))
    opened(doors, "a", "b")
    doors.secured("a", 1.0)
    opened(doors, "c", now=2.0)
    assert list(doors.take().cut) == ["a"]


def test_a_link_that_is_asked_who_it_is_is_a_stranger_until_it_has_said_so() -> None:
    """Row 69: one count from the accept to the end of the greeting, whose time is of those who
    ask."""
    doors = Doors(Limits(passing=2))
    for link in ("a", "b"):
        opened(doors, link)
        doors.greeted(link, 0.0)
        doors.unknown(link, 0.0)
    assert due(doors) == math.inf
    doors.known("a", 1.0)
    opened(doors, "c", "d", now=2.0)
    assert list(doors.take().cut) == ["b"]


def test_a_stranger_s_message_is_small_and_the_others_are_not() -> None:
    doors = Doors(Limits(stranger=1000))
    opened(doors, "a", "b", "c")
    for link in ("a", "b", "c"):
        doors.greeted(link, 0.0)
        assert reads(doors, link, pending=1001), "nobody asks"
        assert reads(doors, link)
    doors.unknown("a", 0.0)
    doors.unknown("b", 0.0)
    doors.known("b", 1.0)
    assert reads(doors, "a", pending=1000) and not reads(doors, "a", pending=1001)
    assert reads(doors, "b", pending=1001)
    assert "1001 bytes, and it has not said who it is" in doors.take().cut["a"].words


def test_a_message_is_as_large_as_what_is_due_when_it_begins() -> None:
    """What is due may become less while it comes, and then holds for the next one."""
    doors = Doors()
    opened(doors, "a", "b")
    for link in ("a", "b"):
        doors.greeted(link, 0.0)
        assert reads(doors, link, message=100, pending=100, most=100)
    assert reads(doors, "a", message=100, pending=100, got=50, most=10)
    assert not reads(doors, "a", message=11, pending=111, most=10), "another has begun behind it"
    assert reads(doors, "b", message=0, pending=100, got=100, most=10)
    assert reads(doors, "b", message=10, pending=110, got=100, most=10)
    assert not reads(doors, "b", message=101, pending=201, got=101, most=1000), "of fragments"
    cut = doors.take().cut
    assert cut["a"] == (Refused.TOO_LARGE, "a message of 11 bytes, and at most 10 are due from it")
    assert cut["b"].why is Refused.TOO_LARGE


class Heard(Watch):
    """What was told, in its order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def refused(self, why: Refused) -> None:
        self.told.append(why)

    def linked(self, seconds: float) -> None:
        self.told.append(seconds)


def test_what_is_cut_is_counted_by_why_and_who_is_known_by_its_seconds() -> None:
    """Also where nothing is written: a flood is a few lines of the log, and all of the numbers."""
    heard = Heard()
    doors = Doors(Limits(passing=1, stranger=10), heard)
    opened(doors, *range(30))  # type: ignore[arg-type]
    assert heard.told == [Refused.FULL] * 29
    del heard.told[:]
    doors.greeted(29, 1.0)
    doors.unknown(29, 1.0)
    doors.known(29, 2.5)
    opened(doors, "late", now=3.0)
    doors.tick(10.0)
    for link in ("crumbs", "strange"):
        opened(doors, link, now=11.0)
        doors.greeted(link, 11.0)
    reads(doors, "crumbs", 11.0, pieces=1000)
    doors.unknown("strange", 11.0)
    reads(doors, "strange", 11.0, pending=11)
    doors.starved(12.0)
    assert heard.told == [2.5, Refused.SLOW, Refused.CRUMBS, Refused.TOO_LARGE]


def test_how_many_there_are_and_how_much_they_have_sent() -> None:
    doors = Doors()
    opened(doors, "a", "b", "c")
    doors.greeted("a", 0.0)
    assert (doors.passing, doors.buffered) == (2, 0)
    assert reads(doors, "a", pending=MIB, got=1000)
    assert doors.buffered == 1000
    reads(doors, "a")
    assert doors.buffered == 0


def test_a_stranger_that_is_let_go_has_the_seconds_of_those_who_leave() -> None:
    doors = Doors(Limits(leaving=5.0))
    opened(doors, "a")
    doors.greeted("a", 0.0)
    doors.unknown("a", 0.0)
    doors.leaving("a", 1.0)
    assert due(doors) == 6.0
    doors.unknown("a", 2.0)
    doors.leaving("a", 3.0)
    doors.tick(6.0)
    assert list(doors.take().cut) == ["a"]


def test_it_is_full_while_all_links_are_of_those_who_are_known() -> None:
    """Row 69: of a link that nobody asks who it is, its rounds say whether it makes room."""
    doors = Doors(Limits(links=2))
    for link in ("nobody asks", "a", "b", "c"):
        opened(doors, link)
        doors.greeted(link, 0.0)
    for link in ("a", "b", "c"):
        assert not doors.full
        doors.unknown(link, 0.0)
    doors.known("a", 0.0)
    doors.known("a", 0.0)
    assert not doors.full
    doors.known("b", 0.0)
    assert doors.full
    doors.closed("a", 0.0)
    assert not doors.full
    doors.known("c", 0.0)
    assert doors.full
    doors.leaving("b", 0.0)
    doors.closed("b", 0.0)
    assert not doors.full, "and it is counted off once"
    for late in (doors.unknown, doors.known, doors.leaving):
        late("b", 1.0)
    assert not doors.full


def test_in_a_full_door_the_oldest_of_the_address_that_holds_most_goes() -> None:
    """Row 69."""
    doors = Doors(Limits(passing=4))
    opened(doors, "honest", address="there")
    opened(doors, "a", "b", "c")
    assert doors.take().cut == {}
    opened(doors, "d")
    opened(doors, "e", address="elsewhere")
    assert list(doors.take().cut) == ["a", "b"], "never the one that is older, and alone"
    doors.greeted("honest", 1.0)
    opened(doors, "f")
    assert doors.take().cut == {}, "whoever is through has left room"


def test_without_descriptors_whoever_passes_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    """Row 100."""
    doors = Doors()
    doors.starved(0.0)
    assert doors.take().cut == {}
    opened(doors, "a", "b")
    doors.greeted("a", 0.0)
    doors.starved(0.0)
    assert list(doors.take().cut) == ["b"]
    assert "no descriptor is left" in caplog.text


def test_a_flood_at_the_door_is_a_few_lines_with_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doors = Doors(Limits(passing=1))
    opened(doors, *(f"link {number}" for number in range(5000)), address="192.0.2.9")
    doors.starved(0.0)
    assert len(caplog.records) < 20 and "of 192.0.2.9 was cut" in caplog.text
    doors.close()
    assert "4990 more lines like this were left out: link-cut, full" in caplog.text


def test_links_that_were_cut_or_never_came_are_no_surprise() -> None:
    doors = Doors(Limits(passing=1))
    opened(doors, "a", "b")
    for call in (doors.greeted, doors.leaving, doors.closed):
        call("a", 0.0)
    assert not reads(doors, "a") and list(doors.take().cut) == ["a"]
    doors.closed("b", 0.0)
    doors.tick(100.0)
    assert doors.take().cut == {} and doors.quiet


# Crumbs


@pytest.mark.parametrize("what", ["fragments", "pings"])
def test_each_piece_brings_bytes_or_time(what: str) -> None:
    doors = Doors()
    opened(doors, "a")
    doors.greeted("a", 0.0)
    assert reads(doors, "a", pieces=PIECES)
    assert reads(doors, "a", pieces=PIECES + 3, size=3 * PIECE)
    assert reads(doors, "a", 100.0, pieces=PIECES + 100), "a ping a second, all day long"
    assert not reads(doors, "a", 100.0, pieces=PIECES + 101)
    assert "crumbs" in doors.take().cut["a"].words


# Messages that are not whole


def test_a_message_waits_for_room_for_all_of_it() -> None:
    """And is read on as soon as there is some, in the order of asking as far as it fits."""
    doors = Doors(room(10 * MIB))
    assert holding(doors, "a", 6 * MIB) and holding(doors, "b", 4 * MIB)
    assert not holding(doors, "c", 5 * MIB) and not holding(doors, "d", 7 * MIB)
    assert not holding(doors, "e", MIB)
    assert doors.take().read_on == ()
    assert reads(doors, "a"), "it was whole, and taken"
    assert doors.take().read_on == ("c", "e")
    doors.closed("c", 0.0)
    doors.closed("b", 0.0)
    assert doors.take().read_on == ("d",)


def test_whoever_leaves_before_it_is_read_on_leaves_its_room_to_the_next() -> None:
    """A connection that is gone is not named again, to whoever would read on what is closed."""
    doors = Doors(room(MIB))
    assert holding(doors, "a", MIB)
    assert not holding(doors, "b", MIB) and not holding(doors, "c", MIB)
    doors.closed("a", 0.0)
    doors.closed("b", 0.0)
    assert doors.take().read_on == ("c",)


@pytest.mark.parametrize("size", [SMALL, SMALL + 1])
def test_the_limit_itself_fits_and_a_byte_more_waits(size: int) -> None:
    """Of each kind; and neither kind takes the other's room."""
    few = 12
    most = few * size if size > SMALL else 3 * few * size
    doors = Doors(Limits(unfinished=most + most // 3))
    assert all(holding(doors, f"{i}", size) for i in range(few - 1))
    assert not holding(doors, "above", size + 1) or size == SMALL
    doors.closed("above", 0.0)
    assert holding(doors, "last", size)
    assert not holding(doors, "another", 1 if size == SMALL else SMALL + 1)
    assert holding(doors, "other kind", SMALL + 1 if size == SMALL else SMALL)


def test_a_message_that_is_larger_than_all_room_comes_alone() -> None:
    doors = Doors(room(2 * SMALL))
    assert holding(doors, "a", MIB)
    assert not holding(doors, "b", SMALL + 1)
    assert reads(doors, "a", pending=2 * MIB), "it grows, by another fragment"
    doors.closed("a", 0.0)
    assert doors.take().read_on == ("b",)


def test_fragments_that_grow_into_a_large_message_leave_the_room_of_small_ones() -> None:
    doors = Doors(room(3 * SMALL))
    assert holding(doors, "a", SMALL) and not holding(doors, "b", 1)
    assert reads(doors, "a", pending=2 * SMALL)
    assert reads(doors, "a"), "whole, and taken"
    assert doors.take().read_on == ("b",)
    assert holding(doors, "c", 3 * SMALL)


def test_while_nobody_waits_a_message_may_take_its_time() -> None:
    doors = Doors(Limits(unfinished=MIB))
    assert holding(doors, "a", MIB, got=1)
    assert due(doors) == math.inf
    doors.tick(1e6)
    assert doors.take().cut == {}


def test_withheld_bytes_make_room_for_whoever_waits() -> None:
    """Row 68: sixty links that lack one byte each. An honest message waits for a few credits, not
    for ever, and a small one does not wait at all."""
    doors, whole = Doors(), 16 * MIB
    admitted = [holding(doors, f"evil {i}", whole, got=whole - 1) for i in range(60)]
    assert sum(admitted) == 12
    assert not holding(doors, "honest", whole, now=1.0)
    assert holding(doors, "small", SMALL, now=1.0)
    cut, read_on, now = 0, (), 1.0
    while "honest" not in read_on:
        now = due(doors)
        doors.tick(now)
        verdicts = doors.take()
        assert all(str(link).startswith("evil") for link in verdicts.cut)
        cut, read_on = cut + len(verdicts.cut), verdicts.read_on
    assert now <= 60 / 12 * CREDIT and cut < 60


@pytest.mark.parametrize(("speed", "lasts"), [(SLOWEST, LONGEST), (SLOWEST // 2, CREDIT + 1)])
def test_whoever_is_fast_enough_keeps_its_room_for_so_long(speed: int, lasts: float) -> None:
    """While another waits: by its credit, which bytes extend, and in the end by the clock."""
    doors = Doors(room(MIB))
    assert holding(doors, "a", MIB)
    assert not holding(doors, "b", MIB)
    seconds, got = 0.0, 0
    while not (cut := doors.take().cut):
        seconds, got = seconds + 1.0, got + speed
        doors.tick(seconds)
        reads(doors, "a", seconds, pending=MIB, got=min(got, MIB - 1))
    assert list(cut) == ["a"]
    assert seconds == lasts


def test_a_burst_earns_no_more_than_the_credit() -> None:
    doors = Doors(room(MIB))
    assert holding(doors, "a", MIB, got=1)
    assert not holding(doors, "b", MIB)
    assert reads(doors, "a", 1.0, pending=MIB, got=MIB - 1)
    assert due(doors) == 1.0 + CREDIT
    assert reads(doors, "a", 2.0, pending=MIB, got=MIB - 1)
    assert due(doors) == 1.0 + CREDIT, "saying nothing earns nothing"


def test_a_message_that_has_come_is_not_cut_because_we_are_late() -> None:
    doors = Doors(room(MIB))
    assert holding(doors, "a", MIB, got=MIB)
    assert not holding(doors, "b", MIB)
    doors.tick(1e6)
    assert doors.take().cut == {}


# The numbers


def test_who_goes_is_of_the_address_that_holds_most() -> None:
    assert most_crowding({1: "a", 2: "b", 3: "b", 4: "a", 5: "b"}) == 2
    assert most_crowding({1: "a", 2: "b"}) == 1
    assert most_crowding({7: None}) == 7


@pytest.mark.parametrize(
    ("descriptors", "links", "passing"),
    [(None, 10_000, 512), (1 << 20, 10_000, 512), (1024, 832, 128), (256, 160, 32), (80, 6, 10)],
)
def test_limits_fit_what_the_process_may_open(
    descriptors: int | None, links: int, passing: int
) -> None:
    fitted = Limits().within(descriptors)
    assert (fitted.links, fitted.passing) == (links, passing)


def test_a_process_that_may_open_nothing_serves_nobody() -> None:
    with pytest.raises(ParameterError, match="descriptors for links"):
        Limits().within(SPARE)


@pytest.mark.parametrize("links", [2, 7, 100, 832, 833, 1000, 1728, 1729, 5000, 10_000])
def test_the_descriptors_that_so_many_links_need_are_the_fewest(links: int) -> None:
    needed = Limits().descriptors(links)
    assert Limits().within(needed).links >= links
    assert Limits().within(needed - 1).links < links


@pytest.mark.parametrize(
    "wrong",
    [
        *({"passing": 0}, {"unfinished": 0}, {"links_address": 0}),
        *({"stranger": 0}, {"fragments": 0}, {"opening": 0.0}, {"leaving": -1.0}),
        *({"handshake": 0.0}, {"hello": 0.0}, {"request": 0.0}, {"ping": 0.0}, {"pong": 0.0}),
    ],
)
def test_limits_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Limits(**wrong)


def test_the_specification_has_these_numbers() -> None:
    """specs/01-wire.md §8, in the order of its rows."""
    text = (Path(__file__).parents[2] / "specs" / "01-wire.md").read_text()
    rows = [line.split("|")[2] for line in text[text.index("## §8") :].splitlines() if "|" in line]
    numbers = [[int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", row)] for row in rows[2:]]
    usual = Limits()
    assert numbers == [
        [usual.passing],
        [usual.handshake],
        [usual.opening],
        [usual.request],
        [usual.hello],
        [usual.leaving],
        [usual.stranger],
        [usual.links, SPARE],
        [usual.links_each],
        [],
        [usual.fragments, PIECE],
        [usual.unfinished, SMALL],
        [CREDIT, SLOWEST, LONGEST],
        [usual.frames],
        [usual.outbox, usual.backlog],
        [usual.silence],
        [usual.rounds],
        [usual.ping, usual.pong],
    ]
    assert usual.links_address >= usual.links and usual.bytes_between == 4 * usual.frame
