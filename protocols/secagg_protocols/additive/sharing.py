"""Additive shares: a vector less the streams of seeds, and the seeds (specs/20-additive.md §4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn, Protocol

import numpy as np

from secagg.crypto import labels
from secagg.errors import LocalProtocolError, ParameterError, StorageError, WireError
from secagg.layout import Expander, Layout, RingVector
from secagg.protocol import Session
from secagg.types import Randomness, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.vector import PackedVector, read_vector, write_vector
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.shape import Shape

# Share 0 is the vector less the streams of m - 1 fresh seeds, packed; share j is seed j. Any m - 1
# of them are uniform whatever the vector is: without seed j its stream is a one-time pad on share
# 0.

NAME = "additive"


def shape_of(layout: Layout, servers: int) -> Shape:
    """The sizes of a plan's messages; no kernel is loaded for it."""
    seeds = (Seed.SIZE,) * (servers - 1)
    return Shape.of((layout.packed_size, *seeds), layout.packed_size)


def context_of(session: Session, expander: Expander) -> Context:
    """What the machines of a session are made from. Raises ParameterError as Context.of does, and
    for the parameters of another protocol."""
    if not isinstance(session.params, AdditiveParams):
        raise ParameterError("the session's parameters are not those of additive sums")
    task, servers = session.offer(NAME), session.params.servers
    return Context.of(session, NAME, Additive(session.layout, servers, task, expander))


class Addend(Protocol):
    """An opened share, or a total."""

    def add_to(self, total: RingVector, /) -> None: ...


@dataclass(frozen=True)
class Additive:
    """The scheme without exchanges: a share that opens is one that counts. task: the task's id."""

    layout: Layout
    servers: int
    task: bytes
    expander: Expander = field(repr=False)

    jobs = False
    """Opening expands no stream, and a helper adds one in the time that a job takes to leave."""

    @cached_property
    def shape(self) -> Shape:
        return shape_of(self.layout, self.servers)

    def split(
        self, vector: RingVector, id: bytes, randomness: Randomness, /
    ) -> tuple[bytes, Sequence[bytes]]:
        """Draws m - 1 seeds of 32 bytes, by index."""
        # The long share is the leader's, so that what it relays of a client is short: 32 bytes for
        # each helper and not the vector again.
        seeds = [Seed(randomness(Seed.SIZE)) for _ in range(1, self.servers)]
        keys = [self.stream_keys(seed, id, index) for index, seed in enumerate(seeds, start=1)]
        for segment, lane in enumerate(vector):
            self.expander(lane, b"".join(key[segment] for key in keys), bytes(len(keys)))
        return b"", [self.write(vector), *(seed.expose() for seed in seeds)]

    def open(self, index: int, id: bytes, public: bytes, plaintext: bytes, /) -> Addend:
        """Rule A4: a packed vector at the leader, a seed at a helper."""
        if index == 0:
            return read_packed(self.layout, plaintext)
        return SeedShare(self.stream_keys(read_seed(plaintext), id, index), self.expander)

    def begin(self, share: Addend, /) -> NoReturn:
        """Impossible, like the two below: the shape has no parts, so no machine asks."""
        raise LocalProtocolError("additive shares are not checked")

    def combine(self, parts: Sequence[bytes], /) -> NoReturn:
        raise LocalProtocolError("additive shares are not checked")

    def end(self, checking: object, message: bytes, /) -> NoReturn:
        raise LocalProtocolError("additive shares are not checked")

    def zeros(self) -> RingVector:
        return self.layout.zeros()

    def add(self, total: RingVector, share: Addend, /) -> None:
        """Modulo the lane and not the ring: `write` and `vector` reduce."""
        share.add_to(total)

    def write(self, total: RingVector, /) -> bytes:
        return write_vector(Writer(), self.layout, total).finish()

    def read(self, data: bytes, /) -> PackedVector:
        return read_packed(self.layout, data)

    def store(self, total: RingVector, /) -> bytes:
        """Lane by lane, little-endian, not reduced: a copy, where packing would cost more."""
        lanes = (lane.astype(lane.dtype.newbyteorder("<")).tobytes() for lane in total)
        return b"".join(lanes)

    def restore(self, row: bytes, /) -> RingVector:
        total, at = self.zeros(), 0
        if len(row) != sum(lane.nbytes for lane in total):
            raise StorageError("the stored sum has another length: use the store of this plan")
        for lane in total:
            lane[:] = np.frombuffer(row, lane.dtype.newbyteorder("<"), lane.size, at)
            at += lane.nbytes
        return total

    def vector(self, total: RingVector, /) -> RingVector:
        return self.layout.reduce(total)

    # Task, report, server and segment are in each key, so that one seed in two places is not one
    # pad twice: the slip by which masks that were set up once were broken
    # (specs/vulnerabilities.md).
    def stream_keys(self, seed: Seed, id: bytes, index: int) -> list[bytes]:
        """One mask key for each segment: a seed never keys AES itself."""
        return [
            labels.derive(seed, labels.SHARE, self.task, id, index, segment).expose()
            for segment in range(len(self.layout.segments))
        ]


@dataclass(frozen=True)
class SeedShare:
    """A helper's share: one key for each segment, which stand for the whole vector."""

    keys: list[bytes] = field(repr=False)
    expander: Expander

    def add_to(self, total: RingVector, /) -> None:
        for lane, key in zip(total, self.keys, strict=True):
            self.expander(lane, key, b"\x01")


def read_packed(layout: Layout, plaintext: bytes) -> PackedVector:
    """The leader's share, valid as a whole; WireError for padding that is set."""
    reader = Reader(plaintext)
    vector = read_vector(reader, layout)
    reader.finish()
    return vector


def read_seed(plaintext: bytes) -> Seed:
    """WireError for another length."""
    if len(plaintext) != Seed.SIZE:
        raise WireError(f"a seed is {Seed.SIZE} bytes, not {len(plaintext)}")
    return Seed(plaintext)
