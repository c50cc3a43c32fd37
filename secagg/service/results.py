"""Results of a service: each kept in the transaction that ends its round, for a time.

Two rows a result (specs/52-books.md, rules B8, B9 and B10): what it is of, beside those of all
others, and its arrays, in a namespace of their own. A collector sees those of its tasks; an
operator sees none.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.crypto import labels
from secagg.effects import NAMESPACE_SIZE, ROUNDS, Write
from secagg.errors import InputError, StorageError, WireError
from secagg.party import Aggregate
from secagg.shown import short
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import NONCE_SIZE

NAMESPACE = labels.digest(labels.KEPT)[:NAMESPACE_SIZE]
STEP = 250
"""Results that one transaction takes away at most: each is two rows."""
_VERSION = 1
_NAME = 256
_ABOUT, _ARRAYS = b"a", b"z"


@dataclass(frozen=True, slots=True)
class Result:
    """task, nonce: of which round of what. at: unix seconds of its end. contributors, dropped: how
    many. errors: by field, how far an element of the mean may be from the exact one by rounding.
    privacy: its label in JSON (`secagg.plans.label`), empty where there is none. size: bytes of the
    arrays. taken: whether its collector has acknowledged it."""

    task: str
    nonce: bytes
    at: int
    contributors: int
    dropped: int
    errors: Mapping[str, float]
    privacy: str
    size: int
    taken: bool = False

    __repr__ = short

    def encode(self) -> bytes:
        """Its first row (rule B8)."""
        writer = Writer().u8(_VERSION).u64(self.at).prefixed(self.task.encode()).raw(self.nonce)
        writer.u32(self.contributors).u32(self.dropped).u32(len(self.errors))
        for name, error in self.errors.items():
            writer.prefixed(name.encode()).f64(error)
        writer.prefixed(self.privacy.encode()).u64(self.size).u8(self.taken)
        return writer.finish()

    @classmethod
    def decode(cls, row: bytes) -> Result:
        """Raises WireError for what is no such row, UnicodeDecodeError for names of no text."""
        reader = Reader(row)
        if (version := reader.u8("version")) != _VERSION:
            raise WireError(f"a result of version {version}; this code reads version {_VERSION}")
        at, task = reader.u64("time"), reader.prefixed(_NAME, "task").decode()
        nonce = reader.fixed(NONCE_SIZE, "nonce")
        contributors, dropped = reader.u32("contributors"), reader.u32("dropped")
        fields = range(reader.count(len(row), "fields"))
        errors = {reader.prefixed(_NAME, "field").decode(): reader.f64("error") for _ in fields}
        privacy, size = reader.prefixed(len(row), "privacy").decode(), reader.u64("size")
        taken = reader.u8("taken")
        reader.finish()
        return cls(task, nonce, at, contributors, dropped, errors, privacy, size, bool(taken))


class Results:
    """What there is, by nonce, in the order in which rounds ended. Arrays stay in the store."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Result] = {}

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """All rows of the namespace, or those that are about a result. Raises StorageError."""
        begin = NAMESPACE + ROUNDS + _ABOUT
        try:
            found = [Result.decode(value) for key, value in rows if key.startswith(begin)]
        except (WireError, UnicodeDecodeError) as error:
            raise StorageError(f"a result in the store is damaged: {error}") from None
        for one in sorted(found, key=lambda one: one.at):
            self._kept[one.nonce] = one

    def add(self, task: str, nonce: bytes, total: Aggregate, now: int) -> list[Write]:
        """Its rows, to be stored with the end of its round. The same round's result again, as after
        a death between the two, is the same one: nothing is written."""
        if nonce in self._kept:
            return []
        data = packed(total)
        label = total.privacy
        made = Result(
            task,
            nonce,
            now,
            total.count,
            len(total.dropped),
            dict(total.report.error_bounds),
            "" if label is None else json.dumps(label.as_dict(), sort_keys=True),
            len(data),
        )
        self._kept[nonce] = made
        return [Write(_key(_ABOUT, nonce), made.encode()), Write(arrays_key(nonce), data)]

    def all(self, tasks: Callable[[str], bool] = lambda task: True) -> list[Result]:
        """Those of the tasks that `tasks` says yes to, the oldest first."""
        return [one for one in self._kept.values() if tasks(one.task)]

    def get(self, nonce: bytes) -> Result | None:
        """None where there is none, or none any more."""
        return self._kept.get(nonce)

    def take(self, nonce: bytes) -> list[Write]:
        """Its collector has it. Nothing where it knew already, or there is none."""
        if (one := self._kept.get(nonce)) is None or one.taken:
            return []
        self._kept[nonce] = replace(one, taken=True)
        return [Write(_key(_ABOUT, nonce), self._kept[nonce].encode())]

    def remove(self, nonce: bytes) -> list[Write]:
        """Nothing where there is none."""
        if self._kept.pop(nonce, None) is None:
            return []
        return [Write(_key(_ABOUT, nonce), None), Write(arrays_key(nonce), None)]

    def expire(self, before: int) -> list[Write]:
        """At most STEP of those that ended before, unix seconds, taken or not."""
        old = [nonce for nonce, one in self._kept.items() if one.at < before][:STEP]
        return [write for nonce in old for write in self.remove(nonce)]

    def waiting(self, task: str) -> int:
        """How many of a task nobody has taken yet."""
        return sum(one.task == task and not one.taken for one in self._kept.values())


def arrays_in(nonce: bytes) -> bytes:
    """The namespace of the one row that has a result's arrays: so that they are found without
    those of others."""
    return labels.digest(labels.KEPT, nonce)[:NAMESPACE_SIZE]


def arrays_key(nonce: bytes) -> bytes:
    """Of that row."""
    return arrays_in(nonce) + ROUNDS + _ARRAYS


def packed(total: Aggregate) -> bytes:
    """An .npz file: `sum.FIELD` and `mean.FIELD` of every field, as `Aggregate` has them."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for kind, values in (("sum", total.sum), ("mean", total.mean)):
            for name, array in values.items():
                # a fixed date: equal results are equal bytes
                entry = zipfile.ZipInfo(f"{kind}.{name}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.save(file, array, allow_pickle=False)
    return whole.getvalue()


def unpacked(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """What `packed` has made, by `sum.FIELD` and `mean.FIELD`. InputError for other bytes."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, OSError, zipfile.BadZipFile, KeyError, EOFError):
        raise InputError("these bytes are no result of a service") from None


def _key(kind: bytes, nonce: bytes) -> bytes:
    return NAMESPACE + ROUNDS + kind + nonce
