"""All rows of a client as one blob (03-storage.md §2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import InvalidTag, ParameterError, SecAggError, Spent, TooLarge, UnknownVersion
from secagg.store import sealed
from secagg.store.memory import MemoryLedger
from secagg.types import Seed

KEY, SESSION = Seed(bytes(range(32))), b"session"
ROWS = [(bytes(17), b"value"), (bytes(16) + b"\x01k", b""), (b"\xff" * 16 + b"\x01k", bytes(300))]
KEYS = st.binary(min_size=17, max_size=20)


@settings(max_examples=60, deadline=None)
@given(rows=st.dictionaries(KEYS, st.binary(max_size=200), max_size=6))
def test_what_was_sealed_opens(rows: dict[bytes, bytes]) -> None:
    """03 §2.3, §2.5: in any order, by ascending key, and one blob for the same rows."""
    blob = sealed.seal(rows.items(), KEY, SESSION)
    assert sealed.open(blob, KEY, SESSION) == sorted(rows.items())
    assert sealed.seal(reversed(rows.items()), KEY, SESSION) == blob
    assert len(blob) == sealed.OVERHEAD + sum(
        sealed.ROW_OVERHEAD + len(key) + len(value) for key, value in rows.items()
    )


def test_a_blob_opens_for_its_session_and_key_alone() -> None:
    """03 §2.1: every bit counts, and so does every byte of the session's name."""
    blob = sealed.seal(ROWS, KEY, SESSION)
    for key, session in ((Seed(bytes(32)), SESSION), (KEY, b"sessioN"), (KEY, b"sessions")):
        with pytest.raises(InvalidTag, match="do not open"):
            sealed.open(blob, key, session)
    for bit in range(8, 8 * len(blob), 7):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTag):
            sealed.open(changed, KEY, SESSION)
    for size in range(sealed.OVERHEAD, len(blob)):
        with pytest.raises(InvalidTag):
            sealed.open(blob[:size], KEY, SESSION)


def test_other_rows_share_nothing_with_those_before() -> None:
    """03 §2.2: no stream is used twice, whatever generator a client that was copied has."""
    one, other = (
        sealed.seal([(bytes(17), bytes(500) + end)], KEY, SESSION) for end in (b"a", b"b")
    )
    equal = sum(a == b for a, b in zip(one[17:], other[17:], strict=True))
    assert equal < 20, "by chance, two of 526 bytes"


def _blob(plain: bytes) -> bytes:
    return bytes([1]) + sealed._cipher(KEY).encrypt(plain, [sealed._context(SESSION)])


ROW = (17).to_bytes(4) + bytes(17) + (1).to_bytes(4) + b"v"
SECOND = (17).to_bytes(4) + bytes(16) + b"\x01" + (0).to_bytes(4)


@pytest.mark.parametrize(
    "plain",
    [
        bytes(4) + b"\0",
        (1).to_bytes(4) + ROW + b"\0",
        (2).to_bytes(4) + ROW,
        (2).to_bytes(4) + ROW + ROW,
        (2).to_bytes(4) + SECOND + ROW,
        (1).to_bytes(4) + (16).to_bytes(4) + bytes(16) + bytes(4),
        (1).to_bytes(4) + ROW[:-1],
        (2**32 - 1).to_bytes(4) + ROW,
        (1).to_bytes(4) + (2**32 - 1).to_bytes(4) + bytes(17) + bytes(4),
    ],
)
def test_there_is_one_encoding_of_rows(plain: bytes) -> None:
    """Rows 2 to 5, 9, 13: of what has the right key, from a client that is not ours."""
    with pytest.raises(SecAggError) as refused:
        sealed.open(_blob(plain), KEY, SESSION)
    assert "WireError" in [kind.__name__ for kind in type(refused.value).__mro__]
    assert sealed.open(_blob((2).to_bytes(4) + ROW + SECOND), KEY, SESSION)[0] == (bytes(17), b"v")


def test_what_is_no_blob() -> None:
    """Rows 1, 7, 11."""
    with pytest.raises(UnknownVersion, match="version 2.*knows 1"):
        sealed.open(b"\x02" + sealed.seal(ROWS, KEY, SESSION)[1:], KEY, SESSION)
    for size in range(sealed.OVERHEAD):
        with pytest.raises(SecAggError, match="holds no rows"):
            sealed.open(b"\x01" * size, KEY, SESSION)
    with pytest.raises(TooLarge):
        sealed.open(bytes(sealed.MAX_BLOB + 1), KEY, SESSION)
    with pytest.raises(TooLarge):
        sealed.seal([(bytes(17), bytes(sealed.MAX_BLOB))], KEY, SESSION)
    for rows in ([ROWS[0], ROWS[0]], [(bytes(16), b"")]):
        with pytest.raises(ParameterError, match="each once"):
            sealed.seal(rows, KEY, SESSION)


def test_rows_of_a_session_that_ended_or_that_the_ledger_does_not_know() -> None:
    """Row 98: a ledger of before the session has another key, and what is dropped stays so."""
    ledger, older = MemoryLedger(), MemoryLedger()
    blob = sealed.seal(ROWS, ledger.key(SESSION), SESSION)
    assert sealed.open(blob, ledger.key(SESSION), SESSION) == sorted(ROWS)
    with pytest.raises(InvalidTag, match="the ledger that made their key"):
        sealed.open(blob, older.key(SESSION), SESSION)
    ledger.end(SESSION)
    with pytest.raises(Spent):
        ledger.key(SESSION)
