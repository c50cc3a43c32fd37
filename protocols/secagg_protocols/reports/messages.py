"""The messages of additive sums, byte by byte (specs/20-additive.md §6)."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field, replace

from secagg.crypto import hpke, labels, sign
from secagg.crypto.sign import KEY_SIZE, SIGNATURE_SIZE
from secagg.errors import WireError
from secagg.types import AbortReason, Buffer, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE, read_header, write_header
from secagg_protocols.reports.shape import ID_SIZE, Shape

# What a client sends, and what repeats it, is bound to the task; all else to one batch of it.
#
# A report is tied together in one order, and no other would do. The front comes first, because
# every seal has it in its info; the manifest after the seals, as it is of their bytes; the
# signature last, under a key that the front has fixed before. So nothing contains itself, and
# whoever exchanges one share has to make all of them anew, under another key: another report (rule
# A1).


class Tag(enum.IntEnum):
    """The messages of reports and batches (specs/20-additive.md §6)."""

    REPORT = 1  # client to leader: every share, when the leader relays
    REPORT_SHARE = 2  # client or leader to a server: its share
    RECEIPT = 3  # server to client: one server signs that it has stored the report
    VERDICT = 4  # helper to leader: accepted, with its receipt, or rejected
    DECISION = 5  # leader to helper: included or rejected
    DECIDED = 6  # helper to leader: done so
    STATEMENT = 7  # both ways between leader and helper: the signed set
    AGREEMENT = 8  # leader to helper: every server's signature
    LOCKED = 9  # helper to leader: the set is locked
    COLLECT = 10  # collector to server
    TOTAL = 11  # server to collector: its sealed total, and what every server has signed
    ABORT = 12  # any to any
    OPEN = 13  # server to collector: there is no total yet, and how many reports there are


NAMES = {int(tag): tag.name.lower().replace("_", "-") for tag in Tag}


class Verdict(enum.IntEnum):
    """On one report; of a server about its share, or of the leader about the whole.

    CHECKING: none yet. A helper says its part of the check, or the leader what all parts make.
    """

    ACCEPTED = 0
    REJECTED = 1
    CHECKING = 2


def front(key: bytes, public: bytes) -> bytes:
    """Digest of what a report fixes before it is sealed, so that every share is bound to it."""
    return labels.digest(labels.PUBLIC_SHARE, key, public)


@dataclass(frozen=True)
class Head:
    """What all servers hold of a report alike. manifest: SHA-256 of each sealed share, in order.

    key: Ed25519, of this report alone: it says whose shares belong together, and names nobody.
    signature: under it; it is not in the digest, which a receipt signs.
    """

    id: bytes
    key: bytes
    public: bytes
    manifest: tuple[bytes, ...]
    signature: bytes = field(repr=False)

    @classmethod
    def sign(
        cls, task: bytes, id: bytes, public: bytes, manifest: tuple[bytes, ...], secret: Seed
    ) -> Head:
        """task: 32 bytes. secret: of the report's own key, which signs this and nothing else."""
        unsigned = cls(id, sign.public_key(secret), public, manifest, b"")
        return replace(unsigned, signature=sign.sign(secret, unsigned.to_sign(task)))

    @property
    def front(self) -> bytes:
        return front(self.key, self.public)

    @property
    def digest(self) -> bytes:
        manifest = b"".join(self.manifest)
        return labels.digest(labels.REPORT, self.id, self.key, self.public, manifest)

    def to_sign(self, task: bytes) -> bytes:
        manifest = b"".join(self.manifest)
        return labels.encode(labels.REPORT_SIGN, task, self.id, self.front, manifest)

    def check(self, task: bytes) -> None:
        """Rule A2: InvalidSignature unless whoever made the key has made this manifest."""
        sign.verify(self.key, self.to_sign(task), self.signature)

    def write(self, writer: Writer) -> Writer:
        writer.raw(self.id).raw(self.key).raw(self.public)
        return writer.raw(b"".join(self.manifest)).raw(self.signature)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Head:
        return cls(
            reader.fixed(ID_SIZE, "report id"),
            reader.fixed(KEY_SIZE, "report key"),
            reader.fixed(shape.public, "public share"),
            tuple(reader.fixed(DIGEST_SIZE, "manifest") for _ in shape.sealed),
            reader.fixed(SIGNATURE_SIZE, "report signature"),
        )


@dataclass(frozen=True)
class Sealed:
    """A server's sealed share, and the head of its report: what that server needs, and keeps.

    Rule A2: it is the share that the manifest names, or there is none.
    """

    head: Head
    index: int
    data: Buffer = field(repr=False)

    # Where such a thing is made, and not where it is used: neither what came nor what is sent can
    # be a share that its head does not name. The hash is asked before anything is opened, so a
    # share that was exchanged on the way costs no multiplication on the curve (rule A2).
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
    def of(
        cls, task: bytes, id: bytes, public: bytes, sealed: tuple[bytes, ...], secret: Seed
    ) -> Report:
        """secret: of the report's own key, which whoever sealed the shares has bound them to."""
        manifest = tuple(hashlib.sha256(data).digest() for data in sealed)
        head = Head.sign(task, id, public, manifest, secret)
        return cls(tuple(Sealed(head, index, data) for index, data in enumerate(sealed)))

    def encode(self, task: bytes) -> bytes:
        writer = self.head.write(write_header(Tag.REPORT, task))
        for share in self.shares:
            writer.raw(share.data)
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Report:
        """WireError where a share is not the one in the manifest. The caller finishes."""
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


# It signs the digest and not the id. An acknowledgement that names an id says that something with
# this name is stored; whoever exchanged the report on the way would let the client believe that it
# is its own (specs/vulnerabilities.md). The id is beside it so that a client can tell a receipt of
# another report, which is nobody's fault, from a wrong one of its own (§7.4).
@dataclass(frozen=True, slots=True)
class Receipt:
    """One server's word that it has stored its share of a report, for whoever holds its digest."""

    id: bytes
    index: int
    signature: bytes

    def encode(self, task: bytes) -> bytes:
        writer = write_header(Tag.RECEIPT, task).raw(self.id)
        return writer.u8(self.index).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader) -> Receipt:
        id, index = reader.fixed(ID_SIZE, "report id"), reader.u8("server")
        signature = reader.fixed(SIGNATURE_SIZE, "signature")
        reader.finish()
        return cls(id, index, signature)

    @staticmethod
    def to_sign(task: bytes, index: int, digest: bytes) -> bytes:
        return labels.encode(labels.RECEIPT, task, index, digest)


# Verdicts and decisions name a report's digest besides its id: two servers that hold shares of two
# reports under one id would otherwise both accept, and the sum would have parts of either (A4).
@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict on a report: sent as VERDICT or as DECISION.

    detail: in a VERDICT that accepts, the signature of the helper's receipt; in one that is
    CHECKING, its part; in such a DECISION, the combined message. Else empty.
    """

    id: bytes
    digest: bytes
    verdict: Verdict
    detail: bytes = field(default=b"", repr=False)

    def encode(self, tag: Tag, batch: bytes) -> bytes:
        writer = write_header(tag, batch).raw(self.id).raw(self.digest).u8(self.verdict)
        return writer.raw(self.detail).finish()

    @classmethod
    def read(cls, reader: Reader, tag: Tag, shape: Shape) -> Ruling:
        """Whole. WireError for a verdict that this message cannot have in a plan of this shape."""
        id, digest = reader.fixed(ID_SIZE, "report id"), reader.fixed(DIGEST_SIZE, "report digest")
        verdict = reader.u8("verdict")
        size = _detail_size(tag, verdict, shape)
        if size is None:
            raise WireError(f"verdict {verdict} is unknown")
        detail = reader.fixed(size, "receipt or part")
        reader.finish()
        return cls(id, digest, Verdict(verdict), detail)


def _detail_size(tag: Tag, verdict: int, shape: Shape) -> int | None:
    """None for a verdict that this message cannot have: without a check there is no CHECKING."""
    if verdict == Verdict.CHECKING:
        return shape.part if tag is Tag.VERDICT else shape.message
    if verdict == Verdict.ACCEPTED and tag is Tag.VERDICT:
        return SIGNATURE_SIZE
    return 0 if verdict in (Verdict.ACCEPTED, Verdict.REJECTED) else None


# A digest of the whole sorted list, and not the exclusive or of hashed ids with which other batch
# protocols compare sets: in that, a report that stands twice cancels itself out, and digests of one
# set can be aimed at another. The count is signed with it, so it is never the collector's guess.
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
        return self.write(write_header(tag, batch)).finish()

    def write(self, writer: Writer) -> Writer:
        return self.included.write(writer).raw(b"".join(self.signatures))

    @classmethod
    def read(cls, reader: Reader, signatures: int) -> Statement:
        """The caller finishes: it may be a part of a message."""
        included = Included.read(reader)
        signed = tuple(reader.fixed(SIGNATURE_SIZE, "signature") for _ in range(signatures))
        return cls(included, signed)


@dataclass(frozen=True)
class Total:
    """A server's total, sealed to the collector and signed by the server, and what it rests on.

    agreement: the set, with every server's signature. So whoever brings a total of another set has
    nobody's word for it but its own.
    """

    agreement: Statement
    sealed: Buffer = field(repr=False)
    signature: bytes

    @property
    def included(self) -> Included:
        return self.agreement.included

    def encode(self, batch: bytes) -> bytes:
        writer = self.agreement.write(write_header(Tag.TOTAL, batch))
        return writer.raw(self.sealed).raw(self.signature).finish()

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Total:
        """Whole. Nothing is verified: that needs the committee."""
        agreement = Statement.read(reader, len(shape.sealed))
        sealed = reader.take(shape.total + hpke.OVERHEAD, "sealed total")
        signature = reader.fixed(SIGNATURE_SIZE, "signature")
        reader.finish()
        return cls(agreement, sealed, signature)

    @staticmethod
    def to_sign(batch: bytes, index: int, included: Included, sealed: Buffer) -> bytes:
        hashed = hashlib.sha256(sealed).digest()
        return labels.encode(labels.TOTAL, batch, index, included.count, included.digest, hashed)


def bare(tag: Tag, batch: bytes) -> bytes:
    """LOCKED and COLLECT have no body."""
    return write_header(tag, batch).finish()


def open_batch(batch: bytes, count: int) -> bytes:
    """A server's answer to a collector that asks before the lock. count: reports summed so far."""
    return write_header(Tag.OPEN, batch).u32(count).finish()


def read_open(reader: Reader) -> int:
    """How many reports a server has summed so far."""
    count = reader.u32("count")
    reader.finish()
    return count


def decided(batch: bytes, id: bytes) -> bytes:
    """A helper's answer to a decision. id: 16 bytes of the report."""
    return write_header(Tag.DECIDED, batch).raw(id).finish()


def abort(binding: bytes, reason: AbortReason) -> bytes:
    """binding: of the task to a client, of the batch to a server or the collector."""
    return write_header(Tag.ABORT, binding).u8(reason.code).finish()


def read_abort(reader: Reader) -> AbortReason:
    """The reason behind a checked header, and nothing after it. WireError."""
    code = reader.u8("reason")
    reader.finish()
    reason = AbortReason.from_code(code)
    if reason is None:
        raise WireError(f"abort reason {code} is unknown")
    return reason
