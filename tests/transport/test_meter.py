"""Frames by their headers, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.transport.meter import Meter

BINARY, CONTINUATION, PING = 2, 0, 9


def frame(code: int, size: int, *, last: bool = True, masked: bool = True) -> bytes:
    """All its bytes but the payload's are what RFC 6455 §5.2 says; the payload is zeros."""
    bit = 0x80 if masked else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 1 << 16:
        length = bytes([bit | 126]) + size.to_bytes(2)
    else:
        length = bytes([bit | 127]) + size.to_bytes(8)
    head = bytes([(0x80 if last else 0) | code]) + length
    return head + (b"mask" if masked else b"") + bytes(size)


def metered(data: bytes, step: int | None = None) -> Meter:
    meter = Meter()
    for at in range(0, len(data), step or len(data) or 1):
        meter.feed(data[at : at + (step or len(data))])
    return meter


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_whole_message_is_no_piece_and_is_kept_until_it_is_taken(size: int, masked: bool) -> None:
    data = frame(BINARY, size, masked=masked)
    for step in (1, 3, 7, len(data)):
        meter = metered(data, step)
        assert (meter.pieces, meter.size) == (0, len(data))
        assert meter.pending == meter.got == size and meter.left == 0
        meter.taken()
        assert meter.pending == meter.got == 0


def test_a_message_counts_from_its_header_on_as_long_as_it_says() -> None:
    """Before a byte of it has come; the last byte withheld is one that has not come."""
    data = frame(BINARY, 1000)
    meter = metered(data[:4])
    assert (meter.pending, meter.got, meter.left) == (1000, 0, 1004)
    meter.feed(data[4:-1])
    assert (meter.pending, meter.got, meter.left) == (1000, 999, 1)
    meter.feed(data[-1:])
    assert (meter.pending, meter.got) == (1000, 1000)


def test_fragments_add_up_and_are_never_whole_before_the_last() -> None:
    meter = metered(frame(BINARY, 10, last=False) + frame(CONTINUATION, 5, last=False))
    assert (meter.pieces, meter.pending, meter.got) == (2, 16, 15)
    meter.feed(frame(PING, 3))
    assert (meter.pieces, meter.pending, meter.got) == (3, 16, 15)
    meter.feed(frame(CONTINUATION, 7))
    assert (meter.pieces, meter.pending, meter.got) == (4, 22, 22)


def test_an_endless_row_of_empty_fragments_is_counted() -> None:
    meter = metered(frame(BINARY, 0, last=False) + 99 * frame(CONTINUATION, 0, last=False))
    assert (meter.pieces, meter.pending, meter.got) == (100, 1, 0)


def test_whole_messages_that_nobody_takes_are_pieces_too() -> None:
    meter = metered(frame(BINARY, 1))
    meter.every = True
    meter.feed(3 * frame(BINARY, 1))
    assert meter.pieces == 3


def test_what_is_taken_leaves_the_message_behind_it() -> None:
    meter = metered(frame(BINARY, 10) + frame(BINARY, 20)[:8])
    assert (meter.pending, meter.got) == (30, 12)
    meter.taken()
    assert (meter.pending, meter.got) == (20, 2)


FRAMES = st.lists(
    st.tuples(st.sampled_from([BINARY, CONTINUATION, PING]), st.integers(0, 300), st.booleans())
)


@given(FRAMES, st.integers(1, 50))
def test_how_it_is_cut_makes_no_difference(frames: list[tuple[int, int, bool]], step: int) -> None:
    data = b"".join(frame(code, size, last=last) for code, size, last in frames)
    whole, cut = metered(data), metered(data, step)
    for meter in (whole, cut):
        assert meter.size == len(data) and meter.left == 0
    assert vars(whole) == vars(cut)
