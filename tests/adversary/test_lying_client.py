"""Rows 24-26, 33, 37-43, 48, 50: one client misbehaves, and the others get their exact sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from secagg.errors import BelowThreshold
from secagg.sansio import Ignored
from secagg.testing import Act, Carried, Network, Schedule
from secagg.types import SERVER, AbortReason, Fault, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.messages import Abort, Tag
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import (
    COMPLETE,
    PHASES,
    aborts,
    assert_exact,
    body,
    faults,
    flip,
    network_of,
    sent_by,
    session_of,
)

LIAR = 3
TAGS = {
    "advertise-keys": Tag.ADVERTISE_KEYS,
    "share-keys": Tag.SHARE_KEYS,
    "masked-input": Tag.MASKED_INPUT,
    "unmask": Tag.UNMASK_ANSWER,
}


def saying(phase: str, *instead: Callable[[bytes], bytes]) -> Network:
    """The liar says these things in place of its message of one phase."""

    def wire(message: Carried) -> Sequence[bytes]:
        if (message.phase, message.sender) == (phase, LIAR):
            return [one(message.data) for one in instead]
        return (message.data,)

    return network_of(COMPLETE, wire=wire)


def honest(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("phase", PHASES[:3])
def test_row_24_a_message_of_a_later_phase(phase: str) -> None:
    later = TAGS[PHASES[PHASES.index(phase) + 1]]
    network = saying(phase, lambda data: data[:2] + bytes([later]) + data[3:])
    total = assert_exact(network)
    assert faults(network) == {LIAR: Fault.WRONG_PHASE}
    assert LIAR not in total.contributors


@pytest.mark.parametrize("phase", PHASES)
def test_row_25_the_same_message_again(phase: str) -> None:
    network = saying(phase, honest, honest, honest)
    assert LIAR in assert_exact(network).contributors
    assert not faults(network)
    ignored = [e for who, e in network.events if who == SERVER and isinstance(e, Ignored)]
    assert ignored == [Ignored(PartyId(LIAR), "duplicate")] * 2


@pytest.mark.parametrize("phase", PHASES)
def test_row_26_two_different_messages(phase: str) -> None:
    """A vector that was added stays in the sum; keys and shares already taken are dead weight."""
    network = saying(phase, honest, lambda data: flip(data, 8 * (len(data) - 1)))
    total = assert_exact(network)
    assert faults(network) == {LIAR: Fault.EQUIVOCATION}
    assert (LIAR in total.contributors) == (phase in PHASES[2:])


@pytest.mark.parametrize("phase", PHASES[1:])
def test_row_26_another_message_for_an_earlier_phase(phase: str) -> None:
    earlier = TAGS[PHASES[PHASES.index(phase) - 1]]
    network = saying(phase, lambda data: data[:2] + bytes([earlier]) + data[3:])
    assert_exact(network)
    assert faults(network) == {LIAR: Fault.EQUIVOCATION}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("tag", [Tag.KEY_LIST, Tag.SHARE_LIST, Tag.UNMASK_REQUEST])
def test_row_24_a_servers_message_from_a_client(phase: str, tag: Tag) -> None:
    network = saying(phase, lambda data: data[:2] + bytes([tag]) + data[3:])
    assert_exact(network)
    assert faults(network) == {LIAR: Fault.WRONG_PHASE}


def test_row_37_a_masked_input_after_u3_froze() -> None:
    schedule = Schedule({("masked-input", PartyId(LIAR)): Act.LATE})
    network = network_of(COMPLETE, schedule=schedule)
    assert LIAR not in assert_exact(network).contributors
    assert faults(network) == {LIAR: Fault.LATE}
    assert (SERVER, Ignored(PartyId(LIAR), "nothing is expected of this party")) in network.events


def test_row_38_an_answer_after_the_reconstruction() -> None:
    schedule = Schedule({("unmask", PartyId(LIAR)): Act.LATE})
    network = network_of(COMPLETE, schedule=schedule)
    assert LIAR in assert_exact(network).contributors
    assert faults(network) == {LIAR: Fault.LATE}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("params", [COMPLETE, SecAggParams(6, 5, 4, 5, 4)], ids=["m=4", "m=5"])
def test_rows_39_40_exactly_enough_and_one_fewer(params: SecAggParams, phase: str) -> None:
    first = phase == PHASES[0]
    enough = params.min_clients if first else params.min_survivors
    gone = {(phase, PartyId(i)): Act.GONE for i in range(params.clients - enough)}
    network = network_of(params, schedule=Schedule(gone))
    assert len(assert_exact(network).contributors) == (6 if phase == "unmask" else enough)
    gone[phase, PartyId(5)] = Act.GONE
    error = aborts(fewer := network_of(params, schedule=Schedule(gone)))
    assert isinstance(error, BelowThreshold)
    assert fewer.server.phase == "aborted"
    if phase != "unmask":
        assert not any(m.data[2] == Tag.UNMASK_ANSWER for m in fewer.sent)


@pytest.mark.parametrize("act", [Act.LEAVES, Act.DEAF, Act.GONE])
def test_row_41_all_vanish_after_the_masked_input(act: Act) -> None:
    phase = "unmask" if act is Act.GONE else "masked-input"
    acts = {(phase, PartyId(i)): act for i in range(6)}
    network = network_of(COMPLETE, schedule=Schedule(acts))
    assert isinstance(aborts(network), BelowThreshold)
    assert not any(m.data[2] == Tag.UNMASK_ANSWER for m in network.sent)


def test_row_42_two_sessions_at_once_have_masks_of_their_own() -> None:
    one, two = network_of(COMPLETE, seed=b"1"), network_of(COMPLETE, seed=b"2")
    for phase in PHASES[1:]:
        one.run_until(phase), two.run_until(phase)  # in turn
    assert_exact(one), assert_exact(two)
    for party in range(6):
        first, second = (sent_by(n, party, Tag.MASKED_INPUT)[0] for n in (one, two))
        assert body(first)[1:] != body(second)[1:]


def test_row_43_one_identity_on_two_machines() -> None:
    """The second one's keys are a second message: the identity is dropped, the round is not."""
    twin = network_of(COMPLETE, seed=b"twin").run_until("advertise-keys")
    network = saying("advertise-keys", honest, lambda data: twin.queued(PartyId(LIAR))[0])
    assert LIAR not in assert_exact(network).contributors
    assert faults(network) == {LIAR: Fault.EQUIVOCATION}


@pytest.mark.parametrize("phase", PHASES)
def test_row_48_an_abort_drops_its_sender_only(phase: str) -> None:
    offer = session_of(COMPLETE).offer("secagg")
    network = saying(phase, lambda data: Abort(AbortReason.CANCELLED).encode(offer))
    assert_exact(network)
    assert faults(network) == {LIAR: Fault.QUIT}


def test_row_48_an_abort_from_another_client_is_ignored() -> None:
    network = network_of(COMPLETE)
    offer = session_of(COMPLETE).offer("secagg")
    network.start()
    victim = network.clients[PartyId(0)]
    victim.receive(PartyId(LIAR), Abort(AbortReason.CANCELLED).encode(offer))
    assert not victim.done
    assert_exact(network)


# Keys (rows 33, 50)


def test_row_50_keys_of_small_order_and_non_canonical_ones() -> None:
    """Rule S4."""
    p = 2**255 - 19
    for u in (0, 1, p - 1, p, p + 1, p + 9, 2**255 - 1, 2**255 + 9):
        bad = u.to_bytes(32, "little")
        for at in (0, 32):
            network = saying(
                "advertise-keys",
                lambda data, at=at, bad=bad: (  # type: ignore[misc]
                    data[: HEADER_SIZE + at] + bad + data[HEADER_SIZE + at + 32 :]
                ),
            )
            assert LIAR not in assert_exact(network).contributors
            assert faults(network) == {LIAR: Fault.INVALID_KEY}


def test_row_33_a_key_somebody_else_advertised() -> None:
    other = network_of(COMPLETE).run_until("advertise-keys").queued(PartyId(0))[0]
    for start in (HEADER_SIZE, HEADER_SIZE + 32):
        network = saying(
            "advertise-keys",
            lambda data, start=start: (  # type: ignore[misc]
                data[:HEADER_SIZE] + other[start : start + 32] + data[HEADER_SIZE + 32 :]
            ),
        )
        assert_exact(network)
        assert faults(network) == {LIAR: Fault.INVALID_KEY}


def test_row_33_both_keys_alike() -> None:
    network = saying(
        "advertise-keys",
        lambda data: data[: HEADER_SIZE + 32] + data[HEADER_SIZE : HEADER_SIZE + 32],
    )
    assert_exact(network)
    assert faults(network) == {LIAR: Fault.INVALID_KEY}
