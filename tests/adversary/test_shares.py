"""Rows 53-58: sealed pairs that do not open, and shares that are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from secagg import shamir
from secagg.errors import Aborted
from secagg.sansio import Disputed
from secagg.testing import Act, Carried, Network, Schedule
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.messages import SEALED_SIZE, SHARE_SIZE, Tag
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import (
    COMPLETE,
    REGULAR,
    aborts,
    assert_exact,
    body,
    faults,
    flip,
    network_of,
    replacing,
    replacing_to,
    sent_by,
)

LIAR = 3


# Sealed pairs (rows 53, 54)


def _sealed(place: int) -> slice:
    start = HEADER_SIZE + 32 + place * SEALED_SIZE
    return slice(start, start + SEALED_SIZE)


def _failing(change: Callable[[bytes], bytes], party: int, expected: int) -> None:
    """`party` cannot open `expected` pairs; it still masks, and the sum is exact."""
    network = network_of(COMPLETE, wire=replacing_to(party, Tag.SHARE_LIST, change))
    assert len(assert_exact(network).contributors) == 6
    assert not faults(network)
    listed = body(sent_by(network, party, Tag.MASKED_INPUT)[0])[0]
    assert listed.bit_count() == expected
    assert len(body(sent_by(network, party, Tag.UNMASK_ANSWER)[0])) == (6 - expected) * SHARE_SIZE


LIST_START = HEADER_SIZE + 1


@pytest.mark.parametrize("byte", [0, 5, SEALED_SIZE - 16, SEALED_SIZE - 1])
def test_row_53_a_pair_that_does_not_open(byte: int) -> None:
    """Rule C6 and C7: it still masks with that dealer."""
    _failing(lambda data: flip(data, 8 * (LIST_START + byte)), party=0, expected=1)


def test_row_53_pairs_of_other_dealers_swapped() -> None:
    def swapped(data: bytes) -> bytes:
        first, second = LIST_START, LIST_START + SEALED_SIZE
        end = second + SEALED_SIZE
        return data[:first] + data[second:end] + data[first:second] + data[end:]

    _failing(swapped, party=0, expected=2)


def test_row_53_the_other_direction_of_the_same_pair() -> None:
    """What 0 sealed to 1 is not what 1 sealed to 0, though the shared secret is the same."""
    reference = network_of(COMPLETE)
    reference.run()
    dealt = sent_by(reference, 0, Tag.SHARE_KEYS)[0]
    own = dealt[_sealed(0)]
    _failing(
        lambda data: data[:LIST_START] + own + data[LIST_START + SEALED_SIZE :],
        party=0,
        expected=1,
    )


def test_row_53_a_pair_of_another_session() -> None:
    other = network_of(COMPLETE, seed=b"other")
    other.run()
    dealt = sent_by(other, 1, Tag.SHARE_KEYS)[0]
    _failing(
        lambda data: data[:LIST_START] + dealt[_sealed(0)] + data[LIST_START + SEALED_SIZE :],
        party=0,
        expected=1,
    )


def test_row_53_a_recipient_with_too_few_valid_pairs_stops() -> None:
    """Rule C6."""

    def ruined(data: bytes) -> bytes:
        for place in range(3):
            data = flip(data, 8 * (LIST_START + place * SEALED_SIZE))
        return data

    network = network_of(COMPLETE, wire=replacing_to(0, Tag.SHARE_LIST, ruined))
    total = assert_exact(network)
    assert total.dropped == {0}
    assert faults(network) == {0: Fault.QUIT}
    assert "pairs are valid" in str(network.refusals[PartyId(0)])
    assert not sent_by(network, 0, Tag.MASKED_INPUT)


def _with_plaintext(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> Network:
    """The liar seals other plaintexts, correctly."""
    from secagg_protocols.secagg import dealing, keys

    genuine = keys.seal_pair

    def sealing(shared, session, dealer, holder, plaintext):  # type: ignore[no-untyped-def]
        altered = change(plaintext) if dealer.index == LIAR else plaintext
        return genuine(shared, session, dealer, holder, altered)

    monkeypatch.setattr(dealing.keys, "seal_pair", sealing)
    return network_of(COMPLETE)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (7).to_bytes(4) + p[4:],
        lambda p: p[:4] + (9).to_bytes(4) + p[8:],
        lambda p: p[4:8] + p[:4] + p[8:],
        lambda p: p[:8] + b"\xff" * 40 + p[48:],
        lambda p: p[:48] + b"\xff" * 40,
    ],
    ids=["dealer", "holder", "swapped", "b-limb", "s-limb"],
)
def test_row_54_plaintexts_that_open_and_are_wrong(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    """Missing for every holder, so the dealer alone holds a share: the round cannot open its b."""
    network = _with_plaintext(monkeypatch, change)
    error = aborts(network)
    assert error.reason is AbortReason.BELOW_THRESHOLD
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}
    for party in set(range(6)) - {LIAR}:
        assert body(sent_by(network, party, Tag.MASKED_INPUT)[0])[0].bit_count() == 1
    assert not any(m.data[2] == Tag.UNMASK_ANSWER for m in network.sent)


def test_row_54_a_holder_says_the_same_of_every_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its masked input does not tell a wrong tag from a wrong plaintext."""
    opened = _with_plaintext(monkeypatch, lambda p: (7).to_bytes(4) + p[4:])
    aborts(opened)
    monkeypatch.undo()

    def broken(message: Carried) -> Sequence[bytes]:
        if message.data[2] == Tag.SHARE_LIST and message.to != LIAR:
            place = LIAR - (message.to < LIAR)
            return (flip(message.data, 8 * (LIST_START + place * SEALED_SIZE)),)
        return (message.data,)

    sealed = network_of(COMPLETE, wire=broken)
    aborts(sealed)
    for party in set(range(6)) - {LIAR}:
        assert sent_by(opened, party, Tag.MASKED_INPUT) == sent_by(sealed, party, Tag.MASKED_INPUT)


# Shares (rows 55-58)


@pytest.mark.parametrize("limb", range(5))
def test_row_55_a_share_outside_its_field(limb: int) -> None:
    at = HEADER_SIZE + 8 * limb

    def high(data: bytes) -> bytes:
        return data[:at] + shamir.P.to_bytes(8) + data[at + 8 :]

    network = network_of(COMPLETE, wire=replacing(LIAR, Tag.UNMASK_ANSWER, high))
    assert len(assert_exact(network).contributors) == 6
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}


@pytest.mark.parametrize("size", [0, 40, 239, 241, 280])
def test_row_55_answers_of_another_length(size: int) -> None:
    def cut(data: bytes) -> bytes:
        return data[:HEADER_SIZE] + bytes(size)

    network = network_of(COMPLETE, wire=replacing(LIAR, Tag.UNMASK_ANSWER, cut))
    assert_exact(network)
    assert faults(network) == {LIAR: Fault.MALFORMED}


@pytest.mark.parametrize("params", [COMPLETE, REGULAR], ids=["complete", "regular"])
@pytest.mark.parametrize("byte", [7, 39, 40 + 7, 2 * 40 + 15])
def test_row_56_a_wrong_share_never_gives_a_wrong_sum(params: SecAggParams, byte: int) -> None:
    """Client 0 is the smallest x of what it holds, so its share is always among those tried first.
    With an answer to spare the sum is exact, without one there is none: test_wrong_shares.py."""
    change = replacing(0, Tag.UNMASK_ANSWER, lambda d: flip(d, 8 * (HEADER_SIZE + byte)))
    assert_exact(network_of(params, wire=change))
    rest = {("unmask", PartyId(party)): Act.GONE for party in (4, 5)}
    network = network_of(COMPLETE, wire=change, schedule=Schedule(rest))
    assert aborts(network).reason is AbortReason.SHARE_ERROR
    with pytest.raises(Aborted):
        network.server.result()


def test_row_56_somebody_elses_shares_and_the_other_secret() -> None:
    """Row 55's "x of another client": canonical shares in the wrong place."""
    reference = network_of(COMPLETE)
    reference.run()
    other = sent_by(reference, 1, Tag.UNMASK_ANSWER)[0]

    def rotated(data: bytes) -> bytes:
        return data[:HEADER_SIZE] + data[HEADER_SIZE + 40 :] + data[HEADER_SIZE:][:40]

    for change in (lambda data: other, rotated):
        network = network_of(COMPLETE, wire=replacing(0, Tag.UNMASK_ANSWER, change))
        assert_exact(network)
        pairs = {(e.dealer, e.holder) for _, e in network.events if isinstance(e, Disputed)}
        assert pairs == {(dealer, 0) for dealer in range(6)}


@pytest.mark.parametrize("secret", ["b", "s"])
def test_rows_57_58_a_dealer_whose_shares_are_of_another_secret(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """The rebuilt b misses its commitment, the rebuilt s_sk its key: no sum, and it is named."""
    genuine = shamir.split
    calls = {"number": 0}

    def split(value, threshold, points, randomness):  # type: ignore[no-untyped-def]
        calls["number"] += 1
        if calls["number"] == 2 * LIAR + (1 if secret == "b" else 2):
            value = type(value)(bytes(31) + b"\1")
        return genuine(value, threshold, points, randomness)

    monkeypatch.setattr(shamir, "split", split)
    params = SecAggParams(7, 6, 4, 4, 4)
    lost = {("masked-input", PartyId(LIAR)): Act.GONE} if secret == "s" else {}
    network = network_of(params, schedule=Schedule(lost))
    error = aborts(network)
    assert error.reason is AbortReason.SHARE_ERROR
    assert f"client {LIAR}" in str(error)
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}


def test_row_58_a_commitment_that_does_not_fit() -> None:
    change = replacing(LIAR, Tag.SHARE_KEYS, lambda data: flip(data, 8 * HEADER_SIZE))
    network = network_of(COMPLETE, wire=change)
    assert aborts(network).reason is AbortReason.SHARE_ERROR
    assert faults(network) == {LIAR: Fault.INVALID_SHARE}


def test_failed_dealers_must_be_in_u2() -> None:
    """A holder cannot claim that a pair which was never sent did not open."""

    def claims(message: Carried) -> Sequence[bytes]:
        if message.sender == LIAR and message.data[2] == Tag.MASKED_INPUT:
            data = bytearray(message.data)
            data[HEADER_SIZE] |= 1  # client 0, who is gone
            return (bytes(data),)
        return (message.data,)

    schedule = Schedule({("share-keys", PartyId(0)): Act.GONE})
    network = network_of(COMPLETE, schedule=schedule, wire=claims)
    assert LIAR not in assert_exact(network).contributors
    assert faults(network) == {0: Fault.LOST, LIAR: Fault.MALFORMED}
