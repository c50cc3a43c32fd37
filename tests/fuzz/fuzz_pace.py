"""Any bytes are a frame of a service's pace or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg.wire.pace import Asked, Later, Ready, Why
from tests import decoders
from tests.fuzz.engine import main

CORPUS = [
    Asked(bytes(16), 5).encode(),
    Ready(bytes(16)).encode(),
    *(Later(bytes(16), 10_000, why).encode() for why in Why),
]


def target(data: bytes) -> None:
    try:
        again = decoders.pace(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
