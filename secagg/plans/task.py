"""A task: a plan and the servers that run it, as clients, servers and the collector pin it.

It is public. What matters is that a client has it from somebody whom it trusts not to be all of the
servers at once: a task that one of them hands out could name that one under every key, so nothing
here travels over the links of a round (specs/20-additive.md §3).
"""

from __future__ import annotations

from dataclasses import dataclass

from secagg.arguments import instance, octets
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import ParameterError, TooLarge, UnknownVersion
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.protocol import OneServer, Session
from secagg.types import MAX_SERVERS, Buffer
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, payload_digest

VERSION, SUITE = 1, 1

MAX_TASK = MAX_ENCODED + 64 * (MAX_SERVERS + 1) + 128


@dataclass(frozen=True)
class Task:
    """payload_digest: of the bytes that describe the task to clients, if there are any.

    Raises ParameterError for a plan of one server or of another number of servers.
    """

    plan: Plan
    committee: Committee
    payload_digest: bytes = payload_digest(b"")

    def __post_init__(self) -> None:
        instance("plan", self.plan, Plan)
        instance("committee", self.committee, Committee)
        octets("payload_digest", self.payload_digest, DIGEST_SIZE)
        match self.plan.info.family:
            case OneServer():
                raise ParameterError(f"{self.plan.protocol} has one server: a task is for several")
        if len(self.committee.servers) != self.plan.params.servers:
            raise ParameterError(
                f"the plan has {self.plan.params.servers} servers, and the committee "
                f"{len(self.committee.servers)}"
            )

    def encode(self) -> bytes:
        """The canonical bytes (specs/20-additive.md §3)."""
        writer = Writer().u8(VERSION).u8(SUITE).prefixed(self.plan.encode())
        return writer.raw(self.committee.encode()).raw(self.payload_digest).finish()

    @classmethod
    def decode(cls, data: Buffer) -> Task:
        """Raises WireError, CryptoError or ParameterError; every rule is checked again."""
        data = octets("a task", data)
        if len(data) > MAX_TASK:
            raise TooLarge(f"a task of {len(data)} bytes, and the limit is {MAX_TASK}")
        reader = Reader(data)
        version, suite = reader.u8("version"), reader.u8("suite")
        if (version, suite) != (VERSION, SUITE):
            raise UnknownVersion(
                f"a task of version {version}, suite {suite}; this code speaks version {VERSION}, "
                f"suite {SUITE}"
            )
        plan = Plan.decode(reader.prefixed(MAX_ENCODED, "plan"))
        committee = Committee.read(reader)
        payload = reader.fixed(DIGEST_SIZE, "payload digest")
        reader.finish()
        return cls(plan, committee, payload)

    def digest(self) -> bytes:
        """32 bytes that bind everything above; what parties compare and pin."""
        return labels.digest(labels.TASK, self.encode())

    def nonce(self, batch: int | None = None) -> bytes:
        """What frames are routed by: those of a batch, or those that clients send. 16 bytes."""
        number = b"" if batch is None else batch.to_bytes(4)
        return labels.digest(labels.TASK, self.digest(), number)[:NONCE_SIZE]

    def session(self, batch: int = 0) -> Session:
        """What the machines of one batch are made from; a client's are of no batch."""
        return self.plan.session(self.nonce(batch), self.payload_digest, self.committee, batch)
