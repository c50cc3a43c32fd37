"""Who may speak to a service: the register of its identities, as a value that changes by rules
(specs/51-admission.md §2, §3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from secagg.arguments import integer
from secagg.crypto import labels, sign
from secagg.crypto.randomness import checked
from secagg.effects import NAMESPACE_SIZE, ROUNDS, Write
from secagg.errors import InvalidSignature, ParameterError, PolicyRefused, SecAggError, StorageError
from secagg.invitation import TOKEN_SIZE, Acceptance, Invitation, Renewal, Token
from secagg.rights import Action, ServiceRole, allowed, demand
from secagg.roster import Enrolment, check_name
from secagg.rounds.admission import MAX_RENEWALS, MAX_TASKS, Admission, State
from secagg.shown import short
from secagg.types import Randomness, system_randomness
from secagg.wire.hello import Service, check_task

NAMESPACE = labels.digest(labels.ADMISSIONS)[:NAMESPACE_SIZE]
"""Of the rows in a service's store: all are here, and under their names."""
MOST = 1 << 16
"""Entries of a register, revoked ones too: a name stands for one member for ever."""
GOOD_FOR = 7 * 86_400
"""Seconds from an invitation to its end."""
_UNKNOWN = (
    "no invitation that is open here is accepted by this: ask for the code again, and for another "
    "one where it was used or is more than 7 days old"
)


# Theory of operation.
#
# A register is a value: what changes it gives another one, the rows that differ, and what an audit
# has to say of it. Whoever runs the service commits both in one transaction and then goes on with
# the new value; if it dies in between, the old one is true. Nothing here knows a clock: `now` is in
# seconds of Unix time, as invitations last longer than a process.
#
# An entry goes one way: invited, waiting, approved, and revoked from anywhere. Its name is never
# another's, and none of its keys ever anybody's again, so the register only grows, to a limit. An
# invitation is found by the public half of its token. Until its signature is right nobody is told
# anything that depends on the register; whoever has the token hears what is the matter with it.
#
# Accepting twice is once: an answer that was lost is asked for again. The same key changes nothing,
# another key is refused, so a code that two people had is good for one, and the administrator, who
# compares the key before it approves, sees whose. Approval is what a token cannot give.
#
# Every method that somebody calls takes who it is, and asks the table of rights itself: a route
# that forgot to ask is refused here (rule E8). Who acts is made by `actor` from a key that was
# proved, or is the owner of the store's file, who could edit it anyway.


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change: a name for the audit, and its role."""

    name: str
    role: ServiceRole

    __repr__ = short


CONSOLE = Actor("console", ServiceRole.ADMIN)
"""Whoever has the store's file in hand."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done, for the audit; nothing in it is secret. what: a word of its list."""

    what: str
    by: str
    name: str
    role: ServiceRole
    tasks: tuple[str, ...] = ()

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Change:
    """after: the register from now on. writes, deeds: to be committed before anybody hears of it;
    none where everything was so already."""

    after: Admissions
    writes: tuple[Write, ...] = ()
    deeds: tuple[Deed, ...] = ()

    __repr__ = short


@dataclass(frozen=True)
class Admissions:
    """The register of one service: entries by name."""

    service: Service
    entries: Mapping[str, Admission] = field(default_factory=dict)

    __repr__ = short

    @classmethod
    def restore(cls, service: Service, rows: Iterable[tuple[bytes, bytes]]) -> Admissions:
        """From those of NAMESPACE. Raises StorageError for what is no register."""
        entries, keys = {}, set[bytes]()
        for key, value in rows:
            try:
                entry = Admission.decode(value)
            except SecAggError as error:
                raise StorageError(f"the register in the store is damaged: {error}") from None
            if key != _row(entry.name) or keys & entry.keys:
                raise StorageError("the register in the store is damaged: entries are confused")
            entries[entry.name] = entry
            keys |= entry.keys
        return cls(service, entries)

    def invite(
        self,
        name: str,
        role: ServiceRole,
        tasks: Iterable[str],
        by: Actor,
        now: int,
        *,
        url: str,
        ca: bytes,
        randomness: Randomness = system_randomness,
    ) -> tuple[Change, Invitation]:
        """Rules E1 and E2. An entry that is still invited gets another token, and the old one is
        worth nothing; PolicyRefused for any other that is there."""
        demand(by.role, Action.INVITE)
        invited = Invitation(
            url, self.service.key, ca, check_name(name), Token(checked(randomness)(TOKEN_SIZE))
        )
        if invited.service != self.service:
            raise ParameterError(f"an invitation's URL has the host {self.service.name}")
        known = self.entries.get(name)
        if known is not None and known.state is not State.INVITED:
            raise PolicyRefused(
                f"{name} is {known.state.value} already, and a name stands for one for ever: "
                "invite under another name"
            )
        if known is None and len(self.entries) >= MOST:
            raise PolicyRefused(f"the register has {MOST} entries, which is as many as it takes")
        ticket = sign.public_key(invited.token.ticket(self.service))
        until = integer("now", now, 0, 1 << 48) + GOOD_FOR
        entry = Admission(name, role, _tasks(role, tasks), State.INVITED, ticket, until)
        return self._changed(entry, "invited", by.name), invited

    def accept(self, said: Acceptance, now: int) -> Change:
        """Rules E3 and E4. Raises PolicyRefused, with the same words for every stranger."""
        entry = self._tickets.get(said.ticket)
        try:
            said.check(self.service)
        except InvalidSignature:
            raise PolicyRefused(_UNKNOWN) from None
        if entry is None:
            raise PolicyRefused(_UNKNOWN)
        if said.request.name != entry.name:
            raise PolicyRefused(f"this invitation is for {entry.name}")
        if entry.state is State.REVOKED:
            raise PolicyRefused("this invitation was revoked: ask for another one")
        if entry.state is not State.INVITED:
            if said.request.key in entry.keys:
                return Change(self)
            raise PolicyRefused(
                "this invitation was used, with another key: if that was not you, tell who invited "
                "you, and ask for another one"
            )
        if now >= entry.expires:
            raise PolicyRefused("this invitation has ended: ask for another one")
        self._check_new(said.request)
        waiting = replace(
            entry,
            state=State.WAITING,
            expires=0,
            key=said.request.key,
            signature=said.request.signature,
        )
        return self._changed(waiting, "enrolled", entry.name)

    def approve(self, name: str, by: Actor, until: int = 0) -> Change:
        """Rule E5. until: seconds of Unix time when it ends by itself; 0 for never."""
        demand(by.role, Action.APPROVE)
        entry = self._named(name)
        if entry.state is State.APPROVED and entry.expires == until:
            return Change(self)
        if entry.state is not State.WAITING:
            then = {State.INVITED: ": it enrols first, by its code"}.get(entry.state, "")
            raise PolicyRefused(
                f"{name} is {entry.state.value}, and who waits can be approved{then}"
            )
        expires = integer("until", until, 0, (1 << 64) - 1)
        return self._changed(
            replace(entry, state=State.APPROVED, expires=expires), "approved", by.name
        )

    def revoke(self, name: str, by: Actor) -> Change:
        """Rule E6. For good; what is revoked already stays so."""
        demand(by.role, Action.REVOKE)
        entry = self._named(name)
        if entry.state is State.REVOKED:
            return Change(self)
        return self._changed(replace(entry, state=State.REVOKED), "revoked", by.name)

    def appoint(self, name: str, role: ServiceRole, tasks: Iterable[str], by: Actor) -> Change:
        """Another role, or other tasks, from now on. PolicyRefused for who is revoked."""
        demand(by.role, Action.APPOINT)
        entry = self._named(name)
        if entry.state is State.REVOKED:
            raise PolicyRefused(f"{name} is revoked, for good")
        after = replace(entry, role=role, tasks=_tasks(role, tasks))
        return Change(self) if after == entry else self._changed(after, "role", by.name)

    def renew(self, said: Renewal, now: int) -> Change:
        """Rule E7. Raises PolicyRefused, with the same words for every stranger."""
        entry = self._keys.get(said.old)
        try:
            said.check(self.service)
        except InvalidSignature:
            entry = None
        if entry is None or said.request.name != entry.name:
            raise PolicyRefused("this renews no key that is enrolled here")
        if entry.state is State.APPROVED and entry.earlier[-1:] == (said.old,):
            if entry.key == said.request.key:
                return Change(self)  # its answer was lost
        if said.old != entry.key or self._amiss(entry, now) is not None:
            raise PolicyRefused("this key was renewed, has ended, or is not approved: enrol anew")
        if len(entry.earlier) >= MAX_RENEWALS:
            raise PolicyRefused(f"a key is renewed {MAX_RENEWALS} times at most: enrol anew")
        self._check_new(said.request)
        after = replace(
            entry,
            key=said.request.key,
            signature=said.request.signature,
            earlier=(*entry.earlier, said.old),
        )
        return self._changed(after, "renewed", entry.name)

    def why_not(self, key: bytes, role: ServiceRole, task: str, now: int) -> str | None:
        """Why whoever has proved this key has no link in this role for this task, for the log; None
        if it has (`secagg.rounds.reception.Reception`)."""
        return self._refused(key, role, Action.LINK, task, now)

    def ended(self, after: int, now: int) -> bool:
        """Whether an approval has ended since then."""
        ends = self._ends
        return bisect_right(ends, now) > bisect_right(ends, after)

    def why_no_session(self, key: bytes, role: ServiceRole, now: int) -> str | None:
        """Why whoever has proved this key has no session in this role, for the log; None if it has.
        What it may do in it is asked each time (`actor`)."""
        if (why := self._unknown(key, role, now)) is not None:
            return why
        return "a client has links, and no session" if role is ServiceRole.CLIENT else None

    def name_of(self, key: bytes) -> str | None:
        """Whose key this is or was; None where it is nobody's here."""
        return None if (entry := self._keys.get(key)) is None else entry.name

    def why_no_member(self, key: bytes, now: int) -> str | None:
        """Why whoever has this key may be in no roster of clients, whatever its tasks; None if it
        may (rule N2)."""
        entry = self._keys.get(key)
        task = entry.tasks[0] if entry is not None and entry.tasks else ""
        return self._refused(key, ServiceRole.CLIENT, Action.LINK, task, now)

    def holder(self, key: bytes) -> Admission | None:
        """Whose that key is, or was."""
        return self._keys.get(key)

    def actor(self, key: bytes, action: Action, task: str | None, now: int) -> Actor:
        """Whoever has proved this key, to do this. Raises PolicyRefused, which says nothing of the
        register to who is not in it. task: that it is about; None of what is about none."""
        entry = self._keys.get(key)
        role = None if entry is None else entry.role
        if entry is None or self._refused(key, role, action, task, now) is not None:
            raise PolicyRefused("this key may not do that here")
        return Actor(entry.name, entry.role)

    def _refused(
        self, key: bytes, role: ServiceRole | None, action: Action, task: str | None, now: int
    ) -> str | None:
        if (why := self._unknown(key, role, now)) is not None:
            return why
        entry = self._keys[key]
        if not allowed(entry.role, action):
            return f"{entry.name} is {entry.role.word}, and asks for something else"
        if entry.role.of_tasks and task not in entry.tasks:
            return f"{entry.name} is not of this task"
        return None

    def _unknown(self, key: bytes, role: ServiceRole | None, now: int) -> str | None:
        entry = self._keys.get(key)
        if entry is None:
            return "its key is not enrolled"
        if key != entry.key:
            return f"{entry.name} has renewed this key"
        if (why := self._amiss(entry, now)) is not None:
            return why
        if role != entry.role:
            return f"{entry.name} is {entry.role.word}, and asks for something else"
        return None

    def _amiss(self, entry: Admission, now: int) -> str | None:
        if entry.state is not State.APPROVED:
            return f"{entry.name} is {entry.state.value}, not approved"
        if entry.expires and now >= entry.expires:
            return f"{entry.name} was approved for a time, which is over"
        return None

    @cached_property
    def _ends(self) -> list[int]:
        """When approvals end that do so by themselves."""
        approved = (one for one in self.entries.values() if one.state is State.APPROVED)
        return sorted(one.expires for one in approved if one.expires)

    @cached_property
    def _keys(self) -> dict[bytes, Admission]:
        """By every key that an entry has or had."""
        return {key: entry for entry in self.entries.values() for key in entry.keys}

    @cached_property
    def _tickets(self) -> dict[bytes, Admission]:
        return {entry.ticket: entry for entry in self.entries.values()}

    def _named(self, name: str) -> Admission:
        if (entry := self.entries.get(name)) is None:
            raise PolicyRefused(f"nobody here is called {name[:64]}: `service list` has all")
        return entry

    def _check_new(self, request: Enrolment) -> None:
        if request.key in self._keys:
            raise PolicyRefused("this key is known here already: make another one")
        if request.key == self.service.key:
            raise PolicyRefused("this key is the service's: make another one")

    def _changed(self, entry: Admission, what: str, by: str) -> Change:
        after = Admissions(self.service, {**self.entries, entry.name: entry})
        write = Write(_row(entry.name), entry.encode())
        return Change(after, (write,), (Deed(what, by, entry.name, entry.role, entry.tasks),))


def _tasks(role: ServiceRole, tasks: Iterable[str]) -> tuple[str, ...]:
    named = tuple(sorted({check_task(task) for task in tasks}))
    if bool(named) is not role.of_tasks or len(named) > MAX_TASKS:
        raise ParameterError(
            f"a {role.word} is for 1 to {MAX_TASKS} tasks, which are named"
            if role.of_tasks
            else f"{role.word} is for the whole service, and no task is named with it"
        )
    return named


def _row(name: str) -> bytes:
    return NAMESPACE + ROUNDS + name.encode("ascii")
