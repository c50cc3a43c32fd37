"""The pace around a server's real rounds, and around a client's (specs/50-service.md §2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from secagg.effects import Peer
from secagg.errors import ParameterError, RemoteProtocolError, WireError
from secagg.fields import Integer
from secagg.plans.terms import Terms
from secagg.rounds.asked import MOST_ASKED, AskedRounds
from secagg.rounds.client import ClientRounds
from secagg.rounds.course import ANSWER, RETRY, Pace
from secagg.rounds.offer import Consent, Contribution
from secagg.rounds.pace import MOST_UNASKED, Paced, Scheduled
from secagg.rounds.quota import Limits
from secagg.rounds.server import ServerRounds
from secagg.types import PartyId
from secagg.wire.frame import Announce
from secagg.wire.pace import Asked, Later, Ready, Why, decode_pace, is_pace
from tests.rounds.world import SERVER, nonce

TERMS = Terms.of({"votes": Integer(2, 9)}, (3, 8), population=20, corrupt=0, dropout=0)


def paced(pace: Pace, enrolled: int = 8, epoch: float = 0.0, **more: Any) -> Paced:
    tasks = {"votes": Scheduled(TERMS, pace, lambda: enrolled, **more)}
    inner = ServerRounds(Limits(links_each=2))
    return Paced(inner, tasks, of=lambda peer: peer.address, epoch=epoch)


def peer(number: int, task: str | None = "votes") -> Peer:
    return Peer(f"link {number}", b"id %d" % number, address=task)


def said(server: Paced) -> dict[Peer, Any]:
    return {post.peer: decode_pace(post.frame.encode()) for post in server.take().posts}


class Site:
    """A client of that service."""

    def __init__(self, number: int) -> None:
        self.peer = peer(number)
        self.rounds = AskedRounds(ClientRounds(Consent(terms=TERMS)))
        self.gone = False

    def step(self, server: Paced, now: float) -> bool:
        effects = self.rounds.take()
        for post in effects.posts:
            server.received(self.peer, post.frame.encode(), now)
        for offer in self.rounds.rounds.asked():
            given = Contribution({"votes": np.array([1, 2])})
            self.rounds.rounds.contribute(offer, given, now)
        if effects.let_go and not self.gone:
            self.gone = True
            server.left(self.peer, now)
        return bool(effects.posts or effects.let_go)


def test_from_asking_to_a_sum() -> None:
    server, now = paced(Pace(3, 4)), 10.0
    sites = [Site(number) for number in range(6)]
    for site in sites[:3]:
        server.joined(site.peer, now)
        site.rounds.joined(SERVER, now)
    moved = True
    while moved:
        effects = server.take()
        moved = bool(effects.posts)
        for post in effects.posts:
            site = next(one for one in sites if one.peer == post.peer)
            site.rounds.received(SERVER, post.frame.encode(), now)
        for work in effects.work:
            server.finished(work, work.job(), now)
            moved = True
        moved = any([site.step(server, now) for site in sites[:3]]) or moved
        ends = server.ends()
        if ends:
            break
    ((name, end),) = ends
    assert name == "votes" and end.get().sum["votes"].tolist() == [3, 6]
    assert server.tasks["votes"].line.rounds == 1


def test_silence_frees_the_place_and_others_hear_when_to_come_back() -> None:
    server = paced(Pace(3, 4))
    peers = [peer(number) for number in range(3)]
    for one in peers[:2]:
        server.joined(one, 0.0)
        assert said(server) == {}
    server.joined(peers[2], 0.0)
    asked = said(server)
    assert asked.keys() == {*peers} and all(isinstance(one, Asked) for one in asked.values())
    late = [peer(number) for number in (3, 4)]
    for one in late:
        server.joined(one, 1.0)
    ready = Ready(asked[peers[0]].nonce).encode()
    server.received(peers[0], ready, 2.0)
    server.received(peers[0], ready, 2.0)
    assert said(server) == {} and server.take().due == ANSWER
    server.tick(ANSWER)
    line = server.tasks["votes"].line
    assert [line.of(one.identity or b"").misses for one in peers] == [0, 1, 1]
    assert not said(server), "too few: it waits, and asks those that missed none first"
    server.tick(ANSWER + 2.0)
    again = said(server)
    assert {*peers[:1], *late} <= again.keys()
    for one in (peers[0], *late):
        server.received(one, Ready(again[one].nonce).encode(), ANSWER + 3.0)
    server.tick(2 * ANSWER + 2.0)
    taken = server.take()
    kinds = {post.peer: post.frame.encode()[1] for post in taken.posts}
    assert {one for one, kind in kinds.items() if kind == 1} == {peers[0], *late}
    laters = [decode_pace(p.frame.encode()) for p in taken.posts if p.frame.encode()[1] == 14]
    assert [(one.seconds, one.why) for one in laters if isinstance(one, Later)] == [
        (RETRY, Why.FULL),
        (RETRY, Why.FULL),
    ]


def test_more_enrolled_than_the_terms_count_is_no_round_until_there_are_fewer() -> None:
    """Nobody who is here tells when somebody who is not is revoked."""
    people = 21
    tasks = {"votes": Scheduled(TERMS, Pace(3, 4), lambda: people)}
    server = Paced(ServerRounds(), tasks, of=lambda peer: peer.address)
    for number in range(4):
        server.joined(peer(number), 0.0)
    course = server.tasks["votes"]
    assert said(server) == {} and "21 are enrolled" in course.waits and course.due == RETRY
    people = 20
    server.tick(course.due)
    assert len(said(server)) == 4 and not course.waits


def test_no_round_begins_while_it_is_prevented_and_the_task_says_why() -> None:
    """Neither is anybody asked, nor does a round begin of those who were; once nothing is in the
    way it begins by itself."""
    why = "no room"
    server, now = paced(Pace(3, 3), prevented=lambda: why), 10.0
    for number in range(3):
        server.joined(peer(number), now)
    course = server.tasks["votes"]
    assert not said(server) and course.waits == "no room" and course.due == now + RETRY
    server.tick(now := course.due)
    assert not said(server)
    why = ""
    server.tick(now := course.due)
    asked = said(server)
    assert len(asked) == 3 and not course.waits
    why = "no room any more"
    for one, frame in asked.items():
        server.received(one, Ready(frame.nonce).encode(), now)
    assert course.running is None and course.waits == why
    why = ""
    server.tick(now := course.due)
    for one, frame in said(server).items():
        server.received(one, Ready(frame.nonce).encode(), now)
    assert course.running is not None and not course.waits


def test_operator() -> None:
    server = paced(Pace(3, 4))
    server.pause("votes", 0.0)
    peers = [peer(number) for number in range(3)]
    for one in peers:
        server.joined(one, 0.0)
    assert {frame.why for frame in said(server).values()} == {Why.PAUSED} and server.idle
    for one in peers:
        server.left(one, 1.0)
    server.resume("votes", 2.0)
    for one in peers:
        server.joined(one, 2.0)
    assert all(isinstance(frame, Asked) for frame in said(server).values()) and not server.idle
    server.cancel("votes", 3.0)
    assert server.idle and server.take().due == 3.0 + RETRY
    server.drain(4.0)
    assert {frame.why for frame in said(server).values()} == {Why.DRAINING}


def test_who_has_no_task_or_says_what_no_client_says_is_let_go() -> None:
    server = paced(Pace(3, 4))
    for one in (peer(0, None), peer(1, "other"), Peer("nobody", None, address="votes")):
        server.joined(one, 0.0)
        assert server.take().let_go == (one,)
    for frame in (Later(bytes(16), 1, Why.FULL).encode(), Ready(bytes(16)).encode() + b"\0"):
        server.joined(peer(2), 0.0)
        server.received(peer(2), frame, 0.0)
        assert server.take().let_go == (peer(2),) and server.tasks["votes"].candidates == 0
    server.joined(peer(3), 0.0)
    for _ in range(MOST_UNASKED):
        server.received(peer(3), Ready(bytes(16)).encode(), 0.0)
        assert not server.take().let_go
    server.received(peer(3), Ready(bytes(16)).encode(), 0.0)
    assert server.take().let_go == (peer(3),)


def test_paces_that_terms_do_not_have() -> None:
    for least, target in ((2, 4), (3, 9), (5, 4)):
        with pytest.raises(ParameterError, match="must be an integer"):
            paced(Pace(least, target))
    wide = Terms.of({"votes": Integer(2, 9)}, (3, 80), corrupt=0, dropout=0)
    with pytest.raises(ParameterError, match="cut to 64, which is below it"):
        Pace(65, 70).check(wide)
    for more in ({"spare": 1.5}, {"every": -1.0}):
        with pytest.raises(ParameterError):
            Pace(3, 4, **more)  # type: ignore[arg-type]


def test_a_client_answers_and_goes_when_it_is_told_to() -> None:
    client = AskedRounds(ClientRounds(Consent(terms=TERMS)))
    client.joined(SERVER, 0.0)
    client.received(SERVER, Asked(nonce(1), 5).encode(), 0.0)
    (post,) = client.take().posts
    assert decode_pace(post.frame.encode()) == Ready(nonce(1))
    assert client.later() is None
    client.received(SERVER, Later(bytes(16), 2500, Why.NOT_DUE).encode(), 0.0)
    assert client.take().let_go == (SERVER,)
    client.left(SERVER, 0.0)
    away = client.later()
    assert away is not None and (away.seconds, away.why) == (2.5, Why.NOT_DUE)
    assert client.later() is None


def test_who_has_enough_is_not_ready_for_another_round() -> None:
    """A round that counted on it would wait for nobody, and so would a service that drains."""
    client = AskedRounds(ClientRounds(Consent(terms=TERMS)), most=1)
    client.joined(SERVER, 0.0)
    client.received(SERVER, Asked(nonce(1), 5).encode(), 0.0)
    assert len(client.take().posts) == 1
    announced = Announce(nonce(9), PartyId(0), (1000,) * 4, TERMS.plan(4, 20).encode(), b"")
    client.received(SERVER, announced.encode(), 0.0)
    client.take()
    client.received(SERVER, Asked(nonce(2), 5).encode(), 0.0)
    assert not any(is_pace(post.frame.encode()) for post in client.take().posts)


def test_a_server_that_asks_for_ever_or_is_ready_is_at_fault() -> None:
    client = AskedRounds(ClientRounds(Consent(terms=TERMS)))
    client.joined(SERVER, 0.0)
    with pytest.raises(RemoteProtocolError, match="asks who is ready"):
        client.received(SERVER, Ready(nonce(1)).encode(), 0.0)
    with pytest.raises(WireError):
        client.received(SERVER, Ready(nonce(1)).encode() + b"\0", 0.0)
    for number in range(MOST_ASKED):
        client.received(SERVER, Asked(nonce(number + 1), 5).encode(), 0.0)
    with pytest.raises(RemoteProtocolError, match="opened no round"):
        client.received(SERVER, Asked(nonce(99), 5).encode(), 0.0)


OTHER = Terms.of({"votes": Integer(4, 9)}, (3, 8), population=20, corrupt=0, dropout=0)


def running(server: Paced, least: int, now: float = 0.0) -> bytes:
    """A round of the task, of that many who were ready."""
    peers = [peer(number) for number in range(least)]
    for one in peers:
        server.joined(one, now)
    asked = said(server)
    for one in peers:
        server.received(one, Ready(asked[one].nonce).encode(), now)
    found = server.tasks["votes"].running
    assert found is not None
    return found


def scheduled(terms: Terms = TERMS, pace: Pace | None = None, payload: bytes = b"") -> Scheduled:
    return Scheduled(terms, pace or Pace(3, 3), lambda: 8, payload, hold=True)


def test_other_terms_are_those_of_the_next_round() -> None:
    """One that runs ends as it began, and is no longer than it was."""
    server = paced(Pace(3, 3), hold=True)
    nonce = running(server, 3)
    server.become({"votes": scheduled(OTHER, payload=b"new")}, 1.0)
    course = server.tasks["votes"]
    assert (course.running, course.terms) == (nonce, TERMS)
    server.cancel("votes", 2.0)
    assert [one.nonce for _, one in server.ends()] == [nonce]
    server.tell(nonce, 2.0)
    assert (course.running, course.terms) == (None, OTHER)
    server.become({"votes": scheduled(TERMS)}, 3.0)
    assert course.terms == TERMS, "none runs: at once"
    with pytest.raises(ParameterError):
        server.become({"votes": scheduled(OTHER, Pace(3, 9))}, 4.0)
    assert course.terms == TERMS


def test_a_task_that_is_gone_ends_its_round_first_and_may_come_again() -> None:
    server = paced(Pace(3, 3), hold=True)
    nonce, course = running(server, 3), server.tasks["votes"]
    server.become({"others": scheduled(OTHER)}, 1.0)
    assert server.tasks.keys() == {"votes", "others"} and course.held is Why.DRAINING
    server.joined(peer(7, "others"), 1.0)
    assert server.tasks["others"].candidates == 1
    server.cancel("votes", 2.0)
    server.ends()
    server.tell(nonce, 2.0)
    assert server.tasks.keys() == {"others"}
    assert {one.name for one in server.take().let_go} == {"link 0", "link 1", "link 2"}
    server.joined(peer(8), 3.0)
    assert [one.name for one in server.take().let_go] == ["link 8"]
    server.become({"votes": scheduled()}, 4.0)
    again = server.tasks["votes"]
    assert again.held is None and again.line.rounds == 1, "what was known of it is known"
    server.drain(5.0)
    server.become({"votes": scheduled(), "third": scheduled()}, 6.0)
    assert {one.held for one in server.tasks.values()} == {Why.DRAINING}


def test_an_operator_s_pause_outlives_a_change() -> None:
    server = paced(Pace(3, 3))
    server.pause("votes", 0.0)
    server.become({"votes": scheduled(OTHER)}, 1.0)
    assert server.tasks["votes"].held is Why.PAUSED
    server.become({}, 2.0)
    server.become({"votes": scheduled(OTHER)}, 3.0)
    assert server.tasks["votes"].held is Why.PAUSED


def test_rows_of_a_task_wait_for_it_to_come_again() -> None:
    """Also over a restart."""
    first = paced(Pace(3, 3))
    running(first, 3)
    first.pause("votes", 1.0)
    rows = [(w.key, w.value) for w in first.take().writes if w.value is not None]
    other = Paced(ServerRounds(), {"others": scheduled()}, of=lambda peer: peer.address)
    other.restore(rows, 0.0)
    other.become({"votes": scheduled(), "others": scheduled()}, 1.0)
    again = other.tasks["votes"]
    assert (again.held, again.line.rounds, again.running) == (Why.PAUSED, 1, None)


def test_rule_n3_what_changes_between_rounds_changes_when_nobody_is_asked() -> None:
    """And everybody hears later then, as what they know is of before."""
    server, done = paced(Pace(3, 4)), list[str]()
    for number in range(3):
        server.joined(peer(number), 0.0)
    asked = next(iter(said(server).values()))
    server.between("votes", lambda: done.append("first"), 1.0)
    server.between("votes", lambda: done.append("second"), 1.0)
    assert not done and not said(server)
    server.received(peer(0), Ready(asked.nonce).encode(), 2.0)
    server.tick(ANSWER)  # too few: nothing was opened, and the next asking waits for two seconds
    server.tick(ANSWER + 2.0)
    assert done == ["second"]
    told = said(server)
    assert {one.why for one in told.values()} == {Why.NOT_DUE} and len(told) == 3
    server.tick(ANSWER + 3.0)
    assert done == ["second"] and not said(server)


def test_rule_n3_nobody_is_asked_where_there_is_nobody_to_choose_from() -> None:
    number: list[int | None] = [None]
    tasks = {"votes": Scheduled(TERMS, Pace(3, 4), lambda: number[0])}
    server = Paced(ServerRounds(Limits(links_each=2)), tasks, of=lambda peer: peer.address)
    for each in range(3):
        server.joined(peer(each), 0.0)
    assert not said(server) and "no roster" in server.tasks["votes"].waits
    server.between("votes", lambda: number.append(number.pop() or 8), 1.0)
    assert all(isinstance(one, Later) for one in said(server).values())
    server.tick(1.0 + RETRY)
    assert all(isinstance(one, Asked) for one in said(server).values())
