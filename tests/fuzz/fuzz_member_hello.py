"""Any bytes are a member's hello to the server of its roster or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.fuzz.engine import main

CORPUS = list(decoders.valid_member_hellos())


def target(data: bytes) -> None:
    try:
        again = decoders.member_hello(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
