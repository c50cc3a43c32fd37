"""One report: said over every link, and done when every server has signed for it."""

from __future__ import annotations

import math

import pytest

from secagg.effects import Claim, Peer, Work
from secagg.errors import InputError, LinkTimeout, LocalProtocolError
from secagg.plans.task import Task
from secagg.rounds.greeting import callees, message_limit
from secagg.rounds.report import ReportRounds
from secagg.types import AbortReason, PartyId, server_id
from secagg.wire.frame import HEAD_SIZE, Message, Over
from tests.rounds.several import KEYS, TASK, Servers, toy, vector

DIRECT = Task(toy(3, 3, True), KEYS.committee)
PEERS = {party: peer for peer, party in callees(TASK).items()}
LEADER = PEERS[server_id(0)]
NONCE, NONCE_DIRECT = TASK.nonce(), DIRECT.nonce()


def rounds(task: Task = TASK, seconds: float = 60.0) -> ReportRounds:
    made = ReportRounds(task, {"update": vector(0)})
    made.attempt(seconds, 0.0)
    return made


def posts(of: ReportRounds) -> dict[Peer, list[bytes]]:
    said: dict[Peer, list[bytes]] = {}
    for post in of.take().posts:
        said.setdefault(post.peer, []).append(post.frame.encode())
    return said


def carry(of: ReportRounds, servers: Servers, me: int = 0) -> int:
    """What is posted reaches the servers, and what they answer comes back; how many frames."""
    count, parties = 0, callees(TASK)
    for peer, frames in posts(of).items():
        for frame in frames:
            count += 1
            for said in servers.hear(parties[peer], PartyId(me), frame[HEAD_SIZE:]):
                of.received(peer, Message(of._nonce, said).encode(), 0.0)
    return count


def test_a_leader_that_relays_is_told_once_and_answers_for_all() -> None:
    one = rounds()
    one.joined(LEADER, 0.0)
    assert carry(one, Servers()) == 1
    assert one.over
    outcome = one.outcome()
    assert (outcome.stored, outcome.links, outcome.detail) == (True, 1, "")
    assert outcome.bytes_up > 0 and outcome.clipped == {}
    assert one.take().due == math.inf


def test_in_direct_mode_every_server_signs_for_itself() -> None:
    one, servers = rounds(DIRECT), Servers(DIRECT)
    for number, peer in enumerate(PEERS.values()):
        assert not one.over
        one.joined(peer, float(number))
        carry(one, servers)
    assert one.outcome().stored and one.outcome().links == 3


def test_a_new_link_hears_the_same_bytes() -> None:
    """Row 71, rule A1: however often links break, a server has one report."""
    one = rounds()
    one.joined(LEADER, 0.0)
    first = posts(one)
    one.left(LEADER, 1.0)
    assert posts(one) == {}
    one.joined(LEADER, 2.0)
    assert posts(one) == first
    one.left(LEADER, 3.0)
    one.joined(LEADER, 3.0)
    assert carry(one, Servers()) == 1
    assert one.outcome().links == 3


def test_a_link_that_has_ended_already_takes_nothing_with_it() -> None:
    one = rounds()
    one.left(LEADER, 0.0)
    one.joined(LEADER, 0.0)
    assert posts(one)


def test_time_ends_an_attempt_and_not_the_report() -> None:
    """Both texts: what was never sent may be made again, what was must not."""
    one = rounds(seconds=7.5)
    assert one.take().due == 7.5
    one.tick(7.49)
    assert not one.over
    with pytest.raises(LocalProtocolError, match="under way"):
        one.outcome()
    one.tick(7.5)
    with pytest.raises(LinkTimeout, match=r"reached within 7\.5 seconds, and nothing was sent"):
        one.outcome()
    assert one.take().due == math.inf
    one.attempt(2, 10.0)
    assert not one.over and one.take().due == 12.0
    one.joined(LEADER, 10.0)
    first = posts(one)
    one.tick(12.0)
    with pytest.raises(LinkTimeout, match="within 2 seconds. It may be stored or not"):
        one.outcome()
    one.left(LEADER, 12.0)
    one.attempt(60, 13.0)
    one.joined(LEADER, 13.0)
    assert first[LEADER][0] in posts(one)[LEADER]
    one.joined(LEADER, 13.0)
    carry(one, Servers())
    one.tick(1000.0)
    assert one.outcome().stored


def test_what_no_honest_server_says_ends_it() -> None:
    one = rounds()
    one.joined(LEADER, 0.0)
    one.received(LEADER, Message(NONCE, b"no message").encode(), 0.0)
    outcome = one.outcome()
    assert outcome.reason is AbortReason.PEER_FAULT and "malformed" in outcome.detail
    assert not outcome.stored


def test_whom_no_link_leads_to_does_not_hear_of_the_end() -> None:
    one = rounds(DIRECT)
    one.joined(LEADER, 0.0)
    posts(one)
    one.received(LEADER, Message(NONCE_DIRECT, b"no message").encode(), 0.0)
    assert list(posts(one)) == [LEADER] and not one.outcome().stored


def test_a_server_may_say_that_it_has_ended() -> None:
    """An abort of a server is the reason, and there are words for it."""
    from secagg_protocols.reports import messages

    one = rounds()
    one.joined(LEADER, 0.0)
    bound = posts(one)[LEADER][0][HEAD_SIZE:]
    said = messages.abort(bound[3:35], AbortReason.LOST)
    one.received(LEADER, Message(NONCE, said).encode(), 0.0)
    assert (one.outcome().reason, one.outcome().detail) == (AbortReason.LOST, "a server said so")


def test_a_frame_is_no_larger_than_the_largest_of_its_task() -> None:
    """specs/01-wire.md §6 rule 1; one that is larger costs its link, whatever it is for."""
    one, largest = rounds(), message_limit(TASK) - HEAD_SIZE
    one.joined(LEADER, 0.0)
    one.take()
    one.received(LEADER, Message(bytes(16), bytes(largest)).encode(), 0.0)
    assert one.take().let_go == ()
    one.received(LEADER, Message(bytes(16), bytes(largest + 1)).encode(), 0.0)
    assert one.take().let_go == (LEADER,)


def test_what_is_no_frame_costs_its_link_and_another_nonce_nothing() -> None:
    one = rounds()
    one.joined(LEADER, 0.0)
    one.take()
    one.received(LEADER, b"\0", 0.0)
    assert one.take().let_go == (LEADER,)
    one.received(LEADER, Message(bytes(16), b"for another").encode(), 0.0)
    one.received(LEADER, Over(NONCE, None, 1, 0).encode(), 0.0)
    assert one.take().let_go == () and not one.over


def test_an_input_that_does_not_fit_is_refused_before_anything() -> None:
    with pytest.raises(InputError):
        ReportRounds(TASK, {"update": vector(0)[:-1]})
    with pytest.raises(InputError):
        ReportRounds(TASK, {"update": vector(0)}, payload=b"another task")


def test_what_a_report_has_no_use_for() -> None:
    one, work = rounds(), Work(lambda: None, 0)
    one.restore([], 0.0)
    one.flushed(LEADER, 1, 0.0)
    one.finished(work, None, 0.0)
    one.failed(work, ValueError(), 0.0)
    one.refused(Claim(b"", b""), 0.0)
    assert one.ready(LEADER)
    effects = one.take()
    assert (effects.posts, effects.writes, effects.claims, effects.work) == ((), (), (), ())


def test_bytes_are_those_that_a_link_took() -> None:
    """None while nobody is there; over each link anew."""
    one = rounds(DIRECT)
    first, second, _ = PEERS.values()
    for peer in (first, second):
        one.joined(peer, 0.0)
    one.left(second, 0.0)
    one.joined(second, 0.0)
    said = [len(frame) - HEAD_SIZE for frames in posts(one).values() for frame in frames]
    assert len(said) == 3 and one._bytes_up == sum(said)
