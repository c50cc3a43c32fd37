"""Ed25519 (RFC 8032) by PyNaCl, which refuses keys of small order and signatures that are not
canonical (threats 51, 52)."""

from __future__ import annotations

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from secagg.errors import InvalidKey, InvalidSignature
from secagg.types import Seed

KEY_SIZE = 32
SIGNATURE_SIZE = 64


def public_key(secret: Seed) -> bytes:
    """The 32 bytes of the Ed25519 key of a seed."""
    return bytes(SigningKey(secret.expose()).verify_key)


def check_public(key: bytes) -> bytes:
    """The key itself, or InvalidKey: wrong length, non-canonical, or not of the main subgroup.

    PyNaCl before 1.6.2 takes a key to which the point of order 2 was added.
    """
    if len(key) != KEY_SIZE:
        raise InvalidKey(f"a signature key has {KEY_SIZE} bytes, not {len(key)}")
    if not crypto_core_ed25519_is_valid_point(key):
        raise InvalidKey("a signature key is no canonical point of the prime-order subgroup")
    return key


def sign(secret: Seed, message: bytes) -> bytes:
    """64 bytes; the same message gives the same signature."""
    return bytes(SigningKey(secret.expose()).sign(message).signature)


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """InvalidSignature unless the owner of `public` signed these bytes."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        raise InvalidSignature("a signature is not of this key and message") from None
