"""HPKE (RFC 9180), base mode, one message a context: X25519, HKDF-SHA256, AES-256-GCM.

The library takes no associated data, so everything that a message is bound to goes into `info`.
It draws the ephemeral key itself: sealing cannot be repeated, and so has no test vector; opening
has (specs/20-additive.md §4).
"""

from __future__ import annotations

from functools import lru_cache

import cryptography.exceptions
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from secagg.crypto.agree import check_public
from secagg.errors import InvalidTag
from secagg.types import Buffer, Seed

OVERHEAD = 48
"""Bytes that sealing adds: the ephemeral public key before, and the tag behind."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal(public: bytes, plaintext: Buffer, info: bytes) -> bytes:
    """len(plaintext) + 48 bytes that only the owner of `public` opens. InvalidKey."""
    return _SUITE.encrypt(plaintext, _sealing_key(public), info=info)


@lru_cache(maxsize=64)
def _sealing_key(public: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(check_public(public))


class OpeningKey:
    """A private key, parsed once; its repr shows nothing."""

    __slots__ = ("_key",)

    def __init__(self, secret: Seed) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret.expose())

    def __repr__(self) -> str:
        return "OpeningKey(<redacted>)"

    def open(self, sealed: Buffer, info: bytes) -> bytes:
        """The plaintext; InvalidTag without detail if key, bytes or info differ."""
        try:
            return _SUITE.decrypt(sealed, self._key, info=info)
        except (cryptography.exceptions.InvalidTag, ValueError):
            # ValueError: too short for its parts, or an ephemeral key of small order
            raise InvalidTag("a sealed message does not open") from None
