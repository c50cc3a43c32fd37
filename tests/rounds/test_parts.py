"""The parts of a member's rounds, each at its last number."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from secagg.effects import Peer
from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.rounds.base import Outbox
from secagg.rounds.clients import Clients
from secagg.rounds.collectors import Collectors
from secagg.rounds.doors import LONGEST
from secagg.rounds.lingering import Lingering, Terms
from secagg.rounds.links import MAX_BACKLOG, Links
from secagg.rounds.places import Places
from secagg.rounds.quota import Limits
from secagg.rounds.upload import Upload
from secagg.types import FIRST_RESERVED, PartyId, Role, server_id
from secagg.wire.frame import HEAD_SIZE, Message

ONE, TWO = server_id(1), server_id(2)
FRAME = Message(bytes(16), bytes(10))


def peer(who: object, role: Role = Role.CLIENT) -> Peer:
    return Peer(f"peer {who}", None, role)


# Places


def wanted(*numbers: int) -> Any:
    return lambda: frozenset(map(PartyId, numbers)) | {ONE}


def test_the_lowest_place_goes_to_whoever_speaks_first() -> None:
    places = Places(3, counts=True, room=2)
    given = [places.number(peer(i), wanted(0, 1, 2)) for i in range(5)]
    assert given == [0, 1, 2, 3, 4]
    assert places.number(peer(1), wanted()) == 1, "it keeps its own"
    assert [places.is_place(PartyId(i)) for i in (2, 3)] == [True, False]
    assert [places.peer(PartyId(i)) for i in (2, 9)] == [peer(2), None]
    assert places._ids == {peer(i): i for i in range(5)}


def test_a_helper_does_not_count() -> None:
    places = Places(3, counts=False, room=2)
    first = places.number(peer(1), wanted(0, 1, 2))
    assert first == 3 and places.is_place(first)
    assert places.give_back(peer(1)) is None and places.number(peer(1), wanted()) == first


def test_who_leaves_frees_its_own_place_and_no_other() -> None:
    """Row 70: an idle link that goes has no place to leave."""
    places = Places(3, counts=True, room=2)
    first = places.number(peer("first"), wanted(0, 1, 2))
    assert places.left(peer("idle")) is None
    assert places.peer(first) == peer("first")
    assert places.left(peer("first")) == first and places.peer(first) is None
    assert places.number(peer("next"), wanted(0)) in (0, 1), "a place that the batch waits for"


def test_a_number_with_a_report_is_not_taken_again() -> None:
    places = Places(2, counts=True, room=2)
    places.number(peer("a"), wanted(0, 1))
    places.number(peer("b"), wanted(0, 1))
    places.left(peer("a"))
    assert places.number(peer("c"), wanted(1)) == 2, "0 has a report, 1 has its client"


def test_reports_that_wait_are_bounded_and_heard_again_in_order() -> None:
    """Also of a client that is gone itself, which is then nobody to be answered."""
    places = Places(1, counts=True, room=2)
    for who in "abc":
        places.number(peer(who), wanted(0))
    assert [places.hold(peer(who), who.encode()) for who in "bca"] == [True, True, False]
    assert places.left(peer("b")) == 1 and places.gone == {peer("b")}
    assert places.release() == [(peer("b"), b"b"), (peer("c"), b"c")]
    assert not places.held and places.peer(PartyId(2)) is None
    places.renew()
    assert places._ids == {} and places.number(peer("d"), wanted(0)) == 0


# Links


def test_a_new_link_takes_the_place_of_the_old() -> None:
    links = Links(30.0, [ONE])
    assert links.joined(ONE, peer(1), 0.0) is None
    assert links.joined(ONE, peer(2), 1.0) == peer(1)
    assert not links.left(ONE, peer(1)) and links.linked == {ONE}
    assert not links.heard(ONE, peer(1), 9.0) and links.heard(ONE, peer(2), 9.0)
    assert links.left(ONE, peer(2)) and links.linked == frozenset()
    assert not links.left(TWO, peer(2)) and not links.heard(TWO, peer(2), 9.0)


def test_what_a_server_has_not_read_is_counted_with_and_without_its_link() -> None:
    links = Links(30.0, ())
    big = SimpleNamespace(size=MAX_BACKLOG)
    links.joined(ONE, peer(1), 0.0)
    assert links.post(ONE, big) == peer(1) and not links.behind
    assert links.post(ONE, FRAME) == peer(1) and links.behind
    links.flushed(ONE, peer(2), FRAME.size)
    assert links.behind, "another link has read nothing of it"
    links.flushed(ONE, peer(1), FRAME.size)
    assert not links.behind
    links.left(ONE, peer(1))
    assert links.post(ONE, big) is None and not links.behind
    assert links.post(ONE, FRAME) is None and links.behind
    links.joined(ONE, peer(3), 0.0)
    assert not links.behind, "the machines say again what matters"
    assert links.post(TWO, FRAME) is None
    links.flushed(server_id(3), peer(1), 1)


def test_patience_is_counted_from_the_last_word_and_the_phase() -> None:
    links = Links(30.0, ())
    assert links.given_up(ONE, 5.0) == 35.0
    links.joined(ONE, peer(1), 6.0)
    assert links.given_up(ONE, 5.0) == 36.0
    links.heard(ONE, peer(1), 8.0)
    assert links.given_up(ONE, 5.0) == 38.0 and links.given_up(ONE, 9.0) == 39.0


# Collectors


def test_who_asks_is_answered_once_and_not_before_it_has_read() -> None:
    asking = Collectors()
    a, b = peer("a", Role.COLLECTOR), peer("b", Role.COLLECTOR)
    for one in (a, b):
        asking.joined(one)
        assert asking.asks(one, 0)
    assert asking.answer(0) == [a, b] and asking.answer(0) == []
    asking.posted(a, FRAME)
    assert not asking.asks(a, 0) and asking.asks(b, 0)
    asking.flushed(a, FRAME.size - 1)
    assert not asking.asks(a, 0)
    asking.flushed(a, FRAME.size)
    assert asking.asks(a, 0)
    asking.left(a)
    asking.left(a)
    asking.flushed(a, 1)
    assert asking.answer(0) == [b]
    asking.fetched.add(1)
    assert asking.has_all([1]) and asking.has_all([]) and not asking.has_all([0, 1])


# Clients


def clients(closed: str = "", links: int = 2) -> tuple[Clients, Outbox]:
    outbox = Outbox()
    limits = Limits(100, links, 1, 3, 1000, 2)
    return Clients(limits, outbox, closed), outbox


def test_links_of_clients_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    some, outbox = clients()
    for i in range(3):
        some.admit(peer(i), 0.0, set)
    assert outbox.take().let_go == (peer(2),) and len(some) == 2
    assert peer(1) in some and peer(2) not in some
    assert some.forget(peer(0)) and not some.forget(peer(0))
    some.admit(peer(2), 0.0, set)
    assert outbox.take().let_go == ()
    none, outbox = clients("they speak to the leader")
    none.admit(peer(0), 0.0, set)
    assert outbox.take().let_go == (peer(0),) and "to the leader" in caplog.text


def test_who_has_had_its_time_makes_room() -> None:
    """And is forgotten by whoever asked; nobody is asked for who waits while there is room."""
    some, outbox = clients()
    for i in range(2):
        assert some.admit(peer(i), 0.0, lambda: pytest.fail("asked")) is None
    assert some.admit(peer(2), LONGEST, lambda: {peer(0)}) == peer(1)
    assert outbox.take().let_go == () and peer(2) in some
    assert some.forget(peer(1))
    assert some.admit(peer(3), LONGEST, lambda: {peer(0)}) is None
    assert outbox.take().let_go == (peer(3),)


def test_frames_of_a_client_are_bounded() -> None:
    some, _ = clients()
    some.admit(peer(0), 0.0, set)
    assert [some.hears(peer(0), 10) for _ in range(3)] == [True] * 3
    with pytest.raises(RemoteProtocolError, match="than 3 frames or 1000 bytes for one report"):
        some.hears(peer(0), 10)
    assert not some.hears(peer(9), 10)


@pytest.mark.parametrize("flood", ["turned away", "makes room", "was let go", "does not read"])
def test_a_flood_of_clients_is_a_few_lines(flood: str, caplog: pytest.LogCaptureFixture) -> None:
    unread = flood == "does not read"
    some, _ = clients(links=1000 if unread else 500)
    now = LONGEST if flood == "makes room" else 1.0
    for i in range(1000):
        if unread:
            some.admit(peer(i), now, set)
            for _ in range(3):
                some.post(peer(i), FRAME, now)
        elif flood == "was let go":
            some.says_why(peer(i), ValueError("no frame"), now)
        elif (gone := some.admit(peer(i), 0.0 if i < 500 else now, set)) is not None:
            some.forget(gone)
    assert len(caplog.records) == 10
    assert all(flood in record.getMessage() for record in caplog.records)
    some.close()
    assert (
        "more lines like this were left out: clients " in caplog.messages[-1]
        and len(caplog.records) == 11
    )


def test_a_client_that_does_not_read_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    some, outbox = clients()
    some.admit(peer(0), 0.0, set)
    for _ in range(3):
        some.post(peer(0), FRAME, 0.0)
    effects = outbox.take()
    assert (len(effects.posts), effects.let_go) == (2, (peer(0),))
    assert "does not read" in caplog.text
    some.post(peer(0), FRAME, 0.0)
    some.post(peer(9), FRAME, 0.0)
    assert outbox.take() == outbox.take()
    assert not some.hears(peer(0), 1)


def test_who_is_to_go_goes_once_it_has_read() -> None:
    some, outbox = clients()
    for i in range(2):
        some.admit(peer(i), 0.0, set)
    assert some.finish(peer(0)) and not some.finish(peer(9))
    some.post(peer(1), FRAME, 0.0)
    assert not some.flushed(peer(1), 1)
    assert not some.finish(peer(1)) and not some.hears(peer(1), 1)
    assert not some.flushed(peer(1), HEAD_SIZE)
    assert some.flushed(peer(1), 10) and not some.flushed(peer(9), 1)
    assert len(outbox.take().posts) == 1


# Upload


def batch(
    waiting: tuple[PartyId, ...] = (), *, quorum: bool = True, included: int = 0, alive: int = 0
) -> Any:
    """A machine of which some clients have reported, and all but those waited for are settled."""
    return SimpleNamespace(
        waiting_for=frozenset(waiting),
        quorum=quorum,
        included=included,
        alive=frozenset(map(PartyId, range(alive))),
        contributors=frozenset(map(PartyId, range(included))),
    )


CLIENT = PartyId(2)


def test_an_upload_closes_when_nobody_is_waited_for() -> None:
    upload = Upload(60.0, 30.0, 3)
    assert not upload.closes(batch((CLIENT,)), 0.0, 1.0) and upload.due(0.0) == 60.0
    assert upload.closes(batch(), 0.0, 2.0)


def test_before_the_deadline_no_batch_below_its_minimum_closes() -> None:
    """Not even where nobody is waited for: it would stay open at once."""
    upload = Upload(60.0, 30.0, 3)
    assert not upload.closes(batch(quorum=False), 0.0, 59.99)
    assert upload.due(0.0) == 60.0
    assert upload.closes(batch(quorum=False), 0.0, 60.0)


def test_the_deadline_ends_the_wait_for_clients() -> None:
    upload = Upload(60.0, 30.0, 3)
    assert not upload.closes(batch((CLIENT,), alive=3, included=2), 5.0, 64.99)
    assert upload.closes(batch((CLIENT,), alive=3, included=2), 5.0, 65.0)
    assert upload.late(5.0) == 65.0


def test_what_has_come_is_decided_with_patience() -> None:
    """A helper owes a verdict: it is waited for, and not for ever."""
    upload, owing = Upload(60.0, 30.0, 3), batch((ONE,), alive=3, included=2)
    assert not upload.closes(owing, 0.0, 10.0) and upload.due(0.0) == 40.0
    assert not upload.closes(owing, 0.0, 39.99)
    assert upload.closes(owing, 0.0, 40.0)
    upload.renew()
    assert upload.due(0.0) == 60.0
    assert not upload.closes(owing, 0.0, 50.0)
    assert not upload.closes(batch((CLIENT, ONE)), 0.0, 51.0), "a client is waited for again"
    assert upload.due(0.0) == 60.0


def test_in_direct_mode_a_report_that_came_is_waited_for_and_a_full_batch_is_not() -> None:
    """The machine waits for nobody then: a share may never have been sent."""
    upload = Upload(60.0, 30.0, 3)
    assert not upload.closes(batch(alive=3, included=2), 0.0, 1.0)
    assert upload.closes(batch(alive=4, included=3), 0.0, 2.0)
    assert FIRST_RESERVED > CLIENT


# The end


def state(finished: bool = True, locked: tuple[int, ...] = (0,), number: int = 1) -> Any:
    return SimpleNamespace(finished=finished, locked=set(locked), number=number)


def test_a_server_lingers_and_goes() -> None:
    end, links, none = Lingering(Terms(linger=100.0)), Links(30.0, ()), Collectors()
    assert not end.may_go(state(finished=False), none, links, 1.0) and end.due(1.0) == math.inf
    assert not end.may_go(state(), none, links, 5.0)
    assert (end.due(5.0), end.due(35.0), end.due(105.0)) == (35.0, 105.0, math.inf)
    assert not end.may_go(state(), none, links, 104.99)
    assert end.may_go(state(), none, links, 105.0) and not end.closes(state(), none)


def test_who_has_every_sum_lets_it_go() -> None:
    end, links, one = Lingering(Terms()), Links(30.0, ()), Collectors()
    one.fetched.add(0)
    assert not end.may_go(state(locked=(0, 1), number=2), one, links, 0.0)
    one.fetched.add(1)
    assert end.may_go(state(locked=(0, 1), number=2), one, links, 0.0)
    assert end.closes(state(locked=(0, 1)), one)
    assert not end.closes(state(finished=False), one)


def test_a_leader_tells_every_helper_first_but_not_for_ever() -> None:
    """Where the last batch has no sum, nobody fetches it: a helper must hear that by a link."""
    end, links, none = Lingering(Terms()), Links(30.0, [ONE, TWO]), Collectors()
    aborted = state(locked=())
    assert not end.may_go(aborted, none, links, 0.0)
    links.untold.discard(ONE)
    assert not end.may_go(aborted, none, links, 29.99)
    assert end.may_go(aborted, none, links, 30.0)
    links.untold.clear()
    assert end.may_go(aborted, none, links, 2.0)
    fetched = Collectors()
    fetched.fetched.add(0)
    assert Lingering(Terms()).may_go(state(), fetched, Links(30.0, [ONE]), 0.0)


def test_who_answers_collectors_only_waits_for_one() -> None:
    """Nothing that is known of earlier batches says that the one which ran was not locked."""
    terms = Terms(collect_only=True, linger=50.0)
    end, links, none = Lingering(terms), Links(30.0, ()), Collectors()
    assert not end.may_go(state(finished=False, locked=()), none, links, 0.0)
    assert not end.may_go(state(finished=False, locked=()), none, links, 49.0)
    one = Collectors()
    one.fetched.add(0)
    assert end.may_go(state(finished=False, locked=(0,)), one, links, 49.0)
    assert end.may_go(state(finished=False, locked=()), none, links, 50.0)
    assert not end.closes(state(), one)


def test_work_of_another_is_refused() -> None:
    from secagg.effects import Work
    from secagg.rounds.batches import Batches, Epoch
    from tests.rounds.several import KEYS, TASK

    some = Batches(Epoch(TASK, 0, KEYS.servers[0]), Outbox(), None)
    for ticket in (None, (7,)):
        with pytest.raises(LocalProtocolError, match="not handed out here"):
            some.finish(Work(lambda: None, ticket), None, 0.0)
    with pytest.raises(LocalProtocolError, match="no batch is running"):
        some.close_phase(0.0)
