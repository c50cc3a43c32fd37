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
from secagg.errors import CryptoError, InputError, InvalidKey, ParameterError, WireError
from secagg.roster import MAX_ENROLMENT, MAX_ROSTER_FILE, Enrolment, SignedRoster
from secagg.store import identity
from secagg.types import Randomness, Seed, system_randomness

_T = TypeVar("_T")
_REQUEST = "a request is FILE.enrol, beside the FILE of `secagg identity new`"
_ROSTER = "a signed roster is DIR/roster, of `secagg roster sign`"


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
    return _of_file(path, "request", MAX_ENROLMENT, Enrolment.decode, _REQUEST)


def places_for(signed: SignedRoster, clients: int) -> int:
    """Of how many a plan for so many clients of this roster is; ParameterError for more than it
    has, before a plan says so in words of its own."""
    if clients > (size := signed.roster.size):
        raise ParameterError(
            f"--clients {clients} is more than the roster's {size} places: give {size} or fewer, "
            "or have more members added and the next roster signed"
        )
    return size


def read_roster(path: Path, what: str) -> SignedRoster:
    """The signed roster in a file, whoever signed it; what is wrong is said of the file."""
    return _of_file(path, what, MAX_ROSTER_FILE, SignedRoster.decode, _ROSTER)


def parse_key(text: str, whose: str, printed_by: str) -> bytes:
    """32 bytes from the digits that a command printed; ParameterError or InvalidKey."""
    key = keyfile.parse_public(text, sign.KEY_SIZE, whose, printed_by)
    try:
        return sign.check_public(key)
    except InvalidKey:
        raise InvalidKey(
            f"no key has these digits that are given for the public key of {whose}: copy again "
            f"what `{printed_by}` printed"
        ) from None


def _of_file(path: Path, what: str, limit: int, decode: Callable[[bytes], _T], wanted: str) -> _T:
    """wanted: which file would do, for who gave one of another kind."""
    data = read_at_most(path, limit, what)
    if data.startswith(tuple(whose.head for whose in Whose)):
        raise InputError(f"{what} {path} is a secret key, which is for nobody to see: {wanted}")
    try:
        return decode(data)
    except (WireError, CryptoError) as error:
        raise type(error)(f"{what} {path}: {error}; {wanted}") from None
    except ParameterError as error:
        raise ParameterError(f"{what} {path}: {error}") from None
