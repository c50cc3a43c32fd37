"""What a leader keeps of a report that the helpers have not judged (specs/20-additive.md §5)."""

from __future__ import annotations

import numpy as np

from secagg.committee import Keys
from secagg.fields import FixedPoint
from secagg.mask import add_streams
from secagg.party import Client
from secagg.plans import choose
from secagg.plans.task import Task
from secagg.sansio import MemberMachine
from secagg.testing.network import counter_randomness
from secagg.types import PartyId, server_id

KEYS = Keys(3, counter_randomness(b"memory"))
TASK = Task(
    choose.plan(
        clients=4, fields={"update": FixedPoint(1000, 1.0, 16)}, protocol="additive", servers=3
    ),
    KEYS.committee,
)


def leader() -> MemberMachine:
    return TASK.plan.info.family.member(TASK.batch(), 0, KEYS.servers[0], expander=add_streams)


def report() -> bytearray:
    client = Client(
        TASK.plan,
        PartyId(0),
        nonce=TASK.nonce(),
        payload_digest=TASK.payload_digest,
        committee=TASK.committee,
    )
    client.start()
    client.set_input({"update": np.zeros(1000)}, payload_digest=TASK.payload_digest)
    (sent,) = client.outgoing()
    return bytearray(sent.data)


def test_a_pending_report_is_not_kept_twice() -> None:
    """Opened and stored, the message itself may go: thousands can wait for a slow helper.

    A bytearray with a view on it refuses to be cut.
    """
    machine, message = leader(), report()
    machine.start()
    machine.receive(PartyId(0), message)
    relayed = [out for out in machine.outgoing() if out.to != PartyId(0)]
    assert [out.to for out in relayed] == [server_id(1), server_id(2)]
    assert machine.writes(), "the message is stored"
    message.clear()


def test_what_is_relayed_again_is_what_was_relayed() -> None:
    machine = leader()
    machine.start()
    machine.receive(PartyId(0), report())
    stored = machine.writes()
    first = {out.to: out.data for out in machine.outgoing()}
    restored = leader()
    restored.restore((write.key, write.value) for write in stored if write.value is not None)
    restored.start()
    for party in (server_id(1), server_id(2)):
        machine.reconnected(party)
        restored.reconnected(party)
        (again,), (after,) = machine.outgoing(), restored.outgoing()
        assert again.to == after.to == party
        assert first[party] == again.data == after.data
