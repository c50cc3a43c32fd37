"""AES-256-GCM under a key that seals exactly one message (specs/10-secagg.md §4)."""

from __future__ import annotations

import cryptography.exceptions
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from secagg.errors import InvalidTag
from secagg.types import Buffer, Seed

TAG_SIZE = 16
# One key per direction and session, one message per key: the nonce may be constant.
_NONCE = bytes(12)


def seal(key: Seed, plaintext: Buffer, context: bytes) -> bytes:
    """len(plaintext) + 16 bytes. The key must never seal anything else."""
    return AESGCM(key.expose()).encrypt(_NONCE, plaintext, context)


def unseal(key: Seed, sealed: Buffer, context: bytes) -> bytes:
    """The plaintext; InvalidTag without detail if key, bytes or context differ."""
    try:
        return AESGCM(key.expose()).decrypt(_NONCE, sealed, context)
    except cryptography.exceptions.InvalidTag:
        raise InvalidTag("a sealed message does not open") from None
