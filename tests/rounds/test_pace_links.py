"""What one client, and whoever has its links, does to the rounds of others and to its own
(specs/50-service.md §2)."""

from __future__ import annotations

from typing import Any

import pytest

from secagg.effects import Peer
from secagg.rounds.course import ANSWER, AWAY, Pace
from secagg.rounds.pace import Paced, Scheduled
from secagg.rounds.quota import Limits
from secagg.rounds.server import ServerRounds
from secagg.wire.pace import Asked, Ready, Why
from tests.rounds.test_pace import TERMS, paced, peer, running, said


@pytest.mark.parametrize("why", [Why.PAUSED, Why.FAILED])
def test_a_pause_outlives_a_drain_and_the_process_behind_it(why: Why) -> None:
    """As every SIGTERM drains first."""
    first = paced(Pace(3, 3))
    first.tasks["votes"].hold(why, 0.0)
    first.drain(1.0)
    rows = [(w.key, w.value) for w in first.take().writes if w.value is not None]
    again = paced(Pace(3, 3))
    again.restore(rows, 2.0)
    assert again.tasks["votes"].held is why


def test_who_is_slower_than_others_has_its_turn_as_well() -> None:
    """Five, of whom four are taken; one answers when the other four have, each time."""
    server, taken, asked = paced(Pace(3, 4, every=20.0)), 0, 0
    for number in range(5):
        server.joined(peer(number), 0.0)
    for turn in range(20):
        now = turn * 20.1
        server.tick(now)
        words = {one: word for one, word in said(server).items() if isinstance(word, Asked)}
        asked += peer(4) in words
        for one in sorted(words, key=lambda one: one.name):
            server.received(one, Ready(words[one].nonce).encode(), now)
        course = server.tasks["votes"]
        assert course.running is not None
        taken += peer(4).identity in course._seated
        server.cancel("votes", now + 1.0)
        server.take()
        for number in range(5):
            server.flushed(peer(number), 1 << 20, now)
    assert 2 * taken >= asked - 1 > 10


def test_who_was_outrun_and_is_silent_holds_up_one_asking() -> None:
    server = paced(Pace(3, 3, every=20.0))
    server.pause("votes", 0.0)
    for number in range(4):
        server.joined(peer(number), 0.0)
    server.resume("votes", 0.0)
    course, now, late = server.tasks["votes"], AWAY, []
    for _ in range(4):
        server.tick(now)
        words = {one: word for one, word in said(server).items() if isinstance(word, Asked)}
        for number in range(3):
            if peer(number) in words:
                server.received(peer(number), Ready(words[peer(number)].nonce).encode(), now)
        late.append(course.running is None)
        server.tick(now + ANSWER)
        assert course.running is not None
        server.cancel("votes", now + ANSWER)
        server.take()
        now = course.next
    assert late == [False, True, False, True]
    assert course.line.of(b"id 3").misses == 2


def two_tasks() -> Paced:
    tasks = {name: Scheduled(TERMS, Pace(3, 3), lambda: 3) for name in ("votes", "others")}
    return Paced(ServerRounds(Limits(links_each=2)), tasks, of=lambda peer: peer.address)


def kinds(server: Paced) -> list[tuple[str, int]]:
    """To whom which frames go: 1 announces, 3 ends."""
    return [(post.peer.name, post.frame.encode()[1]) for post in server.take().posts]


def test_a_seat_is_for_links_of_its_task() -> None:
    """One identity is in two tasks: the link for the other hears nothing of a round that it has not
    consented to, and takes no seat of the link that comes back."""
    server = two_tasks()
    running(server, 3)
    server.take()
    server.left(peer(0), 1.0)
    server.joined(Peer("beside", b"id 0", address="others"), 1.0)
    assert kinds(server) == []
    server.joined(Peer("back", b"id 0", address="votes"), 2.0)
    assert ("back", 1) in kinds(server)


def test_a_newer_link_takes_the_seat_of_one_that_is_half_open() -> None:
    server = two_tasks()
    running(server, 3)
    server.joined(Peer("beside", b"id 0", address="others"), 0.5)
    server.take()
    server.joined(Peer("newer", b"id 0", address="votes"), 1.0)
    taken = server.take()
    assert [one.name for one in taken.let_go] == ["link 0"]
    assert ("newer", 1) in [(post.peer.name, post.frame.encode()[1]) for post in taken.posts]
    assert server.ready(Peer("beside", b"id 0", address="others"))
    assert server.tasks["votes"].candidates == 3


def test_the_end_of_a_round_is_told_to_the_link_that_waits_for_it() -> None:
    """Who came back too late for its seat, and has a younger link for something else."""
    server = two_tasks()
    running(server, 3)
    server.left(peer(0), 1.0)
    assert (found := server.tasks["votes"].running) is not None
    inner: Any = server._inner
    one = inner._rounds[found]
    one.machine.lost(one.cohort.seats(b"id 0")[0])
    server.joined(Peer("late", b"id 0", address="votes"), 2.0)
    server.joined(Peer("beside", b"id 0", address="others"), 3.0)
    server.take()
    server.cancel("votes", 4.0)
    assert ("late", 3) in kinds(server)


def test_a_clock_that_was_wrong_keeps_no_task_for_years() -> None:
    """It was wrong when the round began: the next one is in 60 seconds, by whichever."""
    first, other = (paced(Pace(3, 3, every=60.0), epoch=by) for by in (4e9, 1e9))
    running(first, 3, 5.0)
    first.cancel("votes", 6.0)
    rows = [(w.key, w.value) for w in first.take().writes if w.value is not None]
    other.restore(rows, 7.0)
    assert other.tasks["votes"].next == 7.0 + 60.0
