"""Any bytes are terms of which every size has a plan or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.fuzz.engine import main

CORPUS = decoders.valid_terms()


def target(data: bytes) -> None:
    try:
        again = decoders.terms(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
