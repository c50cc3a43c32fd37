"""One entry of a service's register: who somebody is, and how far its enrolment has come."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property

from secagg.crypto import sign
from secagg.errors import ParameterError, UnknownVersion, WireError
from secagg.rights import ServiceRole
from secagg.roster import MAX_NAME, Enrolment, check_name
from secagg.shown import short
from secagg.types import Buffer
from secagg.wire.codec import Reader, Writer
from secagg.wire.hello import MAX_TASK, check_task

_VERSION = 1
MAX_TASKS = 64
MAX_RENEWALS = 64
"""Of one entry: all its keys are remembered, so that none comes back."""


class State(enum.Enum):
    """Of an entry; each goes to one further down only."""

    INVITED = "invited"
    WAITING = "waiting"  # a key is there, and nobody has approved it
    APPROVED = "approved"
    REVOKED = "revoked"


# Theory of operation.
#
# An entry is one row of the store, and is written whole whenever something of it changes: there is
# no history in it but that of its keys, as what was done, and by whom, is the audit's. It has
# nothing secret: of the token only the public half, with which nobody can accept anything.
#
# What an entry has depends on its state. Who is invited has no key, and its end is the
# invitation's; who waits has one, and the signature of its request, which is what a roster's
# administrator wants to see; who is approved may have an end; who is revoked keeps what it had, so
# that its name and keys stay taken. A key is there from the moment of waiting on, and an entry that
# was revoked before has none.
#
# What is read is checked as strictly as what a peer sends, since a row that two readers understand
# differently would be two entries: one encoding, tasks in their order, no bytes behind it. That
# keys are sound was checked when their requests came, and signatures are not verified again at each
# start: a store has checksums against damage, and who can write to it can write an entry anyway.


@dataclass(frozen=True)
class Admission:
    """ticket: the public key of its token. expires: unix seconds when the invitation, or of who is
    approved the approval, ends; 0 for never. key, signature: of the request that accepted, or that
    renewed; empty before. earlier: keys that it had before, in order."""

    name: str
    role: ServiceRole
    tasks: tuple[str, ...]
    state: State
    ticket: bytes
    expires: int = 0
    key: bytes = b""
    signature: bytes = b""
    earlier: tuple[bytes, ...] = field(default=(), repr=False)

    __repr__ = short

    @cached_property
    def keys(self) -> frozenset[bytes]:
        """That it has, or had."""
        return frozenset((*self.earlier, self.key)) - {b""}

    @property
    def request(self) -> Enrolment:
        """As it was signed by the key, for the administrator of a roster. Raises ParameterError
        where no key is there yet."""
        if not self.key:
            raise ParameterError(f"{self.name} has not accepted its invitation")
        return Enrolment(self.name, self.key, self.signature)

    def encode(self) -> bytes:
        writer = Writer().u8(_VERSION).prefixed(self.name.encode("ascii")).u8(self.role)
        writer.u8(list(State).index(self.state)).raw(self.ticket).u64(self.expires)
        writer.u8(len(self.tasks))
        for task in self.tasks:
            writer.prefixed(task.encode("ascii"))
        writer.u8(bool(self.key)).raw(self.key).raw(self.signature).u8(len(self.earlier))
        return writer.raw(b"".join(self.earlier)).finish()

    @classmethod
    def decode(cls, data: Buffer) -> Admission:
        """Raises WireError or ParameterError for what no `encode` made."""
        reader = Reader(data)
        if (version := reader.u8("version")) != _VERSION:
            raise UnknownVersion(f"an entry of version {version}; this code has {_VERSION}")
        name = check_name(reader.prefixed(MAX_NAME, "name").decode("latin-1"))
        role, state = reader.u8("role"), reader.u8("state")
        ticket, expires = reader.fixed(sign.KEY_SIZE, "ticket"), reader.u64("expires")
        tasks = tuple(_task(reader) for _ in range(reader.u8("number of tasks")))
        there = reader.u8("whether there is a key")
        key, signature = b"", b""
        if there:
            key = reader.fixed(sign.KEY_SIZE, "key")
            signature = reader.fixed(sign.SIGNATURE_SIZE, "signature")
        number = reader.u8("number of earlier keys")
        earlier = tuple(reader.fixed(sign.KEY_SIZE, "earlier key") for _ in range(number))
        reader.finish()
        if role not in set(ServiceRole) or state >= len(State) or there > 1:
            raise WireError("an entry has a role, a state or a key that is none")
        if list(tasks) != sorted(set(tasks)) or len(tasks) > MAX_TASKS or number > MAX_RENEWALS:
            raise WireError("the tasks or keys of an entry are not as they are written")
        states = list(State)
        made = cls(name, ServiceRole(role), tasks, states[state], ticket, expires, key, signature,
                   earlier)  # fmt: skip
        return made._checked()

    def _checked(self) -> Admission:
        keyless = self.state is State.INVITED or (self.state is State.REVOKED and not self.key)
        if bool(self.key) is keyless or (keyless and self.earlier):
            raise WireError("an entry has a key that its state does not have, or lacks one")
        if bool(self.tasks) is not self.role.of_tasks:
            raise WireError("an entry has tasks that its role does not have, or lacks them")
        if len(self.keys) != len(self.earlier) + bool(self.key):
            raise WireError("an entry has a key twice")
        return self


def _task(reader: Reader) -> str:
    return check_task(reader.prefixed(MAX_TASK, "task").decode("latin-1"))
