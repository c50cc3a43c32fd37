"""Known answers before the first machine of a process is made (row 61 of specs/validation.md).

A broken build of a library, a mis-detected processor or a stale compiled kernel would otherwise
show as a withheld sum at best. The answers are published ones where there are any: RFC 7748 §6.1,
RFC 8032 §7.1, test case 14 of the GCM specification, whose blocks are also our mask stream under a
zero key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import cache

import numpy as np

from secagg import shamir
from secagg.crypto import hpke, labels, seal, sign
from secagg.crypto.agree import public_key, shared_secret
from secagg.errors import CryptoError, InvalidKey, InvalidSignature
from secagg.kernels import pack
from secagg.mask import add_stream
from secagg.ring import LANES
from secagg.types import Seed

_ZERO = Seed(bytes(32))
_GCM_14 = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
_BLOCK_0 = bytes.fromhex("dc95c078a2408989ad48a21492842087")

_BOB = Seed(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
_BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
_ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
_SHARED = Seed(bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"))

# Sealed to Bob by the vectors' second implementation, with the ephemeral scalar 0, 1, .., 31.
_SEALED = bytes.fromhex(
    "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    "7b45b4e92c0b16025c65346fe4c0e06ff7a171f2fc8bd84cac6d4314d773ad8b"
)

# RFC 8032 §7.1, test 2.
_SIGNER = Seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
_SIGNER_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# The signer's key plus the point of order 2, which turns (x, y) into (-x, -y): on the curve and
# canonical, and outside the prime-order subgroup. PyNaCl before 1.6.2 takes it.
_BAD_KEY = bytes.fromhex("b0bfe83c17bc76a56d48f558b2e481436367d330d13b69733f32aa0ed50b99f3")


@cache
def passed() -> None:
    """Runs every known answer once per process; CryptoError names the first that fails.

    Nothing is started then: there is no fallback that could be trusted more.
    """
    for name, right in CHECKS.items():
        if not _holds(right):
            raise CryptoError(
                f"self-test: {name} gives a wrong answer in this process; nothing is started. "
                "Remove the compiled kernels (__pycache__, NUMBA_CACHE_DIR) and reinstall "
                "cryptography and PyNaCl"
            )


def _holds(right: Callable[[], bool]) -> bool:
    """A refusal, of what must open or verify, is a wrong answer too."""
    try:
        return right()
    except CryptoError:
        return False


def _x25519() -> bool:
    return public_key(_BOB) == _BOB_PUBLIC and shared_secret(_BOB, _ALICE_PUBLIC) == _SHARED


def _hkdf() -> bool:
    """RFC 5869 §2 with the standard library's HMAC: one block of output."""
    info = labels.encode(labels.SELF, 7)
    extracted = hmac.digest(bytes(32), _BOB.expose(), "sha256")
    return labels.derive(_BOB, labels.SELF, 7) == Seed(
        hmac.digest(extracted, info + b"\x01", "sha256")
    )


def _aead() -> bool:
    opened = seal.unseal(_ZERO, _GCM_14, b"")
    return seal.seal(_ZERO, bytes(16), b"") == _GCM_14 and opened == bytes(16)


def _hpke() -> bool:
    """Opening; and that what is sealed opens, as sealing draws randomness of its own."""
    key, info = hpke.OpeningKey(_BOB), labels.encode(labels.SHARE_SEAL, 7)
    fresh = hpke.seal(_BOB_PUBLIC, _SEALED, info)
    return key.open(_SEALED, info) == bytes(16) and key.open(fresh, info) == _SEALED


def _signatures() -> bool:
    """A right one is made and taken, and the same one over other bytes is not."""
    right = sign.public_key(_SIGNER) == _SIGNER_PUBLIC and sign.sign(_SIGNER, b"r") == _SIGNATURE
    sign.verify(_SIGNER_PUBLIC, b"r", _SIGNATURE)
    try:
        sign.verify(_SIGNER_PUBLIC, b"s", _SIGNATURE)
    except InvalidSignature:
        return right
    return False


def _signature_keys() -> bool:
    """A right key is taken, and one that hides a point of small order is refused."""
    sign.check_public(_SIGNER_PUBLIC)
    try:
        sign.check_public(_BAD_KEY)
    except InvalidKey:
        return True
    return False


def _mask_stream() -> bool:
    """Blocks 0 and 2 of the zero key, in every lane and both signs, the second one by seeking."""
    return all(
        _stream_block(lane, 0, _BLOCK_0) and _stream_block(lane, 2, _GCM_14[:16]) for lane in LANES
    )


def _stream_block(lane_bits: int, block: int, answer: bytes) -> bool:
    count = 128 // lane_bits
    lanes = np.zeros(count, f"u{lane_bits // 8}")
    add_stream(lanes, _ZERO.expose(), 1, first=block * count)
    right = lanes.astype(lanes.dtype.newbyteorder("<")).tobytes() == answer
    add_stream(lanes, _ZERO.expose(), -1, first=block * count)
    return right and not lanes.any()


def _sharing() -> bool:
    """Coefficients all 1, so limb j at x is limb j + x + x^2; and back."""
    shares = shamir.split(_BOB, 3, [1, 2, 5], lambda size: (1).to_bytes(8) * (size // 8))
    first = int.from_bytes(_BOB.expose()[:7], "little")
    right = int.from_bytes(shares[2][:8]) == first + 5 + 25
    return right and shamir.combine(dict(zip([1, 2, 5], shares, strict=True)), 3) == _BOB


def _packing() -> bool:
    elements = np.arange(1, 12, dtype=np.uint16)
    packed = sum(int(e) << 13 * i for i, e in enumerate(elements)).to_bytes(18, "little")
    return pack.pack(elements, 13) == packed and bool(
        (pack.unpack(packed, 13, 11) == elements).all()
    )


CHECKS: dict[str, Callable[[], bool]] = {
    "X25519": _x25519,
    "HKDF-SHA256": _hkdf,
    "AES-256-GCM": _aead,
    "HPKE": _hpke,
    "Ed25519": _signatures,
    "the check of Ed25519 keys": _signature_keys,
    "the mask stream": _mask_stream,
    "Shamir's sharing": _sharing,
    "packing": _packing,
}
