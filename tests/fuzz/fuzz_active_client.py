"""Any bytes make a client of active mode answer, ignore or raise RemoteProtocolError, in any state.

Also those that the server has signed: it owns its key, so each message is tried with statements
that are true of it as well. After that error the client has ended, has said at most that it aborts,
and says nothing ever again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from secagg.errors import RemoteProtocolError, SecAggError
from secagg.types import SERVER, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.messages import SURVIVORS, KeyList, ShareList, Survivors
from secagg_protocols.secagg.messages import Tag
from tests import decoders
from tests.active import COMMITTEE, COMPLETE, SERVER_SEED, Cast
from tests.fuzz import fuzz_client
from tests.fuzz.engine import main, twin


class Script:
    """What one client was sent in an honest session, and the client after each part of it."""

    def __init__(self, cast: Cast) -> None:
        self.cast, self.party = cast, cast.parties[0]
        network = cast.network()
        network.run()
        self.inbox = [m.data for m in network.sent if m.to == self.party]
        self.states = [self._client(received) for received in range(len(self.inbox) + 1)]

    def _client(self, received: int) -> Any:
        client: Any = self.cast.client(self.party)
        lanes = tuple(lane.copy() for lane in self.cast.inputs[self.party])
        client.set_input(lanes, self.cast.payload)
        client.start()
        for message in self.inbox[:received]:
            client.receive(SERVER, message)
        client.outgoing(), client.events()
        return client

    def signed(self, data: bytes) -> Iterator[bytes]:
        """The message, and what it says with the server's statements about that."""
        yield data
        try:
            reader = Reader(data)
            tag, bound = read_header(reader, self.cast.session.suite)
            if tag == Tag.KEY_LIST:
                yield self._key_list(reader)
            elif tag == Tag.SHARE_LIST:
                yield self._share_list(reader, bound)
            elif tag == SURVIVORS:
                yield self._survivors(reader, bound)
        except (SecAggError, LookupError, ValueError):
            return  # there is no such statement to be made

    def _key_list(self, reader: Reader) -> bytes:
        cast, params, now = self.cast, self.cast.params, self.states[0]
        listed = KeyList.read(reader, cast.roster.size, params.degree, params.complete)
        ids = tuple(sorted(map(PartyId, listed.members)))
        offer, index, own = now._terms.offer, ids.index(self.party), now._heard.keys
        leaves = {index: binding.leaf(offer, index, self.party, own, own.signature)}
        for v, keys in listed.keys.items():
            leaves[v] = binding.leaf(offer, v, ids[v], keys, keys.signature)
        root = (
            binding.tree_root([leaves[i] for i in range(len(ids))])
            if params.complete
            else binding.path_root(leaves[index], index, len(ids), listed.path)
        )
        session = binding.session_id(offer, cast.roster.size, ids, root)
        members = messages.digest_of(ids, cast.roster.size)
        said = statements.COHORT(offer, session, len(ids), members, root).signed(SERVER_SEED)
        return replace(listed, signature=said).encode(session, cast.roster.size)

    def _share_list(self, reader: Reader, session: bytes) -> bytes:
        seat = self.states[1]._now.seat
        near = frozenset(self.states[1]._now.dealt.peers)
        listed = ShareList.read(reader, seat.size, near)
        sharers = messages.digest_of(listed.sharers, seat.size)
        said = statements.SHARERS(session, sharers, len(listed.sharers)).signed(SERVER_SEED)
        listed = replace(listed, signature=said)
        told = statements.DELIVERY(session, seat.index, listed.digest(seat.size))
        listed = replace(listed, delivery=told.signed(SERVER_SEED))
        return listed.encode(session, seat.size)

    def _survivors(self, reader: Reader, session: bytes) -> bytes:
        now = self.states[2]._now
        shown = Survivors.read(reader, now.seat.size)
        survivors = messages.digest_of(shown.members, now.seat.size)
        said = statements.SURVIVORS(session, now.sharers, survivors, len(shown.members))
        return Survivors(shown.members, said.signed(SERVER_SEED)).encode(session, now.seat.size)


SCRIPTS = [Script(Cast(COMPLETE)), Script(Cast(COMMITTEE))]
CORPUS = [
    *(message for script in SCRIPTS for message in script.inbox),
    *decoders.valid_active_messages().values(),
]


def fresh(client: Any) -> Any:
    """With what it has heard as well, which a refused message can change."""
    one = fuzz_client.fresh(client)
    heard = one._heard = twin(client._heard)
    heard._first, heard._second = dict(heard._first), dict(heard._second)
    heard._evidence = []
    return one


def target(data: bytes) -> None:
    for script in SCRIPTS:
        for message in script.signed(data):
            for state in script.states:
                hear(fresh(state), message)


def hear(client: Any, message: bytes) -> None:
    try:
        client.receive(SERVER, message)
    except RemoteProtocolError:
        assert client.done
        assert {m.data[2] for m in client.outgoing()} <= {Tag.ABORT}
        client.receive(SERVER, message)
        assert not client.outgoing()
    else:
        assert len(client.outgoing()) <= 1


if __name__ == "__main__":
    main(target, CORPUS)
