"""A message is known again by its fingerprint, and no other is taken for it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.fingerprint import Fingerprints
from secagg.crypto.randomness import checked
from secagg.errors import CryptoError


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_equal_for_equal_bytes_alone(one: bytes, other: bytes) -> None:
    known = Fingerprints(os.urandom)
    assert (known.of(one) == known.of(other)) == (one == other)
    assert known.of(one) == known.of(bytearray(one)) == known.of(memoryview(one))
    assert len(known.of(one)) == 16


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 64, 1 << 16])
def test_every_bit_and_every_zero_at_the_end_counts(size: int) -> None:
    """A hash by polynomials must not take a shorter message, or one padded, for the same."""
    known, message = Fingerprints(os.urandom), bytes(size)
    others = [bytes(size + more) for more in (1, 15, 16)]
    step = max(1, size // 64)
    for at in range(0, size, step):
        changed = bytearray(message)
        changed[at] ^= 1 << at % 8
        others.append(bytes(changed))
    assert known.of(message) not in {known.of(other) for other in others}


def test_the_key_decides() -> None:
    """So a collision under one key, which its owner could compute, is none under another."""
    one, other = Fingerprints(lambda size: bytes([3]) * size), Fingerprints(os.urandom)
    assert one.of(b"message") != other.of(b"message")
    assert one.of(b"message") == Fingerprints(lambda size: bytes([3]) * size).of(b"message")


def test_randomness_that_fails_gives_no_key() -> None:
    with pytest.raises(CryptoError):
        Fingerprints(checked(lambda size: b"short"))


def test_the_key_is_in_no_repr() -> None:
    assert "redacted" in repr(vars(Fingerprints(os.urandom)))
