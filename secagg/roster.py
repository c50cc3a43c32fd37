"""Who may take part where clients sign: their keys by place, the server's, and until when.

Whoever chose these keys could be all clients but one, so an administrator who is no server signs
them with a key that stays offline, and clients pin that key (specs/14-roster.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeAlias

from secagg.arguments import instance, integer, octets, settle, text
from secagg.crypto import labels, sign
from secagg.errors import (
    InvalidKey,
    InvalidSignature,
    ParameterError,
    PolicyRefused,
    UnknownVersion,
)
from secagg.shown import short
from secagg.types import MAX_CLIENTS, Buffer, PartyId, Seed
from secagg.wire.codec import Reader, Writer

VERSION = 1
MAX_MEMBERS = MAX_CLIENTS
"""Places of a roster. A plan may be for more, and then no roster is for it."""
MAX_NAME = 64
"""Characters of the name in a request to be enrolled."""

_KEY, _SIGNATURE = sign.KEY_SIZE, sign.SIGNATURE_SIZE
_EXCLUDED = bytes(_KEY)
_HEAD = 1 + 4 + 8 + _KEY + 4
MAX_ROSTER_FILE = _HEAD + _KEY * MAX_MEMBERS + _KEY + _SIGNATURE
"""Bytes of the largest signed roster."""
MAX_ENROLMENT = 1 + 4 + MAX_NAME + _KEY + _SIGNATURE

_NAME = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")
"""Printable ASCII without spaces at its ends, which nobody sees."""


@dataclass(frozen=True)
class Roster:
    """Of one epoch, a u32. not_after: until when, in seconds of Unix time, a u64. server: its
    Ed25519 key. keys: of each member in order, 32 bytes; None for one that is excluded.

    A member's place is its PartyId, in every epoch, and never another's. Raises ParameterError for
    keys that are not all different: one member under two names would be counted as two. InvalidKey
    for one that is none: what it signs, others could have (threats 51, 52).
    """

    epoch: int
    not_after: int
    server: bytes
    keys: tuple[bytes | None, ...]

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            epoch=integer("epoch", self.epoch, 0, (1 << 32) - 1),
            not_after=integer("not_after", self.not_after, 0, (1 << 64) - 1),
            server=octets("the server's key", self.server),
            keys=instance("keys", self.keys, tuple),
        )
        if not 1 <= self.size <= MAX_MEMBERS:
            raise ParameterError(f"a roster has 1 to {MAX_MEMBERS} places, not {self.size}")
        _check_key("the server", self.server)
        seen = {self.server: "the server"}
        for place, key in enumerate(self.keys):
            if key is None:
                continue
            whose = f"member {place}"
            _check_key(whose, octets(f"the key of {whose}", key))
            if (other := seen.setdefault(key, whose)) != whose:
                raise ParameterError(f"a key occurs twice: {whose} has that of {other}")

    @property
    def size(self) -> int:
        """N: places, those of excluded members too."""
        return len(self.keys)

    @cached_property
    def members(self) -> frozenset[PartyId]:
        """Who is not excluded."""
        return frozenset(PartyId(place) for place, key in enumerate(self.keys) if key is not None)

    def key_of(self, party: PartyId) -> bytes:
        """32 bytes. Raises ParameterError for whoever is no member, or is excluded."""
        if not 0 <= party < self.size:
            raise ParameterError(
                f"party {party} is not in the roster of epoch {self.epoch}, which has "
                f"{self.size} places"
            )
        key = self.keys[party]
        if key is None:
            raise ParameterError(f"member {party} is excluded in epoch {self.epoch} of the roster")
        return key

    def place_of(self, key: bytes) -> PartyId:
        """Of the member with that key. Raises ParameterError where there is none."""
        if key not in self.keys:
            raise ParameterError(
                f"this key is no member's in epoch {self.epoch} of the roster: either it was never "
                "enrolled, or it is excluded; ask the administrator"
            )
        return PartyId(self.keys.index(key))

    def check_size(self, places: int, least: int) -> None:
        """Raises ParameterError unless it has as many places as its plan is for, of which the
        corrupt are counted, and at least as many members as a round begins with."""
        if self.size != places:
            raise ParameterError(
                f"the plan is for a roster of {places}, and the one of epoch {self.epoch} has "
                f"{self.size} places: make the plan with roster={self.size}"
            )
        if len(self.members) < least:
            raise ParameterError(
                f"a round of the plan begins with {least} clients, and the roster of epoch "
                f"{self.epoch} has {len(self.members)} members that are not excluded"
            )

    def encode(self) -> bytes:
        """Canonical (specs/14-roster.md §1): what is signed, and of what the digest is."""
        return _encoded(self.epoch, self.not_after, self.server, self.keys)

    @classmethod
    def decode(cls, data: Buffer) -> Roster:
        """Raises WireError, InvalidKey or ParameterError; nothing of it is trusted."""
        reader = Reader(octets("a roster", data))
        fields = _read_fields(reader)
        reader.finish()
        return cls(*fields)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; the roster digest of the offer."""
        return labels.digest(labels.ROSTER, self.encode())


@dataclass(frozen=True)
class SignedRoster:
    """A roster that the owner of `admin` has signed: there is no value of another.

    admin: an Ed25519 key, 32 bytes; who that is, a Pin says. signature: 64 bytes. Raises
    InvalidSignature, InvalidKey, and ParameterError where the administrator is a member or the
    server: who signs must not be who gains.
    """

    roster: Roster
    admin: bytes
    signature: bytes

    __repr__ = short

    def __post_init__(self) -> None:
        instance("roster", self.roster, Roster)
        settle(
            self,
            admin=octets("admin", self.admin),
            signature=octets("signature", self.signature, _SIGNATURE),
        )
        _check_key("the administrator", self.admin)
        _verify(self.admin, self.roster.digest, self.roster.epoch, self.signature)
        if self.admin == self.roster.server or self.admin in self.roster.keys:
            raise ParameterError(
                "the administrator's key is also the server's or a member's: make one for the "
                "administrator alone, with `secagg roster init`"
            )

    @classmethod
    def sign(cls, roster: Roster, secret: Seed) -> SignedRoster:
        """secret: the seed of the administrator's key."""
        statement = _statement(roster.digest, roster.epoch)
        return cls(roster, sign.public_key(secret), sign.sign(secret, statement))

    def encode(self) -> bytes:
        """The file (specs/14-roster.md §1): the roster, the administrator's key, the signature."""
        return self.roster.encode() + self.admin + self.signature

    @classmethod
    def read(cls, reader: Reader) -> SignedRoster:
        """Whoever signed it: that it is whom one trusts, a Pin says.

        Raises WireError, InvalidSignature, InvalidKey or ParameterError.
        """
        fields = epoch, *_ = _read_fields(reader)
        admin = reader.fixed(_KEY, "the administrator's key")
        signature = reader.fixed(_SIGNATURE, "signature")
        # before the keys, of which each takes 40 microseconds: what nobody signed costs a hash
        _verify(admin, labels.digest(labels.ROSTER, _encoded(*fields)), epoch, signature)
        return cls(Roster(*fields), admin, signature)

    @classmethod
    def decode(cls, data: Buffer) -> SignedRoster:
        """As `read`, of a whole file."""
        reader = Reader(octets("a signed roster", data))
        made = cls.read(reader)
        reader.finish()
        return made


@dataclass(frozen=True, slots=True)
class Pin:
    """What a client knows beforehand: the administrator's key, and the lowest epoch it accepts."""

    admin: bytes
    epoch: int = 0

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            admin=sign.check_public(octets("admin", self.admin)),
            epoch=integer("epoch", self.epoch, 0, (1 << 32) - 1),
        )

    def verify(self, signed: SignedRoster, now: float) -> Roster:
        """The roster, if it is the pinned administrator's, not older than the pin, and not over.

        now: seconds of Unix time; a clock that is set back makes an old roster last longer, and
        what is against that is the highest epoch that was seen (`secagg.policy.admit`). Raises
        PolicyRefused, which says which of the three.
        """
        roster = instance("signed", signed, SignedRoster).roster
        self.check_admin(signed.admin)
        if roster.epoch < self.epoch:
            raise PolicyRefused(
                f"the roster is of epoch {roster.epoch}, and pinned is epoch {self.epoch} or a "
                "later one: get the roster that is in force from the administrator"
            )
        if not now <= roster.not_after:  # so that no time at all, NaN, is refused as well
            raise PolicyRefused(
                f"the roster of epoch {roster.epoch} ended {moment(roster.not_after)}, "
                "by the clock of this machine: get the next one from the administrator, or set "
                "the clock right"
            )
        return roster

    def check_admin(self, admin: bytes) -> None:
        """Raises PolicyRefused for a key that is not the pinned one; both are public, and shown."""
        if admin != self.admin:
            raise PolicyRefused(
                f"the roster is signed by the administrator {admin.hex()}, and pinned is "
                f"{self.admin.hex()}: whoever gave it to you is not whom you pinned"
            )

    def open(self, data: Buffer, now: float) -> Roster:
        """As `verify`, of a file's bytes. Of another administrator not a key of it is looked at,
        which for the largest roster would take a minute."""
        data = octets("a signed roster", data)
        self.check_admin(bytes(data[-_SIGNATURE - _KEY : -_SIGNATURE]))
        return self.verify(SignedRoster.decode(data), now)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request to be enrolled: a member's name, for people, and a key that it proves to own.

    name: 1 to 64 printable characters of ASCII. There is no value of one whose signature is not
    its key's. Raises ParameterError, InvalidKey, InvalidSignature.
    """

    name: str
    key: bytes
    signature: bytes

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            name=check_name(self.name),
            key=octets("key", self.key),
            signature=octets("signature", self.signature, _SIGNATURE),
        )
        _check_key("the request", self.key)
        try:
            sign.verify(self.key, _enrolment(self.key, self.name), self.signature)
        except InvalidSignature:
            raise InvalidSignature(
                "a request to be enrolled is not signed by the owner of its key: have its sender "
                "make it again, with `secagg identity`"
            ) from None

    @classmethod
    def make(cls, name: str, secret: Seed) -> Enrolment:
        """secret: the seed of the member's key."""
        key = sign.public_key(secret)
        return cls(name, key, sign.sign(secret, _enrolment(key, check_name(name))))

    def encode(self) -> bytes:
        """Canonical (specs/14-roster.md §2): u8 version, prefixed name, key, signature."""
        writer = Writer().u8(VERSION).prefixed(self.name.encode("ascii"))
        return writer.raw(self.key).raw(self.signature).finish()

    @classmethod
    def decode(cls, data: Buffer) -> Enrolment:
        """Raises WireError beside what the class raises; nothing of it is trusted."""
        reader = Reader(octets("a request to be enrolled", data))
        _check_version(reader, "a request to be enrolled")
        name = reader.prefixed(MAX_NAME, "name").decode("latin-1")
        made = cls(name, reader.fixed(_KEY, "key"), reader.fixed(_SIGNATURE, "signature"))
        reader.finish()
        return made


def moment(end: int) -> str:
    """Seconds of Unix time as people read them, in UTC."""
    try:
        return datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # of years that no calendar has
        return f"{end} seconds after 1970"


def check_name(name: str) -> str:
    """The name, or ParameterError: what a terminal might take for something else is none
    (threat 18)."""
    name = text("name", name)
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"a member's name has 1 to {MAX_NAME} printable characters of ASCII, and no space at "
            "its beginning or end"
        )
    return name


_Fields: TypeAlias = tuple[int, int, bytes, tuple[bytes | None, ...]]
"""Those of a Roster, in its order."""


def _encoded(epoch: int, not_after: int, server: bytes, keys: tuple[bytes | None, ...]) -> bytes:
    writer = Writer().u8(VERSION).u32(epoch).u64(not_after).raw(server).u32(len(keys))
    return writer.raw(b"".join(_EXCLUDED if key is None else key for key in keys)).finish()


def _read_fields(reader: Reader) -> _Fields:
    """As far as their grammar goes: what a key is worth, Roster says."""
    _check_version(reader, "a roster")
    epoch, not_after = reader.u32("epoch"), reader.u64("not after")
    server = reader.fixed(_KEY, "the server's key")
    size = reader.count(MAX_MEMBERS, "places")
    joined = reader.fixed(size * _KEY, "members' keys")
    keys = (joined[at : at + _KEY] for at in range(0, len(joined), _KEY))
    return epoch, not_after, server, tuple(None if key == _EXCLUDED else key for key in keys)


def _check_version(reader: Reader, what: str) -> None:
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(
            f"{what} of version {version}, or none at all; this code speaks version {VERSION}"
        )


def _check_key(whose: str, key: bytes) -> None:
    try:
        sign.check_public(key)
    except InvalidKey as error:
        raise InvalidKey(f"the key of {whose}: {error}") from None


def _statement(digest: bytes, epoch: int) -> bytes:
    return labels.encode(labels.SIGN_ROSTER, digest, epoch)


def _enrolment(key: bytes, name: str) -> bytes:
    return labels.encode(labels.SIGN_ENROL, key, name.encode("ascii"))


def _verify(admin: bytes, digest: bytes, epoch: int, signature: bytes) -> None:
    try:
        sign.verify(admin, _statement(digest, epoch), signature)
    except InvalidSignature:
        raise InvalidSignature(
            f"the roster of epoch {epoch} is not signed by the administrator that it names: get "
            "the file again"
        ) from None
