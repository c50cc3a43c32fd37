"""Any bytes are refused as a transcript with a SecAggError, or are the beginning of the real one.

Nothing that somebody has not signed is accepted, in whatever order, and nothing is left out but
records at the end.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg_protocols.secagg.active.verifying import verify_transcript
from tests.active import Cast, opener_of
from tests.fuzz.engine import main

CAST = Cast()


def _written() -> bytes:
    network = CAST.network()
    network.run()
    return b"".join(network.server.transcript())  # type: ignore[attr-defined]


CORPUS = [_written()]


def target(data: bytes) -> None:
    try:
        verify_transcript(data, CAST.signed, opener_of(CAST))
    except SecAggError:
        return
    assert CORPUS[0].startswith(data)


if __name__ == "__main__":
    main(target, CORPUS)
