"""Rules C0, S0, V1, V9, R2 (rows 43, 63; T17): what a machine says once, and no other for it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from secagg.errors import LocalProtocolError, ParameterError
from secagg.sansio import RingTotal
from secagg.suite import SUITE_2
from secagg.types import SERVER, PartyId
from secagg.wire.header import TAG_AT
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.active.transcript import Kind
from secagg_protocols.secagg.messages import Tag
from tests.active import COMPLETE, Cast
from tests.adversary.active.liars import DOWN, UP, refuses, script


def test_a_second_machine_of_a_member_is_not_the_first() -> None:
    """Row 43: it has drawn other keys, so the server hears two, and what is said to the first is
    not said to it."""
    s = script()
    second = s.cast.client(s.cohort.ids[1], randomness=_other())
    second.start()
    second.outgoing(), second.events()
    refuses(second, s.sent(Tag.KEY_LIST, to=s.cohort.ids[1]), "session id")


def _other() -> Callable[[int], bytes]:
    from secagg.testing import counter_randomness

    return counter_randomness(b"another machine")


def test_rule_v9_nothing_of_a_session_is_taken_up_again() -> None:
    """T21: no rows at any point of it, none are taken, and no suite would ask for them."""
    s = script()
    assert not SECAGG.resumes(SUITE_2)
    for received in range(5):
        client = s.client(1, received)
        assert client.writes() == []
        with pytest.raises(LocalProtocolError):
            client.restore([(b"state", b"want-quorum")])


def test_rule_v1_a_machine_starts_once() -> None:
    """Else it would say two keys for one offer."""
    s = script()
    for received in range(5):
        with pytest.raises(LocalProtocolError, match="called once"):
            s.client(1, received).start()


def test_rule_v9_all_that_a_client_says_has_one_wording_for_ever() -> None:
    """Its keys too: an offer that was answered once is not answered with others, so what is
    claimed before it leaves is everything."""
    s = script()
    client = s.cast.client(s.cohort.ids[1])
    client.set_input(s.cast.inputs[s.cohort.ids[1]], s.cast.payload)
    client.start()
    said = client.outgoing()
    for tag in DOWN:
        client.receive(SERVER, s.sent(tag, to=s.cohort.ids[1]))
        said += client.outgoing()
    assert [message.data[TAG_AT] for message in said] == [*UP]
    assert all(message.commit for message in said)


def test_rule_v1_no_machine_works_in_a_fork() -> None:
    """Row 63: none of its methods, whichever is called first."""
    s = script()
    client, server = s.client(1, 1, with_input=False), s.cast.server()
    server.start()
    calls: list[Callable[[], object]] = [
        s.cast.client(s.cohort.ids[1]).start,
        lambda: client.set_input(s.cast.inputs[s.cohort.ids[1]], s.cast.payload),
        lambda: client.receive(SERVER, s.sent(Tag.SHARE_LIST, to=s.cohort.ids[1])),
        client.outgoing,
        s.cast.server().start,
        lambda: server.receive(s.cohort.ids[1], b""),
        server.close_phase,
        server.outgoing,
    ]
    child = os.fork()
    if not child:
        refused = 0
        for place, call in enumerate(calls):
            try:
                call()
            except LocalProtocolError:
                refused |= 1 << place
            except Exception:  # noqa: BLE001 - whatever else it is, it was not refused
                pass
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0xFF


# What a server says of itself


def test_rule_r2_it_says_one_thing_of_each_set() -> None:
    """One statement of each name and context, in whatever it says and says again."""
    cast = Cast()
    network = cast.network()
    said: dict[tuple[int, PartyId], set[bytes]] = defaultdict(set)
    network.start()
    while not network.over:
        network.step()
        for party in cast.parties:
            network.server.reconnected(party)
        for message in network.server.outgoing():
            said[message.data[TAG_AT], message.to].add(message.data)
    assert all(len(each) == 1 for each in said.values())
    assert {tag for tag, _ in said} >= {Tag.KEY_LIST, Tag.SHARE_LIST, 9, Tag.UNMASK_REQUEST}
    of_u3 = {data for (tag, _), each in said.items() if tag == 9 for data in each}
    assert len(of_u3) == 1
    assert isinstance(network.result(), RingTotal)
    with pytest.raises(LocalProtocolError):
        network.server.close_phase()


def test_rule_r2_what_reveals_a_set_is_written_down_before() -> None:
    """When a phase has been closed its record is there, before anything that was said is taken."""
    network = Cast().network()
    server: Any = network.server
    network.start()
    expected = [
        [Kind.SESSION, Kind.COHORT],
        [Kind.SHARERS],
        [Kind.SURVIVORS],
        [Kind.QUORUM],
        [Kind.ANSWERS],
    ]
    server.transcript()
    closed = server.close_phase

    def close() -> None:
        closed()
        assert [piece[4] for piece in server.transcript()] == expected.pop(0)

    server.close_phase = close
    while expected:
        network.step()


def test_rule_r2_a_server_that_is_put_back_says_nothing() -> None:
    server = Cast().server()
    assert server.writes() == []
    with pytest.raises(LocalProtocolError):
        server.restore([(b"state", b"")])


def test_rules_c0_s0_no_machine_takes_part_in_a_sum_of_too_few() -> None:
    """Row 46: whatever a plan says, with A that may be corrupt a sum is of A + 2 at the least."""
    cast = Cast(COMPLETE, corrupted=3)
    for machine in (cast.server, partial(cast.client, cast.parties[0])):
        with pytest.raises(ParameterError, match="5 would do"):
            machine()
