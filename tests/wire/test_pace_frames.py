"""Frames of asking, and of coming back later (specs/50-service.md §2). Rows 1-3, 6, 7, 22, 23."""

from __future__ import annotations

import pytest

from secagg.errors import (
    BadTag,
    ParameterError,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.wire.frame import Over, decode_frame
from secagg.wire.pace import Asked, Later, Ready, Why, decode_pace, is_pace

NONCE = bytes(range(16))
FRAMES = [
    Asked(NONCE, 5),
    Asked(NONCE, (1 << 16) - 1),
    Ready(NONCE),
    *(Later(NONCE, milliseconds, why) for why in Why for milliseconds in (1, (1 << 32) - 1)),
]


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_round_trip(frame: Asked | Ready | Later) -> None:
    data = frame.encode()
    assert decode_pace(data) == frame and frame.size == len(data)
    assert decode_pace(bytearray(data)).encode() == data and is_pace(data)
    with pytest.raises(BadTag):
        decode_frame(data, limit=100)
    for size in range(len(data)):
        with pytest.raises(Truncated):
            decode_pace(data[:size])
    with pytest.raises((TrailingBytes, TooLarge)):
        decode_pace(data + b"\0")


def test_bytes() -> None:
    assert Asked(NONCE, 5).encode() == b"\1\x0c" + NONCE + b"\0\5"
    assert Ready(NONCE).encode() == b"\1\x0d" + NONCE
    assert Later(NONCE, 1500, Why.PAUSED).encode() == b"\1\x0e" + NONCE + b"\0\0\5\xdc\3"
    assert Later(NONCE, 1500, Why.FULL).seconds == 1.5


def test_what_is_no_such_frame() -> None:
    later = Later(NONCE, 1, Why.FAILED).encode()
    for data, error in (
        (Asked(NONCE, 1).encode()[:-2] + bytes(2), WireError),
        (later[:-5] + bytes(4) + b"\1", WireError),
        (later[:-1] + b"\0", WireError),
        (later[:-1] + b"\6", WireError),
        (b"\2" + later[1:], UnknownVersion),
        (Over(NONCE, None, 5, 1).encode()[:20], BadTag),
        (bytes(24), TooLarge),
    ):
        with pytest.raises(error):
            decode_pace(data)
    for other in (Over(NONCE, None, 5, 1).encode(), b"", b"\1", b"\2" + later[1:]):
        assert not is_pace(other)


def test_numbers_that_are_not_sent() -> None:
    for seconds in (0, 1 << 16):
        with pytest.raises(ParameterError, match="seconds"):
            Asked(NONCE, seconds)
    for milliseconds in (0, 1 << 32):
        with pytest.raises(ParameterError, match="milliseconds"):
            Later(NONCE, milliseconds, Why.FULL)
    with pytest.raises(ParameterError, match="16 bytes"):
        Ready(b"short").encode()
