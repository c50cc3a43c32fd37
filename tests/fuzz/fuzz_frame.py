"""Any bytes are a frame or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.frame import Announce, DigestOnly, Message, Over
from tests import decoders
from tests.fuzz.engine import main

FRAMES = [
    Announce(bytes(16), PartyId(3), (1000, 2000), b"plan", b"payload"),
    Announce(bytes(16), PartyId(0), (), b"", DigestOnly(bytes(32))),
    Announce(bytes(16), PartyId(0), (), b"", DigestOnly(bytes(32), 1 << 40)),
    Message(bytes(16), b"message"),
    Over(bytes(16), None, 5, 1),
    Over(bytes(16), AbortReason.CANCELLED, 0, 6),
    Over(bytes(16), None, 5, 1, Fault.LATE),
]

CORPUS = [frame.encode() for frame in FRAMES]


def target(data: bytes) -> None:
    try:
        again = decoders.frame(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
