"""A source of randomness that fails loudly or gives every byte asked for; never a fallback."""

from __future__ import annotations

from secagg.errors import CryptoError
from secagg.types import Randomness


def checked(source: Randomness) -> Randomness:
    """The same source, raising CryptoError where it fails or its answer has another length."""

    def draw(size: int) -> bytes:
        try:
            data = source(size)
        except (OSError, NotImplementedError) as error:  # what os.urandom can raise
            raise CryptoError("the source of randomness failed") from error
        if len(data) != size:
            raise CryptoError(f"the source of randomness gave {len(data)} of {size} bytes")
        return data

    return draw
