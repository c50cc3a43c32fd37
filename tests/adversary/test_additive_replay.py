"""Threat T6: what was said in one batch is nothing in another, with the same keys and servers.

Every message of a batch is put in the place of its like in another batch whose task differs in one
thing. Row 32; rows 25 and 48 for what comes twice or from somebody else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from secagg.sansio import Dropped, Outgoing
from secagg.testing import Carried
from secagg.types import COLLECTOR, FIRST_RESERVED, PartyId, server_id
from secagg_protocols.reports.messages import Tag
from tests.adversary.test_additive_tampering import PLACES, Place, by_name
from tests.ensembles import LEADER, TINY, Log, Setting, other, outcome, params_of, tag_of

OTHERS: dict[str, dict[str, Any]] = {
    "epoch": {"epoch": 1},
    "payload": {"payload": bytes(32)},
    "plan": {"plan": bytes(32)},
    "batch": {"batch": 1},
}
OF_TASK = {Tag.REPORT, Tag.REPORT_SHARE, Tag.RECEIPT}
"""Clients know no batch: what they say belongs to all of a task, and rule A10 to one of them."""


@cache
def said(setting: Setting) -> list[tuple[PartyId, PartyId, bytes]]:
    """Every message of an honest batch: (sender, receiver, bytes)."""
    log = Log()
    network = setting.network(between=log)
    assert outcome(network, setting).kind == "exact"
    clients = [(m.sender, m.to, m.data) for m in network.sent]
    return clients + [(who, m.to, m.data) for who, m in log.said]


def foreign(place: Place, setting: Setting) -> bytes:
    """The like of that place's message in a batch of another setting."""
    at = place.sender, place.to, place.tag
    return next(d for s, to, d in said(setting) if (s, to, tag_of(d)) == at)


@by_name
@pytest.mark.parametrize("what", list(OTHERS))
def test_nothing_of_one_task_is_valid_in_another(place: Place, what: str) -> None:
    """Nothing of 15 kinds of messages is accepted: the outcome is that of a broken one."""
    if what == "batch" and place.tag in OF_TASK:
        pytest.skip("bound to the task")
    theirs = foreign(place, other(place.setting, **OTHERS[what]))
    assert len(theirs) == place.size
    assert place.run(lambda data: theirs).kind == place.faulty


@by_name
def test_the_harness_accepts_what_is_valid(place: Place) -> None:
    """The same replacement with the message itself is no lie at all."""
    assert place.run(lambda data: data).kind == "exact"


@pytest.mark.parametrize("direct", [False, True], ids=["relay", "direct"])
def test_everything_twice_and_late(direct: bool) -> None:
    """Rows 25, 38 and 48: every message again, at the end, from its sender and from all others."""
    setting = Setting(params_of(3, direct=direct), TINY)
    log = Log()
    network = setting.network(between=log)
    assert outcome(network, setting).kind == "exact"
    everybody = [server_id(i) for i in range(3)] + [PartyId(p) for p in range(5)]
    before = network.result()
    clients = [(m.sender, m.to, m.data) for m in network.sent if m.sender < FIRST_RESERVED]
    for _, to, data in clients + [(who, m.to, m.data) for who, m in list(log.said)]:
        for sender in everybody:
            if to in network.servers and to != COLLECTOR:
                network.servers[to].receive(sender, data)
                network.drain(LEADER)
    after = network.result()
    assert [x.tolist() for x in after.vector] == [x.tolist() for x in before.vector]
    assert after.contributors == before.contributors
    totals = {(who, m.data) for who, m in log.said if tag_of(m.data) is Tag.TOTAL}
    assert len(totals) == 3  # each said again, in the same bytes


def test_one_server_cannot_speak_for_another() -> None:
    """Threat T6 between roles: a helper's messages from the other helper name the one who spoke."""
    setting = Setting(params_of(3), TINY)
    for tag in (Tag.STATEMENT, Tag.LOCKED):
        log = Log()

        def wire(who: PartyId, message: Outgoing, tag: Tag = tag, log: Log = log) -> list[bytes]:
            """The second helper says what the first has said."""
            first = log.of(tag, server_id(1))
            log(who, message)
            copied = who == server_id(2) and tag_of(message.data) is tag and first
            return [first[0]] if copied else [message.data]

        network = setting.network(between=wire)
        end = outcome(network, setting)
        if tag is Tag.LOCKED:  # has no contents to be signed: the link's authentication is all
            assert end.kind == "exact"
        else:
            assert end.kind == "abort" and "server 2" in str(end.failure)


def test_a_clients_messages_from_another_client() -> None:
    """Row 48: who reports in another's name, on its own link, has reported: its place, once."""
    setting = Setting(params_of(2), TINY)

    def swapped(message: Carried) -> list[bytes]:
        return []

    network = setting.network(wire=swapped)
    network.start()
    for party in range(4):
        for message in setting.report(party):
            network.hand_over(PartyId((party + 1) % 4), message)
    total = network.run()
    assert total.reports == 4 and total.contributors == set(range(4))
    assert not [e for _, e in network.events if isinstance(e, Dropped)]


def test_all_kinds_are_replayed() -> None:
    assert {place.tag for place in PLACES} | {Tag.ABORT, Tag.OPEN} == set(Tag)
