"""Files of who signs: identities of members and of the server, the administrator's key, requests to
be enrolled, rosters. A secret is written as `secagg.store.identity` says."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from secagg.cli import keyfile
from secagg.cli.files import read_at_most
from secagg.cli.targets import write_whole
from secagg.crypto import sign
from secagg.crypto.randomness import checked
from secagg.errors import CryptoError, InputError, ParameterError, WireError
from secagg.roster import MAX_ENROLMENT, MAX_ROSTER_FILE, Enrolment, SignedRoster
from secagg.store import identity
from secagg.types import Randomness, Seed, system_randomness

_T = TypeVar("_T")


class Whose(enum.Enum):
    """What a seed is for: one of a kind never signs what the other does."""

    IDENTITY = "identity"
    """Of a member or of the server, on the machine that takes part."""
    ADMINISTRATOR = "administrator"
    """Of who signs rosters, on a machine without a network."""

    @property
    def head(self) -> bytes:
        """The first line of its file."""
        return identity.HEAD.replace(b"identity", self.value.encode())


def new_seed(randomness: Randomness = system_randomness) -> Seed:
    """The seed of an Ed25519 key."""
    return Seed(checked(randomness)(Seed.SIZE))


def write_seed(path: Path, whose: Whose, seed: Seed) -> None:
    """Mode 0600 from its first byte on. ParameterError for a file that is there: nobody can sign
    any more with a key that was replaced."""
    data = whose.head + seed.expose().hex().encode() + b"\n"
    try:
        write_whole(path, data, force=False, mode=0o600)
    except FileExistsError:
        raise ParameterError(
            f"{path} exists and is never replaced: whatever its key stands for would be lost"
        ) from None


def read_seed(path: Path, whose: Whose) -> Seed:
    """Raises PolicyRefused for a file that others can read, InputError for one that is no such key.

    The messages say nothing of what the file holds.
    """
    found, seed = parse_seed(keyfile.read_private(path, "the key"), str(path))
    if found is not whose:
        raise InputError(f"{path} is the key of an {found.value}, and of {whose.value} is needed")
    return seed


def parse_seed(data: bytes, where: str) -> tuple[Whose, Seed]:
    """What kind of key the bytes of a file are, and its seed; InputError where they are none."""
    for whose in Whose:
        if data.startswith(whose.head):
            seed = identity.digits(data.removeprefix(whose.head))
            if seed is None:
                raise InputError(
                    f"{where} is a damaged key file: its second line has {2 * Seed.SIZE} digits"
                )
            return whose, seed
    raise InputError(
        f"{where} is no key file of version 1 that `secagg identity` or `secagg roster` makes"
    )


def read_enrolment(path: Path) -> Enrolment:
    """The request in a file; what is wrong with it is said of the file."""
    return _of_file(path, "request", MAX_ENROLMENT, Enrolment.decode)


def read_roster(path: Path, what: str) -> SignedRoster:
    """The signed roster in a file, whoever signed it; what is wrong is said of the file."""
    return _of_file(path, what, MAX_ROSTER_FILE, SignedRoster.decode)


def parse_key(text: str, whose: str) -> bytes:
    """32 bytes from the digits that `secagg identity` or `secagg roster` printed; ParameterError
    or InvalidKey."""
    return sign.check_public(keyfile.parse_public(text, sign.KEY_SIZE, whose))


def _of_file(path: Path, what: str, limit: int, decode: Callable[[bytes], _T]) -> _T:
    data = read_at_most(path, limit, what)
    try:
        return decode(data)
    except (WireError, CryptoError, ParameterError) as error:
        raise type(error)(f"{what} {path}: {error}") from None
