"""The messages of additive sums, byte by byte (specs/20-additive.md §6).

What a client sends, and what repeats it, is bound to the task; all else to one batch of it.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field

from secagg.crypto import hpke, labels
from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import WireError
from secagg.ring import Layout
from secagg.types import AbortReason, Buffer, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE, HEADER_SIZE, read_header, write_header

ID_SIZE = 16


class Tag(enum.IntEnum):
    REPORT = 1  # client to leader: every share, when the leader relays
    REPORT_SHARE = 2  # client or leader to a server: its share
    RECEIPT = 3  # server to client: the report is stored
    VERDICT = 4  # helper to leader: accepted or rejected
    DECISION = 5  # leader to helper: included or rejected
    DECIDED = 6  # helper to leader: done so
    STATEMENT = 7  # both ways between leader and helper: the signed set
    AGREEMENT = 8  # leader to helper: every server's signature
    LOCKED = 9  # helper to leader: the set is locked
    COLLECT = 10  # collector to server
    TOTAL = 11  # server to collector: its sealed total
    ABORT = 12  # any to any


NAMES = {int(tag): tag.name.lower().replace("_", "-") for tag in Tag}


class Verdict(enum.IntEnum):
    """On one report; of a server about its share, or of the leader about the whole."""

    ACCEPTED = 0
    REJECTED = 1


@dataclass(frozen=True)
class Shape:
    """The sizes that a plan fixes: of the public share, which additive sums leave empty, and of
    each server's sealed share."""

    sealed: tuple[int, ...]
    public: int = 0

    @classmethod
    def of(cls, layout: Layout, servers: int) -> Shape:
        seeds = (Seed.SIZE,) * (servers - 1)
        return cls(tuple(hpke.OVERHEAD + size for size in (layout.packed_size, *seeds)))

    @property
    def head(self) -> int:
        return HEADER_SIZE + ID_SIZE + self.public + DIGEST_SIZE * len(self.sealed)

    @property
    def report(self) -> int:
        return self.head + sum(self.sealed)

    def report_share(self, index: int) -> int:
        return self.head + self.sealed[index]


RECEIPT_SIZE = HEADER_SIZE + ID_SIZE


@dataclass(frozen=True)
class Head:
    """What all servers hold of a report alike. manifest: SHA-256 of each sealed share, in order."""

    id: bytes
    public: bytes
    manifest: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        return labels.digest(labels.REPORT, self.id, self.public, b"".join(self.manifest))

    def write(self, writer: Writer) -> Writer:
        return writer.raw(self.id).raw(self.public).raw(b"".join(self.manifest))

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Head:
        return cls(
            reader.fixed(ID_SIZE, "report id"),
            reader.fixed(shape.public, "public share"),
            tuple(reader.fixed(DIGEST_SIZE, "manifest") for _ in shape.sealed),
        )


@dataclass(frozen=True)
class Sealed:
    """A server's sealed share, and the head of its report: what that server needs, and keeps.

    Rule A2: it is the share that the manifest names, or there is none.
    """

    head: Head
    index: int
    data: Buffer = field(repr=False)

    def __post_init__(self) -> None:
        if hashlib.sha256(self.data).digest() != self.head.manifest[self.index]:
            raise WireError(f"the share of server {self.index} is not the one in the manifest")

    def encode(self, task: bytes) -> bytes:
        writer = write_header(Tag.REPORT_SHARE, task)
        return self.head.write(writer).raw(self.data).finish()

    @classmethod
    def read(cls, reader: Reader, shape: Shape, index: int) -> Sealed:
        head = Head.read(reader, shape)
        return cls(head, index, reader.take(shape.sealed[index], "sealed share"))


@dataclass(frozen=True)
class Report:
    """A whole report, as the leader relays it (rule A1). Each share is checked on the manifest."""

    shares: tuple[Sealed, ...]

    @property
    def head(self) -> Head:
        return self.shares[0].head

    @classmethod
    def of(cls, id: bytes, public: bytes, sealed: tuple[bytes, ...]) -> Report:
        head = Head(id, public, tuple(hashlib.sha256(data).digest() for data in sealed))
        return cls(tuple(Sealed(head, index, data) for index, data in enumerate(sealed)))

    def encode(self, task: bytes) -> bytes:
        writer = self.head.write(write_header(Tag.REPORT, task))
        for share in self.shares:
            writer.raw(share.data)
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Report:
        head = Head.read(reader, shape)
        return cls(
            tuple(
                Sealed(head, index, reader.take(size, "sealed share"))
                for index, size in enumerate(shape.sealed)
            )
        )


def read_head(reader: Reader, task: bytes, shape: Shape) -> Head | None:
    """Of what a client says, if it is a report or a share of one; the rest is not read."""
    try:
        tag, bound = read_header(reader)
        if bound != task or tag not in (Tag.REPORT, Tag.REPORT_SHARE):
            return None
        return Head.read(reader, shape)
    except WireError:
        return None


def receipt(task: bytes, id: bytes) -> bytes:
    return write_header(Tag.RECEIPT, task).raw(id).finish()


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict on a report: sent as VERDICT or as DECISION."""

    id: bytes
    digest: bytes
    verdict: Verdict

    def encode(self, tag: Tag, batch: bytes) -> bytes:
        return write_header(tag, batch).raw(self.id).raw(self.digest).u8(self.verdict).finish()

    @classmethod
    def read(cls, reader: Reader) -> Ruling:
        id, digest = reader.fixed(ID_SIZE, "report id"), reader.fixed(DIGEST_SIZE, "report digest")
        verdict = reader.u8("verdict")
        reader.finish()
        if verdict > Verdict.REJECTED:
            raise WireError(f"verdict {verdict} is unknown")
        return cls(id, digest, Verdict(verdict))


@dataclass(frozen=True, slots=True)
class Included:
    """A set of reports: how many, and the digest of their sorted ids and digests."""

    count: int
    digest: bytes

    @classmethod
    def of(cls, reports: dict[bytes, bytes]) -> Included:
        """reports: id -> digest."""
        listed = b"".join(id + digest for id, digest in sorted(reports.items()))
        return cls(len(reports), labels.digest(labels.REPORTS, listed))

    def to_sign(self, batch: bytes) -> bytes:
        return labels.encode(labels.STATEMENT, batch, self.count, self.digest)

    def write(self, writer: Writer) -> Writer:
        return writer.u32(self.count).raw(self.digest)

    @classmethod
    def read(cls, reader: Reader) -> Included:
        return cls(reader.u32("count"), reader.fixed(DIGEST_SIZE, "set digest"))


@dataclass(frozen=True)
class Statement:
    """STATEMENT: one server's signed set. AGREEMENT: the same set with everybody's signatures."""

    included: Included
    signatures: tuple[bytes, ...]

    def encode(self, tag: Tag, batch: bytes) -> bytes:
        writer = self.included.write(write_header(tag, batch))
        return writer.raw(b"".join(self.signatures)).finish()

    @classmethod
    def read(cls, reader: Reader, signatures: int) -> Statement:
        included = Included.read(reader)
        signed = tuple(reader.fixed(SIGNATURE_SIZE, "signature") for _ in range(signatures))
        reader.finish()
        return cls(included, signed)


@dataclass(frozen=True)
class Total:
    """A server's total, sealed to the collector and signed by the server."""

    included: Included
    sealed: Buffer = field(repr=False)
    signature: bytes

    def encode(self, batch: bytes) -> bytes:
        writer = self.included.write(write_header(Tag.TOTAL, batch))
        return writer.raw(self.sealed).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader, layout: Layout) -> Total:
        included = Included.read(reader)
        sealed = reader.take(layout.packed_size + hpke.OVERHEAD, "sealed total")
        signature = reader.fixed(SIGNATURE_SIZE, "signature")
        reader.finish()
        return cls(included, sealed, signature)

    @staticmethod
    def to_sign(batch: bytes, index: int, included: Included, sealed: Buffer) -> bytes:
        hashed = hashlib.sha256(sealed).digest()
        return labels.encode(labels.TOTAL, batch, index, included.count, included.digest, hashed)


def total_size(layout: Layout) -> int:
    return HEADER_SIZE + 4 + DIGEST_SIZE + layout.packed_size + hpke.OVERHEAD + SIGNATURE_SIZE


def bare(tag: Tag, batch: bytes) -> bytes:
    """LOCKED and COLLECT have no body."""
    return write_header(tag, batch).finish()


def decided(batch: bytes, id: bytes) -> bytes:
    return write_header(Tag.DECIDED, batch).raw(id).finish()


def abort(binding: bytes, reason: AbortReason) -> bytes:
    return write_header(Tag.ABORT, binding).u8(reason.code).finish()


def read_abort(reader: Reader) -> AbortReason:
    code = reader.u8("reason")
    reader.finish()
    reason = AbortReason.from_code(code)
    if reason is None:
        raise WireError(f"abort reason {code} is unknown")
    return reason
