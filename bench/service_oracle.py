"""What a sum must be: of whoever is in it, to the last bit, in integers that cannot wrap.

Every member of a task has a slot of its own in the vector, a one among zeros, and behind the slots
a payload that is another in every round. So a sum says itself whose inputs it is of: a slot that is
0 or 1 is of a member that is out or in, and anything else is somebody's input twice, or none's. The
payload must then be the sum of exactly those members' payloads, which is added up in Python's own
integers: each vector is one large number, its elements 64 bits apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.service_ground import LARGEST, Tasked
from secagg.errors import IntegrityError
from secagg.service.results import unpacked

NONCE = 4
"""Bytes of a round's nonce that its result is named after."""


def slots(index: int, number: int) -> npt.NDArray[np.int64]:
    found = np.zeros(number, np.int64)
    found[index] = 1
    return found


def payload(member: int, nonce: bytes, size: int) -> npt.NDArray[np.int64]:
    """What a member adds in the round of that nonce."""
    lot = np.random.default_rng([member, int.from_bytes(nonce[:NONCE])])
    return lot.integers(0, LARGEST, size, np.int64, endpoint=True)


def check(task: Tasked, result: Path) -> list[int]:
    """The members whose inputs are in a result, by the name of the service's copy of it. Raises
    IntegrityError where it is not the exact sum of theirs: no figure counts then."""
    nonce = bytes.fromhex(result.stem.rpartition("-")[2])
    found = unpacked(result.read_bytes())
    taken = found["sum.slot"].tolist()
    if not set(taken) <= {0, 1} or len(taken) != len(task.members):
        raise IntegrityError(f"round {nonce.hex()}: a slot has {max(taken)}, and 0 or 1 are all")
    members = [member for member, one in zip(task.members, taken, strict=True) if one]
    size = max(1, task.d - len(task.members))
    exact = sum(_number(payload(member, nonce, size)) for member in members)
    if exact != _number(found["sum.payload"].astype(np.int64)):
        raise IntegrityError(
            f"round {nonce.hex()}: the result is not the sum of its {len(members)} inputs"
        )
    return members


def check_all(task: Tasked, results: Iterable[Path]) -> int:
    """How many there were; each as `check`."""
    return len([check(task, one) for one in results])


def _number(vector: npt.NDArray[np.int64]) -> int:
    """One integer, of elements that are none of them negative."""
    if vector.min() < 0:
        raise IntegrityError("an element of a sum of counts is negative")
    return int.from_bytes(vector.astype("<i8").tobytes(), "little")
