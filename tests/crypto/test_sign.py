"""Ed25519 against RFC 8032 in Python integers (specs/reference/rfc8032.py), at its edges."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import sign
from secagg.errors import InvalidKey, InvalidSignature
from secagg.types import Seed

sys.path.insert(0, str(Path(__file__).parents[1] / "vectors"))
import rfc8032
from additive_alone import ORDER_8, small_orders

SEED = Seed(bytes(range(32)))
KEY = sign.public_key(SEED)
MESSAGE = b"what is signed"
SIGNATURE = sign.sign(SEED, MESSAGE)


def takes(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        sign.verify(key, message, signature)
    except InvalidSignature:
        return False
    return True


@settings(deadline=None, max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_both_sign_alike(seed: bytes, message: bytes) -> None:
    signature = sign.sign(Seed(seed), message)
    assert sign.public_key(Seed(seed)) == rfc8032.public(seed)
    assert signature == rfc8032.sign(seed, message)
    assert takes(rfc8032.public(seed), message, signature)


def test_row_52_no_altered_bit_is_taken() -> None:
    for at in range(512):
        spoilt = bytearray(SIGNATURE)
        spoilt[at // 8] ^= 1 << at % 8
        assert not takes(KEY, MESSAGE, bytes(spoilt))


@pytest.mark.parametrize("times", range(1, 16))
def test_row_52_s_is_below_the_order(times: int) -> None:
    """S + k L is the same number modulo the order, and another signature."""
    s = int.from_bytes(SIGNATURE[32:], "little") + times * rfc8032.L
    assert not takes(KEY, MESSAGE, SIGNATURE[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_row_52_lengths(size: int) -> None:
    assert not takes(KEY, MESSAGE, (SIGNATURE * 2)[:size])


@pytest.mark.parametrize("point", small_orders(), ids=bytes.hex)
def test_rows_51_52_points_of_small_order(point: bytes) -> None:
    """As a key, they would take one signature for many messages; as R, they hide nothing."""
    with pytest.raises(InvalidKey):
        sign.check_public(point)
    for signature in (point + bytes(32), SIGNATURE[:32] + bytes(32), SIGNATURE):
        assert not takes(point, MESSAGE, signature)
    assert not takes(KEY, MESSAGE, point + SIGNATURE[32:])


def test_row_52_a_small_order_r_that_fits_is_refused() -> None:
    """R of small order with the S that makes a cofactored equation hold."""
    scalar, _ = rfc8032._secret(SEED.expose())
    for point in small_orders():
        challenge = rfc8032._number(point, KEY, MESSAGE)
        s = challenge * scalar % rfc8032.L
        assert not takes(KEY, MESSAGE, point + s.to_bytes(32, "little"))


def _mixed_orders() -> list[bytes]:
    """KEY plus each point of small order but the identity: those of order 2, 4 and 8."""
    torsion = rfc8032.decode(ORDER_8)
    key = rfc8032.decode(KEY)
    assert torsion is not None and key is not None
    return [rfc8032.encode(rfc8032.add(key, rfc8032.multiply(k, torsion))) for k in range(1, 8)]


@pytest.mark.parametrize(
    "key", [*_mixed_orders(), b"\xff" * 32, bytes([2]) + bytes(31)], ids=bytes.hex
)
def test_row_51_keys_outside_the_subgroup(key: bytes) -> None:
    with pytest.raises(InvalidKey, match="no canonical point of the prime-order subgroup"):
        sign.check_public(key)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_row_51_keys_of_another_length(size: int) -> None:
    with pytest.raises(InvalidKey, match="32 bytes"):
        sign.check_public(KEY[:1] * size)


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=32, max_size=32))
def test_row_51_any_32_bytes_are_judged_alike(raw: bytes) -> None:
    try:
        accepted = sign.check_public(raw) == raw
    except InvalidKey:
        accepted = False
    assert accepted == rfc8032.is_key(raw)


def test_another_key_or_message() -> None:
    assert takes(KEY, MESSAGE, SIGNATURE)
    assert not takes(sign.public_key(Seed(bytes(32))), MESSAGE, SIGNATURE)
    assert not takes(KEY, MESSAGE + b"\0", SIGNATURE)
