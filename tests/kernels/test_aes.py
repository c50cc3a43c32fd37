"""specs/10-secagg.md §5: every AES unit's kernel is OpenSSL's AES-256-CTR, bit by bit.

What this CPU cannot run is compiled for one that could, and the assembly is read.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir
from numba import config, version_info
from numba.core.registry import cpu_target

from secagg.kernels import aes, jit
from secagg.layout import Lane

ROOT = Path(__file__).parent.parent.parent
LANES = [8, 16, 32, 64]
BLOCKS = aes.BATCH // aes.AES_BLOCK
"""Of a batch: counters are multiples of it."""
VECTORS = {"vaes512": "zmm", "vaes256": "ymm", "aesni": "xmm"}
TARGETS = {
    "vaes512": ("x86_64-unknown-linux-gnu", "+vaes,+avx512f,+avx512bw,+avx512vl"),
    "vaes256": ("x86_64-unknown-linux-gnu", "+vaes,+aes,+avx2"),
    "aesni": ("x86_64-unknown-linux-gnu", "+aes,+ssse3"),
    "neon": ("aarch64-unknown-linux-gnu", "+aes,+neon"),
}


def unit_or_skip(name: str) -> None:
    if config.DISABLE_JIT:
        pytest.skip("an intrinsic cannot run without the JIT")
    if name not in aes.available():
        pytest.skip(f"numba does not compile for a CPU with {name}")


every_unit = pytest.mark.parametrize("name", list(aes.UNITS))


# The kernels, against OpenSSL


def keystream(key: bytes, counter: int, size: int) -> bytes:
    cipher = Cipher(algorithms.AES256(key), modes.CTR(counter.to_bytes(16)))
    return cipher.encryptor().update(bytes(size))


def expected(start: Lane, keys: list[bytes], signs: list[bool], counter: int) -> Lane:
    total = start.copy()
    for key, positive in zip(keys, signs, strict=True):
        stream = np.frombuffer(keystream(key, counter, start.nbytes), start.dtype)
        total = total + stream if positive else total - stream
    return total


def run(name: str, lanes: Lane, keys: list[bytes], signs: list[bool], counter: int) -> Lane:
    out = lanes.copy()
    key_array = np.frombuffer(b"".join(keys), np.uint8)
    aes.KERNELS[name](out, key_array, np.frombuffer(bytes(signs), np.uint8), np.uint64(counter))
    return out


@every_unit
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(LANES),
    st.integers(0, 5),
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.booleans()), max_size=5),
    st.integers(0, 2**40) | st.sampled_from([7, 2**27 - 1, 2**43 - 1, 2**58, 2**59 - 6]),
    st.integers(0, 2**32),
)
def test_a_kernel_is_openssl(
    name: str,
    lane_bits: int,
    batches: int,
    signed: list[tuple[bytes, bool]],
    before: int,
    seed: int,
) -> None:
    """Row 88. Carries between a counter's bytes, no lanes and no keys included."""
    unit_or_skip(name)
    size = batches * aes.BATCH
    lanes = np.frombuffer(np.random.default_rng(seed).bytes(size), f"<u{lane_bits // 8}")
    keys, signs = [key for key, _ in signed], [sign for _, sign in signed]
    counter = before * BLOCKS
    found = run(name, lanes, keys, signs, counter)
    assert found.tobytes() == expected(lanes, keys, signs, counter).tobytes()


@every_unit
@pytest.mark.parametrize("lane_bits", LANES)
@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_around_a_cached_block(name: str, lane_bits: int, difference: int) -> None:
    """Row 87: lengths around the block that all keys pass over, and around two."""
    unit_or_skip(name)
    keys, signs = [bytes([k]) * 32 for k in range(3)], [True, False, False]
    for blocks in (1, 2):
        size = blocks * aes.CACHED + difference * aes.BATCH
        lanes = np.arange(size * 8 // lane_bits).astype(f"u{lane_bits // 8}")
        found = run(name, lanes, keys, signs, 2**32 - 3 * BLOCKS)
        assert np.array_equal(found, expected(lanes, keys, signs, 2**32 - 3 * BLOCKS))


@every_unit
def test_lanes_at_any_address(name: str) -> None:
    """Vectors are loaded from wherever numpy put them, and nothing beside the lanes changes."""
    unit_or_skip(name)
    for offset in (1, 4, 8, 60):
        memory = np.full(aes.BATCH + 128, 7, np.uint8)
        lanes = memory[offset : offset + aes.BATCH].view(np.uint32)
        before = lanes.copy()
        aes.KERNELS[name](
            lanes,
            np.frombuffer(bytes(32), np.uint8),
            np.frombuffer(b"\1", np.uint8),
            np.uint64(0),
        )
        assert np.array_equal(lanes, expected(before, [bytes(32)], [True], 0))
        assert (memory[:offset] == 7).all() and (memory[offset + aes.BATCH :] == 7).all()


# The cipher, against NIST

A3 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
"""The key of FIPS 197, appendix A.3, and of SP 800-38A, F.5.5."""


def module_of(name: str, *arguments: ir.Type) -> tuple[ir.Module, ir.Function, ir.IRBuilder]:
    module = ir.Module("aes")
    module.triple = TARGETS[name][0]
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = ir.Function(module, kind, "entry")
    return module, function, ir.IRBuilder(function.append_basic_block())


def cipher_ir(name: str) -> ir.Module:
    """entry(key, text, round keys): encrypts IN_FLIGHT vectors in place, writes the schedule."""
    unit, pointer = aes.UNITS[name], ir.PointerType(ir.IntType(8))
    module, function, builder = module_of(name, pointer, pointer, pointer)
    key, text, schedule = function.args
    words = aes._schedule(builder, unit, key)
    to = builder.bitcast(schedule, ir.PointerType(words[0].type))
    for i, word in enumerate(words):
        builder.store(word, builder.gep(to, [ir.IntType(32)(i)]), align=1)
    wide = [aes._broadcast(builder, unit, word) for word in words]
    stream = aes._Stream(builder, unit, 8, wide, ir.IntType(64)(0))
    vectors = builder.bitcast(text, ir.PointerType(unit.vector))
    places = [builder.gep(vectors, [ir.IntType(32)(i)]) for i in range(aes.IN_FLIGHT)]
    given = [builder.load(place, align=1) for place in places]
    white = stream._white(wide[0])
    states = stream._encrypt(wide, [builder.xor(state, white) for state in given])
    for state, place in zip(states, places, strict=True):
        builder.store(state, place, align=1)
    builder.ret_void()
    return module


def kernel_ir(name: str, lane_bits: int) -> ir.Module:
    pointer, word = ir.PointerType(ir.IntType(8)), ir.IntType(64)
    module, function, builder = module_of(name, pointer, word, pointer, pointer, word, word)
    aes.emit(builder, aes.UNITS[name], lane_bits, aes.Arguments(*function.args))
    builder.ret_void()
    return module


def optimised(source: ir.Module, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    compiled = llvm.parse_assembly(str(source))
    compiled.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(compiled, builder)
    return compiled


@cache
def native(name: str) -> tuple[Any, Callable[..., None]]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    _, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu, features, opt=3)
    engine = llvm.create_mcjit_compiler(optimised(cipher_ir(name), machine), machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)
    return engine, kind(engine.get_function_address("entry"))  # the engine owns the code


def encrypt(name: str, key: str, *blocks: str) -> tuple[list[str], list[str]]:
    """The ciphertext of up to IN_FLIGHT blocks, in every place of a vector, and the schedule."""
    width = aes.UNITS[name].blocks
    given = [bytes.fromhex(block) for block in blocks]
    text = np.zeros((aes.IN_FLIGHT, width, 16), np.uint8)
    for i, block in enumerate(given):
        text[i] = np.frombuffer(block, np.uint8)
    schedule, key_bytes = np.zeros((15, 16), np.uint8), np.frombuffer(bytes.fromhex(key), np.uint8)
    native(name)[1](key_bytes.ctypes.data, text.ctypes.data, schedule.ctypes.data)
    assert (text == text[:, :1]).all()
    return [text[i, 0].tobytes().hex() for i in range(len(given))], [
        row.tobytes().hex() for row in schedule
    ]


@every_unit
def test_fips_197(name: str) -> None:
    """Appendix C.3, and the key expansion of appendix A.3: first, second and last words."""
    unit_or_skip(name)
    key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    found, _ = encrypt(name, key, "00112233445566778899aabbccddeeff")
    assert found == ["8ea2b7ca516745bfeafc49904b496089"]
    _, schedule = encrypt(name, A3)
    assert "".join(schedule[:2]) == A3
    assert schedule[2] == "9ba354118e6925afa51a8b5f2067fcde"
    assert schedule[3] == "a8b09c1a93d194cdbe49846eb75d5b9a"
    assert schedule[14] == "fe4890d1e6188d0b046df344706c631e"


@every_unit
def test_sp_800_38a(name: str) -> None:
    """F.5.5, CTR-AES256: its counters begin in the high half, so they are given as blocks."""
    unit_or_skip(name)
    counters = [f"f0f1f2f3f4f5f6f7f8f9fafbfcfd{low:04x}" for low in range(0xFEFF, 0xFF03)]
    plain = [
        "6bc1bee22e409f96e93d7e117393172a",
        "ae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52ef",
        "f69f2445df4f9b17ad2b417be66c3710",
    ]
    outputs, _ = encrypt(name, A3, *counters)
    found = [f"{int(o, 16) ^ int(p, 16):032x}" for o, p in zip(outputs, plain, strict=True)]
    assert found == [
        "601ec313775789a5b7a7f504bbf3d228",
        "f443e3ca4d62b59aca84e990cacaf5c5",
        "2b0930daa23de94ce87017ba2d84988d",
        "dfc9c58db67aada613c2dd08457941a6",
    ]


# The assembly, also of CPUs that are not here


@cache
def assembly(name: str, lane_bits: int) -> list[str]:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, features = TARGETS[name]
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM has no target {triple}")
    machine = target.create_target_machine("generic", features, opt=3)
    return machine.emit_assembly(optimised(kernel_ir(name, lane_bits), machine)).splitlines()


def instructions(name: str, lane_bits: int, pattern: str) -> list[str]:
    return [line for line in assembly(name, lane_bits) if re.match(rf"\s+{pattern}\b", line)]


@pytest.mark.parametrize("lane_bits", LANES)
@pytest.mark.parametrize("name", list(VECTORS))
def test_x86_assembly(name: str, lane_bits: int) -> None:
    """14 rounds of every vector under way and 13 substitutions of the key schedule, no more."""
    rounds = instructions(name, lane_bits, "v?aesenc")
    wide = [line for line in rounds if VECTORS[name] in line]
    assert len(wide) == 13 * aes.IN_FLIGHT == len(rounds)
    assert len(instructions(name, lane_bits, "v?aesenclast")) == aes.IN_FLIGHT + 13


@pytest.mark.parametrize("lane_bits", LANES)
def test_round_keys_stay_in_registers(lane_bits: int) -> None:
    """With 32 registers no round reads memory, and each round key serves all states in a row."""
    wide = [line for line in instructions("vaes512", lane_bits, "vaesenc") if "zmm" in line]
    assert wide and not [line for line in wide if "(" in line]
    used = [re.split(r"[%,]", line)[1] for line in wide]
    assert [set(used[i : i + 8]) for i in range(0, len(used), 8)] == [{k} for k in used[::8]]
    assert len(set(used)) == 13


@pytest.mark.parametrize("lane_bits", LANES)
def test_aarch64_assembly(lane_bits: int) -> None:
    """It does not run on this machine; it is AES instructions throughout."""
    substitutions = 13
    assert len(instructions("neon", lane_bits, "aese")) == 14 * aes.IN_FLIGHT + substitutions
    assert len(instructions("neon", lane_bits, "aesmc")) == 13 * aes.IN_FLIGHT
    assert not instructions("neon", lane_bits, "(tbl|tbx|ldrh)")
    assert len(instructions("neon", lane_bits, "ldrb")) == 1, "the sign, once a key and block"


@pytest.mark.parametrize("lane_bits", LANES)
@every_unit
def test_no_secret_becomes_an_address(name: str, lane_bits: int) -> None:
    """An index into a table, or a condition, would have to leave the vector registers first."""
    out_of_vectors = {
        "x86_64": r"\s+v?(p?mov(msk)?|pextr|kmov|ptest|comis|ucomis)\w*\s.*%[xyzk]m*m?\d+, *%[re]",
        "aarch64": r"\s+(umov|smov|fmov|mov)\s+[wx]\d+, *[vdsbhq]\d+",
    }[aes.UNITS[name].arch]
    code = assembly(name, lane_bits)
    assert not [line for line in code if re.match(out_of_vectors, line)]
    assert not instructions(name, lane_bits, "(callq?|bl|blr)")


# Which of them


@pytest.mark.parametrize(
    ("triple", "features", "names"),
    [
        ("x86_64-unknown-linux-gnu", "", ()),
        ("x86_64-unknown-linux-gnu", "+aes,+avx2,+ssse3,-vaes", ("aesni",)),
        ("x86_64-pc-windows-msvc", "+aes,+avx2,+ssse3,+vaes,-avx512f", ("vaes256", "aesni")),
        ("x86_64-apple-darwin", "+aes,+ssse3,+avx512f,+avx512bw", ("aesni",)),
        ("x86_64-linux", "+aes,+avx2,+ssse3,+vaes,+avx512f,+avx512bw", tuple(VECTORS)),
        ("aarch64-unknown-linux-gnu", "+neon,+aes", ("neon",)),
        ("aarch64-unknown-linux-gnu", "+neon,-aes", ()),
        ("aarch64_be-unknown-linux-gnu", "+neon,+aes", ()),
        ("ppc64le-unknown-linux-gnu", "+aes", ()),
    ],
)
def test_what_a_target_has(triple: str, features: str, names: tuple[str, ...]) -> None:
    assert aes.supported((triple, "any", features)) == names


def test_nothing_runs_without_the_jit() -> None:
    if not config.DISABLE_JIT:
        pytest.skip("for the run without the JIT")
    from secagg import mask

    assert aes.available() == () and mask.backends() == ("openssl",)
    lanes = np.zeros(5, np.uint32)
    mask.add_streams(lanes, bytes(32), b"\1", first=3)
    assert lanes.tobytes() == keystream(bytes(32), 0, 32)[12:]


PROBE = """
import json, sys, numpy as np
from secagg.kernels import aes
names = aes.available()
tried = names[-1:] if ONE else names
lanes = np.zeros(aes.BATCH, np.uint8)
hits = misses = 0
for name in tried:
    kernel = aes.KERNELS[name]
    lanes[:] = 0
    kernel(lanes, np.frombuffer(bytes(32), "u1"), np.frombuffer(b"\\1", "u1"), np.uint64(0))
    assert lanes.tobytes().hex() == STREAM, name
    hits += sum(kernel.stats.cache_hits.values())
    misses += sum(kernel.stats.cache_misses.values())
if LEAN and not misses:
    assert "numba.np.linalg" not in sys.modules, "the compiler, for what is compiled"
print(json.dumps([names, hits, misses]))
"""


def probe(folder: Path, *, one: bool = False, **environment: str) -> Any:
    """(names of AES units there, kernels found in the cache, kernels compiled); of each unit, or of
    the last alone."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment}
    stream = keystream(bytes(32), 0, aes.BATCH).hex()
    lean = version_info.short in jit.LEAN
    command = [sys.executable, "-c", f"STREAM, ONE, LEAN = {stream!r}, {one}, {lean}{PROBE}"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_kernels_are_cached_for_each_cpu(tmp_path: Path) -> None:
    """A cache directory may be shared by CPUs that differ: another CPU's kernel is never loaded."""
    if config.DISABLE_JIT or "aesni" not in aes.available():
        pytest.skip("needs the JIT on x86")
    here = list(aes.available())
    lesser = {"NUMBA_CPU_NAME": "westmere", "NUMBA_CPU_FEATURES": "+aes,+ssse3,+sse4.2"}
    assert probe(tmp_path, one=True) == [here, 0, 1]
    assert probe(tmp_path, one=True, **lesser) == [["aesni"], 0, 1]
    assert probe(tmp_path, one=True) == [here, 1, 0]
    assert probe(tmp_path, one=True, **lesser) == [["aesni"], 1, 0]
    assert probe(tmp_path, NUMBA_CPU_NAME="generic") == [[], 0, 0]


def test_vaes_without_avx512(tmp_path: Path) -> None:
    """As on desktop CPUs: 256-bit vectors and 16 registers."""
    if config.DISABLE_JIT or "vaes256" not in aes.available():
        pytest.skip("needs the JIT and VAES")
    features = "+aes,+vaes,+avx,+avx2,+ssse3,+sse4.2"
    found = probe(tmp_path, NUMBA_CPU_NAME="alderlake", NUMBA_CPU_FEATURES=features)
    assert found == [["vaes256", "aesni"], 0, 2]
