"""A small mutation loop, and atheris where it is installed.

Each fuzz_*.py has CORPUS and target(data); its first line is the invariant. Run one by hand with
`python -m tests.fuzz.fuzz_frame SECONDS`, with the repository and `protocols/` on the path.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Target = Callable[[bytes], None]
MOST_MEMORY = 256 << 20
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
LEAST = 100
"""Mutations that are tried however busy the machine is."""
LENGTHS = (0, 1, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def twin(machine: Any) -> Any:
    """A second machine with the very same attributes, past its refusal to be copied.

    For targets alone: building it anew from its messages is what other tests do, and takes a
    hundred times as long.
    """
    one = object.__new__(type(machine))
    vars(one).update(vars(machine))
    return one


class Mutator:
    """Bytes near those of a corpus; the same seed gives the same bytes."""

    def __init__(self, corpus: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus)
        self._random = np.random.Generator(np.random.PCG64(seed))

    def _below(self, limit: int) -> int:
        return int(self._random.integers(0, max(1, limit)))

    def next(self) -> bytes:
        data = bytearray(self._corpus[self._below(len(self._corpus))])
        for _ in range(1 + self._below(4)):
            self._mutate(data)
        return bytes(data)

    def _mutate(self, data: bytearray) -> None:
        at = self._below(len(data))
        match self._below(8):
            case 0 if data:
                data[at] ^= 1 << self._below(8)
            case 1 if data:
                data[at] = INTERESTING[self._below(len(INTERESTING))]
            case 2:
                del data[at:]
            case 3:
                data += self._random.bytes(1 + self._below(16))
            case 4:
                data[at : at + 4] = LENGTHS[self._below(len(LENGTHS))].to_bytes(4)
            case 5:
                del data[at : at + 1 + self._below(8)]
            case 6:
                data[at:at] = data[at : at + 1 + self._below(64)]
            case _:
                other = self._corpus[self._below(len(self._corpus))]
                data[at:] = other[self._below(len(other)) :]


def run(
    target: Target, corpus: Sequence[bytes], seconds: float, seed: int = 1, least: int = LEAST
) -> int:
    """The corpus, then mutations of it until the time is up, and at least so many; returns how many
    these were."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in corpus:
        target(data)
    mutator, done = Mutator(corpus, seed), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or done < least:
        data = mutator.next()
        try:
            target(data)
        except BaseException:
            sys.stderr.write(f"seed {seed}, mutation {done}, input {data.hex()}\n")
            raise
        done += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MOST_MEMORY, f"{grown} bytes more"
    return done


def main(target: Target, corpus: Sequence[bytes]) -> None:
    """atheris if it can be imported, else the loop above, for the seconds given or 10."""
    try:
        import atheris  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
        done = run(target, corpus, seconds, seed=time.time_ns())
        sys.stdout.write(f"{done} mutations, nothing found\n")
        return
    atheris.Setup(sys.argv[:1], target)
    atheris.Fuzz()
