"""Any opened plaintext is a pair of shares or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg_protocols.secagg.messages import SharePair
from tests import decoders
from tests.fuzz.engine import main

CORPUS = [SharePair(1, 2, bytes(40), bytes(40)).encode()]


def target(data: bytes) -> None:
    try:
        again = decoders.share_pair(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
