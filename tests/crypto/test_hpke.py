"""HPKE against a second implementation (specs/reference/rfc9180.py), and what does not open."""

from __future__ import annotations

import blocks
import pytest
import rfc9180
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import agree, hpke
from secagg.errors import InvalidKey, InvalidTag
from secagg.types import Seed

SECRET = Seed(blocks.clamp(bytes(range(32))))
PUBLIC = agree.public_key(SECRET)
INFO = b"what it is bound to"

bytes32 = st.binary(min_size=32, max_size=32)


@settings(deadline=None, max_examples=60)
@given(bytes32, st.binary(max_size=200), st.binary(max_size=200), bytes32)
def test_what_either_seals_the_other_opens(
    scalar: bytes, plain: bytes, info: bytes, ephemeral: bytes
) -> None:
    secret = blocks.clamp(scalar)
    public = blocks.public(secret)
    theirs = rfc9180.seal(public, info, plain, ephemeral)
    ours = hpke.seal(public, plain, info)
    assert len(ours) == len(theirs) == len(plain) + hpke.OVERHEAD
    assert hpke.OpeningKey(Seed(secret)).open(theirs, info) == plain
    assert rfc9180.unseal(secret, info, ours) == plain


def test_the_key_schedule_of_rfc_9180() -> None:
    """Appendix A.1.1 shares KEM and KDF with this suite: its Diffie-Hellman gives its secret."""
    ours = bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
    theirs = bytes.fromhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
    enc = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    assert blocks.public(blocks.clamp(ours)) == enc
    dh = agree.shared_secret(Seed(blocks.clamp(ours)), theirs).expose()
    prk = rfc9180.extract(rfc9180.KEM, b"", b"eae_prk", dh)
    shared = rfc9180.expand(rfc9180.KEM, prk, b"shared_secret", enc + theirs, 32)
    assert shared.hex() == "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"


def test_sealing_twice_gives_other_bytes() -> None:
    one, two = (hpke.seal(PUBLIC, b"the same", INFO) for _ in range(2))
    assert one != two and one[:32] != two[:32]


def test_row_53_no_altered_byte_opens() -> None:
    """Every bit of every byte: ephemeral key, ciphertext and tag."""
    key, sealed = hpke.OpeningKey(SECRET), hpke.seal(PUBLIC, b"plain", INFO)
    for at in range(len(sealed)):
        for bit in range(8):
            if at == 31 and bit == 7:
                continue  # X25519 ignores it (RFC 7748 §5); the next test says what follows
            spoilt = bytearray(sealed)
            spoilt[at] ^= 1 << bit
            with pytest.raises(InvalidTag):
                key.open(bytes(spoilt), INFO)


def test_row_53_the_bit_that_x25519_ignores_is_bound_all_the_same() -> None:
    """The encapsulated key is in the key schedule as it came."""
    sealed = bytearray(hpke.seal(PUBLIC, b"plain", INFO))
    sealed[31] ^= 0x80
    with pytest.raises(InvalidTag):
        hpke.OpeningKey(SECRET).open(bytes(sealed), INFO)


@pytest.mark.parametrize("info", [b"", INFO[:-1], INFO + b"\0", INFO.upper()])
def test_row_53_nor_does_another_context(info: bytes) -> None:
    with pytest.raises(InvalidTag, match="does not open"):
        hpke.OpeningKey(SECRET).open(hpke.seal(PUBLIC, b"plain", INFO), info)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 47])
def test_what_is_too_short_does_not_open(size: int) -> None:
    with pytest.raises(InvalidTag):
        hpke.OpeningKey(SECRET).open(hpke.seal(PUBLIC, b"", INFO)[:size], INFO)


SMALL = [0, 1, blocks.P25519 - 1, blocks.ORDER_8, blocks.OTHER_ORDER_8]
SMALL += [blocks.P25519, blocks.P25519 + 1]


@pytest.mark.parametrize("point", SMALL)
def test_row_50_keys_of_small_order(point: int) -> None:
    """As a receiver's key they are refused; as an ephemeral one nothing opens."""
    raw = point.to_bytes(32, "little")
    with pytest.raises(InvalidKey):
        hpke.seal(raw, b"plain", INFO)
    with pytest.raises(InvalidTag):
        hpke.OpeningKey(SECRET).open(raw + bytes(21), INFO)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_receivers_that_are_no_keys(key: bytes) -> None:
    with pytest.raises(InvalidKey):
        hpke.seal(key, b"plain", INFO)


def test_an_opening_key_shows_nothing() -> None:
    assert repr(hpke.OpeningKey(SECRET)) == "OpeningKey(<redacted>)"
