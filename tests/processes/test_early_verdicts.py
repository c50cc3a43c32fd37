"""What a leader that was away hears first: every helper's verdicts, before any report is back."""

from __future__ import annotations

from secagg.types import SERVER, PartyId, server_id
from tests.ensembles import Setting, params_of
from tests.networks import inputs_of


def test_verdicts_of_two_helpers_on_a_whole_batch_wait_for_its_reports() -> None:
    """Direct mode: clients reached the helpers while the leader was restarting. Every report that
    all servers acknowledged is in the sum: no verdict made room for another on the same report."""
    setting = Setting(params_of(3, direct=True, clients=4, smallest=4))
    members = [setting.member(index) for index in range(3)]
    for member in members:
        if not member.phase:
            member.start()
    shares = [shares_of(setting, who) for who in range(4)]
    for index in (1, 2):
        for who, sent in enumerate(shares):
            members[index].receive(PartyId(who), sent[server_id(index)])
    for index in (1, 2):
        for message in members[index].outgoing():
            if message.to == SERVER:
                members[0].receive(server_id(index), message.data)
    for who, sent in enumerate(shares):
        members[0].receive(PartyId(who), sent[SERVER])
    assert members[0].contributors == set(range(4))


def shares_of(setting: Setting, who: int) -> dict[PartyId, bytes]:
    client = setting.client(who, inputs_of(4)[PartyId(who)])
    client.start()
    return {message.to: message.data for message in client.outgoing()}
