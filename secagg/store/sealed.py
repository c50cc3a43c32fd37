"""All rows of one client as one blob, for a framework to carry (specs/03-storage.md §2).

Whoever carries it can neither read nor change it, nor give it to another client or session; the key
is the ledger's. It can bring an old one: against that there are claims, not this.

AES-256-SIV (RFC 5297) and not GCM with a random nonce: a client that is copied or set back, whole
with its generator, may draw the same nonce again for other rows, and GCM then gives away both and
its own key. SIV has no nonce to draw. Equal rows make equal blobs, which tells a carrier only that
nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

import cryptography.exceptions
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from secagg.crypto import labels
from secagg.effects import NAMESPACE_SIZE
from secagg.errors import InvalidTag, ParameterError, TooLarge, UnknownVersion, WireError
from secagg.types import Buffer, Seed
from secagg.wire.codec import Reader, Writer

VERSION = 1
TAG_SIZE = 16
OVERHEAD = 1 + TAG_SIZE + 4
"""Bytes of a blob beyond those of its rows."""
ROW_OVERHEAD = 8
"""Bytes of each row beyond key and value."""
MAX_BLOB = 1 << 24
"""Bytes. A client's rows are some thousand; a carrier may bring anything."""

Row = tuple[bytes, bytes]


def seal(rows: Iterable[Row], key: Seed, session: bytes) -> bytes:
    """The blob of `rows`, in any order, each key once.

    key: the session's, of its ledger. session: the name that the ledger knows it by.
    Raises ParameterError for keys that are no rows' or occur twice, and TooLarge.
    """
    ordered = sorted(rows)
    keys = [name for name, _ in ordered]
    if len(set(keys)) != len(keys) or any(len(name) <= NAMESPACE_SIZE for name in keys):
        raise ParameterError("rows to seal have keys of stored rows, each once")
    writer = Writer().u32(len(ordered))
    for name, value in ordered:
        writer.prefixed(name).prefixed(value)
    plain = writer.finish()
    if len(plain) + OVERHEAD - 4 > MAX_BLOB:
        raise TooLarge(f"the rows of a client are {len(plain)} bytes, and at most {MAX_BLOB}")
    return bytes([VERSION]) + _cipher(key).encrypt(plain, [_context(session)])


def open(blob: Buffer, key: Seed, session: bytes) -> list[Row]:
    """The rows that were sealed, by ascending key.

    Raises InvalidTag, without detail, where the key, the session or a byte is another; WireError
    for what `seal` never makes. An old blob opens: see secagg.store.base.Ledger.
    """
    if len(blob) > MAX_BLOB:
        raise TooLarge(f"a blob of {len(blob)} bytes, and at most {MAX_BLOB}")
    if len(blob) < OVERHEAD:
        raise WireError(f"a blob of {len(blob)} bytes holds no rows")
    if blob[0] != VERSION:
        raise UnknownVersion(f"rows sealed by version {blob[0]}, and this code knows {VERSION}")
    try:
        plain = _cipher(key).decrypt(bytes(blob[1:]), [_context(session)])
    except cryptography.exceptions.InvalidTag:
        raise InvalidTag(
            "sealed rows do not open: they were changed, or are another session's, or the ledger "
            "that made their key is not this one"
        ) from None
    return _read(plain)


def _read(plain: bytes) -> list[Row]:
    reader = Reader(plain)
    rows: list[Row] = []
    for _ in range(reader.u32("rows")):
        name, value = (reader.prefixed(reader.remaining, part) for part in ("key", "value"))
        if len(name) <= NAMESPACE_SIZE or (rows and name <= rows[-1][0]):
            raise WireError("sealed rows: keys of stored rows, ascending")
        rows.append((bytes(name), bytes(value)))
    reader.finish()
    return rows


def _cipher(key: Seed) -> AESSIV:
    halves = (labels.expand(key, labels.ROWS, half) for half in range(2))
    return AESSIV(b"".join(halves))


def _context(session: bytes) -> bytes:
    return labels.encode(labels.ROWS, VERSION, session)
