"""A task: a plan, the digest of what it is about, and whose public keys stand behind it.

It is what parties pin and what sessions are made from. It is public. Where there are several
servers, what matters is that a client has it from somebody whom it trusts not to be all of them at
once: a task that one of them hands out could name that one under every key, so nothing here travels
over the links of a round (specs/20-additive.md §3). Of one server it has the signed roster of the
clients that sign, or nobody's keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from secagg.arguments import instance, integer, octets
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import BadTag, ParameterError, TooLarge, UnknownVersion, WireError
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.protocol import OneServer, Session, SeveralServers
from secagg.roster import MAX_ROSTER_FILE, Pin, Roster, SignedRoster
from secagg.shown import short
from secagg.suite import known
from secagg.types import MAX_SERVERS, Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE, payload_digest

VERSION = 1

NOBODY, COMMITTEE, ROSTER = 0, 1, 2
"""Whose public keys a task has."""

MAX_TASK = MAX_ENCODED + max(64 * (MAX_SERVERS + 1), MAX_ROSTER_FILE) + 128

Members: TypeAlias = Committee | SignedRoster | None


@dataclass(frozen=True)
class Task:
    """members: of several servers the committee; of one server the roster, where clients sign and
    the task is to pin it, or None. payload_digest: of the bytes that describe the task to clients,
    if there are any: `secagg.wire.frame.payload_digest(bytes)`.

    Raises ParameterError for members that do not fit the plan's family, its suite, its number of
    servers, or of places in a roster.
    """

    plan: Plan
    members: Members = None
    payload_digest: bytes = payload_digest(b"")

    __repr__ = short

    def __post_init__(self) -> None:
        instance("plan", self.plan, Plan)
        octets("payload_digest", self.payload_digest, DIGEST_SIZE)
        protocol, servers = self.plan.protocol, self.plan.params.servers
        match self.plan.info.family, self.members:
            case OneServer(), None:
                pass
            case OneServer(), SignedRoster(roster=roster):
                if not self.plan.suite.signed:
                    raise ParameterError(
                        f"clients of a plan of suite {self.plan.suite.number} sign nothing, and a "
                        "roster is of those who do: plan with adversary=active"
                    )
                roster.check_size(self.plan.threat.population, self.plan.params.min_clients)
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

    @property
    def pin(self) -> Pin | None:
        """What whoever pins the task pins of its roster: the administrator, and that no earlier
        epoch is taken. None where it has no roster."""
        match self.members:
            case SignedRoster(roster=roster, admin=admin):
                return Pin(admin, roster.epoch)
        return None

    def check_rounds(self, otherwise: str) -> None:
        """Raises ParameterError for a task of several servers, which has batches and no rounds.
        otherwise: what it is for."""
        match self.plan.info.family:
            case SeveralServers():
                raise ParameterError(f"a task of {self.plan.params.servers} servers {otherwise}")

    def encode(self) -> bytes:
        """The canonical bytes (specs/01-wire.md §4.15)."""
        writer = Writer().u8(VERSION).u8(self.plan.suite.number).prefixed(self.plan.encode())
        match self.members:
            case Committee() as committee:
                writer.u8(COMMITTEE).raw(committee.encode())
            case SignedRoster() as signed:
                writer.u8(ROSTER).raw(signed.encode())
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
        version = reader.u8("version")
        if version != VERSION:
            raise UnknownVersion(
                f"a task of version {version}, or no task; this code speaks version {VERSION}"
            )
        suite = known(reader.u8("suite"), f"a task of version {VERSION}")
        encoded = reader.prefixed(MAX_ENCODED, "plan")
        plan = Plan.decode(encoded, allow_unprotected=allow_unprotected)
        if plan.suite != suite:
            raise WireError(
                f"a task of suite {suite.number} about a plan of suite {plan.suite.number}"
            )
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

    def session(
        self,
        nonce: bytes,
        *,
        roster: Roster | None = None,
        invited: frozenset[PartyId] | None = None,
    ) -> Session:
        """What the machines of one round of one server are made from. nonce: 16 bytes, of its
        announcement. roster: of a later epoch than the task's, as its pin has verified it, or of a
        task that has none.

        Raises ParameterError for a task of several servers, which has batches, and for a roster of
        an earlier epoch than the task's.
        """
        self.check_rounds("has batches: Task.batch makes theirs")
        match self.members:
            case SignedRoster(roster=own):
                roster = own if roster is None else roster
                if roster.epoch < own.epoch:
                    raise ParameterError(
                        f"the task's roster is of epoch {own.epoch}, and the one that is given of "
                        f"epoch {roster.epoch}, before it"
                    )
        return self.plan.session(nonce, self.payload_digest, roster=roster, invited=invited)

    def batch(self, number: int = 0) -> Session:
        """What the machines of one batch are made from; a client's are of no batch. Raises
        ParameterError for a task of one server, which has rounds."""
        integer("number", number, 0, (1 << 32) - 1)
        return self.plan.session(self.nonce(number), self.payload_digest, self.committee, number)


def _read_members(reader: Reader) -> Members:
    kind = reader.u8("kind of members")
    if kind == NOBODY:
        return None
    if kind == COMMITTEE:
        return Committee.read(reader)
    if kind == ROSTER:
        return SignedRoster.read(reader)
    raise BadTag(
        f"a task with members of kind {kind}; this code knows {NOBODY}, nobody, {COMMITTEE}, a "
        f"committee, and {ROSTER}, a roster"
    )
