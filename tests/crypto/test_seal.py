"""AES-256-GCM against the empty-message vector of its specification, and against tampering."""

from __future__ import annotations

import pytest

from secagg.crypto.seal import TAG_SIZE, seal, unseal
from secagg.errors import InvalidTag
from secagg.types import Seed

KEY, CONTEXT, PLAIN = Seed(bytes(range(32))), b"context", b"thirty bytes of plaintext here"
SEALED = seal(KEY, PLAIN, CONTEXT)


def test_known_answers() -> None:
    """Test cases 13 and 14 of the GCM specification: zero key, zero nonce."""
    zero = Seed(bytes(32))
    assert seal(zero, b"", b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert seal(zero, bytes(16), b"").hex() == (
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    )


def test_what_is_sealed_opens() -> None:
    assert unseal(KEY, SEALED, CONTEXT) == PLAIN
    assert len(SEALED) == len(PLAIN) + TAG_SIZE


def test_row_53_every_flipped_bit_is_refused() -> None:
    for bit in range(8 * len(SEALED)):
        data = bytearray(SEALED)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTag):
            unseal(KEY, data, CONTEXT)


@pytest.mark.parametrize("size", range(0, len(SEALED), 5))
def test_row_53_truncated(size: int) -> None:
    with pytest.raises(InvalidTag):
        unseal(KEY, SEALED[:size], CONTEXT)


def test_row_53_other_key_or_context() -> None:
    for key, context in ((Seed(bytes(32)), CONTEXT), (KEY, b""), (KEY, b"contexu")):
        with pytest.raises(InvalidTag) as error:
            unseal(key, SEALED, context)
        assert str(error.value) == "a sealed message does not open"
