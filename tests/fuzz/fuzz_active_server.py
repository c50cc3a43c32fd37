"""Any bytes from a client make a server of active mode take, ignore or drop it; it never raises.

Also those that the client has signed: it owns its key, so each message is tried with a statement
that is true of it as well. Nobody else is touched, nothing is said, and no phase ends by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from secagg.errors import SecAggError
from secagg.layout import RingVector
from secagg.sansio import Dropped
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.messages import (
    MaskedInput,
    ShareKeys,
    SignedKeys,
    UnmaskAnswer,
    answer_digest,
    share_digest,
)
from secagg_protocols.secagg.active.stages.mask import Mask
from secagg_protocols.secagg.active.states import PHASES
from secagg_protocols.secagg.messages import Tag
from tests import decoders
from tests.active import COMPLETE, Cast, seed_of
from tests.fuzz import fuzz_server
from tests.fuzz.engine import main

CAST = Cast(COMPLETE)
PARTY = CAST.parties[1]
SEED = seed_of(PARTY)
SERVERS: list[Any] = [CAST.network().run_until(phase.name).server for phase in PHASES]
SERVERS.append(CAST.network().server)
for one in SERVERS:
    one.transcript()


def _outbox() -> list[bytes]:
    network = CAST.network()
    network.run()
    return [m.data for m in network.sent if PARTY in (m.sender, m.to)]


CORPUS = [*_outbox(), *decoders.valid_active_messages().values()]


def signed(data: bytes) -> Iterator[bytes]:
    """The message, and what it says with its sender's statement about that."""
    yield data
    try:
        reader = Reader(data)
        tag, bound = read_header(reader, CAST.session.suite)
        if tag in SAID:
            yield SAID[tag](reader, bound)
    except SecAggError:
        return  # there is no such statement to be made


def _keys(reader: Reader, offer: bytes) -> bytes:
    said = SignedKeys.read(reader)
    statement = statements.KEYS(offer, PARTY, said.c_pk, said.s_pk)
    return replace(said, signature=statement.signed(SEED)).encode(offer)


def _shares(reader: Reader, session: bytes) -> bytes:
    cohort = SERVERS[1]._stage.cohort
    index = cohort.index[PARTY]
    said = ShareKeys.read(reader, cohort.size - 1)
    statement = statements.SHARES(session, index, cohort.leaves[index], said.digest)
    return replace(said, signature=statement.signed(SEED)).encode(session)


def _input(reader: Reader, session: bytes) -> bytes:
    stage = SERVERS[2]._stage
    index, near = stage.cohort.index[PARTY], stage.cohort.size - 1
    said, _ = MaskedInput.read(reader, near, CAST.layout)
    statement = stage._deliveries.input(index, said.failed, said.digest)
    return replace(said, signature=statement.signed(SEED)).encode(session, near)


def _answer(reader: Reader, session: bytes) -> bytes:
    fixed = SERVERS[4]._stage.fixed
    index, dealers = fixed.cohort.index[PARTY], sorted(fixed.sharers)
    said = UnmaskAnswer.read(reader, len(dealers))
    digests = [
        share_digest(session, dealer, index, messages.B, share)
        for dealer, share in zip(dealers, said.shares, strict=True)
    ]
    survivors = fixed.cohort.digest(fixed.survivors)
    statement = statements.ANSWER(session, index, survivors, answer_digest(digests))
    return replace(said, signature=statement.signed(SEED)).encode(session)


SAID = {
    Tag.ADVERTISE_KEYS: _keys,
    Tag.SHARE_KEYS: _shares,
    Tag.MASKED_INPUT: _input,
    Tag.UNMASK_ANSWER: _answer,
}


def fresh(server: Any) -> Any:
    one = fuzz_server.fresh(server)
    one._evidence = []
    return one


def target(data: bytes) -> None:
    for message in signed(data):
        for state in SERVERS:
            hear(state, message)


def hear(state: Any, message: bytes) -> None:
    server = fresh(state)
    server.receive(PARTY, message)
    dropped = {e.party for e in server.events() if isinstance(e, Dropped)}
    assert dropped <= {PARTY}
    assert server.alive == state.alive - dropped
    assert state.waiting_for - server.waiting_for <= {PARTY}
    assert server.phase == state.phase
    assert not server.outgoing() and not server.transcript()
    assert not server.evidence() or dropped
    if dropped and isinstance(server._stage, Mask):  # a vector is added when all is right of it
        assert all((a == b).all() for a, b in zip(total(server), total(state), strict=True))


def total(server: Any) -> RingVector:
    return server._stage._masked.total


if __name__ == "__main__":
    main(target, CORPUS)
