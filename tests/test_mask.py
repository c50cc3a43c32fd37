"""The mask stream of specs/10-secagg.md §5, judged by single AES blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import mask
from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.kernels.aes import BATCH
from secagg.layout import Lane
from secagg.mask import MaskJob, add_stream, add_streams, backends

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
KEYS = bytes(range(160))
LANES = [8, 16, 32, 64]
SIGNS = st.lists(st.integers(0, 1), max_size=5).map(bytes)


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


every_backend = pytest.mark.parametrize("backend", backends())


@every_backend
def test_published_blocks(backend: str) -> None:
    """E(0, 0), E(0, 1) and E(0, 2) for AES-256: FIPS 197 practice, and GCM test cases 13 and 14."""
    lane = np.zeros(48, np.uint8)
    add_streams(lane, bytes(32), b"\1", backend=backend)
    assert lane.tobytes().hex() == (
        "dc95c078a2408989ad48a21492842087"
        "530f8afbc74536b9a963b4f1c4cb738b"
        "cea7403d4d606b6e074ec5d3baf39d18"
    )


@every_backend
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(LANES),
    st.integers(0, 600) | st.integers(2**20, 2**29),
    st.integers(0, 1200),
    st.sampled_from([1, -1]),
    st.binary(min_size=32, max_size=32),
)
def test_any_range_is_the_stream(
    backend: str, lane_bits: int, first: int, count: int, sign: int, key: bytes
) -> None:
    lane = np.full(count, 5, f"u{lane_bits // 8}")
    add_streams(lane, key, bytes([sign > 0]), first=first, backend=backend)
    expected = [(5 + sign * e) % 2**lane_bits for e in stream(key, lane_bits, first, count)]
    assert lane.tolist() == expected


@every_backend
@pytest.mark.parametrize("lane_bits", LANES)
@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_around_a_batch(backend: str, lane_bits: int, difference: int) -> None:
    """Row 87: firsts and lengths around what a kernel takes whole."""
    for first in (0, 1, BATCH * 8 // lane_bits - 1):
        count = BATCH * 8 // lane_bits + difference
        lane = np.zeros(count, f"u{lane_bits // 8}")
        add_streams(lane, KEY, b"\1", first=first, backend=backend)
        assert lane.tolist() == stream(KEY, lane_bits, first, count)


@pytest.mark.parametrize("lane_bits", LANES)
@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_around_a_chunk(lane_bits: int, difference: int) -> None:
    """Row 87: lengths around a whole chunk of OpenSSL's, and around two."""
    for chunks in (1, 2):
        count = chunks * mask.CHUNK * 8 // lane_bits + difference
        lane = np.zeros(count, f"u{lane_bits // 8}")
        add_streams(lane, KEY, b"\1", backend="openssl")
        raw = np.frombuffer(stream_bytes(KEY, 0, lane.nbytes), lane.dtype.newbyteorder("<"))
        assert np.array_equal(lane, raw)


@every_backend
@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(LANES), st.integers(0, 999), st.lists(st.integers(0, 2000), max_size=6), SIGNS
)
def test_cutting_changes_nothing(
    backend: str, lane_bits: int, first: int, cuts: list[int], signs: bytes
) -> None:
    """Row 88: however it is cut, by range, by key or by thread, and whoever's AES it is."""
    keys = KEYS[: 32 * len(signs)]
    whole = np.arange(2000).astype(f"u{lane_bits // 8}")
    parts, singly, threaded = whole.copy(), whole.copy(), whole.copy()
    add_streams(whole, keys, signs, first=first, backend="openssl")
    edges = [0, *sorted(cuts), 2000]
    for start, stop in zip(edges, edges[1:], strict=False):
        add_streams(parts[start:stop], keys, signs, first=first + start, backend=backend)
    assert np.array_equal(parts, whole)
    for i, positive in enumerate(signs):
        add_stream(singly, keys[32 * i :][:32], 1 if positive else -1, first)
    assert np.array_equal(singly, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask, "SHARE", 1000)
        add_streams(threaded, keys, signs, first=first, threads=1 + len(cuts), backend=backend)
    assert np.array_equal(threaded, whole)


@pytest.mark.parametrize("fails", ["caller", "other", "nobody"])
def test_threads_share_the_accumulator(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes what no other has, all of it is taken, and what any of them raises is raised."""
    caller, together = threading.current_thread(), threading.Barrier(2)
    taken: list[tuple[int, int]] = []

    def record(self: object, lanes: Lane, first: int) -> None:
        if len(taken) < 2:
            taken.append((first, lanes.size))
            together.wait(30)  # until both threads have a share
        else:
            taken.append((first, lanes.size))
        if fails == ("caller" if threading.current_thread() is caller else "other"):
            raise InputError("one of the threads")

    monkeypatch.setattr(mask._Streams, "add", record)
    monkeypatch.setattr(mask, "SHARE", 4000)
    lanes = np.zeros(10_001, np.uint32)
    if fails != "nobody":
        with pytest.raises(InputError, match="one of the threads"):
            add_streams(lanes, KEY, b"\1", first=9, threads=2)
        return
    add_streams(lanes, KEY, b"\1", first=9, threads=2)
    assert sorted(taken) == [*((9 + at, 1000) for at in range(0, 10_000, 1000)), (10_009, 1)]


@every_backend
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_more_threads_than_elements(backend: str, count: int) -> None:
    lane = np.zeros(count, np.uint16)
    add_streams(lane, KEY, b"\1", first=3, threads=4, backend=backend)
    assert lane.tolist() == stream(KEY, 16, 3, count)


def test_no_threads_are_refused() -> None:
    with pytest.raises(ParameterError, match="thread"):
        add_streams(np.zeros(4, np.uint32), KEY, b"\1", threads=0)


def _chosen(**environment: str) -> str:
    code = "from secagg.mask import *; import numpy as np; " + (
        "add_stream(np.zeros(4, 'u4'), bytes(32), 1); print(chosen_backend())"
    )
    env = {k: v for k, v in os.environ.items() if k != "SECAGG_AES"} | environment
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=root, capture_output=True)
    return (done.stdout + done.stderr).decode()


def test_the_backend_is_chosen() -> None:
    """The fastest, unless the environment or the call says otherwise."""
    assert _chosen().strip() == backends()[0]
    assert _chosen(SECAGG_AES="openssl").strip() == "openssl"
    assert _chosen(NUMBA_DISABLE_JIT="1").strip() == "openssl"
    assert "ParameterError: no AES named 'vaes9'" in _chosen(SECAGG_AES="vaes9")
    untouched = np.zeros(4, np.uint32)
    with pytest.raises(ParameterError, match="openssl"):
        add_streams(untouched, KEY, b"\1", backend="rc4")
    assert not untouched.any()


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
    with pytest.raises(InvalidKey, match=f"not {64 + len(key)}"):
        add_streams(lane, KEY + OTHER + key, b"\1\0\1")
    assert not lane.any()


@pytest.mark.parametrize(("dtype", "last"), [("u1", 2**36), ("u4", 2**34), ("u8", 2**33)])
def test_the_counter_limit(dtype: str, last: int) -> None:
    """Row 60: the last element of 2^32 blocks is given, the next one is not."""
    bits = 8 * np.dtype(dtype).itemsize
    for backend in backends():
        lane = np.zeros(2, dtype)
        add_streams(lane, KEY, b"\1", first=last - 2, backend=backend)
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
    untouched = np.zeros(4, np.uint32)
    with pytest.raises(ParameterError, match="sign"):
        add_streams(untouched, KEY + OTHER, b"\1\2")
    assert not untouched.any()


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
    with pytest.raises((ParameterError, InvalidKey)):
        MaskJob(*job)


def test_a_job_does_not_show_its_keys() -> None:
    shown = repr(MaskJob(32, 0, 4, KEY, b"\1"))
    assert "keys" not in shown and repr(KEY) not in shown


@every_backend
def test_no_buffer_of_the_whole_length(backend: str) -> None:
    """The keystream is made block by block: what is held besides the lane is bounded."""
    lane = np.zeros(1 << 22, np.uint32)
    add_streams(lane[:10], KEYS, bytes(5), backend=backend)  # compiled before it is measured
    tracemalloc.start()
    add_streams(lane[1:], KEYS, bytes(5), first=1, backend=backend)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * mask.CHUNK < lane.nbytes / 8


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
