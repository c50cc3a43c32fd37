"""The client machine: the calls, the events, the order of its messages (specs/10-secagg.md §8).

What it refuses is in tests/adversary/test_lying_server.py, which input is legal in which state in
test_states.py.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from secagg.crypto.agree import KeyPair
from secagg.errors import InputError, LocalProtocolError
from secagg.sansio import Aborted, Finished, Ignored, PhaseEntered
from secagg.testing import plain_sum
from secagg.types import SERVER, AbortReason, PartyId, Seed
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.standing import Answered, Ended
from secagg_protocols.secagg.survivors import SurvivorSet
from tests.networks import (
    COMPLETE,
    LAYOUT,
    PAYLOAD,
    REGULAR,
    Script,
    body,
    inputs_of,
    network_of,
    secrets_of,
    sent_by,
    standing,
)

SCRIPT = Script()
VECTOR = inputs_of(6)[PartyId(0)]


def test_messages_and_events_of_an_honest_round() -> None:
    network = network_of()
    network.run()
    said = [Tag(m.data[2]) for m in network.sent if m.sender == 0]
    assert said == [Tag.ADVERTISE_KEYS, Tag.SHARE_KEYS, Tag.MASKED_INPUT, Tag.UNMASK_ANSWER]
    events = [event for who, event in network.events if who == 0]
    entered = [e.phase for e in events if isinstance(e, PhaseEntered)]
    assert entered == ["advertise-keys", "share-keys", "masked-input", "unmask"]
    assert isinstance(events[-1], Finished)


def test_rule_c11_every_answer_after_the_keys_commits() -> None:
    """Outgoing.commit marks dealt shares, the masked input and the unmask answer."""
    client = SCRIPT.client(0)
    client.reconnected(SERVER)
    marks = [m.commit for m in client.outgoing()]
    for message in SCRIPT.inbox:
        client.receive(SERVER, message)
        marks += [m.commit for m in client.outgoing()]
    assert marks == [False, True, True, True]


def test_the_input_may_come_last() -> None:
    client = SCRIPT.client(2, with_input=False)
    assert client.phase == "masked-input"
    client.set_input(VECTOR, PAYLOAD)
    assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[2]]
    client.receive(SERVER, SCRIPT.inbox[1])  # its reply is now the masked input
    assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[2]]


def test_the_share_list_again_while_the_input_is_missing() -> None:
    client = SCRIPT.client(2, with_input=False)
    client.receive(SERVER, SCRIPT.inbox[1])
    assert not client.outgoing()
    client.set_input(VECTOR, PAYLOAD)
    assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[2]]


def test_the_callers_vector_is_not_touched() -> None:
    vector = inputs_of(6)[PartyId(0)]
    client = SCRIPT.client(2, with_input=False)
    client.set_input(vector, PAYLOAD)
    for ours, before in zip(vector, VECTOR, strict=True):
        assert np.array_equal(ours, before)


@pytest.mark.parametrize(
    "vector",
    [
        VECTOR[:1],
        (VECTOR[0][:-1], VECTOR[1]),
        (VECTOR[0].astype(np.uint16), VECTOR[1]),
        (VECTOR[0] | np.uint8(32), VECTOR[1]),
        (VECTOR[0].reshape(7, 1), VECTOR[1]),
    ],
    ids=["segment", "length", "dtype", "range", "shape"],
)
def test_other_vectors_are_refused_and_may_be_given_again(vector: Any) -> None:
    client = SCRIPT.client(0, with_input=False)
    with pytest.raises(InputError):
        client.set_input(vector, PAYLOAD)
    assert not client.done
    client.set_input(VECTOR, PAYLOAD)


def test_read_only_and_strided_vectors() -> None:
    strided = np.repeat(VECTOR[0], 2)[::2]
    frozen = VECTOR[1].copy()
    frozen.setflags(write=False)
    client = SCRIPT.client(2, with_input=False)
    client.set_input((strided, frozen), PAYLOAD)
    assert [m.data for m in client.outgoing()] == [SCRIPT.outbox[2]]


def test_masks_cancel_in_the_sum_of_all_and_no_sooner() -> None:
    """Without the self masks the vectors of everybody add up to the plain sum."""
    network = network_of(COMPLETE).run_until("share-keys")
    secrets: Any = {
        party: (standing(client).b, standing(client).place.session)
        for party, client in network.clients.items()
    }
    network.run_until("masked-input")
    total = [np.zeros(s.length, np.uint64) for s in LAYOUT.segments]
    from secagg.wire.codec import Reader
    from secagg_protocols.secagg.messages import read_masked_input

    for party, client in network.clients.items():
        data = network.queued(party)[0]
        assert sent_by(network, party, Tag.MASKED_INPUT) == []
        _, packed = read_masked_input(Reader(body(data)), 5, LAYOUT)
        known: Any = client
        b, session = secrets[party]
        own = keys.self_keys(b, session, party, 2)
        for number, lane in enumerate(packed.unpack()):
            stream = np.zeros_like(lane)
            known._terms.expander(stream, own[number], b"\1")
            total[number] += lane.astype(np.uint64) - stream.astype(np.uint64)
    inputs = inputs_of(6)
    masks = [np.uint64(s.group.mask) for s in LAYOUT.segments]
    got = [(lane & mask).tolist() for lane, mask in zip(total, masks, strict=True)]
    assert got == plain_sum(LAYOUT, inputs, inputs)


def test_secrets_are_forgotten_in_time() -> None:
    """What masks, with the input, once it has masked; the rest with the answer or the end."""
    dealt = standing(SCRIPT.client(1, with_input=False))
    opened = standing(SCRIPT.client(2, with_input=False))
    assert isinstance(dealt.keys.c, KeyPair) and dealt.sealing
    assert isinstance(opened.b, Seed) and isinstance(opened.s, KeyPair)
    assert not hasattr(opened, "c") and not hasattr(opened, "sealing")
    known: Any = SCRIPT.client(2)
    assert known._vector is None
    assert {f.name for f in fields(standing(known))} == {"place", "view", "held"}
    assert len(standing(known).held) > 1
    known.receive(SERVER, SCRIPT.inbox[2])
    assert standing(known) == Answered()
    aborted: Any = SCRIPT.client(2, with_input=False)
    aborted.abort(AbortReason.CANCELLED)
    assert standing(aborted) == Ended(Aborted(AbortReason.CANCELLED))
    assert not aborted._memo and not set(secrets_of(aborted))


def test_a_survivor_set_is_made_by_the_check_alone() -> None:
    with pytest.raises(LocalProtocolError):
        SurvivorSet(frozenset({1, 2, 3}), object())


def test_a_lost_neighbour_does_not_end_a_client() -> None:
    client = SCRIPT.client(1)
    client.lost(PartyId(3))
    assert not client.done
    client.lost(SERVER)
    assert client.events() == [Aborted(AbortReason.LOST)]


def test_a_client_of_a_regular_graph_has_its_neighbours_only() -> None:
    network = network_of(REGULAR)
    network.run()
    dealt = {len(m.data) for m in network.sent if m.data[2] == Tag.SHARE_KEYS}
    assert dealt == {35 + 32 + REGULAR.degree * 104}


def test_the_repr_tells_party_and_state() -> None:
    assert repr(SCRIPT.client(1)) == "SecAggClient(party=0, state=want-shares)"


def test_rule_c1_what_was_acknowledged_is_not_said_again() -> None:
    """Row 25: a repeat is known and ignored; nothing is computed or kept for it."""
    script = Script()
    client = script.client(2, with_input=True)
    client.outgoing(), client.events()
    client.acknowledged()
    client.receive(SERVER, script.inbox[1])
    assert client.outgoing() == []
    assert [type(event) for event in client.events()] == [Ignored]
    client.receive(SERVER, script.inbox[2])
    assert len(client.outgoing()) == 1 and client.done
