"""X25519 against RFC 7748, and what its wrapper refuses (row 50; tests/adversary has the rest)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto.agree import KeyPair, check_public, public_key, shared_secret
from secagg.errors import CryptoError, InvalidKey
from secagg.types import Seed

P = 2**255 - 19


def x25519(k: bytes, u: bytes) -> bytes:
    """The Montgomery ladder of RFC 7748 §5, in Python integers."""
    clamped = bytearray(k)
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    scalar, x1 = int.from_bytes(clamped, "little"), int.from_bytes(u, "little") % (1 << 255)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = scalar >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def test_rfc_7748_iterated_vector() -> None:
    """§5.2: k = u = 9, once, by the ladder above and by the wrapper."""
    nine = (9).to_bytes(32, "little")
    once = bytes.fromhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    assert x25519(nine, nine) == once
    assert shared_secret(Seed(nine), nine).expose() == once


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_sides_agree_with_the_ladder(one: bytes, two: bytes) -> None:
    a, b = KeyPair.from_random(one), KeyPair.from_random(two)
    assert a.public == x25519(one, (9).to_bytes(32, "little"))
    shared = shared_secret(a.secret, b.public)
    assert shared == shared_secret(b.secret, a.public)
    assert shared.expose() == x25519(one, b.public)


@given(st.binary(min_size=32, max_size=32))
def test_scalars_are_stored_clamped(data: bytes) -> None:
    """They are shared later, and what is rebuilt must give the advertised key."""
    pair = KeyPair.from_random(data)
    scalar = pair.secret.expose()
    assert (scalar[0] & 7, scalar[31] & 192) == (0, 64)
    assert public_key(pair.secret) == pair.public


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_lengths_are_exact(size: int) -> None:
    with pytest.raises(CryptoError):
        KeyPair.from_random(bytes(size))
    with pytest.raises(InvalidKey, match=str(size)):
        check_public(b"\x09" * size)
    with pytest.raises(InvalidKey):
        shared_secret(Seed(b"\x09" * 32), b"\x09" * size)


@pytest.mark.parametrize("u", [P, P + 2, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_row_50_one_encoding_of_a_point_only(u: int) -> None:
    with pytest.raises(InvalidKey, match="canonical"):
        check_public(u.to_bytes(32, "little"))


@pytest.mark.parametrize("u", [2, 9, P - 2, P - 10])
def test_other_points_are_accepted(u: int) -> None:
    assert check_public(u.to_bytes(32, "little")) == u.to_bytes(32, "little")


def test_what_libsodium_refuses_is_an_invalid_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its all-zero check stands behind our list of small orders."""
    monkeypatch.setattr("secagg.crypto.agree._SMALL_ORDER", frozenset())
    with pytest.raises(InvalidKey, match="small order"):
        shared_secret(Seed(bytes(range(32))), bytes(32))
