"""A session as its public data have it: what a transcript and evidence begin with
(specs/12-active.md §7, §8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from secagg.errors import InvalidSignature, ParameterError, RemoteProtocolError
from secagg.protocol import Opener, Session
from secagg.roster import Roster
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.secagg import binding
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.cohort import KeyedCohort
from secagg_protocols.secagg.active.messages import SignedKeys
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.statements import Statement

# Offer, leaves, root, session id, graph and signers follow from it. Nothing of it is believed: the
# plan is read as a stranger's, and whoever is accused has signed the session id that follows. So a
# frame that was made up is of a session in which nobody honest has said anything.
#
# Plans stand above protocols, which may not know them: what reads one is given in as an `Opener`,
# and gives back a session, as drivers give one to machines.

NONCE_SIZE = 16
_SIGNATURE = 64


@dataclass(frozen=True)
class Frame(KeyedCohort):
    """protocol: the plan's. params: of it. roster: whose keys count. signature: the server's, of
    U1."""

    protocol: str
    about: Session
    params: ActiveParams
    roster: Roster
    signature: bytes

    @classmethod
    def read(cls, reader: Reader, roster: Roster, opened: Opener) -> Frame:
        """Of both records, one after the other, as evidence begins."""
        protocol, session = read_session(reader, roster, opened)
        return cls.read_cohort(reader, protocol, session, roster)

    @classmethod
    def read_cohort(cls, reader: Reader, protocol: str, about: Session, roster: Roster) -> Frame:
        """The second record, checked: sizes, and every signature in it."""
        params = about.params
        if not isinstance(params, ActiveParams):
            raise ParameterError("the plan's parameters are not those of active mode")
        ids = tuple(sorted(map(PartyId, reader.bitmap(roster.size, "U1"))))
        keys = tuple(SignedKeys.read(reader) for _ in ids)
        signature = reader.fixed(_SIGNATURE, "signature")
        offer = about.offer(protocol)
        found = cls(
            offer, roster.size, params.degree, ids, keys, protocol, about, params, roster, signature
        )
        found._check()
        return found

    def _check(self) -> None:
        """Rules V2 and V3, of all of U1."""
        least, most = self.params.min_clients, self.params.clients
        if not least <= self.size <= most:
            raise RemoteProtocolError(
                f"|U1| = {self.size}, and the plan asks for {least} to {most}"
            )
        if not self.roster.members.issuperset(self.ids):
            raise RemoteProtocolError("U1 holds somebody who is no member in this roster")
        self.says(self.cohort_statement(), self.signature)
        for index, (party, keys) in enumerate(zip(self.ids, self.keys, strict=True)):
            said = statements.KEYS(self.offer, party, keys.c_pk, keys.s_pk)
            self.check(index, said, keys.signature)

    def says(self, statement: Statement, signature: bytes) -> None:
        """InvalidSignature unless the server said it."""
        statement.check(self.roster.server, signature)

    def check(self, index: int, statement: Statement, signature: bytes) -> None:
        """InvalidSignature unless the member at this index said it."""
        party = self.ids[index]
        try:
            statement.check(self.roster.key_of(party), signature)
        except InvalidSignature as error:
            raise InvalidSignature(f"{error}: of member {party}") from None

    @cached_property
    def signers(self) -> tuple[tuple[int, ...], int]:
        """Who may sign, ascending, and how many have to (specs/12-active.md §2.5)."""
        number, quorum = self.params.quorum_of(self.size, self.about.corrupted)
        return binding.committee(self.session, self.size, number), quorum

    def named(self, indices: frozenset[int]) -> frozenset[PartyId]:
        return frozenset(self.ids[index] for index in indices)

    # Of a complete graph nobody's neighbours are written out: together they would be n^2, of a file
    # that grows with n, and whoever sends one would choose how long it is looked at.

    @property
    def complete(self) -> bool:
        return self.degree >= self.size - 1

    def around(self, index: int) -> int:
        """k_u: how many neighbours."""
        return self.size - 1 if self.complete else self.degree

    def neighbour(self, index: int, position: int) -> int:
        if self.complete:
            return position + (position >= index)
        return self.neighbours(index)[position]

    def holders_in(self, index: int, members: frozenset[int]) -> int:
        """How many of this member's holders, itself included, are among them."""
        return len(members) if self.complete else len(self.holders(index) & members)


def read_session(reader: Reader, roster: Roster, opened: Opener) -> tuple[str, Session]:
    """The first record: the plan's protocol, and the session, which is of this roster."""
    plan = reader.prefixed(reader.remaining, "plan")
    payload = reader.fixed(DIGEST_SIZE, "payload digest")
    nonce = reader.fixed(NONCE_SIZE, "nonce")
    if reader.fixed(DIGEST_SIZE, "roster digest") != roster.digest:
        raise RemoteProtocolError(
            "it is of another roster than this one, perhaps of another epoch: give the one that "
            "was in force"
        )
    protocol, session = opened(plan, payload, nonce)
    if not session.suite.signed:
        raise ParameterError("the plan is of a suite in which nobody signs")
    return protocol, session
