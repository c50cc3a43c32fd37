"""Any bytes are a code, an acceptance, a renewal, an entry of the register, or a SecAggError.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.fuzz.engine import main

CORPUS = list(decoders.valid_invitations())


def target(data: bytes) -> None:
    try:
        again = decoders.invitation(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
