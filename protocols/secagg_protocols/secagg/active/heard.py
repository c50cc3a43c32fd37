"""What a server has signed to one client, and whether it has said two things."""

from __future__ import annotations

from secagg.errors import InvalidSignature, RemoteProtocolError, WireError
from secagg.types import SERVER, Buffer, PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import dealing
from secagg_protocols.secagg.active.equivocation import Said, Slot, of_two
from secagg_protocols.secagg.active.messages import (
    SURVIVORS,
    KeyList,
    ShareList,
    SignedKeys,
    Survivors,
)
from secagg_protocols.secagg.active.statements import Statement
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.standing import Place
from secagg_protocols.secagg.terms import Terms

# A lie is of use to a server only where its victim does not see it, and then it is in what the
# victim kept: so a client keeps what was signed to it, four statements of a session, for as long as
# its process, and hands it to whoever compares.
#
# A client that was told two things has refused the second, and ended; what it refuses is the proof.
# So what it takes goes through `says`, and what it does not is looked at once more by `overhear`,
# which only wants to know what was signed, and of which session. Nothing here is secret, and none
# of it is of use for anything but a proof: a client's answer never hangs on it.


class Heard:
    """Of one session. keys: this client's own, once it has said them. sharers: digest of U2, once
    it was shown that."""

    def __init__(self, terms: Terms, me: PartyId) -> None:
        self._terms, self._me = terms, me
        self.keys: SignedKeys | None = None
        self.sharers: bytes | None = None
        self._place: Place | None = None
        self._near: frozenset[int] = frozenset()
        self._first: dict[Slot, Said] = {}
        self._second: dict[Slot, Said] = {}
        self._evidence: list[bytes] = []

    def seated(self, place: Place, neighbours: frozenset[int]) -> None:
        """Where this client is in U1, and who is around it."""
        self._place, self._near = place, neighbours

    def says(self, statement: Statement, signature: bytes) -> None:
        """InvalidSignature unless the server has signed it; then it is kept. A third one of a slot
        proves nothing that the second does not."""
        statement.check(dealing.roster_of(self._terms).server, signature)
        said = Said(SERVER, statement, signature)
        first = self._first.setdefault(said.slot, said)
        proof = of_two(first, said)
        if proof is not None and self._second.setdefault(said.slot, said) is said:
            self._evidence.append(proof)

    def statements(self) -> list[bytes]:
        """With their signatures, in the order in which they came."""
        return [said.encoded for said in (*self._first.values(), *self._second.values())]

    def evidence(self) -> list[bytes]:
        drained, self._evidence = self._evidence, []
        return drained

    def overhear(self, message: Buffer) -> None:
        """Of a message that this client does not take, what of it the server has signed. Whatever
        is wrong with it is nobody's concern any more."""
        try:
            reader = Reader(message)
            tag, bound = read_header(reader, self._terms.session.suite)
            for statement, signature in self._told(tag, bound, reader):
                self.says(statement, signature)
        except (WireError, InvalidSignature, RemoteProtocolError):
            return

    def _told(self, tag: int, bound: bytes, reader: Reader) -> tuple[tuple[Statement, bytes], ...]:
        if tag == Tag.KEY_LIST and self.keys is not None:
            return self._cohort(self.keys, bound, reader)
        if self._place is None or bound != self._place.session:
            return ()
        if tag == Tag.SHARE_LIST:
            listed = ShareList.read(reader, self._place.size, self._near)
            reader.finish()
            return dealing.list_statements(self._place, listed)
        if tag == SURVIVORS and self.sharers is not None:
            shown = Survivors.read(reader, self._place.size)
            reader.finish()
            said = dealing.survivors_statement(self._place, self.sharers, shown)
            return ((said, shown.signature),)
        return ()

    def _cohort(
        self, own: SignedKeys, bound: bytes, reader: Reader
    ) -> tuple[tuple[Statement, bytes], ...]:
        """Of a U1 without this client it has no root, and nothing to show."""
        terms, me = self._terms, self._me
        params, size = dealing.params_of(terms), dealing.roster_of(terms).size
        listed = KeyList.read(reader, size, params.degree, params.complete)
        reader.finish()
        ids = tuple(sorted(map(PartyId, listed.members)))
        if me not in ids:
            return ()
        index = ids.index(me)
        leaf = binding.leaf(terms.offer, index, me, own, own.signature)
        _, said = dealing.cohort_statement(listed, leaf, index, ids, bound, terms)
        return ((said, listed.signature),)
