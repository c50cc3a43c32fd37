"""Domain separation: one encoding, injective, and labels that never stand for two things."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto import labels
from secagg.crypto.randomness import checked
from secagg.errors import CryptoError
from secagg.types import Seed

NAMES = [
    value
    for name, value in vars(labels).items()
    if name.isupper()
    and isinstance(value, bytes)
    and name not in ("PREFIX", "LEAF", "NODE")
    and name[0] != "_"
]


def test_no_label_is_defined_twice() -> None:
    """Of two lines with one name the later holds, and two things share a label unseen."""
    source = Path(labels.__file__).read_text()
    names = re.findall(r"^([A-Z_]+) = ", source, re.M)
    assert len(names) == len(set(names)) > 50


def test_labels_are_distinct_and_carry_the_version() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 10
    assert all(label.startswith(b"secagg/v1/") for label in NAMES)


def test_encoding() -> None:
    assert labels.encode(b"ab", 7, b"") == bytes.fromhex("000000026162000000040000000700000000")


parts = st.lists(st.binary(max_size=6), max_size=4)


@given(parts, parts)
def test_encoding_is_injective(one: list[bytes], two: list[bytes]) -> None:
    assert (labels.encode(*one) == labels.encode(*two)) == (one == two)


def test_digests() -> None:
    assert labels.digest(b"a", 1) == hashlib.sha256(labels.encode(b"a", 1)).digest()
    assert labels.tree_digest(b"\0", b"a") != labels.tree_digest(b"\1", b"a")


def test_rfc_5869_expand() -> None:
    """Its test case 3 has an empty info; here the info is never empty, so HMAC says it again."""
    import hmac

    key = Seed(bytes(range(32)))
    info = labels.encode(labels.SELF, 1)
    assert labels.expand(key, labels.SELF, 1) == hmac.digest(key.expose(), info + b"\1", "sha256")
    extracted = hmac.digest(bytes(32), key.expose(), "sha256")
    assert labels.derive(key, labels.SELF, 1).expose() == hmac.digest(
        extracted, info + b"\1", "sha256"
    )


def _no_device(size: int) -> bytes:
    raise OSError("no device")


@pytest.mark.parametrize("source", [lambda n: b"", lambda n: bytes(n + 1), _no_device])
def test_row_62_randomness_is_whole_or_an_error(source: object) -> None:
    with pytest.raises(CryptoError, match="randomness"):
        checked(source)(32)  # type: ignore[arg-type]
    assert checked(bytes)(5) == bytes(5)


@pytest.mark.parametrize("size", [(1 << 14) - 1, 1 << 14, (1 << 14) + 1])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_long_part_is_digested_as_a_short_one_is(size: int, kind: type) -> None:
    encoded = hashlib.sha256(labels.encode(b"label", 7, bytes(size))).digest()
    assert labels.digest(b"label", 7, kind(bytes(size))) == encoded
    assert labels.digest(b"label", bytes(size), 7) != encoded
