"""Any bytes are what a client was told or a SecAggError, and convict the server or nobody.

Also those that the server has signed: it owns its key, so each file is tried with its statements
signed, in the order that is due, as well. What is accepted is written again to the same bytes, and
what it gives beside what another client was told is evidence, of two statements of the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from secagg.crypto.sign import SIGNATURE_SIZE
from secagg.errors import SecAggError
from secagg.proved import TOLD, Charge, told
from secagg.types import SERVER
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.active.convicting import verify_evidence
from secagg_protocols.secagg.active.equivocation import among, split
from secagg_protocols.secagg.active.statements import Statement
from tests import decoders
from tests.active import SERVER_SEED, Cast, opener_of
from tests.fuzz.engine import main

CAST = Cast()
OPENED = opener_of(CAST)
CORPUS = list(decoders.valid_told())
HEARD = split(CORPUS[0], CAST.roster)


@lru_cache(1 << 10)
def by_server(statement: Statement) -> bytes:
    """With its signature."""
    return statement.write(Writer()).raw(statement.signed(SERVER_SEED)).finish()


def signed(data: bytes) -> Iterator[bytes]:
    """The file, and what it says with the server's signatures."""
    yield data
    reader, said = Reader(data), []
    try:
        reader.fixed(len(TOLD), "version and kind")
        while reader.remaining:
            statement = Statement.read(reader)
            reader.fixed(SIGNATURE_SIZE, "signature")
            said.append(by_server(statement))
    except SecAggError:
        return
    yield told(said)


def target(data: bytes) -> None:
    for file in signed(data):
        try:
            said = split(file, CAST.roster)
        except SecAggError:
            continue
        assert told(one.encoded for one in said) == file
        for proof in among([*HEARD, *said]):  # as `equivocations` does with two files
            verdict = verify_evidence(proof, CAST.signed, OPENED)
            assert (verdict.party, verdict.charge) == (SERVER, Charge.TWO_STATEMENTS)


if __name__ == "__main__":
    main(target, CORPUS)
