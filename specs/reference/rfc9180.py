"""HPKE (RFC 9180), base mode, one message: X25519, HKDF-SHA256, AES-256-GCM: for verify.py.

Sealing takes the ephemeral secret, so that the bytes of a vector can be made again.
"""

from __future__ import annotations

import hmac

import cryptography.exceptions
from blocks import Refused, clamp, public
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import RuntimeError as SmallOrder

KEM = b"KEM" + (0x0020).to_bytes(2, "big")
SUITE = b"HPKE" + bytes([0, 0x20, 0, 0x01, 0, 0x02])


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract, §4"""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand, §4, for one block"""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:size]


def seal(receiver: bytes, info: bytes, plain: bytes, ephemeral: bytes) -> bytes:
    """ephemeral: 32 bytes, clamped here."""
    secret = clamp(ephemeral)
    ours = public(secret)
    key, nonce = schedule(crypto_scalarmult(secret, receiver), ours + receiver, info)
    return ours + AESGCM(key).encrypt(nonce, plain, b"")


def unseal(secret: bytes, info: bytes, sealed: bytes) -> bytes:
    theirs, body = sealed[:32], sealed[32:]
    if len(sealed) < 48:
        raise Refused("InvalidTag", "§4")
    try:
        shared = crypto_scalarmult(secret, theirs)
        key, nonce = schedule(shared, theirs + public(secret), info)
        return AESGCM(key).decrypt(nonce, body, b"")
    except (cryptography.exceptions.InvalidTag, SmallOrder):
        raise Refused("InvalidTag", "§4") from None


def schedule(dh: bytes, context: bytes, info: bytes) -> tuple[bytes, bytes]:
    """§4.1 and §5.1: key and nonce of the first message."""
    prk = extract(KEM, b"", b"eae_prk", dh)
    shared = expand(KEM, prk, b"shared_secret", context, 32)
    mode = b"\x00" + extract(SUITE, b"", b"psk_id_hash", b"")
    mode += extract(SUITE, b"", b"info_hash", info)
    secret = extract(SUITE, shared, b"secret", b"")
    return expand(SUITE, secret, b"key", mode, 32), expand(SUITE, secret, b"base_nonce", mode, 12)
