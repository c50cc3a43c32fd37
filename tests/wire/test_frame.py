"""The frames of one link (specs/01-wire.md §3; threats B1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import labels
from secagg.errors import (
    BadTag,
    ParameterError,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.types import FIRST_RESERVED, AbortReason, Fault, PartyId
from secagg.wire.frame import (
    HEAD_SIZE,
    MAX_SIZE,
    Announce,
    DigestOnly,
    Frame,
    Message,
    Over,
    decode_frame,
    payload_digest,
)

LIMIT = 4096
NONCE = bytes(range(16))

nonces = st.binary(min_size=16, max_size=16)
u32 = st.integers(0, 2**32 - 1)
digests = st.builds(
    DigestOnly, st.binary(min_size=32, max_size=32), st.just(0) | st.integers(1, MAX_SIZE)
)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        Announce,
        nonces,
        st.integers(0, FIRST_RESERVED - 1).map(PartyId),
        st.lists(u32, max_size=5).map(tuple),
        st.binary(max_size=64),
        st.binary(max_size=64) | digests,
    ),
    st.builds(Message, nonces, st.binary(max_size=64)),
    st.builds(
        Over,
        nonces,
        st.none() | st.sampled_from(AbortReason),
        u32,
        u32,
        st.none() | st.sampled_from(Fault),
    ),
)

ANNOUNCE = Announce(NONCE, PartyId(7), (1500, 60_000), b"plan", b"task")
OVER = Over(NONCE, AbortReason.BELOW_THRESHOLD, 0, 3)
EXAMPLES = [ANNOUNCE, Message(NONCE, b"hello"), OVER]


@given(frames)
@settings(max_examples=200, deadline=None)
def test_decode_of_encode_is_identity(frame: Frame) -> None:
    """Row 23, one way."""
    assert decode_frame(frame.encode(), limit=LIMIT) == frame
    assert frame.size == len(frame.encode())


@given(frames, st.data())
@settings(max_examples=400, deadline=None)
def test_what_is_accepted_encodes_to_the_same_bytes(frame: Frame, data: st.DataObject) -> None:
    """Row 23, the other way: one changed byte gives a typed error or another frame's only form."""
    raw = bytearray(frame.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        accepted = decode_frame(raw, limit=LIMIT)
    except WireError:
        return
    assert accepted.encode() == bytes(raw)


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_frame_or_a_wire_error(raw: bytes) -> None:
    try:
        assert decode_frame(b"\x01" + raw, limit=LIMIT).encode() == b"\x01" + raw
    except WireError:
        pass


def test_the_bytes_of_each_kind() -> None:
    """Written by hand from the grammar, so that a change of the format is noticed."""
    assert ANNOUNCE.encode() == (
        b"\x01\x01" + NONCE + b"\0\0\0\x07"
        b"\x02\0\0\x05\xdc\0\0\xea\x60"
        b"\0\0\0\x04plan\0\0\0\0\x04task"
    )
    absent = Announce(NONCE, PartyId(0), (), b"", DigestOnly(b"d" * 32))
    assert absent.encode() == b"\x01\x01" + NONCE + bytes(4 + 1 + 4) + b"\x01" + b"d" * 32
    sized = Announce(NONCE, PartyId(0), (), b"", DigestOnly(b"d" * 32, 5))
    assert sized.encode()[27:] == b"\x02" + (5).to_bytes(8) + b"d" * 32
    assert sized.size == len(sized.encode())
    assert Message(NONCE, b"hello").encode() == b"\x01\x02" + NONCE + b"hello"
    assert OVER.encode() == b"\x01\x03" + NONCE + b"\x01\0\0\0\0\0\0\0\x03\0"
    assert Over(NONCE, None, 5, 1).encode()[HEAD_SIZE:] == b"\0\0\0\0\x05\0\0\0\x01\0"
    assert Over(NONCE, None, 5, 1, Fault.LATE).encode()[-1:] == b"\x02"


def test_the_standing_of_whoever_is_told() -> None:
    """specs/01-wire.md §6: in the sum only where there is one and no fault."""
    assert Over(NONCE, None, 5, 1).included
    assert not Over(NONCE, None, 5, 1, Fault.LATE).included
    assert not Over(NONCE, AbortReason.BELOW_THRESHOLD, 0, 6).included
    assert [Fault.from_code(fault.code) for fault in Fault] == list(Fault)


@pytest.mark.parametrize("frame", [ANNOUNCE, OVER], ids=["announce", "over"])
def test_truncated_at_every_offset(frame: Frame) -> None:
    """Rows 1 and 2."""
    raw = frame.encode()
    for size in range(len(raw)):
        with pytest.raises(Truncated):
            decode_frame(raw[:size], limit=LIMIT)


def test_a_message_needs_its_head() -> None:
    """Row 2: the body of a message runs to the end, so only its head can be cut."""
    raw = Message(NONCE, b"").encode()
    assert decode_frame(raw, limit=LIMIT) == Message(NONCE, b"")
    for size in range(HEAD_SIZE):
        with pytest.raises(Truncated):
            decode_frame(raw[:size], limit=LIMIT)


@pytest.mark.parametrize("frame", [ANNOUNCE, OVER], ids=["announce", "over"])
def test_one_trailing_byte(frame: Frame) -> None:
    """Row 3."""
    with pytest.raises(TrailingBytes):
        decode_frame(frame.encode() + b"\0", limit=LIMIT)


@pytest.mark.parametrize("length", [b"\0\0\0\xff", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("field", [b"\0\0\0\x04plan", b"\0\0\0\x04task"])
def test_a_length_past_the_end(field: bytes, length: bytes) -> None:
    """Rows 4 and 5: refused before anything is allocated."""
    raw = ANNOUNCE.encode().replace(field, length + field[4:])
    with pytest.raises(TooLarge):
        decode_frame(raw, limit=LIMIT)


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_an_unknown_kind(kind: int) -> None:
    """Row 6."""
    with pytest.raises(BadTag, match=f"kind {kind} "):
        decode_frame(bytes([1, kind]) + NONCE, limit=LIMIT)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_unknown_version_names_the_supported_one(version: int) -> None:
    """Row 7."""
    with pytest.raises(UnknownVersion, match=f"{version}.*version 1"):
        decode_frame(bytes([version, 2]) + NONCE, limit=LIMIT)


def test_a_reserved_party_an_unknown_mode_and_an_unknown_outcome() -> None:
    """Row 12 and what else no frame holds."""
    raw = ANNOUNCE.encode()
    with pytest.raises(WireError, match="reserved"):
        decode_frame(raw.replace(b"\0\0\0\x07", b"\xff\xff\xff\xff"), limit=LIMIT)
    with pytest.raises(WireError, match="reserved"):
        decode_frame(raw.replace(b"\0\0\0\x07", FIRST_RESERVED.to_bytes(4)), limit=LIMIT)
    last = decode_frame(raw.replace(b"\0\0\0\x07", (FIRST_RESERVED - 1).to_bytes(4)), limit=LIMIT)
    assert isinstance(last, Announce) and last.party == FIRST_RESERVED - 1
    with pytest.raises(WireError, match="mode 3"):
        decode_frame(raw.replace(b"plan\0", b"plan\x03"), limit=LIMIT)
    sized = Announce(NONCE, PartyId(0), (), b"", DigestOnly(b"d" * 32, 5)).encode()
    for size in (0, MAX_SIZE + 1):
        with pytest.raises(WireError, match="no payload"):
            decode_frame(sized[:28] + size.to_bytes(8) + sized[36:], limit=LIMIT)
    for code in (len(AbortReason) + 1, 255):
        with pytest.raises(WireError, match=f"outcome {code}"):
            decode_frame(b"\x01\x03" + NONCE + bytes([code]) + bytes(9), limit=LIMIT)
    for code in (len(Fault) + 1, 255):
        with pytest.raises(WireError, match=f"standing {code}"):
            decode_frame(b"\x01\x03" + NONCE + bytes(9) + bytes([code]), limit=LIMIT)


@pytest.mark.parametrize("frame", EXAMPLES, ids=["announce", "message", "over"])
def test_the_limit_is_exact(frame: Frame) -> None:
    """Row 22: the whole frame counts."""
    raw = frame.encode()
    assert decode_frame(raw, limit=len(raw)) == frame
    with pytest.raises(TooLarge, match=f"{len(raw)} bytes.*{len(raw) - 1}"):
        decode_frame(raw, limit=len(raw) - 1)


def test_the_digest_of_an_inline_payload_is_computed_by_whoever_reads_it() -> None:
    assert ANNOUNCE.payload_digest == payload_digest(b"task") != payload_digest(b"tusk")
    assert payload_digest(b"task") == labels.digest(b"secagg/v1/payload", b"task")
    other = Announce(NONCE, PartyId(0), (), b"", DigestOnly(b"d" * 32))
    assert other.payload_digest == b"d" * 32


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_nonce_of_another_length_is_never_sent(size: int) -> None:
    with pytest.raises(ParameterError, match="16 bytes"):
        Message(bytes(size), b"").encode()
