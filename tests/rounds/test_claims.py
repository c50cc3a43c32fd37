"""Claims of messages and of named inputs (secagg/rounds/claims.py)."""

from __future__ import annotations

import pytest

from secagg.crypto import labels
from secagg.errors import PolicyRefused, Spent
from secagg.rounds.base import NAMES, ROUNDS, Outbox, sorted_out
from secagg.rounds.claims import Names, message_claim, name_of, use_digest
from secagg.types import PartyId
from secagg.wire.frame import payload_digest
from tests.rounds.world import commit, nonce, toy

OFFER, ME = bytes(32), PartyId(3)
MESSAGE = b"\x01\x01\x05" + bytes(32) + b"masked"


def test_a_message_is_known_by_session_party_and_step() -> None:
    """10-secagg.md C9: another wording of one step has the same key and another digest."""
    one = message_claim(OFFER, nonce(1), ME, MESSAGE)
    assert one.key == labels.digest(labels.CLAIM, OFFER, nonce(1), ME, 5)
    other = message_claim(OFFER, nonce(1), ME, MESSAGE + b"!")
    assert other.key == one.key and other.digest != one.digest
    keys = {
        one.key,
        message_claim(b"o" * 32, nonce(1), ME, MESSAGE).key,
        message_claim(OFFER, nonce(2), ME, MESSAGE).key,
        message_claim(OFFER, nonce(1), PartyId(4), MESSAGE).key,
        message_claim(OFFER, nonce(1), ME, b"\x01\x01\x06" + MESSAGE[3:]).key,
    }
    assert len(keys) == 5


def test_what_an_input_is_known_by() -> None:
    """A given name stands for values, whatever the server says that a round is about."""
    one = toy(3).session(nonce(1), payload_digest(b"task"))
    other = toy(4).session(nonce(2), payload_digest(b"other"))
    assert name_of("visit 7", one, True) == name_of(b"visit 7", other, False)
    assert name_of("visit 7", one, True) != name_of("visit 8", one, True)
    assert name_of(None, one, True) == name_of(
        None, toy(3).session(nonce(9), one.payload_digest), True
    )
    assert name_of(None, one, True) != name_of(None, other, True)
    assert name_of(None, one, True) != name_of(
        None, toy(4).session(nonce(1), one.payload_digest), True
    )
    assert name_of(None, one, False) is None


NAME = bytes(range(32))


def taken(names: Names, number: int) -> bytes:
    claim = names.take(NAME, nonce(number), use_digest(OFFER, nonce(number), ME))
    assert claim.digest == use_digest(OFFER, nonce(number), ME)
    return claim.key


def test_a_name_is_open_in_one_session_at_a_time() -> None:
    names = Names(None)
    key = taken(names, 1)
    assert taken(names, 1) == key, "of the same session it is the same claim"
    with pytest.raises(PolicyRefused, match="another round"):
        taken(names, 2)
    names.release(nonce(2), left=True, again=False)
    assert taken(names, 1) == key, "what another session does changes nothing"


def test_a_session_holds_the_name_that_was_given_last() -> None:
    """An application may give another input after a restart, as long as none has left: what is
    claimed again later is the use of that one, and the other is free."""
    names, use = Names(None), use_digest(OFFER, nonce(1), ME)
    first = taken(names, 1)
    other = names.take(bytes(32), nonce(1), use)
    assert names.held(nonce(1), use) == other
    names.release(nonce(1), left=True, again=False)
    assert taken(names, 2) == first
    with pytest.raises(Spent):
        names.take(bytes(32), nonce(2), use)


@pytest.mark.parametrize(
    ("left", "again", "spent", "new_attempt"),
    [
        (True, True, False, True),
        (True, False, True, False),
        (False, False, False, False),
        (False, True, False, False),
    ],
)
def test_the_next_attempt(left: bool, again: bool, spent: bool, new_attempt: bool) -> None:
    """Only what has left costs an attempt; only what is in no sum has another one."""
    names = Names(None)
    key = taken(names, 1)
    names.release(nonce(1), left=left, again=again)
    if spent:
        with pytest.raises(Spent, match="another name"):
            taken(names, 2)
    else:
        assert (taken(names, 2) != key) is new_attempt


def by_name(store: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found = sorted_out(store.items())
    return {n + key[1:]: value for (n, _), own in found.items() for key, value in own.items()}


@pytest.mark.parametrize("running", [True, False])
def test_a_restart_leaves_it_spent_unless_its_session_goes_on(running: bool) -> None:
    store: dict[bytes, bytes] = {}
    outbox = Outbox()
    names = Names(outbox)
    key = taken(names, 1)
    commit(store, outbox.take().writes)
    again = Names(outbox)
    rows = {k[1:]: v for k, v in sorted_out(store.items())[NAMES, ROUNDS].items()}
    assert set(rows) == {NAME}
    again.restore(rows.items(), [nonce(1)] if running else [])
    if running:
        assert taken(again, 1) == key
        return
    with pytest.raises(Spent):
        taken(again, 1)
    commit(store, outbox.take().writes)
    third = Names(None)
    rows = {k[1:]: v for k, v in sorted_out(store.items())[NAMES, ROUNDS].items()}
    third.restore(rows.items(), [nonce(1)])
    with pytest.raises(Spent):
        taken(third, 1)
