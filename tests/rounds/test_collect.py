"""The collector: whom it asks when, what ends it, and how it takes leave."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from secagg.effects import Claim, Peer, Work
from secagg.errors import Aborted, LocalProtocolError, ParameterError
from secagg.rounds.collect import FIRST_POLL, GOODBYE, LAST_POLL, CollectRounds
from secagg.rounds.greeting import callees, message_limit
from secagg.rounds.report import ReportRounds
from secagg.types import COLLECTOR, AbortReason, PartyId, Seed, server_id
from secagg.wire.frame import HEAD_SIZE, Message, Over
from tests.rounds.several import KEYS, TASK, Servers, vector

NONCE = TASK.nonce(0)
PEERS = list(callees(TASK))
LEADER = PEERS[0]


def rounds(seconds: float = 60.0) -> CollectRounds:
    return CollectRounds(TASK, KEYS.collector, seconds=seconds, now=0.0)


def reported(whose: Sequence[int] = range(3)) -> Servers:
    """Servers that have these reports, and are still open."""
    servers = Servers()
    for who in whose:
        report = ReportRounds(TASK, {"update": vector(who)})
        report.joined(LEADER, 0.0)
        for post in report.take().posts:
            servers.hear(server_id(0), PartyId(who), post.frame.encode()[HEAD_SIZE:])
    return servers


def asked(one: CollectRounds) -> list[Peer]:
    return [post.peer for post in one.take().posts]


def carry(one: CollectRounds, servers: Servers, now: float = 0.0) -> None:
    for post in one.take().posts:
        frame = post.frame.encode()
        for said in servers.hear(callees(TASK)[post.peer], COLLECTOR, frame[HEAD_SIZE:]):
            one.received(post.peer, Message(NONCE, said).encode(), now)


def collected() -> tuple[CollectRounds, Servers]:
    one, servers = rounds(), reported()
    servers.close()
    for peer in PEERS:
        one.joined(peer, 0.0)
    carry(one, servers)
    return one, servers


def test_the_sum_is_exact_and_taken_once_every_server_has_given_its_part() -> None:
    one, _ = collected()
    assert one.done and not one.parted and one.take().due == math.inf
    total = one.aggregate()
    assert total.count == 3
    assert total.levels["update"].tolist() == sum(map(vector, range(3))).tolist()


def test_who_has_not_locked_is_asked_again_more_and_more_slowly() -> None:
    one, servers = rounds(1000.0), reported()
    one.joined(LEADER, 0.0)
    carry(one, servers)
    times, now = [], 0.0
    for _ in range(8):
        now = one.take().due
        one.tick(now - 0.01)
        assert asked(one) == []
        one.tick(now)
        times.append(now)
        carry(one, servers, now)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert times[0] == FIRST_POLL and gaps[:3] == [0.5, 1.0, 2.0]
    assert gaps[-1] == LAST_POLL == max(gaps)
    servers.close()
    for peer in PEERS[1:]:
        one.joined(peer, now)
    one.tick(one.take().due)
    for peer in PEERS:
        one.left(peer, now)
        one.joined(peer, now)
    carry(one, servers, now)
    assert one.done


def test_a_new_link_is_a_new_question_and_who_is_away_is_not_asked() -> None:
    one = rounds()
    one.joined(LEADER, 0.0)
    assert asked(one) == [LEADER]
    one.left(LEADER, 0.0)
    one.left(PEERS[1], 0.0)
    one.tick(FIRST_POLL)
    assert asked(one) == []
    one.joined(LEADER, 1.0)
    assert asked(one) == [LEADER]


def test_a_batch_that_is_open_is_named_when_time_is_over() -> None:
    """Row 65, rule A14."""
    one, servers = rounds(9.0), reported([0, 1])
    one.joined(LEADER, 0.0)
    carry(one, servers)
    one.tick(8.99)
    assert not one.done
    one.tick(9.0)
    assert one.done
    with pytest.raises(Aborted, match="is open: server 0 has 2 reports so far"):
        one.aggregate()


def test_a_server_that_does_not_answer_is_named() -> None:
    """Row 65."""
    one, servers = rounds(9.0), reported()
    servers.close()
    for peer in PEERS[:2]:
        one.joined(peer, 0.0)
    carry(one, servers)
    one.tick(9.0)
    with pytest.raises(Aborted, match="there was never a link to server 2$"):
        one.aggregate()
    one, servers = rounds(9.0), reported()
    one.tick(9.0)
    with pytest.raises(Aborted, match="never a link to servers 0, 1, 2$") as unmet:
        one.aggregate()
    assert unmet.value.reason is AbortReason.LOST


def test_every_server_is_told_that_the_sum_is_safe_until_it_says_so() -> None:
    one, _ = collected()
    one.left(PEERS[2], 1.0)
    with pytest.raises(LocalProtocolError, match="no sum yet"):
        rounds().thank(one.aggregate(), 0.0)
    one.thank(one.aggregate(), 1.0)
    thanks = Over(NONCE, None, 3, 0)
    told = one.take()
    assert [post.peer for post in told.posts] == PEERS[:2]
    assert {post.frame.encode() for post in told.posts} == {thanks.encode()}
    assert told.due == 1.0 + GOODBYE
    one.joined(PEERS[2], 2.0)
    assert asked(one) == [PEERS[2]]
    for peer in PEERS:
        assert not one.parted
        one.received(peer, thanks.encode(), 2.0)
    assert one.parted and one.take().due == math.inf


def test_who_does_not_know_of_the_sum_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    one, _ = collected()
    one.thank(one.aggregate(), 1.0)
    one.received(LEADER, Over(NONCE, None, 3, 0).encode(), 1.0)
    one.received(PEERS[1], Over(NONCE, None, 2, 0).encode(), 1.0)
    one.tick(1.0 + GOODBYE - 0.01)
    assert not one.parted
    one.tick(1.0 + GOODBYE)
    assert one.parted and "2 servers may not know of the sum" in caplog.text
    one.tick(1000.0)


def test_a_frame_is_no_larger_than_the_largest_of_its_task() -> None:
    """specs/01-wire.md §6 rule 1; one that is larger costs its link, whatever it is for."""
    one, largest = rounds(), message_limit(TASK) - HEAD_SIZE
    one.joined(LEADER, 0.0)
    one.take()
    one.received(LEADER, Message(bytes(16), bytes(largest)).encode(), 0.0)
    assert one.take().let_go == ()
    one.received(LEADER, Message(bytes(16), bytes(largest + 1)).encode(), 0.0)
    assert one.take().let_go == (LEADER,)


def test_what_is_no_frame_costs_its_link_and_another_batch_nothing() -> None:
    one = rounds()
    one.joined(LEADER, 0.0)
    one.take()
    one.received(LEADER, b"\0", 0.0)
    assert one.take().let_go == (LEADER,)
    one.received(LEADER, Message(TASK.nonce(1), b"of another").encode(), 0.0)
    one.received(LEADER, Over(NONCE, None, 1, 0).encode(), 0.0)
    assert one.take().let_go == () and not one.done


def test_what_a_collector_has_no_use_for() -> None:
    with pytest.raises(ParameterError):
        CollectRounds(TASK, Seed(bytes(32)), seconds=1.0, now=0.0)
    one, work = rounds(), Work(lambda: None, 0)
    one.restore([], 0.0)
    one.flushed(LEADER, 1, 0.0)
    one.finished(work, None, 0.0)
    one.failed(work, ValueError(), 0.0)
    one.refused(Claim(b"", b""), 0.0)
    assert one.ready(LEADER)
    effects = one.take()
    assert (effects.posts, effects.writes, effects.claims, effects.work) == ((), (), (), ())
