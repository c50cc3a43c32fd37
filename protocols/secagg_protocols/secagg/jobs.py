"""The server's work after the last answer, cut into pure jobs (specs/10-secagg.md §9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from secagg.layout import Expander, Layout
from secagg.mask import MaskJob
from secagg.types import Seed, SessionId
from secagg_protocols.secagg import keys
from secagg_protocols.secagg.keys import Endpoint

# A job holds only keys that the protocol has opened to the server. They are bare bytes and no
# `Seed`, which refuses to be pickled: a job may be computed by another process or machine. Whoever
# reads all jobs and all masked vectors has what the server has, the sum, and no input.
#
# Jobs are pure and their results are added in any order, so one that is computed anew, after a
# worker or the whole server has died, leads to the same sum.

KEY_SIZE = 32
PEERS_PER_JOB = 512
"""Scalar multiplications: some 40 ms."""
_STREAM_PER_JOB = 1 << 29
"""Bytes of key stream: some 20 ms of the widest AES unit, 100 to 200 of OpenSSL's."""
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 16, 1 << 20
_KEYS_PER_JOB = _STREAM_PER_JOB // _SMALLEST_BLOCK
"""Of the smallest block; 256 KiB of keys are also little to send to another machine."""


@dataclass(frozen=True, slots=True)
class AgreeJob:
    """The mask keys of one dropped client with those of its neighbours that survived.

    Returns for each peer, and for each segment of it, 32 bytes.
    """

    session: SessionId
    dropped: Endpoint
    secret: bytes = field(repr=False)
    peers: tuple[Endpoint, ...]
    segments: int

    def __call__(self) -> bytes:
        secret = Seed(self.secret)
        return b"".join(
            key
            for peer in self.peers
            for key in keys.pair_keys(secret, self.dropped, peer, self.session, self.segments)
        )


def agree_jobs(
    session: SessionId, dropped: Endpoint, secret: Seed, peers: Sequence[Endpoint], segments: int
) -> Iterator[AgreeJob]:
    """Of one dropped client's key: PEERS_PER_JOB agreements a job, in the order of peers."""
    for first in range(0, len(peers), PEERS_PER_JOB):
        some = tuple(peers[first : first + PEERS_PER_JOB])
        yield AgreeJob(session, dropped, secret.expose(), some, segments)


@dataclass(frozen=True, slots=True)
class SignedKey:
    """One mask to remove from a segment: sign is what the clients' sum carries it with."""

    key: bytes = field(repr=False)
    sign: int


def mask_jobs(
    layout: Layout, by_segment: Sequence[Sequence[SignedKey]], expander: Expander
) -> Iterator[tuple[int, MaskJob]]:
    """(segment, job) pairs that together compute minus the sum of all masks, block by block."""
    for number, (segment, keyed) in enumerate(zip(layout.segments, by_segment, strict=True)):
        lane = segment.group.lane_bits // 8
        for start in range(0, len(keyed), _KEYS_PER_JOB):
            signed = keyed[start : start + _KEYS_PER_JOB]
            key_bytes = b"".join(one.key for one in signed)
            # many keys and one block: with a job for each key, a block would be added to the sum as
            # often as there are masks
            signs = bytes(one.sign < 0 for one in signed)  # removing: the opposite sign
            block = min(_STREAM_PER_JOB // len(signed), _LARGEST_BLOCK) // _SMALLEST_BLOCK
            step = block * _SMALLEST_BLOCK // lane
            for first in range(0, segment.length, step):
                count = min(step, segment.length - first)
                yield (
                    number,
                    MaskJob(segment.group.lane_bits, first, count, key_bytes, signs, expander),
                )
