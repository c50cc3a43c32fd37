"""Files that hold the secret key of one server or of a collector.

A line that says whose it is, and a line of hexadecimal digits::

    secagg key, version 1: server
    <the X25519 scalar and the Ed25519 seed, 128 digits; of a collector the scalar alone, 64>

Text, so that an operator sees at a glance what must not be copied about. It is as secret as what
it opens: a passphrase would only move the secret, as a server must restart without a human.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secagg.cli import files
from secagg.cli.targets import write_whole
from secagg.committee import ServerSecrets
from secagg.crypto import agree
from secagg.errors import InputError, ParameterError, PolicyRefused
from secagg.store.files import of_another, open_to_others
from secagg.types import Seed

_SERVER = b"secagg key, version 1: server\n"
_COLLECTOR = b"secagg key, version 1: collector\n"
_DIGITS = frozenset(b"0123456789abcdef")
_LARGEST = 1024
"""Bytes; above all kinds, also of what others keep so."""


def write_server(path: Path, secrets: ServerSecrets, *, force: bool) -> None:
    """Mode 0600 from its first byte on. FileExistsError for a file that is there, unless forced."""
    seeds = secrets.opening.expose() + secrets.signing.expose()
    write_whole(path, _SERVER + seeds.hex().encode() + b"\n", force=force, mode=0o600)


def write_collector(path: Path, secret: Seed, *, force: bool) -> None:
    """As `write_server`."""
    data = _COLLECTOR + secret.expose().hex().encode() + b"\n"
    write_whole(path, data, force=force, mode=0o600)


def read_server(path: Path) -> ServerSecrets:
    """Raises PolicyRefused for a file that others can read, InputError for one that is no server's.

    The messages say nothing of what the file holds.
    """
    key = parse(read_private(path, "--key"))
    if not isinstance(key, ServerSecrets):
        raise InputError(f"{path} is a collector's key, and a server's is needed")
    return key


def read_collector(path: Path) -> Seed:
    """As `read_server`."""
    key = parse(read_private(path, "--key"))
    if not isinstance(key, Seed):
        raise InputError(f"{path} is a server's key, and the collector's is needed")
    return key


def recognised(data: bytes) -> bool:
    """Whether it begins like a key file."""
    return data.startswith((_SERVER, _COLLECTOR))


def parse(data: bytes) -> ServerSecrets | Seed:
    """The secrets in the bytes of a file; InputError unless these are exactly one key's."""
    if data.startswith(_SERVER):
        seeds = _digits(data.removeprefix(_SERVER), 2 * Seed.SIZE)
        return ServerSecrets(Seed(seeds[: Seed.SIZE]), Seed(seeds[Seed.SIZE :]))
    if data.startswith(_COLLECTOR):
        return Seed(_digits(data.removeprefix(_COLLECTOR), Seed.SIZE))
    raise InputError("this is no key file of version 1, which `secagg keys` makes")


def public(key: ServerSecrets | Seed) -> bytes:
    """What the others need: sealing and signing key of a server, the sealing key of a collector."""
    if isinstance(key, Seed):
        return agree.public_key(key)
    return key.public.sealing + key.public.signing


def parse_public(text: str, size: int, whose: str, printed_by: str = "secagg keys") -> bytes:
    """`size` bytes from the digits that a command printed; ParameterError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != size:
        raise ParameterError(
            f"the public key of {whose} is {2 * size} hexadecimal digits, as `{printed_by}` "
            f"prints them; given are {len(text)} characters"
        )
    return key


def read_private(path: Path, what: str) -> bytes:
    """At most some lines of a file that nobody else can read; PolicyRefused for another. what: the
    option that names it."""
    with files.opened(path, what) as source, files.reading(path, what):
        status = os.fstat(source.fileno())  # of what is read, whatever the name leads to meanwhile
        if open_to_others(status):
            mode = stat.S_IMODE(status.st_mode)
            raise PolicyRefused(
                f"{path} is open to other users (mode {mode:04o}): chmod it to 600 and, if one of "
                "them may have read it, make new keys and a new task or roster"
            )
        if of_another(status):
            raise PolicyRefused(f"{path} belongs to another user, who can read and change it")
        return source.read(_LARGEST + 1)


def _digits(line: bytes, size: int) -> bytes:
    """One way to write a key, so that what differs is no key: lower case and one line end."""
    if len(line) != 2 * size + 1 or line[-1:] != b"\n" or not _DIGITS.issuperset(line[:-1]):
        raise InputError(
            f"a damaged key file: its second line has {2 * size} digits; restore a copy"
        )
    return bytes.fromhex(line[:-1].decode("ascii"))
