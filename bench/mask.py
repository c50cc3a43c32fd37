"""How fast are masks made: for every lane, on one thread and two, and against whom?

A row is d elements times `keys` keys, in GB/s of mask. Beside one thread stand, in the same turns,
the AES unit's own limit (bench.aes_limit) and OpenSSL's AES-CTR with numpy's addition, both as one
would write it (a whole stream, then one addition) and block by block in the cache; and, measured by
its own driver, Flower's generator and addition for one neighbour. `first mask` is what a fresh
process waits for its first million elements, with an empty cache of compiled kernels and with it.

aes_limit, openssl, flower: CPU seconds; two_threads: wall seconds, as that is its claim.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench import aes_limit, flower
from bench.common import (
    ROOT,
    Missing,
    Ratio,
    Row,
    Selection,
    Timing,
    interleaved,
    main,
    pick,
)
from secagg import mask
from secagg.layout import Lane
from secagg.ring import LANES

NAME = "mask"

D, KEYS = 1_000_000, 64
THREADS = (1, 2)
CASE = {"lane": 32, "d": D, "keys": KEYS}
"""What the ratios are of."""

_FIRST_MASK = """
import time
started = time.perf_counter()
import numpy as np
from secagg.mask import add_stream
add_stream(np.zeros(1_000_000, np.uint32), bytes(32), 1)
print(time.perf_counter() - started)
"""


def rows(selection: Selection) -> Iterator[Row]:
    streams = [
        {"lane": lane, "threads": threads, "d": D, "keys": KEYS}
        for lane in LANES
        for threads in THREADS
    ]
    cases = selection.cases([*streams, *({"first_mask": cache} for cache in ("cold", "warm"))])
    groups: dict[tuple[int, int, int], list[int]] = {}
    for case in cases:
        if "lane" in case:
            group = groups.setdefault((case["lane"], case["d"], case["keys"]), [])
            group.append(case["threads"])
    for (lane, d, keys), threads in groups.items():
        yield from _streams(lane, d, keys, threads)
    wanted = [case["first_mask"] for case in cases if "first_mask" in case]
    if wanted:
        yield from (row for row in _first_mask() if row["first_mask"] in wanted)


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    one, two = pick(rows, **CASE, threads=1), pick(rows, **CASE, threads=2)
    if one is None:
        absent = Missing("needs the row " + ",".join(f"{k}={v}" for k, v in CASE.items()))
        return dict.fromkeys(("aes_limit", "two_threads", "openssl", "flower"), absent)
    if one["limit_gbs"] is None:
        limit: Ratio = Missing("no AES unit of this machine is used: the backend is OpenSSL's")
    else:
        limit = one["limit_seconds"] / one["cpu_seconds"]
    if one["flower_per_neighbour"] is None:
        against: Ratio = Missing(one["flower_reason"])
    else:
        against = one["flower_per_neighbour"] * one["keys"] / one["cpu_seconds"]
    faster = min(one["openssl_seconds"], one["openssl_blocks_seconds"])
    threads = one["seconds"] / two["seconds"] if two else Missing("needs the row threads=2")
    return {
        "aes_limit": limit,
        "two_threads": threads,
        "openssl": faster / one["cpu_seconds"],
        "flower": against,
    }


def _streams(lane: int, d: int, keys: int, threads: list[int]) -> Iterator[Row]:
    total: Lane = np.zeros(d, f"u{lane // 8}")
    material, signs = os.urandom(32 * keys), bytes(i % 2 for i in range(keys))

    def ours(count: int, backend: str | None = None) -> Callable[[], None]:
        return lambda: mask.add_streams(total, material, signs, threads=count, backend=backend)

    works: dict[str, Callable[[], object]] = {str(count): ours(count) for count in threads}
    if 1 in threads:
        works["openssl"] = lambda: _openssl(total, material, signs)
        works["blocks"] = ours(1, "openssl")
    unit = mask.chosen_backend()
    limited = 1 in threads and unit != "openssl"
    if limited:
        works["limit"] = lambda: aes_limit.spin(unit)
    # Flower's elements are of 32 bits, whatever they are held in
    theirs: Row = {}
    if lane == 32 and 1 in threads:
        taken, theirs = flower.in_turns(works, "mask", "per_neighbour", d=d)
    else:
        taken = interleaved(works)
    size = total.nbytes * keys
    for count in threads:
        time = taken[str(count)]
        row: Row = {
            "lane": lane,
            "threads": count,
            "d": d,
            "keys": keys,
            "seconds": time.wall,
            "cpu_seconds": time.cpu,
            "gbs": size / time.wall / 1e9,
        }
        if count == 1:
            row |= _beside(size, taken, unit if limited else None) | theirs
        yield row


def _beside(size: int, taken: Mapping[str, Timing], unit: str | None) -> Row:
    found: Row = {"limit_gbs": None, "limit_seconds": None}
    if unit is not None:
        per_byte = taken["limit"].cpu / aes_limit.spun(unit)
        found = {"limit_gbs": 1 / per_byte / 1e9, "limit_seconds": per_byte * size}
    return found | {
        "openssl_seconds": taken["openssl"].cpu,
        "openssl_blocks_seconds": taken["blocks"].cpu,
    }


def _openssl(total: Lane, keys: bytes, signs: bytes) -> None:
    """OpenSSL and numpy as anybody would put them together."""
    zeros = bytes(total.nbytes)
    for i, positive in enumerate(signs):
        key = keys[32 * i : 32 * (i + 1)]
        encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        stream = np.frombuffer(encryptor.update(zeros), total.dtype)
        (np.add if positive else np.subtract)(total, stream, out=total)


def _first_mask() -> Iterator[Row]:
    """Imports included, the start of the interpreter not."""
    with tempfile.TemporaryDirectory() as cache:
        path = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
        environment: dict[str, Any] = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": path}
        for state in ("cold", "warm"):
            seconds = [_fresh(environment) for _ in range(1 if state == "cold" else 3)]
            yield {"first_mask": state, "d": D, "keys": 1, "lane": 32, "seconds": min(seconds)}


def _fresh(environment: dict[str, Any]) -> float:
    command = [sys.executable, "-c", _FIRST_MASK]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main(NAME)
