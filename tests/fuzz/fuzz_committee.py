"""Any bytes are a committee of different valid keys or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.fuzz.engine import main

CORPUS = [decoders.keys_of(m).committee.encode() for m in (2, 5)]


def target(data: bytes) -> None:
    try:
        again = decoders.committee(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
