"""Any bytes are a stored report or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg_protocols.reports.book import Row, State
from tests import decoders
from tests.fuzz.engine import main

CORPUS = [Row(bytes(16), state, 3, bytes(32), bytes(9)).encode()[1] for state in State]


def target(data: bytes) -> None:
    try:
        again = decoders.stored_report(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
