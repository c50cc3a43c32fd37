"""How frames of rounds travel in Flower's messages.

Two records are added to a message, and nothing else of it is touched: `secagg`, which says what is
asked, and `secagg.frames`, the frames themselves. Frames are arrays of a serialisation of our own,
raw bytes: Flower cuts large arrays into chunks and no other record, and nothing here is ever parsed
as npy. A reply has these two records and no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from secagg.errors import WireError
from secagg.integrations.exchange import STEPS
from secagg.shown import short

VERSION = 1
ABOUT, FRAMES = "secagg", "secagg.frames"
RAW = "secagg.bytes"
"""The serialisation type of an array that is a frame."""
MAX_FRAMES = 64
DIGEST = 32
"""Bytes of the digest of a configuration."""


@dataclass(frozen=True, slots=True)
class Asked:
    """step: which exchange this is. round: the server's number. weighted_by: the metric of a reply
    that is its weight. run_config: the digest of the run's configuration, as `model.configured`
    makes it; empty where the ServerApp does not say which it has."""

    step: str
    round: int
    weighted_by: str
    run_config: bytes
    frames: tuple[bytes, ...]

    __repr__ = short


def asking(asked: Asked) -> dict[str, Any]:
    """The records that ask, to be added to those that a message has."""
    about = ConfigRecord(
        {
            "version": VERSION,
            "step": asked.step,
            "round": asked.round,
            "weighted-by": asked.weighted_by,
            "run-config": asked.run_config,
        }
    )
    return {ABOUT: about, FRAMES: _record(asked.frames)}


def answer(frames: Iterable[bytes]) -> RecordDict:
    """All that a reply has."""
    return RecordDict({ABOUT: ConfigRecord({"version": VERSION}), FRAMES: _record(frames)})


def read(content: RecordDict) -> Asked | None:
    """What a message asks; None for one that is of no secure round. Raises WireError."""
    if (about := _about(content)) is None:
        return None
    step, number, key = (about.get(name) for name in ("step", "round", "weighted-by"))
    known = step in STEPS and type(number) is int and 0 <= number < 1 << 32
    config = about.get("run-config")
    if not known or not isinstance(number, int) or not isinstance(key, str):
        raise WireError("the record of a secure round says its step, its round and the weight")
    if not isinstance(config, bytes) or len(config) not in (0, DIGEST):
        raise WireError("the record of a secure round says whether its run_config is bound")
    return Asked(str(step), number, key, config, frames_of(content))


def frames_of(content: RecordDict) -> tuple[bytes, ...]:
    """The frames of a message, in order. Raises WireError where there are none."""
    record = content.get(FRAMES)
    if _about(content) is None or not isinstance(record, ArrayRecord):
        raise WireError("a message of a secure round has frames")
    if len(record) > MAX_FRAMES or any(one.stype != RAW for one in record.values()):
        raise WireError(f"frames are at most {MAX_FRAMES} arrays of the type {RAW}")
    return tuple(bytes(record[name].data) for name in sorted(record.keys()))


def without(content: RecordDict) -> RecordDict:
    """The message as the application's own code knows it."""
    return RecordDict({k: v for k, v in content.items() if k not in (ABOUT, FRAMES)})


def _about(content: RecordDict) -> ConfigRecord | None:
    about = content.get(ABOUT)
    if not isinstance(about, ConfigRecord):
        return None
    if about.get("version") != VERSION:
        raise WireError(
            "the other side speaks another version of this adapter: install one release of secagg "
            "on the server and on all nodes"
        )
    return about


def _record(frames: Iterable[bytes]) -> ArrayRecord:
    return ArrayRecord({f"{i:02}": Array("uint8", (len(f),), RAW, f) for i, f in enumerate(frames)})
