"""Any bytes are a plan that obeys its protocol's rules or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.fuzz.engine import main

CORPUS = decoders.valid_plans()


def target(data: bytes) -> None:
    try:
        again = decoders.a_plan(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
