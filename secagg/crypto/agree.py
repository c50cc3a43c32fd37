"""X25519 behind one wrapper that checks length, canonicity and small order (10-secagg.md §4).

PyNaCl's scalar multiplication checks no lengths, so that is done here; it releases the GIL.
Not constant time at the level of this file: the multiplication is, the Python around it sees
only public data.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import RuntimeError as NaClRuntimeError

from secagg.errors import CryptoError, InvalidKey
from secagg.shown import short
from secagg.types import Buffer, Seed

KEY_SIZE = 32
_P = 2**255 - 19

# The canonical u-coordinates whose order divides 8: with any clamped scalar they give zero.
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A clamped private scalar and its public key, fresh for one session."""

    secret: Seed
    public: bytes

    __repr__ = short

    @classmethod
    def from_random(cls, randomness: Buffer) -> KeyPair:
        """From 32 secret uniform bytes. The scalar is stored clamped, as it is shared later."""
        if len(randomness) != KEY_SIZE:
            raise CryptoError(f"the randomness source gave {len(randomness)} bytes, not 32")
        scalar = bytearray(randomness)
        scalar[0] &= 248
        scalar[31] = scalar[31] & 127 | 64
        return cls(Seed(scalar), public_key(Seed(scalar)))


def public_key(secret: Seed) -> bytes:
    """The 32 bytes of the X25519 point of a scalar, which is clamped by the library."""
    return bytes(crypto_scalarmult_base(secret.expose()))


def check_public(key: bytes) -> bytes:
    """The key itself, or InvalidKey: wrong length, non-canonical, or of small order."""
    if len(key) != KEY_SIZE:
        raise InvalidKey(f"a public key has {KEY_SIZE} bytes, not {len(key)}")
    u = int.from_bytes(key, "little")
    if u >= _P:
        raise InvalidKey("a public key is not canonical")
    if u in _SMALL_ORDER:
        raise InvalidKey("a public key has small order")
    return key


def shared_secret(secret: Seed, public: bytes) -> Seed:
    """X25519. The result is an input of HKDF and never itself a key."""
    try:
        return Seed(crypto_scalarmult(secret.expose(), check_public(public)))
    except NaClRuntimeError:  # libsodium's all-zero check; the small-order list comes first
        raise InvalidKey("a public key has small order") from None
