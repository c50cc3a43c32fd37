"""A task: a plan, the digest of what it is about, and whose public keys stand behind it.

It is what parties pin and what sessions are made from. It is public. Where there are several
servers, what matters is that a client has it from somebody whom it trusts not to be all of them at
once: a task that one of them hands out could name that one under every key, so nothing here travels
over the links of a round (specs/20-additive.md §3). Of one server nobody's keys are in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from secagg.arguments import instance, integer, octets
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import BadTag, ParameterError, TooLarge, UnknownVersion
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.protocol import OneServer, Session, SeveralServers
from secagg.shown import short
from secagg.types import MAX_SERVERS, Buffer
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, payload_digest

VERSION, SUITE = 1, 1

NOBODY, COMMITTEE = 0, 1
"""Whose public keys a task has. 2 is kept for a roster of clients, and unknown in this version."""

MAX_TASK = MAX_ENCODED + 64 * (MAX_SERVERS + 1) + 128


@dataclass(frozen=True)
class Task:
    """members: of several servers the committee, of one server None. payload_digest: of the bytes
    that describe the task to clients, if there are any: `secagg.wire.frame.payload_digest(bytes)`.

    Raises ParameterError for members that do not fit the plan's family, or its number of servers.
    """

    plan: Plan
    members: Committee | None = None
    payload_digest: bytes = payload_digest(b"")

    __repr__ = short

    def __post_init__(self) -> None:
        instance("plan", self.plan, Plan)
        octets("payload_digest", self.payload_digest, DIGEST_SIZE)
        protocol, servers = self.plan.protocol, self.plan.params.servers
        match self.plan.info.family, self.members:
            case OneServer(), None:
                pass
            case OneServer(), _:
                raise ParameterError(f"{protocol} has one server, and a committee is of several")
            case SeveralServers(), _:
                committee = instance("members", self.members, Committee)
                if len(committee.servers) != servers:
                    raise ParameterError(
                        f"the plan has {servers} servers, and the committee "
                        f"{len(committee.servers)}"
                    )

    @property
    def committee(self) -> Committee:
        """Of a task of several servers; ParameterError for one of one server."""
        match self.members:
            case Committee() as committee:
                return committee
        raise ParameterError(
            f"this task is of {self.plan.protocol}, which has one server, and what was asked "
            "for takes a task of several: clients of one server join with the plan"
        )

    def check_rounds(self, otherwise: str) -> None:
        """Raises ParameterError for a task of several servers, which has batches and no rounds.
        otherwise: what it is for."""
        match self.plan.info.family:
            case SeveralServers():
                raise ParameterError(f"a task of {self.plan.params.servers} servers {otherwise}")

    def encode(self) -> bytes:
        """The canonical bytes (specs/01-wire.md §4.15)."""
        writer = Writer().u8(VERSION).u8(SUITE).prefixed(self.plan.encode())
        match self.members:
            case Committee() as committee:
                writer.u8(COMMITTEE).raw(committee.encode())
            case None:
                writer.u8(NOBODY)
        return writer.raw(self.payload_digest).finish()

    @classmethod
    def decode(cls, data: Buffer, *, allow_unprotected: bool = False) -> Task:
        """allow_unprotected: as for Plan.decode. Raises WireError, CryptoError, ParameterError or
        PolicyRefused; every rule is checked again."""
        data = octets("a task", data)
        if len(data) > MAX_TASK:
            raise TooLarge(f"a task of {len(data)} bytes, and the limit is {MAX_TASK}")
        reader = Reader(data)
        version, suite = reader.u8("version"), reader.u8("suite")
        if (version, suite) != (VERSION, SUITE):
            raise UnknownVersion(
                f"a task of version {version}, suite {suite}, or no task; this code speaks "
                f"version {VERSION}, suite {SUITE}"
            )
        encoded = reader.prefixed(MAX_ENCODED, "plan")
        plan = Plan.decode(encoded, allow_unprotected=allow_unprotected)
        members = _read_members(reader)
        payload = reader.fixed(DIGEST_SIZE, "payload digest")
        reader.finish()
        return cls(plan, members, payload)

    def digest(self) -> bytes:
        """32 bytes that bind everything above; what parties compare and pin."""
        return labels.digest(labels.TASK, self.encode())

    def nonce(self, batch: int | None = None) -> bytes:
        """What frames of several servers are routed by: those of a batch, or those that clients
        send. 16 bytes."""
        number = b"" if batch is None else batch.to_bytes(4)
        return labels.digest(labels.TASK, self.digest(), number)[:NONCE_SIZE]

    def session(self, nonce: bytes) -> Session:
        """What the machines of one round of one server are made from. nonce: 16 bytes, of its
        announcement. Raises ParameterError for a task of several servers, which has batches."""
        self.check_rounds("has batches: Task.batch makes theirs")
        return self.plan.session(nonce, self.payload_digest)

    def batch(self, number: int = 0) -> Session:
        """What the machines of one batch are made from; a client's are of no batch. Raises
        ParameterError for a task of one server, which has rounds."""
        integer("number", number, 0, (1 << 32) - 1)
        return self.plan.session(self.nonce(number), self.payload_digest, self.committee, number)


def _read_members(reader: Reader) -> Committee | None:
    kind = reader.u8("kind of members")
    if kind == COMMITTEE:
        return Committee.read(reader)
    if kind != NOBODY:
        raise BadTag(
            f"a task with members of kind {kind}; this code knows {NOBODY}, nobody, and "
            f"{COMMITTEE}, a committee"
        )
    return None
