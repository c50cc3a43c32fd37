"""One server of several, on a clock that is a number: every sum against plain integers."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from secagg.effects import Claim, Peer, Work
from secagg.errors import Aborted, LocalProtocolError, ParameterError, PolicyRefused
from secagg.plans.task import Task
from secagg.protocol import OneServer, SeveralServers
from secagg.rounds import batches as batches_module
from secagg.rounds import member as member_module
from secagg.rounds.base import Outbox
from secagg.rounds.batches import MAX_STASH_BYTES, Batches, Epoch, servers_of
from secagg.rounds.clients import LOOK, MAX_FRAMES, MAX_OUTBOX
from secagg.rounds.doors import LONGEST
from secagg.rounds.lingering import Terms
from secagg.rounds.member import MAX_GROUP
from secagg.sansio import Dropped, Event, PhaseEntered
from secagg.types import SERVER, AbortReason, PartyId, server_id
from secagg.wire.frame import HEAD_SIZE, Announce, DigestOnly, Message, Over
from secagg_protocols.reports.messages import Tag
from tests.rounds.epoch import World, client, collector, met
from tests.rounds.several import KEYS, TASK
from tests.rounds.world import toy as plainsum

BOTH = pytest.mark.parametrize("direct", [False, True])


def tags(frames: list[bytes]) -> list[int]:
    return [frame[HEAD_SIZE + 2] for frame in frames]


@BOTH
def test_sums_are_exact_and_the_epoch_is_closed_when_they_are_safe(direct: bool) -> None:
    world = World(direct=direct).link()
    for who in range(3):
        answers = world.send(who)
        assert sum(map(len, answers.values())) == 3, "a receipt of every server"
        for frames in answers.values():
            assert set(tags(frames)) == {Tag.RECEIPT}
    world.check(world.collect(thank=False), range(3))
    assert not any(server.over for server in world.servers)
    world.check(world.collect(), range(3))
    assert all(server.over for server in world.servers)
    assert [[r.reason for r in server.reports] for server in world.servers] == [[None]] * 3
    assert [server.reports[0].reports for server in world.servers] == [3, None, None]
    for index in range(3):
        with pytest.raises(PolicyRefused, match="epoch 0 is closed"):
            world.restart(index)


def test_who_is_only_connected_takes_no_place() -> None:
    world = World().link()
    for who in ("idle", "idle too"):
        world.join(0, client(who))
    world.send_all(range(3))
    world.check(world.collect(), range(3))


def test_what_was_only_counted_is_in_the_log_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    world = World().link()
    for number in range(20):
        world.join(0, client(number))
        world.say(0, client(number), b"no frame")
    assert len([line for line in caplog.messages if "was let go" in line]) == 10
    world.servers[0].close()
    assert "10 more lines like this were left out" in caplog.text


def test_a_full_batch_leaves_reports_for_the_next() -> None:
    """Seven reports of which a batch takes three; what waits is summed, each once."""
    world = World(batches=3, dropout=0.0).link()
    world.send_all(range(7))
    sums = [world.collect(batch) for batch in range(2)]
    world.check(sums[0], range(3))
    world.check(sums[1], range(3, 6))
    with pytest.raises(Aborted, match="is open: server 0 has 1 report so far"):
        world.collect(2)
    assert [len(server.reports) for server in world.servers] == [2, 2, 2]


def test_a_repeat_is_answered_though_no_place_is_left() -> None:
    """Row 71: also in the next batch, where it is summed no second time."""
    world = World(batches=2, dropout=0.0).link()
    frames = world.report(0)
    world.send(0, frames)
    world.send_all([1, 2])
    world.join(0, client("again"))
    assert set(tags(world.say(0, client("again"), frames[0]))) == {Tag.RECEIPT}
    world.send_all([3, 4, 5])
    world.check(world.collect(1), [3, 4, 5])
    world.join(0, client("late"))
    assert set(tags(world.say(0, client("late"), frames[0]))) == {Tag.RECEIPT}


def test_after_the_last_batch_a_new_report_ends_its_link() -> None:
    world = World().link()
    world.send_all(range(3))
    world.send(7)
    assert world.let_go == [(0, client(7))]


@BOTH
def test_a_batch_that_is_too_small_stays_open_and_spends_no_report(
    direct: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Rules A7, A14: however many deadlines pass."""
    world = World(4, direct, dropout=0.0).link()
    world.send_all([0, 1])
    for passed in range(1, 4):
        world.at(passed * 60.0 - 0.1)
        assert caplog.text.count("stays open: 2 reports so far") == passed - 1
        world.at(passed * 60.0)
        assert caplog.text.count("stays open: 2 reports so far") == passed
    with pytest.raises(Aborted, match="is open: server 0 has 2 reports so far.* has 4"):
        world.collect()
    world.send_all([2, 3])
    world.check(world.collect(), range(4))


def test_a_helper_keeps_and_logs_the_faults_of_so_many_strangers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its numbers are no places: whoever comes gets another, and may have a fault under it. That of
    a server is kept all the same."""
    caplog.set_level("INFO")
    monkeypatch.setattr(batches_module, "MAX_FAULTS", 2)
    world = World(3, direct=True).link()
    helper = world.servers[1]
    for stranger in map(client, range(9)):
        helper.joined(stranger, world.now)
        helper.received(stranger, Message(helper._epoch.namespace, b"?").encode(), world.now)
        helper.left(stranger, world.now)
    assert caplog.text.count("was dropped") == 2
    leader = met(0, 1)
    helper.received(leader, Message(helper._epoch.nonces[0], b"?").encode(), world.now)
    assert [*helper.reports[0].faults] == [3, 4, SERVER]


def test_the_deadline_closes_a_batch_that_has_its_minimum() -> None:
    world = World(5).link()
    world.send_all(range(3))
    assert not world.servers[0].reports
    world.at(60.0)
    world.check(world.collect(), range(3))
    assert set(world.servers[0].reports[0].faults) == {3, 4}
    assert world.servers[0].reports[0].phases["upload"] == 60.0


def test_a_server_that_stays_away_is_named_and_the_batch_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 65 and rule A14: no partial sum, and no report is spent."""
    world = World().link()
    world.cut(0, 2)
    world.send_all(range(3))
    world.at(60.0)
    world.at(89.9)
    assert "stays open" not in caplog.text
    assert not world.servers[0].ready(client(0)), "clients wait while it is decided"
    world.at(90.0)
    assert "stays open: 0 reports so far, and server 2 has not answered" in caplog.text
    assert world.servers[0].ready(client(0))
    world.link(0, 2)
    world.check(world.collect(), range(3))


def test_a_server_that_is_silent_after_the_upload_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 65: it is named, and the batch ends; the next one begins."""
    world = World(batches=2).link()
    world.send_all(range(2))
    world.far[0, met(2, 0)] = _but(world.far[0, met(2, 0)], Tag.STATEMENT)
    world.send(2)
    assert not world.servers[0].reports
    world.at(29.9)
    assert "given up" not in caplog.text
    world.at(30.0)
    assert "server 2 is given up" in caplog.text
    (report,) = world.servers[0].reports
    assert report.reason is AbortReason.LOST and "server 2" in report.detail
    assert report.pending == 0


def _but(far: Any, *tags: int) -> Any:
    """A link that loses all messages of some kinds."""

    def hear(frame: bytes) -> None:
        if frame[HEAD_SIZE + 2] not in tags:
            far(frame)

    return hear


def test_a_lock_that_one_helper_does_not_confirm_is_waited_for_with_patience() -> None:
    """Nothing can go wrong with the sum any more: the wait ends, and the sum is there."""
    world = World().link()
    world.far[2, met(0, 2)] = _but(world.far[2, met(0, 2)], Tag.LOCKED)
    world.send_all(range(3))
    assert not world.servers[0].reports
    world.at(30.0)
    assert [r.reason for r in world.servers[0].reports] == [None]
    world.check(world.collect(), range(3))


def test_who_has_every_total_knows_that_every_server_has_locked() -> None:
    world = World().link()
    world.far[2, met(0, 2)] = _but(world.far[2, met(0, 2)], Tag.LOCKED)
    world.send_all(range(3))
    world.check(world.collect(), range(3))
    assert [r.reason for r in world.servers[0].reports] == [None] and world.servers[0].over


# Peers that do wrong


@pytest.mark.parametrize(
    "frame",
    [
        b"\0",
        Announce(bytes(16), PartyId(0), (), b"", DigestOnly(bytes(32))).encode(),
        Message(TASK.nonce(), bytes(1 << 20)).encode(),
    ],
)
def test_what_is_no_frame_ends_its_link(frame: bytes) -> None:
    world = World().link()
    peers: list[Peer] = [client(0), collector(), met(0, 1)]
    for index, peer in zip((0, 0, 1), peers, strict=True):
        if peer.role.name != "SERVER":
            world.join(index, peer)
        world.say(index, peer, frame)
    assert world.let_go == [(0, client(0)), (0, collector()), (1, met(0, 1))]
    assert not world.say(0, client(0), world.report(0)[0]), "let go, and still talking"


def test_a_client_that_floods_ends_its_link() -> None:
    world = World().link()
    world.join(0, client(0))
    for _ in range(MAX_FRAMES):
        world.say(0, client(0), world.message(b"\0"))
    assert world.let_go == []
    world.say(0, client(0), world.message(b"\0"))
    assert world.let_go == [(0, client(0))]


def test_a_client_that_does_not_read_ends_its_link() -> None:
    world = World().link()
    frame = world.report(0)[0]
    world.unread.add(client(0))
    for _ in range(MAX_OUTBOX // 3):
        world.send(0, {0: frame})
    assert world.let_go == []
    world.send(0, {0: frame})
    assert world.let_go == [(0, client(0))]


def test_what_is_for_nobody_is_ignored() -> None:
    world = World().link()
    world.join(0, client(0))
    world.join(0, collector())
    other = Message(bytes(16), b"of another task").encode()
    for index, peer in ((0, client(0)), (0, collector()), (1, met(0, 1))):
        assert world.say(index, peer, other) == []
    assert world.say(1, met(0, 1), world.thanks()) == []
    assert world.say(0, client(0), world.thanks()) == []
    assert world.let_go == []


def test_links_of_clients_are_bounded_and_helpers_that_relay_have_none() -> None:
    """Row 79."""
    world = World(terms=Terms(links=1)).link()
    for who in range(2):
        world.join(0, client(who))
    world.join(1, client(2))
    assert world.let_go == [(0, client(1)), (1, client(2))]


def test_a_link_is_nobodys_for_ever() -> None:
    """Row 79 (specs/01-wire.md §8 rule 5): neither silence nor words keep a link for which
    another waits; the oldest of the address that holds most makes room, after its half minute."""
    world = World(clients=4, terms=Terms(links=5)).link()
    crowd = [Peer(f"crowd {i}", address="one") for i in range(3)]
    others = [Peer(f"other {i}", address=str(i)) for i in range(2)]
    for peer in (others[0], *crowd, others[1]):
        world.join(0, peer)
    world.say(0, crowd[0], world.message(b"\0"))
    world.at(LONGEST - 0.1).join(0, client("early"))
    assert world.let_go == [(0, client("early"))]
    world.at(LONGEST)
    for who in range(3):
        world.join(0, client(who))
    assert world.let_go[1:] == [(0, crowd[0]), (0, crowd[1]), (0, others[0])]
    world.at(1.9 * LONGEST).join(0, client(3))
    world.join(0, client(4))
    world.join(0, client(5))
    assert world.let_go[4:] == [(0, crowd[2]), (0, others[1]), (0, client(5))]
    world.send_all(range(3))
    world.check(world.collect(), range(3))


@pytest.mark.parametrize("repeats", [False, True])
def test_who_has_its_receipts_makes_room_and_its_report_counts(repeats: bool) -> None:
    """Nor does a report that is said over and over keep a link."""
    world = World(terms=Terms(links=3)).link()
    said = [world.report(who) for who in range(3)]
    for who in range(3):
        world.send(who, said[who])
    for who in range(3):
        world.at(LONGEST + who * LOOK)
        if repeats:
            assert world.say(0, client(who), said[who][0])
        world.join(0, client(3 + who))
    assert world.let_go == [(0, client(0)), (0, client(1)), (0, client(2))]
    world.check(world.collect(), range(3))


def test_who_waits_for_a_decision_or_the_next_batch_keeps_its_link() -> None:
    """Its report is here, and it has not been told so."""
    world = World(batches=2, dropout=0.0, terms=Terms(links=4)).link(0, 1)
    for who in range(4):
        world.send(who)
    world.at(LONGEST).join(0, client(4))
    assert world.let_go == [(0, client(4))], "three are undecided, one is held"
    world.link(0, 2)
    world.at(LONGEST + LOOK - 0.1).join(0, client(5))
    assert world.let_go[1:] == [(0, client(5))], "looked at once a second"
    world.at(LONGEST + LOOK).join(0, client(6))
    assert world.let_go[2:] == [(0, client(0))], "decided, and told: nothing more to wait for"


def test_who_has_spoken_since_the_last_look_may_wait_for_a_decision() -> None:
    """It was found with nothing to wait for, and has brought its report in the same second."""
    world = World(terms=Terms(links=3))
    for who in range(3):
        world.join(0, client(who))
    world.at(LONGEST).join(0, client(3))
    world.say(0, client(1), world.report(1)[0])
    world.join(0, client(4))
    assert world.let_go == [(0, client(0)), (0, client(2))]


def test_what_one_transaction_takes_is_bounded_and_neither_side_starves_the_other() -> None:
    world = World().link()
    leader = world.servers[0]
    world.join(0, client(0))
    for _ in range(MAX_GROUP):
        assert leader.ready(client(0))
        leader.received(client("gone"), b"\0", 0.0)
    assert not leader.ready(client(0)) and leader.ready(met(1, 0))
    for _ in range(MAX_GROUP):
        assert leader.ready(met(1, 0)) and leader.ready(collector())
        leader.received(met(1, 0), Message(bytes(16), b"").encode(), 0.0)
    assert not leader.ready(met(1, 0)) and not leader.ready(collector())
    world.settle()
    assert leader.ready(client(0)) and leader.ready(met(1, 0))


def test_bytes_of_one_transaction_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_module, "MAX_WAITING", 100)
    world = World().link()
    leader = world.servers[0]
    leader.received(client("gone"), bytes(99), 0.0)
    assert leader.ready(client(0))
    leader.received(client("gone"), b"\0", 0.0)
    assert not leader.ready(client(0)) and leader.ready(met(1, 0))


def test_clients_wait_while_a_server_is_too_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg.rounds import links

    monkeypatch.setattr(links, "MAX_BACKLOG", 100)
    world = World().link()
    world.unread.add(met(2, 0))
    world.send(0)
    leader = world.servers[0]
    assert not leader.ready(client(1)) and leader.ready(met(2, 0))
    leader.flushed(met(2, 0), 1 << 20, 0.0)
    assert leader.ready(client(1))


def test_reports_that_wait_for_a_place_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at least; whoever finds no room comes again."""
    monkeypatch.setattr(member_module, "MAX_WAITING", 1)
    world = World(batches=2, dropout=0.0)
    world.link(0, 1)
    for who in range(6):
        world.send(who)
    assert world.let_go == [(0, client(5))], "three have places, two wait"
    world.link(0, 2)
    world.send(5)
    world.check(world.collect(0), range(3))
    world.check(world.collect(1), range(3, 6))


def test_a_repeat_takes_no_place() -> None:
    """Rule A3, row 70: however many links say a report again, every place is left to reports; and
    each of them is answered, the last one also with the receipts that come later."""
    world = World(clients=4, batches=2, dropout=0.0).link(0, 1)
    frames = world.report(0)
    world.send(0, frames)
    again = [client(f"again {who}") for who in range(5)]
    for one in again:
        world.join(0, one)
        assert set(tags(world.say(0, one, frames[0]))) == {Tag.RECEIPT}
        assert set(tags(world.say(0, one, frames[0]))) == {Tag.RECEIPT}, "the second time too"
    world.send_all([1, 2, 3])
    assert world.servers[0]._batches.undecided == {0, 1, 2, 3}
    assert not world.servers[0]._places.held
    before = len(world.heard[0, again[-1]])
    world.link(0, 2)
    assert len(world.heard[0, again[-1]]) == before + 1, "of the server that was away"
    assert world.let_go == []
    world.check(world.collect(), range(4))


def test_a_repeat_at_a_helper_leaves_its_number() -> None:
    """Numbers of a helper are no places: there is none to give back."""
    world = World(direct=True).link()
    frames = world.report(0)
    world.send(0, frames)
    world.join(1, client("again"))
    number = world.servers[1]._places._later
    assert set(tags(world.say(1, client("again"), frames[1]))) == {Tag.RECEIPT}
    assert next(number) == 3 + 2, "two links have said something"


def test_who_left_several_frames_to_wait_keeps_no_place() -> None:
    """Row 70: one report said twice over each of a few links would else take every place for good,
    with nobody there."""
    world = World(batches=2, dropout=0.0).link()
    world.far[0, met(2, 0)] = lambda frame: None
    world.send_all(range(3))
    said = world.report(7)[0]
    for who in "abc":
        world.join(0, client(who))
        for _ in range(2):
            world.say(0, client(who), said)
        world.servers[0].left(client(who), 0.0)
    assert len(world.servers[0]._places.held) == 6
    world.cut(0, 2)
    world.link(0, 2)
    assert world.servers[0]._batches.number == 1
    assert not world.servers[0]._places._ids
    world.send_all([4, 5])
    world.check(world.collect(1), [7, 4, 5])


# Collectors


def test_nobody_says_that_a_sum_is_safe_before_there_is_one() -> None:
    """It is told so all the same, or it would say it for ever; and it counts for nothing."""
    world = World().link()
    world.join(0, collector())
    assert world.say(0, collector(), world.thanks()) == [world.thanks()]
    world.send_all(range(3))
    assert world.servers[0].reports and not world.servers[0].over
    assert world.say(0, collector(), world.thanks()) == [world.thanks()]
    assert not world.servers[0].over, "it was given no total"
    world.check(world.collect(), range(3))
    assert world.servers[0].over


def test_a_collector_that_reads_late_has_one_total_on_its_way() -> None:
    world = World().link()
    world.send_all(range(3))
    world.join(0, collector())
    asks = world.message(_collect(world), 0)
    world.unread.add(collector())
    posted = []
    for _ in range(3):
        world.servers[0].received(collector(), asks, 0.0)
        posted.append(len(world.servers[0].take().posts))
    assert posted == [1, 0, 0]
    world.servers[0].flushed(collector(), 1 << 20, 0.0)
    world.servers[0].received(collector(), asks, 0.0)
    assert len(world.servers[0].take().posts) == 1


def _collect(world: World) -> bytes:
    from secagg.rounds.collect import CollectRounds
    from secagg.rounds.greeting import callees

    one = CollectRounds(world.task, KEYS.collector, seconds=1.0, now=0.0)
    one.joined(next(iter(callees(world.task))), 0.0)
    (post,) = one.take().posts
    return post.frame.encode()[HEAD_SIZE:]


# Restarts


@BOTH
def test_every_server_is_restarted_after_every_report(direct: bool) -> None:
    """Row 90, at the level of policy: all that counts is in the rows."""
    world = World(direct=direct).link()
    for who in range(3):
        world.send(who)
        for index in range(3):
            world.restart(index)
            world.link()
    world.check(world.collect(), range(3))
    for index in range(3):
        with pytest.raises(PolicyRefused):
            world.restart(index)


def test_a_closed_epoch_still_answers_its_collector() -> None:
    world = World(batches=2).link()
    world.send_all(range(3))
    world.collect(0)
    world.send_all(range(3, 6))
    world.collect(1)
    assert all(server.over for server in world.servers)
    for index in range(3):
        world.restart(index, Terms(collect_only=True))
        world.join(index, client(9))
    assert [peer for _, peer in world.let_go[-3:]] == [client(9)] * 3
    world.check(world.collect(0), range(3))
    assert not world.servers[0].over
    world.check(world.collect(1), range(3, 6))
    assert all(server.over for server in world.servers)
    assert [len(server.reports) for server in world.servers] == [2, 2, 2]


def test_who_is_started_to_collect_only_ends_with_the_batch_that_was_locked() -> None:
    """The leader died before a helper had confirmed: its batch is not over, and has a sum. One
    that went at once would leave the collector with nothing, for ever."""
    world = World(batches=2).link()
    world.far[2, met(0, 2)] = _but(world.far[2, met(0, 2)], Tag.LOCKED)
    world.send_all(range(3))
    only = Terms(collect_only=True, patience=30.0)
    for index in range(3):
        world.restart(index, only)
    world.link()
    world.far[2, met(0, 2)] = _but(world.far[2, met(0, 2)], Tag.LOCKED)
    world.at(1000.0)
    assert not world.servers[0].over, "nobody has been here"
    world.check(world.collect(), range(3))
    assert all(server.over for server in world.servers)
    assert [r.reason for r in world.servers[0].reports] == [None]
    world.restart(0)  # the epoch is not closed by that


def test_who_is_started_to_collect_only_locks_what_its_leader_has_locked() -> None:
    """And one that is away is waited for, however long; the upload stays as it is."""
    world = World().link()
    world.far[0, met(2, 0)] = _but(world.far[0, met(2, 0)], Tag.AGREEMENT)
    world.send_all(range(3))
    only = Terms(collect_only=True, patience=30.0)
    for index in range(3):
        world.restart(index, only)
    world.at(1000.0)
    with pytest.raises(Aborted):
        world.collect()
    world.link()
    world.check(world.collect(), range(3))


def test_who_is_started_to_collect_only_leaves_an_open_batch_open() -> None:
    world = World().link()
    world.send_all(range(3 - 1))
    for index in range(3):
        world.restart(index, Terms(collect_only=True))
    world.link()
    world.at(1000.0)
    with pytest.raises(Aborted, match="is open"):
        world.collect()
    assert [server.reports for server in world.servers] == [[], [], []]
    for index in range(3):
        world.restart(index)
    world.link()
    world.send(2)
    world.check(world.collect(), range(3))


@BOTH
def test_a_report_that_waits_is_in_the_next_batch(direct: bool) -> None:
    """The leader has it and a helper is away until the first batch is given up. Where the leader
    relays, its client comes again, to the machine that will have the receipts."""
    world = World(4, direct, batches=2)
    world.link(0, 1)
    world.unread.add(client(3))
    world.send_all(range(4))
    leader = world.servers[0]
    machine = leader._batches.running
    leader._batches._call(0, machine, 0.0, machine.abort, AbortReason.BELOW_THRESHOLD)
    world.at(1.0)
    assert [r.pending for r in leader.reports] == [4]
    let_go = {peer for index, peer in world.let_go if index == 0}
    assert let_go == (set() if direct else {client(i) for i in range(3)}), "3 has not read"
    if not direct:
        leader.flushed(client(3), 1 << 20, 1.0)
        world.settle()
        assert (0, client(3)) in world.let_go
    world.link(0, 2)
    world.send_all(range(4))
    world.check(world.collect(1), range(4))


def test_a_leader_that_is_ahead_has_told_how_the_last_batch_ended() -> None:
    """A helper that hears of the next one without that has lost its own, and says so."""
    world = World(batches=2, dropout=0.0).link()
    world.far[0, met(2, 0)] = _but(world.far[0, met(2, 0)], Tag.STATEMENT, Tag.ABORT)
    world.send_all(range(3))
    world.at(30.0)
    world.send_all(range(3, 6))
    (lost,) = world.servers[2].reports
    assert lost.reason is AbortReason.LOST and "server 0" in lost.detail


# Work


class WithJobs(Epoch):
    """Shares are opened by jobs."""

    def machine(self, number: int) -> Any:
        machine = super().machine(number)
        object.__setattr__(machine._context.scheme, "jobs", True)  # type: ignore[attr-defined]
        return machine


def test_jobs_go_out_as_work_and_come_back_also_after_their_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And row 104: one that fails ends its server, unless its batch is over."""
    world = World(epoch=WithJobs, batches=2, dropout=0.0).link()
    for who in range(3):
        assert world.send(who)[0] == []
    for _ in range(4):
        work, world.work = world.work, []
        for index, one in work:
            world.servers[index].finished(one, one.job(), 0.0)
        world.settle()
    world.check(world.collect(0), range(3))
    world.send(4)
    ((index, one),) = [each for each in world.work if each[0] == 0]
    leader = world.servers[index]
    leader._batches._call(
        1, leader._batches.running, 0.0, leader._batches.running.abort, AbortReason.CANCELLED
    )
    leader.tick(0.0)
    leader.finished(one, one.job(), 0.0)
    assert leader.reports[1].reason is AbortReason.CANCELLED
    with pytest.raises(LocalProtocolError):
        leader.finished(Work(lambda: None, (9,)), None, 0.0)
    leader.refused(Claim(b"", b""), 0.0)
    leader.failed(one, ZeroDivisionError("what it was given"), 0.0)
    leader.take()  # does not raise: its batch is over, and the server goes on
    assert "a job failed (ZeroDivisionError), for which no batch" in caplog.text
    assert "what it was given" not in caplog.text


def test_a_job_that_fails_while_its_batch_waits_ends_its_server() -> None:
    """Row 104."""
    world = World(epoch=WithJobs).link()
    world.send(0)
    ((index, one),) = [each for each in world.work if each[0] == 0]
    world.servers[index].failed(one, ZeroDivisionError(), 0.0)
    with pytest.raises(ZeroDivisionError):
        world.servers[index].take()


# Batches


def test_events_are_observed() -> None:
    seen: list[Event] = []
    world = World(5)
    world.servers[0] = world.made(0, observer=seen.append)
    world.link().send_all(range(3))
    world.at(60.0)
    phases = [event.phase for event in seen if isinstance(event, PhaseEntered)]
    assert phases == ["upload", "agree", "collect"]
    assert len([event for event in seen if isinstance(event, Dropped)]) == 2


def alone(batches: int = 2) -> tuple[Batches, Outbox]:
    outbox = Outbox()
    one = Batches(Epoch(TASK, 0, KEYS.servers[0], batches), outbox, None)
    one.open({}, 0.0)
    return one, outbox


def test_what_a_server_says_of_later_batches_is_bounded_in_bytes() -> None:
    """As many messages as are kept would be gigabytes, if each were the longest of the plan."""
    one, _ = alone()
    long = bytes(1 << 20)
    for _ in range(100):
        one.receive(server_id(1), 1, long, 0.0)
    assert len(one._stash.waiting) == 64 and one._stash.size == MAX_STASH_BYTES
    machine = one.running
    one._call(0, machine, 0.0, machine.abort, AbortReason.CANCELLED)
    one.advance(0.0)  # the next batch hears them
    assert one._stash.size < MAX_STASH_BYTES


def test_what_a_server_says_of_later_batches_is_bounded_in_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches_module, "MAX_STASH", 3)
    one, _ = alone()
    for _ in range(5):
        one.receive(server_id(1), 1, b"", 0.0)
    assert len(one._stash.waiting) == 3
    one.receive(server_id(1), 2, b"", 0.0)
    one.receive(PartyId(0), 1, b"", 0.0)
    assert len(one._stash.waiting) == 3, "there is no such batch, and clients know of none"


def test_a_batch_that_is_over_writes_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """A leader that brings a share to an old batch would have it forgotten where it was summed."""
    world = World(batches=2, dropout=0.0).link()
    world.send_all(range(3))
    helper = world.servers[1]
    relayed: list[bytes] = []
    world.far[0, met(1, 0)] = relayed.append
    world.send(9)
    share = next(f for f in relayed if f[HEAD_SIZE + 2] == Tag.REPORT_SHARE)[HEAD_SIZE:]
    before = dict(world.stores[1])
    helper._batches._retired[0].extend = lambda: None  # type: ignore[method-assign]
    said = world.far[1, met(0, 1)] = _heard = []  # type: ignore[assignment]
    world.far[1, met(0, 1)] = _heard.append  # type: ignore[attr-defined]
    for batch in (1, 0, 1):
        helper.received(met(0, 1), world.message(share, batch), 0.0)
    world.settle()
    assert len(said) == 2 and said[0] == said[1], "of the batch that runs"  # type: ignore[arg-type]
    changed = {key for key, value in world.stores[1].items() if before.get(key) != value}
    assert [world.stores[1][key][1:5] for key in changed] == [(1).to_bytes(4)]


def test_a_retired_batch_that_would_write_is_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    one, outbox = alone()
    machine = one.running
    one._call(0, machine, 0.0, machine.abort, AbortReason.CANCELLED)
    one.advance(0.0)
    one.said.clear()
    outbox.take()
    machine._book._changed[b"row"] = b"written after the end"  # type: ignore[attr-defined]
    one.reconnected(server_id(1), 0.0)
    assert "a message that would change it is ignored" in caplog.text
    assert all(said.batch == 1 for said in one.said) and outbox.take().writes == ()


def test_a_member_with_a_result_of_its_own_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = alone()
    machine = one.running
    one._call(0, machine, 0.0, machine.abort, AbortReason.CANCELLED)
    machine.result = lambda: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(LocalProtocolError, match="a result of its own"):
        one.advance(0.0)


def test_servers_are_those_of_reserved_numbers_leader_first() -> None:
    assert servers_of({PartyId(3), server_id(2), SERVER}) == [SERVER, server_id(2)]
    assert list(itertools.islice(map(server_id, range(2)), 1)) == [SERVER]
    assert Over(bytes(16), None, 0, 0).size == 28


def test_a_batch_that_never_begins_keeps_what_is_said_of_it() -> None:
    one, _ = alone(3)
    machine = one.running
    one._call(0, machine, 0.0, machine.abort, AbortReason.CANCELLED)
    one.advance(0.0, begin=False)
    one.receive(SERVER, 2, b"", 0.0)
    assert one.machine is None and len(one._stash.waiting) == 1


def test_a_task_of_one_server_has_no_members() -> None:
    """And so no committee, without which no machine of a member is made; a committee and a family
    of one server are impossible together, as a task refuses them."""
    with pytest.raises(ParameterError, match="has one server"):
        Epoch(Task(plainsum(3)), 0, KEYS.servers[0]).machine(0)
    family = TASK.plan.info.family
    assert isinstance(family, SeveralServers)
    info = SimpleNamespace(family=OneServer(family.client, None))  # type: ignore[arg-type]
    task: Any = SimpleNamespace(plan=SimpleNamespace(info=info), batch=lambda number: None)
    with pytest.raises(LocalProtocolError, match="impossible"):
        Epoch(task, 0, KEYS.servers[0]).machine(0)


def test_it_is_known_which_servers_are_linked() -> None:
    world = World()
    assert world.servers[0].linked == frozenset()
    world.link(0, 2)
    assert world.servers[0].linked == {server_id(2)} and world.servers[2].linked == {SERVER}
    world.cut(0, 2)
    assert world.servers[0].linked == frozenset()


@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
@pytest.mark.parametrize("stays", [False, True], ids=["leave", "stay"])
def test_reports_that_are_none_cost_a_place_until_the_deadline_only(
    direct: bool, stays: bool
) -> None:
    """Rule A14: however many strangers send one flipped bit, or half of a report, and however long
    they stay, reports that wait are summed in the next batch that they fill."""
    world = World(clients=3, direct=direct, dropout=0, batches=1).link()
    for who in range(3):
        frames = world.report(who)
        spoilt = {index: data[:-1] + bytes([data[-1] ^ 1]) for index, data in frames.items()}
        world.send(who, {0: frames[0]} if direct and who == 0 else spoilt)
        for index in frames if not stays else ():
            world.servers[index].left(client(who), world.now)
        world.settle()
    for who in range(10, 13):
        world.send(who)
    for _ in range(3):
        if not world.servers[0].reports:
            world.at(world.now + 61.0)
    assert [one.reports for one in world.servers[0].reports] == [3]
    world.check(world.collect(), range(10, 13))


def test_who_brings_what_a_helper_has_no_room_for_comes_again() -> None:
    """Direct mode: its share is not kept, and nothing else would tell its client."""
    world = World(clients=3, direct=True, dropout=0, batches=3).link()
    frames = {who: world.report(who) for who in range(9)}
    for who in range(3, 9):
        world.send(who, {index: frames[who][index] for index in (1, 2)})
    world.send(0, frames[0])
    gone = {(index, peer) for index, peer in world.let_go}
    assert {(1, client(0)), (2, client(0))} <= gone and (0, client(0)) not in gone


@pytest.mark.parametrize("batches", [2, 3])
def test_who_is_started_to_collect_only_gives_out_every_batch_that_was_locked(batches: int) -> None:
    """Row 65: the epoch is not closed, and a leader alone does not know whether its helpers have
    locked. Each batch goes on as far as its rows say, and none begins."""
    world = World(clients=3, dropout=0, batches=batches + 1).link()
    for batch in range(batches):
        world.send_all(range(3 * batch, 3 * batch + 3))
    world.restart(0, world.with_terms(collect_only=True))
    world.link()
    for batch in range(batches):
        world.check(world.collect(batch), range(3 * batch, 3 * batch + 3))
    assert [one.batch for one in world.servers[0].reports] == list(range(batches))


def test_what_has_every_receipt_is_not_rejected_for_a_helper_without_a_link() -> None:
    """Rule A14: clients reach the helper, and its leader does not, for some deadlines. Whatever
    they are told that is stored is in a sum that is collected."""
    world = World(direct=True, batches=2, terms=Terms(deadline=10.0, patience=3.0))
    world.link(0, 1)
    stored = []
    for deadline in range(4):
        for who in range(3 * deadline, 3 * deadline + 3):
            answers = world.send(who)
            stored += [who] if all(answers.get(server) for server in range(3)) else []
        world.at(world.now + 10.0).at(world.now + 3.0)
    assert stored and not world.servers[0].reports
    world.link(0, 2)
    world.check(world.collect(0), stored)
