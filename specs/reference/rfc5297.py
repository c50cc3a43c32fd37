"""AES-SIV of RFC 5297 from AES and CMAC: what seals rows (03-storage.md §2)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

ZERO = bytes(16)


def cmac(key: bytes, data: bytes) -> bytes:
    """RFC 4493, with AES of the key's size."""
    state = CMAC(algorithms.AES(key))
    state.update(data)
    return state.finalize()


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def double(block: bytes) -> bytes:
    """§2.3: times x in the field of 2^128 elements."""
    number = int.from_bytes(block, "big") << 1
    return (number & (1 << 128) - 1 ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")


def s2v(key: bytes, strings: list[bytes], last: bytes) -> bytes:
    """§2.4"""
    state = cmac(key, ZERO)
    for string in strings:
        state = xor(double(state), cmac(key, string))
    if len(last) >= 16:
        return cmac(key, last[:-16] + xor(last[-16:], state))
    return cmac(key, xor(double(state), (last + b"\x80").ljust(16, b"\0")))


def stream(key: bytes, tag: bytes, data: bytes) -> bytes:
    """§2.5: counter mode from the tag, with two bits cleared."""
    start = int.from_bytes(tag, "big") & ~(1 << 63 | 1 << 31)
    cipher = Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(16, "big")))
    return cipher.encryptor().update(data)


def seal(key: bytes, strings: list[bytes], plain: bytes) -> bytes:
    """§2.6. key: of both halves. strings: the associated data."""
    mac, own = key[: len(key) // 2], key[len(key) // 2 :]
    tag = s2v(mac, strings, plain)
    return tag + stream(own, tag, plain)


def unseal(key: bytes, strings: list[bytes], sealed: bytes) -> bytes | None:
    """§2.7; None where it does not open."""
    mac, own = key[: len(key) // 2], key[len(key) // 2 :]
    plain = stream(own, sealed[:16], sealed[16:])
    return plain if s2v(mac, strings, plain) == sealed[:16] else None
