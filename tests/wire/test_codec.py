"""Reader and Writer: specs/01-wire.md §1 and §2."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import TooLarge, TrailingBytes, Truncated, WireError
from secagg.wire.codec import Reader, Writer, encode_bitmap


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**8 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1),
    st.floats(allow_nan=False), st.binary(max_size=40), st.sets(st.integers(0, 20)),
)  # fmt: skip
def test_a_message_round_trips(
    a: int, b: int, c: int, d: float, e: bytes, members: set[int]
) -> None:
    """Row 23, one way: what is written is read."""
    writer = Writer().u8(a).u32(b).u64(c).f64(d).prefixed(e).bitmap(members, 21).raw(e)
    reader = Reader(writer.finish())
    assert (reader.u8("a"), reader.u32("b"), reader.u64("c")) == (a, b, c)
    assert math.copysign(1, (read := reader.f64("d"))) == math.copysign(1, d) and read == d
    assert reader.prefixed(40, "e") == e
    assert reader.bitmap(21, "members") == members
    assert reader.fixed(len(e), "raw") == e
    reader.finish()


def test_integers_are_big_endian() -> None:
    assert Writer().u8(1).u32(2).u64(3).prefixed(b"xy").finish().hex() == (
        "01" "00000002" "0000000000000003" "00000002" "7879"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "read"),
    [
        (1, lambda r: r.u8("field")),
        (4, lambda r: r.u32("field")),
        (8, lambda r: r.u64("field")),
        (8, lambda r: r.f64("field")),
        (9, lambda r: r.take(9, "field")),
        (3, lambda r: r.bitmap(17, "field")),
    ],
)
def test_every_truncation_is_refused(size: int, read: Callable[[Reader], Any]) -> None:
    """Rows 1, 2: at every offset, with field, offset and what is left."""
    read(Reader(bytes(size)))
    for left in range(size):
        with pytest.raises(Truncated, match=f"field: {size} bytes expected at offset 0, {left} "):
            read(Reader(bytes(left)))


def test_trailing_bytes_are_refused() -> None:
    """Row 3."""
    reader = Reader(b"\1\2\3")
    reader.u8("a")
    with pytest.raises(TrailingBytes, match="2 bytes follow the end at offset 1"):
        reader.finish()


def test_a_length_past_what_is_left_is_refused() -> None:
    """Row 4."""
    with pytest.raises(Truncated, match="name: 5 bytes expected at offset 4, 4 left"):
        Reader(Writer().u32(5).raw(b"abcd").finish()).prefixed(10, "name")


def test_huge_lengths_allocate_nothing() -> None:
    """Rows 5, 11: the limit comes first, then what is really there."""
    data = b"\xff" * 8
    tracemalloc.start()
    with pytest.raises(TooLarge, match="length of name: 4294967295, and the limit is 255"):
        Reader(data).prefixed(255, "name")
    with pytest.raises(Truncated):
        Reader(data).prefixed(2**32, "name")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_count_holds_its_limit() -> None:
    assert Reader(Writer().u32(7).finish()).count(7, "n") == 7
    with pytest.raises(TooLarge):
        Reader(Writer().u32(8).finish()).count(7, "n")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4), st.integers(0, 32))
def test_a_bitmap_has_one_encoding(data: bytes, size: int) -> None:
    """Row 23, the other way: what is accepted encodes back to itself."""
    reader = Reader(data)
    try:
        members = reader.bitmap(size, "set")
        reader.finish()
    except WireError:
        assert len(data) != -(-size // 8) or int.from_bytes(data, "little") >> size
        return
    assert encode_bitmap(members, size) == data
    assert all(0 <= member < size for member in members)


def test_bitmap_bits_run_from_the_least() -> None:
    """§2."""
    assert encode_bitmap({0, 1, 8}, 9).hex() == "0301"
    with pytest.raises(WireError, match="at or past 9"):
        Reader(b"\1\2").bitmap(9, "set")
    assert Reader(b"").bitmap(0, "set") == frozenset()


def test_take_gives_views() -> None:
    data = bytearray(b"abc")
    view = Reader(data).take(2, "a")
    data[0] = ord("x")
    assert bytes(view) == b"xb"


@pytest.mark.parametrize("data", [bytearray(b"\0\0\0\1"), memoryview(b"..\0\0\0\1")[2:]])
def test_any_buffer_is_read(data: Any) -> None:
    assert Reader(data).u32("a") == 1
