"""The building blocks of specs/20-additive.md, written from that page: for verify.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import blocks
import rfc8032
import rfc9180
from blocks import KDF, Cursor, E, H, Refused, check_public, pack, stream, unpack
from plans import Plan, parse_plan

LABEL = b"secagg/v1/"
NAME = b"additive"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# §3


@dataclass
class Committee:
    servers: list[tuple[bytes, bytes]]  # sealing key, signing key
    collector: bytes
    epoch: int
    encoded: bytes

    @property
    def digest(self) -> bytes:
        return H("committee", self.encoded)


def parse_committee(cursor: Cursor) -> Committee:
    start, servers = cursor.at, []
    for _ in range(cursor.int(1)):
        sealing, signing = cursor.take(32), cursor.take(32)
        check_public(sealing, "§3")
        if not rfc8032.is_key(signing):
            raise Refused("InvalidKey", "§3")
        servers.append((sealing, signing))
    collector, epoch = cursor.take(32), cursor.int(4)
    if not 2 <= len(servers) <= 16:
        raise Refused("ParameterError", "§3")
    check_public(collector, "§3")
    sealing_keys = {collector, *(s for s, _ in servers)}
    if len(sealing_keys) <= len(servers) or len({s for _, s in servers}) < len(servers):
        raise Refused("ParameterError", "§3")
    return Committee(servers, collector, epoch, cursor.data[start : cursor.at])


@dataclass
class Task:
    """Of several servers."""

    plan: Plan
    committee: Committee
    payload: bytes
    digest: bytes

    @property
    def id(self) -> bytes:
        """The offer of 10-secagg.md §3."""
        mine = self.committee
        return H("offer", NAME, 1, 1, self.plan.digest, self.payload, mine.digest, mine.epoch)

    def batch_id(self, number: int) -> bytes:
        return H("batch", self.id, number)

    def nonce(self, number: int | None) -> bytes:
        return H("task", self.digest, b"" if number is None else blocks.u32(number))[:16]


@dataclass
class TaskOfOne:
    plan: Plan
    payload: bytes
    digest: bytes


def parse_task(data: bytes) -> Task | TaskOfOne:
    """01-wire.md §4.15."""
    if len(data) > 2**19 + 64 * 17 + 128:
        raise Refused("TooLarge", "01 §4.15")
    cursor = Cursor(data, "01 §4.15")
    if (cursor.int(1), cursor.int(1)) != (1, 1):
        raise Refused("UnknownVersion", "01 §4.15")
    plan = parse_plan(cursor.prefixed(2**19))
    kind = cursor.int(1)
    if kind > 1:
        raise Refused("BadTag", "01 §4.15")
    committee = parse_committee(cursor) if kind == 1 else None
    payload = cursor.take(32)
    cursor.end()
    if (plan.protocol == "additive") != (committee is not None):
        raise Refused("ParameterError", "01 §4.15")
    if committee is None:
        return TaskOfOne(plan, payload, H("task", data))
    if len(committee.servers) != plan.params[1]:
        raise Refused("ParameterError", "01 §4.15")
    return Task(plan, committee, payload, H("task", data))


def task_of_several(data: bytes) -> Task:
    parsed = parse_task(data)
    if not isinstance(parsed, Task):
        raise Refused("ParameterError", "01 §4.15")
    return parsed


# §4


def front_of(key: bytes, public: bytes) -> bytes:
    return H("public-share", key, public)


def share_info(task: bytes, report: bytes, front: bytes, server: int) -> bytes:
    return E(LABEL + b"share-seal", NAME, 1, 1, task, report, front, b"server", server)


def total_info(task: bytes, number: int, digest: bytes, count: int, server: int) -> bytes:
    head = (LABEL + b"total-seal", NAME, 1, 1, task, number)
    return E(*head, digest, count, b"collector", server)


def stream_key(seed: bytes, task: bytes, report: bytes, server: int, segment: int) -> bytes:
    return KDF(seed, "share", task, report, server, segment)


def expansion(
    seed: bytes, task: bytes, report: bytes, server: int, segments: blocks.Segments
) -> list[list[int]]:
    return [
        stream(stream_key(seed, task, report, server, g), blocks.lane_of(width), 0, length)
        for g, (width, length) in enumerate(segments)
    ]


def combined(
    a: Sequence[list[int]], b: Sequence[list[int]], sign: int, segments: blocks.Segments
) -> list[list[int]]:
    """Lane by lane, modulo the lane."""
    return [
        blocks.add(x, y, sign, 2 ** blocks.lane_of(width))
        for x, y, (width, _) in zip(a, b, segments, strict=True)
    ]


def keys_of(random: bytes) -> tuple[bytes, bytes]:
    """A server's 64 bytes: the X25519 scalar, the Ed25519 seed."""
    return blocks.clamp(random[:32]), random[32:64]


# §5, §6


def digest_of(report: bytes, key: bytes, public: bytes, manifest: Iterable[bytes]) -> bytes:
    return H("report", report, key, public, b"".join(manifest))


def report_statement(task: bytes, report: bytes, front: bytes, manifest: Iterable[bytes]) -> bytes:
    return E(LABEL + b"report-sign", task, report, front, b"".join(manifest))


def receipt_statement(task: bytes, server: int, digest: bytes) -> bytes:
    return E(LABEL + b"receipt", task, server, digest)


def set_of(reports: Mapping[bytes, bytes]) -> tuple[int, bytes]:
    """Count and digest of a set, id -> digest."""
    return len(reports), H("reports", b"".join(id + reports[id] for id in sorted(reports)))


def statement(batch: bytes, count: int, digest: bytes) -> bytes:
    return E(LABEL + b"statement", batch, count, digest)


def total_statement(batch: bytes, server: int, count: int, digest: bytes, sealed: bytes) -> bytes:
    return E(LABEL + b"total", batch, server, count, digest, sha(sealed))


@dataclass
class Head:
    """Additive sums have an empty public share."""

    id: bytes
    key: bytes
    manifest: list[bytes]
    signature: bytes

    @classmethod
    def read(cls, cursor: Cursor, servers: int) -> Head:
        id, key = cursor.take(16), cursor.take(32)
        return cls(id, key, [cursor.take(32) for _ in range(servers)], cursor.take(64))

    @property
    def encoded(self) -> bytes:
        return self.id + self.key + b"".join(self.manifest) + self.signature

    @property
    def front(self) -> bytes:
        return front_of(self.key, b"")

    @property
    def digest(self) -> bytes:
        return digest_of(self.id, self.key, b"", self.manifest)

    def is_signed(self, task: bytes) -> bool:
        message = report_statement(task, self.id, self.front, self.manifest)
        return rfc8032.verify(self.key, message, self.signature)


def signed_head(task: bytes, id: bytes, secret: bytes, sealed: Iterable[bytes]) -> Head:
    """secret: 32 bytes, of the report's key."""
    key, manifest = rfc8032.public(secret), [sha(one) for one in sealed]
    message = report_statement(task, id, front_of(key, b""), manifest)
    return Head(id, key, manifest, rfc8032.sign(secret, message))


@dataclass
class Made:
    """A report: its head, and the sealed shares."""

    head: Head
    sealed: list[bytes]


def make_report(task: Task, vector: Sequence[list[int]], random: Any, ephemeral: Any) -> Made:
    """random, ephemeral: size -> bytes."""
    segments, m = task.plan.schema.segments, len(task.committee.servers)
    id, secret = random(16), random(32)
    front = front_of(rfc8032.public(secret), b"")
    seeds = [random(32) for _ in range(1, m)]
    left = [list(lane) for lane in vector]
    for j, seed in enumerate(seeds, start=1):
        left = combined(left, expansion(seed, task.id, id, j, segments), -1, segments)
    shares = [pack(segments, left), *seeds]
    sealed = [
        rfc9180.seal(key, share_info(task.id, id, front, j), share, ephemeral(32))
        for j, ((key, _), share) in enumerate(zip(task.committee.servers, shares, strict=True))
    ]
    return Made(signed_head(task.id, id, secret, sealed), sealed)


def open_share(
    task: Task, secret: bytes, head: Head, sealed: bytes, server: int
) -> list[list[int]] | None:
    """What the share adds to the sum, or None where it is none (A4)."""
    segments = task.plan.schema.segments
    try:
        plain = rfc9180.unseal(secret, share_info(task.id, head.id, head.front, server), sealed)
        if server == 0:
            cursor = Cursor(plain)
            vector = unpack(cursor, segments)
            cursor.end()
            return vector
    except Refused:
        return None
    if len(plain) != 32:
        return None
    return expansion(plain, task.id, head.id, server, segments)
