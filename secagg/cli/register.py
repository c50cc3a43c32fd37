"""The administrator's folder: its key, the members by place with their names, the signed roster.

`members.json` is what the next roster is made of. Places are appended and never removed, names and
keys never used again, so that a roster has all places of the earlier ones (specs/14-roster.md §1).
The epoch is counted there before a roster of it is written: an administrator that dies in between
skips one, and never signs two of one epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secagg.cli.enrolling import Whose, read_roster, read_seed
from secagg.cli.files import read_at_most
from secagg.cli.targets import write_whole
from secagg.crypto import sign
from secagg.errors import CryptoError, InputError, ParameterError
from secagg.roster import MAX_MEMBERS, Enrolment, Roster, SignedRoster, check_name
from secagg.store import files

KEY, MEMBERS, SIGNED = "admin.key", "members.json", "roster"
"""Names of the files in a folder."""
_VERSION = 1
_LARGEST = 256 * MAX_MEMBERS
"""Bytes; above a name, a key and their punctuation for each place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place. key: stays known of who is excluded, so that nobody is enrolled with it again."""

    name: str
    key: bytes
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Register:
    """server: its Ed25519 key. epoch: of the last roster, 0 before the first."""

    server: bytes
    epoch: int = 0
    entries: tuple[Entry, ...] = ()

    def added(self, request: Enrolment) -> Register:
        """In the next place. Raises ParameterError for a name or key that was there before."""
        for place, entry in enumerate(self.entries):
            if entry.key == request.key:
                raise ParameterError(
                    f"this key has place {place} already, of {entry.name}"
                    + (", who is excluded: it takes a new identity" if entry.excluded else "")
                )
            if entry.name == request.name:
                raise ParameterError(
                    f"{request.name} has place {place} already, with another key: exclude it, and "
                    "enrol under another name"
                )
        if _is_place(request.name):
            raise ParameterError(
                f"{request.name} is how a place is called, and whoever excludes that place would "
                "exclude this member: enrol it under another name"
            )
        if request.key == self.server:
            raise ParameterError("this key is the server's: a member has an identity of its own")
        return replace(self, entries=(*self.entries, Entry(request.name, request.key)))

    def excluded(self, who: str) -> Register:
        """who: a name, or a place. Raises ParameterError for nobody's, and who is excluded."""
        place = self._place(who)
        if self.entries[place].excluded:
            raise ParameterError(f"{who} is excluded already")
        entries = list(self.entries)
        entries[place] = replace(entries[place], excluded=True)
        return replace(self, entries=tuple(entries))

    def _place(self, who: str) -> int:
        names = [entry.name for entry in self.entries]
        if who in names:
            return names.index(who)
        if _is_place(who) and len(who) < 8 and int(who) < len(names):
            return int(who)
        raise ParameterError(f"nobody here has the name or place {who[:64]}")

    def next(self) -> Register:
        """With the epoch that the next roster has."""
        return replace(self, epoch=self.epoch + 1)

    def roster(self, not_after: int) -> Roster:
        """Of its epoch. Raises ParameterError for one without places."""
        keys = tuple(None if one.excluded else one.key for one in self.entries)
        return Roster(self.epoch, not_after, self.server, keys)

    def encode(self) -> bytes:
        members = [
            {"name": one.name, "key": one.key.hex(), "excluded": one.excluded}
            for one in self.entries
        ]
        told = {"version": _VERSION, "server": self.server.hex(), "epoch": self.epoch}
        return json.dumps(told | {"members": members}, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Register:
        """Raises InputError for what no `encode` made."""
        try:
            made = cls._decoded(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError, ParameterError, CryptoError):
            made = None
        if made is None or made.encode() != data:
            raise InputError(
                f"{MEMBERS} is damaged, or was edited: restore the last copy, and never edit it"
            )
        return made

    @classmethod
    def _decoded(cls, told: Any) -> Register:
        empty = cls(sign.check_public(bytes.fromhex(told["server"])), int(told["epoch"]))
        entries = [
            Entry(
                check_name(one["name"]),
                sign.check_public(bytes.fromhex(one["key"])),
                one["excluded"] is True,
            )
            for one in told["members"]
        ]
        return replace(empty, entries=tuple(entries))


def _is_place(name: str) -> bool:
    """Whether it says one, as `exclude` takes it."""
    return name.isascii() and name.isdigit()


def read(folder: Path) -> Register:
    """Raises InputError."""
    return Register.decode(read_at_most(folder / MEMBERS, _LARGEST, "DIR"))


@contextmanager
def changing(folder: Path) -> Iterator[Register]:
    """The register, which nobody else changes as long as the block lasts."""
    if not (folder / MEMBERS).exists():
        raise InputError(
            f"{folder} is no folder of an administrator: `secagg roster init` makes one"
        )
    with files.alone(folder / MEMBERS):
        yield read(folder)


def write(folder: Path, register: Register) -> None:
    """Whole or not at all; within `changing`, or in a folder that is new."""
    write_whole(folder / MEMBERS, register.encode(), force=True, mode=0o600)


def sign_next(folder: Path, register: Register, not_after: int) -> SignedRoster:
    """The roster of the next epoch, written in its folder. Raises InputError where the folder's own
    roster says that the register was set back."""
    secret, path = read_seed(folder / KEY, Whose.ADMINISTRATOR), folder / SIGNED
    register = register.next()
    roster = register.roster(not_after)
    if path.exists():
        _check_follows(read_roster(path, "DIR").roster, roster)
    signed = SignedRoster.sign(roster, secret)
    # first: a roster whose epoch is not counted could get a twin
    write(folder, register)
    write_whole(path, signed.encode(), force=True)
    return signed


def _check_follows(before: Roster, after: Roster) -> None:
    kept = all(new in (old, None) for old, new in zip(before.keys, after.keys, strict=False))
    if before.epoch >= after.epoch or before.size > after.size or not kept:
        raise InputError(
            f"{MEMBERS} was set back: the roster of epoch {before.epoch} has members or an epoch "
            "that it does not know; restore the newest copy of it"
        )
