"""specs/41-noise.md §4 against the oracle, and as what the kernel is compiled."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config, njit, uint32, uint64, void

from secagg.kernels import reference
from secagg.kernels.noise import add_draws
from secagg.ring import Ring
from secagg.sampler import packed
from tests.kernels.sampling import examples

WIDTHS = st.integers(1, 64)
TOP = 2**128 - 1
Columns = list[tuple[int, int]]


@st.composite
def tables(draw: st.DrawFn) -> Columns:
    """Not of any distribution: what a column holds is no matter of the kernel's."""
    bits = draw(st.integers(1, 4))
    raw = draw(st.binary(min_size=16 << bits, max_size=16 << bits))
    numbers = [int.from_bytes(raw[16 * c : 16 * c + 16]) for c in range(1 << bits)]
    return [(number >> bits + 1, number & (1 << bits) - 1) for number in numbers]


def blocks_of(table: Columns) -> st.SearchStrategy[int]:
    """Also such as meet a threshold, or differ from one in the last bit, or in the upper word."""
    bits = len(table).bit_length() - 1
    near = st.builds(
        lambda c, sign, off: ((table[c][0] + off << 1 | sign) << bits | c) & TOP,
        st.integers(0, len(table) - 1),
        st.integers(0, 1),
        st.sampled_from([0, 1, -1, 2 ** (63 - bits), -(2 ** (63 - bits))]),
    )
    return near | st.integers(0, TOP) | st.sampled_from([0, TOP])


def words_of(blocks: list[int]) -> np.ndarray:
    return np.array([w for u in blocks for w in (u & 2**64 - 1, u >> 64)], np.uint64)


@settings(max_examples=examples(80), deadline=None)
@given(st.data(), tables(), WIDTHS, st.integers(0, 2**20))
def test_a_draw_is_the_oracle_s(data: st.DataObject, table: Columns, width: int, k: int) -> None:
    """Of every lane, also where the sum wraps."""
    ring, blocks = Ring(width), data.draw(st.lists(blocks_of(table), max_size=8))
    elements = data.draw(
        st.lists(st.integers(0, ring.mask), min_size=len(blocks), max_size=len(blocks))
    )
    out = np.array(elements, ring.dtype)
    add_draws(out, words_of(blocks), packed(table), np.uint64(k), np.uint64(ring.mask))
    assert out.tolist() == reference.add_draws(elements, blocks, table, k, width)


def test_ties_and_signs_by_hand() -> None:
    """Two columns: 0 keeps itself below 5 and is 1 from there on; 1 is always itself."""
    table = [(5, 1), (0, 1)]
    lane = np.zeros(6, np.uint8)
    blocks = [4 << 2, 5 << 2, 4 << 2 | 2, 5 << 2 | 2, 1, 3]
    add_draws(lane, words_of(blocks), packed(table), np.uint64(3), np.uint64(255))
    assert lane.view(np.int8).tolist() == [0, 3, 0, -3, 3, -3]


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_no_secret_is_branched_on() -> None:
    """A jump on anything that was read from memory would tell of it, by the time that it takes."""
    ours, jumps = compiled(add_draws.py_func)  # type: ignore[attr-defined]
    branches = re.findall(rf"br i1 ({NAME})", ours)
    assert branches and not from_memory(ours).intersection(branches)
    # and for no selection has the CPU's part of the compiler put a jump after all
    assert len(jumps) <= len(branches)
    searching = "%.1 = load i64, ptr %table\n%found = icmp ult i64 %.1, %u\nbr i1 %found, label %b"
    assert "%found" in from_memory(searching)


NAME = r"%[\w.\"-]+"
CONDITIONAL = r"^\s+(?:j(?!mp)[a-z]+|cbn?z|tbn?z|b\.[a-z]+)\s.*$"  # of x86-64 and AArch64


def compiled(kernel: Any) -> tuple[str, list[str]]:
    """LLVM's code of the function alone, and the conditional jumps that the CPU is given.

    Compiled anew: what comes from the cache cannot be read.
    """
    lanes = uint32[::1], uint64[::1], uint64[::1]
    made = njit(void(*lanes, uint64, uint64))(kernel)
    (code,), (assembly,) = made.inspect_llvm().values(), made.inspect_asm().values()
    own = re.split(r"^define ", code, flags=re.M)[1]
    place = re.search(r"^(_ZN\S*):$(.*?)^\.Lfunc_end", assembly, re.M | re.S)
    assert place and place[1] in own.splitlines()[0]
    return own, re.findall(CONDITIONAL, place[2], re.M)


def from_memory(code: str) -> set[str]:
    """The values that hang on what a load gave."""
    lines = re.findall(rf"^\s*({NAME}) = (.*)$", code, re.M)
    known = {to for to, source in lines if re.match(r"(tail call .*)?(load|@llvm.masked)", source)}
    assert known
    while more := {to for to, source in lines if known & set(re.findall(NAME, source))} - known:
        known |= more
    return known
