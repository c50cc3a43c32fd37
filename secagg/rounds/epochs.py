"""Rosters of a service whose clients sign: which is the newest of each administrator, and which is
in force for a task (specs/51-admission.md §6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from secagg.crypto import labels, sign
from secagg.effects import NAMESPACE_SIZE, ROUNDS, Write
from secagg.errors import ParameterError, PolicyRefused, SecAggError, StorageError, UnknownVersion
from secagg.roster import MAX_MEMBERS, MAX_ROSTER_FILE, Enrolment, Pin, SignedRoster
from secagg.rounds.admission import Admission, State
from secagg.rounds.admissions import Admissions
from secagg.rounds.enrolled import Host
from secagg.shown import short
from secagg.types import Buffer, Randomness, Seed, system_randomness
from secagg.wire.codec import Reader, Writer
from secagg.wire.hello import Service

# Theory of operation.
#
# Who is enrolled, the register says, and the service's owner with it. Where a server may lie that
# is not enough: whoever runs it could enrol clients of its own. So the clients of such a task are
# in a roster, which an administrator signs offline whom they pin, and the service is only told of
# it. It can keep a roster back, and then nobody new takes part; it can make none.
#
# What it is told is checked all the same (rule N2), because a roster that its clients refuse, or of
# which one member has no link, costs a round that somebody else has to explain. The signature comes
# first; the order is that of `Pin.open`.
#
# A roster that was taken is the newest at once, and in force once no round of the task runs and
# nobody is asked: what a client proves on its link, and what it signs in a round, are of one
# roster, so between two rounds everybody here is sent away and comes back with the new one.
#
# Impossible: a link that was met under a roster that is no more in force, as that is looked at when
# its greeting is over (`secagg.rounds.reception`); a place that is another member's than before.

NAMESPACE = labels.digest(labels.EPOCHS)[:NAMESPACE_SIZE]
"""Of the rows in a service's store: one for each administrator, under its key."""
_VERSION = 1
_SHOWN = 3
"""Members of whom an error says what is wrong with them."""


@dataclass(frozen=True)
class Enacted:
    """signed: the newest roster of its administrator. gone: keys that an earlier one had, of
    members whom it excludes."""

    signed: SignedRoster
    gone: frozenset[bytes] = frozenset()

    __repr__ = short

    def encode(self) -> bytes:
        """Its row."""
        writer = Writer().u8(_VERSION).prefixed(self.signed.encode()).u32(len(self.gone))
        return writer.raw(b"".join(sorted(self.gone))).finish()

    @classmethod
    def decode(cls, data: Buffer) -> Enacted:
        """Raises as `SignedRoster.decode`."""
        reader = Reader(data)
        if (version := reader.u8("version")) != _VERSION:
            raise UnknownVersion(f"a roster's row of version {version}; this code has {_VERSION}")
        signed = SignedRoster.decode(reader.prefixed(MAX_ROSTER_FILE, "roster"))
        number = reader.count(MAX_MEMBERS, "members that are gone")
        gone = frozenset(reader.fixed(sign.KEY_SIZE, "key") for _ in range(number))
        reader.finish()
        return cls(signed, gone)


@dataclass(frozen=True, slots=True)
class Taken:
    """after: what there is from now on. write: to be committed before; None where it was known."""

    after: Epochs
    signed: SignedRoster
    write: Write | None = None

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an administrator needs for the next epoch. asking: members who are in no roster yet.
    leavers: names of those who are in the newest and may be no more."""

    asking: tuple[Admission, ...]
    leavers: tuple[str, ...]

    __repr__ = short

    @property
    def requests(self) -> tuple[Enrolment, ...]:
        """Of those who ask, each with a signature that is verified here: where many do, that takes
        its time."""
        return tuple(one.request for one in self.asking)


@dataclass(frozen=True)
class Epochs:
    """Of one service. newest: by the administrator's key."""

    service: Service
    newest: Mapping[bytes, Enacted] = field(default_factory=dict)

    __repr__ = short

    @classmethod
    def restore(cls, service: Service, rows: Iterable[tuple[bytes, bytes]]) -> Epochs:
        """From those of NAMESPACE. Raises StorageError for what is none."""
        newest = {}
        for key, value in rows:
            try:
                found = Enacted.decode(value)
            except SecAggError as error:
                raise StorageError(f"a roster in the store is damaged: {error}") from None
            if key != _row(found.signed.admin):
                raise StorageError("a roster in the store is under another's key")
            newest[found.signed.admin] = found
        return cls(service, newest)

    def of(self, admin: bytes) -> SignedRoster | None:
        """The newest that this administrator has signed."""
        found = self.newest.get(admin)
        return None if found is None else found.signed

    def take(
        self, data: Buffer, admins: Collection[bytes], admissions: Admissions, now: int
    ) -> Taken:
        """A signed roster, as its file has it (rule N2). admins: who may sign one here. now: unix
        seconds. The newest again changes nothing.

        Raises PolicyRefused for an administrator that is none of these, for a roster that is over
        or not later than the newest, or that does not follow from it, for another server's, and for
        one with a member who is not approved; what `SignedRoster.decode` raises for none.
        """
        data = bytes(data)
        admin = data[-sign.SIGNATURE_SIZE - sign.KEY_SIZE : -sign.SIGNATURE_SIZE]
        if admin not in admins:
            known = ", ".join(sorted(one.hex() for one in admins)) or "nobody"
            raise PolicyRefused(
                f"the roster is signed by {admin.hex()}, and by roster_authority of this service's "
                f"tasks rosters are signed by {known}"
            )
        before = self.newest.get(admin)
        if before is not None and before.signed.encode() == data:
            return Taken(self, before.signed)
        signed = SignedRoster.decode(data)
        Pin(admin).verify(signed, now)
        if before is not None:
            _check_follows(before.signed, signed)
        if signed.roster.server != self.service.key:
            raise PolicyRefused(
                "the roster is of another server: `secagg roster init` takes --server "
                f"{self.service.key.hex()}, the key of this service"
            )
        _check_members(signed, admissions, now)
        made = Enacted(signed, _gone(before, signed))
        after = replace(self, newest={**self.newest, admin: made})
        return Taken(after, signed, Write(_row(admin), made.encode()))

    def wanted(self, admin: bytes, tasks: Collection[str], admissions: Admissions) -> Wanted:
        """For the administrator's next roster (rule N1). tasks: of that administrator."""
        known = self.newest.get(admin)
        keys = frozenset() if known is None else frozenset(known.signed.roster.keys) - {None}
        gone = frozenset() if known is None else known.gone
        approved = [
            one
            for one in admissions.entries.values()
            if one.state is State.APPROVED and not set(tasks).isdisjoint(one.tasks)
        ]
        able = {one.key for one in approved}
        asking = [one for one in approved if one.key not in keys and one.key not in gone]
        holders = (admissions.holder(key) for key in keys - able if key is not None)
        return Wanted(tuple(asking), tuple(sorted(one.name for one in holders if one is not None)))


def _check_follows(before: SignedRoster, after: SignedRoster) -> None:
    """specs/14-roster.md §1.2, as every client would find out by itself, or never."""
    old, new = before.roster, after.roster
    if new.epoch <= old.epoch:
        raise PolicyRefused(
            f"the roster is of epoch {new.epoch}, and the newest here is of epoch {old.epoch}: "
            "`secagg roster sign` counts it up; if nobody else signs with that key, its folder was "
            "put back from a copy"
        )
    kept = all(now in (was, None) for was, now in zip(old.keys, new.keys, strict=False))
    if new.size < old.size or not kept:
        raise PolicyRefused(
            f"a place of the roster of epoch {old.epoch} is missing or another's in this one: "
            "places are kept for ever; the administrator's folder was put back from a copy"
        )


def _check_members(signed: SignedRoster, admissions: Admissions, now: int) -> None:
    roster = signed.roster
    refused = {
        place: why
        for place in sorted(roster.members)
        if (why := admissions.why_no_member(roster.key_of(place), now)) is not None
    }
    if refused:
        listed = "; ".join(f"place {at}: {why}" for at, why in [*refused.items()][:_SHOWN])
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise PolicyRefused(
            f"members of the roster are no approved clients of this service: {listed}{more}; "
            "approve them, or exclude their places and sign the next epoch"
        )


def _gone(before: Enacted | None, after: SignedRoster) -> frozenset[bytes]:
    if before is None:
        return frozenset()
    left = {key for key in before.signed.roster.keys if key not in after.roster.keys}
    return before.gone | {key for key in left if key is not None}


def _row(admin: bytes) -> bytes:
    return NAMESPACE + ROUNDS + admin


class InForce:
    """By task, the roster whose places its links prove, and of which its rounds are."""

    def __init__(
        self,
        signing: Seed,
        admins: Mapping[str, bytes],
        randomness: Randomness = system_randomness,
    ) -> None:
        """signing: the seed of the service's key. admins: of each task whose clients sign, who
        signs its roster; other tasks are not in it."""
        self.admins = dict(admins)
        self._signing, self._randomness = signing, randomness
        self._hosts: dict[str, Host] = {}

    def enact(self, task: str, signed: SignedRoster) -> None:
        """From now on. Raises ParameterError for another server's roster."""
        self._hosts[task] = Host(signed, self._signing, self._randomness)

    def host(self, task: str) -> Host | None:
        """None of a task whose clients do not sign, and before its first roster."""
        return self._hosts.get(task)

    def places(self, task: str, now: int) -> int | None:
        """N; None where no round can be: there is no roster, or it is over."""
        host = self._hosts.get(task)
        if host is None or now > host.roster.not_after:
            return None
        return host.roster.size

    def why_not(self, task: str, key: bytes, now: int) -> str | None:
        """Why who has proved this key has no link for that task, for the log (rule N4)."""
        if task not in self.admins:
            return None
        host = self._hosts.get(task)
        if host is None:
            return "no roster of its task is in force yet"
        if now > host.roster.not_after:
            return f"the roster of epoch {host.roster.epoch} is over"
        if host.place(key) is None:
            return f"its key is no member's in the roster of epoch {host.roster.epoch}"
        return None

    def check(self, signed: SignedRoster, populations: Mapping[str, int]) -> None:
        """ParameterError for a roster of more places than the terms of a task count the corrupt
        among. populations: of the terms, by task."""
        for task, most in populations.items():
            if self.admins.get(task) == signed.admin and signed.roster.size > most:
                raise ParameterError(
                    f"the roster has {signed.roster.size} places, and the terms of {task} are for "
                    f"{most} at most: `secagg task --roster` makes terms for more, which every "
                    "site has to be given"
                )
