"""The mask stream of specs/10-secagg.md §5, judged by single AES blocks."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import mask
from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.mask import MaskJob, add_stream

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
LANES = [8, 16, 32, 64]


def stream_bytes(key: bytes, first: int, size: int) -> bytes:
    """Bytes of the stream from AES in ECB mode, one counter at a time: no CTR code involved."""
    blocks = range(first // 16, -(-(first + size) // 16))
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    stream = b"".join(encryptor.update(block.to_bytes(16)) for block in blocks)
    return stream[first % 16 :][:size]


def stream(key: bytes, lane_bits: int, first: int, count: int) -> list[int]:
    size = lane_bits // 8
    raw = stream_bytes(key, first * size, count * size)
    return [int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)]


def test_published_blocks() -> None:
    """E(0, 0), E(0, 1) and E(0, 2) for AES-256: FIPS 197 practice, and GCM test cases 13 and 14."""
    lane = np.zeros(48, np.uint8)
    add_stream(lane, bytes(32), 1)
    assert lane.tobytes().hex() == (
        "dc95c078a2408989ad48a21492842087"
        "530f8afbc74536b9a963b4f1c4cb738b"
        "cea7403d4d606b6e074ec5d3baf39d18"
    )


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(LANES),
    st.integers(0, 100) | st.integers(2**20, 2**29),
    st.integers(0, 100),
    st.sampled_from([1, -1]),
    st.binary(min_size=32, max_size=32),
)
def test_any_range_is_the_stream(
    lane_bits: int, first: int, count: int, sign: int, key: bytes
) -> None:
    lane = np.full(count, 5, f"u{lane_bits // 8}")
    add_stream(lane, key, sign, first)
    expected = [(5 + sign * e) % 2**lane_bits for e in stream(key, lane_bits, first, count)]
    assert lane.tolist() == expected


@pytest.mark.parametrize("lane_bits", LANES)
@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_around_a_chunk(lane_bits: int, difference: int) -> None:
    """Row 87: lengths around a whole chunk, and around two."""
    for chunks in (1, 2):
        count = chunks * mask.CHUNK * 8 // lane_bits + difference
        lane = np.zeros(count, f"u{lane_bits // 8}")
        add_stream(lane, KEY, 1)
        assert lane.tolist() == stream(KEY, lane_bits, 0, count)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LANES), st.lists(st.integers(0, 400), max_size=6))
def test_cutting_changes_nothing(lane_bits: int, cuts: list[int]) -> None:
    """Row 88: chunking leaves every element as it is."""
    whole = np.zeros(400, f"u{lane_bits // 8}")
    add_stream(whole, KEY, 1)
    parts = np.zeros(400, whole.dtype)
    edges = [0, *sorted(cuts), 400]
    for start, stop in zip(edges, edges[1:], strict=False):
        add_stream(parts[start:stop], KEY, 1, start)
    assert np.array_equal(parts, whole)


def test_a_mask_is_removed_by_its_negation() -> None:
    lane = np.arange(1000, dtype=np.uint32)
    add_stream(lane, KEY, 1)
    assert lane.tolist() != list(range(1000))
    add_stream(lane, KEY, -1)
    assert lane.tolist() == list(range(1000))


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    """Row 60: a hard error before output."""
    lane = np.zeros(4, np.uint32)
    with pytest.raises(InvalidKey, match=f"not {len(key)}"):
        add_stream(lane, key, 1)
    assert not lane.any()


@pytest.mark.parametrize(("dtype", "last"), [("u1", 2**36), ("u4", 2**34), ("u8", 2**33)])
def test_the_counter_limit(dtype: str, last: int) -> None:
    """Row 60: the last element of 2^32 blocks is given, the next one is not."""
    lane = np.zeros(2, dtype)
    add_stream(lane, KEY, 1, last - 2)
    bits = 8 * lane.itemsize
    assert lane.tolist() == stream(KEY, bits, last - 2, 2)
    untouched = np.zeros(2, dtype)
    for first in (last - 1, last, -1):
        with pytest.raises(ParameterError, match="4294967296 AES blocks"):
            add_stream(untouched, KEY, 1, first)
    assert not untouched.any()


@pytest.mark.parametrize("sign", [0, 2, -2])
def test_other_signs_are_refused(sign: int) -> None:
    with pytest.raises(ParameterError, match="sign"):
        add_stream(np.zeros(4, np.uint32), KEY, sign)


def test_other_accumulators_are_refused() -> None:
    frozen = np.zeros(4, np.uint32)
    frozen.setflags(write=False)
    big_endian, floats = np.zeros(4, ">u4"), np.zeros(4)
    for bad in (frozen, np.zeros(8, "u4")[::2], np.zeros((2, 2), "u4"), big_endian, floats):
        with pytest.raises(InputError):
            add_stream(bad, KEY, 1)  # type: ignore[arg-type]


def test_an_empty_accumulator_is_left_alone() -> None:
    add_stream(np.zeros(0, np.uint64), KEY, 1, 7)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LANES), st.integers(0, 50), st.integers(0, 50), st.lists(st.booleans()))
def test_a_job_sums_signed_streams(
    lane_bits: int, first: int, count: int, positive: list[bool]
) -> None:
    keys = [bytes([i]) * 32 for i in range(len(positive))]
    job = MaskJob(lane_bits, first, count, b"".join(keys), bytes(positive))
    expected = [0] * count
    for key, plus in zip(keys, positive, strict=True):
        for i, element in enumerate(stream(key, lane_bits, first, count)):
            expected[i] = (expected[i] + (element if plus else -element)) % 2**lane_bits
    assert job().tolist() == expected


def test_jobs_add_up_however_they_are_cut() -> None:
    """Row 88: by range or by key, the total is the same."""
    whole = MaskJob(16, 0, 100, KEY + OTHER, b"\1\0")()
    ranges = [MaskJob(16, s, 25, KEY + OTHER, b"\1\0")() for s in range(0, 100, 25)]
    by_key = MaskJob(16, 0, 100, KEY, b"\1")() + MaskJob(16, 0, 100, OTHER, b"\0")()
    assert np.array_equal(np.concatenate(ranges), whole)
    assert np.array_equal(by_key, whole)


@pytest.mark.parametrize(
    "job",
    [
        (32, 0, 4, KEY, b""),
        (32, 0, 4, KEY[:31], b"\1"),
        (32, 0, 4, KEY, b"\2"),
        (24, 0, 4, KEY, b"\1"),
        (32, -1, 4, KEY, b"\1"),
        (32, 2**34, 1, KEY, b"\1"),
    ],
)
def test_impossible_jobs(job: tuple[int, int, int, bytes, bytes]) -> None:
    with pytest.raises(ParameterError):
        MaskJob(*job)


def test_a_job_does_not_show_its_keys() -> None:
    shown = repr(MaskJob(32, 0, 4, KEY, b"\1"))
    assert "keys" not in shown and repr(KEY) not in shown


def test_no_buffer_of_the_whole_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keystream is made a chunk at a time: what is held besides the lane is bounded."""
    sizes: list[int] = []

    class CountingNumpy:
        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

        def empty(self, size: int, dtype: object) -> np.ndarray:
            sizes.append(size)
            return np.empty(size, dtype)  # type: ignore[call-overload]

    monkeypatch.setattr(mask, "np", CountingNumpy())
    add_stream(np.zeros(1 << 20, np.uint32), KEY, 1)
    assert sizes == [mask.CHUNK]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # other tests' threads
def test_keys_after_a_fork_differ() -> None:
    """Row 63: nothing random is cached, so parent and child draw independent rounding keys."""
    from secagg.fields import FixedPoint
    from secagg.quantize import quantize
    from secagg.types import system_randomness

    def draw() -> bytes:
        field = FixedPoint(256, 7.0, 4, "stochastic")
        return quantize(np.full(256, 0.5), field, system_randomness)[0].astype(np.int8).tobytes()

    draw()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, draw())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        theirs = pipe.read()
    assert len(theirs) == 256 and theirs != draw()
